"""Laws that hold for every layer."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnet.layers import (
    Layer,
    StatefulLayer,
    as_stateful,
    dense,
    flatten,
    prelu,
    repeat,
    residual,
    serial,
)
from tests.layers.cases import CASES, Case, all_cases, noisy_block


def assert_equal(actual: Any, expected: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def assert_close(actual: Any, expected: Any) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6), actual, expected
    )


def dtypes(tree: Any) -> set[Any]:
    return {leaf.dtype for leaf in jax.tree.leaves(tree)}


def loss(case: Case, params: Any, state: Any, *inputs: Any, train: bool = True) -> jax.Array:
    y, _ = case.apply(params, state, *inputs, train=train)
    return sum((jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(y)), jnp.zeros(()))


def is_nested_dict_of_arrays(tree: Any) -> bool:
    """Without empty dicts inside: a flat table of named arrays then has the same structure."""
    if isinstance(tree, dict):
        return all(
            isinstance(name, str) and jax.tree.leaves(below) and is_nested_dict_of_arrays(below)
            for name, below in tree.items()
        )
    return isinstance(tree, jax.Array)


@all_cases
def test_params_and_state_are_nested_dicts_of_arrays(case: Case) -> None:
    params, state = case.made
    assert isinstance(params, dict) and isinstance(state, dict)
    assert is_nested_dict_of_arrays(params) and is_nested_dict_of_arrays(state)
    chex.assert_tree_all_finite((params, state))


@all_cases
def test_init_reads_only_shapes_and_dtypes(case: Case) -> None:
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in case.inputs]
    arrays = [np.full(x.shape, np.nan) for x in case.inputs]  # float64, which JAX makes float32
    assert_equal(case.stateful.init(jax.random.key(1), *shapes), case.made)
    assert_equal(case.stateful.init(jax.random.key(1), *arrays), case.made)


@all_cases
@pytest.mark.parametrize("train", [True, False])
def test_apply_is_pure_and_agrees_with_jit(case: Case, train: bool) -> None:
    before = jax.tree.map(np.array, case.made)
    first = case.apply(*case.made, *case.inputs, train=train)
    assert_equal(case.made, before)
    assert_equal(case.apply(*case.made, *case.inputs, train=train), first)
    jitted = jax.jit(case.apply, static_argnames="train")(*case.made, *case.inputs, train=train)
    assert_close(jitted, first)
    chex.assert_trees_all_equal_shapes_and_dtypes(first[1], case.made[1])


@all_cases
def test_evaluation_needs_no_key_and_keeps_the_state(case: Case) -> None:
    y, new_state = case.stateful.apply(*case.made, *case.inputs, train=False)
    assert_equal(new_state, case.made[1])
    assert_equal(case.apply(*case.made, *case.inputs, train=False)[0], y)


@all_cases
def test_numpy_inputs(case: Case) -> None:
    arrays = [np.asarray(x, np.float64) for x in case.inputs]
    y, _ = case.apply(*case.made, *arrays)
    assert_equal(y, case.apply(*case.made, *case.inputs)[0])
    assert dtypes(jax.tree.map(jnp.asarray, y)) == {jnp.dtype(jnp.float32)}


@all_cases
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_computes_in_the_dtype_of_the_input(case: Case, dtype: Any) -> None:
    inputs = [x.astype(dtype) for x in case.inputs]
    made = jax.eval_shape(case.stateful.init, jax.random.key(1), *inputs)
    chex.assert_trees_all_equal_shapes_and_dtypes(made, case.made)
    y, new_state = jax.eval_shape(case.apply, *made, *inputs)
    assert dtypes(y) == {jnp.dtype(dtype)}
    chex.assert_trees_all_equal_shapes_and_dtypes(new_state, made[1])


@all_cases
def test_gradients_are_right(case: Case, x64: None) -> None:
    """In float64 throughout, along a random direction, against a central difference."""
    inputs = tuple(np.asarray(x, np.float64) for x in case.inputs)
    params, state = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), case.made)
    made = jax.eval_shape(case.stateful.init, jax.random.key(1), *inputs)
    chex.assert_trees_all_equal_shapes_and_dtypes(made, (params, state))
    leaves, treedef = jax.tree.flatten((params, inputs))
    draw = np.random.default_rng(0).standard_normal
    direction = jax.tree.unflatten(treedef, [jnp.asarray(draw(leaf.shape)) for leaf in leaves])

    def f(point: Any) -> jax.Array:
        # No derivative flows through the update of a running mean: there only evaluation is smooth.
        return loss(case, point[0], state, *point[1], train=not state)

    @jax.jit
    def slopes(point: Any) -> Any:
        gradient = jax.grad(f)(point)
        reverse = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradient, direction)), jnp.zeros(()))
        value, forward = jax.jvp(f, [point], [direction])
        up, down = (
            f(jax.tree.map(lambda p, d: p + step * d, point, direction))  # noqa: B023
            for step in (1e-6, -1e-6)
        )
        return value, reverse, forward, (up - down) / 2e-6

    value, reverse, forward, difference = slopes((params, inputs))
    assert dtypes((params, state, value, forward)) == {jnp.dtype(jnp.float64)}
    np.testing.assert_allclose(reverse, difference, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(forward, reverse, rtol=1e-12, atol=1e-12)


@all_cases
def test_vmap_over_parameters(case: Case) -> None:
    """Two networks at once, as for an ensemble."""

    def evaluate(params: Any) -> Any:
        return case.apply(params, case.made[1], *case.inputs, train=False)[0]

    params = case.made[0]
    if params:
        two = jax.tree.map(lambda p: jnp.stack([p, -2 * p]), params)
        y = jax.vmap(evaluate)(two)
        for i in range(2):
            one = evaluate(jax.tree.map(lambda p: p[i], two))  # noqa: B023
            assert_close(jax.tree.map(lambda a: a[i], y), one)  # noqa: B023


@all_cases
def test_vmap_over_examples_in_evaluation(case: Case) -> None:
    if len(case.inputs[0].shape) < 2 or "flatten" in str(case.layer) or len(case.shapes[0]) > 2:
        return  # No batch, or a layer that is told where the batch is.

    def evaluate(*inputs: Any) -> Any:
        return case.apply(*case.made, *inputs, train=False)[0]

    assert_close(jax.vmap(evaluate)(*case.inputs), evaluate(*case.inputs))


@all_cases
def test_a_step_of_adam(case: Case) -> None:
    params, state = case.made
    if not params:
        return
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(params: Any) -> Any:
        gradient = jax.grad(lambda p: loss(case, p, state, *case.inputs))(params)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
            updates, _ = optimizer.update(gradient, optimizer.init(params), params)
            return optax.apply_updates(params, updates)

    new_params = step(params)
    chex.assert_trees_all_equal_shapes_and_dtypes(new_params, params)
    chex.assert_tree_all_finite(new_params)


@all_cases
def test_options_are_checked(case: Case) -> None:
    with pytest.raises(TypeError, match="trian"):
        case.stateful.apply(*case.made, *case.inputs, trian=True)
    if isinstance(case.layer, StatefulLayer):
        with pytest.raises(TypeError, match="train"):
            case.layer.apply(*case.made, *case.inputs)


@all_cases
def test_both_views_agree(case: Case) -> None:
    if isinstance(case.layer, Layer):
        assert_equal(case.layer.init(jax.random.key(1), *case.inputs), case.made[0])
        y = case.layer.apply(case.made[0], *case.inputs)
        assert_equal(case.apply(case.made[0], {}, *case.inputs), (y, {}))
    else:
        assert as_stateful(case.layer) is case.layer


@pytest.mark.leaks
@pytest.mark.parametrize("stateful", [False, True])
def test_no_tracer_leaks(stateful: bool) -> None:
    (case,) = [c for c in CASES if c.name == ("repeat, stateful" if stateful else "serial")]
    jax.jit(jax.grad(lambda p: loss(case, p, case.made[1], *case.inputs)))(case.made[0])


@pytest.mark.parametrize("raw_key", [False, True])
def test_init_under_jit(raw_key: bool) -> None:
    net = serial(flatten(), noisy_block(), repeat(residual(dense(4)), 2), prelu())
    x, key = jnp.ones((5, 2, 3)), jax.random.PRNGKey(1) if raw_key else jax.random.key(1)
    assert_close(jax.jit(net.init)(key, x), net.init(jax.random.key(1), x))
