"""Dropout: random zeros in training, nothing in evaluation."""

from __future__ import annotations

from numbers import Real

import jax
import jax.numpy as jnp

from funcnet.errors import ArgumentError, MissingKeyError
from funcnet.layers._checks import floating_input
from funcnet.layers.types import StatefulLayer
from funcnet.rules import rule
from funcnet.structure import Structure
from funcnet.typing import Array, Key, Params, ShapeDtype, State

__all__ = ["drop", "dropout"]

_LEVELS = 2**16


def dropout(rate: float) -> StatefulLayer:
    """Set each element to zero with probability ``rate`` in training, and scale up the others.

    In training ``y = x * kept / (1 - rate)`` with ``kept`` in {0, 1} drawn anew for each element,
    ``P(kept = 0) = rate``, so that ``E[y] = x``. In evaluation ``y = x``. The backward rule is the
    same map of the cotangent, ``kept`` being drawn again from the key: no mask is stored.

    The rate is realised as the nearest multiple of 2^-16 strictly between 0 and 1, and the scale is
    that of the realised rate: the expectation is exact. A rate of 0 does nothing and needs no key;
    a rate of 1 makes everything zero.

    Under ``jax.vmap`` with one key for all examples, all get the same mask; split the key to have
    one each.

    Args:
        rate: The probability that an element is DROPPED, from 0 to 1.

    Returns:
        A :class:`~funcnet.layers.StatefulLayer` with params ``{}`` and state ``{}``.

    Raises:
        ArgumentError: When the rate is not a number from 0 to 1.
        MissingKeyError: When ``train=True`` and the rate is not 0, but no key is given.
        DTypeError: When the input is not of floating dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer, x = dropout(0.5), jnp.ones(8)
        >>> layer.apply({}, {}, x, key=jax.random.key(0), train=True)[0]
        Array([...], dtype=float32)
        >>> layer.apply({}, {}, x, train=False)[0]
        Array([1., 1., 1., 1., 1., 1., 1., 1.], dtype=float32)

    References:
        Srivastava et al. 2014, Dropout, JMLR 15.
    """
    if not (isinstance(rate, Real) and 0 <= rate <= 1):
        raise ArgumentError(
            f"dropout: rate is the probability to drop an element, from 0 to 1, got {rate!r}"
        )

    def init(key: Key, x: Array | ShapeDtype) -> tuple[Params, State]:
        del key, x
        return {}, {}

    def apply(
        params: Params, state: State, x: Array, key: Key | None = None, *, train: bool
    ) -> tuple[Array, State]:
        del params
        x = floating_input("dropout", x)
        if not train or rate == 0:
            return x, state
        if key is None:
            raise MissingKeyError(
                f"dropout: with train=True and rate={rate} a random key is needed; "
                "call apply(..., key=jax.random.key(0), train=True)"
            )
        if rate == 1:
            return jnp.zeros_like(x), state
        dropped = min(max(round(rate * _LEVELS), 1), _LEVELS - 1)
        return drop(x, key, dropped=dropped), state

    return StatefulLayer(init, apply)


def _dropped_like(key: Key, x: Array, *, dropped: int) -> Array:
    kept = jax.random.bits(key, x.shape, jnp.uint16) >= dropped
    return jnp.where(kept, x * (_LEVELS / (_LEVELS - dropped)), jnp.zeros_like(x))


# The map is linear and its own transpose: both rules are the map itself, with the mask drawn again.
@rule(
    residuals=lambda y, x, key, *, dropped: key,
    jvp=[_dropped_like, None],
    vjp=[_dropped_like, None],
    structure=[Structure.DIAGONAL, None],
    formula="y = x * kept / P(kept = 1)",
    source="Srivastava et al. 2014, Dropout, JMLR 15",
    static_argnames="dropped",
)
def drop(x: Array, key: Key, *, dropped: int) -> Array:
    """Zero each element with probability ``dropped / 65536`` and scale up the others.

    ``y = x * kept / P(kept = 1)``; ``dy = t * kept / P(kept = 1)`` and
    ``x_bar = ct * kept / P(kept = 1)``, with ``kept`` drawn from the key each time.

    Args:
        x: An array of any shape.
        key: A random key; it has no derivative.
        dropped: How many of 65 536 elements to drop on average, from 0 to 65 535.

    Returns:
        An array like x.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y = drop(jnp.ones(1000), jax.random.key(0), dropped=16_384)
        >>> sorted(set(y.tolist()))
        [0.0, 1.3333333730697632]
    """
    return _dropped_like(key, x, dropped=dropped)
