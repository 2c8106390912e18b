"""What the gradients of loops take: predicted by the schedule, and counted while they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.control_flow.schedule import replays, revolve
from funcnet.report import Cell, Column, Table, format_bytes

__all__ = ["Log", "LoopReport", "Sweeping", "logged", "loop_report"]


@dataclass(frozen=True)
class Sweeping:
    """One way back through a loop.

    Attributes:
        loop: The step, and where it is written.
        steps: How many steps the loop took.
        slots: How many states could be kept.
        state_bytes: The size of one.
        evaluations: How often the step ran, forwards and again, the reversals not counted.
        has_inverse: Whether it can be undone instead.
    """

    loop: str
    steps: int
    slots: int
    state_bytes: int
    evaluations: int
    has_inverse: bool = False

    @property
    def predicted(self) -> int:
        """How often the schedule says that the step runs."""
        return self.steps if self.has_inverse else replays(self.steps, self.slots)


class Log:
    """Is told by the sweeps of one loop what they did."""

    def __init__(self, loop: str, found: list[Sweeping]) -> None:
        self._loop, self._found = loop, found

    def note(self, slots: int, state_bytes: int, steps: Any, again: Any, has_inverse: bool) -> None:
        """Remember a sweep, once it has run."""

        def keep(steps: Any, again: Any) -> None:
            evaluations = int(steps) + int(again)
            found = Sweeping(self._loop, int(steps), slots, state_bytes, evaluations, has_inverse)
            self._found.append(found)

        jax.debug.callback(keep, steps, again)


_FOUND: ContextVar[list[Sweeping] | None] = ContextVar("found", default=None)


def logged(body_fun: Callable[..., Any]) -> Log | None:
    """A log for a loop that is traced now, if anybody asked for one."""
    found = _FOUND.get()
    return None if found is None else Log(_described(body_fun), found)


def _described(fun: Callable[..., Any]) -> str:
    code = getattr(fun, "__code__", None)
    name = getattr(fun, "__name__", type(fun).__name__)
    return name if code is None else f"{name}, {Path(code.co_filename).name}:{code.co_firstlineno}"


@contextmanager
def _counting() -> Iterator[list[Sweeping]]:
    found: list[Sweeping] = []
    token = _FOUND.set(found)
    try:
        yield found
    finally:
        _FOUND.reset(token)


@dataclass(frozen=True)
class LoopReport:
    """What the gradient of a function takes in its loops; prints as a table.

    Attributes:
        sweeps: Each way back through a loop, in the order in which they ran.
    """

    sweeps: Sequence[Sweeping] = field(default_factory=list)

    @property
    def table(self) -> Table:
        """A row for each way back."""
        columns = [
            Column("step"),
            Column("steps"),
            Column("states"),
            Column("memory", format_bytes),
            Column("runs a step"),
            Column("predicted"),
            Column("at best"),
        ]
        rows: list[list[Cell]] = [
            [
                s.loop,
                s.steps,
                s.slots,
                s.slots * s.state_bytes,
                *(n / max(s.steps, 1) for n in (s.evaluations, s.predicted)),
                revolve(s.steps, s.slots) / max(s.steps, 1),
            ]
            for s in self.sweeps
        ]
        return Table(columns, rows)

    def __str__(self) -> str:
        return str(self.table)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


def loop_report(f: Callable[..., Any], *args: Any) -> LoopReport:
    """Run the gradient of a function once, and count what its loops do.

    The step of a loop runs once on the way forward, and again on the way back where not all states
    could be kept; that is what is counted. Each step is also reversed once, which is not.

    Args:
        f: A function of arrays, with loops of :func:`while_loop` and its relatives inside. Its
            results may be any pytree; their sum is differentiated by all floating arguments.
        *args: Arguments.

    Returns:
        A :class:`LoopReport`. A loop through which no gradient goes is not in it; one inside of
        another is there as often as its way back ran.

    Example:
        >>> from funcnet.control_flow import fori_loop
        >>> def f(x):
        ...     return fori_loop(0, 1000, lambda _, y: jnp.sin(y), x, budget_bytes=800)
        >>> report = loop_report(f, 1.0)
        >>> report.sweeps[0].steps, report.sweeps[0].slots, report.sweeps[0].evaluations
        (1000, 100, 1937)
        >>> report.sweeps[0].predicted
        1937
    """
    flat, tree = jax.tree.flatten(list(args))
    leaves = [jnp.asarray(x) for x in flat]
    is_moving = [jnp.issubdtype(x.dtype, jnp.inexact) for x in leaves]

    def total(*moving: Any) -> Any:
        given = iter(moving)
        every = [next(given) if m else x for x, m in zip(leaves, is_moving, strict=True)]
        results = jax.tree.leaves(f(*jax.tree.unflatten(tree, every)))
        return sum(
            (
                jnp.sum(y.real)
                for y in map(jnp.asarray, results)
                if jnp.issubdtype(y.dtype, jnp.inexact)
            ),
            start=jnp.zeros(()),
        )

    with _counting() as found:
        moving = [x for x, m in zip(leaves, is_moving, strict=True) if m]
        gradient = jax.jit(jax.grad(total, tuple(range(len(moving)))))
        jax.block_until_ready(gradient(*moving))
        jax.effects_barrier()
    return LoopReport(found)
