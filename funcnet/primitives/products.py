"""Products with a vanishing factor, which keep every digit in the tails.

Slopes of smooth activations are products of something large and something small, such as
``x exp(-x^2 / 2)``. The small factor may underflow where the product does not, and a difference
such as ``1 - tanh(x)^2`` is 0 long before the truth is. Each product here is a rule of two
arguments that multiplies in an order which does neither; its derivatives are such products again,
so that derivatives of every order keep their digits.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from funcnet.rules import rule
from funcnet.structure import Structure
from funcnet.typing import Array

__all__ = [
    "gated_slope",
    "mills_ratio",
    "tail_start",
    "times_bell",
    "times_cdf",
    "times_gauss",
    "times_sigmoid",
]


def tail_start(x: Array) -> float:
    """How far from 0 the asymptotic series of `mills_ratio` holds, in the dtype of x."""
    return 12.0 if x.dtype == jnp.float32 else 30.0


def mills_ratio(x: Array) -> Array:
    """``Phi(x) / phi(x)`` for x far below zero, by its asymptotic series.

    ``-1/x (1 - 1/x^2 + 3/x^4 - 15/x^6 + ...)``; seven terms are exact to rounding from `tail_start`
    on.
    Source: Abramowitz & Stegun, 26.2.12.
    """
    u = 1.0 / jnp.square(x)
    series = 1.0 - u * (
        1.0 - 3 * u * (1.0 - 5 * u * (1.0 - 7 * u * (1.0 - 9 * u * (1.0 - 11 * u))))
    )
    return -series / x


@rule(
    residuals=lambda y, a, z: (a, z),
    jvp=(
        lambda res, t: times_sigmoid(t, res[1]),
        lambda res, t: times_bell(res[0] * t, res[1]),
    ),
    vjp=(
        lambda res, ct: times_sigmoid(ct, res[1]),
        lambda res, ct: times_bell(res[0] * ct, res[1]),
    ),
    structure=Structure.DIAGONAL,
    formula="y = a sigma(z)",
)
def times_sigmoid(a: Array, z: Array) -> Array:
    """``a sigma(z)``."""
    # exp(z) underflows at -87 in float32; half of it, twice, reaches as far as the product does.
    half = jnp.exp(-jnp.abs(z) / 2)
    return jnp.where(z < 0, (a * half) * half, a) / (1.0 + half * half)


def gated_slope(a: Array, z: Array) -> Array:
    """``sigma(z) (1 + a sigma(-z))``, with one exponential; not to be differentiated."""
    half = jnp.exp(-jnp.abs(z) / 2)
    below, share = z < 0, 1.0 / (1.0 + half * half)
    factor = 1.0 + a * (jnp.where(below, 1.0, half * half) * share)
    return jnp.where(below, (factor * half) * half, factor) * share


@rule(
    residuals=lambda y, a, z: (a, z),
    jvp=(
        lambda res, t: times_bell(t, res[1]),
        lambda res, t: times_bell(-res[0] * jnp.tanh(res[1] / 2) * t, res[1]),
    ),
    vjp=(
        lambda res, ct: times_bell(ct, res[1]),
        lambda res, ct: times_bell(-res[0] * jnp.tanh(res[1] / 2) * ct, res[1]),
    ),
    structure=Structure.DIAGONAL,
    formula="y = a sigma(z) sigma(-z)",
)
def times_bell(a: Array, z: Array) -> Array:
    """``a sigma(z) sigma(-z)``, the slope of the sigmoid times a."""
    half = jnp.exp(-jnp.abs(z) / 2)
    return (a * half) * half / jnp.square(1.0 + half * half)


@rule(
    residuals=lambda y, a, x: (a, x),
    jvp=(
        lambda res, t: times_gauss(t, res[1]),
        lambda res, t: times_gauss(-res[0] * res[1] * t, res[1]),
    ),
    vjp=(
        lambda res, ct: times_gauss(ct, res[1]),
        lambda res, ct: times_gauss(-res[0] * res[1] * ct, res[1]),
    ),
    structure=Structure.DIAGONAL,
    formula="y = a exp(-x^2 / 2) / sqrt(2 pi)",
)
def times_gauss(a: Array, x: Array) -> Array:
    """``a phi(x)``, with the density of N(0, 1)."""
    half = jnp.exp(-jnp.square(x) / 4)
    return (a * half) * half * 0.3989422804014327


@rule(
    residuals=lambda y, a, x: (a, x),
    jvp=(
        lambda res, t: times_cdf(t, res[1]),
        lambda res, t: times_gauss(res[0] * t, res[1]),
    ),
    vjp=(
        lambda res, ct: times_cdf(ct, res[1]),
        lambda res, ct: times_gauss(res[0] * ct, res[1]),
    ),
    structure=Structure.DIAGONAL,
    formula="y = a Phi(x)",
)
def times_cdf(a: Array, x: Array) -> Array:
    """``a Phi(x)``, with the distribution function of N(0, 1)."""
    tail = x < -tail_start(x)
    inner = jnp.where(tail, 0.0, x)
    outer = jnp.where(tail, x, -tail_start(x))
    body = a * (0.5 * lax.erfc(inner * -0.7071067811865476))
    return jnp.where(tail, times_gauss(a * mills_ratio(outer), outer), body)
