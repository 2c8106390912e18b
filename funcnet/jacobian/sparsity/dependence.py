"""Which entries of its results an operation makes from which entries of its operands.

An operation that is applied as a whole, since it holds a loop or shares complex numbers, is still
made of small ones, each of which says where its Jacobian can differ from 0. Going through them in
order gives the support of the whole: that of a branch is the union over its branches, that of a
loop the sum over all ways through its steps (:mod:`funcnet.jacobian.sparsity.loops`). Whatever is
not known counts as dense, so that no entry is ever missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from funcnet.jacobian.linearization import CLOSED, LinearProgram, aval_of
from funcnet.jacobian.operations.table import block_of, form_of
from funcnet.jacobian.sparsity.footprints import footprint_of
from funcnet.jacobian.sparsity.loops import Steps
from funcnet.jacobian.sparsity.supports import (
    Support,
    TooLargeError,
    beside,
    closure,
    empty,
    full,
    identity_support,
    listed_support,
    product,
    support_of,
    transposed,
    union,
)
from funcnet.jaxprs import Body, inline, look_inside

__all__ = ["Dependence"]


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
    """Unknowns depend on the right-hand sides of the equations that they are joined to by others.

    The inverse of a matrix lies in all its powers, and a solver that gives a pseudo-inverse, or
    stops early, may use the transpose besides.
    """
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
    matrix = beside(list(zip(*columns, strict=True)))
    powers = closure(union(matrix, transposed(matrix)))
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
        eqn, kept = self._eqn, [p for p, _ in self._kept]
        width, height = _size(eqn.invars[place]), sum(self._sizes)
        added, own = self._by(place)
        none = [empty(d.shape[0], width) for d in own]
        if place in kept:
            start, entries = sum(self._sizes[: kept.index(place)]), np.arange(width)
            first = listed_support(start + entries, entries, (height, width))
            seen = self._steps.by_whole(first, empty(height, width), none)
        elif place in self._sliced:
            seen = self._steps.by_slices(added, own)
        else:
            seen = self._steps.by_whole(empty(height, width), added, own)
        carry, stacked = seen
        found = dict(zip(self._stacked, stacked, strict=True))
        for (_, result), (a, b) in zip(
            self._kept, pairwise(np.cumsum([0, *self._sizes])), strict=True
        ):
            found[result] = carry[a:b]
        return [found.get(r, empty(_size(v), width)) for r, v in enumerate(eqn.outvars)]

    @cached_property
    def _stacked(self) -> list[int]:
        """The results that each step writes a slice of."""
        return [r for r in range(len(self._eqn.outvars)) if r not in self._carry_out]

    @cached_property
    def _steps(self) -> Steps:
        columns = [self._by(p) for p, _ in self._kept]
        height = sum(self._sizes)
        carry = beside([[c for c, _ in columns]]) if columns else empty(height, 0)
        readings = [
            beside([[own[i] for _, own in columns]]) if columns else empty(self._slice(r), 0)
            for i, r in enumerate(self._stacked)
        ]
        is_reversed = bool(self._eqn.params.get("reverse"))
        return Steps(carry, readings, self._body.trips, is_reversed)

    def _by(self, place: int) -> tuple[Support, list[Support]]:
        """What one step sees of what it gets of an operand: all it carries, and what it stacks."""
        found = self._inner.supports(sum(self._linear[: self._body.inputs.index(place)]))
        at = self._body.outputs.index
        carries = [[found[at(r)]] for _, r in self._kept]
        own = [found[at(r)] for r in self._stacked]
        width = found[0].shape[1] if found else 0
        return beside(carries) if carries else empty(0, width), own

    def _slice(self, result: int) -> int:
        """The size of what one step writes of a stacked result."""
        return int(self._body.jaxpr.out_avals[self._body.outputs.index(result)].size)
