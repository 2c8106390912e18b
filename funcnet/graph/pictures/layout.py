"""Where everything stands: each group is a grid of columns and rows, with lanes for arrows between.

Columns are the layers of the graph, from left to right: whatever is read stands left of what reads
it. igraph's layered layout (Sugiyama, Tagawa & Toda 1981) chooses the rows so that few arrows
cross and most run straight. An arrow that passes a column has a cell there of its own, so that
it never runs behind a box; arrows from one node share their cells as far as they run together, and
enter and leave a group through ports in its first and last column. Sizes are left to whoever draws
the grid: whatever stands in the cells, nothing overlaps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from funcnet.errors import ArgumentError
from funcnet.graph.node import Node
from funcnet.graph.pictures.groups import Group, Item

if TYPE_CHECKING:
    from funcnet.graph.graph import Graph

__all__ = ["Cell", "Grid", "Link", "grids_of"]


@dataclass(eq=False)
class Cell:
    """One place in a grid.

    Attributes:
        kind: A box for a node or a group, a lane that an arrow runs through, or a port where
            arrows enter or leave the group.
        column: From 0, where arrows enter if any do.
        row: From 0.
        item: What stands in a box.
    """

    kind: Literal["box", "lane", "in", "out"]
    column: int = 0
    row: int = 0
    item: Item | None = None


@dataclass(frozen=True, eq=False)
class Link:
    """A piece of an arrow, from a cell to one in the next column.

    Attributes:
        start: Where it starts.
        end: Where it ends.
        source: The index of the node whose value runs along it.
    """

    start: Cell
    end: Cell
    source: int


@dataclass(frozen=True, eq=False)
class Grid:
    """How one group looks inside.

    Attributes:
        group: The group.
        cells: Everything in it.
        links: The pieces of arrows between its cells.
    """

    group: Group
    cells: list[Cell] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)


def grids_of(graph: Graph, root: Group) -> dict[Group, Grid]:
    """The grid of each group.

    Args:
        graph: The graph.
        root: The outermost group.

    Returns:
        A grid for the outermost group and for each group in it.

    Raises:
        ArgumentError: igraph is not installed.
    """
    engine = _igraph()
    grids = {}
    for group in root.groups:
        grids[group] = _grid(graph, group, is_root=group is root)
        _arrange(grids[group], engine)
    return grids


def _igraph() -> Any:
    try:
        import igraph
    except ModuleNotFoundError as error:
        if error.name != "igraph":
            raise
        raise ArgumentError(
            "pictures of graphs are laid out by igraph, which is not installed: "
            "pip install 'funcnet[pictures]', or use to_text or to_dot"
        ) from error
    return igraph


def _grid(graph: Graph, group: Group, is_root: bool) -> Grid:
    """The cells of a group, with their columns, and the links between them."""
    boxes = [Cell("box", item=item) for item in group.items]
    at = {
        node.index: box
        for box in boxes
        for node in (box.item.nodes if isinstance(box.item, Group) else [box.item])
        if node is not None
    }
    reached: dict[int, dict[Cell, None]] = {}  # for each source the boxes that read it
    leaving: list[int] = []
    for index, box in at.items():
        for parent in graph.nodes[index].parents:
            if at.get(parent) is not box:
                reached.setdefault(parent, {})[box] = None
        if not is_root and any(child not in at for child in graph.children[index]):
            leaving.append(index)
    _choose_columns(boxes, at, reached)
    if all(source in at for source in reached):  # nothing comes in, so that there are no ports
        for box in boxes:
            box.column -= 1
    last = max((box.column for box in boxes), default=0) + 1
    grid = Grid(group, boxes)
    for source, ends in sorted(reached.items()):
        if source in at:
            start = at[source]
        else:
            start = Cell("in")
            grid.cells.append(start)
        if source in leaving:
            ends = {**ends, _port_out(grid, last): None}
            leaving.remove(source)
        _connect(grid, start, list(ends), source)
    for source in leaving:
        _connect(grid, at[source], [_port_out(grid, last)], source)
    return grid


def _port_out(grid: Grid, column: int) -> Cell:
    grid.cells.append(Cell("out", column))
    return grid.cells[-1]


def _choose_columns(
    boxes: list[Cell], at: Mapping[int, Cell], reached: Mapping[int, Mapping[Cell, None]]
) -> None:
    """One column right of everything that is read; what reads nothing just left of its readers."""
    readers: dict[Cell, list[Cell]] = {}
    for source, ends in reached.items():
        if source in at:
            readers.setdefault(at[source], []).extend(ends)
    for box in boxes:
        box.column = 1
    for box in boxes:  # in topological order
        for reader in readers.get(box, []):
            reader.column = max(reader.column, box.column + 1)
    for box in boxes:
        if isinstance(box.item, Node) and box.item.operation is None and box in readers:
            box.column = min(reader.column for reader in readers[box]) - 1


def _connect(grid: Grid, start: Cell, ends: list[Cell], source: int) -> None:
    """Links to all readers of a value, through one lane that they share."""
    furthest = max(end.column for end in ends)
    lane = {start.column: start}
    for column in range(start.column + 1, furthest):
        lane[column] = Cell("lane", column)
        grid.cells.append(lane[column])
        grid.links.append(Link(lane[column - 1], lane[column], source))
    grid.links.extend(Link(lane[end.column - 1], end, source) for end in ends)


def _arrange(grid: Grid, engine: Any) -> None:
    """Choose the rows."""
    number = {cell: i for i, cell in enumerate(grid.cells)}
    drawing = engine.Graph(
        n=len(grid.cells),
        edges=[(number[link.start], number[link.end]) for link in grid.links],
        directed=True,
    )
    columns = [cell.column for cell in grid.cells]
    places = drawing.layout_sugiyama(layers=columns)
    # Two cells of a column are at least 1 apart, and so are their rounded places.
    rows = [math.floor(place[0] + 0.5) for place in places.coords[: len(grid.cells)]]
    kept = {row: i for i, row in enumerate(sorted(set(rows)))}
    for cell, row in zip(grid.cells, rows, strict=True):
        cell.row = kept[row]
