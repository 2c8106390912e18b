"""Initializers without chance: biases, scales, and whatever else has a known first value."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.initializers.factory import factory, initializer
from funcnet.typing import Array, ArrayLike, DTypeLike, Init, Key

__all__ = ["constant", "ones", "zeros"]


@factory
def zeros() -> Init:
    """All zeros: the customary bias. The key is ignored.

    A weight matrix of zeros would give all units of a layer the same gradient for ever; biases may
    be equal, because the weights tell the units apart.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for any shape.

    Example:
        >>> import jax
        >>> from funcnet.initializers import zeros
        >>> zeros()(jax.random.key(0), (3,))
        Array([0., 0., 0.], dtype=float32)
    """
    return _filled("zeros", 0.0)


@factory
def ones() -> Init:
    """All ones: the customary scale of a normalization. The key is ignored.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for any shape.

    Example:
        >>> import jax
        >>> from funcnet.initializers import ones
        >>> ones()(jax.random.key(0), (3,))
        Array([1., 1., 1.], dtype=float32)
    """
    return _filled("ones", 1.0)


@factory
def constant(value: ArrayLike) -> Init:
    """One value everywhere, or an array that is broadcast to the shape. The key is ignored.

    Args:
        value: a real number, or an array whose shape broadcasts to the shape asked for.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for any shape.

    Raises:
        DTypeError: if the value is complex.
        ArgumentError: if it is no number and no array.
        ShapeError: by the initializer, if the value does not broadcast to the shape.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from funcnet.initializers import constant
        >>> constant(0.1)(jax.random.key(0), (2,))
        Array([0.1, 0.1], dtype=float32)
        >>> constant(np.arange(3))(jax.random.key(0), (2, 3))
        Array([[0., 1., 2.],
               [0., 1., 2.]], dtype=float32)
    """
    if not isinstance(value, (bool, int, float, complex, np.generic, np.ndarray, jax.Array)):
        raise ArgumentError(
            f"constant: value must be a number or an array, got {value!r}; make an array of it"
        )
    if jnp.iscomplexobj(value):
        raise DTypeError(f"constant: value must be real, got {value!r}; pass its real part")
    return _filled("constant", value)


def _filled(name: str, value: ArrayLike) -> Init:
    def draw(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        try:
            return jnp.broadcast_to(jnp.asarray(value, dtype), shape)
        except ValueError as error:
            raise ShapeError(
                f"{name}: a value of shape {jnp.shape(value)} does not broadcast to {shape}"
            ) from error

    return initializer(name, draw, random=False)
