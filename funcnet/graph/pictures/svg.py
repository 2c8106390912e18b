"""A graph as a picture that stands still: SVG, light or dark as its reader likes it."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from funcnet.graph.node import Node
from funcnet.graph.pictures.cards import card_lines, checked, printable
from funcnet.graph.pictures.groups import Group, groups_of, open_at_first
from funcnet.graph.pictures.layout import Cell, Grid, grids_of
from funcnet.graph.sweeps import Adjoints, Values

if TYPE_CHECKING:
    from funcnet.graph.graph import Graph

__all__ = ["Picture", "to_svg"]

# Pixels. Text is monospaced, so that its width is known without measuring.
LETTER, LINE, MARGIN, HEADER = 7.3, 17.0, 9.0, 22.0
COLUMN_GAP, ROW_GAP, LANE = 40.0, 14.0, 10.0
LONGEST = 40
"""Lines with more letters than this lose their middle."""

STYLE = """
svg { --ink: #1b1f24; --paper: #ffffff; --soft: #f2f4f7; --line: #6a737d;
  --value: #0b57a4; --bar: #a33b00;  background: var(--paper); }
@media (prefers-color-scheme: dark) { svg { --ink: #e8eaed; --paper: #16181c; --soft: #22262c;
  --line: #9aa3ad; --value: #8ec5ff; --bar: #ffb488; } }
text { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: var(--ink); }
.name { font-weight: bold; } .type { fill: var(--line); } .value { fill: var(--value); }
.adjoint { fill: var(--bar); }
.box { fill: var(--paper); stroke: var(--ink); } .group { fill: var(--soft); stroke: var(--line); }
.closed { stroke-dasharray: 5 3; } .output { stroke-width: 2.5; }
.arrow { fill: none; stroke: var(--line); stroke-width: 1.3; } marker path { fill: var(--line); }
"""


class Picture(str):
    """The text of a picture; a notebook shows it, and `save` writes it to a file."""

    def _repr_html_(self) -> str:
        return str(self)

    def save(self, path: str | Path) -> Path:
        """Write it to a file.

        Args:
            path: The file, which is replaced if it is there.

        Returns:
            The path.
        """
        target = Path(path)
        target.write_text(self, encoding="utf-8")
        return target


def to_svg(graph: Graph, values: Values | None = None, adjoints: Adjoints | None = None) -> Picture:
    """Draw a graph, from left to right.

    Scopes are boxes around their nodes. In a large graph only as many are open as a reader can
    take in; the others are one dashed box each. `to_html` opens and closes them.

    Args:
        graph: The graph.
        values: What `Graph.forward` returned; with it each node shows its value.
        adjoints: What `Graph.backward` returned; with it each node shows its adjoint.

    Returns:
        The text of an SVG file, with a method `save`.

    Raises:
        ArgumentError: igraph, which lays the graph out, is not installed.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.graph import to_svg, trace
        >>> picture = to_svg(trace(lambda x1, x2: x1 * x2 + jnp.sin(x2), 2.0, 0.5))
        >>> picture.startswith("<svg"), picture.count('class="arrow"')
        (True, 5)
    """
    graph, values, adjoints = checked("to_svg", graph, values, adjoints)
    root = groups_of(graph)
    drawing = _Drawing(graph, grids_of(graph, root), open_at_first(root), values, adjoints)
    width, height = drawing.inner_size(root)
    parts = [*drawing.group(root, 0.0, 0.0)]
    label = html.escape(printable(f"The computation graph of {graph.name}"))
    return Picture(
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">\n'
        f"<style>{STYLE}</style>\n"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker></defs>\n'
        + "\n".join([*parts, *drawing.arrows()])
        + "\n</svg>\n"
    )


class _Place(NamedTuple):
    """Where a cell stands, and the column around it."""

    left: float
    top: float
    width: float
    height: float
    column_left: float
    column_right: float

    @property
    def middle(self) -> float:
        return self.top + self.height / 2


@dataclass
class _Drawing:
    """A picture while it is drawn."""

    graph: Graph
    grids: dict[Group, Grid]
    open: Collection[Group]
    values: Values | None
    adjoints: Adjoints | None
    places: dict[Cell, _Place] = field(default_factory=dict)

    # Sizes

    def lines(self, cell: Cell) -> list[str]:
        if isinstance(cell.item, Node):
            return card_lines(self.graph, cell.item, self.values, self.adjoints)
        assert cell.item is not None
        return [printable(cell.item.label), f"{len(cell.item.nodes)} nodes"]

    def size(self, cell: Cell) -> tuple[float, float]:
        if cell.kind != "box":
            return 0.0, LANE
        if isinstance(cell.item, Group) and cell.item in self.open:
            width, height = self.inner_size(cell.item)
            wide = len(_short(cell.item.label)) * LETTER + 2 * MARGIN
            # As much below as above, so that arrows through the middle run straight.
            return max(width, wide), height + 2 * HEADER
        lines = self.lines(cell)
        longest = max(len(_short(line)) for line in lines)
        return longest * LETTER + 2 * MARGIN, len(lines) * LINE + MARGIN

    def inner_size(self, group: Group) -> tuple[float, float]:
        columns, rows = self.measured(self.grids[group])
        width = sum(columns) + COLUMN_GAP * (len(columns) - 1)
        return width + 2 * MARGIN, sum(rows) + ROW_GAP * (len(rows) - 1) + 2 * MARGIN

    def measured(self, grid: Grid) -> tuple[list[float], list[float]]:
        """The widths of all columns and the heights of all rows."""
        columns = [0.0] * (max((cell.column for cell in grid.cells), default=0) + 1)
        rows = [0.0] * (max((cell.row for cell in grid.cells), default=0) + 1)
        for cell in grid.cells:
            width, height = self.size(cell)
            columns[cell.column] = max(columns[cell.column], width)
            rows[cell.row] = max(rows[cell.row], height)
        return columns, rows

    # Boxes

    def group(self, group: Group, left: float, top: float) -> Iterator[str]:
        """Everything in an open group, whose inside begins at this corner."""
        grid = self.grids[group]
        columns, rows = self.measured(grid)
        lefts = list(accumulate(columns, lambda x, w: x + w + COLUMN_GAP, initial=left + MARGIN))
        tops = list(accumulate(rows, lambda y, h: y + h + ROW_GAP, initial=top + MARGIN))
        for cell in grid.cells:
            width, height = self.size(cell)
            x, column = lefts[cell.column], columns[cell.column]
            y = tops[cell.row] + (rows[cell.row] - height) / 2
            self.places[cell] = _Place(x + (column - width) / 2, y, width, height, x, x + column)
            if cell.kind == "box":
                yield from self.box(cell)

    def box(self, cell: Cell) -> Iterator[str]:
        at, item = self.places[cell], cell.item
        is_group = isinstance(item, Group)
        is_open = is_group and item in self.open
        kind = "group" if is_group else "box"
        if is_group and not is_open:
            kind += " closed"
        if isinstance(item, Node) and item.index in self.graph.outputs:
            kind += " output"
        rounded = 9 if isinstance(item, Node) and item.operation is None else 2
        yield (
            f'<rect class="{kind}" x="{at.left:.1f}" y="{at.top:.1f}" width="{at.width:.1f}" '
            f'height="{at.height:.1f}" rx="{rounded}"/>'
        )
        lines = self.lines(cell)[:1] if is_open else self.lines(cell)
        for i, line in enumerate(lines):
            mark = "name" if i == 0 else "type" if i == 1 else line.partition(" ")[0]
            yield (
                f'<text class="{mark}" x="{at.left + MARGIN:.1f}" '
                f'y="{at.top + LINE * (i + 1) - 2:.1f}">{html.escape(_short(line))}</text>'
            )
        if isinstance(item, Group) and is_open:
            yield from self.group(item, at.left, at.top + HEADER)

    # Arrows

    def arrows(self) -> Iterator[str]:
        """All arrows of the groups that can be seen, piece by piece."""
        for group, grid in self.grids.items():
            if group not in self.open or any(cell not in self.places for cell in grid.cells):
                continue
            for link in grid.links:
                x0, y0 = self.port(link.start, link.source, "out")
                x1, y1 = self.port(link.end, link.source, "in")
                bend0 = self.places[link.start].column_right
                bend1 = self.places[link.end].column_left
                middle = (bend0 + bend1) / 2
                head = "" if self.is_passing(link.end) else ' marker-end="url(#head)"'
                yield (
                    f'<path class="arrow" d="M{x0:.1f} {y0:.1f} H{bend0:.1f} '
                    f"C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {bend1:.1f} {y1:.1f} "
                    f'H{x1:.1f}"{head}/>'
                )

    def is_passing(self, cell: Cell) -> bool:
        """Whether an arrow runs on from here."""
        return cell.kind != "box" or (isinstance(cell.item, Group) and cell.item in self.open)

    def port(self, cell: Cell, source: int, way: str) -> tuple[float, float]:
        """Where the arrow of a value touches a cell, on its way in or out."""
        at = self.places[cell]
        x, y = (at.left if way == "in" else at.left + at.width), at.middle
        if isinstance(cell.item, Group) and cell.item in self.open:
            inner = self.places[self.ports[cell.item, source, way]]
            return (inner.left if way == "in" else inner.left + inner.width), inner.middle
        return x, y

    @cached_property
    def ports(self) -> dict[tuple[Group, int, str], Cell]:
        """The port of each group for each value that enters or leaves it."""
        found = dict[tuple[Group, int, str], Cell]()
        for group, grid in self.grids.items():
            for link in grid.links:
                for cell in (link.start, link.end):
                    if cell.kind in ("in", "out"):
                        found[group, link.source, cell.kind] = cell
        return found


def _short(line: str) -> str:
    if len(line) > LONGEST and line.startswith(("value ", "adjoint ")):
        return line[: line.rfind(",", 0, LONGEST - 1) + 1] + " …"  # no number is cut
    half = LONGEST // 2
    return line if len(line) <= LONGEST else f"{line[:half]}…{line[1 - half :]}"
