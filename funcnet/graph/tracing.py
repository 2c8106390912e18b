"""From a function to its graph.

JAX writes the function down as a jaxpr, and `builder` makes nodes of its equations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from funcnet.errors import ArgumentError, DTypeError, FuncnetError
from funcnet.graph.builder import OWN_DERIVATIVES, Builder, Place
from funcnet.graph.graph import Graph
from funcnet.graph.node import Node, Operation
from funcnet.jaxprs import Body, argument_paths, look_inside

__all__ = ["inside", "inside_of", "trace", "traced"]


def trace(
    f: Callable[..., Any], *args: Any, unroll: bool = False, open_rules: bool = False
) -> Graph:
    """Write a function down as the graph of all values it computes.

    Args:
        f: Any function that JAX can trace.
        *args: Its arguments: arrays, numbers, pytrees of them. Without `unroll`,
            ``jax.ShapeDtypeStruct`` will do.
        unroll: Follow loops and branches for these arguments: the branch that is taken and each
            round of a loop become ordinary nodes. The graph then holds for arguments that take the
            same branches and as many rounds.
        open_rules: Show the operations that rules and other functions with derivatives of their own
            are computed with, instead of one node for each. Adjoints are then those of the
            operations, not of the rules.

    Returns:
        The graph. Two traces of one function with equal arguments are equal, node by node.

    Raises:
        ArgumentError: `f` needs the value of an array while it is traced (and is no JAX function),
            has side effects, or returns something that is no array.
        DTypeError: An argument is no array.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.graph import trace
        >>> graph = trace(lambda x1, x2: x1 * x2 + jnp.sin(x2), 2.0, 0.0)
        >>> [(node.name, node.op) for node in graph.nodes]
        [('x1', 'input'), ('x2', 'input'), ('a1', 'mul'), ('a2', 'sin'), ('a3', 'add')]
    """
    name = getattr(f, "__name__", type(f).__name__)
    if not callable(f):
        raise ArgumentError(f"trace: the first argument must be a function, got {f!r}")
    names = argument_paths(f, args)
    leaves, in_tree = jax.tree.flatten(args)
    _check_arguments(name, names, leaves, unroll)
    jaxpr, out_shape = traced(name, f, args)
    builder = Builder(name, unroll, () if open_rules else OWN_DERIVATIVES)
    inputs = [
        builder.given("input", path, aval, leaf)
        for path, aval, leaf in zip(names, jaxpr.in_avals, leaves, strict=True)
    ]
    outputs = [builder.node_of(atom) for atom in builder.add(jaxpr, inputs, Place())]
    return builder.graph(inputs, outputs, in_tree, jax.tree.structure(out_shape))


def inside(graph: Graph, node: Node) -> dict[str, Graph]:
    """The functions inside an operation, each as a graph: branches, bodies of loops, rules.

    Args:
        graph: The graph.
        node: One of its nodes.

    Returns:
        The graphs by name, such as ``cond[1]``; none for an ordinary operation. Their inputs are
        called as the nodes that the operation reads.

    Example:
        >>> import jax.numpy as jnp
        >>> from jax import lax
        >>> from funcnet.graph import inside, trace
        >>> graph = trace(lambda x: lax.cond(x > 0, jnp.sin, jnp.cos, x), 1.0)
        >>> {name: part.nodes[-1].op for name, part in inside(graph, graph["a3"]).items()}
        {'cond[0]': 'cos', 'cond[1]': 'sin'}
    """
    operation = node.operation
    if operation is None:
        return {}
    names = ["" if i is None else graph.nodes[i].name for i in operation.operands]
    return inside_of(operation, names)


def inside_of(operation: Operation, names: Sequence[str]) -> dict[str, Graph]:
    """The functions inside an operation, with names for its operands; without one x1, x2, ..."""
    return {
        body.label or operation.name: _graph_of(body.label or operation.name, body, names)
        for body in look_inside(operation.eqn).bodies
    }


def _graph_of(label: str, body: Body, names: Sequence[str]) -> Graph:
    builder = Builder(label, False)
    read = [names[i] for i in body.inputs]
    inputs = [
        builder.given("input", name or f"x{k + 1}", aval, None)
        for k, (name, aval) in enumerate(zip(read, body.jaxpr.in_avals, strict=True))
    ]
    outputs = [builder.node_of(atom) for atom in builder.add(body.jaxpr, inputs, Place())]
    in_tree = jax.tree.structure(tuple(0 for _ in inputs))
    out_tree = jax.tree.structure([0 for _ in outputs])
    return builder.graph(inputs, outputs, in_tree, out_tree)


# Errors

_NEEDS_VALUE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
_ARRAYS = (jax.Array, np.ndarray, np.generic, bool, int, float, complex)


def _check_arguments(name: str, names: Sequence[str], leaves: Sequence[Any], unroll: bool) -> None:
    for path, leaf in zip(names, leaves, strict=True):
        if isinstance(leaf, jax.ShapeDtypeStruct):
            if unroll:
                raise ArgumentError(
                    f"trace: with unroll=True the arguments of {name} must have values, but {path} "
                    "is a ShapeDtypeStruct"
                )
        elif not isinstance(leaf, _ARRAYS):
            raise DTypeError(
                f"trace: {path} of {name} is a {type(leaf).__name__}, {leaf!r}, and no array; put "
                f"it into the function: trace(lambda ...: {name}(...), ...)"
            )


def traced(name: str, f: Callable[..., Any], args: Sequence[Any]) -> tuple[ClosedJaxpr, Any]:
    """A function as a jaxpr, with the shapes of its results, or an error that says what to do."""
    try:
        jaxpr, out_shape = jax.make_jaxpr(f, return_shape=True)(*args)
    except FuncnetError:
        raise
    except _NEEDS_VALUE as error:
        raise ArgumentError(
            f"trace: {name} asks for the value of an array (in an if, a for, float() or NumPy), "
            "which it has not while it is traced. Use jax.lax.cond or jnp.where, or record the "
            "values as they come with a Tape"
        ) from error
    except TypeError as error:
        if "not a valid JAX type" not in str(error):
            raise
        raise ArgumentError(
            f"trace: {name} returns or uses something that is no array: "
            f"{str(error).partition(chr(10))[0]}"
        ) from error
    if jaxpr.effects:
        raise ArgumentError(
            f"trace: {name} has side effects ({', '.join(map(str, jaxpr.effects))}), which a graph "
            "cannot show; take prints, callbacks and mutable arrays out of it"
        )
    return jaxpr, out_shape
