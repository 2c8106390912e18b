from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import DTypeError, ShapeError
from funcnet.layers import running_mean, serial

LAYER = running_mean()


def init(x: Any) -> Any:
    return LAYER.init(jax.random.key(0), x)[1]


@pytest.mark.parametrize("shape", [(20, 3), (2, 10, 3)])
@pytest.mark.parametrize("cuts", [[], [10], [3, 4, 15], [0, 20]])
def test_the_mean_is_that_of_all_rows(shape: tuple[int, ...], cuts: list[int]) -> None:
    """However they are cut into batches, empty ones included."""
    rows = np.random.default_rng(0).normal(5.0, 1.0, (20, 3)).astype(np.float32)
    state = init(rows)
    batches = np.split(rows, cuts) if cuts else [rows.reshape(shape)]
    for batch in batches:
        y, state = LAYER.apply({}, state, jnp.asarray(batch), train=True)
        np.testing.assert_allclose(y, batch - np.asarray(state["mean"]), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(state["mean"], rows.mean(0), rtol=1e-6)
    assert float(state["count"]) == 20
    y, after = LAYER.apply({}, state, rows + 1, train=False)
    np.testing.assert_allclose(y, rows + 1 - rows.mean(0), rtol=1e-5, atol=1e-5)
    assert after is state


def test_one_example_without_a_batch() -> None:
    x = jnp.array([1.0, 2.0])
    y, state = LAYER.apply({}, init(x), x, train=True)
    np.testing.assert_array_equal(y, [0.0, 0.0])
    np.testing.assert_array_equal(state["mean"], x)
    assert float(state["count"]) == 1


def test_before_any_training_nothing_is_subtracted() -> None:
    x = jnp.array([[1.0, 2.0]])
    np.testing.assert_array_equal(LAYER.apply({}, init(x), x, train=False)[0], x)


def test_an_empty_first_batch_makes_no_nan() -> None:
    _, state = LAYER.apply({}, init(jnp.ones((0, 2))), jnp.ones((0, 2)), train=True)
    np.testing.assert_array_equal(state["mean"], [0.0, 0.0])


@pytest.mark.parametrize("train", [True, False])
def test_no_derivative_flows_through_the_mean(train: bool) -> None:
    x = jax.random.normal(jax.random.key(0), (5, 3))
    state = init(x)
    gradient = jax.grad(lambda x: LAYER.apply({}, state, x, train=train)[0].sum())(x)
    np.testing.assert_array_equal(gradient, np.ones((5, 3)))
    through_state = jax.grad(lambda x: LAYER.apply({}, state, x, train=train)[1]["mean"].sum())(x)
    np.testing.assert_array_equal(through_state, np.zeros((5, 3)))


def test_the_state_of_a_bfloat16_input_is_float32() -> None:
    x = jnp.full((1000, 2), 1.0078125, jnp.bfloat16)
    _, state = LAYER.apply({}, init(x), x, train=True)
    np.testing.assert_array_equal(state["mean"], np.full(2, 1.0078125, np.float32))
    assert state["mean"].dtype == jnp.float32


def test_it_updates_inside_of_a_network() -> None:
    net = serial(center=running_mean())
    x = jnp.array([[1.0], [3.0]])
    _, state = net.init(jax.random.key(0), x)
    _, state = jax.jit(net.apply, static_argnames="train")({}, state, x, train=True)
    np.testing.assert_array_equal(state["center"]["mean"], [2.0])


def test_wrong_inputs() -> None:
    with pytest.raises(ShapeError, match="running_mean: "):
        init(jnp.ones(()))
    with pytest.raises(ShapeError, match=r"running_mean: .*\(2,\).*\(5, 3\)"):
        LAYER.apply({}, init(jnp.ones((5, 2))), jnp.ones((5, 3)), train=False)
    with pytest.raises(DTypeError, match="running_mean: "):
        init(jnp.ones((5, 2), jnp.int32))
