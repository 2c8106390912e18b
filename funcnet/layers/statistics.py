"""Layers whose state is a statistic of the inputs seen in training."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from funcnet.errors import ShapeError
from funcnet.layers._checks import floating_input, parameter_dtype
from funcnet.layers.types import StatefulLayer
from funcnet.typing import Array, Key, Params, ShapeDtype, State

__all__ = ["running_mean"]


def running_mean() -> StatefulLayer:
    """Subtract from each feature the mean of all its values seen in training.

    ``y = x - mean``, with x and y of shape ``(..., features)`` and the mean of shape
    ``(features,)``. In training the rows of x (all axes but the last) first update the state,

    ``count' = count + rows`` and ``mean' = mean + sum(x - mean) / count'``,

    so the mean is that of all rows, however they were cut into batches, and ``mean'`` is
    subtracted. In evaluation the state is used and stays as it is. No derivative flows from x
    through the mean: ``dy/dx`` is the identity in both modes.

    Returns:
        A :class:`~funcnet.layers.StatefulLayer` with the parameters ``{}`` and the state
        ``{"count", "mean"}``, both of floating dtype, float32 at least. From about 10^7 rows on the
        float32 count no longer grows by single rows; the mean then forgets slowly what is long
        past.

    Raises:
        ShapeError: When the input is a scalar, or has another last axis than the mean.
        DTypeError: When the input is not of floating dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer, x = running_mean(), jnp.array([[1.0], [3.0]])
        >>> params, state = layer.init(jax.random.key(0), x)
        >>> y, state = layer.apply(params, state, x, train=True)
        >>> y, state["mean"]
        (Array([[-1.],
               [ 1.]], dtype=float32), Array([2.], dtype=float32))
        >>> layer.apply(params, state, jnp.array([[5.0]]), train=False)[0]
        Array([[3.]], dtype=float32)
    """

    def init(key: Key, x: Array | ShapeDtype) -> tuple[Params, State]:
        del key
        dtype = parameter_dtype("running_mean", x)
        if not x.shape:
            raise ShapeError("running_mean: expected an input with features in its last axis")
        return {}, {"count": jnp.zeros((), dtype), "mean": jnp.zeros(x.shape[-1:], dtype)}

    def apply(
        params: Params, state: State, x: Array, key: Key | None = None, *, train: bool
    ) -> tuple[Array, State]:
        del params, key
        x = floating_input("running_mean", x)
        mean = state["mean"]
        if x.shape[-1:] != mean.shape:
            raise ShapeError(
                f"running_mean: the mean has shape {mean.shape}, got an input of shape {x.shape}"
            )
        if train:
            state = _update(state, jax.lax.stop_gradient(x).astype(mean.dtype))
        shift = jnp.broadcast_to(state["mean"].astype(x.dtype), x.shape)
        return x - shift, state

    return StatefulLayer(init, apply)


def _update(state: State, x: Array) -> State:
    rows = math.prod(x.shape[:-1])
    count = state["count"] + rows
    deviations = x - jnp.broadcast_to(state["mean"], x.shape)
    # An empty first batch divides by 1 instead of 0 and leaves the mean as it is.
    step = deviations.sum(range(x.ndim - 1)) / jnp.maximum(count, 1)
    return {"count": count, "mean": state["mean"] + step}
