"""A graph while it is being written: from JAX's equations to nodes.

Calls are inlined, and each result of each equation becomes a node. With ``unroll=True`` loops and
branches are followed for the actual inputs: then the equations are run while they are read, to know
which branch is taken and how often a loop turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var
from jax.extend.source_info_util import summarize

from funcnet.graph.graph import Graph
from funcnet.graph.local import local_of
from funcnet.graph.node import Kind, Node, Operation, distinct
from funcnet.jaxprs import Nesting, inline, look_inside

__all__ = ["OWN_DERIVATIVES", "Builder", "Place"]

OWN_DERIVATIVES = (
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
    "custom_linear_solve",
    "rule",
    "linear_map",
)
"""Primitives that stay one node although a function is inside: its derivative is their own."""


_Atom = int | Literal
"""What an equation reads: the index of a node, or a number."""


@dataclass(frozen=True)
class Place:
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

    def inside(self, eqn: JaxprEqn, label: str) -> Place:
        """The place of what stands inside of an equation that stands here."""
        scope, source = self.of(eqn)
        return Place("/".join(filter(None, [scope, label])), source)


class Builder:
    """A graph while it is being written.

    Attributes:
        nodes: The nodes so far.
        values: With `unroll`, the value of each of them.
        constants: The values of constants, by node.
        renamed: Names that the program gave to nodes.
    """

    def __init__(self, name: str, unroll: bool, keep: Sequence[str] = OWN_DERIVATIVES) -> None:
        self.name, self.unroll, self.keep = name, unroll, keep
        self.nodes: list[Node] = []
        self.values: dict[int, Any] = {}
        self.constants: dict[int, Any] = {}
        self.renamed: dict[int, str] = {}
        self.known: dict[int, int] = {}

    def graph(self, inputs: list[int], outputs: list[int], in_tree: Any, out_tree: Any) -> Graph:
        """The graph, once it is written."""
        nodes = tuple(self._named())
        return Graph(
            self.name, nodes, tuple(inputs), tuple(outputs), dict(self.constants), in_tree, out_tree
        )

    def names_so_far(self) -> dict[int, str]:
        """The names of nodes that have one of their own."""
        return {node.index: node.name for node in self.nodes if node.name} | self.renamed

    def _named(self) -> list[Node]:
        """All nodes with their names: those without one are a1, a2, ... in order."""
        taken: dict[str, int] = {}
        count, named = 0, []
        for node in self.nodes:
            wanted = self.renamed.get(node.index, node.name)
            if not wanted:
                count += 1
                wanted = f"a{count}"
            unique = wanted
            while unique in taken:
                taken[wanted] += 1
                unique = f"{wanted} ({taken[wanted]})"
            taken[unique] = 1
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
            name = f"c{len(self.constants) + 1}"
            # A NumPy array may be filled anew later; what was traced is its value of now.
            kept = value if isinstance(value, jax.Array) else jnp.array(value)
            index = self.given("constant", name, jax.typeof(value), kept)
            self.constants[index] = kept
            if kept is value:
                self.known[id(value)] = index
            return index
        return self.known[id(value)]

    def node_of(self, atom: _Atom) -> int:
        """The node of an output, which may be a number."""
        return atom if isinstance(atom, int) else self.constant(jnp.asarray(atom.val))

    def add(self, jaxpr: ClosedJaxpr, operands: Sequence[_Atom], place: Place) -> list[_Atom]:
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

    def results(self, eqn: JaxprEqn, read: list[_Atom], place: Place) -> list[_Atom]:
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

    def operation(self, eqn: JaxprEqn, read: list[_Atom], place: Place) -> list[_Atom]:
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
            made.append(len(self.nodes))
            self.nodes.append(
                Node(
                    len(self.nodes),
                    "",
                    "operation",
                    tuple(aval.shape),
                    aval.dtype,
                    distinct(operands),
                    _without_last(scope, operation.name),
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
        self, eqn: JaxprEqn, nest: Nesting, read: list[_Atom], place: Place
    ) -> list[_Atom]:
        """Add what a loop or a branch does for the values at hand."""
        if nest.bodies[0].role == "branch":
            return self.branch(eqn, nest, read, place)
        if nest.bodies[0].role == "condition":
            return self.while_loop(eqn, nest, read, place)
        return self.scan(eqn, nest, read, place)

    def branch(self, eqn: JaxprEqn, nest: Nesting, read: list[_Atom], place: Place) -> Any:
        """Add what the branch that is taken does."""
        body = nest.bodies[int(self.value(read[0]))]
        return self.add(body.jaxpr, [read[i] for i in body.inputs], place.inside(eqn, body.label))

    def while_loop(self, eqn: JaxprEqn, nest: Nesting, read: list[_Atom], place: Place) -> Any:
        """Add each round of a loop, and each time its condition is asked."""
        condition, body = nest.bodies
        now, turn = list(read), 0
        while True:
            at = place.inside(eqn, f"{body.label}[{turn}]")
            (go_on,) = self.add(condition.jaxpr, [now[i] for i in condition.inputs], at)
            verdict = self.value(go_on)
            if not jnp.any(verdict):
                return [now[i] for i, _ in nest.carried]
            results = self.add(body.jaxpr, [now[i] for i in body.inputs], at)
            for i, result in nest.carried:
                after = results[result]
                # Under vmap each example stops on its own.
                is_mapped = jnp.ndim(verdict) > 0
                now[i] = self.apply(_chosen, [go_on, after, now[i]], at) if is_mapped else after
            turn += 1

    def scan(self, eqn: JaxprEqn, nest: Nesting, read: list[_Atom], place: Place) -> Any:
        """Add each round of a scan: slices go in, and what comes out is stacked."""
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

    def stacked(self, rows: list[_Atom], aval: Any, eqn: JaxprEqn, place: Place) -> _Atom:
        """Add the stack of what the rounds returned."""
        if not rows:
            return self.constant(jnp.zeros(aval.shape, aval.dtype))
        return self.apply(lambda *xs: jnp.stack(xs), rows, place.inside(eqn, ""))

    def apply(self, f: Callable[..., Any], operands: Sequence[_Atom], place: Place) -> _Atom:
        """Add the operations of a small function of this module's own."""
        given = [self.node_of(atom) for atom in operands]
        avals = [self.nodes[i].aval for i in given]
        return self.add(jax.make_jaxpr(f)(*avals), given, replace(place, is_ours=True))[0]

    def value(self, atom: _Atom) -> Any:
        """The value of an operand."""
        return self.values[atom] if isinstance(atom, int) else atom.val


def _without_last(scope: str, name: str) -> str:
    """A jitted function that is only the operation itself is no scope of its own."""
    before, _, last = scope.rpartition("/")
    return before if last == name else scope


def _chosen(verdict: Any, after: Any, before: Any) -> Any:
    rows = verdict.reshape(verdict.shape + (1,) * (after.ndim - verdict.ndim))
    return jnp.where(rows, after, before)


def _taking(turn: int) -> Callable[..., Any]:
    return lambda xs: lax.index_in_dim(xs, turn, 0, keepdims=False)
