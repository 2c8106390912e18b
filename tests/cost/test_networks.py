"""Counts that can be held against others: XLA's on ten networks, and a loop's by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from funcnet.cost import compare_modes
from funcnet.jaxprs import flops
from funcnet.layers import activation, dense, residual, serial
from funcnet.models import mlp
from funcnet.primitives import gelu, relu, silu, softmax_cross_entropy, tanh


def shape(*extents: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(extents, jnp.float32)


def loss_of(net: Any, inputs: int, batch: int = 16) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The cross-entropy of a network on a batch, and the shapes of its arguments."""
    x, labels = shape(batch, inputs), jax.ShapeDtypeStruct((batch,), jnp.int32)
    params = jax.eval_shape(net.init, jax.random.key(0), x)

    def loss(params: Any, x: Any, labels: Any) -> Any:
        return jnp.mean(softmax_cross_entropy(net.apply(params, x), labels))

    return loss, (params, x, labels)


def convolved(x: Any, kernel: Any, stride: int = 1) -> Any:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=layout)


def image_network(params: Any, x: Any) -> Any:
    h = jax.nn.relu(convolved(x, params[0]))
    h = lax.reduce_window(h, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    h = jax.nn.relu(convolved(h, params[1], 2))
    return jnp.mean((h.reshape(h.shape[0], -1) @ params[2]) ** 2)


def attention(params: Any, x: Any) -> Any:
    q, k, v = (x @ w for w in params[:3])
    weights = jax.nn.softmax(jnp.einsum("bte,bse->bts", q, k) / 4.0, axis=-1)
    return jnp.mean((jnp.einsum("bts,bse->bte", weights, v) @ params[3]) ** 2)


def recurrent(params: Any, x: Any) -> Any:
    h = jnp.zeros((x.shape[0], 24))
    for t in range(6):
        h = jnp.tanh(x[:, t] @ params[0] + h @ params[1])
    return jnp.mean((h @ params[2]) ** 2)


def gated(params: Any, x: Any) -> Any:
    h = jnp.zeros((x.shape[0], 16))
    for t in range(4):
        both = jnp.concatenate([x[:, t], h], axis=-1)
        gate, new = jax.nn.sigmoid(both @ params[0]), jnp.tanh(both @ params[1])
        h = gate * h + (1.0 - gate) * new
    return jnp.mean(h**2)


def autoencoder(params: Any, x: Any) -> Any:
    code = jnp.tanh(jnp.tanh(x @ params[0]) @ params[1])
    return jnp.mean((jnp.tanh(code @ params[1].T) @ params[0].T - x) ** 2)


def mixed(params: Any, x: Any) -> Any:
    """Mixing over the tokens, then over the channels."""
    h = x + jnp.swapaxes(jax.nn.relu(jnp.swapaxes(x, 1, 2) @ params[0]) @ params[1], 1, 2)
    return jnp.mean((jax.nn.relu(h @ params[2]) @ params[3]) ** 2)


NETWORKS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "perceptron": loss_of(mlp((32, 32), 10), 64),
    "deep, narrow perceptron": loss_of(mlp((32,) * 10, 10), 32),
    "gelu network": loss_of(serial(dense(64), activation(gelu), dense(10)), 64),
    "residual network": loss_of(
        serial(dense(32), *[residual(serial(dense(32), activation(tanh)))] * 3, dense(10)), 64
    ),
    "silu and relu": loss_of(
        serial(dense(64), activation(silu), dense(64), activation(relu), dense(10)), 64
    ),
    "convolutions": (
        image_network,
        ([shape(3, 3, 3, 8), shape(3, 3, 8, 16), shape(4 * 4 * 16, 10)], shape(4, 16, 16, 3)),
    ),
    "attention": (attention, ([shape(32, 32)] * 4, shape(2, 12, 32))),
    "recurrent": (recurrent, ([shape(16, 24), shape(24, 24), shape(24, 8)], shape(8, 6, 16))),
    "gated recurrent": (gated, ([shape(32, 16)] * 2, shape(8, 4, 16))),
    "mixer": (
        mixed,
        ([shape(12, 24), shape(24, 12), shape(32, 64), shape(64, 32)], shape(4, 12, 32)),
    ),
    "autoencoder, tied": (autoencoder, ([shape(64, 32), shape(32, 8)], shape(16, 64))),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_flops_are_those_of_xla_within_5_percent(name: str) -> None:
    loss, args = NETWORKS[name]
    for f in (loss, jax.value_and_grad(loss)):
        xla: Any = jax.jit(f).lower(*args).cost_analysis()
        assert flops(f, *args).flops == pytest.approx(xla["flops"], rel=0.05)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_networks_are_within_griewanks_bounds(name: str) -> None:
    loss, args = NETWORKS[name]
    ways = ("one JVP", "one VJP", "reverse Jacobian", "checkpointed VJP")
    costs = compare_modes(loss, *args, ways=ways, measure=False)
    assert list(costs) == ["primal", *ways]
    assert not any(row.is_exceeded for row in costs.values()), costs
    assert costs["one VJP"].kept_bytes == costs["reverse Jacobian"].kept_bytes != 0
    assert costs["checkpointed VJP"].kept_bytes == 0


def repeated(w: Any, x: Any) -> Any:
    return lax.scan(lambda c, _: (w @ c, None), x, None, length=1000)[0]


def test_a_loop_counts_as_often_as_it_runs() -> None:
    product = 2 * 64 * 64
    costs = compare_modes(repeated, shape(64, 64), shape(64), argnums=1, measure=False)
    assert costs["primal"].cost.flops == 1000 * product == 8_192_000
    assert costs["one JVP"].cost.flops == costs["one VJP"].cost.flops == 2 * 1000 * product
    dots = costs["forward Jacobian"].cost.by_primitive["dot_general"].flops
    assert dots == 64 * 1000 * product
    assert costs["one VJP"].kept_bytes == 0  # linear in x: only w is needed, which is an argument
    assert (
        compare_modes(repeated, shape(64, 64), shape(64), ways=["one VJP"], measure=False)[
            "one VJP"
        ].kept_bytes
        == 1000 * 64 * 4
    )  # by w: each c
