from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.initializers import constant
from funcnet.layers import activation, prelu, serial
from funcnet.primitives import leaky_relu, relu

X = jnp.array([[-2.0, 0.0, 3.0], [-1.0, 1.0, -4.0]])


@pytest.mark.parametrize("fn", [relu, jnp.tanh, functools.partial(leaky_relu, negative_slope=0.5)])
def test_activation_is_the_function(fn: Any) -> None:
    np.testing.assert_array_equal(activation(fn).apply({}, X), fn(X))


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (relu, "relu_0"),
        (jnp.tanh, "tanh_0"),
        (jax.jit(lambda x: x), "activation_0"),
        (functools.partial(leaky_relu, negative_slope=0.5), "activation_0"),
    ],
)
def test_activation_is_named_like_the_function(fn: Any, name: str) -> None:
    with pytest.raises(ArgumentError, match=f"two layers have the name '{name}'"):
        serial(activation(fn), (name, activation(fn)))


@pytest.mark.parametrize("fn", [None, 3, "relu", jnp.ones(3)])
def test_activation_wants_a_function(fn: Any) -> None:
    with pytest.raises(ArgumentError, match="activation: fn must be a function"):
        activation(fn)


@pytest.mark.parametrize("shared", [False, True])
def test_prelu(shared: bool) -> None:
    layer = prelu(shared=shared)
    params = layer.init(jax.random.key(0), X)
    expected = np.array(0.25, np.float32) if shared else np.full(3, 0.25, np.float32)
    np.testing.assert_array_equal(params["slope"], expected, strict=True)
    slope = np.float32(0.5) if shared else np.array([0.5, 1.0, 2.0], np.float32)
    y = layer.apply({"slope": slope}, X)
    x = np.asarray(X)
    np.testing.assert_array_equal(y, np.where(x > 0, x, slope * x))
    gradient = jax.grad(lambda p: layer.apply(p, X).sum())({"slope": jnp.asarray(slope)})
    below = np.minimum(x, 0)
    np.testing.assert_array_equal(gradient["slope"], below.sum() if shared else below.sum(0))


def test_prelu_draws_its_slope() -> None:
    params = prelu(slope_init=constant(-1.0)).init(jax.random.key(0), X)
    np.testing.assert_array_equal(params["slope"], [-1.0, -1.0, -1.0])


def test_prelu_of_scalars() -> None:
    layer, x = prelu(shared=True), jnp.array(-4.0)
    np.testing.assert_array_equal(layer.apply(layer.init(jax.random.key(0), x), x), -1.0)
    with pytest.raises(ShapeError, match="shared=True"):
        prelu().init(jax.random.key(0), x)


def test_prelu_rejects_other_shapes_and_dtypes() -> None:
    layer = prelu()
    params = layer.init(jax.random.key(0), X)
    with pytest.raises(ShapeError, match=r"prelu: .*\(3,\).*\(2, 4\)"):
        layer.apply(params, jnp.ones((2, 4)))
    with pytest.raises(ShapeError, match=r"prelu: .*\(3,\).*shared"):
        prelu(shared=True).apply(params, X)
    with pytest.raises(DTypeError, match="prelu: "):
        layer.apply(params, jnp.ones((2, 3), jnp.int32))
