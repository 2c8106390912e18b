"""Law: the dtype that goes in comes out, in values and in derivatives; 16 bits are near to 32."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.conformance.measured import Point
from tests.conformance.table import Row, every_row, every_rule

DTYPES = (jnp.float64, jnp.float32, jnp.bfloat16, jnp.float16)


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


@every_row
def test_dtypes_are_kept(row: Row) -> None:
    """With JAX's strict promotion, under which a mixture is an error."""
    assert jax.config.values["jax_numpy_dtype_promotion"] == "strict"
    with jax.enable_x64(True):
        for dtype in DTYPES:
            at = Point(row, dtype)
            shapes = jax.eval_shape(first_order(at), at.points)
            assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(dtype)}


@every_rule
def test_sixteen_bits_are_near_to_thirty_two(row: Row) -> None:
    def compute() -> Any:
        found = []
        for dtype in (jnp.bfloat16, jnp.float16):
            low = Point(row, dtype)
            # The same numbers, which a narrow dtype has rounded, in a wide one.
            high = Point(row, dtype)
            high.args, high.points = (
                jax.tree.map(_widened, tree) for tree in (high.args, high.points)
            )
            found.append([first_order(at)(at.points)[:3] for at in (low, high)])
        return found

    for dtype, (low, high) in zip((jnp.bfloat16, jnp.float16), jax.jit(compute)(), strict=True):
        eps = float(jnp.finfo(dtype).eps)
        for got, wanted in zip(jax.tree.leaves(low), jax.tree.leaves(high), strict=True):
            assert (got.dtype, wanted.dtype) == (dtype, jnp.float32)
            scale = 1 + np.max(np.abs(wanted))
            off = np.max(np.abs(np.asarray(got, np.float32) - np.asarray(wanted)))
            assert off <= 12 * eps * scale


def _widened(leaf: Any) -> Any:
    return leaf.astype(jnp.float32) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
