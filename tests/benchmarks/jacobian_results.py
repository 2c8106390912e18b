"""What was measured of Jacobians, as tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from funcnet.clock import ratio, spread
from funcnet.report import Cell, Column, Table, format_seconds

__all__ = ["BY_HAND", "Result", "markdown", "read", "summary", "table", "write"]

BY_HAND = "by hand"
"""The name of what one would write for a program alone, which is no peer: nobody does that."""


@dataclass
class Result:
    """The seconds of each way, in each round or of one call, and those of planning.

    Our way by default is called `ours`, others are called as what is asked for; `tuned` is the name
    of the one that `autotune=True` takes.
    """

    name: str
    output: str
    shape: tuple[int, int]
    nonzeros: int
    chosen: str
    planning: float
    tuned: str = "ours"
    setup: float | None = None
    samples: dict[str, list[float]] = field(default_factory=dict)

    def seconds(self, way: str) -> float:
        return spread(self.samples[way]).median

    def fastest(self, ways: Iterable[str]) -> str | None:
        """By every other round: in the rest, its luck in these does not count."""
        return min(ways, key=lambda way: spread(self.samples[way][::2]).median, default=None)

    @property
    def peers(self) -> list[str]:
        return [w for w in self.ways if not w.startswith("ours")]

    @property
    def ways(self) -> list[str]:
        return [w for w in self.samples if w != BY_HAND]

    def over(self, other: str | None, way: str = "ours") -> float | None:
        """The time of a way over that of another, in the same rounds if both were in them."""
        if other is None:
            return None
        mine, theirs = self.samples[way], self.samples[other]
        if min(len(mine), len(theirs)) > 1:
            return ratio(mine[1::2], theirs[1::2]).median
        return self.seconds(way) / self.seconds(other)


def write(path: Path, results: Sequence[Result]) -> None:
    """Keep all samples."""
    path.write_text(json.dumps([asdict(r) for r in results]))


def read(path: Path) -> list[Result]:
    """What was kept."""
    return [Result(**fields) for fields in json.loads(path.read_text())]


def table(results: list[Result]) -> Table:
    """A row for each result."""

    def ratio_text(value: float) -> str:
        return f"{value:.2f}"

    columns = [
        Column("program"),
        Column("form"),
        Column("shape"),
        Column("nonzeros"),
        Column("chosen"),
        Column("takes", format_seconds),
        Column("fastest"),
        Column("takes", format_seconds),
        Column("ratio", ratio_text),
        Column("tuned", ratio_text),
        Column("fastest peer"),
        Column("takes", format_seconds),
        Column("ratio", ratio_text),
        Column("planning", format_seconds),
        Column("asdex plans", format_seconds),
    ]
    rows: list[list[Cell]] = []
    for r in results:
        best, peer = r.fastest(r.ways), r.fastest(r.peers)
        shape = f"{r.shape[0]} x {r.shape[1]}"
        rows.append([r.name, r.output, shape, r.nonzeros, r.chosen, r.seconds("ours")])
        rows[-1] += [best, r.seconds(best) if best else None, r.over(best), r.over(best, r.tuned)]
        rows[-1] += [peer, r.seconds(peer) if peer else None, r.over(peer), r.planning, r.setup]
    return Table(columns, rows)


def summary(results: list[Result]) -> str:
    """The worst ratio and the geometric mean, to all ways and to the peers."""
    lines: list[str] = []
    for what, ours, among in (
        ("the default over the fastest of all ways", lambda r: "ours", lambda r: r.ways),
        ("autotune over the fastest of all ways", lambda r: r.tuned, lambda r: r.ways),
        ("the default over the fastest of peers", lambda r: "ours", lambda r: r.peers),
        ("the default over JAX by hand", lambda r: "ours", lambda r: {*r.samples} & {BY_HAND}),
    ):
        ratios = {f"{r.name}, {r.output}": r.over(r.fastest(among(r)), ours(r)) for r in results}
        known = {name: value for name, value in ratios.items() if value is not None}
        if known:
            mean = math.exp(np.mean(np.log(list(known.values()))))
            worst = max(known, key=known.__getitem__)
            lines.append(f"{what}: geometric mean {mean:.3f}, worst {known[worst]:.2f} ({worst})")
    return "\n".join(lines)


def markdown(results: Sequence[Result]) -> str:
    """The same for a page: milliseconds of each library, ours over the fastest of the rest."""
    lines = [
        "| program | form | size | nonzeros | ours | jacfwd | jacrev | asdex | sparsejac | ratio |",
        "|---" * 10 + "|",
    ]
    for r in results:
        peers = [[w for w in r.peers if w.startswith(n)] for n in ("jacf", "jacr", "asd", "spar")]
        times = [r.seconds("ours"), *(r.seconds(w) if (w := r.fastest(p)) else None for p in peers)]
        over = r.over(r.fastest(r.peers))
        cells = [r.name, r.output, f"{r.shape[0]} x {r.shape[1]}", f"{r.nonzeros:,}"]
        cells += ["-" if t is None else f"{1e3 * t:.3g}" for t in times]
        lines.append(f"| {' | '.join([*cells, '-' if over is None else f'{over:.2f}'])} |")
    return "\n".join(lines)
