"""Holding the ways to differentiate a function side by side."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from funcnet.clock import interleaved, ratio, spread
from funcnet.cost.function import Function
from funcnet.cost.gradients import random_direction
from funcnet.cost.program import Program, build
from funcnet.cost.report import Comparison, Measurement, ModeCost, operations, work
from funcnet.cost.ways import WAYS, Inapplicable, Way, build_way, check_ways
from funcnet.errors import ArgumentError
from funcnet.jaxprs import Cost, flops
from funcnet.report import format_bytes, format_seconds

__all__ = ["Progress", "compare_modes"]


class Progress(Protocol):
    """Is told how far a comparison is."""

    def __call__(self, done: float, text: str) -> None:
        """Take the part that is done, from 0 to 1, and what comes next."""
        ...


def compare_modes(
    f: Callable[..., Any],
    *args: Any,
    argnums: int | Sequence[int] = 0,
    ways: Sequence[str] = WAYS,
    measure: bool = True,
    rounds: int = 21,
    seconds: float = 5.0,
    max_bytes: int = 1 << 30,
    policy: Callable[..., bool] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Tell what each way to differentiate a function costs at some arguments.

    The counts are those of :func:`funcnet.jaxprs.flops`, and are the same on every machine. For the
    times, all ways are compiled and warmed up, then take turns; each call is waited for. What would
    take too long or too much memory is counted, and not run.

    The prediction takes the time of a way, beyond that of an empty program, to be proportional to
    its memory traffic, its operations (four weigh as much as a byte) and the equations that it runs
    (each weighs as much as 64 KiB). It is rough, mostly within a factor of 2 on a processor, and
    there before anything is compiled.

    Args:
        f: Any function that JAX can trace, of arguments and results of any structure.
        *args: Its arguments: pytrees of arrays or, with ``measure=False``, of ShapeDtypeStructs.
        argnums: The arguments to differentiate with respect to, as for ``jax.grad``.
        ways: What to compare, of `WAYS`; the function alone is always there.
        measure: Whether to compile and run the ways, or only count.
        rounds: The most rounds to take times in.
        seconds: About how long taking times may take. What is predicted to take as long for a
            single call is not run.
        max_bytes: The most memory that a way may take for its results and in between.
        policy: What the checkpointed VJP keeps, as for ``jax.checkpoint``; None keeps nothing.
        progress: Is told how far it is.

    Returns:
        A :class:`Comparison`, which prints itself and gives each way by its name.

    Raises:
        ArgumentError: No arguments, nothing to differentiate, an unknown way, shapes to measure at.
        DTypeError: An argument in ``argnums``, or an output, is not real.

    Example:
        >>> import jax.numpy as jnp
        >>> ways = ["one JVP", "one VJP", "forward Jacobian"]
        >>> found = compare_modes(lambda x: jnp.sum(jnp.sin(x)), jnp.ones(100), ways=ways,
        ...                       measure=False)
        >>> print(found.title)
        f, 100 inputs and 1 output
        >>> [round(row.multiple, 2) for row in found.values()]
        [1.0, 2.33, 2.0, 67.22]
        >>> found["one VJP"].kept_bytes, found["one VJP"].is_exceeded
        (400, False)
    """
    check_ways("compare_modes", ways)
    if rounds < 1 or not seconds > 0 or max_bytes < 0:
        raise ArgumentError(
            f"compare_modes: rounds={rounds}, seconds={seconds}, max_bytes={max_bytes}; they must "
            "be positive."
        )
    function = Function("compare_modes", f, args, argnums)
    if measure and not function.concrete:
        raise ArgumentError(
            "compare_modes: some arguments are shapes without numbers, and cannot be run at. Give "
            "arrays, or measure=False to count alone."
        )
    tell: Progress = progress or (lambda done, text: None)
    names = [name for name in WAYS if name in ways or name == "primal"]
    skipped: dict[str, str] = {}
    counted = list(_counted(function, names, policy, skipped, tell, 0.3 if measure else 1.0))
    squared = None
    if measure:
        limits = _Limits(rounds, seconds, max_bytes)
        squared = _measure(function, counted, limits, skipped, tell)
    rows = tuple(entry.row for entry in counted)
    estimated = any(row.name == "forward gradient" for row in rows)
    tell(1.0, "done")
    return Comparison(
        function.name,
        function.inputs,
        function.outputs,
        rows,
        skipped,
        None if squared is None or not estimated else (function.inputs + 1) * squared,
    )


class _Limits(NamedTuple):
    rounds: int
    seconds: float
    max_bytes: int


class _Entry:
    """A way with its row, which is completed as more is known."""

    def __init__(self, way: Way, row: ModeCost, setup_seconds: float) -> None:
        self.way, self.row, self.setup_seconds = way, row, setup_seconds


def _counted(
    function: Function,
    names: Sequence[str],
    policy: Any,
    skipped: dict[str, str],
    tell: Progress,
    share: float,
) -> Iterator[_Entry]:
    """The ways with what can be told from their jaxprs; those that there are not are skipped."""
    primal: Cost | None = None
    for i, name in enumerate(names):
        tell(share * i / len(names), f"counting {name}")
        start = time.perf_counter()
        try:
            way = build_way(name, function, policy)
            setup = time.perf_counter() - start if way.planned else 0.0
            cost = flops(way.run, function.args, way.extra)
            if "custom_lin" in cost.by_primitive:  # traced all the same, but it would not compile
                raise Inapplicable("a jax.custom_vjp inside has no forward mode")
            kept = None if way.kept_bytes is None else way.kept_bytes()
        except Exception as error:  # whatever JAX, or a rule of the user's, says against this way
            if primal is None:
                raise
            skipped[name] = _sentence(error)
            continue
        primal = cost if primal is None else primal
        row = ModeCost(
            name,
            way.passes,
            cost,
            operations(cost),
            _derived(cost, way) / operations(primal) if operations(primal) else None,
            work(cost) / work(primal) if work(primal) else None,
            way.bound,
            kept,
        )
        yield _Entry(way, row, setup)


def _derived(cost: Cost, way: Way) -> int:
    """The operations, without those that make the rows of an identity matrix."""
    return operations(cost) - (operations(flops(lambda: jnp.eye(way.seeds))) if way.seeds else 0)


def _measure(
    function: Function,
    entries: Sequence[_Entry],
    limits: _Limits,
    skipped: dict[str, str],
    tell: Progress,
) -> float | None:
    """Compile and time the ways, and complete their rows.

    The squared length of the gradient is returned, if it came along.
    """
    args = function.args
    idle = build(lambda args: jnp.zeros(()), args)
    running: list[tuple[_Entry, Program]] = []
    primal_seconds = idle_seconds = 0.0
    for i, entry in enumerate(entries):
        name = entry.row.name
        tell(0.3 + 0.4 * i / len(entries), f"compiling {name}")
        expected = _predicted(primal_seconds, idle_seconds, entry.row)
        if expected is not None and expected > limits.seconds:
            skipped[name] = (
                f"not run; a call is predicted to take {format_seconds(expected)}, which is more "
                f"than seconds={limits.seconds:g}"
            )
            continue
        try:
            program = build(entry.way.run, args, _filled(entry.way.extra))
        except Exception as error:
            if name == "primal":
                raise
            skipped[name] = f"not compiled; {_sentence(error)}"
            continue
        entry.row = replace(entry.row, measured=_taken(entry, program))
        if program.held_bytes > limits.max_bytes:
            skipped[name] = (
                f"not run; it takes {format_bytes(program.held_bytes)}, which is more than "
                f"max_bytes={limits.max_bytes:,}"
            )
            continue
        running.append((entry, program))
        if not primal_seconds:
            first, empty = interleaved([program, idle], 3, limits.seconds)
            primal_seconds, idle_seconds = spread(first).median, spread(empty).median

    def on_round(done: int, rounds: int) -> None:
        tell(0.7 + 0.3 * done / rounds, f"round {done} of {rounds}")

    programs = [program for _, program in running]
    *times, empty = interleaved([*programs, idle], limits.rounds, limits.seconds, on_round)
    reference = times[0] if running and running[0][0].row.name == "primal" else None
    for (entry, _), samples in zip(running, times, strict=True):
        assert entry.row.measured is not None
        measured = replace(entry.row.measured, seconds=spread(samples))
        if reference is not None:
            alone = spread(reference).median, spread(empty).median
            measured = replace(
                measured,
                multiple=ratio(samples, reference),
                predicted_seconds=_predicted(*alone, entry.row),
            )
        entry.row = replace(entry.row, measured=measured)
    for entry, program in running:
        if entry.row.name == "reverse Jacobian" and function.is_scalar:
            return sum(float(jnp.vdot(g, g)) for g in jax.tree.leaves(program()))
    return None


def _taken(entry: _Entry, program: Program) -> Measurement:
    return Measurement(
        entry.setup_seconds, program.trace_seconds, program.compile_seconds, program.temp_bytes
    )


def _predicted(primal_seconds: float, idle_seconds: float, row: ModeCost) -> float | None:
    """What a call is expected to take: what an empty one does, and the rest in proportion."""
    if not primal_seconds or row.predicted is None:
        return None
    idle = min(idle_seconds, primal_seconds)
    return idle + (primal_seconds - idle) * row.predicted


def _filled(extra: Any) -> Any:
    """Directions and weights at random; what is there already stays."""
    given = jax.tree.leaves(extra)
    if all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in given):
        return random_direction(jax.random.key(0), extra)
    return extra


def _sentence(error: BaseException) -> str:
    """The first sentence of what an error says, with its kind if it is none of ours."""
    sentence = re.split(r"\.\s|\n", str(error).strip())[0].rstrip(".:")
    return sentence if isinstance(error, Inapplicable) else f"{type(error).__name__}: {sentence}"
