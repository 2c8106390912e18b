"""Law: the plain `jax.custom_vjp` function of a rule has the same values and cotangents."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.conformance.choice import every_family
from tests.conformance.measured import Point, assert_close, first_order
from tests.conformance.table import Row


@every_family
def test_custom_vjp(row: Row) -> None:
    with jax.enable_x64(True):
        at = Point(row)
        twin = at.of(row.apply_twin)

        @jax.jit
        def compute() -> tuple[object, object]:
            y, pullback = jax.vjp(twin, *at.points)
            return y, pullback(at.cotangent())

        y, pulled = jax.tree.map(np.asarray, compute())
        assert_close(y, first_order(row)["value"][0])
        assert_close(pulled, first_order(row)["vjp"][0])
        with pytest.raises(TypeError, match="forward-mode"):
            jax.jvp(twin, at.points, at.directions())
