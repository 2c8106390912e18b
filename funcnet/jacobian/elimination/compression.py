"""A sparse Jacobian from few products: what the colours of its columns and rows are for.

Columns that share no row can go through the function together, as one tangent: whatever comes out
in a row belongs to the only one of them that has an entry there. Rows that share no column can be
pulled back together (Curtis, Powell & Reid 1974; Coleman & More 1983). A symmetric matrix, such as
a Hessian, gets on with fewer colours, for each of its entries stands in two places.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np

from funcnet.jacobian.blocks.dense import dense
from funcnet.jacobian.blocks.terms import Block, Index, make_term
from funcnet.jacobian.blocks.values import Value, Work, computed, constant
from funcnet.jacobian.coloring.one_sided import Coloring, Substitution, color_columns, color_rows
from funcnet.jacobian.coloring.symmetric import color_acyclic, color_star
from funcnet.jacobian.coloring.two_sided import color_both
from funcnet.jacobian.elimination.bundle import Bundle

__all__ = ["Colorist", "best_coloring", "compressed"]

_POOR = 0.1
"""Rows and columns together are tried where this share of the smaller side is not undercut."""

_WORTH_ROUNDING = 0.5
"""Substitution adds up errors of rounding, of large entries in small ones: it is taken only where
no more than this part of the products is left."""


class Colorist:
    """Colours patterns, each once: the same pattern may be met under many shapes and traces."""

    def __init__(self) -> None:
        self._made: dict[bytes, Coloring] = {}

    def best(
        self,
        rows: np.ndarray,
        cols: np.ndarray,
        shape: tuple[int, int],
        *,
        push: bool,
        pull: bool,
        symmetric: bool = False,
    ) -> Coloring:
        """As :func:`best_coloring`, remembered."""
        key = _digest(rows, cols, shape)
        coloring = self._made.get(key)
        if coloring is None or not _runs(coloring, push, pull, symmetric):
            coloring = best_coloring(rows, cols, shape, push=push, pull=pull, symmetric=symmetric)
            self._made[key] = coloring
        return coloring

    def learn(self, rows: np.ndarray, cols: np.ndarray, coloring: Coloring) -> None:
        """Remember a colouring that was made elsewhere."""
        self._made[_digest(rows, cols, coloring.shape)] = coloring


def _digest(rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]) -> bytes:
    made = hashlib.blake2b(repr(shape).encode(), digest_size=32)
    for indices in (rows, cols):
        made.update(np.ascontiguousarray(indices, np.int64).tobytes())
    return made.digest()


def _runs(coloring: Coloring, push: bool, pull: bool, symmetric: bool) -> bool:
    """Whether a function has the modes, and its Jacobian the symmetry, that a colouring needs."""
    modes = (push or not coloring.jvps) and (pull or not coloring.vjps)
    return modes and (symmetric or coloring.kind not in ("star", "acyclic"))


def best_coloring(
    rows: np.ndarray,
    cols: np.ndarray,
    shape: tuple[int, int],
    *,
    push: bool,
    pull: bool,
    symmetric: bool = False,
) -> Coloring:
    """The colouring that takes the fewest products.

    Args:
        rows: The row of each entry that can differ from 0.
        cols: Its column.
        shape: The shape of the Jacobian.
        push: Whether the function has a forward mode.
        pull: Whether it has a reverse mode.
        symmetric: Whether the Jacobian is symmetric, as that of a gradient.

    Returns:
        A colouring of columns, rows or both; of a symmetric pattern also a star colouring, or an
        acyclic one where that takes far fewer products.
    """
    symmetric = symmetric and push and _is_symmetric(rows, cols, shape)
    found = [color_columns(rows, cols, shape)] if push else []
    # Rows need as many colours as a column has entries.
    fewest = int(np.bincount(cols, minlength=1).max())
    if pull and not symmetric and not (found and found[0].count <= fewest):
        found.append(color_rows(rows, cols, shape))
    if push and pull and min(c.count for c in found) > max(4, _POOR * min(shape)):
        found.append(color_both(rows, cols, shape))
    if symmetric:
        found.append(color_star(rows, cols, shape[0]))
    best = min(found, key=lambda c: c.count)
    if symmetric and _WORTH_ROUNDING * best.count >= 2:  # one colour is enough for diagonals alone
        substituted = color_acyclic(rows, cols, shape[0])
        if substituted.count <= _WORTH_ROUNDING * best.count:
            return substituted
    return best


def _is_symmetric(rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]) -> bool:
    if shape[0] != shape[1]:
        return False
    here, mirrored = (np.unique(a * shape[1] + b) for a, b in ((rows, cols), (cols, rows)))
    return np.array_equal(here, mirrored)


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
        coloring: A colouring of that pattern.

    Returns:
        A row of blocks for each output.
    """
    row_ends, col_ends = (np.cumsum([0, *s]) for s in sizes)
    rows, cols = pattern
    products: list[Value] = []
    if coloring.jvps:
        seeds = _seeds(coloring.column_colors, coloring.jvps, col_ends)
        pushed = group.pushed_stacks(dict(enumerate(seeds)))
        products += [
            _or_zero(pushed, p, m, coloring.jvps) for p, m in zip(places, sizes[0], strict=True)
        ]
    if coloring.vjps:
        seeds = _seeds(coloring.row_colors, coloring.vjps, row_ends)
        given = {p: seed for p, seed in zip(places, seeds, strict=True) if p is not None}
        products += group.pulled_stacks(given)
    flat, where = _joined(products), coloring.gather
    if coloring.substitution is None:
        where = _turned(where, coloring)
    else:
        flat = _substituted(flat, coloring.substitution, coloring)
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


def _turned(where: np.ndarray, coloring: Coloring) -> np.ndarray:
    """Places in products: here a colour for each entry, where colourings count the other way."""
    height, width = coloring.shape
    start = coloring.jvps * height
    color, row = np.divmod(where.astype(np.int64), max(height, 1))
    pushed = row * coloring.jvps + color
    color, col = np.divmod(where.astype(np.int64) - start, max(width, 1))
    return np.where(where < start, pushed, start + col * coloring.vjps + color)


def _substituted(flat: Value, how: Substitution, coloring: Coloring) -> Value:
    """The unknowns of a symmetric matrix, from products that hold sums of them."""
    sums = flat.taken(0, _turned(how.index, coloring))

    def make(values: Any) -> Any:
        for i, (source, target) in enumerate(how.steps):
            taken = values[source]
            values = values.at[target].add(taken if i else -taken)
        return values

    moved = sum(len(source) for source, _ in how.steps)
    return computed(sums.shape, make, [sums], Work(moved, 3 * moved)) if how.steps else sums


def _listed(
    flat: Value, where: np.ndarray, rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]
) -> Block:
    if not len(where):
        return Block(shape)
    term = make_term([Index(len(where), rows, cols)], 0, 0, flat.taken(0, where))
    return Block(shape, () if term is None else (term,))
