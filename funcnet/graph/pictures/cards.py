"""What stands on the card of a node, and whether what is to stand there fits the graph."""

from __future__ import annotations

import unicodedata
from typing import Any

import jax

from funcnet.errors import ArgumentError
from funcnet.graph.graph import Graph
from funcnet.graph.node import Node
from funcnet.graph.sweeps import Adjoints, Values
from funcnet.graph.text import expression, number, type_of

__all__ = ["card_lines", "checked", "printable"]


def card_lines(
    graph: Graph, node: Node, values: Values | None, adjoints: Adjoints | None
) -> list[str]:
    """Name and expression, type, value and adjoint, as far as they are known."""
    is_read = node.operation is None
    lines = [node.name if is_read else f"{node.name} = {expression(graph, node)}", type_of(node)]
    if values is not None:
        lines.append(f"value {number(values[node])}")
    if adjoints is not None and adjoints.node[node] is not None:
        lines.append(f"adjoint {number(adjoints.node[node])}")
    return [printable(line) for line in lines]


def printable(text: str) -> str:
    """A text on one line, without the characters that no file or terminal takes."""
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


def checked(
    name: str, graph: Any, values: Any = None, adjoints: Any = None
) -> tuple[Graph, Values | None, Adjoints | None]:
    """What is to be drawn, if it belongs together; values that were not kept are there again."""
    if not isinstance(graph, Graph):
        raise ArgumentError(
            f"{name}: the first argument must be a Graph, as trace(f, *args) returns it, got a "
            f"{type(graph).__name__}"
        )
    if values is not None:
        if not isinstance(values, Values):
            raise ArgumentError(
                f"{name}: values must be what graph.forward(*args) returned, got a "
                f"{type(values).__name__}"
            )
        _check_graph(name, "values", graph, values.graph)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values.outputs)):
            raise ArgumentError(
                f"{name}: the values have no numbers while JAX traces them; draw outside of jit, "
                "grad and vmap"
            )
        values = values.whole()
    if adjoints is not None:
        if not isinstance(adjoints, Adjoints):
            raise ArgumentError(
                f"{name}: adjoints must be what graph.backward(values) returned, got a "
                f"{type(adjoints).__name__}"
            )
        _check_graph(name, "adjoints", graph, adjoints.node.graph)
    return graph, values, adjoints


def _check_graph(name: str, what: str, graph: Graph, other: Graph) -> None:
    if other is not graph:
        raise ArgumentError(
            f"{name}: the {what} are those of another graph, of {other.name}; take them from the "
            "sweeps of this one"
        )
