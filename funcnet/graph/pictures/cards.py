"""What stands on the card of a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from funcnet.graph.node import Node
from funcnet.graph.sweeps import Adjoints, PerNode
from funcnet.graph.text import array_text, expression, type_of
from funcnet.report import format_number

if TYPE_CHECKING:
    from funcnet.graph.graph import Graph

__all__ = ["card_lines", "number"]


def card_lines(
    graph: Graph, node: Node, values: PerNode | None, adjoints: Adjoints | None
) -> list[str]:
    """Name and expression, type, value and adjoint, as far as they are known."""
    is_read = node.operation is None
    lines = [node.name if is_read else f"{node.name} = {expression(graph, node)}", type_of(node)]
    if values is not None:
        lines.append(f"value {number(values[node])}")
    if adjoints is not None and adjoints.node[node] is not None:
        lines.append(f"adjoint {number(adjoints.node[node])}")
    return lines


def number(value: Any) -> str:
    """A number; the entries of a small array; else its shape and how large its entries are."""
    text = array_text(value)
    return text if isinstance(text, str) else format_number(text)
