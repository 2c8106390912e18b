"""What one rule computes at one point, in every mode: the measurements that `check_rule` judges.

A rule is probed along random directions in float64. Only its differentiable arguments move, so
that all functions here are stated over them, as one list of floating-point leaves per argument; the
other arguments are carried along. Each function is compiled once and then called many times.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import tree
from funcnet.rules.statement import Rule

__all__ = ["Probe", "central_difference", "compiled", "largest_entry", "numbers"]

Leaves = list[Any]
"""The floating-point leaves of one argument, or of the output."""

_BATCH = 3
_STEPS = (1e-3, 1e-4, 1e-5)


class Probe:
    """One rule at given arguments, ready to be measured.

    Attributes:
        rule: The rule.
        names: The differentiable arguments.
        start: All arguments that the rule is stated for, in float64.
        points: The floating-point leaves of each differentiable argument.
    """

    def __init__(self, rule: Rule, args: Any, kwargs: Any) -> None:
        dynamic, self.static = rule.split(args, kwargs)
        self.rule = rule
        self.start = jax.tree.map(_widened, dynamic)
        self.moving = [
            index
            for index, argument in enumerate(self.start)
            if any(map(_is_float, jax.tree.leaves(argument)))
            and any(rule.is_joint(k) or getattr(rule, k)[index] is not None for k in ("jvp", "vjp"))
        ]
        self.names = [rule.argument_names[index] for index in self.moving]
        self.points = self.points_of(self.start)
        self.output = jax.eval_shape(self.function_at(self.start), *self.points)

    def points_of(self, dynamic: Any) -> list[Leaves]:
        """The leaves that can be differentiated, by argument."""
        return [list(filter(_is_float, jax.tree.leaves(dynamic[i]))) for i in self.moving]

    def at(self, points: Sequence[Leaves]) -> Any:
        """All arguments, with the differentiable ones at `points`."""
        return self._fill(self.start, points)

    def _fill(self, dynamic: Any, points: Sequence[Leaves]) -> Any:
        filled = list(dynamic)
        for index, leaves in zip(self.moving, points, strict=True):
            old = jax.tree.leaves(dynamic[index])
            new = iter(leaves)
            leaves = [next(new) if _is_float(x) else x for x in old]
            filled[index] = jax.tree.unflatten(jax.tree.structure(dynamic[index]), leaves)
        return tuple(filled)

    def function_at(self, dynamic: Any, function: Callable[..., Any] | None = None) -> Any:
        """The floating-point output leaves as a function of the points."""

        def moved(*points: Leaves) -> Leaves:
            y = self._call(function or self.rule, self._fill(dynamic, points))
            return list(filter(_is_float, jax.tree.leaves(y)))

        return moved

    def _call(self, function: Callable[..., Any], dynamic: Any) -> Any:
        signature = inspect.signature(self.rule.primal)
        values = dict(zip(self.rule.argument_names, dynamic, strict=True)) | self.static
        bound = inspect.BoundArguments(
            signature, {name: values[name] for name in signature.parameters}
        )
        return function(*bound.args, **bound.kwargs)

    # The measurements

    def both_modes(self, dynamic: Any, tangents: Any, cotangent: Any) -> dict[str, Any]:
        """The value and both first derivatives, along all arguments at once."""
        f, points = self.function_at(dynamic), self.points_of(dynamic)
        y_forward, dy = jax.jvp(f, tuple(points), tuple(tangents))
        y_reverse, pullback = jax.vjp(f, *points)
        return {
            "value": _readable(self._call(self.rule, dynamic)),
            "value under jvp": y_forward,
            "value under vjp": y_reverse,
            "jvp": dy,
            "vjp": list(pullback(cotangent)),
        }

    def first_order(self, dynamic: Any, tangents: Any, cotangent: Any) -> dict[str, Any]:
        """What `both_modes` gives, each argument alone, the bare function and the twin."""
        f, points = self.function_at(dynamic), self.points_of(dynamic)
        alone = [_alone(f, points, index) for index in range(len(points))]
        twin = self.function_at(dynamic, self.rule.custom_vjp)
        y_twin, twin_pullback = jax.vjp(twin, *points)
        return self.both_modes(dynamic, tangents, cotangent) | {
            "primal": _readable(self.rule.apply(self.static, dynamic)),
            "jvp alone": [
                jax.jvp(g, (p,), (t,))[1] for g, p, t in zip(alone, points, tangents, strict=True)
            ],
            "vjp alone": [
                jax.vjp(g, p)[1](cotangent)[0] for g, p in zip(alone, points, strict=True)
            ],
            "twin value": y_twin,
            "twin vjp": list(twin_pullback(cotangent)),
        }

    @cached_property
    def measure(self) -> Callable[..., dict[str, Any]]:
        """All first-order numbers, compiled."""
        return compiled(self.first_order)

    def nested(self, order: int) -> Callable[..., dict[str, list[jax.Array]]]:
        """The derivative of an order in all nestings of the modes, contracted to numbers.

        The result takes arguments, as many directions as `order`, and a cotangent, and gives for
        each nesting one number per argument: the outermost derivative is along that argument alone.
        """

        def measure(dynamic: Any, directions: Sequence[Any], cotangent: Any) -> Any:
            f, points = self.function_at(dynamic), self.points_of(dynamic)
            found = {}
            for modes in _nestings(order):
                phi = _contracted(f, cotangent)
                for mode, along in zip(reversed(modes[1:]), directions, strict=False):
                    phi = _derivative(phi, mode, along)
                found[" over ".join(modes)] = _per_argument(phi, modes[0], points, directions[-1])
            return found

        return compiled(measure)

    def mapped(self, dynamic: Any, tangents: Any, cotangent: Any) -> dict[str, Any]:
        """`both_modes` under vmap, as ``{which argument is batched: result}``.

        Everything is given stacked; where an argument is not to be batched, its first entry is
        used.
        """

        def first(x: Any) -> Any:
            return jax.tree.map(lambda leaf: leaf[0], x)

        found = {}
        for index, name in enumerate(self.rule.argument_names):
            if jax.tree.leaves(dynamic[index]):
                axes = tuple(0 if i == index else None for i in range(len(dynamic)))
                chosen = tuple(
                    d if a == 0 else first(d) for d, a in zip(dynamic, axes, strict=True)
                )
                mapped = jax.vmap(self.both_modes, in_axes=(axes, None, None))
                found[name] = mapped(chosen, first(tangents), first(cotangent))
        found["all arguments"] = jax.vmap(self.both_modes)(dynamic, tangents, cotangent)
        return found

    @staticmethod
    def floats(values: Sequence[Any]) -> list[np.ndarray]:
        """Those of the output's leaves that have derivatives."""
        return numbers([x for x in values if _is_float(x)])

    def batch(self) -> list[Any]:
        """A few arguments near the start, for a batch."""
        return [
            self.at([[leaf * (1 - 0.05 * k) for leaf in leaves] for leaves in self.points])
            for k in range(_BATCH)
        ]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Jit a function that runs so few times that optimising it costs more than it gains."""
    hasty = {"xla_backend_optimization_level": "0"} if jax.default_backend() == "cpu" else None
    return jax.jit(function, compiler_options=hasty)


def _nestings(order: int) -> list[tuple[str, ...]]:
    """Every sequence of modes, the outermost first."""
    return list(itertools.product(("forward", "reverse"), repeat=order))


def central_difference(
    function: Callable[[float], Sequence[np.ndarray]],
) -> tuple[list[np.ndarray], float, float]:
    """Differentiate a function of one number at 0 by central differences of fourth order.

    Args:
        function: From a number to arrays.

    Returns:
        The derivative, for each entry from the two neighbouring steps that agree best; how far
        these are from agreeing, at most; and the size below which the derivative drowns in rounding
        errors.
    """
    estimates, largest = [], 0.0
    for h in _STEPS:
        ahead, behind, far_ahead, far_behind = (function(k * h) for k in (1, -1, 2, -2))
        largest = max(largest, largest_entry(ahead))
        estimates.append(
            [
                (8 * (a - b) - (aa - bb)) / (12 * h)
                for a, b, aa, bb in zip(ahead, behind, far_ahead, far_behind, strict=True)
            ]
        )
    best, disagreements = [], []
    for leaf in zip(*estimates, strict=True):
        stacked = np.stack(leaf)
        gaps = np.abs(np.diff(stacked, axis=0))
        choice = np.argmin(gaps, axis=0)[None]
        best.append(np.take_along_axis(stacked, choice, 0)[0])
        disagreements.append(np.take_along_axis(gaps, choice, 0))
    return best, largest_entry(disagreements), 1e-5 * largest


def largest_entry(arrays: Sequence[np.ndarray]) -> float:
    """The largest absolute value in some arrays."""
    return max((float(np.max(np.abs(a), initial=0.0)) for a in arrays), default=0.0)


def numbers(values: Any) -> list[np.ndarray]:
    """The leaves of a tree as NumPy arrays of float64."""
    return [np.asarray(x).astype(np.float64) for x in jax.tree.leaves(values)]


# Derivatives of functions of several arguments


def _alone(f: Callable[..., Any], points: Sequence[Any], index: int) -> Callable[[Any], Any]:
    return lambda point: f(*points[:index], point, *points[index + 1 :])


def _contracted(f: Callable[..., Leaves], cotangent: Leaves) -> Callable[..., jax.Array]:
    return lambda *points: tree.vdot(cotangent, f(*points))


def _derivative(
    phi: Callable[..., jax.Array], mode: str, along: Sequence[Leaves]
) -> Callable[..., jax.Array]:
    if mode == "forward":
        return lambda *points: jax.jvp(phi, points, tuple(along))[1]
    every = tuple(range(len(along)))
    return lambda *points: tree.vdot(list(jax.grad(phi, every)(*points)), list(along))


def _per_argument(
    phi: Callable[..., jax.Array], mode: str, points: Sequence[Leaves], along: Sequence[Leaves]
) -> list[jax.Array]:
    if mode == "forward":
        return [
            jax.jvp(_alone(phi, points, i), (p,), (t,))[1]
            for i, (p, t) in enumerate(zip(points, along, strict=True))
        ]
    gradients = jax.grad(phi, tuple(range(len(points))))(*points)
    return [tree.vdot(g, t) for g, t in zip(gradients, along, strict=True)]


def _widened(leaf: Any) -> Any:
    """In NumPy, where arithmetic on the points costs no compilation; random keys stay."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    array = np.asarray(leaf)
    return array.astype(np.float64) if _is_float(array) else array


def _is_float(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.floating))


def _readable(values: Any) -> Leaves:
    """The leaves, with random keys as the numbers that they are made of."""
    return [
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        for x in map(jnp.asarray, jax.tree.leaves(values))
    ]
