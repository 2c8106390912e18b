"""Costs by size: where forward and reverse cross, and how memory grows with depth."""

from __future__ import annotations

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet.cost import Sweep, crossover, sweep
from funcnet.errors import ArgumentError


def with_outputs(m: int) -> Any:
    def of_inputs(n: int) -> Any:
        w = np.ones((m, n), np.float32)
        return (lambda x: jnp.sin(w @ x)), (jnp.ones(n),)

    return of_inputs


def deep(depth: int) -> Any:
    def f(x: Any) -> Any:
        return jnp.sum(lax.scan(lambda c, _: (jnp.sin(c), None), x, None, length=depth)[0])

    return f, (jnp.ones(8),)


@pytest.mark.parametrize("m", [10, 40])
def test_modes_cross_where_there_are_as_many_inputs_as_outputs(m: int) -> None:
    costs = sweep(with_outputs(m), [m // 4, m // 2, 2 * m, 4 * m], label="inputs", measure=False)
    at = crossover(costs)
    assert at is not None and at == pytest.approx(m, rel=0.1)
    assert f"cost the same at inputs = {at:.4g}" in str(costs)
    assert crossover(costs, "reverse Jacobian", "forward Jacobian") == pytest.approx(at)
    assert crossover(costs, by="bytes") == pytest.approx(m, rel=0.3)


def test_no_crossing() -> None:
    costs = sweep(with_outputs(40), [2, 4], measure=False)
    assert crossover(costs) is None
    assert "cost the same" not in str(costs)
    assert crossover(costs, "primal", "reverse Jacobian") is None
    assert crossover(costs, by="seconds") is None  # nothing was measured


def test_a_crossing_at_a_size_and_equal_costs() -> None:
    costs = sweep(with_outputs(10), [5, 20], measure=False)
    assert crossover(costs, "primal", "primal") == 5


def test_memory_grows_with_depth() -> None:
    ways = ["one VJP", "checkpointed VJP"]
    costs = sweep(deep, [5, 10, 20], label="depth", ways=ways, measure=False)
    assert costs.values("one VJP", "kept_bytes") == [d * 8 * 4 for d in (5, 10, 20)]
    assert costs.values("checkpointed VJP", "kept_bytes") == [0, 0, 0]
    assert costs.values("one VJP", "seconds") == [None] * 3
    headings = str(costs).splitlines()[1].split("  ")
    assert [h.strip() for h in headings if h.strip()] == [
        "depth",
        "inputs",
        "outputs",
        "one VJP",
        "checkpointed VJP",
        "kept by one VJP",
    ]
    assert "kept by" not in str(costs.table("kept_bytes")).splitlines()[1]


def test_measured() -> None:
    told: list[tuple[float, str]] = []
    costs = sweep(
        with_outputs(4), [8, 2], label="inputs", rounds=3, seconds=0.1, ways=["one JVP"],
        progress=lambda done, text: told.append((done, text)),
    )  # fmt: skip
    assert costs.sizes == [2, 8] and costs.is_measured
    assert all(value and value > 0 for value in costs.values("one JVP", "seconds"))
    assert str(costs).startswith("seconds by inputs")
    parts = [done for done, _ in told]
    assert parts == sorted(parts) and parts[-1] == 1.0
    assert told[0][1].startswith("inputs 2: counting")
    assert costs._repr_html_().startswith("<table")
    assert [p["size"] for p in json.loads(json.dumps(costs.to_dict()))["points"]] == [2, 8]


@pytest.mark.parametrize(
    ("made", "sizes", "options", "message"),
    [
        (deep, [], {}, "there are no sizes"),
        (deep, [0, 1], {}, "sizes has 0"),
        (deep, [2, 2], {}, "sizes has 2"),
        (deep, [float("nan")], {}, "sizes has nan"),
        (lambda n: jnp.sin, [2], {}, r"f_of_size\(2\) returned a .*as in \(f, \(x,\)\)"),
        (lambda n: (jnp.sin, 1.0), [2], {}, "returned a tuple"),
        (deep, [2], {"ways": ["sideways"]}, "'sideways', which is none of"),
    ],
)
def test_bad_input(made: Any, sizes: Any, options: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        sweep(made, sizes, measure=False, **options)


def test_unknown_columns() -> None:
    costs: Sweep = sweep(with_outputs(4), [2, 8], measure=False)
    with pytest.raises(ArgumentError, match="'one VJP' was not compared"):
        costs.values("one VJP", "operations")
    with pytest.raises(ArgumentError, match="'joules' is none of 'operations'"):
        costs.table("joules")  # type: ignore[arg-type]
