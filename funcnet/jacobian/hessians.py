"""Hessians: the Jacobian of a gradient, and products with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from funcnet.jacobian.planning.options import MAX_BYTES, AnyOutput, Options
from funcnet.jacobian.planning.outputs import Output
from funcnet.jacobian.planning.plan import Plan
from funcnet.jacobian.planning.planned import Planned
from funcnet.jacobian.planning.planner import JacobianMode

__all__ = ["hessian", "hvp", "plan_hessian"]


def hessian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    mode: JacobianMode = "auto",
    output: AnyOutput = "dense",
    order: str = "auto",
    pattern: Any = None,
    check_pattern: bool = False,
    at_value: bool = False,
    autotune: bool = False,
    has_aux: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Callable[..., Any]:
    """The matrix of second derivatives of a scalar function.

    ::

        H[i, j] = d^2 f(x) / (d x[i] d x[j])

    The Jacobian of the gradient: as sparse as the function is separable. Where it is compressed,
    its symmetry saves products; not where f has custom rules, for what they say of the gradient
    need not be the derivative of anything.

    Args:
        f: A function to a scalar.
        argnums: As for :func:`~funcnet.jacobian.jacobian`.
        mode: As for :func:`~funcnet.jacobian.jacobian`.
        output: As for :func:`~funcnet.jacobian.jacobian`.
        order: As for :func:`~funcnet.jacobian.jacobian`.
        pattern: As for :func:`~funcnet.jacobian.jacobian`.
        check_pattern: As for :func:`~funcnet.jacobian.jacobian`.
        at_value: As for :func:`~funcnet.jacobian.jacobian`.
        autotune: As for :func:`~funcnet.jacobian.jacobian`.
        has_aux: As for :func:`~funcnet.jacobian.jacobian`.
        max_bytes: As for :func:`~funcnet.jacobian.jacobian`.

    Returns:
        A function of the arguments of f that returns the Hessian, in the form in which
        ``jax.hessian`` does.

    Raises:
        ArgumentError: As for :func:`~funcnet.jacobian.jacobian`.
        DTypeError: As for :func:`~funcnet.jacobian.jacobian`.

    Example:
        >>> import jax.numpy as jnp
        >>> hessian(lambda x: x[0] ** 2 * x[1])(jnp.array([3.0, 5.0]))
        Array([[10.,  6.],
               [ 6.,  0.]], dtype=float32)
    """
    planned = Planned(
        "hessian",
        jax.grad(f, argnums, has_aux=has_aux),
        argnums,
        Options(
            mode=mode,
            output=output,
            order=order,
            pattern=pattern,
            check_pattern=check_pattern,
            at_value=at_value,
            autotune=autotune,
            has_aux=has_aux,
            max_bytes=max_bytes,
        ),
        potential=f,
    )

    def hessian_of_f(*args: Any, **named: Any) -> Any:
        _, result, aux = planned(args, named)
        return (result, aux) if has_aux else result

    return hessian_of_f


def hvp(f: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """The product of a Hessian with a vector, without the Hessian.

    ::

        H v = d/dt grad f(x + t v) at t = 0

    Args:
        f: A function of one pytree to a scalar.

    Returns:
        A function of the point and the vector, two pytrees of one structure, that returns the
        product. It takes a tangent through the gradient: about as much as two gradients.

    Example:
        >>> import jax.numpy as jnp
        >>> hvp(lambda x: jnp.sum(x**3))(jnp.array([1.0, 2.0]), jnp.array([1.0, 10.0])).tolist()
        [6.0, 120.0]

    References:
        B. Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6 (1994).
    """
    return lambda x, v: jax.jvp(jax.grad(f), (x,), (v,))[1]


def plan_hessian(
    f: Callable[..., Any],
    *args: Any,
    argnums: int | Sequence[int] = 0,
    mode: JacobianMode = "auto",
    output: Output = "dense",
    order: str = "auto",
    pattern: Any = None,
    check_pattern: bool = False,
    at_value: bool = False,
    autotune: bool = False,
    has_aux: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Plan:
    """Tell how a Hessian will be computed, and what each way is expected to cost.

    Args:
        f: A function to a scalar.
        *args: Its arguments: arrays, or ShapeDtypeStructs, for only shapes matter.
        argnums: As for :func:`~funcnet.jacobian.jacobian`.
        mode: As for :func:`~funcnet.jacobian.jacobian`.
        output: As for :func:`~funcnet.jacobian.jacobian`.
        order: As for :func:`~funcnet.jacobian.jacobian`.
        pattern: As for :func:`~funcnet.jacobian.jacobian`.
        check_pattern: As for :func:`~funcnet.jacobian.jacobian`.
        at_value: As for :func:`~funcnet.jacobian.jacobian`.
        autotune: As for :func:`~funcnet.jacobian.jacobian`.
        has_aux: As for :func:`~funcnet.jacobian.jacobian`.
        max_bytes: As for :func:`~funcnet.jacobian.jacobian`.

    Returns:
        A :class:`Plan`, which prints itself and computes the Hessian when called.

    Raises:
        ArgumentError: As for :func:`~funcnet.jacobian.jacobian`.
        DTypeError: As for :func:`~funcnet.jacobian.jacobian`.

    Example:
        >>> import jax.numpy as jnp
        >>> f = lambda x: x[0] * jnp.sum(x**2)
        >>> plan_hessian(f, jnp.ones(100), mode="compressed").chosen.passes
        2
    """
    return Planned(
        "plan_hessian",
        jax.grad(f, argnums, has_aux=has_aux),
        argnums,
        Options(
            mode=mode,
            output=output,
            order=order,
            pattern=pattern,
            check_pattern=check_pattern,
            at_value=at_value,
            autotune=autotune,
            has_aux=has_aux,
            max_bytes=max_bytes,
        ),
        potential=f,
    ).plan(args)
