"""Functions that keep little of what they compute: the same derivatives, in the bytes given."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import grad, lax

from funcnet.control_flow import checkpointed, while_loop
from funcnet.errors import ArgumentError
from funcnet.jaxprs import residuals


@jax.custom_jvp
def floor_through(x: Any) -> Any:
    return jnp.floor(x)


floor_through.defjvps(lambda t, _, x: t)


def network(w: Any, x: Any) -> Any:
    for _ in range(4):
        x = jnp.tanh(w @ x)
    return x


def rounded(w: Any, x: Any) -> Any:
    """A custom derivative, a nested jit and loops, none of which may get lost."""
    y = jax.jit(lambda v: floor_through(3 * v) * v)(w @ x)
    y, _ = lax.scan(lambda c, row: (jnp.sin(c * row), None), y, w)
    return while_loop(lambda v: v.sum() < 20, lambda v: 1.5 * jnp.abs(v) + 0.1 * v**2, y)


W = np.linspace(-1.0, 1.0, 16, dtype=np.float32).reshape(4, 4)
X = np.array([0.5, -1.5, 2.0, 0.25], np.float32)


@pytest.mark.parametrize("budget", [0, 50, 10_000])
@pytest.mark.parametrize("f", [network, rounded])
def test_the_same_derivatives(f: Any, budget: int) -> None:
    g = checkpointed(f, budget_bytes=budget)
    np.testing.assert_allclose(f(W, X), g(W, X), rtol=1e-5, atol=1e-6)
    for mode in (jax.jacfwd, jax.jacrev):
        for found, right in zip(mode(g, (0, 1))(W, X), mode(f, (0, 1))(W, X), strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)
    found, right = (
        jax.jit(jax.vmap(grad(lambda w, x, h=h: h(w, x).sum()), (None, 0)))(W, np.stack([X, 2 * X]))
        for h in (g, f)
    )
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)
    found, right = (jax.hessian(lambda x, h=h: h(W, x).sum())(X) for h in (g, f))
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)


def test_keeps_what_it_may() -> None:
    kept = [
        residuals(checkpointed(network, budget_bytes=budget), W, X).nbytes
        for budget in (0, 15, 16, 40, 64, 10_000)
    ]
    # In 64 bytes a fourth product is kept, of which the last slope is then made.
    assert kept[:5] == [0, 0, 16, 32, 48]
    assert 64 < kept[5] <= residuals(network, W, X).nbytes


def test_products_come_before_what_is_cheap() -> None:
    def f(w: Any, x: Any) -> Any:
        return jnp.exp(jnp.cos(jnp.sin(w @ x)))

    text = str(jax.make_jaxpr(checkpointed(f, budget_bytes=16))(W, X))
    lines = [line for line in text.splitlines() if "= name" in line or "dot_general" in line]
    assert len(lines) == 2 and "dot_general" in lines[0] and "name" in lines[1], lines


def test_a_budget_is_not_negative() -> None:
    with pytest.raises(ArgumentError, match="checkpointed: budget_bytes=-1 has to be 0 or more"):
        checkpointed(network, budget_bytes=-1)
