"""Jacobians by every way there is: ours, `jax.jacfwd`, `jax.jacrev`, asdex and sparsejac.

    python -m tests.benchmarks.jacobians [PROGRAM ...] [--random 100] [--seconds 2] [--json FILE]
    python -m tests.benchmarks.jacobians --read FILE [--markdown]

measures the programs of `tests/jacobian/battery.py` at their full size, the four elimination cases,
ADBench's four objectives and random programs. All ways to one form of a result take turns in one
process, compiled, after a first call; a way more than ten times slower than the fastest is timed
once. A row compares what the default chooses, and what `autotune=True` does, with the fastest of
all ways, ours included, and the default with the fastest of the peers, and for some with JAX as one
would write it by hand: every other round tells which is the fastest, and the rest measure the
ratio. The last lines have the worst ratio and the
geometric mean. Planning is without tracing and compilation, asdex's set-up with its own tracing.

Peers are left out where they are not installed (`pip install asdex sparsejac networkx`), refuse,
are wrong, or need more than a gigabyte. Sparsejac is given our pattern, for it asks for one.
"""

from __future__ import annotations

import argparse
import importlib
import math
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO
from rich.progress import Progress

from funcnet.clock import interleaved
from funcnet.errors import FuncnetError
from funcnet.jacobian import Plan, jacobian, plan_jacobian
from funcnet.jacobian.linearization import linearized
from funcnet.jacobian.planning.options import Options
from funcnet.jacobian.planning.planned import Planned
from tests.benchmarks.jacobian_results import BY_HAND, Result, markdown, read, summary, table, write
from tests.benchmarks.jacobian_works import Work, works


def installed(name: str) -> Any:
    """A module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


asdex, sparsejac = installed("asdex"), installed("sparsejac")

MOST_BYTES = 1 << 30
SLOW = 10
COLORED = 200_000
COMPARED = 1 << 25
"""Sparsejac colours in Python: not tried with more nonzeros than this; larger Jacobians are
not compared."""


def our_ways(work: Work, plan: Plan, result: Result) -> dict[str, Callable[..., Any]]:
    """What the default chooses, and all else that may be asked for."""
    options: dict[str, dict[str, Any]] = {"ours": {}}
    met = {plan.chosen.work}
    for way in plan.alternatives:
        if way.work not in met:  # different orders may lead to the same products
            met.add(way.work)
            options[f"ours, {way.name}"] = {"mode": way.mode} | (
                {"order": way.order} if way.order else {}
            )
    if math.prod(result.shape) * 4 <= MOST_BYTES:
        options |= {f"ours, {mode}": {"mode": mode} for mode in ("forward", "reverse")}
    if result.nonzeros < math.prod(result.shape) / 4:
        options["ours, compressed"] = {"mode": "compressed"}
    return {
        name: jacobian(work.f, work.argnums, output=work.output, **kwargs)
        for name, kwargs in options.items()
    }


def peer_ways(work: Work, plan: Plan, result: Result) -> dict[str, Callable[..., Any]]:
    """Those of JAX and of the libraries that are installed, and what one would write by hand."""
    ways: dict[str, Callable[..., Any]] = {}
    if work.by_hand is not None and work.output == "dense":
        ways[BY_HAND] = work.by_hand
    if work.output == "dense":
        ways |= {"jacfwd": jax.jacfwd(work.f, work.argnums)}
        ways["jacrev"] = jax.jacrev(work.f, work.argnums)
    if asdex is not None:
        start = time.perf_counter()
        try:
            ways["asdex"] = asdex.jacobian(
                work.f, *work.args, argnums=work.argnums, output_format=work.output
            )
            result.setup = time.perf_counter() - start
        except Exception as error:
            told(result.name, "asdex", error)
    is_vector = work.argnums == 0 and np.ndim(work.args[0]) == 1
    if sparsejac is not None and work.output == "bcoo" and is_vector and result.nonzeros <= COLORED:
        pattern = BCOO(
            (jnp.ones(result.nonzeros, bool), jnp.stack(plan.pattern(), 1)), shape=result.shape
        )
        for mode in ("jacfwd", "jacrev"):
            way = getattr(sparsejac, mode)(lambda x: work.f(x, *work.args[1:]), pattern)
            ways[f"sparsejac {mode}"] = lambda x, *_, way=way: way(x)
    return ways


def tuned_way(work: Work, plan: Plan) -> str:
    """The name under which the way that trying leads to is timed."""
    taken = plan_jacobian(
        work.f, *work.args, argnums=work.argnums, output=work.output, autotune=True
    ).chosen
    if taken.mode in ("forward", "reverse"):
        return f"ours, {taken.mode}"
    if taken.work == plan.chosen.work:
        return "ours"
    return next(f"ours, {way.name}" for way in plan.alternatives if way.work == taken.work)


def planning_seconds(work: Work) -> float:
    """What planning takes without tracing, and without what is loaded once."""
    found = []
    for _ in range(3):
        options = Options(output=work.output, max_bytes=1 << 34)
        planned = Planned("plan_jacobian", work.f, work.argnums, options)
        call = planned.call(work.args)
        start = time.perf_counter()
        linearized(call.flat, call.avals, call.other_avals)
        traced = time.perf_counter()
        planned.plan(work.args)
        found.append(time.perf_counter() - traced - (traced - start))
    return max(min(found), 0.0)


def measure(name: str, work: Work, rounds: int, seconds: float) -> Result | None:
    """Time all ways to one Jacobian; None if it has no entries."""
    plan = plan_jacobian(work.f, *work.args, argnums=work.argnums, output=work.output)
    blocks = plan.chosen.blocks
    shape = sum(row[0].shape[0] for row in blocks), sum(b.shape[1] for b in blocks[0])
    if not math.prod(shape):
        return None
    nonzeros = len(plan.pattern()[0]) if plan.nnz < math.prod(shape) else math.prod(shape)
    planning = planning_seconds(work)
    result = Result(name, work.output, shape, nonzeros, plan.chosen.name, planning)
    result.tuned = tuned_way(work, plan)
    calls: dict[str, Callable[[], Any]] = {}
    expected: Any = None
    for way, f in (our_ways(work, plan, result) | peer_ways(work, plan, result)).items():
        call = partial(jax.jit(f), *work.args)
        try:
            found = jax.block_until_ready(call())
        except Exception as error:
            told(name, way, error)
            continue
        if way == "ours":
            expected = found
        elif math.prod(shape) <= COMPARED and not agree(found, expected):
            print(f"{name}: {way} is wrong, and left out")
            continue
        start = time.perf_counter()
        jax.block_until_ready(call())
        result.samples[way] = [time.perf_counter() - start]
        calls[way] = call
    limit = SLOW * max(min(t for [t] in result.samples.values()), 1e-5)
    timed = [
        way for way, [t] in result.samples.items() if t <= limit or way in ("ours", result.tuned)
    ]
    samples = interleaved([calls[way] for way in timed], rounds, seconds)
    result.samples |= dict(zip(timed, samples, strict=True))
    return result


def agree(found: Any, expected: Any) -> bool:
    """Whether two Jacobians are the same but for rounding."""

    def arrays(tree: Any) -> list[Any]:
        leaves = jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, BCOO))
        return [np.asarray(x.todense() if isinstance(x, BCOO) else x) for x in leaves]

    pairs = zip(arrays(found), arrays(expected), strict=True)
    return all(
        np.allclose(a, b, rtol=1e-3, atol=1e-3 * np.max(np.abs(b), initial=0)) for a, b in pairs
    )


def told(name: str, way: str, error: Exception) -> None:
    """A way that cannot: ours raises if it lacks a mode, peers for many reasons."""
    if way == "ours" or (way.startswith("ours") and not isinstance(error, FuncnetError)):
        raise error
    print(f"{name}: no {way}: {type(error).__name__}: {str(error).splitlines()[0][:90]}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("programs", nargs="*", help="only these; all by default")
    parser.add_argument("--random", type=int, default=100, help="so many random programs")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--seconds", type=float, default=2.0, help="at most about so long a row")
    parser.add_argument("--json", type=Path, help="also write all samples to this file")
    parser.add_argument("--read", type=Path, help="measure nothing; show what is in this file")
    parser.add_argument("--markdown", action="store_true", help="show it as a page does")
    options = parser.parse_args()
    results = measured(options) if options.read is None else read(options.read)
    print(markdown(results) if options.markdown else table(results))
    print(f"\n{summary(results)}")


def measured(options: argparse.Namespace) -> list[Result]:
    """Measure what is asked for."""
    warnings.filterwarnings("ignore", module="asdex")
    chosen = [
        (name, make)
        for name, make in works(options.random)
        if not options.programs or name in options.programs
    ]
    results: list[Result] = []
    with Progress() as progress:
        for name, make in progress.track(chosen, description="programs"):
            work = make()
            result = measure(name, work, options.rounds, options.seconds)
            if result is None:
                continue
            results.append(result)
            if work.output == "dense" and 4 * result.nonzeros < math.prod(result.shape):
                sparse = Work(work.f, work.args, work.argnums, "bcoo")
                also = measure(name, sparse, options.rounds, options.seconds)
                results += [] if also is None else [also]
            if options.json is not None:
                write(options.json, results)
            jax.clear_caches()
    return results


if __name__ == "__main__":
    main()
