"""The elementary functions: powers, roots, exponentials, logarithms and circles.

Each derivative is written with functions of this room, `exp` with its own output, `sin` with `cos`, a `power`
with another power, so that derivatives of every order run written rules.
"""

from __future__ import annotations

import jax.numpy as jnp

from funcnet.primitives.broadcast import Values, align, unbroadcast
from funcnet.primitives.gates import divide, multiply, reciprocal
from funcnet.rules import rule
from funcnet.structure import Structure
from funcnet.typing import Array

__all__ = ["cos", "exp", "log", "power", "sin", "sqrt"]


@rule(
    residuals=lambda y, x: y,
    jvp=lambda y, t: y * t,
    vjp=lambda y, ct: ct * y,
    structure=Structure.DIAGONAL,
    formula="y = exp(x)",
    source="DLMF 4.7.7",
)
def exp(x: Array) -> Array:
    """The exponential, elementwise.

    ``y = exp(x)``: ``dy = y t`` and ``x_bar = ct y``. It is its own derivative, and keeps its output.

    Args:
        x: Array of any shape.

    Returns:
        Array of the shape of x, of floating dtype.

    Example:
        >>> import jax
        >>> from funcnet.primitives import exp
        >>> float(exp(0.0)), float(jax.grad(exp)(0.0))
        (1.0, 1.0)

    References:
        NIST Digital Library of Mathematical Functions, 4.7.7.
    """
    return jnp.exp(x)


@rule(
    residuals=lambda y, x: x,
    jvp=lambda x, t: reciprocal(x) * t,
    vjp=lambda x, ct: ct * reciprocal(x),
    structure=Structure.DIAGONAL,
    formula="y = log(x)",
    source="DLMF 4.7.1",
)
def log(x: Array) -> Array:
    """The natural logarithm, elementwise.

    ``y = log(x)``: ``dy = t / x`` and ``x_bar = ct / x``. At 0, y is -inf and the slope is inf. Below 0, y is NaN; the rules
    go on with ``1 / x``, so that a cotangent 0 stays 0 there.

    Args:
        x: Array of any shape.

    Returns:
        Array of the shape of x, of floating dtype.

    Example:
        >>> import jax
        >>> from funcnet.primitives import log
        >>> float(log(1.0)), float(jax.grad(log)(4.0)), float(jax.grad(log)(0.0))
        (0.0, 0.25, inf)

    References:
        NIST Digital Library of Mathematical Functions, 4.7.1.
    """
    return jnp.log(x)


@rule(
    residuals=lambda y, x: y,
    jvp=lambda y, t: divide(0.5 * t, y),
    vjp=lambda y, ct: divide(0.5 * ct, y),
    structure=Structure.DIAGONAL,
    formula="y = sqrt(x)",
    source="y^2 = x, differentiated",
)
def sqrt(x: Array) -> Array:
    """The square root, elementwise.

    ``y = sqrt(x)``: ``dy = t / (2 y)`` and ``x_bar = ct / (2 y)``, from the output. At 0 the slope is inf, as the tangent is
    upright there. Below 0 all is NaN.

    Args:
        x: Array of any shape.

    Returns:
        Array of the shape of x, of floating dtype.

    Example:
        >>> import jax
        >>> from funcnet.primitives import sqrt
        >>> float(sqrt(4.0)), float(jax.grad(sqrt)(4.0)), float(jax.grad(sqrt)(0.0))
        (2.0, 0.25, inf)

    References:
        ``y^2 = x``, differentiated: ``2 y dy = dx``.
    """
    return jnp.sqrt(x)


@rule(
    residuals=lambda y, x: x,
    jvp=lambda x, t: cos(x) * t,
    vjp=lambda x, ct: ct * cos(x),
    structure=Structure.DIAGONAL,
    formula="y = sin(x)",
    source="DLMF 4.20.1",
)
def sin(x: Array) -> Array:
    """The sine, elementwise.

    ``y = sin(x)``: ``dy = cos(x) t`` and ``x_bar = ct cos(x)``.

    Args:
        x: Array of any shape, in radians.

    Returns:
        Array of the shape of x, of floating dtype.

    Example:
        >>> import jax
        >>> from funcnet.primitives import sin
        >>> float(sin(0.0)), float(jax.grad(sin)(0.0))
        (0.0, 1.0)

    References:
        NIST Digital Library of Mathematical Functions, 4.20.1.
    """
    return jnp.sin(x)


@rule(
    residuals=lambda y, x: x,
    jvp=lambda x, t: -sin(x) * t,
    vjp=lambda x, ct: ct * -sin(x),
    structure=Structure.DIAGONAL,
    formula="y = cos(x)",
    source="DLMF 4.20.2",
)
def cos(x: Array) -> Array:
    """The cosine, elementwise.

    ``y = cos(x)``: ``dy = -sin(x) t`` and ``x_bar = -ct sin(x)``.

    Args:
        x: Array of any shape, in radians.

    Returns:
        Array of the shape of x, of floating dtype.

    Example:
        >>> import jax
        >>> from funcnet.primitives import cos
        >>> float(cos(0.0)), float(jax.grad(jax.grad(cos))(0.0))
        (1.0, -1.0)

    References:
        NIST Digital Library of Mathematical Functions, 4.20.2.
    """
    return jnp.cos(x)


# x^(y - 1) with the exponent rounded: what the rounding took away counts once more as a factor, or else a
# small y would lose digits where x is far from 1. At y = 0 the slope is 0 for every x, 0 and infinity included.
def _power_slope(x: Array, y: Array) -> Array:
    less = jnp.where(y == 0, 0, y - 1)
    return multiply(y, power(x, less))


def _log_of_base(v: Values) -> Array:
    """``y log(x)`` with the convention that 0 log(0) = 0."""
    base, _ = align("power", v.a, v.b)
    dead = (base == 0) | (v.y == 0)
    return jnp.where(dead, 0, v.y) * log(jnp.where(dead, 1, base))


@rule(
    residuals=Values,
    jvp=(
        lambda v, t: multiply(t, _power_slope(v.a, v.b)),
        lambda v, t: multiply(t, _log_of_base(v)),
    ),
    vjp=(
        lambda v, ct: unbroadcast(multiply(ct, _power_slope(v.a, v.b)), v.a),
        lambda v, ct: unbroadcast(ct * _log_of_base(v), v.b),
    ),
    structure=Structure.DIAGONAL,
    formula="z = x^y",
    source="DLMF 4.2.26 and 4.7",
)
def power(x: Array, y: Array) -> Array:
    """x"""
    return jnp.power(*align("power", x, y))
