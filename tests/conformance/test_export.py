"""Law: every rule, its gradient and its pushforward lower for CPU, CUDA and TPU, all on a CPU."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from tests.conformance.choice import every_rule
from tests.conformance.measured import Point, contracted
from tests.conformance.table import Row

PLATFORMS = ("cpu", "cuda", "tpu")


@every_rule
def test_export(row: Row) -> None:
    at = Point(row, jnp.float32)
    f = at.of(row.apply)
    phi = contracted(f, at.cotangent())

    def everything(*points: Any) -> Any:
        gradient = jax.grad(phi, tuple(range(len(points))))
        return f(*points), jax.jvp(f, points, points)[1], gradient(*points)

    exported = jax.export.export(jax.jit(everything), platforms=PLATFORMS)(*at.points)
    assert exported.platforms == PLATFORMS
    assert not any(aval.dtype == jnp.float64 for aval in exported.out_avals)
