"""Law: a rule and its linear maps are recognised in a jaxpr, under vmap, jit, scan and grad."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from funcnet.rules import linear_map_p, rule_p
from tests.conformance.choice import every_rule
from tests.conformance.measured import Point, contracted
from tests.conformance.table import Row


def origins(jaxpr: Any) -> Iterator[tuple[str, Any]]:
    """The rules behind all equations; the tests do not trust the library's own walker."""
    for eqn in jaxpr.eqns:
        if eqn.primitive is rule_p:
            yield "rule", eqn.params["application"].origin
        if eqn.primitive is linear_map_p:
            yield "linear_map", eqn.params["linear"].origin
        for value in eqn.params.values():
            for item in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(item, "jaxpr", item)
                if hasattr(inner, "eqns"):
                    yield from origins(inner)


@every_rule
def test_recognisable(row: Row) -> None:
    at = Point(row, jnp.float32)
    phi = contracted(at.of(row.apply), at.cotangent())
    gradient = jax.jit(jax.grad(phi, tuple(range(len(at.points)))))
    stacked = jax.tree.map(lambda x: jnp.stack([x, x]), at.points)

    def scanned(points: Any) -> Any:
        return lax.scan(lambda c, one: (c + phi(*one), gradient(*one)), jnp.float32(0.0), points)

    for program in (lambda points: jax.vmap(jax.value_and_grad(phi))(*points), scanned):
        found = set(origins(jax.make_jaxpr(program)(stacked).jaxpr))
        assert {("rule", row.rule), ("linear_map", row.rule)} <= found
