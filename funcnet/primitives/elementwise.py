"""How an elementwise rule is stated, and the precision that it is computed in.

An elementwise function ``y = phi(x)`` has a diagonal Jacobian, so that both rules are a product
with the slope: ``dy = phi'(x) t`` and ``x_bar = ct phi'(x)``. `elementwise` states them so, from a
function and its slope. The rule keeps its input: from the output alone the slope cannot be told
where the output has saturated.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from funcnet.errors import DTypeError
from funcnet.rules import Rule, rule
from funcnet.structure import Structure
from funcnet.typing import Array

__all__ = ["elementwise", "in_float32"]


def in_float32(function: Callable[..., Array]) -> Callable[..., Array]:
    """Compute bfloat16 and float16 in float32, and round once, at the end."""

    @functools.wraps(function)
    def wide(x: Any, *args: Any, **settings: Any) -> Array:
        x = jnp.asarray(x)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise DTypeError(
                f"{function.__name__}: expected an array of real floating dtype, got {x.dtype}"
                f"{list(x.shape)}; convert it, for example with x.astype(jnp.float32)"
            )
        if x.dtype.itemsize >= 4:
            return function(x, *args, **settings)
        return function(x.astype(jnp.float32), *args, **settings).astype(x.dtype)

    return wide


def elementwise(
    *,
    slope: Callable[..., Array],
    formula: str = "",
    source: str = "",
    static_argnames: tuple[str, ...] = (),
) -> Callable[[Callable[..., Array]], Rule]:
    """State ``y = phi(x)`` from its slope: ``dy = phi'(x) t``, ``x_bar = ct phi'(x)``."""
    slope = in_float32(slope)

    def jvp(x: Array, t: Array, **static: Any) -> Array:
        return slope(x, **static) * t

    def vjp(x: Array, ct: Array, **static: Any) -> Array:
        return ct * slope(x, **static)

    def state(function: Callable[..., Array]) -> Rule:
        return rule(
            in_float32(function),
            residuals=lambda y, x, **static: x,
            jvp=jvp,
            vjp=vjp,
            structure=Structure.DIAGONAL,
            formula=formula,
            source=source,
            static_argnames=static_argnames,
        )

    return state
