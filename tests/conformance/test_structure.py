"""Law: the Jacobian by each argument has the structure that the rule declares."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from funcnet.structure import holds
from tests.conformance.choice import every_rule
from tests.conformance.measured import Point
from tests.conformance.table import Row


@every_rule
def test_declared_structure(row: Row) -> None:
    """For each pair of a leaf of the output and a leaf of the argument."""
    kinds = {place: row.rule.structure[i] for place, i in enumerate(row.moving)}
    declared = {place: kind for place, kind in kinds.items() if kind is not None}
    if not declared:
        return
    with jax.enable_x64(True):
        at = Point(row)
        outputs = jax.tree.leaves(jax.eval_shape(row.apply, *at.args))

        @jax.jit
        def jacobian() -> list[Any]:
            flat = lambda *points: jax.tree.leaves(at.of(row.apply)(*points))  # noqa: E731
            return jax.jacrev(flat, tuple(declared))(*at.points)

        for y, blocks in zip(outputs, jacobian(), strict=True):
            for (place, kind), block in zip(declared.items(), blocks, strict=True):
                pairs = zip(jax.tree.leaves(at.points[place]), jax.tree.leaves(block), strict=True)
                for x, matrix in pairs:
                    entries = np.reshape(matrix, (y.size, x.size))
                    verdict = holds(kind, entries, y.shape, x.shape, tolerance=1e-12)
                    assert verdict, f"{kind}: {verdict.why}"
