"""Law: derivatives are linear maps with transposes, for JAX to linearize and to transpose."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conformance.choice import every_rule
from tests.conformance.measured import Point, assert_close, first_order, transformed, waves
from tests.conformance.table import ROWS, Row


@every_rule
def test_transposes(row: Row) -> None:
    """The inner product of ct with J t is that of J^T ct with t."""
    with jax.enable_x64(True):
        at = Point(row)
        tangents, cotangent = at.directions(), at.cotangent()
    pushed, pulled = (first_order(row)[mode][0] for mode in ("jvp", "vjp"))
    left, right = _products(cotangent, pushed), _products(pulled, tangents)
    scale = max(1.0, np.abs(left).sum(), np.abs(right).sum())
    assert abs(left.sum() - right.sum()) <= 1e-12 * scale


def _products(left: object, right: object) -> np.ndarray:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return np.concatenate([np.ravel(np.asarray(a) * np.asarray(b)) for a, b in pairs])


@every_rule
def test_linearize(row: Row) -> None:
    wanted = first_order(row)["value"][1], first_order(row)["jvp"][1]
    assert_close(transformed(row)["linearize"], wanted)


@every_rule
def test_linear_transpose_of_the_linearization(row: Row) -> None:
    assert_close(transformed(row)["linear_transpose"], first_order(row)["vjp"][1])


LINEAR = [
    pytest.param(row, position, id=f"{row.name}, argument {position}")
    for row in ROWS
    for position in row.linear
]


@pytest.mark.parametrize(("row", "position"), LINEAR)
def test_linear_transpose_of_the_rule(row: Row, position: int) -> None:
    """Rules that are linear in an argument are transposed without a linearization."""
    with jax.enable_x64(True):
        args = row.arguments()

        @jax.jit
        def compute() -> tuple[object, object]:
            def f(x: object) -> object:
                return row.apply(*args[:position], x, *args[position + 1 :])

            cotangent = waves(jax.eval_shape(f, args[position]), 0.5)
            (transposed,) = jax.linear_transpose(f, args[position])(cotangent)
            return transposed, jax.vjp(f, jax.tree.map(jnp.ones_like, args[position]))[1](
                cotangent
            )[0]

        assert_close(*jax.tree.map(np.asarray, compute()))
