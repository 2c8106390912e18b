"""Law: the dtype that goes in comes out, in values and in derivatives; 16 bits are near to 32."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conformance.choice import every_rule
from tests.conformance.measured import Point
from tests.conformance.table import Row

THIRTY_TWO_OR_MORE = (jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.long))
SIXTEEN_BITS = (jnp.bfloat16, pytest.param(jnp.float16, marks=pytest.mark.long))


def first_order(at: Point) -> Any:
    """Value, tangent, cotangents and a second derivative."""
    f = at.of(at.row.apply)

    def compute(points: Any) -> Any:
        y, pullback = jax.vjp(f, *points)
        pulled = pullback(at.cotangent())

        def gradient(*points: Any) -> Any:
            return jax.vjp(f, *points)[1](at.cotangent())

        return (
            y,
            pulled,
            jax.jvp(f, points, at.directions())[1],
            jax.jvp(gradient, points, at.directions())[1],
        )

    return compute


@every_rule
@pytest.mark.parametrize("dtype", [*THIRTY_TWO_OR_MORE, *SIXTEEN_BITS])
def test_dtypes_are_kept(row: Row, dtype: Any) -> None:
    """With JAX's strict promotion, under which a mixture is an error."""
    assert jax.config.values["jax_numpy_dtype_promotion"] == "strict"
    with jax.enable_x64(True):
        at = Point(row, dtype)
        shapes = jax.eval_shape(first_order(at), at.points)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(dtype)}


@every_rule
@pytest.mark.parametrize("dtype", SIXTEEN_BITS)
def test_sixteen_bits_are_near_to_thirty_two(row: Row, dtype: Any) -> None:
    low, high = Point(row, dtype), Point(row, dtype)
    # The same numbers, which a narrow dtype has rounded, in a wide one.
    high.args, high.points = (jax.tree.map(_widened, tree) for tree in (high.args, high.points))

    @jax.jit
    def compute() -> Any:
        return [first_order(at)(at.points)[:3] for at in (low, high)]

    eps = float(jnp.finfo(dtype).eps)
    for got, wanted in zip(*map(jax.tree.leaves, compute()), strict=True):
        assert (got.dtype, wanted.dtype) == (dtype, jnp.float32)
        scale = 1 + np.max(np.abs(wanted))
        off = np.max(np.abs(np.asarray(got, np.float32) - np.asarray(wanted)))
        assert off <= 12 * eps * scale


def _widened(leaf: Any) -> Any:
    return leaf.astype(jnp.float32) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
