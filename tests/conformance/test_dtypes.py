"""Law: every dtype promised comes out as it went in, values and derivatives; empty arrays pass."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conformance.table import IDS, ROWS, Row
from tests.conformance.test_closure import both_modes
from tests.quick import quick_jit

DTYPES = ("float64", "float32", "bfloat16", "float16")


def cast(tree: Any, dtype: str) -> Any:
    def one(x: Any) -> Any:
        x = jnp.asarray(x)
        return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(one, tree)


def shapes_of_both_modes(row: Row, args: Any) -> Any:
    def call(*values: Any) -> Any:
        full = list(args)
        for i, value in zip(row.argnums, values, strict=True):
            full[i] = value
        return row.call(*full)

    return both_modes(call), [args[i] for i in row.argnums]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_dtype_is_kept(row: Row, dtype: str, x64: None) -> None:
    f, moving = shapes_of_both_modes(row, cast(row.args, dtype))
    for leaf in jax.tree.leaves(jax.eval_shape(f, *moving)):
        assert leaf.dtype == jnp.dtype(dtype)


@pytest.mark.parametrize("dtype", ("bfloat16", "float16"))
@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_low_precision_is_near(row: Row, dtype: str) -> None:
    """In 16 bits, values and both modes are those of float32 within a few roundings."""
    low = cast(row.args, dtype)
    f, moving = shapes_of_both_modes(row, low)
    g, wide = shapes_of_both_modes(row, cast(low, "float32"))
    eps = float(jnp.finfo(dtype).eps)
    for got, wanted in zip(
        jax.tree.leaves(quick_jit(f)(*moving)), jax.tree.leaves(quick_jit(g)(*wide)), strict=True
    ):
        scale = 1 + np.max(np.abs(wanted))
        assert np.max(np.abs(np.asarray(got, np.float32) - wanted)) <= 12 * eps * scale


def without_entries(row: Row) -> Any | None:
    """The arguments with a first axis of length 0, where all of them have the same first axis."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(row.args)]
    if len({leaf.shape[:1] for leaf in leaves}) != 1 or leaves[0].ndim == 0:
        return None
    if "axis" in row.static or "shape" in row.static or row.rule.name in {"matmul", "inner", "gather"}:
        return None
    return jax.tree.map(lambda x: np.asarray(x)[:0], row.args)


@pytest.mark.parametrize("row", [r for r in ROWS if without_entries(r) is not None], ids=lambda r: r.id)
def test_empty(row: Row, x64: None) -> None:
    args = without_entries(row)
    f, moving = shapes_of_both_modes(row, args)
    y, tangent, cotangents = f(*moving)
    assert y.shape == tangent.shape
    assert y.shape == jax.eval_shape(row.reference, *args).shape
    for ct, arg in zip(jax.tree.leaves(cotangents), jax.tree.leaves(moving), strict=True):
        assert ct.shape == np.shape(arg)
