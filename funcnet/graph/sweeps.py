"""The three sweeps over a graph: values forwards, adjoints backwards, tangents forwards.

The lecture's steps, as loops over nodes. Step 1, `forward`: visit the nodes in topological order
and keep each value. Step 2, `backward`: visit them in reverse order; each node hands every parent
the part of its adjoint that went through it, and a parent's adjoint is the sum of what arrives.
Forward mode, `tangents`, pushes a tangent along with the values.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from funcnet.errors import ArgumentError
from funcnet.graph.local import local_of
from funcnet.graph.node import Node, NodeLike
from funcnet.typing import Array, PyTree

if TYPE_CHECKING:
    from funcnet.graph.graph import Graph

__all__ = [
    "Adjoints",
    "PerNode",
    "Values",
    "backward",
    "carriers",
    "check_edge",
    "forward",
    "pullback",
    "pulled_rows",
    "tangents",
    "unit_cotangent",
]


class PerNode(Mapping[Any, Any]):
    """One array for each node; ask with the node, its index or its name."""

    def __init__(self, graph: Graph, arrays: Mapping[int, Any]) -> None:
        self.graph, self._arrays = graph, arrays

    def __getitem__(self, node: NodeLike) -> Any:
        found = self.graph[node]
        if found.index in self._arrays:
            return self._arrays[found.index]
        return self._missing(found)

    def _missing(self, node: Node) -> Any:
        """It does not move: 0. Integers cannot: None."""
        return jnp.zeros(node.shape, node.dtype) if node.differentiable else None

    def __iter__(self) -> Iterator[Node]:
        return iter(self.graph.nodes)

    def __len__(self) -> int:
        return len(self.graph.nodes)

    @property
    def outputs(self) -> PyTree:
        """What belongs to the outputs, in the structure in which the function returns them."""
        return self.graph.out_tree.unflatten([self[i] for i in self.graph.outputs])

    @property
    def inputs(self) -> tuple[PyTree, ...]:
        """What belongs to the arguments, in the structure in which the function takes them."""
        return self.graph.in_tree.unflatten([self[i] for i in self.graph.inputs])


class Values(PerNode):
    """The value of every node; one that was not kept is computed again when it is asked for."""

    def _missing(self, node: Node) -> Array:
        operation = node.operation
        assert operation is not None, "inputs and constants are always kept"
        # Without recursion: a chain of values that were not kept may be longer than Python's stack.
        wanted, found = [node], dict[int, Any]()
        while wanted:
            last = wanted[-1]
            behind = [p for p in last.parents if p not in self._arrays and p not in found]
            if behind:
                wanted.extend(self.graph.nodes[p] for p in behind)
                continue
            found[last.index] = _value(last, found | self._kept(last.parents))
            wanted.pop()
        return found[node.index]

    def whole(self) -> Values:
        """The same with every value; itself if none is missing."""
        if len(self._arrays) == len(self.graph.nodes):
            return self
        return forward(self.graph, *self.inputs)

    def _kept(self, indices: tuple[int, ...]) -> dict[int, Any]:
        return {i: self._arrays[i] for i in indices if i in self._arrays}


class _AdjointPerNode(PerNode):
    """Adjoints; 0 where no path leads on to an output, None where none comes from an input."""

    def _missing(self, node: Node) -> Any:
        return jnp.zeros(node.shape, node.dtype) if node.index in self.graph.active else None


class Adjoints:
    """The derivative of the output by every node, and what each edge contributed.

    Attributes:
        node: The adjoint of each node: the sum of the contributions of its edges, and of the
            cotangent for an output. None for integers, and for constants and what is computed from
            them alone: make an argument of what shall have an adjoint.
        edge: ``edge[parent, node]`` is what came back from `node` to `parent`; 0 where the adjoint
            of the node is, None where the parent has none.
        given: What the cotangent gave to each output, by index: where the sweep began.
    """

    def __init__(
        self,
        graph: Graph,
        given: Mapping[int, Any],
        node: Mapping[int, Any],
        edge: Mapping[tuple[int, int], Any],
    ) -> None:
        self.given = given
        self.node = _AdjointPerNode(graph, node)
        self.edge = PerEdge(graph, edge)

    @property
    def inputs(self) -> tuple[PyTree, ...]:
        """The gradient by each argument."""
        return self.node.inputs


class PerEdge(Mapping[Any, Any]):
    """One array for each edge, asked for with ``[parent, node]``."""

    def __init__(self, graph: Graph, arrays: Mapping[tuple[int, int], Any]) -> None:
        self.graph, self._arrays = graph, arrays

    def __getitem__(self, edge: tuple[NodeLike, NodeLike]) -> Any:
        parent, node = (self.graph[end] for end in edge)
        check_edge("edge", self.graph, parent, node)
        if (parent.index, node.index) in self._arrays:
            return self._arrays[parent.index, node.index]
        is_active = parent.index in self.graph.active
        return jnp.zeros(parent.shape, parent.dtype) if is_active else None

    def __iter__(self) -> Iterator[tuple[Node, Node]]:
        return ((p, n) for n in self.graph.nodes for p in map(self.graph.__getitem__, n.parents))

    def __len__(self) -> int:
        return sum(len(n.parents) for n in self.graph.nodes)


def forward(graph: Graph, *args: Any, keep: Callable[[Node], bool] | None = None) -> Values:
    """Step 1: the value of every node, in topological order."""
    arrays: dict[int, Any] = dict(graph.constants)
    arrays.update(zip(graph.inputs, graph.flat_arguments(args), strict=True))
    readers = graph.children
    waiting = {i: len(readers[i]) for i in range(len(graph.nodes))}
    for node in graph.nodes:
        if node.operation is not None:
            arrays[node.index] = _value(node, arrays)
            if keep is not None:
                for parent in node.parents:
                    waiting[parent] -= 1
                    if not waiting[parent] and _may_go(graph, parent, keep):
                        del arrays[parent]
    return Values(graph, arrays)


def _may_go(graph: Graph, index: int, keep: Callable[[Node], bool]) -> bool:
    node = graph.nodes[index]
    return node.operation is not None and index not in graph.outputs and not keep(node)


def _value(node: Node, arrays: Mapping[int, Any]) -> Any:
    operation = node.operation
    assert operation is not None
    operands = [arrays[i] for i in operation.read]
    return local_of(operation).run(*operands)[operation.result]


def backward(graph: Graph, values: PerNode, cotangent: Any = None) -> Adjoints:
    """Step 2: the adjoint of every node, in reverse topological order."""
    _check_values(graph, values)
    given: dict[int, Any] = {}
    for index, seed in graph.seeds(cotangent):
        given[index] = given[index] + seed if index in given else seed
    adjoint, edge = dict(given), dict[tuple[int, int], Any]()
    for node in reversed(graph.nodes):
        if node.index not in adjoint:
            continue  # no output depends on it
        for parent, part in pullback(node, values, adjoint[node.index], graph.active).items():
            edge[parent, node.index] = part
            adjoint[parent] = adjoint[parent] + part if parent in adjoint else part
    return Adjoints(graph, given, adjoint, edge)


def pullback(
    node: Node, values: Mapping[Any, Any], adjoint: Any, wanted: Container[int]
) -> dict[int, Any]:
    """What a node hands back to those of its parents that are wanted: ``J^T adjoint``."""
    return _handed_back(node, values, adjoint, wanted, "pullback")


def pulled_rows(
    node: Node, values: Mapping[Any, Any], rows: Any, wanted: Container[int]
) -> dict[int, Any]:
    """The same for a stack of adjoints."""
    return _handed_back(node, values, rows, wanted, "pulled_rows")


def _handed_back(
    node: Node, values: Mapping[Any, Any], adjoint: Any, wanted: Container[int], derivative: str
) -> dict[int, Any]:
    operation = node.operation
    if operation is None:
        return {}
    local, read = local_of(operation), operation.read
    places = tuple(i for i in local.carriers(operation.result) if read[i] in wanted)
    if not places:
        return {}
    at = [values[i] for i in read]
    pulled = _run(getattr(local, derivative), node, at, adjoint, operation.result, places)
    parts: dict[int, Any] = {}
    for place, part in zip(places, pulled, strict=True):
        parent = read[place]
        parts[parent] = parts[parent] + part if parent in parts else part
    return parts


def carriers(node: Node) -> tuple[int, ...]:
    """The parents through which derivatives of a node pass."""
    operation = node.operation
    if operation is None:
        return ()
    places = local_of(operation).carriers(operation.result)
    return tuple(dict.fromkeys(operation.read[i] for i in places))


def tangents(graph: Graph, values: PerNode, *directions: Any) -> PerNode:
    """Forward mode: the tangent of every node, in topological order."""
    _check_values(graph, values)
    moved: dict[int, Any] = dict(graph.flat_tangents(directions))
    for node in graph.nodes:
        if any(parent in moved for parent in carriers(node)):
            moved[node.index] = pushforward(node, values, moved)
    return PerNode(graph, moved)


def pushforward(node: Node, values: PerNode, moved: Mapping[int, Any]) -> Any:
    """The tangent of a node, ``J t``, from those of the parents that move."""
    operation = node.operation
    assert operation is not None
    local, read = local_of(operation), operation.read
    places = tuple(i for i in local.carriers(operation.result) if read[i] in moved)
    at, along = [values[i] for i in read], [moved[read[i]] for i in places]
    return _run(local.pushforward, node, at, along, operation.result, places)


def unit_cotangent(values: PerNode) -> PyTree:
    """1 for every entry of the outputs; None for integers."""
    ones = [
        jnp.ones(node.shape, node.dtype) if node.differentiable else None
        for node in (values.graph.nodes[i] for i in values.graph.outputs)
    ]
    return values.graph.out_tree.unflatten(ones)


def check_edge(name: str, graph: Graph, parent: Node, node: Node) -> None:
    """Raise unless there is an edge."""
    if parent.index not in node.parents:
        raise ArgumentError(
            f"{name}: {node.name} is not computed from {parent.name}, but from "
            f"{', '.join(graph.nodes[p].name for p in node.parents) or 'nothing'}"
        )


def _check_values(graph: Graph, values: PerNode) -> None:
    if values.graph is not graph:
        raise ArgumentError(
            f"graph of {graph.name}: the values are those of another graph, of "
            f"{values.graph.name}; take them from the forward sweep of this one"
        )


def _run(derivative: Callable[..., Any], node: Node, *args: Any) -> Any:
    try:
        return derivative(*args)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ArgumentError(_no_derivative(node, error)) from error


def _no_derivative(node: Node, error: Exception) -> str:
    way_out = (
        "; trace with unroll=True, which writes the rounds of the loop out"
        if "while_loop" in str(error)
        else ""
    )
    reason = str(error).strip().partition("\n")[0]
    return f"{node.name} = {node.op}(...) at {node.source or 'no known line'}: {reason}{way_out}"
