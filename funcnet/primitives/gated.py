"""Gated activations: x times a smooth step of x.

Elementwise, with their slopes, as in `activations`, and with as many digits: value and first two
derivatives d hold ``|error| <= 8 eps (|d| + |x d'|)`` far into the tails, where a factor of the
product underflows before the product does.
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from funcnet.primitives.elementwise import elementwise
from funcnet.primitives.products import (
    gated_slope,
    mills_ratio,
    tail_start,
    times_bell,
    times_cdf,
    times_gauss,
    times_sigmoid,
)
from funcnet.typing import Array

__all__ = ["gelu", "mish", "silu"]

# Beyond +-1000 every exponential here is 0 or overflows, in each dtype; clipping the factor of a
# vanished exponential there keeps 0 * inf away.
_FAR = 1000.0


def _clip(x: Array) -> Array:
    return jnp.clip(x, -_FAR, _FAR)


# silu and gelu


def _silu_curvature(x: Array) -> Array:
    x = _clip(x)
    return times_bell(2 - x * jnp.tanh(x / 2), x)


@elementwise(slope=_silu_curvature, formula="y = sigma(x) (1 + x sigma(-x))")
def _silu_slope(x: Array) -> Array:
    x = _clip(x)
    return gated_slope(x, x)


@elementwise(
    slope=_silu_slope,
    formula="y = x sigma(x)",
    source="Elfwing, Uchibe & Doya 2018, eq. 5; Hendrycks & Gimpel 2016",
)
def silu(x: Array) -> Array:
    """The sigmoid-weighted linear unit (swish), elementwise.

    ``y = x sigma(x)``, with slope ``s(x) = sigma(x) (1 + x sigma(-x))``: ``dy = s(x) t`` and
    ``x_bar = ct s(x)``.

    Args:
        x: Floating array of any shape.

    Returns:
        Array of the shape and dtype of x, at least -0.2785.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax
        >>> from funcnet.primitives import silu
        >>> float(silu(0.0)), float(jax.grad(silu)(0.0))
        (0.0, 0.5)

    References:
        Elfwing, Uchibe & Doya, Sigmoid-weighted linear units (2018), eq. 5 and 6.
    """
    x = jnp.maximum(x, -_FAR)
    return times_sigmoid(x, x)


# The tanh form is x sigma(z), for (1 + tanh(u)) / 2 = sigma(2u); z, dz and ddz are z = 2u and its
# derivatives.

_GELU_SCALE = 2 * math.sqrt(2 / math.pi)


def _gelu_argument(x: Array) -> Array:
    return _GELU_SCALE * x * (1 + 0.044715 * (x * x))


def _gelu_argument_slope(x: Array) -> Array:
    return _GELU_SCALE * (1 + 0.134145 * (x * x))


def _gelu_curvature(x: Array, approximate: bool) -> Array:
    x = jnp.clip(x, -50.0, 50.0)
    if not approximate:
        return times_gauss(2 - x * x, x)
    z, dz = _gelu_argument(x), _gelu_argument_slope(x)
    ddz = _GELU_SCALE * 0.26829 * x
    return times_bell(2 * dz + x * (ddz - dz * dz * jnp.tanh(z / 2)), z)


@elementwise(slope=_gelu_curvature, formula="y = d gelu / dx", static_argnames=("approximate",))
def _gelu_slope(x: Array, approximate: bool) -> Array:
    x = jnp.clip(x, -50.0, 50.0)
    if approximate:
        return gated_slope(x * _gelu_argument_slope(x), _gelu_argument(x))
    tail = x < -tail_start(x)
    outer = jnp.where(tail, x, -tail_start(x))
    body = times_cdf(jnp.ones_like(x), x) + times_gauss(x, x)
    return jnp.where(tail, times_gauss(outer + mills_ratio(outer), outer), body)


@elementwise(
    slope=_gelu_slope,
    formula="y = x Phi(x), or x sigma(2 sqrt(2/pi) (x + 0.044715 x^3)) if approximate",
    source="Hendrycks & Gimpel 2016, sec. 2",
    static_argnames=("approximate",),
)
def gelu(x: Array, approximate: bool = True) -> Array:
    """The Gaussian error linear unit, elementwise; the tanh form by default, as in `jax.nn`.

    Exactly, ``y = x Phi(x)`` with slope ``s(x) = Phi(x) + x phi(x)``, where Phi and phi are the
    cumulative distribution and the density of N(0, 1). The approximate form is
    ``y = x (1 + tanh(u)) / 2 = x sigma(2u)`` with ``u = sqrt(2/pi) (x + 0.044715 x^3)`` and slope
    ``s(x) = sigma(2u) + 2 x u' sigma(2u) sigma(-2u)``. In both, ``dy = s(x) t`` and
    ``x_bar = ct s(x)``.

    Args:
        x: Floating array of any shape.
        approximate: The tanh form (True) or the exact one (False).

    Returns:
        Array of the shape and dtype of x, at least -0.17.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax
        >>> from funcnet.primitives import gelu
        >>> float(gelu(0.0)), float(jax.grad(gelu)(0.0))
        (0.0, 0.5)
        >>> round(float(gelu(1.0, approximate=False)), 4)
        0.8413

    References:
        Hendrycks & Gimpel, Gaussian Error Linear Units, arXiv 1606.08415, section 2.
    """
    x = jnp.maximum(x, -50.0)
    if approximate:
        return times_sigmoid(x, _gelu_argument(x))
    return times_cdf(x, x)


# With e = exp(x), tanh(softplus(x)) = e (e + 2) / D, where D = e^2 + 2 e + 2. For x > 0 numerator
# and denominator are divided by the power of e that keeps them finite, and n = exp(-x) stands in
# them. For x < 0 the factor e is applied in two halves, so that it does not underflow before the
# product.


def _mish_parts(x: Array) -> tuple[Array, Array, Array]:
    half = jnp.exp(-jnp.abs(x) / 2)
    small = half * half
    return x > 0, half, small


def _mish_curvature(x: Array) -> Array:
    x = _clip(x)
    right, half, s = _mish_parts(x)
    d_left, d_right = 2 + s * (2 + s), 1 + s * (2 + 2 * s)
    left = 2 * (s + 1) * d_left + x * (2 + s * (2 - s * (3 + 2 * s)))
    left = 4 * (half * left) * half / (d_left * d_left * d_left)
    rest = 2 * (1 + s) * d_right + x * (s * (s * (2 * s + 2) - 3) - 2)
    rest = 4 * (s * rest) * s / (d_right * d_right * d_right)
    return jnp.where(right, rest, left)


@elementwise(slope=_mish_curvature, formula="y = w + 4 x e (e + 1) / D^2")
def _mish_slope(x: Array) -> Array:
    x = _clip(x)
    right, half, s = _mish_parts(x)
    d_left, d_right = 2 + s * (2 + s), 1 + s * (2 + 2 * s)
    left = (s + 2) / d_left + 4 * x * (s + 1) / (d_left * d_left)
    left = (half * left) * half
    rest = (1 + 2 * s) / d_right + 4 * x * (s * s) * (1 + s) / (d_right * d_right)
    return jnp.where(right, rest, left)


@elementwise(
    slope=_mish_slope,
    formula="y = x tanh(log(1 + exp(x)))",
    source="Misra 2019, eq. 1",
)
def mish(x: Array) -> Array:
    """The mish, elementwise.

    ``y = x w(x)`` with ``w(x) = tanh(softplus(x)) = e (e + 2) / D``, ``e = exp(x)``,
    ``D = e^2 + 2 e + 2``, and slope ``s(x) = w(x) + 4 x e (e + 1) / D^2``: ``dy = s(x) t`` and
    ``x_bar = ct s(x)``.

    Args:
        x: Floating array of any shape.

    Returns:
        Array of the shape and dtype of x, at least -0.3088.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax
        >>> from funcnet.primitives import mish
        >>> float(mish(0.0)), round(float(jax.grad(mish)(0.0)), 4)
        (0.0, 0.6)

    References:
        Misra, Mish: a self regularized non-monotonic activation function, arXiv 1908.08681, eq. 1.
    """
    x = jnp.maximum(x, -_FAR)
    right, half, s = _mish_parts(x)
    left = ((x * half) * half) * (s + 2) / (2 + s * (2 + s))
    return jnp.where(right, x * ((1 + 2 * s) / (1 + s * (2 + 2 * s))), left)
