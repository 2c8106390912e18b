"""The dense layer: an affine map of the last axis."""

from __future__ import annotations

from funcnet.errors import ShapeError
from funcnet.initializers import lecun_normal, zeros
from funcnet.layers._checks import floating_input, parameter, parameter_dtype, require_count
from funcnet.layers._scope import fold_in_name
from funcnet.layers.types import Layer
from funcnet.primitives import affine, linear
from funcnet.typing import Array, Init, Key, Params, ShapeDtype

__all__ = ["dense"]


def dense(
    features: int,
    *,
    use_bias: bool = True,
    kernel_init: Init | None = None,
    bias_init: Init | None = None,
) -> Layer:
    """Multiply the last axis by a kernel and add a bias.

    ``y = x @ kernel + bias``, with x of shape ``(..., inputs)``, kernel of shape
    ``(inputs, features)``, bias of shape ``(features,)`` and y of shape ``(..., features)``. There
    may be any number of leading axes, none included, of any extent, zero included.

    The default kernel has variance ``1 / inputs``, which keeps the variance of a signal through the
    layer itself; before a ReLU pass ``kernel_init=he_normal()``.

    Args:
        features: The extent of the last axis of the output, at least 1.
        use_bias: Whether to add a bias.
        kernel_init: Draws the kernel. None stands for ``lecun_normal()``.
        bias_init: Draws the bias. None stands for ``zeros()``.

    Returns:
        A :class:`~funcnet.layers.Layer` with the parameters ``{"kernel", "bias"}``, or
        ``{"kernel"}`` without a bias. It computes in the dtype of its input.

    Raises:
        ArgumentError: When ``features`` is not a positive integer.
        ShapeError: When the input is a scalar, or has another last axis than the kernel was made
        for. DTypeError: When the input is not of floating dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer = dense(3)
        >>> params = layer.init(jax.random.key(0), jax.ShapeDtypeStruct((2,), jnp.float32))
        >>> jax.tree.map(jnp.shape, params)
        {'bias': (3,), 'kernel': (2, 3)}
        >>> layer.apply(params, jnp.ones((5, 2))).shape
        (5, 3)
    """
    features = require_count("dense", "features", features, at_least=1)
    draw_kernel = lecun_normal() if kernel_init is None else kernel_init
    draw_bias = zeros() if bias_init is None else bias_init

    def init(key: Key, x: Array | ShapeDtype) -> Params:
        dtype = parameter_dtype("dense", x)
        if not x.shape or x.shape[-1] == 0:
            raise ShapeError(
                f"dense: expected an input with features in its last axis, got shape {x.shape}"
            )
        shape = (x.shape[-1], features)
        params = {"kernel": draw_kernel(fold_in_name(key, "kernel"), shape, dtype)}
        if use_bias:
            params["bias"] = draw_bias(fold_in_name(key, "bias"), (features,), dtype)
        return params

    def apply(params: Params, x: Array) -> Array:
        x = floating_input("dense", x)
        kernel = parameter("dense", params, "kernel", x.dtype)
        if not x.shape or x.shape[-1] != kernel.shape[0]:
            raise ShapeError(
                f"dense: expected an input with {kernel.shape[0]} features, as the kernel has "
                f"shape {kernel.shape}, got an input of shape {x.shape}"
            )
        if not use_bias:
            return linear(x, kernel)
        return affine(x, kernel, parameter("dense", params, "bias", x.dtype))

    return Layer(init, apply)
