from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError, DTypeError, MissingKeyError
from funcnet.jaxprs import residuals
from funcnet.layers import dropout
from funcnet.layers.dropout import drop
from funcnet.rules import check_rule

KEY = jax.random.key(7)


def train(rate: float, x: Any, key: Any = KEY) -> jax.Array:
    return dropout(rate).apply({}, {}, x, key=key, train=True)[0]


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_the_rate_is_the_probability_to_drop(rate: float) -> None:
    """Within four standard errors of a binomial count."""
    n = 40_000
    dropped = int((train(rate, jnp.ones(n)) == 0).sum())
    assert abs(dropped - n * rate) < 4 * np.sqrt(n * rate * (1 - rate))


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.999, 1e-9, 1 - 1e-9])
def test_the_expectation_is_exact(rate: float) -> None:
    """The scale is that of the rate as it is realised, in units of 2^-16."""
    y = train(rate, jnp.ones(200_000))
    dropped = min(max(round(rate * 65536), 1), 65535)
    scales = set(np.unique(y).tolist())
    assert scales <= {0.0, np.float32(65536 / (65536 - dropped)).item()}
    assert len(scales) == 2 or dropped in (1, 65535)


def test_which_elements_are_dropped_never_changes() -> None:
    """Published results depend on it: 16 random bits for each element, small ones drop it."""
    bits = np.asarray(jax.random.bits(KEY, (1000, 1000), jnp.uint16))
    np.testing.assert_array_equal(train(0.1, jnp.ones(bits.shape)) == 0, bits < 6554)


def test_what_is_dropped_is_zero_whatever_it_was() -> None:
    for worst in (jnp.inf, jnp.nan):
        y = train(0.5, jnp.full(100, worst))
        kept = np.asarray(train(0.5, jnp.ones(100))) != 0
        np.testing.assert_array_equal(np.asarray(y)[~kept], 0.0)
        assert not np.isfinite(np.asarray(y)[kept]).any()


def test_evaluation_and_rate_0_are_the_identity() -> None:
    x = jnp.array([1.0, jnp.nan, -jnp.inf])
    np.testing.assert_array_equal(dropout(0.9).apply({}, {}, x, train=False)[0], x)
    np.testing.assert_array_equal(dropout(0.0).apply({}, {}, x, train=True)[0], x)


def test_rate_1_drops_everything() -> None:
    x = jnp.ones(10**6).at[:2].set(jnp.array([jnp.inf, jnp.nan]))
    assert not train(1, x).any()
    assert not jax.grad(lambda x: train(1.0, x).sum())(x).any()


def test_the_backward_pass_draws_the_same_mask_again() -> None:
    x = jax.random.normal(jax.random.key(1), (50, 4))
    y, pullback = jax.vjp(lambda x: train(0.3, x), x)
    mask = np.asarray(y / x)
    np.testing.assert_allclose(pullback(jnp.ones_like(x))[0], mask, rtol=1e-6)
    _, tangent = jax.jvp(lambda x: train(0.3, x), [x], [jnp.ones_like(x)])
    np.testing.assert_allclose(tangent, mask, rtol=1e-6)


def test_no_mask_is_kept() -> None:
    kept = residuals(lambda x: train(0.3, jnp.sin(x)), jnp.ones((50, 4)))
    assert [r.description for r in kept if r.shape == (50, 4)] == ["cos"]


def test_the_rule() -> None:
    check_rule(drop, jnp.linspace(-1.0, 1.0, 6), KEY, dropped=20_000)


def test_the_mask_depends_on_the_key_alone() -> None:
    x = jnp.ones(64)
    np.testing.assert_array_equal(train(0.5, x), train(0.5, x))
    assert (train(0.5, x) != train(0.5, x, jax.random.key(8))).any()
    np.testing.assert_array_equal(train(0.5, x, jax.random.PRNGKey(7)), train(0.5, x))


def test_vmap() -> None:
    x, keys = jnp.ones((3, 64)), jax.random.split(KEY, 3)
    same = jax.vmap(lambda x: train(0.5, x))(x)
    assert (same == jnp.broadcast_to(same[0], same.shape)).all()
    own = jax.vmap(lambda x, key: train(0.5, x, key))(x, keys)
    for i in range(3):
        np.testing.assert_array_equal(own[i], train(0.5, x[i], keys[i]))


@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_a_forgotten_key(rate: float) -> None:
    with pytest.raises(MissingKeyError, match=f"dropout: .*rate={rate} .*key=jax.random.key"):
        dropout(rate).apply({}, {}, jnp.ones(3), train=True)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), "0.5", None, 0.5j, jnp.array(0.5)])
def test_bad_rates(rate: Any) -> None:
    with pytest.raises(ArgumentError, match="dropout: rate is the probability to drop"):
        dropout(rate)


@pytest.mark.parametrize("rate", [np.float32(0.5), np.float64(0.5), 1])
def test_good_rates(rate: Any) -> None:
    assert train(rate, jnp.ones(3)).dtype == jnp.float32


def test_integers_are_not_scaled() -> None:
    with pytest.raises(DTypeError, match="dropout: "):
        train(0.5, jnp.ones(3, jnp.int32))
