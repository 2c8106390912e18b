"""Paths through a graph: how many there are, which, and what each one contributes.

The derivative of one node by another is the sum, over all paths between them, of the products of
the local Jacobians along each path. Their number grows exponentially with depth; it is counted by
adding up, for each node, the numbers of its parents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from funcnet.errors import ArgumentError
from funcnet.graph.node import Node
from funcnet.graph.sweeps import PerNode, carriers, pulled_rows

if TYPE_CHECKING:
    from funcnet.graph.graph import Graph

__all__ = ["Path", "Paths", "find"]

_LARGEST = 2**24
"""Products with more entries than this are not written down."""


@dataclass(frozen=True, eq=False)
class Path:
    """One way from a node to another; prints as ``x2 -> a1 -> a3``.

    Attributes:
        nodes: The nodes along it, in the direction of computation.
        product: The product of the local Jacobians along it, of the shape of the last node followed
            by that of the first; None if no values were given.
    """

    nodes: tuple[Node, ...]
    product: Any = field(default=None, repr=False)

    def __str__(self) -> str:
        return " -> ".join(node.name for node in self.nodes)


@dataclass(frozen=True, eq=False)
class Paths:
    """All paths from one node to another; iterate to visit them one by one.

    Attributes:
        source: Where they start.
        target: Where they end.
        count: How many there are, exactly.
    """

    graph: Graph = field(repr=False)
    source: Node
    target: Node
    count: int
    values: PerNode | None = field(default=None, repr=False)
    _counts: tuple[int, ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return self.count > 0

    def __iter__(self) -> Iterator[Path]:
        """Visit each path, in a fixed order; there may be very many."""
        rows = None if self.values is None else self._unit_rows()
        todo: list[tuple[tuple[Node, ...], Any]] = [((self.target,), rows)]
        while todo:
            nodes, rows = todo.pop()
            first = nodes[0]
            if first is self.source:
                yield Path(nodes, None if rows is None else self._shaped(rows))
                continue
            pulled = self._pulled(first, rows)
            for parent in reversed(carriers(first)):
                if self._counts[parent]:
                    todo.append(((self.graph.nodes[parent], *nodes), pulled.get(parent)))

    def total(self) -> Any:
        """The sum of all products, which is the derivative of the target by the source.

        It is added up node by node: one step per edge, however many paths there are.

        Returns:
            An array of the shape of the target followed by that of the source.

        Raises:
            ArgumentError: No values were given.
        """
        if self.values is None:
            raise ArgumentError("paths: give the values of the nodes to get products and their sum")
        rows: dict[int, Any] = {self.target.index: self._unit_rows()}
        for node in reversed(self.graph.nodes[self.source.index + 1 : self.target.index + 1]):
            arrived = rows.pop(node.index, None)
            if arrived is None:
                continue
            for parent, part in self._pulled(node, arrived).items():
                rows[parent] = rows[parent] + part if parent in rows else part
        if self.source.index in rows:
            return self._shaped(rows[self.source.index])
        return jnp.zeros(self.target.shape + self.source.shape, self.target.dtype)

    def _unit_rows(self) -> Any:
        size = self.target.size
        if size * max(size, self.source.size) > _LARGEST:
            raise ArgumentError(
                f"paths: the Jacobian of {self.target.name}, shape {self.target.shape}, by "
                f"{self.source.name}, shape {self.source.shape}, is too large to write down; take "
                "the paths to a single number, or give no values"
            )
        return jnp.eye(size, dtype=self.target.dtype).reshape(size, *self.target.shape)

    def _pulled(self, node: Node, rows: Any) -> dict[int, Any]:
        if self.values is None:
            return {}
        wanted = [i for i in node.parents if self._counts[i]]
        return pulled_rows(node, self.values, rows, wanted)

    def _shaped(self, rows: Any) -> Any:
        return rows.reshape(self.target.shape + self.source.shape)


def find(graph: Graph, source: Node, target: Node, values: PerNode | None) -> Paths:
    """The paths from `source` to `target` along which derivatives can pass."""
    counts = [0] * len(graph.nodes)
    counts[source.index] = int(source.differentiable)
    for node in graph.nodes[source.index + 1 : target.index + 1]:
        if any(counts[parent] for parent in node.parents):
            counts[node.index] = sum(counts[parent] for parent in carriers(node))
    return Paths(graph, source, target, counts[target.index], values, tuple(counts))
