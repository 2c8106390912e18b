"""What a graph is made of: nodes, each one array, and the operations that make them.

An operation with several results gives several nodes. An edge leads from a parent to a node that
is computed from it; it is one edge also where the operation reads the parent twice, as ``x * x``
does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn
from jax.extend.core import Literal as Constant

__all__ = ["Kind", "Node", "NodeLike", "Operation"]

Kind = Literal["input", "constant", "operation"]
"""Where a node's value comes from: an argument, an array that the function closes over, or an
operation on other nodes."""


@dataclass(frozen=True, eq=False)
class Operation:
    """What computes a node: an equation of the function, and the nodes that it reads.

    Attributes:
        eqn: JAX's own equation.
        operands: For each operand of the equation the index of a node, or None for a number that
            is written in the equation itself.
        result: Which of the equation's results the node is.
    """

    eqn: JaxprEqn
    operands: tuple[int | None, ...]
    result: int = 0

    @property
    def read(self) -> list[int]:
        """The nodes among the operands, as often as they are read."""
        return [i for i in self.operands if i is not None]

    @property
    def literals(self) -> tuple[Any, ...]:
        """The numbers written in the equation, None in the places of nodes."""
        return tuple(v.val if isinstance(v, Constant) else None for v in self.eqn.invars)

    @property
    def rule(self) -> Any:
        """The `Rule` behind it, or None."""
        application = self.eqn.params.get("application", self.eqn.params.get("linear"))
        return getattr(application, "origin", None)

    @property
    def is_known(self) -> bool:
        """Whether its name is a promise: JAX's own operation or function, or a rule's."""
        if self.rule is not None or self.name == self.eqn.primitive.name:
            return True
        info = getattr(self.eqn.params.get("call_jaxpr"), "jaxpr", None)
        return "/jax/" in str(getattr(getattr(info, "debug_info", None), "func_src_info", ""))

    @property
    def name(self) -> str:
        """The name of the rule or function, or of JAX's primitive."""
        params = self.eqn.params
        if self.rule is not None:
            return str(params.get("application", params.get("linear")))
        inner = params.get("call_jaxpr")
        called = getattr(getattr(inner, "jaxpr", inner), "debug_info", None)
        if called is not None and self.eqn.primitive.name.startswith("custom_"):
            return called.func_name
        return self.eqn.primitive.name


@dataclass(frozen=True, eq=False)
class Node:
    """One value in a graph.

    Attributes:
        index: Its place in the topological order: all parents come before.
        name: What it is called: the path of an argument, the name that the program gave it, or
            a1, a2, ... in order.
        kind: ``"input"``, ``"constant"`` or ``"operation"``.
        shape: Its shape.
        dtype: Its dtype.
        parents: The indices of the nodes that it is computed from, each once.
        scope: The names around the operation, with slashes between them.
        source: The line of the program that it comes from.
        operation: What computes it; None for inputs and constants.
    """

    index: int
    name: str
    kind: Kind
    shape: tuple[int, ...]
    dtype: Any
    parents: tuple[int, ...] = ()
    scope: str = ""
    source: str = ""
    operation: Operation | None = field(default=None, repr=False)

    @property
    def op(self) -> str:
        """The name of the operation; the kind of a node that has none."""
        return self.kind if self.operation is None else self.operation.name

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)

    @property
    def differentiable(self) -> bool:
        """Whether it has an adjoint: integers, booleans and keys have none."""
        return bool(jnp.issubdtype(self.dtype, jnp.inexact))

    @property
    def aval(self) -> jax.ShapeDtypeStruct:
        """Its shape and dtype, as JAX wants them."""
        return jax.ShapeDtypeStruct(self.shape, self.dtype)


NodeLike = Node | int | str
"""A node, its index, or its name."""


def distinct(operands: Sequence[int | None]) -> tuple[int, ...]:
    """The nodes among operands, each once, in order."""
    return tuple(dict.fromkeys(i for i in operands if i is not None))
