"""Layers that apply a function to what comes in, elementwise as a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from funcnet.errors import ArgumentError, ShapeError
from funcnet.initializers import constant
from funcnet.layers._checks import floating_input, parameter, parameter_dtype
from funcnet.layers._scope import fold_in_name
from funcnet.layers.types import Layer
from funcnet.primitives import prelu as prelu_primitive
from funcnet.typing import Array, Init, Key, Params, ShapeDtype

__all__ = ["activation", "prelu"]


def activation(fn: Callable[..., Any]) -> Layer:
    """Make a layer without parameters of a function.

    ``y = fn(*inputs)``. The function need not be elementwise: whatever is pure and has nothing to
    learn may be a layer. In a combinator its default name is the name of the function, such as
    ``relu_0``, or ``activation_0`` when the function has none.

    Args:
        fn: A pure function of arrays.

    Returns:
        A :class:`~funcnet.layers.Layer` with the parameters ``{}``.

    Raises:
        ArgumentError: When ``fn`` is not callable.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.primitives import relu
        >>> activation(relu).apply({}, jnp.array([-1.0, 2.0]))
        Array([0., 2.], dtype=float32)
    """
    if not callable(fn):
        raise ArgumentError(f"activation: fn must be a function, got {fn!r}")

    def init(key: Key, *inputs: Array | ShapeDtype) -> Params:
        del key, inputs
        return {}

    def apply(params: Params, *inputs: Array) -> Any:
        del params
        return fn(*inputs)

    name = getattr(fn, "__name__", "")
    init.__qualname__ = f"{name if name.isidentifier() else 'activation'}.<locals>.init"
    return Layer(init, apply)


def prelu(*, shared: bool = False, slope_init: Init | None = None) -> Layer:
    """The parametric ReLU: a leaky ReLU that learns its slope.

    ``y = x`` where ``x > 0``, else ``y = slope * x``, with x and y of shape ``(..., features)``
    and the slope of shape ``(features,)``, or a scalar when it is shared.

    Args:
        shared: Whether all features share one slope.
        slope_init: Draws the slope. None stands for ``constant(0.25)``.

    Returns:
        A :class:`~funcnet.layers.Layer` with the parameters ``{"slope"}``. It computes in the dtype
        of its input.

    Raises:
        ShapeError: When the input has another last axis than the slope was made for.
        DTypeError: When the input is not of floating dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer, x = prelu(), jnp.array([[-4.0, 4.0]])
        >>> params = layer.init(jax.random.key(0), x)
        >>> params
        {'slope': Array([0.25, 0.25], dtype=float32)}
        >>> layer.apply(params, x)
        Array([[-1.,  4.]], dtype=float32)

    References:
        He et al. 2015, Delving deep into rectifiers, arXiv 1502.01852.
    """
    draw_slope = constant(0.25) if slope_init is None else slope_init

    def init(key: Key, x: Array | ShapeDtype) -> Params:
        dtype = parameter_dtype("prelu", x)
        if not shared and not x.shape:
            raise ShapeError(
                "prelu: expected an input with features in its last axis, got a scalar; "
                "shared=True makes one slope for inputs of any shape"
            )
        shape = () if shared else x.shape[-1:]
        return {"slope": draw_slope(fold_in_name(key, "slope"), shape, dtype)}

    def apply(params: Params, x: Array) -> Array:
        x = floating_input("prelu", x)
        slope = parameter("prelu", params, "slope", x.dtype)
        if slope.shape != (() if shared else x.shape[-1:]):
            raise ShapeError(
                f"prelu: a slope of shape {slope.shape} does not fit an input of shape {x.shape}"
                f"{' when it is shared' if shared else ''}"
            )
        return prelu_primitive(x, slope)

    return Layer(init, apply)
