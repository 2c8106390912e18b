from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError, MissingKeyError, ShapeError
from funcnet.training import (
    TrainState,
    fit,
    gradient_descent,
    init_train_state,
    make_epoch,
    make_step,
)

X = np.random.default_rng(0).normal(size=(23, 3)).astype(np.float32)
Y = X @ np.array([1.0, -2.0, 0.5], np.float32)
OPTIMIZER = gradient_descent(0.1)


def loss(params: Any, batch: Any) -> jax.Array:
    x, y = batch
    return 0.5 * jnp.square(x @ params["w"] - y)


def start(seed: int = 0) -> TrainState:
    return init_train_state(OPTIMIZER, {"w": jnp.zeros(3)}, key=jax.random.key(seed))


def steps(state: TrainState) -> int:
    assert state.step is not None
    return int(state.step)


def recording_loss(params: Any, state: Any, batch: Any, key: Any) -> tuple[jax.Array, Any]:
    """Writes down which examples it saw: the n-th batch goes to row n."""
    row, seen = state["row"], state["seen"]
    seen = jax.lax.dynamic_update_index_in_dim(seen, batch, row, 0)
    return params["w"] * batch.astype(jnp.float32), {"row": row + 1, "seen": seen}


def batches(epochs: int, seed: int = 0, n: int = 23, size: int = 5) -> np.ndarray:
    rows = epochs * (n // size)
    state = init_train_state(
        OPTIMIZER,
        {"w": jnp.array(0.0)},
        state={"row": jnp.int32(0), "seen": jnp.full((rows, size), -1)},
        key=jax.random.key(seed),
    )
    state, _ = fit(make_epoch(recording_loss, OPTIMIZER, size), state, np.arange(n), epochs=epochs)
    return np.asarray(state.state["seen"]).reshape(epochs, -1)


def test_no_example_comes_twice_in_an_epoch() -> None:
    for seen in batches(epochs=6):
        assert len(set(seen)) == 20
        assert set(seen) <= set(range(23))


def test_every_example_is_seen_if_the_batch_divides_them() -> None:
    for seen in batches(epochs=3, n=20):
        assert sorted(seen) == list(range(20))


def test_the_order_changes_with_the_epoch_and_the_seed() -> None:
    first, second = batches(epochs=2)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, batches(epochs=1, seed=1)[0])
    np.testing.assert_array_equal(first, batches(epochs=1)[0])


def test_an_epoch_is_a_loop_over_steps() -> None:
    state, history = fit(make_epoch(loss, OPTIMIZER, 5), start(), (X, Y), epochs=2)
    step, by_hand = make_step(loss, OPTIMIZER), start()
    for seen, report in zip(batches(epochs=2), history, strict=True):
        values = []
        for chosen in seen.reshape(-1, 5):
            by_hand, metrics = step(by_hand, (X[chosen], Y[chosen]))
            values.append(float(metrics["loss"]))
        np.testing.assert_allclose(report["loss"], np.mean(values), rtol=1e-5)
    assert steps(state) == 8
    np.testing.assert_allclose(state.params["w"], by_hand.params["w"], rtol=1e-5)


def test_a_break_changes_nothing() -> None:
    epoch = make_epoch(loss, OPTIMIZER, 5)
    through, _ = fit(epoch, start(), (X, Y), epochs=4)
    first, _ = fit(epoch, start(), (X, Y), epochs=1)
    resumed, _ = fit(epoch, first, (X, Y), epochs=3)
    np.testing.assert_array_equal(through.params["w"], resumed.params["w"])


def test_it_learns() -> None:
    state, history = fit(make_epoch(loss, OPTIMIZER, 5), start(), (X, Y), epochs=60)
    np.testing.assert_allclose(state.params["w"], [1.0, -2.0, 0.5], atol=1e-4)
    assert history[-1]["loss"] < 1e-6 * history[0]["loss"]


def test_an_epoch_compiles_once() -> None:
    traces = []

    def counted(params: Any, batch: Any) -> jax.Array:
        traces.append(1)
        return loss(params, batch)

    epoch = make_epoch(counted, OPTIMIZER, 5)
    for seed in range(3):
        fit(epoch, start(seed), (X, Y), epochs=2)
    assert len(traces) == 1


def test_the_callback_sees_each_epoch_and_can_stop() -> None:
    calls = []

    def callback(epoch: int, state: TrainState, metrics: dict[str, float]) -> bool:
        metrics["first"] = float(state.params["w"][0])
        calls.append((epoch, steps(state)))
        return epoch == 3

    state, history = fit(
        make_epoch(loss, OPTIMIZER, 5), start(), (X, Y), epochs=9, callback=callback
    )
    assert calls == [(1, 4), (2, 8), (3, 12)]
    assert [sorted(report) for report in history] == [["first", "loss"]] * 3
    assert history[-1]["first"] == float(state.params["w"][0])


def test_no_epochs_change_nothing() -> None:
    state, history = fit(make_epoch(loss, OPTIMIZER, 5), start(), (X, Y), epochs=0)
    assert (steps(state), history) == (0, [])


@pytest.mark.parametrize("size", [0, -1, 2.5, None])
def test_senseless_batch_sizes(size: Any) -> None:
    with pytest.raises(ArgumentError, match="make_epoch: batch_size must be"):
        make_epoch(loss, OPTIMIZER, size)


@pytest.mark.parametrize("epochs", [-1, 1.5, "3"])
def test_senseless_epochs(epochs: Any) -> None:
    with pytest.raises(ArgumentError, match="fit: epochs must be an integer of at least 0"):
        fit(make_epoch(loss, OPTIMIZER, 5), start(), (X, Y), epochs=epochs)


def test_a_batch_larger_than_the_data() -> None:
    with pytest.raises(ArgumentError, match="batch_size is 24, but the data has only 23 examples"):
        fit(make_epoch(loss, OPTIMIZER, 24), start(), (X, Y), epochs=1)


@pytest.mark.parametrize("data", [(X, Y[:-1]), (X, np.float32(1)), ()])
def test_data_without_a_common_axis(data: Any) -> None:
    with pytest.raises(ShapeError, match="common first axis"):
        fit(make_epoch(loss, OPTIMIZER, 5), start(), data, epochs=1)


def test_shuffling_needs_a_key() -> None:
    state = init_train_state(OPTIMIZER, {"w": jnp.zeros(3)})
    with pytest.raises(MissingKeyError, match="shuffling needs a key"):
        fit(make_epoch(loss, OPTIMIZER, 5), state, (X, Y), epochs=1)
