"""Penalties over trees of any shape and dtype."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.primitives import l1_penalty, l2_penalty

NAIVE = {l1_penalty: lambda w: np.abs(w).sum(), l2_penalty: lambda w: (w**2).sum() / 2}


@pytest.mark.parametrize("penalty", NAIVE, ids=lambda penalty: penalty.name)
def test_all_leaves_count(penalty: Any) -> None:
    tree = {
        "a": jnp.array([1.0, -2.0]),
        "b": [jnp.full((2, 2), 3.0), None, ()],
        "c": jnp.array(0.5),
    }
    wanted = sum(NAIVE[penalty](np.asarray(w)) for w in jax.tree.leaves(tree))
    np.testing.assert_allclose(penalty(tree), wanted)
    slope = {l1_penalty: jnp.sign, l2_penalty: lambda w: w}[penalty]
    gradient = jax.grad(penalty)(tree)
    jax.tree.map(np.testing.assert_array_equal, gradient, jax.tree.map(slope, tree))
    tangent = jax.jvp(penalty, (tree,), (jax.tree.map(jnp.ones_like, tree),))[1]
    np.testing.assert_allclose(tangent, sum(slope(w).sum() for w in jax.tree.leaves(tree)))


@pytest.mark.parametrize("penalty", NAIVE, ids=lambda penalty: penalty.name)
@pytest.mark.parametrize("tree", [{}, [], None, {"a": jnp.zeros((0, 3))}], ids=str)
def test_nothing_costs_nothing(penalty: Any, tree: Any) -> None:
    assert penalty(tree) == 0
    assert penalty(tree).shape == ()
    assert penalty(tree).dtype == jnp.float32
    chex.assert_trees_all_equal_structs(jax.grad(penalty)(tree), tree)


def test_kinks_and_infinities() -> None:
    w = jnp.array([0.0, -0.0, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(jax.grad(l1_penalty)(w), [0, 0, 1, -1, np.nan])
    np.testing.assert_array_equal(jax.grad(l2_penalty)(w), w)
    assert l1_penalty(w[2:4]) == l2_penalty(w[2:4]) == np.inf
    assert jax.hessian(l1_penalty)(1.0) == 0
    assert jax.hessian(l2_penalty)(1.0) == 1


@pytest.mark.parametrize(
    ("dtypes", "wanted"),
    [
        (("float32", "bfloat16"), "float32"),
        (("bfloat16", "float16"), "float32"),
        (("bfloat16", "bfloat16"), "bfloat16"),
        (("float16", "int32"), "float16"),
        (("int32", "int32"), "float32"),
    ],
)
@pytest.mark.parametrize("penalty", NAIVE, ids=lambda penalty: penalty.name)
def test_dtypes_promote(penalty: Any, dtypes: tuple[str, str], wanted: str) -> None:
    tree = [jnp.array([1, 2], dtype) for dtype in dtypes]
    value, pull = jax.vjp(penalty, tree)
    assert value.dtype == wanted
    assert value == {l1_penalty: 6, l2_penalty: 5}[penalty]
    kinds = [jax.dtypes.float0 if dtype == "int32" else jnp.dtype(dtype) for dtype in dtypes]
    assert [ct.dtype for ct in pull(jnp.ones_like(value))[0]] == kinds


@pytest.mark.parametrize("penalty", NAIVE, ids=lambda penalty: penalty.name)
def test_short_floats_are_added_up_in_float32(penalty: Any) -> None:
    # In bfloat16, 256 + 1 is 256.
    tree = [jnp.ones(1000, jnp.bfloat16), jnp.ones(24, jnp.bfloat16)]
    assert penalty(tree) == {l1_penalty: 1024, l2_penalty: 512}[penalty]


def test_the_sum_of_squares_may_be_twice_what_float16_holds() -> None:
    assert l2_penalty(jnp.array([300.0], jnp.float16)) == 45_000
