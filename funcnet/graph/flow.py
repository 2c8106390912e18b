"""How gradients flow through a graph: where they vanish, explode, or stop being numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.graph.graph import Graph
from funcnet.graph.node import Node
from funcnet.graph.sweeps import Adjoints, PerNode, unit_cotangent
from funcnet.graph.text import expression, short_source
from funcnet.graph.tracing import trace
from funcnet.report import Table

__all__ = ["Culprit", "Flow", "find_nan", "flow"]

VANISHING, EXPLODING = 1e-6, 1e6
"""Marks are relative: an adjoint vanishes or explodes by its root mean square over that of the
outputs' adjoints."""


@dataclass(frozen=True)
class Flow:
    """The size of every adjoint, with marks; prints as a table.

    Attributes:
        graph: The graph.
        norms: For each node the Euclidean norm of its adjoint; None for nodes without one.
        marks: For each node ``"zero"``, ``"vanishing"``, ``"exploding"``, ``"NaN"`` or ``""``.
        first: For each mark that occurs, the node where it appeared first on the way back.
    """

    graph: Graph
    norms: tuple[float | None, ...]
    marks: tuple[str, ...]
    first: dict[str, Node]

    def __str__(self) -> str:
        return str(self._table())

    def _repr_html_(self) -> str:
        return self._table()._repr_html_()

    def _table(self) -> Table:
        rows = [
            (node.name, expression(self.graph, node), norm, mark, short_source(node))
            for node, norm, mark in zip(self.graph.nodes, self.norms, self.marks, strict=True)
            if norm is not None
        ]
        notes = [
            f"first {mark}: the adjoint of {node.name} = {expression(self.graph, node)}"
            f"{f', {node.source}' if node.source else ''}"
            for mark, node in self.first.items()
        ]
        return Table(["node", "is", "norm of adjoint", "mark", "line"], rows, notes=notes)


def flow(graph: Graph, adjoints: Adjoints) -> Flow:
    """Measure every adjoint and mark those with which something is wrong.

    An adjoint is ``zero`` if all its entries are, ``NaN`` if an entry is NaN or infinite, and
    ``vanishing`` or ``exploding`` if its root mean square is below 1e-6 or above 1e6 times the
    largest of the outputs' adjoints.

    Args:
        graph: The graph.
        adjoints: What ``graph.backward`` returned.

    Returns:
        A `Flow`: print it to see all nodes, and the first node with each mark with its source line.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.graph import flow, trace
        >>> graph = trace(lambda x: jnp.exp(jnp.minimum(x, 1.0)), 2.0)
        >>> report = flow(graph, graph.backward(graph.forward(2.0)))
        >>> report.marks
        ('zero', '', '')
    """
    sizes = [
        _sizes(adjoints.node[node]) if node.index in graph.active and node.size else None
        for node in graph.nodes
    ]
    known = [None if s is None else (float(s[0]), float(s[1])) for s in jax.device_get(sizes)]
    ends = [known[i] for i in graph.outputs]
    reference = max((end[1] for end in ends if end is not None), default=1.0)
    marks = tuple("" if s is None else _mark(s[1], reference) for s in known)
    first: dict[str, Node] = {}
    for node in reversed(graph.nodes):
        if mark := marks[node.index]:
            first.setdefault(mark, node)
    return Flow(graph, tuple(None if s is None else s[0] for s in known), marks, first)


def _sizes(x: Any) -> tuple[Any, Any]:
    """The Euclidean norm and the root mean square, without overflow."""
    largest = jnp.max(jnp.abs(x))
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    total = jnp.sqrt(jnp.sum(jnp.square(jnp.abs(x) / scale)))
    return total * scale, total * scale / x.size**0.5


def _mark(size: float, reference: float) -> str:
    if size == 0:
        return "zero"
    if not size < float("inf"):
        return "NaN"
    if size < VANISHING * reference:
        return "vanishing"
    return "exploding" if size > EXPLODING * reference else ""


@dataclass(frozen=True)
class Culprit:
    """The operation that made the first NaN or infinity; prints what happened.

    Attributes:
        node: The node.
        direction: ``"forward"`` if its value is NaN or infinite though its operands are not,
            ``"backward"`` if what it hands back is although its adjoint is not.
        parent: Of a backward culprit the operand whose part is NaN.
        message: What happened, in words.
    """

    node: Node
    direction: str
    parent: Node | None
    message: str

    def __str__(self) -> str:
        return self.message


def find_nan(f: Callable[..., Any], *args: Any, unroll: bool = False) -> Culprit | None:
    """Find the operation that made a NaN or an infinity, in the value or in the gradient.

    The forward pass is searched first: an operation whose value is NaN or infinite although none
    of its operands is. Then the backward pass, with cotangents of 1: an operation that hands back
    a NaN although its own adjoint is a number. The usual case of the second kind is a branch of
    ``jnp.where`` that was not taken: 0 times an infinite slope.

    Args:
        f: Any function that JAX can trace.
        *args: Its arguments.
        unroll: Look into loops and branches, as in `trace`.

    Returns:
        The culprit, or None if everything is finite. Infinite and NaN arguments are nobody's fault.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.graph import find_nan
        >>> def safe_sqrt(x):
        ...     return jnp.where(x > 0, jnp.sqrt(x), 0.0)
        >>> find_nan(safe_sqrt, 0.0).direction
        'backward'
        >>> find_nan(safe_sqrt, 1.0) is None
        True
    """
    graph = trace(f, *args, unroll=unroll)
    values = graph.forward(*args)
    return _forward_culprit(graph, values) or _backward_culprit(graph, values)


def _forward_culprit(graph: Graph, values: PerNode) -> Culprit | None:
    good = _finite([values[node] for node in graph.nodes], graph.nodes)
    for node in graph.nodes:
        if node.operation is None or good[node.index]:
            continue
        if all(good[parent] for parent in node.parents):
            read = ", ".join(graph.nodes[p].name for p in node.parents) or "what it reads"
            message = f"{_where(graph, node)} is NaN or infinite, though {read} is not"
            return Culprit(node, "forward", None, message)
    return None


def _backward_culprit(graph: Graph, values: PerNode) -> Culprit | None:
    adjoints = graph.backward(values, unit_cotangent(values))
    nodes = [node for node in graph.nodes if node.index in graph.active]
    good = dict(
        zip(
            [node.index for node in nodes],
            _finite([adjoints.node[node] for node in nodes], nodes),
            strict=True,
        )
    )
    for node in reversed(nodes):
        if not good[node.index] or all(good.get(p, True) for p in node.parents):
            continue
        for parent in (graph.nodes[p] for p in node.parents):
            part = adjoints.edge[parent, node]
            if part is not None and not bool(jnp.all(jnp.isfinite(part))):
                return Culprit(
                    node,
                    "backward",
                    parent,
                    f"{_where(graph, node)} hands a NaN or infinity back to {parent.name}, though "
                    "its own adjoint is finite. If another branch of a where was taken, choose "
                    f"the argument as well: where(ok, f(where(ok, {parent.name}, 1)), other)",
                )
    return None


def _finite(arrays: Sequence[Any], nodes: Iterable[Node]) -> list[bool]:
    """Whether all entries are; integers and keys always are."""
    flags = [
        jnp.all(jnp.isfinite(array)) if node.differentiable else True
        for array, node in zip(arrays, nodes, strict=True)
    ]
    return [bool(flag) for flag in jax.device_get(flags)]


def _where(graph: Graph, node: Node) -> str:
    line = f" ({node.source})" if node.source else ""
    return f"{node.name} = {expression(graph, node)}{line}"
