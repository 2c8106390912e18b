"""Law: value, both modes and all four Hessians agree with plain JAX to 1e-12 in float64."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import primitives
from funcnet.rules import Rule
from tests.conformance.table import IDS, ROWS, Row
from tests.quick import quick_jit


def test_every_rule_has_a_row() -> None:
    rules = {
        value
        for module in pkgutil.iter_modules(primitives.__path__)
        for value in vars(importlib.import_module(f"{primitives.__name__}.{module.name}")).values()
        if isinstance(value, Rule)
    }
    assert {getattr(primitives, name) for name in primitives.__all__} <= rules
    assert {rule.name for rule in rules - {row.rule for row in ROWS}} == set()


def test_ids_are_unique() -> None:
    assert len(set(IDS)) == len(IDS)


def weights_like(y: Any) -> Any:
    """A fixed cotangent that tells the entries apart."""
    return jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)


def everything(f: Callable[..., Any], row: Row) -> Callable[..., dict[str, Any]]:
    """All values that the law is about, as one function."""
    argnums = row.argnums

    def scalar(*args: Any) -> Any:
        y = f(*args)
        return jnp.vdot(weights_like(y), y) + 0.5 * jnp.vdot(y, y)

    def compute(*args: Any) -> dict[str, Any]:
        out: dict[str, Any] = {"value": f(*args)}
        moving = [args[i] for i in argnums]

        def at(*values: Any) -> Any:
            full = list(args)
            for i, value in zip(argnums, values, strict=True):
                full[i] = value
            return f(*full)

        tangents = jax.tree.map(lambda x: jnp.sin(1 + x), moving)
        out["jvp"] = jax.jvp(at, moving, tangents)[1]
        y, pull = jax.vjp(at, *moving)
        out["vjp"] = pull(weights_like(y))
        for name, outer, inner in (
            ("forward over reverse", jax.jacfwd, jax.grad),
            ("reverse over reverse", jax.jacrev, jax.grad),
            ("forward over forward", jax.jacfwd, jax.jacfwd),
            ("reverse over forward", jax.jacrev, jax.jacfwd),
        ):
            out[name] = outer(inner(scalar, argnums), argnums)(*args)
        return out

    return compute


def assert_close(ours: Any, theirs: Any, tolerance: float, what: str) -> None:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.shape == b.shape, what
        scale = 1 + np.max(np.abs(b), initial=0)
        deviation = np.max(np.abs(np.asarray(a) - np.asarray(b)), initial=0)
        assert deviation <= tolerance * scale, f"{what}: off by {deviation:.3g}"


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_equals_plain_jax(row: Row, x64: None) -> None:
    ours, theirs = (quick_jit(everything(f, row)) for f in (row.call, row.reference))
    got, wanted = ours(*row.args), theirs(*row.args)
    for name in wanted:
        assert_close(got[name], wanted[name], 1e-12, f"{row.id}, {name}")
