"""The Jacobian of one operation by one operand: its shape, its kind, and its entries if few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from funcnet.graph.node import Node, Operation
from funcnet.graph.sweeps import PerNode, carriers, check_edge, pulled_rows
from funcnet.structure import Structure

if TYPE_CHECKING:
    from funcnet.graph.graph import Graph

__all__ = ["LocalJacobian", "between", "structure_of"]

_LARGEST = 65536
"""Matrices with more entries than this are not written down."""


@dataclass(frozen=True, repr=False)
class LocalJacobian:
    """``d node / d parent``, for one operation.

    Attributes:
        node: The name of the result.
        parent: The name of the operand.
        shape: The shape of the result, then that of the operand.
        structure: Which entries can differ from 0.
        matrix: The entries, a row for each entry of the result and a column for each of the
            operand; None if it is large, or no values were given.
    """

    node: str
    parent: str
    shape: tuple[int, ...]
    structure: Structure
    matrix: Any = None

    def __repr__(self) -> str:
        head = f"d{self.node}/d{self.parent}: {self.structure.value}, shape {self.shape}"
        if self.matrix is None:
            return head
        entries = np.asarray(self.matrix)
        return f"{head}\n{entries}" if self.shape else f"{head}: {entries[0, 0]}"


def between(graph: Graph, node: Node, parent: Node, values: PerNode | None) -> LocalJacobian:
    """The Jacobian of `node` by `parent`."""
    check_edge("local_jacobian", graph, parent, node)
    matrix = None
    is_active = {node.index, parent.index} <= graph.active
    if values is not None and is_active and node.size * parent.size <= _LARGEST:
        rows = jnp.eye(node.size, dtype=node.dtype).reshape(node.size, *node.shape)
        pulled = pulled_rows(node, values, rows, {parent.index}).get(parent.index)
        zero = jnp.zeros((node.size, parent.size), node.dtype)
        matrix = zero if pulled is None else pulled.reshape(zero.shape)
    return LocalJacobian(
        node.name, parent.name, node.shape + parent.shape, structure_of(node, parent), matrix
    )


# Kinds of Jacobian


def structure_of(node: Node, parent: Node) -> Structure:
    """What the operation promises of its Jacobian, whatever its values are."""
    operation = node.operation
    assert operation is not None
    if parent.index not in carriers(node):
        return Structure.ZERO
    places = [i for i, index in enumerate(operation.operands) if index == parent.index]
    if len(places) > 1:
        kinds = {_kind(operation, place) for place in places}
        return Structure.DIAGONAL if kinds <= _ON_DIAGONAL else Structure.DENSE
    return _kind(operation, places[0])


def _kind(operation: Operation, place: int) -> Structure:
    if operation.rule is not None:
        return _declared(operation, place)
    name = operation.eqn.primitive.name
    if name == "mul" and operation.literals[1 - place] is not None:
        return Structure.SCALED_IDENTITY
    if name == "div" and place == 0 and operation.literals[1] is not None:
        return Structure.SCALED_IDENTITY
    kind = _KINDS.get(name, Structure.DENSE)
    return kind if isinstance(kind, Structure) else kind[min(place, len(kind) - 1)]


def _declared(operation: Operation, place: int) -> Structure:
    """The structure that a rule was stated with, if each of its arguments is one array."""
    rule, application = operation.rule, operation.eqn.params.get("application")
    kinds = getattr(rule, "structure", ())
    if application is None or len(kinds) != len(operation.operands):
        return Structure.DENSE
    return kinds[place] or Structure.DENSE


def _each(names: str, kind: Any) -> dict[str, Any]:
    return dict.fromkeys(names.split(), kind)


_ON_DIAGONAL = {
    Structure.ZERO,
    Structure.IDENTITY,
    Structure.SCALED_IDENTITY,
    Structure.DIAGONAL,
}

_KINDS: dict[str, Structure | tuple[Structure, ...]] = {
    **_each("sign floor ceil round stop_gradient is_finite", Structure.ZERO),
    **_each(
        "add add_any convert_element_type copy copy_p device_put name optimization_barrier",
        Structure.IDENTITY,
    ),
    "sub": (Structure.IDENTITY, Structure.SCALED_IDENTITY),
    "neg": Structure.SCALED_IDENTITY,
    **_each(
        """abs acos acosh asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt clamp cos cosh
        digamma div erf erf_inv erfc exp exp2 expm1 integer_pow lgamma log log1p logistic max min
        mul pow rem rsqrt select_n sin sinh sqrt square tan tanh""",
        Structure.DIAGONAL,
    ),
    **_each(
        """concatenate dynamic_slice dynamic_update_slice expand_dims gather pad reshape rev slice
        sort split squeeze transpose""",
        Structure.SELECTION,
    ),
    "broadcast_in_dim": Structure.BROADCAST,
    "reduce_sum": Structure.REDUCTION,
    **_each("reduce_max reduce_min", Structure.BLOCK_DIAGONAL),
}
"""What JAX's own operations promise; of all others nothing is known."""
