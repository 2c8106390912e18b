"""Initializers that draw from one distribution, whatever the shape."""

from __future__ import annotations

import jax

from funcnet.errors import ArgumentError
from funcnet.initializers.factory import factory, finite_number, initializer
from funcnet.typing import Array, DTypeLike, Init, Key

__all__ = ["normal", "truncated_normal", "uniform"]


@factory
def normal(stddev: float = 0.01) -> Init:
    """Draw from N(0, stddev^2).

    The default, 0.01, is the lecture's small random start. It suits shallow networks: in deep ones
    signals shrink from layer to layer, see :func:`~funcnet.initializers.he_normal` and
    :func:`~funcnet.initializers.xavier_normal`.

    Args:
        stddev: the standard deviation, at least 0.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for any shape.

    Raises:
        ArgumentError: if ``stddev`` is negative or not finite.

    Example:
        >>> import jax
        >>> from funcnet.initializers import normal
        >>> weights = normal(0.02)(jax.random.key(0), (1000, 1000))
        >>> print(f"{weights.std():.3f}")
        0.020
    """
    sigma = _standard_deviation("normal", stddev)

    def draw(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return jax.random.normal(key, shape, dtype) * sigma

    return initializer("normal", draw)


@factory
def uniform(minval: float = -0.01, maxval: float = 0.01) -> Init:
    """Draw from U[minval, maxval).

    Both ends are given, as in ``jax.random.uniform``. (``jax.nn.initializers.uniform(scale)`` draws
    from ``[0, scale)``, and other libraries from ``[-scale, scale)``.)

    Args:
        minval: the lower end, included.
        maxval: the upper end, excluded (but a dtype narrower than float32 may round up to it).

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for any shape.

    Raises:
        ArgumentError: if ``minval >= maxval``, or an end is not finite.

    Example:
        >>> import jax
        >>> from funcnet.initializers import uniform
        >>> weights = uniform(-0.5, 0.5)(jax.random.key(0), (1000, 1000))
        >>> print(f"{weights.min():.3f} {weights.max():.3f}")
        -0.500 0.500
    """
    low, high = _interval("uniform", "minval", minval, "maxval", maxval)

    def draw(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, low, high)

    return initializer("uniform", draw)


@factory
def truncated_normal(stddev: float = 0.01, *, lower: float = -2.0, upper: float = 2.0) -> Init:
    """Draw from N(0, stddev^2), cut off at ``lower * stddev`` and ``upper * stddev``.

    ``stddev`` is that of the normal before its tails are cut, as in
    ``jax.nn.initializers.truncated_normal``: cut at two standard deviations, the draws have 0.8796
    of it. The truncated members of the variance-scaling family, such as
    :func:`~funcnet.initializers.truncated_he_normal`, correct for that.

    Args:
        stddev: the standard deviation before the cut, at least 0.
        lower: the lower bound, in standard deviations.
        upper: the upper bound, in standard deviations.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for any shape.

    Raises:
        ArgumentError: if ``stddev`` is negative, ``lower >= upper``, or a number is not finite.

    Example:
        >>> import jax
        >>> from funcnet.initializers import truncated_normal
        >>> weights = truncated_normal(1.0)(jax.random.key(0), (1000, 1000))
        >>> print(f"{weights.std():.2f} {weights.max():.2f}")
        0.88 2.00
    """
    sigma = _standard_deviation("truncated_normal", stddev)
    low, high = _interval("truncated_normal", "lower", lower, "upper", upper)

    def draw(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return jax.random.truncated_normal(key, low, high, shape, dtype) * sigma

    return initializer("truncated_normal", draw)


def _standard_deviation(name: str, stddev: float) -> float:
    sigma = finite_number(name, "stddev", stddev)
    if sigma < 0:
        raise ArgumentError(f"{name}: stddev must be at least 0, got {sigma}")
    return sigma


def _interval(
    name: str, low_name: str, low: float, high_name: str, high: float
) -> tuple[float, float]:
    ends = finite_number(name, low_name, low), finite_number(name, high_name, high)
    if not ends[0] < ends[1]:
        raise ArgumentError(
            f"{name}: {low_name}={ends[0]} must be less than {high_name}={ends[1]}; give both "
            f"ends, as in {name}({low_name}=-0.5, {high_name}=0.5)"
        )
    return ends
