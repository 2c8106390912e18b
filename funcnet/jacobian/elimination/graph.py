"""The graph of a linear program, and the elimination of its vertices.

The vertices are the arrays of the program, and an edge from u to v carries the block ``dv/du`` of
one operation. To eliminate a vertex is the chain rule at that place::

    dw/du += dw/dv dv/du        for all edges u -> v -> w

after which the vertex is gone. When only inputs and outputs are left, their edges are the Jacobian.
Any order gives the same result. From the inputs on it is forward mode, from the outputs back it
is reverse mode, and there are all the others; what they cost differs by orders of magnitude
(Griewank & Walther, Evaluating Derivatives, 2nd ed. 2008, chapter 9).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from jax.extend.core import JaxprEqn, Literal, Var

from funcnet.jacobian.blocks.composition import composed
from funcnet.jacobian.blocks.consolidation import consolidated
from funcnet.jacobian.blocks.terms import Block, added, identity, is_identity
from funcnet.jacobian.elimination.bundle import Bundle
from funcnet.jacobian.elimination.operation import Operation
from funcnet.jacobian.linearization import LinearProgram, aval_of
from funcnet.jacobian.operations.table import block_of, form_of
from funcnet.jacobian.sparsity.dependence import Dependence

__all__ = ["Edge", "EliminationGraph", "OverBudgetError", "graph_of"]

Edge: TypeAlias = "Block | Operation"
"""What stands on an edge: a block, or an operation that is not written down."""


class OverBudgetError(Exception):
    """An order of elimination takes more products than it may."""


class EliminationGraph:
    """Vertices numbered in topological order, with a block on each edge.

    Attributes:
        preds: For each vertex, the edges that lead to it, by where they come from.
        succs: For each vertex, the same edges by where they lead to.
        inputs: The vertices of the inputs.
        outputs: The vertices of the outputs.
        products: How many pairs of terms were multiplied so far.
        budget: After so many, elimination is given up.
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        self.preds: dict[int, dict[int, Edge]] = {}
        self.succs: dict[int, dict[int, Edge]] = {}
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.products, self.budget = 0, math.inf

    def copy(self) -> EliminationGraph:
        """Another graph with the same edges."""
        other = EliminationGraph(self.inputs, self.outputs)
        other.preds = {v: dict(edges) for v, edges in self.preds.items()}
        other.succs = {v: dict(edges) for v, edges in self.succs.items()}
        return other

    def connect(self, u: int, v: int, edge: Edge) -> None:
        """Add an edge, or add to the one that is there."""
        present = self.preds.setdefault(v, {}).get(u)
        if present is not None:
            edge = consolidated(added([_written(present), _written(edge)]))
        if isinstance(edge, Block) and not edge.terms:
            return
        self.preds[v][u] = edge
        self.succs.setdefault(u, {})[v] = edge

    def inner(self) -> list[int]:
        """The vertices that are neither inputs nor outputs, in topological order."""
        ends = {*self.inputs, *self.outputs}
        return sorted(v for v in {*self.preds, *self.succs} if v not in ends)

    def prune(self) -> None:
        """Drop the vertices that lie on no path from an input to an output."""
        from_inputs = _reached(self.inputs, self.succs)
        to_outputs = _reached(self.outputs, self.preds)
        for v in {*self.preds, *self.succs}:
            if v not in from_inputs or v not in to_outputs:
                self._remove(v)

    def eliminate(self, v: int) -> None:
        """Replace all paths through a vertex by edges around it.

        Raises:
            OverBudgetError: If that has taken too many products by now.
        """
        if self.products > self.budget:
            raise OverBudgetError
        arriving, leaving = self.preds.get(v, {}), self.succs.get(v, {})
        self._remove(v)
        for u, inner in arriving.items():
            for w, outer in leaving.items():
                self.products += _terms(outer) * _terms(inner)
                self.connect(u, w, chained(outer, inner))

    def _remove(self, v: int) -> None:
        for u in self.preds.pop(v, {}):
            del self.succs[u][v]
        for w in self.succs.pop(v, {}):
            del self.preds[w][v]

    def jacobian(self) -> list[list[Block | None]]:
        """A row for each output of the blocks by each input; None for no edge."""
        return [
            [
                _written(edge) if (edge := self.preds.get(out, {}).get(u)) is not None else None
                for u in self.inputs
            ]
            for out in self.outputs
        ]


def chained(outer: Edge, inner: Edge) -> Edge:
    """The edge of one operation after another."""
    if isinstance(inner, Block) and is_identity(inner):
        return outer
    if isinstance(outer, Block) and is_identity(outer):
        return inner
    if isinstance(outer, Operation) and isinstance(inner, Operation):
        first_outer = outer.price_block + outer.shape[0] * inner.price_pulled
        first_inner = inner.price_block + inner.shape[1] * outer.price_pushed
        # What is pulled back comes row by row, as full results lie.
        if first_outer <= first_inner:
            outer = outer.block
        else:
            inner = inner.block
    result: Block | None = None
    if isinstance(outer, Operation):
        assert isinstance(inner, Block)
        applied = inner.shape[1] * outer.price_pushed
        if not _pays_written(outer, inner, inner.shape[0], applied):
            result = outer.after(inner)
    elif isinstance(inner, Operation):
        applied = outer.shape[0] * inner.price_pulled
        if not _pays_written(inner, outer, outer.shape[1], applied):
            result = inner.before(outer)
    if result is None:
        result = composed(_written(outer), _written(inner))
    return consolidated(result)


def _terms(edge: Edge) -> int:
    return len(edge.terms) if isinstance(edge, Block) else 1


def _pays_written(operation: Operation, block: Block, middle: int, applied: float) -> bool:
    """Whether to write an operation down and multiply, instead of applying it to a block."""
    products = operation.price_of_entry * operation.nnz * block.nnz / max(middle, 1)
    return operation.price_written + products < applied


def graph_of(program: LinearProgram) -> EliminationGraph:
    """The elimination graph of a linear program, with one vertex more for each output."""
    number: dict[Var, int] = {v: i for i, v in enumerate(program.inputs)}
    n_inputs = len(number)
    units = _units(program)
    for _, outputs, _ in units:
        for v in outputs:
            number[v] = len(number)
    first = len(number)
    ends = list(range(first, first + len(program.outputs)))
    graph = EliminationGraph(range(n_inputs), ends)
    for inputs, made, equations in units:
        group: Bundle | None = None
        for result, out in enumerate(made):
            for place, v in enumerate(inputs):
                blocks = None
                if len(equations) == 1:
                    blocks = _blocks(program, equations[0], v, out)
                if blocks is None:
                    if group is None:
                        dependence = Dependence(program, equations, inputs, made)
                        group = Bundle(equations, inputs, made, dependence)
                    form = _form(program, equations, v)
                    graph.connect(number[v], number[out], Operation(group, place, result, form))
                else:
                    graph.connect(number[v], number[out], added(blocks))
    for vertex, end in zip(ends, program.outputs, strict=True):
        if end is not None:
            graph.connect(number[end], vertex, identity(aval_of(end).size))
    graph.prune()
    return graph


def _blocks(program: LinearProgram, eqn: JaxprEqn, v: Var, out: Var) -> list[Block] | None:
    """The blocks of a result by all operands that are one variable; None if one is not known."""
    result = eqn.outvars.index(out)
    blocks = [block_of(program, eqn, i, result) for i, x in enumerate(eqn.invars) if x is v]
    known = [b for b in blocks if b is not None]
    return known if len(known) == len(blocks) else None


def _form(program: LinearProgram, equations: Sequence[JaxprEqn], v: Var) -> Block | None:
    """The closed form of an operation by one of its operands, if there is one."""
    if len(equations) != 1:
        return None
    (eqn,) = equations
    (place, *again) = [i for i, x in enumerate(eqn.invars) if x is v]
    return None if again else form_of(program, eqn, place)


Unit: TypeAlias = tuple[list[Var], list[Var], list[JaxprEqn]]


def _units(program: LinearProgram) -> list[Unit]:
    """The operations that are treated as one: all that share complex numbers, and each other alone.

    Taking the real part is not linear over the complex numbers, so that blocks of them would need
    two by two entries for each: what is complex stays inside.
    """
    equations = program.equations
    linear_in = [program.operands(e) for e in equations]
    is_complex = [
        any(aval_of(v).dtype.kind == "c" for v in [*ins, *e.outvars])
        for ins, e in zip(linear_in, equations, strict=True)
    ]
    if not any(is_complex):
        return [_unit(ins, e) for ins, e in zip(linear_in, equations, strict=True)]
    first = [e for e, c in zip(equations, is_complex, strict=True) if c]
    after = _downstream(equations, {v for e in first for v in e.outvars})
    before = _upstream(equations, {v for e in first for v in e.invars if program.is_linear(v)})
    group = [e for e in equations if any(e is x for x in first) or id(e) in after & before]
    grouped = {id(e) for e in group}
    made = {v for e in group for v in e.outvars}
    read = [v for e in group for v in program.operands(e) if v not in made]
    others = [(ins, e) for ins, e in zip(linear_in, equations, strict=True) if id(e) not in grouped]
    shown = [v for ins, _ in others for v in ins if v in made]
    shown += [v for v in program.outputs if v is not None and v in made]
    whole: Unit = (list(dict.fromkeys(read)), list(dict.fromkeys(shown)), group)
    single = [_unit(ins, e) for ins, e in others]
    early = [unit for unit in single if id(unit[2][0]) not in after]
    return [*early, whole, *(unit for unit in single if id(unit[2][0]) in after)]


def _unit(inputs: Sequence[Var], eqn: JaxprEqn) -> Unit:
    return list(inputs), list(eqn.outvars), [eqn]


def _downstream(equations: Sequence[JaxprEqn], reached: set[Any]) -> set[int]:
    """The operations that need one of some variables."""
    found, reached = set(), set(reached)
    for e in equations:
        if any(not isinstance(v, Literal) and v in reached for v in e.invars):
            found.add(id(e))
            reached.update(e.outvars)
    return found


def _upstream(equations: Sequence[JaxprEqn], needed: set[Any]) -> set[int]:
    """The operations that one of some variables needs."""
    found, needed = set(), set(needed)
    for e in reversed(equations):
        if any(v in needed for v in e.outvars):
            found.add(id(e))
            needed.update(v for v in e.invars if not isinstance(v, Literal))
    return found


def _reached(start: Sequence[int], edges: dict[int, dict[int, Edge]]) -> set[int]:
    found, waiting = set(start), list(start)
    while waiting:
        for v in edges.get(waiting.pop(), {}):
            if v not in found:
                found.add(v)
                waiting.append(v)
    return found


def _written(edge: Edge) -> Block:
    return edge.block if isinstance(edge, Operation) else edge
