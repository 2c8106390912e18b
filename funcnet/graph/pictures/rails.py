"""A graph drawn with letters: one line for each node, and a rail for each value until its last use.

A value starts at ``●`` and runs down its rail; where a node reads it, an arm leads to the node. The
arm of the last reader bends, ``╯``, and the rail ends there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from funcnet.graph.node import Node
from funcnet.graph.pictures.cards import checked, printable
from funcnet.graph.sweeps import Adjoints, Values
from funcnet.graph.text import expression, number, type_of

if TYPE_CHECKING:
    from funcnet.graph.graph import Graph

__all__ = ["draw", "to_text"]


def to_text(graph: Graph, values: Values | None = None, adjoints: Adjoints | None = None) -> str:
    """Draw a graph with letters, for a terminal.

    Args:
        graph: The graph.
        values: What `Graph.forward` returned; with it each line shows the value.
        adjoints: What `Graph.backward` returned; with it each line shows the adjoint.

    Returns:
        The lines. Inputs stand just above the first node that reads them; ``◉`` is an output.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.graph import to_text, trace
        >>> graph = trace(lambda x1, x2: x1 * x2 + jnp.sin(x2), 2.0, 0.5)
        >>> values = graph.forward(2.0, 0.5)
        >>> print(to_text(graph, values, graph.backward(values)))
        x1  ●    input    float32[]  value 2       adjoint 0.5
        x2  │ ●  input    float32[]  value 0.5     adjoint 2.878
        a1  ●─┤  x1 x2    float32[]  value 1       adjoint 1
        a2  │ ●  sin(x2)  float32[]  value 0.4794  adjoint 1
        a3  ◉─╯  a1 + a2  float32[]  value 1.479   adjoint 1
    """
    graph, values, adjoints = checked("to_text", graph, values, adjoints)
    return draw(graph, graph.nodes, values, adjoints)


def draw(
    graph: Graph,
    nodes: Sequence[Node],
    values: Values | None = None,
    adjoints: Adjoints | None = None,
) -> str:
    """The same for some of the nodes, whose parents are all among them."""
    rows = []
    for node, rail in _rails(graph, nodes):
        row = [node.name, rail, expression(graph, node), type_of(node)]
        if values is not None:
            row.append(f"value {number(values[node])}")
        if adjoints is not None:
            bar = adjoints.node[node]
            row.append("" if bar is None else f"adjoint {number(bar)}")
        rows.append([printable(cell) for cell in row])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _rails(graph: Graph, nodes: Sequence[Node]) -> list[tuple[Node, str]]:
    """The nodes in the order of the lines, each with its piece of the drawing."""
    waiting = Counter(parent for node in nodes for parent in node.parents)
    rails: list[int | None] = []  # which value runs where
    lines = []
    for node in _lines(graph, nodes):
        read = [rails.index(parent) for parent in node.parents]
        ending = set[int]()
        for parent, place in zip(node.parents, read, strict=True):
            waiting[parent] -= 1
            if not waiting[parent]:
                ending.add(place)
        at = min(ending, default=_free(rails))
        sign = "◉" if node.index in graph.outputs else "●"
        lines.append((node, _line(sign, rails, at, set(read), ending)))
        for place in ending:
            rails[place] = None
        if at == len(rails):
            rails.append(None)
        rails[at] = node.index if waiting[node.index] else None
        while rails and rails[-1] is None:
            rails.pop()
    return lines


def _lines(graph: Graph, nodes: Sequence[Node]) -> list[Node]:
    """Operations in order, and what they read just before them."""
    order = dict[int, None]()
    for node in nodes:
        if node.operation is not None:
            order.update(dict.fromkeys([*node.parents, node.index]))
    order.update(dict.fromkeys(node.index for node in nodes))
    return [graph.nodes[i] for i in order]


def _free(rails: list[int | None]) -> int:
    return rails.index(None) if None in rails else len(rails)


def _line(sign: str, rails: list[int | None], at: int, read: set[int], ending: set[int]) -> str:
    """One line: the node at its place, an arm to every rail that it reads, all others straight."""
    first, last = min([at, *read]), max([at, *read])
    line = ""
    for place in range(max(len(rails), at + 1)):
        if place == at:
            mark = sign
        elif place in read:
            ends, is_outer = place in ending, place in (first, last)
            if is_outer:
                mark = ("╰" if ends else "├") if place < at else ("╯" if ends else "┤")
            else:
                mark = "┴" if ends else "┼"
        elif place < len(rails) and rails[place] is not None:
            mark = "│"
        else:
            mark = "─" if first < place < last else " "
        line += mark + ("─" if first <= place < last else " ")
    return line.rstrip()
