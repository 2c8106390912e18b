from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from funcnet.training import gradient_descent


def test_one_step_is_the_formula() -> None:
    params = {"w": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
    gradient = {"w": jnp.array([0.5, 4.0]), "b": jnp.array(-1.0)}
    optimizer = gradient_descent(0.25)
    updates, state = optimizer.update(gradient, optimizer.init(params), params)
    moved = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(moved["w"], [1.0 - 0.125, -2.0 - 1.0])
    np.testing.assert_array_equal(moved["b"], 0.75)
    assert not jax.tree.leaves(state)


def test_it_is_optax_sgd() -> None:
    gradient = jax.random.normal(jax.random.key(0), (50,))
    ours, _ = gradient_descent(0.3).update(gradient, ())
    sgd = optax.sgd(0.3)
    theirs, _ = sgd.update(gradient, sgd.init(gradient))
    np.testing.assert_array_equal(ours, theirs)


def test_it_keeps_the_dtype() -> None:
    gradient = jnp.ones(3, jnp.bfloat16)
    updates, _ = gradient_descent(0.1).update(gradient, ())
    assert updates.dtype == jnp.bfloat16
