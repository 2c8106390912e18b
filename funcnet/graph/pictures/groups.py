"""Nodes in groups that can be closed: the scopes of a program, and long stretches cut into pieces.

A picture of a thousand boxes says nothing. Nodes that share a scope make a group, which may hold
groups. Where still too many stand side by side, neighbours are put together. A group is always a
stretch of the topological order, so that arrows between groups never run in circles. Parameters and
constants stand in the innermost group that holds everything that reads them; arguments that are
single arrays stay outside, unless they are too many.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, TypeAlias

from funcnet.graph.node import Node

if TYPE_CHECKING:
    from funcnet.graph.graph import Graph

__all__ = ["Group", "Item", "groups_of", "open_at_first"]

MOST = 24
"""With more operations and groups than this side by side, neighbours are put together."""

DEEPEST = 50
"""Scopes in scopes beyond this depth are not told apart."""


@dataclass(frozen=True, eq=False)
class Group:
    """Nodes that can be shown as one.

    Attributes:
        label: What it is called: a scope, or its first and last node.
        items: What it is made of, in topological order.
    """

    label: str
    items: tuple[Item, ...]

    @property
    def nodes(self) -> list[Node]:
        """All nodes in it, at any depth."""
        return [
            node
            for item in self.items
            for node in (item.nodes if isinstance(item, Group) else [item])
        ]

    @property
    def groups(self) -> Iterator[Group]:
        """Itself and all groups in it, outer ones first."""
        yield self
        for item in self.items:
            if isinstance(item, Group):
                yield from item.groups


Item: TypeAlias = Node | Group


def groups_of(graph: Graph) -> Group:
    """The whole graph as a group of groups of nodes.

    Args:
        graph: The graph.

    Returns:
        The outermost group, called as the function is.
    """
    operations = [node for node in graph.nodes if node.operation is not None]
    root = Group(graph.name, tuple(_folded(_by_scope(operations, 0))))
    return _without_single(_with_sources(root, graph))


def _by_scope(nodes: Sequence[Node], depth: int) -> list[Item]:
    """Neighbours with the same scope make a group."""
    if depth == DEEPEST:
        return list(nodes)

    def part(node: Node) -> str:
        parts = node.scope.split("/") if node.scope else []
        return parts[depth] if depth < len(parts) else ""

    items: list[Item] = []
    for label, run in groupby(nodes, part):
        inside = list(run)
        items += [Group(label, tuple(_folded(_by_scope(inside, depth + 1))))] if label else inside
    return items


def _folded(items: Sequence[Item]) -> list[Item]:
    """Neighbours make groups until few stand side by side."""
    if len(items) <= MOST:
        return list(items)
    pieces = min(MOST, math.ceil(len(items) ** 0.5))
    cuts = [round(i * len(items) / pieces) for i in range(pieces + 1)]
    runs = [items[start:end] for start, end in pairwise(cuts)]
    return [Group(f"{_end(run, 0)} … {_end(run, -1)}", tuple(_folded(run))) for run in runs]


def _end(run: Sequence[Item], place: int) -> str:
    """The name of the first or last of a stretch; of a stretch in it, its own first or last."""
    item = run[place]
    return item.name if isinstance(item, Node) else item.label.split(" … ")[place]


def _with_sources(root: Group, graph: Graph) -> Group:
    """Inputs and constants put where they are read."""
    home = {node.index: route for node, route in _routes(root, (root,))}
    single = [i for i in graph.inputs if "/" not in graph.nodes[i].name]
    outside = {*graph.outputs, *(single if len(single) <= MOST else ())}
    lodgers: dict[int, list[Item]] = {}
    for node in graph.nodes:
        if node.operation is None:
            routes = [home[i] for i in graph.children[node.index]]
            shared = [level[0] for level in zip(*routes, strict=False) if len(set(level)) == 1]
            at = root if node.index in outside or not shared else shared[-1]
            lodgers.setdefault(id(at), []).append(node)

    def settled(group: Group) -> Group:
        inside = [settled(item) if isinstance(item, Group) else item for item in group.items]
        return Group(group.label, (*lodgers.get(id(group), ()), *inside))

    return settled(root)


def _routes(group: Group, above: tuple[Group, ...]) -> Iterator[tuple[Node, tuple[Group, ...]]]:
    """Each node with the groups around it, from the outermost."""
    for item in group.items:
        if isinstance(item, Group):
            yield from _routes(item, (*above, item))
        else:
            yield item, above


def _without_single(group: Group) -> Group:
    """A group of one is that one; its label goes, for the node tells its scope itself."""
    items: list[Item] = []
    for item in group.items:
        inner = _without_single(item) if isinstance(item, Group) else item
        if isinstance(inner, Group) and len(inner.items) == 1:
            (only,) = inner.items
            if isinstance(only, Group):
                only = Group(f"{inner.label}/{only.label}", only.items)
            inner = only
        items.append(inner)
    return Group(group.label, tuple(items))


def open_at_first(root: Group, most: int = 40) -> set[Group]:
    """The groups that are open at first: depth by depth, until the picture is full.

    Args:
        root: The outermost group, which is always open.
        most: How many boxes may be seen at once.

    Returns:
        The open groups.
    """
    found, seen, depth = set[Group](), 1, [root]
    while depth and (root in depth or seen <= most):
        found |= set(depth)
        depth = [item for group in depth for item in group.items if isinstance(item, Group)]
        seen = sum(len(group.items) for group in found) + sum(len(g.items) for g in depth)
    return found
