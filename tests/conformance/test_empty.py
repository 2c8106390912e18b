"""Law: arrays without entries go through, in both modes, as they do in plain JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conformance.choice import first_of_its_rule
from tests.conformance.measured import Point, assert_close
from tests.conformance.table import ROWS, Row

WITH_EMPTY = [
    pytest.param(row, id=row.name, marks=() if first_of_its_rule(row) else pytest.mark.long)
    for row in ROWS
    if row.empty != ()
]


@pytest.mark.parametrize("row", WITH_EMPTY)
def test_empty(row: Row) -> None:
    at = Point(row, jnp.float32)
    positions = range(len(at.args)) if row.empty is None else row.empty
    at.args = tuple(
        jax.tree.map(lambda leaf: leaf[:0], argument) if i in positions else argument
        for i, argument in enumerate(at.args)
    )
    at.points = tuple(at.args[i] for i in row.moving)

    def both_modes(f: Any) -> Any:
        y, pullback = jax.vjp(f, *at.points)
        return y, pullback(at.cotangent()), jax.jvp(f, at.points, at.points)[1]

    functions = at.of(row.apply), at.of(row.apply_reference)
    got, wanted = jax.jit(lambda: [both_modes(f) for f in functions])()
    assert_close(jax.tree.map(np.asarray, got), jax.tree.map(np.asarray, wanted))
    assert any(leaf.size == 0 for leaf in jax.tree.leaves(got))
