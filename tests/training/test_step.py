from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnet.errors import ArgumentError, MissingKeyError, ShapeError
from funcnet.training import TrainState, gradient_descent, init_train_state, make_step, plain_step

X = jax.random.normal(jax.random.key(1), (8, 3))
Y = X @ jnp.array([1.0, -2.0, 0.5]) + 0.3
PARAMS = {"w": jnp.array([0.1, 0.2, 0.3]), "b": jnp.array(0.0)}


def loss(params: Any, batch: Any) -> jax.Array:
    x, y = batch
    return 0.5 * jnp.square(x @ params["w"] + params["b"] - y)


def noisy_loss(params: Any, state: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, Any]:
    x, y = batch
    noise = jax.random.normal(key, x.shape)
    return loss(params, (x + noise, y)), {"calls": state["calls"] + 1, "noise": noise}


def test_a_step_is_what_one_writes_by_hand() -> None:
    optimizer = optax.adam(0.1)
    state = init_train_state(optimizer, PARAMS, key=jax.random.key(0))
    step = make_step(loss, optimizer)
    params, opt_state = PARAMS, optimizer.init(PARAMS)
    for number in range(1, 4):
        state, metrics = step(state, (X, Y))
        value, gradient = jax.value_and_grad(lambda p: jnp.mean(loss(p, (X, Y))))(params)
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimizer.update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
        assert state.step == number
        np.testing.assert_allclose(metrics["loss"], value, rtol=1e-6)
    for name in params:
        np.testing.assert_allclose(state.params[name], params[name], rtol=1e-5)


def test_without_a_key_no_steps_are_counted() -> None:
    state = init_train_state(gradient_descent(0.1), PARAMS)
    state, _ = make_step(loss, gradient_descent(0.1))(state, (X, Y))
    assert state.step is None
    assert len(jax.tree.leaves(state)) == len(PARAMS)


def test_the_state_is_donated_and_the_callers_arrays_are_not() -> None:
    optimizer = optax.adam(0.1)
    params, key = {"w": jnp.zeros(3), "b": jnp.array(0.0)}, jax.random.key(0)
    first = init_train_state(optimizer, params, key=key)
    make_step(loss, optimizer)(first, (X, Y))
    assert first.params["w"].is_deleted()
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((params, key)))


def test_the_compiled_step_aliases_the_whole_state() -> None:
    """Donation must reach every array: otherwise each step holds parameters twice."""
    optimizer = optax.adam(0.1)
    state = init_train_state(optimizer, PARAMS)
    compiled = make_step(loss, optimizer).lower(state, (X, Y)).compile()  # type: ignore[attr-defined]
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    assert compiled.memory_analysis().alias_size_in_bytes == size


def test_it_compiles_once() -> None:
    traces = []

    def counted(params: Any, batch: Any) -> jax.Array:
        traces.append(1)
        return loss(params, batch)

    step = make_step(counted, optax.adam(0.1))
    state = init_train_state(optax.adam(0.1), PARAMS)
    for _ in range(4):
        state, _ = step(state, (X, Y))
    assert len(traces) == 1


def test_a_loss_with_state_and_key() -> None:
    optimizer = gradient_descent(0.0)
    key = jax.random.key(7)
    net_state = {"calls": jnp.int32(0), "noise": jnp.zeros((8, 3))}
    state = init_train_state(optimizer, PARAMS, state=net_state, key=key)
    step = make_step(noisy_loss, optimizer)
    noises = []
    for _ in range(3):
        state, _ = step(state, (X, Y))
        noises.append(np.asarray(state.state["noise"]))
    assert int(state.state["calls"]) == 3
    assert not np.array_equal(noises[0], noises[1])
    assert not np.array_equal(noises[1], noises[2])
    assert state.key is not None
    np.testing.assert_array_equal(jax.random.key_data(state.key), jax.random.key_data(key))


def test_going_on_from_a_stored_state_is_the_same() -> None:
    optimizer = optax.adam(0.1)
    net_state = {"calls": jnp.int32(0), "noise": jnp.zeros((8, 3))}
    step = jax.jit(plain_step(noisy_loss, optimizer))
    state = init_train_state(optimizer, PARAMS, state=net_state, key=jax.random.key(3))
    halfway, _ = step(state, (X, Y))
    stored = jax.tree.map(jnp.copy, halfway)
    through, _ = step(halfway, (X, Y))
    resumed, _ = step(TrainState(*stored), (X, Y))
    np.testing.assert_array_equal(through.params["w"], resumed.params["w"])


def test_old_style_keys_work() -> None:
    optimizer = gradient_descent(0.1)
    net_state = {"calls": jnp.int32(0), "noise": jnp.zeros((8, 3))}
    states = [
        make_step(noisy_loss, optimizer)(
            init_train_state(optimizer, PARAMS, state=net_state, key=key), (X, Y)
        )[0]
        for key in (jax.random.key(5), jax.random.PRNGKey(5))
    ]
    np.testing.assert_array_equal(states[0].params["w"], states[1].params["w"])


@pytest.mark.parametrize("shape", [(), (8, 1)])
def test_a_loss_must_give_one_value_per_example(shape: tuple[int, ...]) -> None:
    step = make_step(lambda params, batch: jnp.zeros(shape), gradient_descent(0.1))
    with pytest.raises(ShapeError, match=r"one value per example.*takes the mean itself"):
        step(init_train_state(gradient_descent(0.1), PARAMS), (X, Y))


def test_a_forgotten_key_is_told() -> None:
    step = make_step(noisy_loss, gradient_descent(0.1))
    with pytest.raises(MissingKeyError, match=r"key=jax\.random\.key\(0\) to init_train_state"):
        step(init_train_state(gradient_descent(0.1), PARAMS), (X, Y))


def three(params: Any, batch: Any, key: Any) -> Any: ...
def one(params: Any) -> Any: ...
def keyword(params: Any, *, batch: Any) -> Any: ...


@pytest.mark.parametrize("wrong", [three, one, keyword])
def test_other_signatures_are_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match=rf"loss\(params, batch\) or .*got {wrong.__name__}\("):
        make_step(wrong, gradient_descent(0.1))


def optional(params: Any, batch: Any, scale: float = 1.0, shift: float = 0.0) -> jax.Array:
    return loss(params, batch) * scale + shift


@pytest.mark.parametrize(
    "accepted",
    [
        optional,
        functools.partial(optional, scale=1.0),
        jax.jit(loss),
        lambda *args: loss(*args),
        jax.checkpoint(loss),
    ],
)
def test_other_callables_of_two_arguments(accepted: Any) -> None:
    state = init_train_state(gradient_descent(0.1), PARAMS)
    _, metrics = make_step(accepted, gradient_descent(0.1))(state, (X, Y))
    np.testing.assert_allclose(metrics["loss"], jnp.mean(loss(PARAMS, (X, Y))), rtol=1e-6)
