"""Gradients of a fixed point: ours, by hand, through the loop, and peers where they are installed.

    python -m tests.benchmarks.implicit [--size 1000] [--damping 1 0.1 0.01 0.001] [--seconds 10]

The fixed point ``x = 0.8 cos(theta + W x)`` of so many numbers in float32, with a banded `W`. The
less of a step is taken at a time, the more steps the search takes. All ways take turns in one
process, compiled, after a first call; the ratio is to the search alone. The error is that of the
gradient, relative to its largest entry, against float64.
Peers (`pip install jaxopt optimistix`) are left out where they are not installed.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet.clock import interleaved, ratio, spread
from funcnet.control_flow import fixed_point
from funcnet.report import Cell, Column, Table, format_bytes, format_seconds


def step(theta: Any, x: Any, damping: float) -> Any:
    mixed = 0.4 * jnp.roll(x, 1) + 0.3 * jnp.roll(x, -1) - 0.2 * jnp.roll(x, 7)
    return x + damping * (0.8 * jnp.cos(theta + mixed) - x)


def searched(theta: Any, x: Any, damping: float) -> Any:
    """The loop alone, stopped where ours stops; and its steps."""
    eps = float(jnp.finfo(x.dtype).eps)

    def goes(state: Any) -> Any:
        x, moved, rate, _, stuck, _ = state
        left = moved * jnp.where(rate < 1, rate / (1 - rate), jnp.inf)
        return (left > eps * (1 + jnp.linalg.norm(x))) & (stuck < 16) & (moved != 0)

    def body(state: Any) -> Any:
        x, moved, rate, least, stuck, steps = state
        y = step(theta, x, damping)
        now = jnp.linalg.norm(y - x)
        rate = jnp.where(steps > 0, jnp.maximum(now / moved, 0.9 * rate), 1.0)
        stuck = jnp.where(now < least, 0, stuck + 1)
        return y, now, rate, jnp.minimum(now, least), stuck, steps + 1

    far = jnp.asarray(jnp.finfo(x.dtype).max, x.dtype)
    x, *_, steps = lax.while_loop(goes, body, (x, far, jnp.ones_like(far), far, 0, 0))
    return x, steps


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def by_hand(theta: Any, x: Any, damping: float) -> Any:
    return searched(theta, x, damping)[0]


def _forward(theta: Any, x: Any, damping: float) -> Any:
    y = searched(theta, x, damping)[0]
    return y, (theta, y)


def _back(damping: float, kept: Any, ct: Any) -> Any:
    """The loop of the adjoint: ``v = ct + A^T v``."""
    theta, y = kept
    _, pull = jax.vjp(lambda y: step(theta, y, damping), y)
    near = 4 * float(jnp.finfo(y.dtype).eps)

    def goes(state: Any) -> Any:
        v, before, moved, steps = state
        rate = moved / before
        left = moved * jnp.where((rate < 1) & (steps > 1), rate / (1 - rate), jnp.inf)
        return (left > near * jnp.linalg.norm(v)) & (moved <= before)

    def body(state: Any) -> Any:
        v, _, moved, steps = state
        w = ct + pull(v)[0]
        return w, moved, jnp.linalg.norm(w - v), steps + 1

    far = jnp.asarray(jnp.finfo(y.dtype).max, y.dtype)
    v, *_ = lax.while_loop(goes, body, (ct, far, far, 0))
    return jax.vjp(lambda theta: step(theta, y, damping), theta)[1](v)[0], jnp.zeros_like(y)


by_hand.defvjp(_forward, _back)


def ours(theta: Any, x: Any, damping: float, **how: Any) -> Any:
    return fixed_point(lambda x: step(theta, x, damping), x, max_steps=100_000, **how)


def with_jaxopt(theta: Any, x: Any, damping: float) -> Any:
    jaxopt = importlib.import_module("jaxopt")
    solver = jaxopt.FixedPointIteration(
        lambda x, t: step(t, x, damping), maxiter=100_000, tol=1e-6 * damping * len(x) ** 0.5
    )
    return solver.run(x, theta).params


def with_optimistix(theta: Any, x: Any, damping: float) -> Any:
    optx = importlib.import_module("optimistix")
    solver = optx.FixedPointIteration(rtol=1e-6 * damping, atol=1e-6 * damping)
    found = optx.fixed_point(
        lambda x, t: step(t, x, damping), solver, x, args=theta, max_steps=100_000, throw=False
    )
    return found.value


def ways() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {
        "ours": ours,
        "ours, replayed": partial(ours, adjoint="replay"),
        "by hand": by_hand,
    }
    for name, way in {"jaxopt": with_jaxopt, "optimistix": with_optimistix}.items():
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        found[name] = way
    return found


def loss(way: Callable[..., Any], damping: float, theta: Any, x: Any) -> Any:
    return jnp.sum(jnp.sin(3 * way(theta, x, damping)))


def exact(theta: Any, x: Any) -> Any:
    """The gradient in float64."""
    with jax.enable_x64(True):
        theta, x = (jnp.asarray(np.asarray(a, np.float64)) for a in (theta, x))
        return np.asarray(jax.grad(partial(loss, ours, 1.0))(theta, x))


def measure(size: int, damping: float, rounds: int, seconds: float) -> Table:
    theta, x = jnp.sin(jnp.arange(size, dtype=jnp.float32)), jnp.zeros(size)
    right = exact(theta, x)
    _, steps = jax.jit(lambda t, x: searched(t, x, damping))(theta, x)
    alone = jax.jit(partial(loss, lambda *a: searched(*a)[0], damping)).lower(theta, x).compile()
    names, calls, notes = ["search alone"], [partial(alone, theta, x)], [(0.0, 0)]
    for name, way in ways().items():
        compiled = jax.jit(jax.grad(partial(loss, way, damping))).lower(theta, x).compile()
        found = np.asarray(compiled(theta, x), np.float64)
        memory: Any = compiled.memory_analysis()
        names.append(name)
        calls.append(partial(compiled, theta, x))
        error = float(np.max(np.abs(found - right)) / np.max(np.abs(right)))
        notes.append((error, memory.temp_size_in_bytes))
    samples = interleaved(calls, rounds, seconds)
    rows: list[list[Cell]] = [
        [name, spread(times).median, ratio(times, samples[0]).median, error, memory]
        for name, times, (error, memory) in zip(names, samples, notes, strict=True)
    ]
    columns = [
        Column(f"{int(steps):,} steps of {size:,} numbers"),
        Column("takes", format_seconds),
        Column("over the search", lambda v: f"{v:.2f}"),
        Column("error", lambda v: f"{v:.1e}"),
        Column("temporary memory", format_bytes),
    ]
    return Table(columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--damping", type=float, nargs="+", default=[1.0, 0.1, 0.01, 0.001])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    for damping in options.damping:
        print(measure(options.size, damping, options.rounds, options.seconds))
        print()


if __name__ == "__main__":
    main()
