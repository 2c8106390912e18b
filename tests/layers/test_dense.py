from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.initializers import constant, ones
from funcnet.layers import dense


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("leading", [(), (5,), (2, 5), (0,), (2, 0, 3)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_values(leading: tuple[int, ...], use_bias: bool) -> None:
    layer = dense(3, use_bias=use_bias)
    x, kernel, bias = draw(*leading, 4), draw(4, 3), draw(3)
    params = {"kernel": kernel, "bias": bias} if use_bias else {"kernel": kernel}
    expected = x.astype(np.float64) @ kernel + (bias if use_bias else 0)
    assert layer.init(jax.random.key(0), x).keys() == params.keys()
    np.testing.assert_allclose(layer.apply(params, x), expected, rtol=1e-5, atol=1e-6)


def test_default_initial_values() -> None:
    """A variance of 1 / inputs: here with a standard error of sqrt(2 / 250 000) = 0.28 %."""
    params = dense(500).init(jax.random.key(0), jnp.ones(500))
    assert abs(float(jnp.var(params["kernel"])) * 500 - 1) < 4 * 0.0028
    np.testing.assert_array_equal(params["bias"], np.zeros(500))


def test_initializers_are_used_with_keys_of_their_own() -> None:
    keys = []

    def remember(key: Any, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        keys.append(jax.random.key_data(key).tolist())
        return jnp.zeros(shape, dtype)

    dense(3, kernel_init=remember, bias_init=remember).init(jax.random.key(0), jnp.ones(4))
    assert len(keys) == 2 and keys[0] != keys[1]
    layer = dense(3, kernel_init=ones(), bias_init=constant(2.0))
    np.testing.assert_array_equal(
        layer.apply(layer.init(jax.random.key(0), jnp.ones(4)), jnp.ones(4)), [6.0, 6.0, 6.0]
    )


def test_the_kernel_does_not_depend_on_the_bias() -> None:
    with_bias = dense(3).init(jax.random.key(0), jnp.ones(4))
    without = dense(3, use_bias=False).init(jax.random.key(0), jnp.ones(4))
    np.testing.assert_array_equal(with_bias["kernel"], without["kernel"])


def test_gradients_come_in_the_dtype_of_the_parameters() -> None:
    layer, x = dense(3), jnp.ones((5, 4), jnp.bfloat16)
    params = layer.init(jax.random.key(0), x)
    gradient = jax.grad(lambda p: layer.apply(p, x).astype(jnp.float32).sum())(params)
    np.testing.assert_array_equal(gradient["kernel"], np.full((4, 3), 5, np.float32))
    assert gradient["kernel"].dtype == gradient["bias"].dtype == jnp.float32


@pytest.mark.parametrize("features", [0, -1, 2.0, "3", None, True])
def test_features_must_be_a_positive_integer(features: Any) -> None:
    with pytest.raises(ArgumentError, match=f"dense: features .* at least 1, got {features!r}"):
        dense(features)


def test_numpy_integers_are_integers() -> None:
    layer = dense(np.int64(3))  # type: ignore[arg-type]
    assert layer.init(jax.random.key(0), jnp.ones(4))["bias"].shape == (3,)


@pytest.mark.parametrize("shape", [(32, 65), (63,), ()])
def test_wrong_shapes(shape: tuple[int, ...]) -> None:
    layer = dense(128)
    params = layer.init(jax.random.key(0), jnp.ones((32, 64)))
    with pytest.raises(ShapeError) as caught:
        jax.jit(layer.apply)(params, jnp.ones(shape))
    for part in ("dense: ", "64 features", "(64, 128)", str(shape)):
        assert part in str(caught.value)


@pytest.mark.parametrize("shape", [(), (5, 0)])
def test_an_example_without_features(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="dense: expected an input with features"):
        dense(3).init(jax.random.key(0), jnp.ones(shape))


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32, jnp.bool_, jnp.complex64])
def test_wrong_dtypes(dtype: Any) -> None:
    layer, x = dense(3), jnp.ones(4)
    params = layer.init(jax.random.key(0), x)
    with pytest.raises(DTypeError, match=rf"dense: .* got {jnp.dtype(dtype).name}.*astype"):
        layer.apply(params, x.astype(dtype))
    with pytest.raises(DTypeError, match="dense: "):
        layer.init(jax.random.key(0), x.astype(dtype))


def test_params_of_another_layer() -> None:
    with pytest.raises(ArgumentError, match=r"dense: params has no entry 'kernel' .*\['w'\]"):
        dense(3).apply({"w": jnp.ones((4, 3))}, jnp.ones(4))
    with pytest.raises(ArgumentError, match="dense: params has no entry 'bias'"):
        dense(3).apply({"kernel": jnp.ones((4, 3))}, jnp.ones(4))
