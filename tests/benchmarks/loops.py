"""Gradients of long loops: ours, `lax.scan`, nested scans and equinox's loops.

    python -m tests.benchmarks.loops [--steps 1000 10000 100000] [--size 1000] [--seconds 20]

A state of so many floats takes so many steps. All ways take turns in one process, compiled, after a
first call; the ratio of a gradient is to the forward loop of `lax.while_loop`. Ours and equinox's
`while_loop` learn the number of steps when they run; scans have to know it when they are compiled,
and equinox's bounded loop a bound. Memory is what XLA says that the program takes for itself.
Equinox is left out where it is not installed (`pip install equinox`).
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.clock import interleaved, ratio, spread
from funcnet.control_flow import replays, revolve, while_loop
from funcnet.report import Cell, Column, Table, format_bytes, format_seconds

Way = Callable[[Any, Any], Any]


def step(scale: Any, x: Any) -> Any:
    return jnp.sin(scale * x) + 0.1 * x


def forward(scale: Any, x: Any, steps: Any) -> Any:
    def body(state: Any) -> Any:
        return state[0] + 1, step(scale, state[1])

    return jax.lax.while_loop(lambda s: s[0] < steps, body, (0, x))[1]


def ours(scale: Any, x: Any, steps: Any, slots: int | None) -> Any:
    def body(state: Any) -> Any:
        return state[0] + 1, step(scale, state[1])

    budget = None if slots is None else slots * (4 * x.size + 4)
    return while_loop(lambda s: s[0] < steps, body, (0, x), budget_bytes=budget)[1]


def plain_scan(scale: Any, x: Any, steps: int) -> Any:
    return jax.lax.scan(lambda c, _: (step(scale, c), None), x, length=steps)[0]


def nested_scan(scale: Any, x: Any, steps: int) -> Any:
    inner = int(np.sqrt(steps))
    while steps % inner:
        inner -= 1

    @jax.checkpoint
    def some(c: Any, _: Any) -> Any:
        return plain_scan(scale, c, inner), None

    return jax.lax.scan(some, x, length=steps // inner)[0]


def equinox_loop(scale: Any, x: Any, steps: Any, slots: int | None, bound: int | None) -> Any:
    loops = importlib.import_module("equinox.internal")

    def body(state: Any) -> Any:
        return state[0] + 1, step(scale, state[1])

    how = (
        {"kind": "checkpointed", "checkpoints": slots}
        if bound is None
        else {"kind": "bounded", "max_steps": bound}
    )
    start = (jnp.asarray(0), x)
    return loops.while_loop(lambda s: s[0] < steps, body, start, **how)[1]


def ways(steps: int) -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {
        "ours, by default": partial(ours, slots=None),
        **{f"ours, {slots} slots": partial(ours, slots=slots) for slots in (100, 450, 1000)},
        "lax.scan": lambda s, x, n: plain_scan(s, x, steps),
        "nested scan": lambda s, x, n: nested_scan(s, x, steps),
    }
    try:
        importlib.import_module("equinox")
    except ImportError:
        return found
    checkpointed = {
        f"equinox, {slots} slots": partial(equinox_loop, slots=slots, bound=None)
        for slots in (100, 450)
    }
    bounded = {"equinox, bounded": partial(equinox_loop, slots=None, bound=steps)}
    return found | checkpointed | bounded


def measure(steps: int, size: int, rounds: int, seconds: float) -> Table:
    scale = jnp.linspace(0.5, 1.5, size)
    x = jnp.linspace(-1.0, 1.0, size)
    calls: list[Callable[[], Any]] = []
    names: list[str] = []
    costs: list[tuple[float, int]] = []
    once = jax.jit(forward).lower(scale, x, steps).compile()
    expected = None
    for name, way in {"forward": None, **ways(steps)}.items():
        start = time.perf_counter()
        if way is None:
            compiled = once
        else:
            gradient = jax.grad(lambda s, x, n, way=way: way(s, x, n).sum(), (0, 1))
            compiled = jax.jit(gradient).lower(scale, x, steps).compile()
        took = time.perf_counter() - start
        result = jax.block_until_ready(compiled(scale, x, steps))
        if way is not None:
            expected = result if expected is None else expected
            for a, b in zip(result, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
        calls.append(partial(compiled, scale, x, steps))
        names.append(name)
        memory = compiled.memory_analysis()
        costs.append((took, 0 if memory is None else memory.temp_size_in_bytes))
    samples = interleaved(calls, rounds, seconds)
    rows: list[list[Cell]] = [
        [
            name,
            spread(times).median,
            ratio(times, samples[0]).median,
            compiling,
            memory,
        ]
        for name, times, (compiling, memory) in zip(names, samples, costs, strict=True)
    ]
    columns = [
        Column(f"{steps:,} steps"),
        Column("takes", format_seconds),
        Column("over forward", lambda v: f"{v:.2f}"),
        Column("compiles", format_seconds),
        Column("temporary memory", format_bytes),
    ]
    return Table(columns, rows)


def evaluations() -> Table:
    """How often the body runs besides the reversals, over the fewest for a known length."""
    slots = (5, 10, 30, 100, 450)
    columns = [Column("steps"), *(Column(f"{s} slots", lambda v: f"{v:.3f}") for s in slots)]
    rows: list[list[Cell]] = [
        [f"{n:,}", *(replays(n, s) / revolve(n, s) for s in slots)] for n in (1000, 4000, 100_000)
    ]
    return Table(columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    print(evaluations())
    for steps in options.steps:
        print()
        print(measure(steps, options.size, options.rounds, options.seconds))


if __name__ == "__main__":
    main()
