"""From a function to its graph.

JAX writes the function down as a jaxpr; calls in it are inlined, and each result of each equation
becomes a node. With ``unroll=True`` loops and branches are followed for the actual inputs: then the
equations are run while they are read, to know which branch is taken and how often a loop turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var
from jax.extend.source_info_util import summarize

from funcnet.errors import ArgumentError, DTypeError, FuncnetError
from funcnet.graph.graph import Graph
from funcnet.graph.local import local_of
from funcnet.graph.node import Kind, Node, Operation, distinct
from funcnet.jaxprs import Body, Nesting, argument_paths, inline, look_inside

__all__ = ["inside", "trace"]

_OWN_DERIVATIVES = (
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
    "custom_linear_solve",
    "rule",
    "linear_map",
)
"""Primitives that stay one node although a function is inside: its derivative is their own."""


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
    names = argument_paths(f, args)
    leaves, in_tree = jax.tree.flatten(args)
    _check_arguments(name, names, leaves, unroll)
    jaxpr, out_shape = _traced(name, f, args)
    builder = _Builder(name, unroll, () if open_rules else _OWN_DERIVATIVES)
    inputs = [
        builder.given("input", path, aval, leaf)
        for path, aval, leaf in zip(names, jaxpr.in_avals, leaves, strict=True)
    ]
    outputs = [builder.node_of(atom) for atom in builder.add(jaxpr, inputs, _Place())]
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
    bodies = () if operation is None else look_inside(operation.eqn).bodies
    return {_label(body, node): _graph_of(graph, body, node) for body in bodies}


def _label(body: Body, node: Node) -> str:
    return body.label or node.op


def _graph_of(graph: Graph, body: Body, node: Node) -> Graph:
    assert node.operation is not None
    builder = _Builder(_label(body, node), False, _OWN_DERIVATIVES)
    read = [node.operation.operands[i] for i in body.inputs]
    inputs = [
        builder.given("input", f"x{k + 1}" if i is None else graph.nodes[i].name, aval, None)
        for k, (i, aval) in enumerate(zip(read, body.jaxpr.in_avals, strict=True))
    ]
    outputs = [builder.node_of(atom) for atom in builder.add(body.jaxpr, inputs, _Place())]
    in_tree = jax.tree.structure(tuple(0 for _ in inputs))
    out_tree = jax.tree.structure([0 for _ in outputs])
    return builder.graph(inputs, outputs, in_tree, out_tree)


# Errors

_NEEDS_VALUE = (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)
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


def _traced(name: str, f: Callable[..., Any], args: Sequence[Any]) -> tuple[ClosedJaxpr, Any]:
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


# From equations to nodes

_Atom = int | Literal
"""What an equation reads: the index of a node, or a number."""


@dataclass(frozen=True)
class _Place:
    """Where equations stand: the scope and the line of the loops around them."""

    scope: str = ""
    source: str = ""
    is_ours: bool = False
    """Whether the equations come from this module, so that their own lines say nothing."""

    def of(self, eqn: JaxprEqn) -> tuple[str, str]:
        """The scope and the line of an equation that stands here."""
        inner = "" if self.is_ours else str(eqn.source_info.name_stack)
        source = "" if self.is_ours else summarize(eqn.source_info)
        return "/".join(filter(None, [self.scope, inner])), source or self.source

    def inside(self, eqn: JaxprEqn, label: str) -> _Place:
        """The place of what stands inside of an equation that stands here."""
        scope, source = self.of(eqn)
        return _Place("/".join(filter(None, [scope, label])), source)


class _Builder:
    """A graph while it is being written, with the values where they decide how it goes on."""

    def __init__(self, name: str, unroll: bool, keep: Sequence[str]) -> None:
        self.name, self.unroll, self.keep = name, unroll, keep
        self.nodes: list[Node] = []
        self.values: dict[int, Any] = {}
        self.constants: dict[int, Any] = {}
        self.names: dict[str, int] = {}
        self.renamed: dict[int, str] = {}
        self.known: dict[int, int] = {}

    def graph(self, inputs: list[int], outputs: list[int], in_tree: Any, out_tree: Any) -> Graph:
        nodes = tuple(self._named())
        return Graph(
            self.name, nodes, tuple(inputs), tuple(outputs), self.constants, in_tree, out_tree
        )

    def _named(self) -> list[Node]:
        """All nodes with their names: those without one are a1, a2, ... in order."""
        taken: dict[str, int] = {}
        count, named = 0, []
        for node in self.nodes:
            wanted = self.renamed.get(node.index, node.name)
            if not wanted:
                count += 1
                wanted = f"a{count}"
            taken[wanted] = taken.get(wanted, 0) + 1
            unique = wanted if taken[wanted] == 1 else f"{wanted} ({taken[wanted]})"
            fields = {k: v for k, v in vars(node).items() if k != "name"}
            named.append(Node(name=unique, **fields))
        return named

    def given(self, kind: Kind, name: str, aval: Any, value: Any) -> int:
        """Add an input or a constant."""
        index = len(self.nodes)
        self.nodes.append(Node(index, name, kind, tuple(aval.shape), aval.dtype))
        if value is not None and not isinstance(value, jax.ShapeDtypeStruct):
            self.values[index] = jnp.asarray(value) if kind == "input" else value
        return index

    def constant(self, value: Any) -> int:
        """Add a constant, once."""
        if id(value) not in self.known:
            number = sum(node.kind == "constant" for node in self.nodes) + 1
            index = self.given("constant", f"c{number}", jax.typeof(value), value)
            self.constants[index] = value
            self.known[id(value)] = index
        return self.known[id(value)]

    def node_of(self, atom: _Atom) -> int:
        """The node of an output, which may be a number."""
        return atom if isinstance(atom, int) else self.constant(jnp.asarray(atom.val))

    def add(self, jaxpr: ClosedJaxpr, operands: Sequence[_Atom], place: _Place) -> list[_Atom]:
        """Add the operations of a function called at a place; return what it returns."""
        flat = inline(jaxpr, keep=self.keep)
        env: dict[Var, _Atom] = dict(zip(flat.jaxpr.invars, operands, strict=True))
        for var, value in zip(flat.jaxpr.constvars, flat.consts, strict=True):
            env[var] = self.constant(value)
        for eqn in flat.jaxpr.eqns:
            read = [v if isinstance(v, Literal) else env[v] for v in eqn.invars]
            for var, atom in zip(eqn.outvars, self.results(eqn, read, place), strict=True):
                env[var] = atom
        return [v if isinstance(v, Literal) else env[v] for v in flat.jaxpr.outvars]

    def results(self, eqn: JaxprEqn, read: list[_Atom], place: _Place) -> list[_Atom]:
        """Add what an equation computes."""
        if self.is_nothing(eqn, read[0] if read else None):
            return read
        if self.unroll and eqn.primitive.name not in self.keep:
            nest = look_inside(eqn)
            if nest.bodies and nest.bodies[-1].role in ("loop", "branch"):
                return self.followed(eqn, nest, read, place)
        return self.operation(eqn, read, place)

    def is_nothing(self, eqn: JaxprEqn, operand: _Atom | None) -> bool:
        """Whether an equation computes nothing: a conversion to the same dtype, or a new name."""
        if not isinstance(operand, int):
            return False
        if eqn.primitive.name == "name":
            return self.rename(operand, eqn)
        converts = eqn.primitive.name == "convert_element_type"
        return converts and eqn.params["new_dtype"] == self.nodes[operand].dtype

    def rename(self, index: int, eqn: JaxprEqn) -> bool:
        """Give a node that has no name yet the name of a named point."""
        if self.nodes[index].name or index in self.renamed:
            return False
        self.renamed[index] = eqn.params["name"]
        return True

    def operation(self, eqn: JaxprEqn, read: list[_Atom], place: _Place) -> list[_Atom]:
        """Add one node for each result of an equation."""
        operands = tuple(atom if isinstance(atom, int) else None for atom in read)
        invars = [
            var if isinstance(atom, int) else atom
            for var, atom in zip(eqn.invars, read, strict=True)
        ]
        eqn = eqn.replace(invars=invars)
        scope, source = place.of(eqn)
        made: list[_Atom] = []
        for result, var in enumerate(eqn.outvars):
            aval: Any = var.aval
            operation = Operation(eqn, operands, result)
            scope = _without_last(scope, operation.name)
            made.append(len(self.nodes))
            self.nodes.append(
                Node(
                    len(self.nodes),
                    "",
                    "operation",
                    tuple(aval.shape),
                    aval.dtype,
                    distinct(operands),
                    scope,
                    source,
                    operation,
                )
            )
        if self.unroll and made:
            values = local_of(operation).run(*(self.values[i] for i in operands if i is not None))
            self.values.update(zip([i for i in made if isinstance(i, int)], values, strict=True))
        return made

    # Loops and branches, followed

    def followed(
        self, eqn: JaxprEqn, nest: Nesting, read: list[_Atom], place: _Place
    ) -> list[_Atom]:
        """Add what a loop or a branch does for the values at hand."""
        if nest.bodies[0].role == "branch":
            return self.branch(eqn, nest, read, place)
        if nest.bodies[0].role == "condition":
            return self.while_loop(eqn, nest, read, place)
        return self.scan(eqn, nest, read, place)

    def branch(self, eqn: JaxprEqn, nest: Nesting, read: list[_Atom], place: _Place) -> Any:
        chosen = min(max(int(self.value(read[0])), 0), len(nest.bodies) - 1)
        body = nest.bodies[chosen]
        return self.add(body.jaxpr, [read[i] for i in body.inputs], place.inside(eqn, body.label))

    def while_loop(self, eqn: JaxprEqn, nest: Nesting, read: list[_Atom], place: _Place) -> Any:
        condition, body = nest.bodies
        now, turn = list(read), 0
        while True:
            at = place.inside(eqn, f"{body.label}[{turn}]")
            (go_on,) = self.add(condition.jaxpr, [now[i] for i in condition.inputs], at)
            if not bool(self.value(go_on)):
                return [now[i] for i, _ in nest.carried]
            results = self.add(body.jaxpr, [now[i] for i in body.inputs], at)
            for i, result in nest.carried:
                now[i] = results[result]
            turn += 1

    def scan(self, eqn: JaxprEqn, nest: Nesting, read: list[_Atom], place: _Place) -> Any:
        (body,) = nest.bodies
        avals: list[Any] = [v.aval for v in eqn.invars]
        sliced = [
            i
            for i, (aval, inner) in enumerate(zip(avals, body.jaxpr.in_avals, strict=True))
            if aval.ndim != inner.ndim
        ]
        now, stacks = list(read), [list[_Atom]() for _ in eqn.outvars]
        turns = range(body.trips or 0)
        for turn in reversed(turns) if eqn.params["reverse"] else turns:
            at = place.inside(eqn, f"{body.label}[{turn}]")
            operands = list(now)
            for i in sliced:
                operands[i] = self.apply(_taking(turn), [read[i]], at)
            results = self.add(body.jaxpr, operands, at)
            for i, result in nest.carried:
                now[i] = results[result]
            for stack, row in zip(stacks, results, strict=True):
                stack.append(row)
        carried = {result: now[i] for i, result in nest.carried}
        return [
            carried[k]
            if k in carried
            else self.stacked(stack[:: -1 if eqn.params["reverse"] else 1], v.aval, eqn, place)
            for k, (stack, v) in enumerate(zip(stacks, eqn.outvars, strict=True))
        ]

    def stacked(self, rows: list[_Atom], aval: Any, eqn: JaxprEqn, place: _Place) -> _Atom:
        if not rows:
            return self.constant(jnp.zeros(aval.shape, aval.dtype))
        return self.apply(lambda *xs: jnp.stack(xs), rows, place.inside(eqn, ""))

    def apply(self, f: Callable[..., Any], operands: Sequence[_Atom], place: _Place) -> _Atom:
        """Add the operations of a small function of this module's own."""
        given = [self.node_of(atom) for atom in operands]
        avals = [self.nodes[i].aval for i in given]
        return self.add(jax.make_jaxpr(f)(*avals), given, replace(place, is_ours=True))[0]

    def value(self, atom: _Atom) -> Any:
        return self.values[atom] if isinstance(atom, int) else atom.val


def _without_last(scope: str, name: str) -> str:
    """A jitted function that is only the operation itself is no scope of its own."""
    before, _, last = scope.rpartition("/")
    return before if last == name else scope


def _taking(turn: int) -> Callable[..., Any]:
    return lambda xs: lax.index_in_dim(xs, turn, 0, keepdims=False)
