"""Layers that change the shape of what comes in and nothing else."""

from __future__ import annotations

import math

import jax.numpy as jnp

from funcnet.errors import ShapeError
from funcnet.layers.types import Layer
from funcnet.typing import Array, Key, Params, ShapeDtype

__all__ = ["flatten"]


def flatten(start_axis: int = 1) -> Layer:
    """Merge the axes from ``start_axis`` to the last into one.

    The default keeps the first axis, that of the batch. For a single example, as inside of
    ``jax.vmap``, give 0, or count from the end: ``flatten(-3)`` merges the axes of an image
    whatever stands in front.

    Args:
        start_axis: The first axis to merge; a negative one counts from the end.

    Returns:
        A :class:`~funcnet.layers.Layer` with the parameters ``{}``. When no axis is left to merge,
        as in ``(batch,)`` with the default, the new axis has extent 1.

    Raises:
        ShapeError: When the input has fewer axes than ``start_axis`` tells of.

    Example:
        >>> import jax.numpy as jnp
        >>> flatten().apply({}, jnp.ones((5, 8, 8))).shape
        (5, 64)
    """

    def init(key: Key, x: Array | ShapeDtype) -> Params:
        del key, x
        return {}

    def apply(params: Params, x: Array) -> Array:
        del params
        x = jnp.asarray(x)
        start = start_axis if start_axis >= 0 else x.ndim + start_axis
        if not 0 <= start <= x.ndim:
            raise ShapeError(
                f"flatten: start_axis={start_axis} does not exist in an input of shape {x.shape}"
            )
        # The extent is computed, as -1 is ambiguous when another axis is empty.
        return jnp.reshape(x, (*x.shape[:start], math.prod(x.shape[start:])))

    return Layer(init, apply)
