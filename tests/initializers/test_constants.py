from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.initializers import constant, ones, zeros

KEY = jax.random.key(0)


def test_values() -> None:
    np.testing.assert_array_equal(zeros()(KEY, (2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(ones()(KEY, (2, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(constant(-7)(KEY, ()), np.float32(-7))
    np.testing.assert_array_equal(constant(True)(KEY, (1,)), np.ones(1))


def test_constant_arrays_are_broadcast() -> None:
    row = np.arange(3)
    np.testing.assert_array_equal(constant(row)(KEY, (2, 3)), np.stack([row, row]))
    np.testing.assert_array_equal(constant(row[:, None])(KEY, (3, 2)), np.stack([row, row], 1))
    assert constant(np.float64(0.1))(KEY, (3,), jnp.bfloat16).dtype == jnp.bfloat16


def test_constant_may_be_traced() -> None:
    def total(value: jax.Array) -> jax.Array:
        return constant(value)(KEY, (2, 3)).sum()

    assert jax.jit(jax.grad(total))(2.0) == 6.0
