"""The graph of a function, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.graph import local_jacobians, paths, sweeps
from funcnet.graph.local_jacobians import LocalJacobian
from funcnet.graph.node import Node, NodeLike
from funcnet.graph.paths import Paths
from funcnet.graph.sweeps import Adjoints, PerNode, Values
from funcnet.graph.text import describe
from funcnet.typing import PyTree

__all__ = ["Graph"]


@dataclass(frozen=True, eq=False)
class Graph:
    """A function as a graph of the values it computes; made by `trace`, never changed.

    Ask for a node by its name or index, ``graph["a1"]``; ``print(graph)`` lists them all.

    Attributes:
        name: The name of the function.
        nodes: All nodes in topological order.
        inputs: The nodes of the arguments' leaves, in order.
        outputs: The nodes of the results' leaves, in order.
        constants: The values of the constant nodes, by index.
        in_tree: The structure of the arguments.
        out_tree: The structure of the results.
    """

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: Mapping[int, Any] = field(repr=False)
    in_tree: Any = field(repr=False)
    out_tree: Any = field(repr=False)

    def __getitem__(self, node: NodeLike) -> Node:
        if isinstance(node, str):
            return self.nodes[self._index(node)]
        index = node.index if isinstance(node, Node) else node
        if not 0 <= index < len(self.nodes) or (
            isinstance(node, Node) and self.nodes[index] is not node
        ):
            raise ArgumentError(f"graph of {self.name}: {node!r} is none of its nodes")
        return self.nodes[index]

    def _index(self, name: str) -> int:
        if name not in self._by_name:
            close = [n for n in self._by_name if name in n or n in name][:5]
            known = ", ".join(close or list(self._by_name)[:5])
            raise ArgumentError(
                f"graph of {self.name}: no node is called {name!r}; there are {known} and others"
            )
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, int]:
        return {node.name: node.index for node in self.nodes}

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """For each node the nodes that are computed from it."""
        readers: list[list[int]] = [[] for _ in self.nodes]
        for node in self.nodes:
            for parent in node.parents:
                readers[parent].append(node.index)
        return tuple(map(tuple, readers))

    @cached_property
    def active(self) -> frozenset[int]:
        """The nodes that depend on an input in a way that has a derivative."""
        found = {i for i in self.inputs if self.nodes[i].differentiable}
        for node in self.nodes:
            if any(parent in found for parent in sweeps.carriers(node)):
                found.add(node.index)
        return frozenset(found)

    def __str__(self) -> str:
        return str(describe(self))

    def _repr_html_(self) -> str:
        return describe(self)._repr_html_()

    # The sweeps

    def forward(self, *args: Any, keep: Callable[[Node], bool] | None = None) -> Values:
        """Step 1 of backpropagation: compute and store the value of every node.

        Args:
            *args: Arguments of the function, of the shapes and dtypes it was traced with.
            keep: Tells of a node whether to keep its value once no later node needs it; values
                that were dropped are computed again when something asks for them. Inputs,
                constants and outputs are always kept.

        Returns:
            The values: ``values["a1"]``, ``values[node]``; ``values.outputs`` is what the function
            returns.

        Raises:
            ArgumentError: The arguments are not of the structure that was traced.
            ShapeError: Or not of its shapes.

        Example:
            >>> import jax.numpy as jnp
            >>> from funcnet.graph import trace
            >>> graph = trace(lambda x1, x2: x1 * x2 + jnp.sin(x2), 2.0, 0.0)
            >>> values = graph.forward(2.0, 0.0)
            >>> float(values["a1"]), float(values.outputs)
            (0.0, 0.0)
        """
        return sweeps.forward(self, *args, keep=keep)

    def backward(self, values: PerNode, cotangent: PyTree = None) -> Adjoints:
        """Step 2: compute the adjoint of every node, last to first.

        The adjoint of a node v is ``v_bar = d output / d v``, times the cotangent. It is the sum
        over the nodes c that are computed from v of ``c_bar dc/dv``, each of which is kept as well.

        Args:
            values: What `forward` returned.
            cotangent: The cotangent of the output, of its structure; 1 for a single number.

        Returns:
            The adjoints: ``adjoints.node["x2"]``, ``adjoints.edge["x2", "a1"]``, and
            ``adjoints.inputs``, the gradient.

        Raises:
            ArgumentError: A cotangent is needed and missing, or an operation has no reverse mode.

        Example:
            >>> import jax.numpy as jnp
            >>> from funcnet.graph import trace
            >>> graph = trace(lambda x1, x2: x1 * x2 + jnp.sin(x2), 2.0, 0.0)
            >>> adjoints = graph.backward(graph.forward(2.0, 0.0))
            >>> [float(adjoints.edge["x2", node]) for node in ("a1", "a2")]
            [2.0, 1.0]
            >>> float(adjoints.node["x2"])
            3.0
        """
        return sweeps.backward(self, values, cotangent)

    def tangents(self, values: PerNode, *tangents: PyTree) -> PerNode:
        """Forward mode: push tangents of the arguments through all nodes.

        Args:
            values: What `forward` returned.
            *tangents: One per argument, of its structure; None for an argument, or a leaf, that
                does not move.

        Returns:
            The tangent of every node.

        Raises:
            ArgumentError: Their number or structure is wrong, or an operation has no forward mode.

        Example:
            >>> import jax.numpy as jnp
            >>> from funcnet.graph import trace
            >>> graph = trace(lambda x1, x2: x1 * x2 + jnp.sin(x2), 2.0, 0.0)
            >>> moved = graph.tangents(graph.forward(2.0, 0.0), None, 1.0)
            >>> float(moved["a1"]), float(moved["a2"]), float(moved.outputs)
            (2.0, 1.0, 3.0)
        """
        return sweeps.tangents(self, values, *tangents)

    # Paths and local Jacobians

    def paths(self, source: NodeLike, target: NodeLike, values: PerNode | None = None) -> Paths:
        """All ways from one node to another along edges.

        Args:
            source: Where they start.
            target: Where they end.
            values: What `forward` returned; with it, each path has its product of local
                Jacobians, whose sum is the derivative of the target by the source.

        Returns:
            The paths: their exact number, and each of them when iterated.

        Example:
            >>> import jax.numpy as jnp
            >>> from funcnet.graph import trace
            >>> graph = trace(lambda x1, x2: x1 * x2 + jnp.sin(x2), 2.0, 0.0)
            >>> for path in graph.paths("x2", "a3", graph.forward(2.0, 0.0)):
            ...     print(path, float(path.product))
            x2 -> a1 -> a3 2.0
            x2 -> a2 -> a3 1.0
        """
        return paths.find(self, self[source], self[target], values)

    def local_jacobian(
        self, node: NodeLike, parent: NodeLike, values: PerNode | None = None
    ) -> LocalJacobian:
        """The Jacobian of one operation by one of its operands.

        Args:
            node: The result of the operation.
            parent: The operand.
            values: What `forward` returned; with it, and unless it is too large, the
                matrix itself.

        Returns:
            Its shape, ``node.shape + parent.shape``, its structure, and its entries.

        Raises:
            ArgumentError: `parent` is no parent of `node`.

        Example:
            >>> import jax.numpy as jnp
            >>> from funcnet.graph import trace
            >>> graph = trace(lambda x: jnp.tanh(x), jnp.zeros(2))
            >>> graph.local_jacobian("a1", "x", graph.forward(jnp.zeros(2)))
            da1/dx: diagonal, shape (2, 2)
            [[1. 0.]
             [0. 1.]]
        """
        return local_jacobians.between(self, self[node], self[parent], values)

    # As a function again

    def as_function(self) -> Callable[..., PyTree]:
        """The traced function, compiled, run node by node as the graph says.

        Returns:
            A function of the same arguments, which JAX can transform as any other.
        """
        return jax.jit(lambda *args: sweeps.forward(self, *args).outputs)

    def as_gradient(self) -> Callable[..., tuple[PyTree, ...]]:
        """Forward and backward sweep as one compiled function.

        Returns:
            A function of the same arguments that returns their adjoints; a compiler drops what
            they do not need.
        """

        def gradient(*args: Any) -> tuple[PyTree, ...]:
            return sweeps.backward(self, sweeps.forward(self, *args)).inputs

        return jax.jit(gradient)

    # What the sweeps start from

    def flat_arguments(self, args: Sequence[Any]) -> list[Any]:
        """The leaves of arguments, checked against the shapes that were traced."""
        leaves, tree = jax.tree.flatten(tuple(args))
        if tree != self.in_tree:
            raise ArgumentError(
                f"{self.name}: the graph was traced with arguments of the structure "
                f"{self.in_tree}, got {tree}; trace again for another structure"
            )
        return [
            self._fitting(self.nodes[i], leaf, "value")
            for i, leaf in zip(self.inputs, leaves, strict=True)
        ]

    def flat_tangents(self, directions: Sequence[Any]) -> list[tuple[int, Any]]:
        """The tangents that are there, each with the index of its input."""
        try:
            given = self.in_tree.flatten_up_to(
                tuple(
                    jax.tree.map(lambda _: None, part.unflatten([0] * part.num_leaves))
                    if direction is None
                    else direction
                    for part, direction in zip(self.in_tree.children(), directions, strict=True)
                )
            )
        except ValueError as error:
            raise ArgumentError(
                f"{self.name}: tangents must be given for each argument, in the structure "
                f"{self.in_tree} (None for what does not move), got {tuple(directions)}"
            ) from error
        return self._seeds(self.inputs, given, "tangent")

    def seeds(self, cotangent: PyTree) -> list[tuple[int, Any]]:
        """The cotangents of the outputs that have any, each with the index of its node."""
        if cotangent is None and not any(self.nodes[i].differentiable for i in self.outputs):
            return []
        if cotangent is None:
            if len(self.outputs) != 1 or self.nodes[self.outputs[0]].shape:
                shapes = [self.nodes[i].shape for i in self.outputs]
                raise ArgumentError(
                    f"{self.name}: backward needs a cotangent unless the output is one number; "
                    f"the shapes of the outputs are {shapes}"
                )
            (output,) = (self.nodes[i] for i in self.outputs)
            given = [jnp.ones((), output.dtype) if output.differentiable else None]
        else:
            try:
                given = self.out_tree.flatten_up_to(cotangent)
            except ValueError as error:
                raise ArgumentError(
                    f"{self.name}: the cotangent must have the structure of the output, "
                    f"{self.out_tree}, got {jax.tree.structure(cotangent)}"
                ) from error
        return self._seeds(self.outputs, given, "cotangent")

    def _seeds(self, indices: Sequence[int], given: Sequence[Any], what: str) -> list[Any]:
        return [
            (i, self._fitting(self.nodes[i], leaf, what))
            for i, leaf in zip(indices, given, strict=True)
            if self.nodes[i].differentiable and leaf is not None
        ]

    def _fitting(self, node: Node, given: Any, what: str) -> Any:
        """An array for a node; Python numbers take on its dtype."""
        fits = type(given) in _NUMBERS[: _rank(node.dtype) + 1]
        array = jnp.asarray(given, node.dtype) if fits else jnp.asarray(given)
        if array.shape != node.shape:
            raise ShapeError(
                f"{self.name}: the {what} of {node.name} must have shape {node.shape}, "
                f"got {array.shape}; trace again for another shape"
            )
        if array.dtype != node.dtype:
            raise DTypeError(
                f"{self.name}: the {what} of {node.name} must have dtype {np.dtype(node.dtype)}, "
                f"got {array.dtype}"
            )
        return array


_NUMBERS = (bool, int, float, complex)


def _rank(dtype: Any) -> int:
    """Which of Python's kinds of number a dtype holds at most; -1 for keys."""
    kinds = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)
    return next((i for i, kind in enumerate(kinds) if jnp.issubdtype(dtype, kind)), -1)
