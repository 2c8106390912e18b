"""What a comparison of ways found: data first, text and HTML when it is shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from funcnet.clock import Spread
from funcnet.cost.bounds import Bound
from funcnet.jaxprs import Cost
from funcnet.report import Column, Table, format_bytes, format_count, format_number, format_seconds

__all__ = ["Comparison", "Measurement", "ModeCost", "format_multiple", "operations", "work"]

_OPERATIONS_PER_BYTE = 4
"""What is done in the time in which a byte is moved, a round number for processors."""
_BYTES_PER_STEP = 1 << 16
"""What is moved in the time that an operation takes to start, however small its arrays."""


@dataclass(frozen=True)
class Measurement:
    """What one way took on this machine.

    Attributes:
        setup_seconds: The time to plan, before anything is traced.
        trace_seconds: The time to write the function down as a jaxpr.
        compile_seconds: The time to compile it.
        temp_bytes: The memory of the compiled program besides arguments and results; None where the
            back end does not say.
        seconds: The time of a call; None if it was not run.
        multiple: The same over the time of the function alone, round by round.
        predicted_seconds: What the counts and the time of the function alone let expect.
    """

    setup_seconds: float
    trace_seconds: float
    compile_seconds: float
    temp_bytes: int | None
    seconds: Spread | None = None
    multiple: Spread | None = None
    predicted_seconds: float | None = None


@dataclass(frozen=True)
class ModeCost:
    """What one way costs: counted, and measured if that was asked for.

    Attributes:
        name: The way, one of `WAYS`.
        passes: How many tangents or cotangents go through the function, or how many colours there
            are; None if that is not how the way works.
        cost: FLOPs, transcendentals and memory traffic, counted on the jaxpr.
        operations: FLOPs, and two for each transcendental.
        multiple: The operations over those of the function alone, without such as only make unit
            directions; None if the function has none.
        predicted: The multiple of the time of the function alone that the counts let expect; None
            if that does nothing.
        bound: Griewank's bound on `multiple`; None where there is none.
        kept_bytes: What is kept between the way forwards and the way back; None if there is no
            way back.
        measured: What it took on this machine; None if it was not measured.
    """

    name: str
    passes: int | None
    cost: Cost
    operations: int
    multiple: float | None
    predicted: float | None
    bound: Bound | None
    kept_bytes: int | None
    measured: Measurement | None = None

    @property
    def is_exceeded(self) -> bool:
        """Whether the operations are above Griewank's bound."""
        if self.bound is None or self.multiple is None:
            return False
        return self.bound.is_exceeded(self.multiple)

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON has them."""
        row: dict[str, Any] = {
            "name": self.name,
            "passes": self.passes,
            "flops": self.cost.flops,
            "transcendentals": self.cost.transcendentals,
            "bytes": self.cost.bytes,
            "operations": self.operations,
            "multiple": self.multiple,
            "predicted": self.predicted,
            "bound": None if self.bound is None else list(self.bound),
            "exceeded": self.is_exceeded,
            "kept_bytes": self.kept_bytes,
        }
        if self.measured is not None:
            m = self.measured
            row["measured"] = {
                "setup_seconds": m.setup_seconds,
                "trace_seconds": m.trace_seconds,
                "compile_seconds": m.compile_seconds,
                "temp_bytes": m.temp_bytes,
                "seconds": None if m.seconds is None else m.seconds._asdict(),
                "multiple": None if m.multiple is None else m.multiple._asdict(),
                "predicted_seconds": m.predicted_seconds,
            }
        return row


@dataclass(frozen=True)
class Comparison(Mapping[str, ModeCost]):
    """What the ways to differentiate a function cost, by their names. It prints itself as tables.

    Attributes:
        function: What the function is called.
        inputs: How many numbers it is differentiated with respect to.
        outputs: How many numbers it returns.
        rows: The ways.
        skipped: The ways that there are not, or that were not run, and why.
        variance: The sum of the variances of the entries of the forward gradient; None if it was
            not measured.
    """

    function: str
    inputs: int
    outputs: int
    rows: tuple[ModeCost, ...]
    skipped: Mapping[str, str]
    variance: float | None = None

    def __getitem__(self, name: str) -> ModeCost:
        for row in self.rows:
            if row.name == name:
                return row
        known = ", ".join(row.name for row in self.rows)
        why = f": {self.skipped[name]}" if name in self.skipped else f"; there are {known}"
        raise KeyError(f"{name!r} was not compared{why}")

    def __iter__(self) -> Iterator[str]:
        return iter([row.name for row in self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def title(self) -> str:
        """What is compared, on one line."""
        ins, outs = (_plural(n, w) for n, w in ((self.inputs, "input"), (self.outputs, "output")))
        return f"{self.function}, {ins} and {outs}"

    def counted_table(self) -> Table:
        """What can be told from the jaxprs, which is the same on every machine."""
        columns = [
            Column("counted"),
            Column("passes"),
            Column("FLOPs", format_count),
            Column("transcendentals", format_count),
            Column("operations", format_multiple),
            Column("Griewank"),
            Column("traffic", format_bytes),
            Column("predicted", format_multiple),
            Column("kept", format_bytes),
        ]
        rows = [
            (
                row.name,
                row.passes,
                row.cost.flops,
                row.cost.transcendentals,
                row.multiple,
                _bound_text(row),
                row.cost.bytes,
                row.predicted,
                row.kept_bytes,
            )
            for row in self.rows
        ]
        return Table(columns, rows, title=self.title)

    def measured_table(self) -> Table | None:
        """What was measured, or None if nothing was."""
        if all(row.measured is None for row in self.rows):
            return None
        columns = [
            Column("measured"),
            Column("set-up", format_seconds),
            Column("trace", format_seconds),
            Column("compile", format_seconds),
            Column("temporary", format_bytes),
            Column("predicted", format_seconds),
            Column("time", format_seconds),
            Column("half of the rounds"),
            Column("multiple", format_multiple),
        ]
        rows = []
        for row in self.rows:
            if (m := row.measured) is not None:
                time, times = m.seconds, m.multiple
                rows.append(
                    (
                        row.name,
                        m.setup_seconds or None,
                        m.trace_seconds,
                        m.compile_seconds,
                        m.temp_bytes,
                        m.predicted_seconds,
                        None if time is None else time.median,
                        "" if time is None else _range_text(time),
                        None if times is None else times.median,
                    )
                )
        return Table(columns, rows)

    def tables(self) -> list[Table]:
        """All tables, the last one with the notes below."""
        found = [self.counted_table(), self.measured_table()]
        tables = [table for table in found if table is not None]
        last = tables[-1]
        return [*tables[:-1], Table(last.columns, last.rows, title=last.title, notes=self._notes())]

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON has it: numbers, texts, lists and dicts, None for what is unknown."""
        return _finite(
            {
                "function": self.function,
                "inputs": self.inputs,
                "outputs": self.outputs,
                "rows": [row.to_dict() for row in self.rows],
                "skipped": dict(self.skipped),
                "variance": self.variance,
                "notes": self._notes(),
            }
        )

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tables()))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables())

    def _notes(self) -> list[str]:
        notes = [
            f"{row.name}: {row.multiple:,.3g} times the operations of the function, more than "
            f"Griewank's bound of {row.bound.high:,g}"
            for row in self.rows
            if row.is_exceeded and row.bound is not None and row.multiple is not None
        ]
        for row in self.rows:
            if row.is_exceeded or row.bound is None or row.measured is None:
                continue
            times = row.measured.multiple
            if times is not None and row.bound.is_exceeded(times.low):
                notes.append(
                    f"{row.name}: {times.median:,.3g} times the time of the function, though its "
                    f"operations are within Griewank's bound of {row.bound.high:,g}"
                )
        unknown: set[str] = set().union(*(row.cost.unknown for row in self.rows))
        unbounded: set[str] = set().union(*(row.cost.unbounded for row in self.rows))
        notes += [f"{name}: no rule, taken as one FLOP per result" for name in sorted(unknown)]
        notes += [f"{loop}: a loop of unknown length, taken once" for loop in sorted(unbounded)]
        notes += [f"{name}: {why}" for name, why in self.skipped.items()]
        if "forward gradient" in list(self):
            value = "" if self.variance is None else f" = {format_number(self.variance)}"
            notes.append(
                f"forward gradient: right on average; the variances of its {self.inputs:,} entries "
                f"add up to {self.inputs + 1:,} |gradient|^2{value}"
            )
        return notes


def operations(cost: Cost) -> int:
    """The FLOPs, and two for each transcendental: as many as the book takes it for at least.

    Args:
        cost: The counts.

    Returns:
        Their number.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.jaxprs import flops
        >>> operations(flops(lambda x: jnp.sin(x) * x, jnp.ones(10)))
        30
    """
    return cost.flops + 2 * cost.transcendentals


def work(cost: Cost) -> float:
    """What the time of a function is taken to be proportional to.

    Most of it is moving bytes. Operations come in besides, each a quarter as much as a byte; and
    every equation that is run has a price of its own, that of 64 KiB.

    Args:
        cost: The counts.

    Returns:
        The bytes that could be moved in all that time.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.jaxprs import flops
        >>> work(flops(jnp.dot, jnp.ones((8, 8)), jnp.ones((8, 8))))
        66560.0
    """
    steps = sum(tally.runs for tally in cost.by_primitive.values())
    return cost.bytes + operations(cost) / _OPERATIONS_PER_BYTE + steps * _BYTES_PER_STEP


def format_multiple(value: float) -> str:
    """Write how many times as much something is.

    Args:
        value: The multiple.

    Returns:
        Its text.

    Example:
        >>> format_multiple(2.519), format_multiple(41632.7)
        ('2.52 x', '41,633 x')
    """
    return f"{value:.3g} x" if abs(value) < 999.5 else f"{value:,.0f} x"


def _bound_text(row: ModeCost) -> str:
    if row.bound is None:
        return ""
    return f"{row.bound}, exceeded" if row.is_exceeded else str(row.bound)


def _range_text(time: Spread) -> str:
    return f"{format_seconds(time.low)} to {format_seconds(time.high)}"


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
