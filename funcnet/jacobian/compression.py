"""A sparse Jacobian from few products: what the colours of its columns and rows are for.

Columns that share no row can go through the function together, as one tangent: whatever comes out
in a row belongs to the only one of them that has an entry there. Rows that share no column can be
pulled back together (Curtis, Powell & Reid 1974; Coleman & More 1983).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np

from funcnet.jacobian.bicoloring import color_both
from funcnet.jacobian.bundle import Bundle
from funcnet.jacobian.coloring import Coloring, color_columns, color_rows
from funcnet.jacobian.dense import dense
from funcnet.jacobian.terms import Block, Index, make_term
from funcnet.jacobian.values import Value, Work, computed, constant

__all__ = ["best_coloring", "compressed"]

_POOR = 0.1
"""Rows and columns together are tried where this share of the smaller side is not undercut."""


def best_coloring(
    rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int], *, push: bool, pull: bool
) -> Coloring:
    """The colouring that takes the fewest products.

    Args:
        rows: The row of each entry that can differ from 0.
        cols: Its column.
        shape: The shape of the Jacobian.
        push: Whether the function has a forward mode.
        pull: Whether it has a reverse mode.

    Returns:
        A colouring of columns, rows or both.
    """
    if not pull:
        return color_columns(rows, cols, shape)
    if not push:
        return color_rows(rows, cols, shape)
    found = [color_columns(rows, cols, shape), color_rows(rows, cols, shape)]
    if min(c.count for c in found) > max(4, _POOR * min(shape)):
        found.append(color_both(rows, cols, shape))
    return min(found, key=lambda c: c.count)


def compressed(
    group: Bundle,
    places: Sequence[int | None],
    sizes: tuple[Sequence[int], Sequence[int]],
    pattern: tuple[np.ndarray, np.ndarray],
    coloring: Coloring,
) -> list[list[Block]]:
    """The blocks of a Jacobian with a known pattern.

    Args:
        group: The linear program as one operation.
        places: Which output of the group each output of the program is; None for one that is 0.
        sizes: The sizes of the outputs and of the inputs.
        pattern: Rows and columns of the entries, outputs and inputs one after the other.
        coloring: A colouring of that pattern by columns, rows or both.

    Returns:
        A row of blocks for each output.
    """
    row_ends, col_ends = (np.cumsum([0, *s]) for s in sizes)
    rows, cols = pattern
    products: list[Value] = []
    where = np.zeros(len(rows), np.int64)
    # The products come with an entry of the output in each row; colours were counted the other way.
    height, width = int(row_ends[-1]), int(col_ends[-1])
    in_jvps = coloring.gather < coloring.jvps * height
    if coloring.jvps:
        seeds = _seeds(coloring.column_colors, coloring.jvps, col_ends)
        pushed = group.pushed_stacks(dict(enumerate(seeds)))
        products += [
            _or_zero(pushed, p, m, coloring.jvps) for p, m in zip(places, sizes[0], strict=True)
        ]
        color = coloring.gather // max(height, 1)
        where = np.where(in_jvps, rows * coloring.jvps + color, where)
    if coloring.vjps:
        seeds = _seeds(coloring.row_colors, coloring.vjps, row_ends)
        given = {p: seed for p, seed in zip(places, seeds, strict=True) if p is not None}
        products += group.pulled_stacks(given)
        start = coloring.jvps * height
        color = (coloring.gather - start) // max(width, 1)
        where = np.where(in_jvps, where, start + cols * coloring.vjps + color)
    flat = _joined(products)
    blocks = []
    for k, m in enumerate(sizes[0]):
        line = []
        for i, n in enumerate(sizes[1]):
            here = (row_ends[k] <= rows) & (rows < row_ends[k + 1])
            here &= (col_ends[i] <= cols) & (cols < col_ends[i + 1])
            line.append(
                _listed(
                    flat, where[here], rows[here] - row_ends[k], cols[here] - col_ends[i], (m, n)
                )
            )
        blocks.append(line)
    return blocks


def _seeds(colors: np.ndarray, count: int, ends: np.ndarray) -> list[Value]:
    """For each array, the sum of the unit vectors of each colour, as columns."""
    seeds = []
    for start, end in pairwise(ends):
        own = colors[start:end]
        (used,) = np.nonzero(own >= 0)
        term = make_term([Index(len(used), used, own[used])], 0, 0, constant(1.0, 1))
        shape = (int(end - start), count)
        seeds.append(dense(Block(shape, () if term is None else (term,))))
    return seeds


def _or_zero(stacks: Sequence[Value], place: int | None, size: int, count: int) -> Value:
    return dense(Block((size, count))) if place is None else stacks[place]


def _joined(products: Sequence[Value]) -> Value:
    size = sum(v.shape[0] * v.shape[1] for v in products)

    def make(*arrays: Any) -> Any:
        return jnp.concatenate([x.reshape(-1) for x in arrays])

    return computed((size,), make, products, Work(0, 2 * size))


def _listed(
    flat: Value, where: np.ndarray, rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]
) -> Block:
    if not len(where):
        return Block(shape)
    term = make_term([Index(len(where), rows, cols)], 0, 0, flat.taken(0, where))
    return Block(shape, () if term is None else (term,))
