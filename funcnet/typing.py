"""The words that all signatures of this library share.

Aliases give one name to one idea: an ``Array`` is a JAX array or a tracer for one, ``Params`` is
a nested dict of arrays, a ``Key`` is what ``jax.random.key`` returns. Protocols describe the
functions that are handed from one room of the library to another; anything callable with the right
signature fits, no base class is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import jax
import numpy as np

__all__ = [
    "Array",
    "ArrayLike",
    "DTypeLike",
    "Init",
    "Key",
    "Params",
    "PyTree",
    "Shape",
    "ShapeDtype",
    "State",
]

Array: TypeAlias = jax.Array
"""A JAX array, or the tracer that stands for one."""

ArrayLike: TypeAlias = jax.typing.ArrayLike
"""Anything that ``jnp.asarray`` accepts as one array: arrays, NumPy scalars and Python scalars."""

DTypeLike: TypeAlias = jax.typing.DTypeLike
"""Anything that names a dtype, such as ``jnp.float32`` or ``"bfloat16"``."""

ShapeDtype: TypeAlias = jax.ShapeDtypeStruct
"""The shape and dtype of an array that does not exist yet."""

Shape: TypeAlias = Sequence[int]
"""The extents of an array, outermost axis first."""

Key: TypeAlias = jax.Array
"""A random key, as made by ``jax.random.key``."""

PyTree: TypeAlias = Any
"""A nesting of containers that JAX knows, with arrays as leaves."""

Params: TypeAlias = dict[str, Any]
"""The parameters of a network: nested dicts of arrays."""

State: TypeAlias = dict[str, Any]
"""What a network carries from call to call besides its parameters: nested dicts of arrays."""


class Init(Protocol):
    """An initializer: a function that draws the first value of a parameter."""

    def __call__(self, key: Key, shape: Shape, dtype: DTypeLike = np.float32) -> Array:
        """Draw an array of the given shape and dtype."""
        ...
