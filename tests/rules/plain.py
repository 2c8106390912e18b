"""The examples in plain JAX, a network made of two of them, and ways to compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from tests.rules.examples import linear, noise, sigmoid, unit_plain

Function = Callable[..., Any]


def plain_pair(p: Any, factor: Any) -> Any:
    return {"product": p.first * p.second, "scaled": (factor * p.first, jnp.int32(p.first.size))}


def plain_pick(logits: Any, labels: Any) -> Any:
    return jnp.take_along_axis(logits, labels[:, None], 1)[:, 0]


def plain_noisy(x: Any, key: Any, *, scale: Any = 2.0, mask: Any = None) -> Any:
    y = scale * noise(key, x) * x
    return y if mask is None else jnp.where(mask, y, 0)


PLAIN: dict[str, Function] = {
    "sigmoid": jax.nn.sigmoid,
    "linear": lambda x, w: x @ w,
    "unit": unit_plain,
    "unit, static": unit_plain,
    "pair": plain_pair,
    "pick": plain_pick,
    "noisy": plain_noisy,
    "noisy, masked": plain_noisy,
}
ALL = list(PLAIN)


def network(activation: Function, layer: Function) -> Function:
    """A net with its weights and biases stacked, so that one body makes all layers."""

    def loss(x: Any, w: Any) -> Any:
        return jnp.sum(activation(layer(activation(layer(x, w)), w)) ** 2)

    return loss


written, plain = network(sigmoid, linear), network(jax.nn.sigmoid, lambda x, w: x @ w)


def network_args(*batch: int) -> tuple[jax.Array, jax.Array]:
    random = np.random.default_rng(3)
    x, w = random.normal(size=(*batch, 4, 3)), random.normal(size=(*batch, 3, 3))
    return jnp.asarray(x), jnp.asarray(w)


def close(got: Any, wanted: Any, tolerance: float = 1e-11) -> None:
    chex.assert_trees_all_equal_structs(got, wanted)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        if one.dtype != jax.dtypes.float0:
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def same(*transforms: Callable[[Function], Function], args: Any = None) -> None:
    """The transformed network of rules gives what the plain one gives."""

    def compute(*args: Any) -> list[Any]:
        return [(t(written)(*args), t(plain)(*args)) for t in transforms]

    for got, wanted in jax.jit(compute)(*(args or network_args())):
        close(got, wanted)
