"""The variance-scaling family: weights whose variance is a constant divided by a number of terms.

A unit ``h_j = sum_i x_i w_ij`` adds ``n_in`` independent terms, so that ``Var h = n_in Var w
E[x^2]``; in the backward pass a cotangent adds ``n_out``. ``Var w = scale / n`` keeps either size,
or a compromise, and the presets are the choices that have names.

For other activations than the identity and ReLU, the scale that keeps a signal's size is
``gain(activation)**2``: see :func:`~funcnet.initializers.gain`.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import jax

from funcnet.errors import ArgumentError
from funcnet.initializers.factory import factory, finite_number, initializer, positive_int
from funcnet.initializers.fans import Axes, as_ints, fans_for
from funcnet.typing import Array, DTypeLike, Init, Key

__all__ = ["Distribution", "Mode", "scaled", "variance_scaling"]

Mode: TypeAlias = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
Distribution: TypeAlias = Literal["normal", "truncated_normal", "uniform"]

# The standard deviation of N(0, 1) given |z| <= 2: sqrt(1 - 4 p(2) / P(|z| <= 2)) with the
# density p.
_TRUNCATED_STDDEV = 0.87962566103423978


@factory
def variance_scaling(
    scale: float,
    mode: Mode,
    distribution: Distribution,
    *,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    groups: int = 1,
) -> Init:
    """Draw with mean 0 and variance ``scale / n``, where ``n`` counts inputs, outputs, or both.

    ======================  ==========================================================
    ``mode``                ``n``
    ======================  ==========================================================
    ``"fan_in"``            ``n_in``: keeps the size of signals
    ``"fan_out"``           ``n_out``: keeps the size of gradients
    ``"fan_avg"``           ``(n_in + n_out) / 2``
    ``"fan_geo_avg"``       ``sqrt(n_in * n_out)``
    ======================  ==========================================================

    ======================  ==========================================================
    ``distribution``        with ``s = sqrt(scale / n)``
    ======================  ==========================================================
    ``"normal"``            ``N(0, s^2)``
    ``"truncated_normal"``  ``N(0, c^2)`` given ``|w| <= 2 c``, ``c = s / 0.8796...``
    ``"uniform"``           ``U(-sqrt(3) s, sqrt(3) s)``
    ======================  ==========================================================

    All three have the variance ``scale / n``. The fans are those of
    :func:`~funcnet.initializers.fans`, which says how convolutions, their groups and stacked
    kernels are counted.

    Args:
        scale: the variance times ``n``, at least 0.
        mode: what ``n`` is.
        distribution: what is drawn from.
        in_axis: the kernel's axis, or axes, that are summed over.
        out_axis: the axis, or axes, of the outputs.
        batch_axis: the axis, or axes, along which independent kernels are stacked.
        groups: the number of groups of a convolution, which divides the fan-out.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``.

    Raises:
        ArgumentError: if ``scale`` is negative or not finite, or a name is unknown.
        ShapeError: by the initializer, if the shape lacks the axes.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from funcnet.initializers import gain, variance_scaling
        >>> init = variance_scaling(gain(jnp.tanh) ** 2, "fan_in", "normal")
        >>> print(f"{1000 * init(jax.random.key(0), (1000, 1000)).var():.2f}")
        2.53
    """
    return scaled(
        "variance_scaling", scale, mode, distribution, (in_axis, out_axis, batch_axis), groups
    )


def scaled(
    name: str,
    scale: float,
    mode: Mode,
    distribution: Distribution,
    axes: tuple[Axes, Axes, Axes],
    groups: int = 1,
) -> Init:
    """Variance scaling for a preset, whose name the errors carry.

    Args:
        name: the preset's name.
        scale: as for :func:`~funcnet.initializers.variance_scaling`.
        mode: as for :func:`~funcnet.initializers.variance_scaling`.
        distribution: as for :func:`~funcnet.initializers.variance_scaling`.
        axes: ``(in_axis, out_axis, batch_axis)``.
        groups: as for :func:`~funcnet.initializers.variance_scaling`.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``.
    """
    factor = finite_number(name, "scale", scale)
    if factor < 0:
        raise ArgumentError(f"{name}: scale must be at least 0, got {factor}")
    _check_choice(name, "mode", mode, get_args(Mode))
    _check_choice(name, "distribution", distribution, get_args(Distribution))
    for argument, axis in zip(("in_axis", "out_axis", "batch_axis"), axes, strict=True):
        as_ints(name, argument, axis)
    positive_int(name, "groups", groups)

    def draw(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        fan_in, fan_out = fans_for(name, shape, *axes, groups)
        # A fan of 0 belongs to an empty kernel, which any variance fits.
        stddev = math.sqrt(factor / max(_terms(mode, fan_in, fan_out), 1))
        if distribution == "normal":
            return jax.random.normal(key, shape, dtype) * stddev
        if distribution == "uniform":
            return jax.random.uniform(key, shape, dtype, -1.0, 1.0) * (math.sqrt(3) * stddev)
        cut = jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)
        return cut * (stddev / _TRUNCATED_STDDEV)

    return initializer(name, draw)


def _terms(mode: Mode, fan_in: int, fan_out: int) -> float:
    if mode == "fan_in":
        return fan_in
    if mode == "fan_out":
        return fan_out
    if mode == "fan_avg":
        return (fan_in + fan_out) / 2
    return math.sqrt(fan_in * fan_out)


def _check_choice(name: str, argument: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ArgumentError(f"{name}: {argument} must be one of {choices}, got {value!r}")
