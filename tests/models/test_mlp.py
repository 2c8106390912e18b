"""The multilayer perceptron and its whole loss, against plain `jax.numpy`."""

from __future__ import annotations

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.data import load_digits
from funcnet.errors import ArgumentError
from funcnet.initializers import constant
from funcnet.layers import Layer, StatefulLayer
from funcnet.models import mlp
from funcnet.primitives import l2_penalty, softmax_cross_entropy, tanh
from funcnet.training import fit, gradient_descent, init_train_state, make_epoch

SMOOTHING, DECAY = 0.1, 1e-3
TIGHT: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}


def shapes(params: Any) -> Any:
    return jax.tree.map(jnp.shape, params)


def test_parameters_and_output() -> None:
    net = mlp([7, 5], 3)
    assert isinstance(net, Layer)
    params = net.init(jax.random.key(0), jax.ShapeDtypeStruct((1, 4), jnp.float32))
    assert shapes(params) == {
        "dense_0": {"kernel": (4, 7), "bias": (7,)},
        "dense_1": {"kernel": (7, 5), "bias": (5,)},
        "output": {"kernel": (5, 3), "bias": (3,)},
    }
    for batch in [(), (2,), (2, 3)]:
        assert net.apply(params, jnp.zeros((*batch, 4))).shape == (*batch, 3)


def test_without_hidden_layers_it_is_linear() -> None:
    net = mlp([], 3)
    params = net.init(jax.random.key(0), jnp.zeros(4))
    assert shapes(params) == {"output": {"kernel": (4, 3), "bias": (3,)}}


@pytest.mark.parametrize(
    ("activation", "gains"), [(None, (1.0, 2.0)), (tanh, (1.0, 1.5925**2)), (jnp.abs, (1.0, 1.0))]
)
def test_the_variance_of_the_kernels(activation: Any, gains: tuple[float, float]) -> None:
    """1 / n_in in front, gain^2 / n_in behind an activation; 250 000 draws are within 2 %."""
    options = {} if activation is None else {"activation": activation}
    params = mlp([500, 500], 500, **options).init(jax.random.key(0), jnp.zeros(500))
    for name, gain in zip(
        ("dense_0", "dense_1", "output"), (gains[0], gains[1], gains[1]), strict=True
    ):
        assert abs(float(jnp.var(params[name]["kernel"])) * 500 / gain - 1) < 0.02


def test_one_initializer_for_all() -> None:
    params = mlp([2], 2, kernel_init=constant(0.5)).init(jax.random.key(0), jnp.zeros(3))
    for name in ("dense_0", "output"):
        np.testing.assert_array_equal(params[name]["kernel"], 0.5)


def test_dropout() -> None:
    net = mlp([64], 3, dropout=0.5)
    assert isinstance(net, StatefulLayer)
    x = jax.random.normal(jax.random.key(1), (5, 4))
    params, state = net.init(jax.random.key(0), x)
    evaluated, _ = net.apply(params, state, x, train=False)
    trained, _ = net.apply(params, state, x, key=jax.random.key(2), train=True)
    chex.assert_trees_all_equal(params, mlp([64], 3).init(jax.random.key(0), x))
    np.testing.assert_array_equal(evaluated, mlp([64], 3).apply(params, x))
    assert not np.allclose(evaluated, trained)


@pytest.mark.parametrize(("hidden", "classes"), [([0], 3), ([4, -1], 3), ([4], 0), ([2.5], 3)])
def test_senseless_widths(hidden: Any, classes: Any) -> None:
    with pytest.raises(ArgumentError, match="mlp: a width must be a positive integer"):
        mlp(hidden, classes)


# The whole trained loss: network, cross-entropy with smoothed labels, penalty, mean.


def our_loss(net: Layer, params: Any, x: Any, y: Any) -> Any:
    logits = net.apply(params, x)
    losses = softmax_cross_entropy(logits, y, label_smoothing=SMOOTHING)
    return jnp.mean(losses) + DECAY * l2_penalty(params)


def plain_loss(params: Any, x: Any, y: Any) -> Any:
    *hidden, output = [params[name] for name in sorted(params)]
    h = x
    for layer in hidden:
        z = h @ layer["kernel"] + layer["bias"][None, :]
        h = jnp.where(z > 0, z, 0.0)
    z = h @ output["kernel"] + output["bias"][None, :]
    log_p = z - jax.scipy.special.logsumexp(z, axis=-1, keepdims=True)
    classes = z.shape[-1]
    target = (1 - SMOOTHING) * jnp.eye(classes)[y] + SMOOTHING / classes
    penalty = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
    return -jnp.mean(jnp.sum(target * log_p, axis=-1)) + DECAY * penalty / 2


def trained(hidden: list[int], count: int, pixels: slice, epochs: int) -> tuple[Any, ...]:
    """A network after some training, in float64, with the data that it was trained on."""
    data = load_digits().train.rows()
    x = jnp.asarray(data.images[:count, pixels], jnp.float64)
    y = jnp.asarray(data.labels[:count])
    net = mlp(hidden, 10)
    optimizer = gradient_descent(0.5)

    def loss(params: Any, batch: Any) -> Any:
        losses = softmax_cross_entropy(net.apply(params, batch[0]), batch[1])
        return losses + jnp.broadcast_to(DECAY * l2_penalty(params), losses.shape)

    params = net.init(jax.random.key(0), x)
    state = init_train_state(optimizer, params, key=jax.random.key(1))
    state, history = fit(make_epoch(loss, optimizer, 20), state, (x, y), epochs=epochs)
    assert history[-1]["loss"] < history[0]["loss"]
    return net, state.params, x, y


@pytest.mark.usefixtures("x64")
def test_grad_and_jvp_of_the_whole_trained_loss() -> None:
    net, params, x, y = trained([32, 16], 200, slice(None), epochs=10)
    direction = jax.tree.map(lambda p: jax.random.normal(jax.random.key(p.size), p.shape), params)

    @functools.partial(jax.jit, static_argnums=0)
    def derivatives(loss: Any, params: Any) -> dict[str, Any]:
        def slope(params: Any) -> Any:
            return jax.jvp(loss, (params,), (direction,))[1]

        return {
            "value": loss(params),
            "gradient": jax.grad(loss)(params),
            "slope": slope(params),
            "forward over reverse": jax.jvp(jax.grad(loss), (params,), (direction,))[1],
            "reverse over forward": jax.grad(slope)(params),
        }

    ours = derivatives(lambda params: our_loss(net, params, x, y), params)
    plain = derivatives(lambda params: plain_loss(params, x, y), params)
    chex.assert_trees_all_close(ours, plain, **TIGHT)


@pytest.mark.usefixtures("x64")
def test_hessian_of_the_whole_trained_loss() -> None:
    net, params, x, y = trained([3], 40, slice(18, 22), epochs=5)
    ours = jax.jit(jax.hessian(lambda params: our_loss(net, params, x, y)))(params)
    plain = jax.jit(jax.hessian(lambda params: plain_loss(params, x, y)))(params)
    chex.assert_trees_all_close(ours, plain, **TIGHT)
    assert float(jnp.abs(ours["dense_0"]["kernel"]["output"]["kernel"]).max()) > 1e-3
