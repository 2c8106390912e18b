"""Groups hold every node once, grids hold every arrow, and no two cells share a place."""

from __future__ import annotations

from typing import Any

import jax
import pytest

from funcnet.errors import ArgumentError
from funcnet.graph import Node, to_html, to_svg, trace
from funcnet.graph.pictures.groups import MOST, Group, groups_of, open_at_first
from funcnet.graph.pictures.layout import Cell, Grid, grids_of
from tests.graph.pictures.pictured import CASES, lecture, network_loss, scoped

pytestmark = pytest.mark.usefixtures("x64")

IDS = [case[0] for case in CASES]


@pytest.fixture(scope="module", params=CASES, ids=IDS)
def graph(request: Any) -> Any:
    with jax.enable_x64():
        _, f, args, _ = request.param
        return trace(f, *args)


def around(root: Group) -> dict[int, list[Group]]:
    """The groups around each node, from the outermost."""
    found: dict[int, list[Group]] = {}
    for group in root.groups:
        for node in group.nodes:
            found.setdefault(node.index, []).append(group)
    return found


def test_groups_hold_every_node_once(graph: Any) -> None:
    root = groups_of(graph)
    assert sorted(node.index for node in root.nodes) == list(range(len(graph.nodes)))


def test_a_group_is_a_stretch_of_the_operations(graph: Any) -> None:
    order = [node.index for node in graph.nodes if node.operation is not None]
    for group in groups_of(graph).groups:
        inside = [order.index(n.index) for n in group.nodes if n.operation is not None]
        assert inside == list(range(inside[0], inside[0] + len(inside))) if inside else True


def test_groups_stay_small(graph: Any) -> None:
    for group in groups_of(graph).groups:
        operations = [i for i in group.items if isinstance(i, Group) or i.operation is not None]
        assert len(operations) <= MOST
        assert len(group.items) != 1 or group.label == graph.name


def test_open_groups_stand_in_open_groups(graph: Any) -> None:
    root = groups_of(graph)
    is_open = open_at_first(root)
    assert root in is_open
    for groups in around(root).values():
        flags = [group in is_open for group in groups]
        assert flags == sorted(flags, reverse=True)
    if is_open != {root}:
        boxes = sum(len(group.items) for group in is_open) - len(is_open) + 1
        assert boxes <= 40


def test_no_two_cells_share_a_place(graph: Any) -> None:
    for grid in grids_of(graph, groups_of(graph)).values():
        places = [(cell.column, cell.row) for cell in grid.cells]
        assert len(set(places)) == len(places)
        assert min((column for column, _ in places), default=0) == 0
        for axis in (0, 1):
            used = {place[axis] for place in places}
            assert used == set(range(len(used)))


def test_links_lead_to_the_next_column(graph: Any) -> None:
    for grid in grids_of(graph, groups_of(graph)).values():
        for link in grid.links:
            assert link.end.column == link.start.column + 1


def test_every_arrow_has_its_pieces_and_none_is_left(graph: Any) -> None:
    root = groups_of(graph)
    grids, homes = grids_of(graph, root), around(root)
    used = set()
    for node in graph.nodes:
        for parent in node.parents:
            used |= set(route(grids, homes, graph.nodes[parent], node))
    assert used == {link for grid in grids.values() for link in grid.links}


def route(grids: dict[Group, Grid], homes: dict[int, list[Group]], start: Node, end: Node) -> Any:
    """The pieces of the arrow between two nodes: out of groups, across, and into groups."""
    shared = [g for g, h in zip(homes[start.index], homes[end.index], strict=False) if g is h]
    leaving, entering = homes[start.index][len(shared) :], homes[end.index][len(shared) :]
    for group in reversed(leaving):
        box, out = box_of(grids[group], start), port_of(grids[group], "out", start)
        yield from pieces(grids[group], box, out, start)
    grid = grids[shared[-1]]
    yield from pieces(grid, box_of(grid, start), box_of(grid, end), start)
    for group in entering:
        into, box = port_of(grids[group], "in", start), box_of(grids[group], end)
        yield from pieces(grids[group], into, box, start)


def box_of(grid: Grid, node: Node) -> Cell:
    (box,) = (
        cell
        for cell in grid.cells
        if cell.item is node or (isinstance(cell.item, Group) and node in cell.item.nodes)
    )
    return box


def port_of(grid: Grid, kind: str, source: Node) -> Cell:
    found = {
        cell
        for link in grid.links
        if link.source == source.index
        for cell in (link.start, link.end)
        if cell.kind == kind
    }
    (port,) = found
    return port


def pieces(grid: Grid, start: Cell, end: Cell, source: Node) -> Any:
    before = {link.end: link for link in grid.links if link.source == source.index}
    while end is not start:
        yield before[end]
        end = before[end].start


def test_scopes_are_groups() -> None:
    graph = trace(scoped, 0.4, {"u": 2.0, "v": 3.0})
    labels = [group.label for group in groups_of(graph).groups]
    assert labels == ["scoped", "a", "b", "a"]


def test_parameters_stand_in_their_layer_and_the_data_outside() -> None:
    loss, args = network_loss(2)
    root = groups_of(trace(loss, *args))
    first = next(group for group in root.groups if group.label == "dense_0")
    assert [node.name for node in first.nodes][:2] == [
        "params/dense_0/bias",
        "params/dense_0/kernel",
    ]
    assert {"x", "labels"} <= {item.name for item in root.items if isinstance(item, Node)}


def test_fifty_layers_are_a_dozen_boxes() -> None:
    loss, args = network_loss(50)
    root = groups_of(trace(loss, *args))
    assert len(root.items) < 16 and open_at_first(root) == {root}


def test_groups_stay_closed_where_they_would_crowd_the_picture() -> None:
    loss, args = network_loss(9)
    root = groups_of(trace(loss, *args))
    inside = sum(len(item.items) for item in root.items if isinstance(item, Group))
    assert len(root.items) < 40 < len(root.items) + inside < 80
    assert open_at_first(root) == {root}
    assert open_at_first(root, most=80) == set(root.groups)


def test_the_layout_is_the_same_each_time() -> None:
    loss, args = network_loss(3)

    def drawn() -> str:
        return to_svg(trace(loss, *args))

    assert drawn() == drawn()


@pytest.mark.parametrize("draw", [to_svg, to_html])
def test_without_igraph_it_says_what_to_install(draw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "igraph", None)
    with pytest.raises(ArgumentError, match=r"pip install 'funcnet\[pictures\]'"):
        draw(trace(lecture, 2.0, 0.5))
