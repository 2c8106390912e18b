"""Law: where a rule states what autodiff would, it costs what autodiff's costs: FLOPs and memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conformance.table import ROWS, Row

SAME = [row for row in ROWS if row.same_formula]


def gradient(f: Callable[..., Any], argnums: tuple[int, ...]) -> Callable[..., Any]:
    def run(ct: Any, *args: Any) -> Any:
        def at(*values: Any) -> Any:
            full = list(args)
            for i, value in zip(argnums, values, strict=True):
                full[i] = value
            return f(*full)

        return jax.vjp(at, *[args[i] for i in argnums])[1](ct)

    return run


def pushforward(f: Callable[..., Any], argnums: tuple[int, ...]) -> Callable[..., Any]:
    def run(_: Any, *args: Any) -> Any:
        return jax.jvp(f, args, jax.tree.map(lambda x: x[::-1], args))

    return run


def numbers(f: Callable[..., Any], *args: Any) -> tuple[float, int]:
    compiled = jax.jit(f).lower(*args).compile()
    return (compiled.cost_analysis() or {}).get("flops", 0.0), compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("mode", (gradient, pushforward))
@pytest.mark.parametrize("row", SAME, ids=lambda row: row.id)
def test_costs_what_autodiff_costs(row: Row, mode: Any) -> None:
    args = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), row.args)
    ct = jnp.ones_like(row.reference(*args))
    ours, plain = (numbers(mode(f, row.argnums), ct, *args) for f in (row.call, row.reference))
    assert ours == plain


@pytest.mark.parametrize("row", [r for r in SAME if len(r.args) > 1], ids=lambda row: row.id)
def test_an_argument_that_is_not_differentiated_costs_nothing(row: Row) -> None:
    args = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), row.args)
    ct = jnp.ones_like(row.reference(*args))
    for i in range(len(args)):
        ours, plain = (numbers(gradient(f, (i,)), ct, *args) for f in (row.call, row.reference))
        assert ours == plain, f"argument {i}"


def test_gradient_for_the_weights_alone() -> None:
    """At a size where a superfluous product would show: half the FLOPs of the full gradient."""
    row = next(r for r in ROWS if r.id == "linear")
    x, w = np.ones((64, 128), np.float32), np.ones((128, 32), np.float32)
    ct = np.ones((64, 32), np.float32)
    weights, everything = (numbers(gradient(row.call, n), ct, x, w)[0] for n in ((1,), (0, 1)))
    assert weights == 2 * 64 * 128 * 32
    assert everything == 2 * weights
