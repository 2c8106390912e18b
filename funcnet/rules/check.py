"""The checker of rules: what both halves of a rule owe to each other and to the function.

A rule is a claim about a function. `check_rule` holds it to the function's own differences, to its
other half, and to JAX's transformations, at one point and along random directions, in float64.
Directions are random, so that an error in any entry of a Jacobian shows; they come from a seed, so
that a check gives the same answer each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.errors import ArgumentError, RuleError
from funcnet.rules.findings import Check, RuleReport
from funcnet.rules.probes import Probe, central_difference, compiled, largest_entry, numbers
from funcnet.rules.statement import Rule
from funcnet.structure import holds

__all__ = ["check_rule"]

_EXACT = 1e-10
"""For two ways to compute one number in float64, relative to the largest entry."""

_MOST_COLUMNS = 4096
"""A Jacobian with more rows and columns than this is not written down to look at its structure."""

_PROBES = 2


def check_rule(
    primitive: Rule,
    *args: Any,
    tolerance: float = 1e-6,
    order: int = 2,
    seed: int = 0,
    **kwargs: Any,
) -> RuleReport:
    """Hold a rule to its function, to its other half and to JAX's transformations, at one point.

    Floating-point arguments are cast to float64. For random tangents t and cotangents ct, per
    argument and all together, it checks that

    * the value under each mode is the function's own;
    * ``<ct, J t> = <J^T ct, t>``: `vjp` is the transpose of `jvp`;
    * both agree with central differences of fourth order;
    * both are linear, and give exactly 0 for 0;
    * an argument gets the same derivative alone as with others (rules stated jointly may fail
      this);
    * all nestings of forward and reverse mode agree with each other and with central differences of
      the order below, up to `order`;
    * ``vmap`` over any one argument and over all agrees with a loop, and ``jit`` with eager
      evaluation;
    * the Jacobian that each mode gives has the structure that the rule declares;
    * ``.custom_vjp`` gives the same value and cotangents.

    An error of 0.1 % in one argument of one mode is far outside of every tolerance.

    Args:
        primitive: The rule, as `rule` returns it.
        *args: Where to check: an ordinary point, small, away from kinks.
        tolerance: For central differences, relative to the largest entry. Two ways to compute the
            same number must agree to 1e-10.
        order: The highest order of differentiation, at least 1.
        seed: Of the random directions.
        **kwargs: Further arguments of the rule, static ones among them.

    Returns:
        A report of all comparisons, which prints itself.

    Raises:
        RuleError: Something does not agree. The message names the rule, and for each failure the
            mode, the argument, the law and by how much; or the rule is malformed.
        ArgumentError: `order` is less than 1.

    Example:
        >>> from funcnet.rules import check_rule, rule
        >>> square = rule(
        ...     lambda x: x * x,
        ...     residuals=lambda y, x: x,
        ...     jvp=lambda x, t: 2 * x * t,
        ...     vjp=lambda x, ct: 2 * x * ct,
        ... )
        >>> len(check_rule(square, 3.0).failures)
        0
    """
    if not isinstance(primitive, Rule):
        raise RuleError(
            f"check_rule: expected a rule made by funcnet.rules.rule, got {primitive!r}"
        )
    if order < 1:
        raise ArgumentError(f"check_rule: order must be at least 1, got {order}")
    with jax.enable_x64(True):
        checker = _Checker(Probe(primitive, args, kwargs), tolerance, seed)
        checker.note_gaps()
        checker.check_first_order()
        checker.check_transformations()
        checker.check_structure()
        for n in range(2, order + 1):
            checker.check_order(n)
    report = RuleReport(primitive.name, tuple(checker.checks), tuple(checker.notes))
    if report.failures:
        count = f"{len(report.failures)} of {len(report.checks)} checks"
        lines = "".join(f"\n  {failure}" for failure in report.failures)
        raise RuleError(f"{report.name}: {count} failed:{lines}")
    return report


class _Checker:
    """Compares measurements and keeps the account."""

    def __init__(self, probe: Probe, tolerance: float, seed: int) -> None:
        self.probe, self.tolerance = probe, tolerance
        self.checks: list[Check] = []
        self.notes: list[str] = []
        self._random = np.random.default_rng(seed)
        self.names = [repr(name) for name in probe.names]

    def compare(
        self,
        law: str,
        mode: str,
        argument: str,
        got: Any,
        wanted: Any,
        *,
        scale: float = 0.0,
        tolerance: float = _EXACT,
    ) -> None:
        got, wanted = numbers(got), numbers(wanted)
        scale = max(scale, largest_entry(got), largest_entry(wanted))
        # Equal infinities are equal; a NaN is never.
        pairs = [(a, b.reshape(a.shape)) for a, b in zip(got, wanted, strict=True)]
        gaps = [np.where(a == b, 0.0, np.abs(a - b)) for a, b in pairs]
        deviation = max((float(np.max(gap, initial=0.0)) for gap in gaps), default=0.0)
        if any(np.isnan(gap).any() for gap in gaps):
            deviation = np.nan
        self.checks.append(
            Check(law, mode, argument, deviation / scale if scale else deviation, tolerance)
        )

    def directions(self) -> tuple[list[Any], list[Any]]:
        """Random tangents and a random cotangent."""
        like = self.probe.points, self.probe.output
        return jax.tree.map(lambda x: self._random.standard_normal(x.shape), like)

    def note_gaps(self) -> None:
        rule, moving = self.probe.rule, self.probe.moving
        still = [repr(n) for i, n in enumerate(rule.argument_names) if i not in moving]
        if still:
            self.notes.append(f"not differentiated: {', '.join(still)}")

    def check_first_order(self) -> None:
        start = self.probe.start
        for _ in range(_PROBES):
            tangents, cotangent = self.directions()
            found = self.probe.measure(start, tangents, cotangent)
            self._check_values(found)
            self._check_transposition(found, tangents, cotangent)
            self._check_differences(found, tangents, cotangent)
        self._check_linearity()

    def _check_values(self, found: dict[str, Any]) -> None:
        together = "all arguments"
        self.compare("the function itself", "value", together, found["value"], found["primal"])
        plain = self.probe.floats(found["primal"])
        for mode in ("jvp", "vjp"):
            at = found[f"value under {mode}"]
            self.compare("the function itself", f"value under {mode}", together, at, plain)
        self.compare("custom_vjp", "value", together, found["twin value"], plain)
        for name, one, twin in zip(self.names, found["vjp"], found["twin vjp"], strict=True):
            self.compare("custom_vjp", "vjp", name, twin, one)
        for name, one, alone in zip(self.names, found["vjp"], found["vjp alone"], strict=True):
            self.compare("alone as with others", "vjp", name, alone, one)
        parts = found["jvp alone"]
        if parts:
            parts = [numbers(part) for part in parts]
            total = [sum(terms[1:], terms[0]) for terms in zip(*parts, strict=True)]
            size = max(map(largest_entry, parts))
            law = "the sum over arguments"
            self.compare(law, "jvp", together, found["jvp"], total, scale=size)

    def _check_transposition(self, found: dict[str, Any], tangents: Any, cotangent: Any) -> None:
        def judge(name: str, pushed: Any, pulled: Any, tangent: Any) -> None:
            left, right = _products(cotangent, pushed), _products(pulled, tangent)
            scale = max(np.abs(left).sum(), np.abs(right).sum())
            law = "<ct, J t> = <J^T ct, t>"
            self.compare(law, "jvp against vjp", name, left.sum(), right.sum(), scale=scale)

        parts = zip(self.names, found["jvp alone"], found["vjp alone"], tangents, strict=True)
        for name, pushed, pulled, tangent in parts:
            judge(name, pushed, pulled, tangent)
        judge("all arguments", found["jvp"], found["vjp"], tangents)

    def _check_differences(self, found: dict[str, Any], tangents: Any, cotangent: Any) -> None:
        for index, name in enumerate(self.names):

            def value(h: float, index: int = index) -> list[np.ndarray]:
                at = self._shifted(tangents, index, h)
                return self.probe.floats(self.probe.measure(at, tangents, cotangent)["primal"])

            slope, unsettled, floor = central_difference(value)
            if not self._is_settled("jvp", name, slope, unsettled, floor):
                continue
            law, tolerance = "central differences", self.tolerance
            pushed, pulled = found["jvp alone"][index], found["vjp alone"][index]
            self.compare(law, "jvp", name, pushed, slope, scale=floor, tolerance=tolerance)
            left, right = _products(pulled, tangents[index]), _products(cotangent, slope)
            # The products cancel in the sum: the error is measured against what remains of them.
            scale = max(floor, 0.01 * np.abs(right).sum())
            self.compare(
                law, "vjp", name, left.sum(), right.sum(), scale=scale, tolerance=tolerance
            )

    def _is_settled(
        self, mode: str, name: str, slope: list[np.ndarray], unsettled: float, floor: float
    ) -> bool:
        deviation = unsettled / max(floor, largest_entry(slope)) if unsettled else 0.0
        if deviation <= self.tolerance:
            return True
        why = (
            f"the differences do not settle (by {deviation:.2g}): is there a kink near this point?"
        )
        self.checks.append(Check("central differences", mode, name, deviation, self.tolerance, why))
        return False

    def _shifted(self, tangents: Any, index: int | None, h: float) -> Any:
        """The arguments moved by h along the tangent of one of them, or of all."""
        return self.probe.at(
            [
                [p + h * t for p, t in zip(point, tangent, strict=True)]
                if index in (i, None)
                else point
                for i, (point, tangent) in enumerate(zip(self.probe.points, tangents, strict=True))
            ]
        )

    def _check_linearity(self) -> None:
        start, measure = self.probe.start, self.probe.measure
        one, other = self.directions(), self.directions()
        mixed = jax.tree.map(lambda a, b: 2.0 * a - 3.0 * b, one, other)
        zero = jax.tree.map(np.zeros_like, one)
        at_one, at_other, at_mixed, at_zero = (
            measure(start, *directions) for directions in (one, other, mixed, zero)
        )
        for mode in ("jvp", "vjp"):
            for index, name in enumerate(self.names):
                a, b, both, none = (
                    found[f"{mode} alone"][index] for found in (at_one, at_other, at_mixed, at_zero)
                )
                wanted = [2.0 * x - 3.0 * y for x, y in zip(numbers(a), numbers(b), strict=True)]
                size = 3.0 * max(largest_entry(numbers(a)), largest_entry(numbers(b)))
                self.compare("linear", mode, name, both, wanted, scale=size)
                nothing = jax.tree.map(np.zeros_like, none)
                self.compare("zero in, zero out", mode, name, none, nothing, tolerance=0.0)

    def check_transformations(self) -> None:
        probe = self.probe
        examples = [(dynamic, *self.directions()) for dynamic in probe.batch()]
        stacked = jax.tree.map(_stack, *examples)
        for name, found in compiled(probe.mapped)(*stacked).items():
            batched = name != "all arguments"
            index = probe.rule.argument_names.index(name) if batched else None
            _, tangents, cotangent = examples[0]
            rows = [
                probe.measure(_swap(examples[0][0], index, dynamic[index]), tangents, cotangent)
                if index is not None
                else probe.measure(dynamic, *directions)
                for dynamic, *directions in examples
            ]
            for mode in ("value", "jvp", "vjp"):
                loop = jax.tree.map(lambda *leaves: np.stack(leaves), *(r[mode] for r in rows))
                where = f"{name!r} batched" if batched else "all arguments batched"
                self.compare("vmap against a loop", mode, where, found[mode], loop)
        jitted, eager = probe.measure(*examples[0]), probe.both_modes(*examples[0])
        for mode in ("value", "jvp", "vjp"):
            self.compare("jit against eager", mode, "all arguments", jitted[mode], eager[mode])

    def check_structure(self) -> None:
        declared = [self.probe.rule.structure[i] for i in self.probe.moving]
        outputs = self.probe.output
        for index, (name, kind) in enumerate(zip(self.names, declared, strict=True)):
            leaves = self.probe.points[index]
            columns = sum(x.size for x in leaves) + sum(y.size for y in outputs)
            if kind is None:
                continue
            if columns > _MOST_COLUMNS:
                self.notes.append(
                    f"the structure for {name} was not checked: its Jacobian is large"
                )
                continue
            for mode, matrix in self._jacobians(index).items():
                for block, (y, x) in _blocks(matrix, outputs, leaves):
                    verdict = holds(kind, block, y.shape, x.shape, tolerance=1e-12)
                    law, off = f"structure {kind.value}", 0.0 if verdict else np.inf
                    self.checks.append(Check(law, mode, name, off, 0.0, verdict.why))

    def _jacobians(self, index: int) -> dict[str, np.ndarray]:
        """The Jacobian for one argument as each mode has it, all leaves side by side."""
        measure, start = self.probe.measure, self.probe.start
        still = jax.tree.map(np.zeros_like, self.probe.points)
        silent = [np.zeros(y.shape) for y in self.probe.output]

        def column(unit: Any) -> np.ndarray:
            return _flat(measure(start, _swap(still, index, unit), silent)["jvp alone"][index])

        def row(unit: Any) -> np.ndarray:
            return _flat(measure(start, still, unit)["vjp alone"][index])

        shape = _flat(silent).size, _flat(still[index]).size
        columns, rows = map(column, _units(still[index])), map(row, _units(silent))
        return {
            "jvp": np.reshape(list(columns), shape[::-1]).T,
            "vjp": np.reshape(list(rows), shape),
        }

    def check_order(self, n: int) -> None:
        """All nestings of n modes, along random directions, the last one outermost."""
        if not self.names:
            return
        start = self.probe.start
        directions = [self.directions()[0] for _ in range(n)]
        cotangent = self.directions()[1]
        found = self.probe.nested(n)(start, directions, cotangent)
        below = self.probe.nested(n - 1)
        for index, name in enumerate(self.names):
            values = {nesting: float(parts[index]) for nesting, parts in found.items()}
            for nesting, value in values.items():
                inner = nesting.split(" over ", 1)[1]

                def lower(h: float, inner: str = inner, index: int = index) -> list[np.ndarray]:
                    at = self._shifted(directions[-1], index, h)
                    return [np.sum(numbers(below(at, directions[:-1], cotangent)[inner]))[None]]

                slope, unsettled, floor = central_difference(lower)
                if self._is_settled(nesting, name, slope, unsettled, floor):
                    law, off = "central differences", self.tolerance
                    self.compare(law, nesting, name, value, slope, scale=floor, tolerance=off)
            self._check_agreement(n, name, values, floor)

    def _check_agreement(self, n: int, name: str, values: dict[str, float], floor: float) -> None:
        spread = max(values.values()) - min(values.values())
        size = max(floor, *map(abs, values.values()))
        deviation = spread / size if size else spread
        why = ", ".join(f"{value:.12g} {nesting}" for nesting, value in values.items())
        law, why = "all nestings alike", "" if deviation <= _EXACT else f"they differ: {why}"
        self.checks.append(Check(law, f"order {n}", name, deviation, _EXACT, why))


# Helpers


def _stack(*leaves: Any) -> Any:
    are_keys = isinstance(leaves[0], jax.Array)
    return jnp.stack(leaves) if are_keys else np.stack(leaves)


def _flat(values: Any) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(a.ravel() for a in numbers(values))])


def _products(left: Any, right: Any) -> np.ndarray:
    """The products that an inner product sums."""
    return _flat(left) * _flat(right)


def _swap(items: Sequence[Any], index: int, item: Any) -> Any:
    return type(items)([*items[:index], item, *items[index + 1 :]])  # type: ignore[call-arg]


def _units(zeros: list[Any]) -> Iterator[list[Any]]:
    """Every unit vector of the space of some arrays."""
    for position, leaf in enumerate(zeros):
        for entry in range(leaf.size):
            unit = np.zeros(leaf.size)
            unit[entry] = 1.0
            yield _swap(zeros, position, unit.reshape(leaf.shape))


def _blocks(
    matrix: np.ndarray, outputs: Sequence[Any], leaves: Sequence[Any]
) -> Iterator[tuple[np.ndarray, tuple[Any, Any]]]:
    """Cut a Jacobian into one block for each pair of an output leaf and an input leaf."""
    below = np.split(matrix, np.cumsum([y.size for y in outputs])[:-1], axis=0)
    for y, rows in zip(outputs, below, strict=True):
        beside = np.split(rows, np.cumsum([x.size for x in leaves])[:-1], axis=1)
        for x, block in zip(leaves, beside, strict=True):
            yield block, (y, x)
