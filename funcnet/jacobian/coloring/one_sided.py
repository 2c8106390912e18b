"""Sparse Jacobians from few products: columns or rows of one colour share one.

Columns that share no row can be pushed forward together: each entry of ``J s``, where the seed s is
1 at these columns and 0 elsewhere, then holds one nonzero entry of J and nothing else. They get one
colour, and cost one JVP. Rows that share no column get one colour, and cost one VJP.
:mod:`funcnet.jacobian.coloring.two_sided` has columns and rows at once,
:mod:`funcnet.jacobian.coloring.symmetric` gets on with fewer colours for Hessians.

A pattern is given by two arrays of indices and a shape, in any order, duplicates and all. A
colouring says where each of its entries stands in the products, so that to read the Jacobian is to
take entries of an array by an index known beforehand::

    values = concatenate([jvps.ravel(), vjps.ravel()])[coloring.gather]

where ``jvps[c]`` is J times the seed of column colour c, and ``vjps[c]`` the seed of row colour c
times J.

References:
    Curtis, Powell and Reid 1974, On the estimation of sparse Jacobian matrices. Gebremedhin, Manne
    and Pothen 2005, What color is your Jacobian? Graph coloring for computing derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.jacobian.coloring.first_fit import Order, count_colors, first_fit

__all__ = [
    "Coloring",
    "Kind",
    "Substitution",
    "check_options",
    "check_pattern",
    "color_columns",
    "color_rows",
    "decompress",
    "narrow",
    "place",
]

Kind: TypeAlias = Literal["column", "row", "bi", "star", "acyclic"]
"""What is coloured: columns, rows, both, or the columns of a symmetric pattern."""


@dataclass(frozen=True, eq=False)
class Substitution:
    """How unknowns follow from products that hold sums of them.

    Attributes:
        index: Where the sum that each unknown is part of stands in the products, all flat.
        steps: Pairs of positions, from and to, among the unknowns. The first step subtracts the
            values at the first positions from those at the second, all others add them.
    """

    index: np.ndarray
    steps: tuple[tuple[np.ndarray, np.ndarray], ...]


@dataclass(frozen=True, eq=False)
class Coloring:
    """Which products give a sparse Jacobian, and where its entries stand in them.

    Attributes:
        kind: What is coloured.
        shape: The shape of the Jacobian.
        column_colors: The colour of each column, int32; -1 for a column that is in no JVP.
        row_colors: The colour of each row, int32; -1 for a row that is in no VJP.
        jvps: The number of column colours.
        vjps: The number of row colours.
        gather: Where each entry of the pattern stands, in the order given: in the JVPs, of shape
            ``(jvps, shape[0])``, followed by the VJPs, of shape ``(vjps, shape[1])``, all flat; or
            among the unknowns of the substitution, if there is one.
        substitution: What comes before, for ``"acyclic"`` alone.
    """

    kind: Kind
    shape: tuple[int, int]
    column_colors: np.ndarray
    row_colors: np.ndarray
    jvps: int
    vjps: int
    gather: np.ndarray
    substitution: Substitution | None = None

    @property
    def count(self) -> int:
        """The number of products in all."""
        return self.jvps + self.vjps

    @property
    def colors(self) -> np.ndarray:
        """The colours of the rows where only rows have any, otherwise those of the columns."""
        return self.row_colors if self.kind == "row" else self.column_colors


def color_columns(
    rows: np.ndarray,
    cols: np.ndarray,
    shape: tuple[int, int],
    *,
    order: Order | None = None,
    iterations: int = 4,
) -> Coloring:
    """Colour columns so that no two that share a row have the same colour.

    Columns take turns, and each takes the first colour that is free. No colouring has fewer colours
    than the longest row has entries: once that number is reached, the search ends.

    Args:
        rows: The row of each entry that can differ from 0.
        cols: Its column.
        shape: The shape of the Jacobian.
        order: Who comes first: ``"natural"``, as numbered; ``"largest_first"``, who has most
            neighbours; ``"smallest_last"``, such that few neighbours come before each;
            ``"incidence"``, who has most neighbours that had their turn; ``"saturation"``, whose
            neighbours have most colours; ``"random"``, seeded. None tries the natural one, the
            largest first and, unless the pattern is large, saturation, and keeps the best.
        iterations: Rounds of turns by colour, which never lead to more colours.

    Returns:
        The colouring, the same for the same arguments.

    Raises:
        ShapeError: `rows` and `cols` are not two vectors of one length.
        DTypeError: They do not hold integers.
        ArgumentError: An index lies outside of `shape`, or an option is unknown.

    Example:
        >>> coloring = color_columns(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 2, 2]), (3, 3))
        >>> coloring.count, coloring.colors.tolist(), coloring.gather.tolist()
        (2, [0, 1, 0], [0, 3, 4, 1, 2])

    References:
        Brélaz 1979, New methods to color the vertices of a graph (saturation). Culberson 1992,
        Iterated greedy graph coloring and the difficulty landscape.
    """
    rows, cols, (m, n) = check_pattern("color_columns", rows, cols, shape)
    check_options("color_columns", order, iterations)
    colors = first_fit(rows, cols, (m, n), order, iterations)
    return Coloring(
        kind="column",
        shape=(m, n),
        column_colors=colors,
        row_colors=np.full(m, -1, np.int32),
        jvps=count_colors(colors),
        vjps=0,
        gather=narrow(place(colors[cols], rows, m)),
    )


def color_rows(
    rows: np.ndarray,
    cols: np.ndarray,
    shape: tuple[int, int],
    *,
    order: Order | None = None,
    iterations: int = 4,
) -> Coloring:
    """Colour rows so that no two that share a column have the same colour.

    The colours are those of the columns of the transpose.

    Args:
        rows: The row of each entry that can differ from 0.
        cols: Its column.
        shape: The shape of the Jacobian.
        order: Who comes first, see :func:`color_columns`.
        iterations: Rounds of turns by colour.

    Returns:
        The colouring, the same for the same arguments.

    Raises:
        ShapeError: `rows` and `cols` are not two vectors of one length.
        DTypeError: They do not hold integers.
        ArgumentError: An index lies outside of `shape`, or an option is unknown.

    Example:
        >>> color_rows(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]), (3, 2)).colors.tolist()
        [0, 1, 0]
    """
    rows, cols, (m, n) = check_pattern("color_rows", rows, cols, shape)
    check_options("color_rows", order, iterations)
    turned = color_columns(cols, rows, (n, m), order=order, iterations=iterations)
    return replace(
        turned,
        kind="row",
        shape=(m, n),
        column_colors=turned.row_colors,
        row_colors=turned.column_colors,
        jvps=0,
        vjps=turned.jvps,
    )


def decompress(coloring: Coloring, jvps: Any, vjps: Any = None) -> np.ndarray:
    """Read the entries of a Jacobian from its products, in NumPy.

    Args:
        coloring: The colouring.
        jvps: J times the seed of each column colour, of shape ``(coloring.jvps, m)``.
        vjps: The seed of each row colour times J, of shape ``(coloring.vjps, n)``. Either may be
            None where there are none.

    Returns:
        The value of each entry of the pattern, in the order in which they were given.

    Raises:
        ShapeError: The products are not as many, or not as long, as the colouring says.

    Example:
        >>> coloring = color_columns(np.array([0, 1, 1]), np.array([0, 0, 1]), (2, 2))
        >>> jacobian = np.array([[3.0, 0.0], [4.0, 5.0]])
        >>> jvps = [jacobian @ (coloring.colors == c) for c in range(coloring.jvps)]
        >>> decompress(coloring, jvps).tolist()
        [3.0, 4.0, 5.0]
    """
    m, n = coloring.shape
    products = []
    for name, given, shape in (
        ("jvps", jvps, (coloring.jvps, m)),
        ("vjps", vjps, (coloring.vjps, n)),
    ):
        if given is None or not len(given):
            given = np.zeros((0, shape[1]))
        if np.shape(given) != shape:
            raise ShapeError(
                f"decompress: {name} has shape {np.shape(given)}, but the colouring of kind "
                f"{coloring.kind!r} has products of shape {shape}; give one per colour"
            )
        if shape[0]:
            products.append(np.asarray(given).ravel())
    values = np.concatenate(products) if products else np.zeros(0)
    if coloring.substitution is not None:
        values = values[coloring.substitution.index]
        for i, (source, target) in enumerate(coloring.substitution.steps):
            taken = values[source]
            np.add.at(values, target, taken if i else -taken)
    return values[coloring.gather]


def check_pattern(
    function: str, rows: Any, cols: Any, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """A pattern as two vectors of int64 and two integers.

    Args:
        function: Who asks, for the message.
        rows: The row of each entry.
        cols: Its column.
        shape: The shape of the Jacobian.

    Returns:
        The rows, the columns and the shape.

    Raises:
        ShapeError: `rows` and `cols` are not two vectors of one length.
        DTypeError: They do not hold integers.
        ArgumentError: An index lies outside of `shape`.
    """
    rows, cols = np.asarray(rows), np.asarray(cols)
    if rows.ndim != 1 or rows.shape != cols.shape:
        raise ShapeError(
            f"{function}: rows has shape {rows.shape} and cols {cols.shape}; give two vectors with "
            "one index per entry"
        )
    m, n = int(shape[0]), int(shape[1])
    for name, indices, size in (("rows", rows, m), ("cols", cols, n)):
        if not len(indices):
            continue  # an empty list has the dtype of floats
        if not np.issubdtype(indices.dtype, np.integer):
            raise DTypeError(
                f"{function}: {name} has dtype {indices.dtype}; give integers, such as those of "
                "numpy.nonzero"
            )
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= size:
            raise ArgumentError(
                f"{function}: {name} holds {low if low < 0 else high}, but the shape is {(m, n)}; "
                f"give indices from 0 to {size - 1}"
            )
    return rows.astype(np.int64), cols.astype(np.int64), (m, n)


def check_options(function: str, order: Order | None, iterations: int) -> None:
    """Raise unless the order is known and the number of rounds is one.

    Args:
        function: Who asks, for the message.
        order: Who comes first.
        iterations: Rounds of turns by colour.

    Raises:
        ArgumentError: One of them is not possible.
    """
    if order is not None and order not in get_args(Order):
        raise ArgumentError(
            f"{function}: order is {order!r}; give None or one of {', '.join(get_args(Order))}"
        )
    if iterations < 0:
        raise ArgumentError(f"{function}: iterations is {iterations}; give 0 or more")


def place(colors: np.ndarray, entries: np.ndarray, length: int) -> np.ndarray:
    """Where entries of products stand, once these are flat.

    Args:
        colors: The colour of the product of each.
        entries: Which entry of the product it is.
        length: The length of a product.

    Returns:
        Indices, int64: as int32, in which colours are, they might overflow.
    """
    return colors.astype(np.int64) * length + entries


def narrow(indices: np.ndarray) -> np.ndarray:
    """Indices as int32 where that holds them, which is what JAX takes by default.

    Args:
        indices: Integers from 0.

    Returns:
        The same, as int32 or int64.
    """
    fits = int(indices.max(initial=0)) <= np.iinfo(np.int32).max
    return indices.astype(np.int32 if fits else np.int64)
