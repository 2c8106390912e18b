"""Graphs in words: each operation as an expression, a graph as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.graph.node import Node, Operation
from funcnet.report import Table, format_number

if TYPE_CHECKING:
    from funcnet.graph.graph import Graph

__all__ = [
    "WRITTEN",
    "array_text",
    "describe",
    "expression",
    "is_plain_product",
    "number",
    "number_text",
    "short_source",
    "span_text",
    "type_of",
]


def describe(graph: Graph) -> Table:
    """All nodes of a graph as a table."""
    rows = [
        (
            node.name,
            expression(graph, node),
            type_of(node),
            node.scope,
            short_source(node),
        )
        for node in graph.nodes
    ]
    outputs = ", ".join(graph.nodes[i].name for i in graph.outputs)
    return Table(
        ["node", "is", "type", "scope", "line"],
        rows,
        title=f"{graph.name}({', '.join(graph.nodes[i].name for i in graph.inputs)}) -> {outputs}",
    )


def type_of(node: Node) -> str:
    """The dtype and shape of a node, such as ``float32[2, 3]``."""
    return f"{node.dtype}[{', '.join(map(str, node.shape))}]"


def short_source(node: Node) -> str:
    """The line that a node comes from, without folders, column and function."""
    file = node.source.replace("\\", "/").rpartition("/")[2].partition(" ")[0]
    return ":".join(file.split(":")[:2])


def expression(graph: Graph, node: Node) -> str:
    """What a node is computed as, in terms of its parents' names: ``x1 x2``, ``sin(x2)``."""
    operation = node.operation
    if operation is None:
        return node.kind
    read = [
        number_text(literal) if index is None else graph.nodes[index].name
        for index, literal in zip(operation.operands, operation.literals, strict=True)
    ]
    write = _EXPRESSIONS.get(operation.name) if operation.is_known else None
    text = f"{operation.name}({', '.join(read)})" if write is None else write(read, operation)
    return text if len(operation.eqn.outvars) == 1 else f"{text}[{operation.result}]"


def number_text(value: Any) -> str:
    """A number that is written in an operation."""
    array = np.asarray(value)
    if array.dtype == bool:
        return str(bool(array))
    return format_number(float(array)) if array.dtype.kind in "iuf" else str(array)


WRITTEN = 6
"""Arrays with no more entries than this are written out."""


def array_text(value: Any) -> Any:
    """A number; the entries of a small array; else its shape, its least and largest entry."""
    if jnp.issubdtype(value.dtype, jax.dtypes.extended):
        return str(value.dtype)
    array = np.asarray(value)
    if array.dtype.kind not in "iufbc":  # bfloat16 and its like, which NumPy does not know
        array = array.astype(np.float64)
    if array.ndim == 0:
        return array.item() if array.dtype.kind in "iuf" else str(array.item())
    if array.size <= WRITTEN:
        return _listed(array)
    is_complex = array.dtype.kind == "c"
    sizes = np.abs(array) if is_complex else array.astype(np.float64)
    shape = ", ".join(map(str, array.shape))
    return f"[{shape}], {'|.| ' * is_complex}{span_text(sizes)}"


def span_text(array: np.ndarray) -> str:
    """The least and the largest entry of real numbers; one number where all are that number."""
    least, most = float(np.min(array)), float(np.max(array))
    if least == most:
        return f"all {format_number(most)}"
    return f"{format_number(least)} to {format_number(most)}"


def number(value: Any) -> str:
    """What `array_text` gives, as a text."""
    text = array_text(value)
    return text if isinstance(text, str) else format_number(text)


def _listed(array: np.ndarray) -> str:
    if array.ndim == 0:
        return format_number(float(array)) if array.dtype.kind == "f" else str(array.item())
    return f"[{', '.join(map(_listed, array))}]"


# One function for each way to write an operation: names of operands and the operation to text.

_Write = Callable[[Sequence[str], Operation], str]


def _infix(sign: str) -> _Write:
    return lambda read, _: sign.join(read)


def _called(name: str) -> _Write:
    return lambda read, _: f"{name}({', '.join(read)})"


def _over_axes(name: str) -> _Write:
    def write(read: Sequence[str], operation: Operation) -> str:
        axes, operand = operation.eqn.params["axes"], operation.eqn.invars[0]
        rank = len(getattr(operand.aval, "shape", ()))
        along = "" if len(axes) == rank else f", axis={', '.join(map(str, axes))}"
        return f"{name}({read[0]}{along})"

    return write


def _power(read: Sequence[str], operation: Operation) -> str:
    return f"{read[0]}^{operation.eqn.params['y']}"


def is_plain_product(operation: Operation) -> bool:
    """Whether JAX's product of two arrays is ``x @ w`` for a matrix or vector w."""
    if operation.name != "dot_general":
        return False
    (left, right), batch = operation.eqn.params["dimension_numbers"]
    rank = len(getattr(operation.eqn.invars[0].aval, "shape", ()))
    return tuple(left) == (rank - 1,) and tuple(right) == (0,) and not any(map(len, batch))


def _product(read: Sequence[str], operation: Operation) -> str:
    return f"{read[0]} @ {read[1]}" if is_plain_product(operation) else f"dot({', '.join(read)})"


def _times(read: Sequence[str], operation: Operation) -> str:
    """A factor that is a number stands in front."""
    numbers_first = sorted(range(len(read)), key=lambda i: operation.operands[i] is not None)
    return " ".join(read[i] for i in numbers_first)


def _converted(read: Sequence[str], operation: Operation) -> str:
    return f"{np.dtype(operation.eqn.params['new_dtype'])}({read[0]})"


def _chosen(read: Sequence[str], operation: Operation) -> str:
    if len(read) != 3:
        return f"choose({', '.join(read)})"
    return f"where({read[0]}, {read[2]}, {read[1]})"


_EXPRESSIONS: dict[str, _Write] = {
    **dict.fromkeys(("add", "add_any"), _infix(" + ")),
    **dict.fromkeys(("sub", "subtract"), _infix(" - ")),
    **dict.fromkeys(("mul", "multiply"), _times),
    **dict.fromkeys(("div", "divide"), _infix(" / ")),
    **dict.fromkeys(("pow", "power"), _infix("^")),
    **dict.fromkeys(("neg", "negate"), lambda read, _: f"-{read[0]}"),
    **{name: _infix(f" {sign} ") for name, sign in zip(
        ("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "matmul", "linear"),
        ("<", "<=", ">", ">=", "==", "!=", "and", "or", "@", "@"),
        strict=True,
    )},
    "affine": lambda read, _: f"{read[0]} @ {read[1]} + {read[2]}",
    "reciprocal": lambda read, _: f"1 / {read[0]}",
    "square": lambda read, _: f"{read[0]}^2",
    "integer_pow": _power,
    "logistic": _called("sigmoid"),
    "dot_general": _product,
    "select_n": _chosen,
    "convert_element_type": _converted,
    "broadcast_in_dim": _called("broadcast"),
    "max": _called("max"),
    "reduce_sum": _over_axes("sum"),
    "reduce_max": _over_axes("max"),
    "reduce_min": _over_axes("min"),
    "reduce_prod": _over_axes("product"),
}  # fmt: skip
