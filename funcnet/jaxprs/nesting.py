"""Which functions run inside one equation of a jaxpr, how often, and on what.

A jaxpr is a straight list of equations, but some of them hold whole functions: a nested ``jit``,
the body of a loop, the branches of a ``cond``, the function behind a custom derivative.
:func:`look_inside` is the one place that knows how each of them passes its operands on and takes
its results back. It goes by what the parameters are rather than by what they are called, because
JAX renames them from one release to the next.

Primitives made elsewhere in the library open themselves by :func:`register_opener`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

__all__ = ["Body", "Nesting", "Role", "look_inside", "register_opener"]

Role = Literal["call", "loop", "condition", "branch", "device"]
"""What becomes of a body: run once in place, run in turn, asked whether to go on, one chosen, or
run on each device of a mesh."""


@dataclass(frozen=True)
class Body:
    """A function inside an equation.

    Attributes:
        jaxpr: The function.
        role: What becomes of it.
        label: Its name for a reader, such as ``"scan"``, ``"cond[1]"`` or the name of a jitted
            function; empty if it has none.
        inputs: For each of its inputs, the position of the operand of the equation that it gets,
            or that it gets a slice of.
        outputs: For each of its outputs, the position of the result of the equation that it makes,
            or that it makes a slice of; None for the verdict of a condition.
        trips: How often it runs; None if that depends on values.
    """

    jaxpr: ClosedJaxpr
    role: Role
    label: str
    inputs: tuple[int, ...]
    outputs: tuple[int | None, ...]
    trips: int | None = 1


@dataclass(frozen=True)
class Nesting:
    """All functions inside one equation.

    Attributes:
        bodies: The functions; none for an ordinary operation.
        carried: Of a loop, the pairs of operand and result that hold the same carried value.
    """

    bodies: tuple[Body, ...] = ()
    carried: tuple[tuple[int, int], ...] = ()


Opener = Callable[[JaxprEqn], ClosedJaxpr]

_openers: dict[str, tuple[Opener, Callable[[JaxprEqn], str]]] = {}


def register_opener(
    primitive_name: str, opener: Opener, label: Callable[[JaxprEqn], str] | None = None
) -> None:
    """Teach the walker to look into the equations of one primitive.

    Args:
        primitive_name: The name of the primitive.
        opener: Returns, for an equation of that primitive, the function that it computes: a
            jaxpr from the operands of the equation to its results.
        label: Returns a name for the function; without it, the name of the primitive is used.

    Example:
        >>> register_opener("my_call", lambda eqn: eqn.params["call_jaxpr"])
    """
    _openers[primitive_name] = (opener, label or (lambda eqn: primitive_name))


def look_inside(eqn: JaxprEqn) -> Nesting:
    """Open one equation.

    Args:
        eqn: An equation of any jaxpr.

    Returns:
        The functions inside. Functions that an operation only uses to combine two numbers, as
        ``reduce`` and ``scatter`` do, do not count.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> loop = lambda x: jax.lax.fori_loop(0, 5, lambda i, c: jnp.sin(c), x)
        >>> eqn = jax.make_jaxpr(loop)(1.0).eqns[-1]
        >>> [body.trips for body in look_inside(eqn).bodies]
        [5]
    """
    name = eqn.primitive.name
    if name in _openers:
        opener, label = _openers[name]
        return Nesting((_call(eqn, opener(eqn), label(eqn)),))
    special = _SPECIAL.get(name)
    if special is not None:
        return special(eqn)
    for jaxpr in _jaxprs_in(eqn.params):
        if _fits(eqn, jaxpr):
            return Nesting((_call(eqn, jaxpr, eqn.params.get("name", "")),))
    return Nesting()


def _call(eqn: JaxprEqn, jaxpr: ClosedJaxpr, label: str) -> Body:
    inputs, outputs = tuple(range(len(eqn.invars))), tuple(range(len(eqn.outvars)))
    return Body(jaxpr, "call", label, inputs, outputs)


def _scan(eqn: JaxprEqn) -> Nesting:
    body = _closed(eqn.params["jaxpr"])
    # What is carried has one shape inside and outside; what is stacked has an axis more outside.
    carries = _count_equal_ranks(body.out_avals, [v.aval for v in eqn.outvars])
    unsliced = _count_equal_ranks(body.in_avals, [v.aval for v in eqn.invars])
    consts = unsliced - carries
    call = _call(eqn, body, "scan")
    loop = Body(body, "loop", "scan", call.inputs, call.outputs, eqn.params["length"])
    return Nesting((loop,), tuple((consts + i, i) for i in range(carries)))


def _count_equal_ranks(inside: Any, outside: Any) -> int:
    return sum(a.ndim == b.ndim for a, b in zip(inside, outside, strict=True))


def _while(eqn: JaxprEqn) -> Nesting:
    cond_consts, body_consts = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    first, carries = cond_consts + body_consts, len(eqn.outvars)
    carry = tuple(range(first, first + carries))
    cond_inputs = (*range(cond_consts), *carry)
    body_inputs = (*range(cond_consts, first), *carry)
    cond, body = _closed(eqn.params["cond_jaxpr"]), _closed(eqn.params["body_jaxpr"])
    return Nesting(
        (
            Body(cond, "condition", "while condition", cond_inputs, (None,), None),
            Body(body, "loop", "while", body_inputs, tuple(range(carries)), None),
        ),
        tuple((first + i, i) for i in range(carries)),
    )


def _cond(eqn: JaxprEqn) -> Nesting:
    inputs, outputs = tuple(range(1, len(eqn.invars))), tuple(range(len(eqn.outvars)))
    return Nesting(
        tuple(
            Body(_closed(branch), "branch", f"cond[{i}]", inputs, outputs)
            for i, branch in enumerate(eqn.params["branches"])
        )
    )


def _linear_solve(eqn: JaxprEqn) -> Nesting:
    # Of the four functions that it holds, the value needs the solver alone.
    lengths, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    first = lengths.matvec + lengths.vecmat
    right_hand_side = first + lengths.solve + lengths.transpose_solve
    inputs = (*range(first, first + lengths.solve), *range(right_hand_side, len(eqn.invars)))
    outputs = tuple(range(len(eqn.outvars)))
    return Nesting((Body(_closed(jaxprs.solve), "call", "solve", inputs, outputs),))


def _shard_map(eqn: JaxprEqn) -> Nesting:
    call = _call(eqn, _closed(eqn.params["jaxpr"]), "shard_map")
    extents = eqn.params["mesh"].shape
    axes = eqn.params.get("newly_manual_axes", eqn.params.get("manual_axes", extents))
    devices = math.prod(extents[axis] for axis in axes)
    return Nesting((Body(call.jaxpr, "device", "shard_map", call.inputs, call.outputs, devices),))


_SPECIAL: dict[str, Callable[[JaxprEqn], Nesting]] = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "custom_linear_solve": _linear_solve,
    "shard_map": _shard_map,
}


def _jaxprs_in(params: dict[str, Any]) -> Iterator[ClosedJaxpr]:
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, Jaxpr | ClosedJaxpr):
                yield _closed(item)


def _closed(jaxpr: Jaxpr | ClosedJaxpr) -> ClosedJaxpr:
    return jaxpr if isinstance(jaxpr, ClosedJaxpr) else ClosedJaxpr(jaxpr, ())


def _fits(eqn: JaxprEqn, jaxpr: ClosedJaxpr) -> bool:
    ours = [*(v.aval for v in eqn.invars), *(v.aval for v in eqn.outvars)]
    theirs = [*jaxpr.in_avals, *jaxpr.out_avals]
    return (
        len(eqn.invars) == len(jaxpr.in_avals)
        and len(ours) == len(theirs)
        and all(_signature(a) == _signature(b) for a, b in zip(ours, theirs, strict=True))
    )


def _signature(aval: Any) -> tuple[Any, Any]:
    return getattr(aval, "shape", None), getattr(aval, "dtype", None)
