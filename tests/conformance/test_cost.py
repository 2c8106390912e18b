"""Law: a rule with JAX's own formula has JAX's own cost, in FLOPs and in temporary memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from tests.compiled import optimised
from tests.conformance.measured import Point
from tests.conformance.table import ROWS, Row

SAME = [row for row in ROWS if row.same_formula]
same_formula = pytest.mark.parametrize("row", SAME, ids=lambda row: row.name)


def cost(function: Callable[..., Any], *args: Any) -> tuple[float, int]:
    """FLOPs, and bytes of temporary memory."""
    program = optimised(function).lower(*args).compile()
    flops = (program.cost_analysis() or {}).get("flops", 0.0)
    memory: Any = program.memory_analysis()
    return flops, memory.temp_size_in_bytes


@same_formula
def test_cost_of_jvp(row: Row) -> None:
    at = Point(row, jnp.float32)

    def pushforward(f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda points, tangents: jax.jvp(at.of(f), points, tangents)

    got, wanted = (
        cost(pushforward(f), at.points, at.directions()) for f in (row.apply, row.apply_reference)
    )
    assert got == wanted


@same_formula
def test_cost_of_grad(row: Row) -> None:
    """With respect to all arguments, and to each one alone: the others cost nothing."""
    at = Point(row, jnp.float32)
    choices = [None, *range(len(at.points))] if len(at.points) > 1 else [None]

    def pullback(f: Callable[..., Any], position: int | None) -> Callable[..., Any]:
        def run(points: Any, cotangent: Any) -> Any:
            if position is None:
                return jax.vjp(at.of(f), *points)[1](cotangent)

            def alone(point: Any) -> Any:
                return at.of(f)(*points[:position], point, *points[position + 1 :])

            return jax.vjp(alone, points[position])[1](cotangent)

        return run

    for position in choices:
        got, wanted = (
            cost(pullback(f, position), at.points, at.cotangent())
            for f in (row.apply, row.apply_reference)
        )
        assert got == wanted
