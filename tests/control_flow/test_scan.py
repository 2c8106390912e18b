"""Scans that keep no more than they may, against JAX's own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import grad, jvp, lax

from funcnet.control_flow import scan
from funcnet.control_flow.scans import _pieces, _taken
from funcnet.errors import ArgumentError, ShapeError

WEIGHTS = np.linspace(-0.7, 0.6, 9).reshape(3, 3)
STEP_BYTES = 3 * 3 * 8
"""What the step keeps in float64: the carry, `tanh`, and its slope."""


def step(w: Any, carry: Any, x: Any) -> Any:
    h = jnp.tanh(w @ carry["h"] + x["in"])
    return {"h": h, "n": carry["n"] + 1}, {"sum": h.sum() * x["in"][0], "n": carry["n"]}


def inputs(length: int) -> Any:
    start = {"h": jnp.array([0.1, -0.2, 0.3]), "n": jnp.asarray(0)}
    return start, {"in": jnp.sin(jnp.arange(3.0 * length)).reshape(length, 3)}


def loss(how: Any, w: Any, start: Any, xs: Any, reverse: bool) -> Any:
    carry, ys = how(lambda c, x: step(w, c, x), start, xs, reverse=reverse)
    order = jnp.arange(len(ys["sum"]), dtype=w.dtype)
    return (carry["h"] ** 2).sum() + (ys["sum"] * jnp.cos(order)).sum()


@pytest.fixture(autouse=True)
def in_float64(x64: None) -> None:
    """So that rounding stays far below what the tests are after."""


def limited(budget: int) -> Any:
    return lambda *args, **kwargs: scan(*args, budget_bytes=budget, **kwargs)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 3, 17, 60, 101])
def test_agrees_with_jax(length: int, reverse: bool) -> None:
    start, xs = inputs(length)
    for budget in (1 << 20, 40 * STEP_BYTES, 14 * STEP_BYTES):
        how = limited(budget)
        one, two = (
            h(lambda c, x: step(WEIGHTS, c, x), start, xs, reverse=reverse) for h in (how, lax.scan)
        )
        jax.tree.map(np.testing.assert_array_equal, one, two)

        def at(h: Any, w: Any) -> Any:
            return loss(h, w, start, xs, reverse)

        found, right = (
            grad(lambda w, h=h: at(h, w))(jnp.asarray(WEIGHTS)) for h in (how, lax.scan)
        )
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-12)
        found, right = (
            jvp(lambda w, h=h: at(h, w), (WEIGHTS,), (np.ones((3, 3)),)) for h in (how, lax.scan)
        )
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-12)


def test_higher_orders_and_vmap() -> None:
    start, xs = inputs(24)
    how = limited(8 * STEP_BYTES)
    assert _pieces(24, 32, STEP_BYTES, 8 * STEP_BYTES)

    def at(h: Any, w: Any) -> Any:
        return loss(h, w, start, xs, False)

    def both(f: Any) -> None:
        found, right = f(how), f(lax.scan)
        np.testing.assert_allclose(found, right, rtol=1e-11, atol=1e-11)

    w = jnp.asarray(WEIGHTS)
    both(lambda h: jax.hessian(lambda w: at(h, w))(w))
    both(lambda h: jax.jacrev(jax.grad(lambda w: at(h, w)))(w))
    both(lambda h: jax.vmap(jax.grad(lambda w: at(h, w)))(jnp.stack([w, 2 * w])))
    both(lambda h: jax.jit(grad(jax.checkpoint(lambda w: at(h, w))))(w))


@pytest.mark.parametrize("length", [1000, 997, 4096])
def test_the_memory_is_what_was_given(length: int) -> None:
    """What XLA takes for itself, but for a few arrays of a step."""

    def total(scale: Any, x: Any, budget: int) -> Any:
        return scan(lambda c, _: (jnp.sin(scale * c), None), x, None, length, budget_bytes=budget)[
            0
        ].sum()

    x = jnp.linspace(0.0, 1.0, 500)
    size = x.nbytes
    for budget in (2 * length * size, 200 * size, 60 * size):
        gradient = jax.jit(grad(lambda s, x, b=budget: total(s, x, b), (0, 1)))
        memory: Any = gradient.lower(x, x).compile().memory_analysis()
        assert memory.temp_size_in_bytes <= budget + 12 * size, budget


def test_pieces_are_the_fewest_that_fit() -> None:
    for steps in (2, 10, 97, 1000, 100_000):
        for kept in (0, 4, 400):
            taken = [_taken(steps, 40, kept, ())]
            for budget in (steps * kept, steps * kept // 3 + 1000, steps * kept // 30 + 1000):
                pieces = _pieces(steps, 40, kept, budget)
                assert _taken(steps, 40, kept, pieces) <= budget
                assert list(pieces) == sorted(pieces, reverse=True)
                assert all(1 <= p < steps for p in pieces)
                taken.append(_taken(steps, 40, kept, pieces))
            assert taken == sorted(taken, reverse=True)


def test_says_what_is_wrong() -> None:
    def f(c: Any, x: Any) -> Any:
        return jnp.sin(c), None

    with pytest.raises(
        ArgumentError, match=r"scan: budget_bytes=100 is too little for 1,000 steps.*Give"
    ):
        scan(f, jnp.ones(100), None, 1000, budget_bytes=100)
    with pytest.raises(ShapeError, match=r"scan: xs and length .* say \[2, 3\]"):
        scan(lambda c, x: (c, x[0]), 0.0, (jnp.ones(2), jnp.ones(3)))
    with pytest.raises(ShapeError, match="say nothing"):
        scan(f, 0.0, None)
    with pytest.raises(ShapeError, match=r"say \[2, 5\]"):
        scan(f, 0.0, jnp.ones(2), 5)


def test_no_steps() -> None:
    carry, ys = scan(lambda c, x: (2 * c, c), jnp.asarray(3.0), jnp.ones((0, 2)))
    assert carry == 3.0 and ys.shape == (0,)
    assert grad(lambda c: scan(lambda c, x: (2 * c, c), c, jnp.ones((0, 2)))[0])(3.0) == 1.0
