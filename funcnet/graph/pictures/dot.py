"""A graph in the language of Graphviz, for whoever has it: scopes are clusters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from funcnet.graph.node import Node
from funcnet.graph.pictures.cards import card_lines, checked, printable
from funcnet.graph.pictures.groups import Group, groups_of
from funcnet.graph.sweeps import Adjoints, Values

if TYPE_CHECKING:
    from funcnet.graph.graph import Graph

__all__ = ["to_dot"]


def to_dot(graph: Graph, values: Values | None = None, adjoints: Adjoints | None = None) -> str:
    r"""Write a graph in Graphviz's language.

    Args:
        graph: The graph.
        values: What `Graph.forward` returned; with it each node shows its value.
        adjoints: What `Graph.backward` returned; with it each node shows its adjoint.

    Returns:
        A directed graph, from left to right.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.graph import to_dot, trace
        >>> print(to_dot(trace(jnp.sin, 1.0)))
        digraph "sin" {
          rankdir=LR
          node [shape=box, fontname="monospace"]
          n0 [label="x\nfloat32[]", style=rounded]
          n1 [label="a1 = sin(x)\nfloat32[]", peripheries=2]
          n0 -> n1
        }
    """
    graph, values, adjoints = checked("to_dot", graph, values, adjoints)
    lines = [
        f"digraph {_quoted(graph.name)} {{",
        "  rankdir=LR",
        '  node [shape=box, fontname="monospace"]',
        *_inside(graph, groups_of(graph), values, adjoints, "  "),
        *(f"  n{parent} -> n{node.index}" for node in graph.nodes for parent in node.parents),
        "}",
    ]
    return "\n".join(lines)


def _inside(
    graph: Graph, group: Group, values: Values | None, adjoints: Adjoints | None, indent: str
) -> Iterator[str]:
    for item in group.items:
        if isinstance(item, Node):
            label = _quoted("\n".join(card_lines(graph, item, values, adjoints)))
            yield f"{indent}n{item.index} [label={label}{_shape(graph, item)}]"
        else:
            # The index of the first node in it tells clusters of one name apart.
            yield f"{indent}subgraph cluster_{item.nodes[0].index}_{len(indent)} {{"
            yield f"{indent}  label={_quoted(item.label)}"
            yield from _inside(graph, item, values, adjoints, indent + "  ")
            yield f"{indent}}}"


def _shape(graph: Graph, node: Node) -> str:
    rounded = ", style=rounded" if node.operation is None else ""
    return rounded + (", peripheries=2" if node.index in graph.outputs else "")


def _quoted(text: str) -> str:
    text = "\n".join(map(printable, text.split("\n")))
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
