"""The softmax family at its edges: confident winners, ties, infinities, masks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import primitives as fn
from tests.compiled import optimised

N = 7
JACOBIANS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "softmax": lambda p, gap: p[:, None] * gap,
    "log_softmax": lambda p, gap: gap,
    "logsumexp": lambda p, gap: p[None, :],
}


def exact(name: str, x: np.ndarray) -> np.ndarray:
    """The Jacobian in float64, with ``1 - p_i`` as the sum of the others."""
    z = np.exp(x.astype(np.float64) - x.max())
    p = z / z.sum()
    others = np.array([np.delete(p, i).sum() for i in range(N)])
    identity_minus_p = np.where(np.eye(N, dtype=bool), others, -p[None, :])
    return JACOBIANS[name](p, identity_minus_p)


@functools.cache
def both_modes(name: str) -> Callable[..., Any]:
    """All tangents and cotangents of a function at a point, compiled once."""
    function = getattr(fn, name)

    @optimised
    def both(x: Any, tangents: Any, cotangents: Any) -> Any:
        push = jax.vmap(lambda t: jax.jvp(function, (x,), (t,))[1])(tangents)
        pull = jax.vmap(jax.vjp(function, x)[1])(cotangents.reshape(-1, *push.shape[1:]))
        return push.reshape(len(tangents), -1), pull[0]

    return both


@pytest.mark.parametrize("gap", [0.0, 0.7, 3.0, 20.0, 80.0])
@pytest.mark.parametrize("name", JACOBIANS)
def test_no_digit_of_a_derivative_is_lost(name: str, gap: float) -> None:
    """Entry by entry, relative to what the entry is a sum of, in float32, in both modes.

    What belongs to ``exp(x_i - x_w)`` has the rounding of the difference in it.
    """
    eps = 24 * max(1.0, gap / 10) * np.finfo(np.float32).eps
    random = np.random.default_rng(int(gap))
    outputs = 1 if name == "logsumexp" else N
    wide = np.exp(random.normal(size=(4, N)) * 8).astype(np.float32)
    tangents = np.concatenate([np.eye(N, dtype=np.float32), wide])
    cotangents = np.concatenate([np.eye(outputs, dtype=np.float32), wide[:, :outputs]])
    both = both_modes(name)
    for winner in range(N):
        x = random.normal(size=N).astype(np.float32)
        x[winner] = x.max() + np.float32(gap)
        jacobian = exact(name, x)
        push, pull = (np.asarray(found, np.float64) for found in both(x, tangents, cotangents))
        for got, directions, matrix in (
            (push, tangents, jacobian.T),
            (pull, cotangents, jacobian),
        ):
            directions = directions.astype(np.float64)
            error = np.abs(got - directions @ matrix)
            allowed = eps * np.abs(directions) @ np.abs(matrix) + np.finfo(np.float32).tiny
            assert np.all(error <= allowed), (winner, (error / allowed).max())


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", JACOBIANS)
def test_huge_and_infinite_logits(name: str, dtype: Any) -> None:
    """Values and both derivatives are finite or the right infinity, and never NaN."""
    function = getattr(fn, name)

    @jax.jit
    def everything(x: Any) -> Any:
        y, tangent = jax.jvp(function, (x,), (jnp.ones_like(x),))
        (gradient,) = jax.vjp(function, x)[1](jnp.ones_like(y))
        hessian = jax.jacfwd(jax.grad(lambda x: function(x).reshape(-1)[0]))(x)
        return y, tangent, gradient, hessian

    with jax.enable_x64(True):
        for logits in (
            [1e4, -1e4, 0.0],
            [1e4, 1e4, 1e4],
            [-1e4, -1e4, -1e4],
            [-np.inf, 0.0, 1.0],
            [-np.inf, -np.inf, 1.0],
            [-np.inf, -np.inf, -np.inf],
            [np.inf, 0.0, 1.0],
            [np.inf, np.inf, -np.inf],
        ):
            for found in everything(jnp.asarray(logits, dtype)):
                assert found.dtype == dtype
                assert not np.any(np.isnan(np.asarray(found, np.float64))), (logits, found)


def test_probabilities_of_ties_and_infinities() -> None:
    third = pytest.approx([1 / 3] * 3)
    assert fn.softmax(jnp.full(3, 1e4)).tolist() == third
    assert fn.softmax(jnp.asarray([np.inf, 0.0, np.inf])).tolist() == [0.5, 0.0, 0.5]
    assert fn.softmax(jnp.full(3, -np.inf)).tolist() == [0.0, 0.0, 0.0]
    assert fn.log_softmax(jnp.asarray([0.0, -np.inf])).tolist() == [0.0, -np.inf]
    assert fn.logsumexp(jnp.full(3, -np.inf)) == -np.inf
    assert fn.logsumexp(jnp.asarray([np.inf, -np.inf])) == np.inf


@pytest.mark.parametrize("name", JACOBIANS)
def test_a_mask_is_minus_infinity(name: str) -> None:
    function = getattr(fn, name)
    x = jnp.asarray([0.3, -1.2, 2.0, 0.7])
    mask = jnp.asarray([True, False, True, True])
    hidden = jnp.where(mask, x, -jnp.inf)
    shown = lambda x: function(x, axis=-1, where=mask)  # noqa: E731
    plain = lambda x: function(x, axis=-1)  # noqa: E731
    np.testing.assert_array_equal(shown(x), plain(hidden))
    tangent = jnp.where(mask, x, 0.0)
    pushed = jax.jvp(shown, (x,), (x,))[1], jax.jvp(plain, (hidden,), (tangent,))[1]
    np.testing.assert_array_equal(*pushed)
    cotangent = jnp.ones_like(shown(x))
    np.testing.assert_array_equal(
        jax.vjp(shown, x)[1](cotangent)[0], jax.vjp(plain, hidden)[1](cotangent)[0]
    )
