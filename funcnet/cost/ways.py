"""The ways to differentiate a function, from the function alone to recomputing it backwards.

A table from names to builders. Each builder says what runs, on which arguments besides those of the
function, how many tangents or cotangents go through the function, what is kept for the way back,
and what Griewank's bound is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.cost.bounds import Bound, gradient_bound, tangent_bound
from funcnet.cost.function import Function
from funcnet.cost.gradients import value_and_grad
from funcnet.errors import ArgumentError
from funcnet.jacobian import plan_jacobian
from funcnet.jacobian.planning.planner import JacobianMode
from funcnet.jaxprs import residuals

__all__ = ["WAYS", "Inapplicable", "Way", "build_way", "check_ways"]


class Inapplicable(Exception):
    """This way does not exist for this function; the message says why."""


@dataclass(frozen=True, eq=False)
class Way:
    """One way to differentiate a function.

    Attributes:
        name: Its name, one of `WAYS`.
        run: What runs, a function of the arguments and of `extra`.
        extra: The shapes and dtypes of directions or weights, or a random key.
        passes: How many tangents or cotangents go through the function; None if that is not how
            it works.
        kept_bytes: Counts what is kept between the way forwards and the way back; None if there is
            no way back.
        bound: What it may cost in multiples of the function; None where no bound is known.
        seeds: How many unit directions or weights it makes, as the rows of an identity matrix.
        planned: Whether preparing it is work of its own.
    """

    name: str
    run: Callable[[Any, Any], Any]
    extra: Any = ()
    passes: int | None = None
    kept_bytes: Callable[[], int] | None = field(default=None, repr=False)
    bound: Bound | None = None
    seeds: int = 0
    planned: bool = False


Builder = Callable[[str, Function, Any], Way]


def _primal(name: str, f: Function, policy: Any) -> Way:
    return Way(name, lambda args, _: f.f(*args))


def _jvp(name: str, f: Function, policy: Any) -> Way:
    def run(args: Any, tangents: Any) -> Any:
        return jax.jvp(f.restricted(args), f.chosen(args), tangents)

    tangents = jax.tree.map(_shape_of, f.chosen(f.args))
    return Way(name, run, tangents, 1, bound=tangent_bound(1))


def _vjp(name: str, f: Function, policy: Any) -> Way:
    def run(args: Any, cotangents: Any) -> Any:
        y, pullback = jax.vjp(f.restricted(args), *f.chosen(args))
        return y, pullback(cotangents)

    return Way(name, run, jax.tree.map(_shape_of, f.out), 1, _kept(f, f.f), gradient_bound(1))


def _forward_jacobian(name: str, f: Function, policy: Any) -> Way:
    jacobian, passes = _jacobian_by_mode(f, "forward")
    n = f.inputs
    return Way(name, lambda args, _: jacobian(*args), (), passes, None, tangent_bound(n), n)


def _reverse_jacobian(name: str, f: Function, policy: Any) -> Way:
    jacobian, passes = _jacobian_by_mode(f, "reverse")
    kept, m = _kept(f, f.f), f.outputs
    return Way(name, lambda args, _: jacobian(*args), (), passes, kept, gradient_bound(m), m)


def _compressed_jacobian(name: str, f: Function, policy: Any) -> Way:
    jacobian, colors = _jacobian_by_mode(f, "compressed")
    return Way(name, lambda args, _: jacobian(*args), (), colors, planned=True)


def _eliminated_jacobian(name: str, f: Function, policy: Any) -> Way:
    jacobian, _ = _jacobian_by_mode(f, "eliminate")
    return Way(name, lambda args, _: jacobian(*args), planned=True)


def _forward_gradient(name: str, f: Function, policy: Any) -> Way:
    if not f.is_scalar:
        raise Inapplicable(f"{f.name} does not return a single number")
    estimate = value_and_grad(f.f, f.argnums, mode="forward_estimate")
    key = jax.random.key(0)
    return Way(name, lambda args, key: estimate(*args, key=key), key, 1)


def _checkpointed_vjp(name: str, f: Function, policy: Any) -> Way:
    again = jax.checkpoint(f.f, policy=policy)

    def run(args: Any, cotangents: Any) -> Any:
        y, pullback = jax.vjp(f.restricted(args, again), *f.chosen(args))
        return y, pullback(cotangents)

    # Once more forwards than one VJP.
    bound = gradient_bound(1) + 1
    return Way(name, run, jax.tree.map(_shape_of, f.out), 1, _kept(f, again), bound)


def _jacobian_by_mode(f: Function, mode: JacobianMode) -> tuple[Callable[..., Any], int | None]:
    """The full Jacobian in a mode, as a function of all arguments, and its passes or colours."""
    if mode == "forward":
        return jax.jacfwd(f.f, f.argnums), f.inputs
    if mode == "reverse":
        return jax.jacrev(f.f, f.argnums), f.outputs
    try:
        plan = plan_jacobian(f.f, *f.args, argnums=f.argnums, mode=mode)
    except ArgumentError as error:
        raise Inapplicable(str(error)) from error
    return plan, plan.chosen.passes or None


_BUILDERS: dict[str, Builder] = {
    "primal": _primal,
    "one JVP": _jvp,
    "one VJP": _vjp,
    "forward Jacobian": _forward_jacobian,
    "reverse Jacobian": _reverse_jacobian,
    "compressed Jacobian": _compressed_jacobian,
    "eliminated Jacobian": _eliminated_jacobian,
    "forward gradient": _forward_gradient,
    "checkpointed VJP": _checkpointed_vjp,
}

WAYS: tuple[str, ...] = tuple(_BUILDERS)
"""The names of all ways. ``"primal"`` is the function alone; ``"one JVP"`` and ``"one VJP"`` are
its value with one tangent or one cotangent; the Jacobians are full ones, by a tangent for each
input, a cotangent for each output, a tangent or cotangent for each colour, or a product of local
Jacobians; ``"forward gradient"`` is the estimate from one random direction; and ``"checkpointed
VJP"`` computes again instead of keeping."""


def check_ways(caller: str, names: Sequence[str]) -> None:
    """Raise unless all names are those of ways.

    Args:
        caller: Who asks, for the error.
        names: The names.

    Raises:
        ArgumentError: One is not in `WAYS`.
    """
    for name in names:
        if name not in WAYS:
            raise ArgumentError(
                f"{caller}: ways has {name!r}, which is none of {', '.join(map(repr, WAYS))}."
            )


def build_way(name: str, f: Function, policy: Any = None) -> Way:
    """Prepare one of the ways.

    Args:
        name: One of `WAYS`.
        f: The function at its arguments.
        policy: What the checkpointed VJP keeps, as for ``jax.checkpoint``.

    Returns:
        The :class:`Way`.

    Raises:
        Inapplicable: There is no such way for this function.
    """
    return _BUILDERS[name](name, f, policy)


def _shape_of(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(jnp.shape(leaf), leaf.dtype)


def _kept(f: Function, function: Callable[..., Any]) -> Callable[[], int]:
    return lambda: residuals(function, *f.args, argnums=f.argnums).nbytes
