"""The command that measures the constants by which Jacobians are planned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax
from rich.progress import Progress

from funcnet.cli.terminal import Output
from funcnet.jacobian.planning.calibration import calibrate as measure
from funcnet.jacobian.planning.pricing import MACHINES, VARIABLE, Machine
from funcnet.report import Column, Table, format_bytes, format_count, format_seconds
from funcnet.training.saving import write_atomically

__all__ = ["Calibrating", "calibrate"]


@dataclass(frozen=True)
class Calibrating:
    """The options of the command, with their defaults."""

    seconds: float = 3.0
    out: Path | None = None


def calibrate(options: Calibrating) -> int:
    """Do the job.

    Returns:
        The exit status, 0.

    Raises:
        OSError: When the file cannot be written.
    """
    output = Output()
    with Progress(transient=True, disable=not output.interactive) as progress:
        task = progress.add_task("measuring")
        found = measure(
            options.seconds, lambda done, of: progress.update(task, completed=done, total=of)
        )
    if options.out is not None:
        write_atomically(options.out, found.to_json().encode())
    output.line(str(_table(found)), important=True)
    if options.out is not None:
        output.line(f"\nplans use these where {VARIABLE}={options.out} is set")
    return 0


def _table(found: Machine) -> Table:
    shipped = MACHINES.get(jax.default_backend(), MACHINES["gpu"])
    rows = [
        ("memory traffic", *(f"{format_bytes(m.bytes_per_second)}/s" for m in (found, shipped))),
        ("arithmetic", *(f"{format_count(m.flops_per_second)}FLOP/s" for m in (found, shipped))),
        ("a step", *(format_seconds(m.step) for m in (found, shipped))),
        ("an entry by its place", *(format_seconds(m.scatter) for m in (found, shipped))),
    ]
    headings = ["", f"this machine ({jax.default_backend()})", "shipped"]
    return Table([Column(h) for h in headings], rows)
