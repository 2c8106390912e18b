"""Griewank's bounds, held against operations that reach them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from funcnet.cost import Bound, compare_modes, gradient_bound, tangent_bound

A, B = jax.ShapeDtypeStruct((30, 40), jnp.float32), jax.ShapeDtypeStruct((40, 50), jnp.float32)


@pytest.mark.parametrize("count", [1, 2, 10])
def test_bounds_grow_with_the_number_of_derivatives(count: int) -> None:
    assert tangent_bound(count) == (1 + 1.5 * count, 1 + 2 * count)
    assert gradient_bound(count) == (1.5 + 2.5 * count, 1 + 4 * count)


def test_a_matrix_product_reaches_the_bound_of_a_tangent() -> None:
    """Three products for one, and a sum of lower order that does not count as a violation."""
    costs = compare_modes(jnp.matmul, A, B, argnums=(0, 1), measure=False, ways=["one JVP"])
    row = costs["one JVP"]
    assert row.multiple is not None and 3 < row.multiple < 3.05
    assert not row.is_exceeded


def test_products_alone_and_quotients_are_above_it() -> None:
    for f, multiple in ((jnp.multiply, 4), (jnp.divide, 6)):
        row = compare_modes(f, A, A, argnums=(0, 1), measure=False, ways=["one JVP"])["one JVP"]
        assert row.multiple is not None and row.multiple >= multiple and row.is_exceeded


def test_words_and_sums() -> None:
    assert str(tangent_bound(1)) == "2.5 to 3" and str(gradient_bound(1)) == "4 to 5"
    assert gradient_bound(1) + 1 == Bound(5.0, 6)
    assert not Bound(2.5, 3).is_exceeded(3.1) and Bound(2.5, 3).is_exceeded(3.2)
