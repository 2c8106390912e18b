"""Which entries of its results an operation makes from which entries of its operands.

An operation that is applied as a whole, since it holds a loop or shares complex numbers, is still
made of small ones, each of which says where its Jacobian can differ from 0. Going through them in
order gives the support of the whole. A loop's is the sum over all ways through its steps: with the
body's Jacobian split into carry by carry A, carry by operand C, result by carry D and result by
operand F, the carry follows ``S <- A S + C`` from step to step. A loop of unknown length takes all
powers of A at once, a branch the union over its branches. Whatever is not known counts as dense, so
that no entry is ever missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from funcnet.jacobian.footprints import footprint_of
from funcnet.jacobian.linearization import CLOSED, LinearProgram, aval_of
from funcnet.jacobian.operations import block_of, form_of
from funcnet.jacobian.supports import (
    LARGEST,
    Support,
    TooLargeError,
    beside,
    closure,
    empty,
    equal,
    full,
    identity_support,
    listed_support,
    product,
    support_of,
    union,
)
from funcnet.jaxprs import Body, inline, look_inside

__all__ = ["Dependence"]

_MOST_STEPS = 256
"""The steps of a loop are told apart until there are this many patterns of them."""


class Dependence:
    """Where results of some equations of a linear program depend on what they read."""

    def __init__(
        self,
        program: LinearProgram,
        equations: Sequence[JaxprEqn],
        inputs: Sequence[Var],
        outputs: Sequence[Any],
    ) -> None:
        self._program, self._equations = program, list(equations)
        self._inputs, self._outputs = list(inputs), list(outputs)
        self._supports: dict[tuple[int, int, int], Support] = {}
        self._loops: dict[int, _Loop] = {}
        self._found: dict[int, list[Support] | None] = {}

    def by(self, place: int) -> list[Support] | None:
        """The support of each output by one input; None if they are too large to be listed."""
        if place not in self._found:
            try:
                self._found[place] = self._through(place)
            except TooLargeError:
                self._found[place] = None
        return self._found[place]

    def supports(self, place: int) -> list[Support]:
        """The support of each output by one input.

        Raises:
            TooLargeError: If one on the way has too many entries.
        """
        found = self.by(place)
        if found is None:
            raise TooLargeError
        return found

    def depends(self, result: int) -> bool:
        """Whether an output depends on any input."""
        return not isinstance(self._outputs[result], Literal)

    def _through(self, place: int) -> list[Support]:
        start = self._inputs[place]
        width = _size(start)
        reached: dict[Var, Support] = {start: identity_support(width)}
        for number, eqn in enumerate(self._equations):
            operands = [v for v in self._program.operands(eqn) if v in reached]
            if not operands:
                continue
            for result, out in enumerate(eqn.outvars):
                parts = [
                    product(self._support(number, i, result), reached[v])  # type: ignore[index]
                    for i, v in enumerate(eqn.invars)
                    if any(v is x for x in operands)
                ]
                reached[out] = union(*parts)
        return [
            reached[v] if not isinstance(v, Literal) and v in reached else empty(_size(v), width)
            for v in self._outputs
        ]

    def _support(self, number: int, place: int, result: int) -> Support:
        """The support of a result of one equation by one operand."""
        key = (number, place, result)
        if key not in self._supports:
            eqn = self._equations[number]
            block = block_of(self._program, eqn, place, result)
            if block is None and len(eqn.outvars) == 1:
                block = form_of(self._program, eqn, place)
                block = block or footprint_of(self._program, eqn, place)
            if block is not None:
                self._supports[key] = support_of(block)
            else:
                for i, found in enumerate(self._inside(number, place)):
                    self._supports[number, place, i] = found
        return self._supports[key]

    def _inside(self, number: int, place: int) -> list[Support]:
        """The supports of all results of an equation that holds functions, or of one unknown."""
        eqn = self._equations[number]
        if eqn.primitive.name == "custom_linear_solve":
            return _solve(self._program, eqn, place)
        nesting = look_inside(eqn)
        bodies = [b for b in nesting.bodies if b.role != "condition"]
        roles = {b.role for b in nesting.bodies}
        if roles == {"branch"} and place in bodies[0].inputs:
            parts = [_of_branch(self._program, eqn, body, place) for body in bodies]
            return [union(*same) for same in zip(*parts, strict=True)]
        if "loop" in roles and len(bodies) == 1 and place in bodies[0].inputs:
            if number not in self._loops:
                self._loops[number] = _Loop(self._program, eqn, bodies[0], nesting.carried)
            return self._loops[number].supports(place)
        return _dense(eqn, place)


def _size(atom: Any) -> int:
    return int(aval_of(atom).size)


def _dense(eqn: JaxprEqn, place: int) -> list[Support]:
    return [full(_size(v), _size(eqn.invars[place])) for v in eqn.outvars]


def _nested(
    program: LinearProgram, eqn: JaxprEqn, body: Body, linear: Sequence[bool], same: Sequence[bool]
) -> Dependence:
    """The inside of an equation.

    Args:
        program: The program that the equation stands in.
        eqn: The equation.
        body: The function inside.
        linear: For each of its inputs whether it is linear in it.
        same: For each of its inputs whether it is the operand itself, each time it runs.
    """
    flat = inline(body.jaxpr, keep=CLOSED)
    top = flat.jaxpr
    known = [i for i, is_linear in enumerate(linear) if not is_linear]
    tangents = [v for v, is_linear in zip(top.invars, linear, strict=True) if is_linear]
    reordered = Jaxpr(
        top.constvars,
        [*(top.invars[i] for i in known), *tangents],
        top.outvars,
        top.eqns,
        top.effects,
        top.debug_info,
    )
    static = {
        at: array
        for at, i in enumerate(known)
        if same[i] and (array := program.static(eqn.invars[body.inputs[i]])) is not None
    }
    inner = LinearProgram(ClosedJaxpr(reordered, flat.consts), len(known), 0, static)
    outputs = [
        v if out is not None else Literal(np.float32(0), aval_of(v))
        for v, out in zip(top.outvars, inner.outputs, strict=True)
    ]
    return Dependence(inner, inner.equations, inner.inputs, outputs)


def _of_branch(program: LinearProgram, eqn: JaxprEqn, body: Body, place: int) -> list[Support]:
    """The supports of the results of one branch, by an operand."""
    linear = [program.is_linear(eqn.invars[p]) for p in body.inputs]
    inner = _nested(program, eqn, body, linear, [True] * len(linear))
    return inner.supports(sum(linear[: body.inputs.index(place)]))


def _solve(program: LinearProgram, eqn: JaxprEqn, place: int) -> list[Support]:
    """The inverse of a linear map lies in all powers of the map."""
    lengths, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    first = sum(lengths)
    consts = [*range(lengths.matvec)]
    if any(program.is_linear(v) for v in eqn.invars[:first]):
        return _dense(eqn, place)
    count = len(eqn.invars) - first
    body = Body(jaxprs.matvec, "call", "matvec", (*consts, *range(first, first + count)), ())
    linear = [False] * len(consts) + [True] * count
    inner = _nested(program, eqn, body, linear, [True] * len(consts) + [False] * count)
    columns = [inner.supports(i) for i in range(count)]
    powers = closure(beside(list(zip(*columns, strict=True))))
    ends = np.cumsum([0, *(_size(v) for v in eqn.outvars)])
    start, end = ends[place - first : place - first + 2]
    return [powers[a:b, start:end] for a, b in pairwise(ends)]


class _Loop:
    """A loop whose body is linear in some of what it carries and reads."""

    def __init__(
        self,
        program: LinearProgram,
        eqn: JaxprEqn,
        body: Body,
        carried: Sequence[tuple[int, int]],
    ) -> None:
        self._eqn, self._body, self._trips = eqn, body, body.trips
        self._carry_in = [operand for operand, _ in carried]
        self._carry_out = [result for _, result in carried]
        operands = [eqn.invars[p] for p in body.inputs]
        inside = body.jaxpr.in_avals
        self._sliced = [
            body.inputs[i]
            for i, v in enumerate(operands)
            if aval_of(v).ndim != inside[i].ndim  # an axis more outside: what is read step by step
        ]
        same = [p not in self._carry_in and p not in self._sliced for p in body.inputs]
        linear = [program.is_linear(v) for v in operands]
        while True:
            inner = _nested(program, eqn, body, linear, same)
            more = list(linear)
            for operand, result in carried:
                if inner.depends(body.outputs.index(result)):
                    more[body.inputs.index(operand)] = True
            if more == linear:
                break
            linear = more
        self._inner, self._linear = inner, linear
        self._kept = [(p, r) for p, r in carried if linear[body.inputs.index(p)]]
        self._sizes = [_size(eqn.invars[p]) for p, _ in self._kept]

    def supports(self, place: int) -> list[Support]:
        """The supports of all results by an operand."""
        carry = empty(0, 0)
        if self._kept:
            columns = [self._carries_by(p) for p, _ in self._kept]
            carry = beside(list(zip(*columns, strict=True)))
        kept = [p for p, _ in self._kept]
        width = _size(self._eqn.invars[place])
        if place in kept:
            own = np.arange(width)
            start = sum(self._sizes[: kept.index(place)])
            first = listed_support(start + own, own, (sum(self._sizes), width))
            return self._stacked(carry, first, None)
        if place in self._sliced:
            return self._by_slices(carry, place)
        return self._stacked(carry, empty(sum(self._sizes), width), place)

    def _by(self, place: int) -> list[Support]:
        """The supports of all outputs of the body by what it gets of an operand."""
        return self._inner.supports(sum(self._linear[: self._body.inputs.index(place)]))

    def _carries_by(self, place: int) -> list[Support]:
        found = self._by(place)
        return [found[self._body.outputs.index(r)] for _, r in self._kept]

    def _carry_to(self, result: int) -> Support:
        """What one step's part of a stacked result sees of all that is carried."""
        at = self._body.outputs.index(result)
        return beside([[self._by(p)[at] for p, _ in self._kept]])

    def _steps(self, carry: Support, first: Support, added: Support) -> Iterator[Support]:
        """What the carry sees, before each step; the last one holds for all steps after."""
        seen = first
        for _ in range(_MOST_STEPS):
            yield seen
            more = product(carry, seen)
            more = union(more, added)
            if equal(more, seen):
                return
            seen = more
        yield product(closure(carry), union(seen, added))

    def _stacked(self, carry: Support, first: Support, const: int | None) -> list[Support]:
        """By what the loop starts from, or by what each step reads again."""
        width = first.shape[1]
        added = empty(*first.shape)
        here: list[Support] | None = None
        if const is not None:
            here = self._by(const)
            if self._kept:
                added = beside([[here[self._body.outputs.index(r)]] for _, r in self._kept])
        if self._trips is None:
            powers = closure(carry) if self._kept else carry
            return self._split(product(powers, union(first, added)), {}, width)
        steps: list[Support] = []
        for seen in self._steps(carry, first, added) if self._kept else [first]:
            steps.append(seen)
            if len(steps) > self._trips:
                break
        last = steps[min(self._trips, len(steps) - 1)]
        stacked = {}
        for result, out in enumerate(self._eqn.outvars):
            if result in self._carry_out:
                continue
            own = None if here is None else here[self._body.outputs.index(result)]
            shape = (_size(out) // max(self._trips, 1), width)
            through = self._carry_to(result) if self._kept else None
            parts = []
            for seen in steps[: self._trips]:
                part = None if through is None else product(through, seen)
                parts.append(_sum([part, own], shape))
            stacked[result] = _tiled(parts, self._order(), width)
        return self._split(last, stacked, width)

    def _by_slices(self, carry: Support, place: int) -> list[Support]:
        """By an operand of which each step reads a slice."""
        trips = self._trips
        width = _size(self._eqn.invars[place])
        if not trips:
            return [empty(_size(v), width) for v in self._eqn.outvars]
        each = width // trips
        here = self._by(place)
        order = self._order()
        lags: list[Support] = []
        if self._kept:
            first = beside([[here[self._body.outputs.index(r)]] for _, r in self._kept])
            for seen in self._steps(carry, first, empty(*first.shape)):
                lags.append(seen)
                if len(lags) >= trips:
                    break
        # After step t the carry has seen the slice of step t - lag by the support of that lag.
        last = empty(sum(self._sizes), width)
        if lags:
            ahead = np.minimum(np.arange(trips), len(lags) - 1)
            last = _placed(
                [(lags[a], 0, int(order[trips - 1 - lag])) for lag, a in enumerate(ahead)],
                (sum(self._sizes), each),
                (1, trips),
            )
        stacked = {}
        for result, out in enumerate(self._eqn.outvars):
            if result in self._carry_out:
                continue
            at = self._body.outputs.index(result)
            through = [product(self._carry_to(result), lag) for lag in lags] if lags else []
            count = trips * here[at].nnz + sum(
                (trips - 1 - lag) * through[min(lag, len(lags) - 1)].nnz
                for lag in range(trips - 1 if lags else 0)
            )
            if count > LARGEST:
                raise TooLargeError
            parts = [(here[at], int(t), int(t)) for t in order]
            for lag in range(trips - 1 if lags else 0):
                part = through[min(lag, len(lags) - 1)]
                if part.nnz:
                    parts += [
                        (part, int(order[t]), int(order[t - lag - 1]))
                        for t in range(lag + 1, trips)
                    ]
            stacked[result] = _placed(parts, (_size(out) // trips, each), (trips, trips))
        return self._split(last, stacked, width)

    def _order(self) -> np.ndarray:
        """Where the slice of each step stands."""
        where = np.arange(self._trips or 0)
        return where[::-1] if self._eqn.params.get("reverse") else where

    def _split(self, carry: Support, stacked: dict[int, Support], width: int) -> list[Support]:
        """The supports of all results, given that of all carries together."""
        found = []
        ends = np.cumsum([0, *self._sizes])
        place_of = {r: i for i, (_, r) in enumerate(self._kept)}
        for result, out in enumerate(self._eqn.outvars):
            if result in place_of:
                i = place_of[result]
                found.append(carry[ends[i] : ends[i + 1]])
            else:
                found.append(stacked.get(result, empty(_size(out), width)))
        return found


def _sum(parts: Sequence[Support | None], shape: tuple[int, int]) -> Support:
    found = [p for p in parts if p is not None]
    return union(*found) if found else empty(*shape)


def _tiled(parts: Sequence[Support], order: np.ndarray, width: int) -> Support:
    """The supports of each step one below the other; the last holds for all that follow."""
    if not len(order):
        return empty(0, width)
    counts = [parts[min(t, len(parts) - 1)].nnz for t in range(len(order))]
    if sum(counts) > LARGEST:
        raise TooLargeError
    height = parts[0].shape[0]
    placed = [(parts[min(t, len(parts) - 1)], int(at), 0) for t, at in enumerate(order)]
    return _placed(placed, (height, width), (len(order), 1))


def _placed(
    parts: Sequence[tuple[Support, int, int]], each: tuple[int, int], grid: tuple[int, int]
) -> Support:
    """A matrix of equal parts, of which some are given with their row and column in the grid."""
    rows = [np.zeros(0, np.int64)]
    cols = [np.zeros(0, np.int64)]
    if sum(part.nnz for part, _, _ in parts) > LARGEST:
        raise TooLargeError
    for part, i, j in parts:
        listed = part.tocoo()
        rows.append(listed.row.astype(np.int64) + i * each[0])
        cols.append(listed.col.astype(np.int64) + j * each[1])
    shape = (each[0] * grid[0], each[1] * grid[1])
    return listed_support(np.concatenate(rows), np.concatenate(cols), shape)
