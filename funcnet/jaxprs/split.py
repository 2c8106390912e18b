"""Cutting the body of a loop where least has to be carried from one turn to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from funcnet.jaxprs.nesting import look_inside
from funcnet.jaxprs.operations import is_cheap

__all__ = ["is_cheap_equation", "split_tail"]


def is_cheap_equation(eqn: JaxprEqn) -> bool:
    """Whether running it again costs about as much as reading its result from memory.

    So it is of elementwise operations, of sums and of moving data; products of matrices, loops,
    branches, random bits, and whatever is unknown are not cheap.
    """
    bodies = look_inside(eqn).bodies
    if bodies:
        return all(
            body.role == "call" and all(map(is_cheap_equation, body.jaxpr.jaxpr.eqns))
            for body in bodies
        )
    return is_cheap(eqn.primitive.name) and not eqn.effects


def split_tail(
    jaxpr: ClosedJaxpr, carried_in: Sequence[bool], carried_out: Sequence[bool]
) -> tuple[ClosedJaxpr, ClosedJaxpr]:
    """Cut a function in two, ``head`` and then ``tail``, where the values between are fewest.

    The tail takes only cheap equations that compute the carried outputs, and that need inputs which
    are not carried, and closed-over values, only through the head. Of cuts with equally many bytes
    between, the one with the longest tail is taken.

    Args:
        jaxpr: The body of a loop, as ``jax.make_jaxpr`` returns it.
        carried_in: For each input whether it comes from the turn before.
        carried_out: For each output whether the next turn gets it.

    Returns:
        ``head``, of all inputs, returns the values between and then the outputs that are not
        carried; ``tail``, of the values between, returns the carried outputs.
    """
    top = jaxpr.jaxpr
    results = [v for v, carried in zip(top.outvars, carried_out, strict=True) if carried]
    others = [v for v, carried in zip(top.outvars, carried_out, strict=True) if not carried]
    own = _reached_without(top, carried_in)
    between = dict.fromkeys(v for v in results if not isinstance(v, Literal))
    needed_by_head = {v for v in others if not isinstance(v, Literal)}
    tail: list[JaxprEqn] = []
    best = (_nbytes(between), 0, list(between))
    for eqn in reversed(top.eqns):
        made = [v for v in eqn.outvars if v in between]
        operands = [v for v in eqn.invars if not isinstance(v, Literal)]
        if (
            made
            and needed_by_head.isdisjoint(eqn.outvars)
            and own.isdisjoint(operands)
            and is_cheap_equation(eqn)
        ):
            tail.append(eqn)
            for v in made:
                del between[v]
            between.update(dict.fromkeys(operands))
            if _nbytes(between) <= best[0]:
                best = (_nbytes(between), len(tail), list(between))
        else:
            needed_by_head.update(operands)
    _, length, cut = best
    taken = {id(eqn) for eqn in tail[:length]}
    head_eqns = [eqn for eqn in top.eqns if id(eqn) not in taken]
    tail_eqns = [eqn for eqn in top.eqns if id(eqn) in taken]
    return (
        _closed(jaxpr, top.invars, [*cut, *others], head_eqns),
        _closed(jaxpr, cut, results, tail_eqns),
    )


def _reached_without(top: Jaxpr, carried_in: Sequence[bool]) -> set[Var]:
    """Inputs that are not carried, closed-over values, and what is computed from these alone."""
    carried = {v for v, carried in zip(top.invars, carried_in, strict=True) if carried}
    own = {v for v in (*top.invars, *top.constvars) if v not in carried}
    for eqn in top.eqns:
        operands = {v for v in eqn.invars if not isinstance(v, Literal)}
        if operands & carried:
            carried.update(eqn.outvars)
        elif operands & own:
            own.update(eqn.outvars)
    return own


def _nbytes(variables: Any) -> int:
    return sum(v.aval.size * v.aval.dtype.itemsize for v in variables)


def _closed(
    whole: ClosedJaxpr, inputs: Sequence[Any], outputs: Sequence[Any], eqns: list[JaxprEqn]
) -> ClosedJaxpr:
    top = whole.jaxpr
    made = Jaxpr(top.constvars, list(inputs), list(outputs), eqns, top.effects, top.debug_info)
    return ClosedJaxpr(made, whole.consts)
