"""The multilayer perceptron: dense layers with an activation between them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import overload

from funcnet.errors import ArgumentError
from funcnet.initializers import gain, lecun_normal, variance_scaling
from funcnet.layers import AnyLayer, Layer, StatefulLayer, dense, serial
from funcnet.layers import activation as activation_layer
from funcnet.layers import dropout as dropout_layer
from funcnet.primitives import relu
from funcnet.typing import Array, Init

__all__ = ["mlp"]


@overload
def mlp(
    hidden: Iterable[int],
    classes: int,
    *,
    activation: Callable[[Array], Array] = ...,
    dropout: None = ...,
    kernel_init: Init | None = ...,
) -> Layer: ...


@overload
def mlp(
    hidden: Iterable[int],
    classes: int,
    *,
    activation: Callable[[Array], Array] = ...,
    dropout: float,
    kernel_init: Init | None = ...,
) -> StatefulLayer: ...


def mlp(
    hidden: Iterable[int],
    classes: int,
    *,
    activation: Callable[[Array], Array] = relu,
    dropout: float | None = None,
    kernel_init: Init | None = None,
) -> AnyLayer:
    """A multilayer perceptron.

    ``h_0 = x``, ``h_k = activation(h_{k-1} @ kernel_k + bias_k)`` for the hidden layers, and
    ``logits = h_n @ kernel + bias``, without an activation: the losses take logits.

    By default the kernels are normal with variance ``1 / n_in`` in the first layer and
    ``gain(activation)^2 / n_in`` in those that follow an activation, so that signals
    keep their size through the depth; for ReLU that is He's ``2 / n_in``. Biases start at zero.

    Args:
        hidden: The widths of the hidden layers; none at all makes a linear model.
        classes: The width of the output.
        activation: An elementwise function.
        dropout: The rate of a dropout after each activation; None leaves dropout out.
        kernel_init: One initializer for all kernels instead of the default.

    Returns:
        A :class:`~funcnet.layers.Layer` that takes x of shape ``(..., features)``, with the
        parameters ``dense_0``, ``dense_1``, ... and ``output``. With a dropout rate it is a
        :class:`~funcnet.layers.StatefulLayer`.

    Raises:
        ArgumentError: When a width is not a positive integer.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net = mlp([128, 64], 10)
        >>> params = net.init(jax.random.key(0), jnp.zeros((1, 784)))
        >>> sorted(params), params["dense_1"]["kernel"].shape
        (['dense_0', 'dense_1', 'output'], (128, 64))
        >>> net.apply(params, jnp.zeros((32, 784))).shape
        (32, 10)
    """
    widths = [_width(width) for width in hidden]
    classes = _width(classes)
    if kernel_init is None:
        first: Init = lecun_normal()
        others: Init = variance_scaling(gain(activation) ** 2, "fan_in", "normal")
    else:
        first = others = kernel_init
    layers: list[AnyLayer] = []
    for depth, width in enumerate(widths):
        layers.append(dense(width, kernel_init=others if depth else first))
        layers.append(activation_layer(activation))
        if dropout is not None:
            layers.append(dropout_layer(dropout))
    return serial(*layers, output=dense(classes, kernel_init=others if widths else first))


def _width(width: int) -> int:
    try:
        value = operator.index(width)
    except TypeError:
        value = 0
    if value < 1:
        raise ArgumentError(f"mlp: a width must be a positive integer, got {width!r}")
    return value
