"""Programs made of rules leave Python: `jax.export` for three back ends, and back."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.rules.examples import linear, sigmoid

X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
W = jnp.asarray(np.random.default_rng(1).normal(size=(4, 3)), jnp.float32)
PLATFORMS = ("cpu", "cuda", "tpu")


def written(x: Any, w: Any) -> Any:
    return jnp.sum(sigmoid(linear(x, w)) ** 2)


def plain(x: Any, w: Any) -> Any:
    return jnp.sum(jax.nn.sigmoid(x @ w) ** 2)


def programs(f: Any) -> dict[str, Any]:
    return {
        "value": f,
        "grad": jax.grad(f, (0, 1)),
        "jvp": lambda x, w: jax.jvp(f, (x, w), (x, w)),
        "hessian": jax.hessian(f),
        "vmap of grad": jax.vmap(jax.grad(lambda x, w: f(x[None], w)), (0, None)),
        "checkpoint": jax.grad(jax.checkpoint(f)),
    }


def close(got: Any, wanted: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, wanted)


@pytest.mark.parametrize("name", programs(written))
def test_a_program_for_three_back_ends_runs_on_this_one(name: str) -> None:
    exported = jax.export.export(jax.jit(programs(written)[name]), platforms=PLATFORMS)(X, W)
    assert exported.platforms == PLATFORMS
    close(exported.call(X, W), programs(plain)[name](X, W))


def test_through_bytes_and_differentiated_after() -> None:
    pytest.importorskip("flatbuffers")  # `jax.export` needs it to serialize
    exported = jax.export.export(jax.jit(written), platforms=PLATFORMS)(X, W)
    back = jax.export.deserialize(exported.serialize(vjp_order=2))
    close(back.call(X, W), plain(X, W))
    close(jax.grad(back.call, (0, 1))(X, W), jax.grad(plain, (0, 1))(X, W))


def test_symbolic_shapes() -> None:
    rows = jax.ShapeDtypeStruct(jax.export.symbolic_shape("rows, 4"), jnp.float32)
    for name in ("value", "grad", "jvp"):
        exported = jax.export.export(jax.jit(programs(written)[name]))(rows, W)
        for n in (1, 5):
            close(exported.call(X[:n], W), programs(plain)[name](X[:n], W))
