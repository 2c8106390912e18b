"""The elementary functions: powers, roots, exponentials, logarithms and circles.

Each derivative is written with functions of this room, `exp` with its own output, `sin` with `cos`,
a `power` with another power, so that derivatives of every order run written rules.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from funcnet.primitives.broadcast import Operands, align, in_full, spread, unbroadcast
from funcnet.primitives.gates import divide, reciprocal
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

    ``y = exp(x)``: ``dy = y t`` and ``x_bar = ct y``. It is its own derivative, and keeps its
    output.

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

    ``y = log(x)``: ``dy = t / x`` and ``x_bar = ct / x``. At 0, y is -inf and the slope is inf.
    Below 0, y is NaN; the rules go on with ``1 / x``, so that a cotangent 0 stays 0 there.

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

    ``y = sqrt(x)``: ``dy = t / (2 y)`` and ``x_bar = ct / (2 y)``, from the output. At 0 the slope
    is inf, as the tangent is upright there. Below 0 all is NaN.

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


# Powers. The slope y x^(y - 1) has three traps: x^(y - 1) may overflow or underflow where the
# product does not, the rounding of y - 1 costs digits where y is near 0 and x far from 1, and a
# factor 0 may meet an infinite one. `_times_power` avoids all of them, at every order, since its
# derivatives are of the same kind.


class _Powers(NamedTuple):
    """The residuals of `_times_power`."""

    a: Array
    x: Array
    y: Array


def _times_power_in_x(res: _Powers, s: Array, less: int) -> Array:
    return _times_power(s * res.a * (res.y - less), res.x, res.y, less + 1)


def _times_power_in_y(res: _Powers, s: Array, less: int) -> Array:
    return _times_power(s * res.a * _log_of_base(res.x, res.y), res.x, res.y, less)


def _log_of_base(x: Array, y: Array) -> Array:
    """log(x), but 0 where x^y is 0 whatever y does: 0 log(0) is 0 here."""
    gone = (x == 0) | ((x == jnp.inf) & (y < 0))
    return log(jnp.where(gone, 1, x))


@rule(
    residuals=lambda z, a, x, y, less: _Powers(a, x, y),
    jvp=(
        lambda res, t, less: _times_power(t, res.x, res.y, less=less),
        _times_power_in_x,
        _times_power_in_y,
    ),
    vjp=(
        lambda res, ct, less: _times_power(ct, res.x, res.y, less=less),
        _times_power_in_x,
        _times_power_in_y,
    ),
    structure=Structure.DIAGONAL,
    formula="z = a x^(y - less)",
    static_argnames="less",
)
def _times_power(a: Array, x: Array, y: Array, less: int) -> Array:
    """``a x^(y - less)``, without overflow, underflow or rounding on the way."""
    size, exponent = jnp.abs(x), y - less
    plain = (size > 2.0**-14) & (size < 2.0**15) & (jnp.abs(exponent) <= 7)
    apart = ~plain & (jnp.abs(y) < 0.5) & (size > 0) & (size < jnp.inf)
    # x^(y - less) at once, or as x^y and two halves of x^-less, or as two halves of itself.
    first = jnp.power(size, jnp.where(plain, exponent, jnp.where(apart, y, exponent / 2)))
    half = jnp.where(apart, jnp.power(size, -less / 2), first)
    product = a * first * jnp.where(plain, 1, half) * jnp.where(apart, half, 1)
    odd = exponent - 2 * jnp.floor(exponent / 2)
    sign = jnp.where(odd == 0, 1, jnp.where(odd == 1, -1, jnp.nan))
    return jnp.where(a == 0, 0, product * jnp.where(x < 0, sign, 1))


def _power_in_x(v: Operands, s: Array) -> Array:
    """``s y x^(y - 1)`` for a tangent or cotangent s in the shape of the output."""
    x, y = (in_full(spread(u, v.y)) for u in (v.a, v.b))
    return _times_power(s.astype(x.dtype) * y, x, y, less=1).astype(v.y.dtype)


def _power_in_y(v: Operands, s: Array) -> Array:
    """``s x^y log(x)``, likewise."""
    x, y = (spread(u, v.y) for u in (v.a, v.b))
    growth = _log_of_base(x, y)
    return s * jnp.where(growth == 0, 0, v.y) * growth


@rule(
    residuals=Operands,
    jvp=(
        lambda v, t: _power_in_x(v, spread(t, v.y)),
        lambda v, t: _power_in_y(v, spread(t, v.y)),
    ),
    vjp=(
        lambda v, ct: unbroadcast(_power_in_x(v, ct), v.a),
        lambda v, ct: unbroadcast(_power_in_y(v, ct), v.b),
    ),
    structure=Structure.DIAGONAL,
    formula="z = x^y",
    source="DLMF 4.7.7 with x^y = exp(y log(x))",
)
def power(x: Array, y: Array) -> Array:
    """One array to the power of another, elementwise.

    ``z = x^y``: ``dz = y x^(y-1) t_x + z log(x) t_y`` and ``x_bar = ct y x^(y-1)``,
    ``y_bar = ct z log(x)``, summed over what was repeated.

    At ``x = 0``: z is 1 for ``y = 0``, as in NumPy. The slope in x is 0 for ``y = 0``, and else
    what ``y x^(y-1)`` says: inf for ``0 < y < 1``, 1 for ``y = 1``, 0 beyond. The slope in y is 0,
    also where z has underflowed. For ``x < 0``, z is real for whole y alone; there the slope in x
    is right and the slope in y is NaN, for it has no value.

    Args:
        x: Array of any shape, the base.
        y: Array of a shape that broadcasts with that of x, the exponent.

    Returns:
        Array of the broadcast shape.

    Raises:
        ShapeError: The shapes do not broadcast.

    Example:
        >>> import jax
        >>> from funcnet.primitives import power
        >>> float(power(3.0, 2.0)), float(jax.grad(power)(3.0, 2.0))
        (9.0, 6.0)

    References:
        NIST Digital Library of Mathematical Functions, 4.7.7, with ``x^y = exp(y log(x))``.
    """
    return jnp.power(*align("power", x, y))
