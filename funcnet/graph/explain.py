"""The lecture's table: every value forwards, every adjoint backwards, as a sum over edges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from funcnet.graph.graph import Graph
from funcnet.graph.node import Node, Operation
from funcnet.graph.sweeps import Adjoints, Values, carriers, unit_cotangent
from funcnet.graph.text import array_text, expression, is_plain_product, number, number_text
from funcnet.graph.tracing import trace
from funcnet.report import Table
from funcnet.typing import PyTree

__all__ = ["Explanation", "Summand", "contribution", "explain", "summands"]


@dataclass(frozen=True)
class Explanation:
    """Backpropagation through one function at one point, step by step; prints itself.

    Attributes:
        graph: The function.
        values: The value of every node.
        adjoints: The adjoint of every node, and the contribution of every edge.
        forward: Step 1 as a table.
        backward: Step 2 as a table.
    """

    graph: Graph
    values: Values
    adjoints: Adjoints
    forward: Table
    backward: Table

    def __str__(self) -> str:
        return f"{self.forward}\n\n{self.backward}"

    def _repr_html_(self) -> str:
        """Return both tables as HTML: notebooks look for this name."""
        return self.forward._repr_html_() + self.backward._repr_html_()


def explain(
    f: Callable[..., Any], *args: Any, cotangent: PyTree = None, unroll: bool = False
) -> Explanation:
    """Show backpropagation as the lecture does: each intermediate, each adjoint, each path.

    Step 1 computes the nodes in topological order. Step 2 visits them in reverse: the adjoint of
    a node is the sum of what comes back along the edges out of it, ``P1 + P2 + ...``, and each of
    these is the adjoint at the far end times a local derivative.

    Args:
        f: Any function that JAX can trace.
        *args: Its arguments.
        cotangent: The cotangent of the output; 1 everywhere without it.
        unroll: Follow loops and branches, as in `trace`.

    Returns:
        An `Explanation`: print it, or show it in a notebook.

    Raises:
        ArgumentError: `f` cannot be traced, or an operation has no reverse mode.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.graph import explain
        >>> def f(x1, x2):
        ...     return jnp.sin(x2) + x1 * x2
        >>> print(explain(f, 2.0, 0.5))
        Step 1, forward: values in topological order
        node  is        value
        ----  -------  ------
        x1    input         2
        x2    input       0.5
        a1    sin(x2)  0.4794
        a2    x1 x2         1
        a3    a1 + a2   1.479
        <BLANKLINE>
        Step 2, backward: adjoints in reverse order
        adjoint  is               value
        -------  --------------  ------
        a3_bar   1                    1
        a2_bar   a3_bar               1
        a1_bar   a3_bar               1
        x2_bar   P1 + P2          2.878
        P1       a1_bar cos(x2)  0.8776
        P2       a2_bar x1            2
        x1_bar   a2_bar x2          0.5
    """
    graph = trace(f, *args, unroll=unroll)
    values = graph.forward(*args)
    if cotangent is None:
        cotangent = unit_cotangent(values)
    adjoints = graph.backward(values, cotangent)
    rows = [(node.name, expression(graph, node), array_text(values[node])) for node in graph.nodes]
    forward = Table(
        ["node", "is", "value"], rows, title="Step 1, forward: values in topological order"
    )
    backward = Table(
        ["adjoint", "is", "value"],
        list(_backward_rows(graph, adjoints)),
        title="Step 2, backward: adjoints in reverse order",
    )
    return Explanation(graph, values, adjoints, forward, backward)


def _backward_rows(graph: Graph, adjoints: Adjoints) -> Iterator[tuple[Any, ...]]:
    for node in reversed(graph.nodes):
        if node.index not in graph.active:
            continue
        terms = summands(graph, adjoints, node)
        name, value = f"{node.name}_bar", array_text(adjoints.node[node])
        if len(terms) < 2:
            yield name, terms[0].text if terms else "0", value
            continue
        yield name, " + ".join(f"P{k + 1}" for k in range(len(terms))), value
        for k, term in enumerate(terms):
            yield f"P{k + 1}", term.text, array_text(term.value)


class Summand(NamedTuple):
    """One of the terms whose sum is the adjoint of a node.

    Attributes:
        child: The node that it comes back from; None for the cotangent of an output.
        text: What it is, in symbols.
        value: What it is, in numbers.
    """

    child: Node | None
    text: str
    value: Any


def summands(graph: Graph, adjoints: Adjoints, node: Node) -> list[Summand]:
    """The terms ``P1 + P2 + ...`` whose sum is the adjoint of a node.

    Args:
        graph: The graph.
        adjoints: What `Graph.backward` returned.
        node: The node.

    Returns:
        One for each edge out of the node along which a derivative comes back, and one for the
        cotangent of an output.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.graph import summands, trace
        >>> graph = trace(lambda x1, x2: jnp.sin(x2) + x1 * x2, 2.0, 0.0)
        >>> adjoints = graph.backward(graph.forward(2.0, 0.0))
        >>> [(term.text, float(term.value)) for term in summands(graph, adjoints, graph["x2"])]
        [('a1_bar cos(x2)', 1.0), ('a2_bar x1', 2.0)]
    """
    terms = [
        Summand(child, contribution(graph, child, node), adjoints.edge[node, child])
        for child in (graph.nodes[i] for i in graph.children[node.index])
        if node.index in carriers(child)
    ]
    if node.index in adjoints.given:
        seed = adjoints.given[node.index]
        terms.insert(0, Summand(None, number(seed), seed))
    return terms


# What an edge hands back, in symbols


def contribution(graph: Graph, node: Node, parent: Node) -> str:
    """What a node hands back to a parent, in terms of its adjoint: ``a2_bar x1``."""
    operation = node.operation
    assert operation is not None
    names = [
        number_text(literal) if index is None else graph.nodes[index].name
        for index, literal in zip(operation.operands, operation.literals, strict=True)
    ]
    places = [i for i, index in enumerate(operation.operands) if index == parent.index]
    ranks = [len(getattr(v.aval, "shape", ())) for v in operation.eqn.invars]
    alias = "matmul" if is_plain_product(operation) else operation.name
    write = _PULLED.get(alias, _unknown) if operation.is_known else _unknown
    bar = f"{node.name}_bar"
    return " + ".join(
        write(_Edge(bar, names, node.name, place, ranks, parent, operation)) for place in places
    )


class _Edge(NamedTuple):
    """What an edge is written with: names, and how many axes the operands have."""

    bar: str
    x: Sequence[str]
    y: str
    place: int
    ranks: Sequence[int]
    parent: Node
    operation: Operation


_Write = Callable[[_Edge], str]


def _unknown(edge: _Edge) -> str:
    return f"{edge.bar} d{edge.y}/d{edge.x[edge.place]}"


def _per_operand(*texts: str) -> _Write:
    """A text for each operand, with {bar}, {x[0]}, {x[1]}, {y} and {shape} in it."""
    return lambda edge: texts[min(edge.place, len(texts) - 1)].format(
        bar=edge.bar, x=edge.x, y=edge.y, shape=list(edge.parent.shape), dtype=edge.parent.dtype
    )


def _product(edge: _Edge) -> str:
    """Of ``x @ w`` and ``x @ w + b``; a vector has no transpose."""
    (x, w), (left, right), bar = edge.x[:2], edge.ranks[:2], edge.bar
    if edge.place == 2:
        return bar if left == 1 else f"sum({bar})"
    if left == right == 1:
        return f"{bar} {w if edge.place == 0 else x}"
    if edge.place == 0:
        return f"outer({bar}, {w})" if right == 1 else f"{bar} @ {w}^T"
    return f"outer({x}, {bar})" if left == 1 else f"{x}^T @ {bar}"


def _power(edge: _Edge) -> str:
    n = edge.operation.eqn.params["y"]
    return f"{edge.bar} {n} {edge.x[0]}" + (f"^{n - 1}" if n != 2 else "")


_PULLED: dict[str, _Write] = {
    **dict.fromkeys(("add", "add_any", "copy"), _per_operand("{bar}")),
    **dict.fromkeys(("sub", "subtract"), _per_operand("{bar}", "-{bar}")),
    **dict.fromkeys(("neg", "negate"), _per_operand("-{bar}")),
    **dict.fromkeys(("mul", "multiply"), _per_operand("{bar} {x[1]}", "{bar} {x[0]}")),
    **dict.fromkeys(("div", "divide"), _per_operand("{bar} / {x[1]}", "-{bar} {y} / {x[1]}")),
    "inner": _per_operand("{bar} {x[1]}", "{bar} {x[0]}"),
    "reciprocal": _per_operand("-{bar} {y}^2"),
    "square": _per_operand("{bar} 2 {x[0]}"),
    "sin": _per_operand("{bar} cos({x[0]})"),
    "cos": _per_operand("-{bar} sin({x[0]})"),
    "exp": _per_operand("{bar} {y}"),
    "log": _per_operand("{bar} / {x[0]}"),
    "sqrt": _per_operand("{bar} / (2 {y})"),
    "tanh": _per_operand("{bar} (1 - {y}^2)"),
    **dict.fromkeys(("logistic", "sigmoid"), _per_operand("{bar} {y} (1 - {y})")),
    "log_sigmoid": _per_operand("{bar} sigma(-{x[0]})"),
    "relu": _per_operand("{bar} [{x[0]} > 0]"),
    **dict.fromkeys(("linear", "matmul", "affine"), _product),
    **dict.fromkeys(("reduce_sum", "sum"), _per_operand("broadcast({bar}, {shape})")),
    "broadcast_in_dim": _per_operand("sum({bar})"),
    **dict.fromkeys(("reshape", "squeeze"), _per_operand("reshape({bar}, {shape})")),
    "convert_element_type": _per_operand("{dtype}({bar})"),
    "integer_pow": _power,
    "transpose": _per_operand("{bar}^T"),
}  # fmt: skip
