"""Whether the Jacobian of a gradient is symmetric, as the second derivatives of a function are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Jaxpr

from funcnet.jacobian.signature import Call
from funcnet.jaxprs import look_inside

__all__ = ["has_symmetric_hessian"]

_OWN_DERIVATIVES = {"custom_jvp_call", "custom_vjp_call", "rule", "linear_call", "custom_transpose"}
"""Operations whose derivatives are what somebody wrote, true or not."""


def has_symmetric_hessian(f: Callable[..., Any], call: Call) -> bool:
    """Whether JAX's derivative of the gradient of a function is symmetric for sure.

    A custom rule may clip gradients, or stand in for a function that has none, so that the
    derivative of the gradient is that of no function. Without custom rules it is symmetric.

    Args:
        f: The function.
        call: A call of its gradient.

    Returns:
        Whether f has no operation with a custom rule, however deep inside.
    """
    jaxpr = jax.make_jaxpr(call.of(f).flat)(*call.avals, *call.other_avals)
    return not _has_own_derivatives(jaxpr.jaxpr)


def _has_own_derivatives(jaxpr: Jaxpr) -> bool:
    return any(
        eqn.primitive.name in _OWN_DERIVATIVES
        or any(_has_own_derivatives(body.jaxpr.jaxpr) for body in look_inside(eqn).bodies)
        for eqn in jaxpr.eqns
    )
