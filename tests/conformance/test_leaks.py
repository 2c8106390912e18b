"""Law: no tracer outlives its trace."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from tests.conformance.choice import every_family
from tests.conformance.measured import Point, contracted
from tests.conformance.table import Row


@every_family
@pytest.mark.leaks
def test_no_leaks(row: Row) -> None:
    at = Point(row, jnp.float32)
    phi = contracted(at.of(row.apply), at.cotangent())
    every = tuple(range(len(at.points)))
    jax.make_jaxpr(jax.jit(jax.grad(phi, every)))(*at.points)
    jax.make_jaxpr(jax.jit(lambda *points: jax.jvp(phi, points, points)))(*at.points)
