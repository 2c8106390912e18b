"""A graph as a page: one file that steps through backpropagation, in any browser, with no network.

The page holds what is known of each node as JSON, and the groups as grids of cells. The scripts in
`template/` list the steps, fill the cards, draw the arrows and step; `page.css` lays the grids out.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from funcnet.errors import ArgumentError
from funcnet.graph.descent import moved
from funcnet.graph.explain import contribution, summands
from funcnet.graph.node import Node
from funcnet.graph.pictures.cards import checked, printable
from funcnet.graph.pictures.facts import facts_of
from funcnet.graph.pictures.groups import Group, groups_of, open_at_first
from funcnet.graph.pictures.layout import Cell, Grid, grids_of
from funcnet.graph.pictures.rails import to_text
from funcnet.graph.pictures.rulebook import Rulebook
from funcnet.graph.pictures.svg import Picture
from funcnet.graph.sweeps import Adjoints, Values, carriers
from funcnet.graph.text import expression, short_source, type_of

if TYPE_CHECKING:
    from funcnet.graph.graph import Graph

__all__ = ["Page", "to_html"]

SCRIPTS = ("steps.js", "cards.js", "arrows.js", "controls.js")
"""In the order in which the page runs them."""


class Page(Picture):
    """The text of a page; a notebook shows it in a frame, and `save` writes it to a file."""

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(self)}" title="A computation graph" '
            'style="width: 100%; height: 640px; border: 1px solid gray"></iframe>'
        )


def to_html(
    graph: Graph,
    values: Values | None = None,
    adjoints: Adjoints | None = None,
    *,
    learning_rate: float | None = None,
    argnums: int | Sequence[int] = 0,
) -> Page:
    """Make a page that steps through a graph: forwards, backwards, and the update.

    The page is one file. Arrow keys or a slider step; the active node and its arrows are marked;
    every node shows its value and its adjoint once they are computed, as numbers if they are few,
    else as a heat map with statistics, and its rule. Scopes open and close.

    Args:
        graph: The graph.
        values: What `Graph.forward` returned; without it the page shows the structure alone.
        adjoints: What `Graph.backward` returned; without it there is no backward pass.
        learning_rate: With it, a third part shows ``w <- w - learning_rate w_bar``.
        argnums: Which arguments move then.

    Returns:
        The text of the page, with a method `save`.

    Raises:
        ArgumentError: igraph, which lays the graph out, is not installed; adjoints are given
            without values, a learning rate without adjoints, or `argnums` does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.graph import to_html, trace
        >>> graph = trace(lambda x1, x2: x1 * x2 + jnp.sin(x2), 2.0, 0.5)
        >>> values = graph.forward(2.0, 0.5)
        >>> page = to_html(graph, values, graph.backward(values), learning_rate=0.1)
        >>> page.startswith("<!DOCTYPE html>"), "x2_bar" in page
        (True, True)
    """
    graph, values, adjoints = checked("to_html", graph, values, adjoints)
    data = _page_data(graph, values, adjoints, learning_rate=learning_rate, argnums=argnums)
    here = files("funcnet.graph.pictures").joinpath("template")
    read = lambda name: here.joinpath(name).read_text(encoding="utf-8")  # noqa: E731
    parts = {
        "@STYLE@": read("page.css"),
        "@SCRIPT@": "\n".join(map(read, SCRIPTS)),
        "@TITLE@": html.escape(printable(data["title"])),
        "@TEXT@": html.escape(to_text(graph, values, adjoints)),
        # A script element ends at its closing tag, also inside of a text.
        "@DATA@": json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    # All at once, so that no name of the user's is taken for a mark.
    return Page(re.sub("|".join(parts), lambda mark: parts[mark[0]], read("page.html")))


def _page_data(
    graph: Graph,
    values: Values | None,
    adjoints: Adjoints | None,
    *,
    learning_rate: float | None = None,
    argnums: int | Sequence[int] = 0,
) -> dict[str, Any]:
    """What the page knows: nodes with values, adjoints and rules, groups, and the update."""
    if adjoints is not None and values is None:
        raise ArgumentError("to_html: adjoints are given without the values that they belong to")
    if learning_rate is not None:
        if adjoints is None:
            raise ArgumentError("to_html: a learning rate without adjoints; give both sweeps")
        learning_rate = _checked_rate(learning_rate)
    root = groups_of(graph)
    grids = grids_of(graph, root)
    book = Rulebook()
    inputs = ", ".join(name for name in dict.fromkeys(_argument(graph, i) for i in graph.inputs))
    return {
        "title": f"{graph.name}({inputs})",
        "hasValues": values is not None,
        "hasAdjoints": adjoints is not None,
        "outputs": list(graph.outputs),
        "nodes": [_node(graph, node, values, adjoints, book) for node in graph.nodes],
        "rules": book.entries,
        "groups": _groups(root, grids),
        "moves": []
        if learning_rate is None
        else _moves(graph, values, adjoints, learning_rate, argnums),
    }


def _checked_rate(learning_rate: Any) -> float:
    try:
        rate = float(learning_rate)
    except (TypeError, ValueError):
        rate = math.nan
    if isinstance(learning_rate, bool | str) or not math.isfinite(rate):
        raise ArgumentError(
            f"to_html: learning_rate must be a finite number, got {learning_rate!r}"
        )
    return rate


def _argument(graph: Graph, index: int) -> str:
    return graph.nodes[index].name.partition("/")[0]


def _node(
    graph: Graph, node: Node, values: Values | None, adjoints: Adjoints | None, book: Rulebook
) -> dict[str, Any]:
    bar = None if adjoints is None else adjoints.node[node]
    return {
        "name": node.name,
        "op": node.op,
        "kind": node.kind,
        "is": expression(graph, node),
        "type": type_of(node),
        "scope": node.scope,
        "line": short_source(node),
        "parents": list(node.parents),
        "value": None if values is None else facts_of(values[node]),
        "adjoint": facts_of(bar),
        "terms": []
        if adjoints is None or bar is None
        else [
            {
                "from": None if term.child is None else term.child.index,
                "text": term.text,
                "value": facts_of(term.value, brief=True),
            }
            for term in summands(graph, adjoints, node)
        ],
        "rule": book.number_of(node),
        "back": [
            f"{parent.name}_bar += {contribution(graph, node, parent)}"
            for parent in (graph.nodes[i] for i in carriers(node))
            if parent.index in graph.active
        ],
    }


def _moves(
    graph: Graph, values: Any, adjoints: Any, learning_rate: float, argnums: int | Sequence[int]
) -> list[dict[str, Any]]:
    """The inputs that the third step moves, each with its value after it."""
    after = moved("to_html", graph, values, adjoints, learning_rate, argnums)
    leaves = jax.tree.leaves(after, is_leaf=lambda leaf: leaf is None)
    return [
        {"node": index, "after": facts_of(leaf), "text": _move(graph.nodes[index], learning_rate)}
        for index, leaf in zip(graph.inputs, leaves, strict=True)
        if leaf is not None
    ]


def _move(node: Node, learning_rate: float) -> str:
    # Of a complex number the direction of steepest ascent is the conjugate.
    is_complex = jnp.issubdtype(node.dtype, jnp.complexfloating)
    bar = f"conj({node.name}_bar)" if is_complex else f"{node.name}_bar"
    return f"{node.name} <- {node.name} - {learning_rate:g} {bar}"


def _groups(root: Group, grids: dict[Group, Grid]) -> list[dict[str, Any]]:
    number = {group: i for i, group in enumerate(grids)}
    is_open = open_at_first(root)

    def cell(grid: Grid, at: Cell) -> dict[str, Any]:
        told: dict[str, Any] = {"column": at.column, "row": at.row}
        if isinstance(at.item, Node):
            return told | {"node": at.item.index}
        if at.item is not None:
            return told | {"group": number[at.item]}
        if at.kind == "lane":
            return told | {"kind": "lane"}
        (source,) = {link.source for link in grid.links if at in (link.start, link.end)}
        return told | {"kind": at.kind, "source": source}

    told = []
    for group, grid in grids.items():
        place = {at: i for i, at in enumerate(grid.cells)}
        told.append(
            {
                "label": group.label,
                "count": len(group.nodes),
                "open": group in is_open,
                "cells": [cell(grid, at) for at in grid.cells],
                "links": [[place[ln.start], place[ln.end], ln.source] for ln in grid.links],
            }
        )
    return told
