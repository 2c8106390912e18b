from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import primitives as fn
from funcnet.errors import ArgumentError, ShapeError
from funcnet.initializers import orthogonal
from funcnet.jaxprs import residuals
from funcnet.layers import activation, as_stateful, dense, parallel, repeat, residual, serial
from tests.layers.cases import noisy_block
from tests.layers.test_laws import assert_close, assert_equal

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(9), (5, 4))
BLOCKS = {
    "plain": serial(dense(4), activation(jnp.tanh)),
    "stateful": noisy_block(),
    "residual": residual(serial(dense(4, kernel_init=orthogonal()), activation(jnp.tanh))),
}
blocks = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS.keys())


def unrolled(block: Any, params: Any, state: Any, x: Any, n: int) -> Any:
    """The same by a Python loop: the definition."""
    states = []
    for i in range(n):
        own_params, own_state = jax.tree.map(lambda leaf: leaf[i], (params, state))  # noqa: B023
        x, new = block.apply(own_params, own_state, x, key=jax.random.fold_in(KEY, i), train=True)
        states.append(new)
    return x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


@pytest.mark.parametrize(("block", "n"), [("plain", 1), *((name, 3) for name in BLOCKS)])
def test_values_and_gradients_are_those_of_the_unrolled_layers(block: str, n: int) -> None:
    once, net = as_stateful(BLOCKS[block]), as_stateful(repeat(BLOCKS[block], n))
    params, state = net.init(KEY, X)

    def value_and_gradients(apply: Any) -> Any:
        def loss(params: Any, x: Any) -> Any:
            y, new_state = apply(params, x)
            return jnp.sum(jnp.sin(y)), (y, new_state)

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(params, X)

    looped = value_and_gradients(lambda p, x: net.apply(p, state, x, key=KEY, train=True))
    by_hand = value_and_gradients(lambda p, x: unrolled(once, p, state, x, n))
    assert_close(looped, by_hand)


def test_layers_that_end_with_activations_keep_one_array_a_turn() -> None:
    def kept(layer: Any) -> list[Any]:
        net = repeat(layer, 7)
        params = jax.eval_shape(net.init, KEY, X)
        found = residuals(net.apply, params, X)
        return sorted(r.shape for r in found if r.kind == "intermediate" and len(r.shape) == 3)

    assert kept(serial(dense(4), activation(fn.tanh))) == [(7, 5, 4)]
    assert kept(serial(dense(4), activation(fn.gelu))) == [(7, 5, 4)]
    wide = serial(dense(9), activation(fn.gelu), dense(4))
    assert kept(residual(wide)) == [(7, 5, 4), (7, 5, 9)]


def test_where_the_first_turn_has_nothing_before_it() -> None:
    """The loop runs the activation of the layer before on zeros; nothing of it may come out."""
    scale = jnp.float32(3.0)

    def loss(scale: Any, x: Any, times: Any) -> Any:
        layer = activation(lambda x: jnp.sqrt(x) / x + jnp.log(scale * x))
        return jnp.sum(times(layer, x))

    def by_hand(layer: Any, x: Any) -> Any:
        for _ in range(3):
            x = layer.apply({}, x)
        return x

    both = (0, 1)
    x = jnp.asarray([1.5, 2.5], jnp.float32)
    for derivative in (jax.grad, jax.jacfwd, lambda f, both: jax.jacfwd(jax.grad(f, both), both)):
        got, wanted = (
            derivative(lambda s, x, t=times: loss(s, x, t), both)(scale, x)
            for times in (lambda layer, x: repeat(layer, 3).apply({}, x), by_hand)
        )
        assert_close(got, wanted)


@blocks
def test_parameters_are_those_of_the_layers_alone(block: Any) -> None:
    alone = [block.init(jax.random.fold_in(KEY, i), X) for i in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    assert_close(repeat(block, 3).init(KEY, X), stacked)


def test_more_repetitions_keep_the_first_ones() -> None:
    few, many = (repeat(dense(4), n).init(KEY, X) for n in (2, 5))
    assert_equal(jax.tree.map(lambda leaf: leaf[:2], many), few)


@blocks
def test_0_times_is_the_identity(block: Any) -> None:
    net = as_stateful(repeat(block, 0))
    made = net.init(KEY, X)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(made)} == {0}
    y, state = net.apply(*made, X, key=KEY, train=True)
    np.testing.assert_array_equal(y, X)
    assert_equal(state, made[1])
    gradient = jax.grad(lambda p: net.apply(p, made[1], X, key=KEY, train=True)[0].sum())(made[0])
    assert_equal(gradient, made[0])


def test_several_inputs() -> None:
    net = repeat(activation(lambda a, b: (b, a + b)), 10)
    assert_equal(net.apply({}, jnp.array(0), jnp.array(1)), (jnp.array(55), jnp.array(89)))


def test_one_trace_however_often() -> None:
    count = 0

    def counted(x: Any) -> Any:
        nonlocal count
        count += 1
        return jnp.tanh(x)

    programs = []
    for n in (2, 100):
        net = repeat(serial(dense(4), activation(counted)), n)
        params = jax.eval_shape(net.init, KEY, X)
        count = 0
        programs.append(jax.jit(net.apply).lower(params, X).as_text())
        assert count == 1
    assert len(programs[0].splitlines()) == len(programs[1].splitlines())


def test_eager_calls_do_not_compile_again() -> None:
    count = 0

    def counted(x: Any) -> Any:
        nonlocal count
        count += 1
        return jnp.tanh(x)

    net = repeat(activation(counted), 3)
    for _ in range(3):
        net.apply({}, X)
    assert count == 1


@pytest.mark.parametrize("n", [-1, 2.0, None, True])
def test_bad_counts(n: Any) -> None:
    with pytest.raises(ArgumentError, match=f"repeat: n must be an integer .*got {n!r}"):
        repeat(dense(4), n)


def test_not_a_layer() -> None:
    not_a_layer: Any = jnp.tanh
    with pytest.raises(ArgumentError, match="repeat: layer must be a layer"):
        repeat(not_a_layer, 3)


@pytest.mark.parametrize(
    ("block", "into"),
    [
        (dense(3), "float32[5, 3]"),
        (activation(lambda x: x.astype(jnp.bfloat16)), "bfloat16[5, 4]"),
        (parallel(dense(4), dense(4)), "(float32[5, 4], float32[5, 4])"),
    ],
)
def test_the_layer_must_keep_its_input(block: Any, into: str) -> None:
    with pytest.raises(ShapeError) as caught:
        repeat(block, 2).init(KEY, X)
    assert "repeat: the layer must keep the shape and dtype" in str(caught.value)
    assert f"turns float32[5, 4] into {into}" in str(caught.value)
    with pytest.raises(ShapeError, match="repeat: "):
        jax.make_jaxpr(repeat(activation(lambda x: x[..., 1:]), 2).apply)({}, X)


def test_parameters_of_another_number_of_repetitions() -> None:
    params = repeat(dense(4), 3).init(KEY, X)
    with pytest.raises(ShapeError, match=r"repeat: params\['bias'\] .* axis of 4, .*\(3, 4\)"):
        repeat(dense(4), 4).apply(params, X)
    with pytest.raises(ShapeError, match=r"repeat: params\['bias'\] .* axis of 3, .*\(4,\)"):
        repeat(dense(4), 3).apply(dense(4).init(KEY, X), X)
    with pytest.raises(ShapeError, match=r"repeat: state\['s'\]"):
        repeat(noisy_block(), 3).apply({}, {"s": jnp.ones(())}, X, train=True)
