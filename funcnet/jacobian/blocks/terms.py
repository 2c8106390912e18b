"""A Jacobian block as a sum of terms, each a nest of loops over its nonzero entries.

Number the entries of the output and of the input of an operation in row-major order. A
:class:`Term` says which entries of the Jacobian can differ from 0, and what they are, by a nest of
indices k, l, ...::

    J[row0 + row(k) + row(l) + ..., col0 + col(k) + col(l) + ...] = value[k, l, ...]

Each index has an extent, and adds to the row and to the column either a stride times itself or what
a table holds. A handful of kinds that look different are all of this one form:

* a diagonal has one index with strides 1 and 1; the identity has the constant 1 for a value;
* a dense matrix has two indices, one for the rows alone and one for the columns alone;
* a broadcast has an index that moves the row alone, a sum one that moves the column alone, and the
  value does not depend on it;
* ``I x W``, a batch, has an index that moves both and that the value does not depend on;
* a slice, a shift or a transposition is a diagonal with other strides and offsets, and a gather
  has a table.

So structure is a few small integers, whatever the size of the arrays; reshapes cost nothing, for
they change no number. The chain rule multiplies terms
(:mod:`funcnet.jacobian.blocks.composition`), and the sum over paths adds them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from funcnet.jacobian.blocks.values import Value, constant, total

__all__ = [
    "Block",
    "Coord",
    "Index",
    "Term",
    "added",
    "identity",
    "is_identity",
    "make_term",
    "offsets",
    "placed",
    "reach",
    "spread",
]

Coord: TypeAlias = "int | np.ndarray"
"""What an index adds to a coordinate: a stride times itself, or the entries of a table."""


@dataclass(frozen=True, eq=False)
class Index:
    """One index of a nest.

    Attributes:
        extent: It runs from 0 to this, exclusive.
        row: What it adds to the row.
        col: What it adds to the column.
    """

    extent: int
    row: Coord = 0
    col: Coord = 0

    @property
    def is_still(self) -> bool:
        """Whether it moves neither row nor column."""
        return _is_still(self.row) and _is_still(self.col)

    @property
    def transposed(self) -> Index:
        """Rows for columns."""
        return Index(self.extent, self.col, self.row)

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """What tells two indices apart."""
        return (self.extent, _key(self.row), _key(self.col))


@dataclass(frozen=True, eq=False)
class Term:
    """Entries of a Jacobian in a nest of indices; the module's docstring has the formula.

    Attributes:
        indices: The indices; none stands for a single entry.
        row0: The row where all indices are 0.
        col0: The column where all indices are 0.
        value: The entries, with an axis for each index.
    """

    indices: tuple[Index, ...]
    row0: int
    col0: int
    value: Value

    @property
    def extents(self) -> tuple[int, ...]:
        """The extent of each index."""
        return tuple(i.extent for i in self.indices)

    @property
    def nnz(self) -> int:
        """The number of entries in the nest."""
        return math.prod(self.extents)

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """What tells two nests apart, whatever the entries are."""
        return (self.row0, self.col0, tuple(i.key for i in self.indices))

    @property
    def transposed(self) -> Term:
        """The term of the transposed matrix."""
        swapped = [i.transposed for i in self.indices]
        return make_term(swapped, self.col0, self.row0, self.value) or self

    def rows(self) -> np.ndarray:
        """The row of each entry, in the row-major order of the nest."""
        return spread([i.row for i in self.indices], self.extents, self.row0)

    def cols(self) -> np.ndarray:
        """The column of each entry, in the row-major order of the nest."""
        return spread([i.col for i in self.indices], self.extents, self.col0)


@dataclass(frozen=True, eq=False)
class Block:
    """A Jacobian, or a part of one: the sum of its terms.

    Attributes:
        shape: The number of rows and of columns.
        terms: The terms, which may share entries.
    """

    shape: tuple[int, int]
    terms: tuple[Term, ...] = ()

    @cached_property
    def nnz(self) -> int:
        """The number of entries in all terms, shared ones counted as often as they come."""
        return sum(t.nnz for t in self.terms)

    @property
    def transposed(self) -> Block:
        """Rows for columns."""
        return Block((self.shape[1], self.shape[0]), tuple(t.transposed for t in self.terms))

    def scaled(self, factor: float) -> Block:
        """All entries times a number."""
        return Block(
            self.shape,
            tuple(Term(t.indices, t.row0, t.col0, t.value.scaled(factor)) for t in self.terms),
        )

    def positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of every entry of every term, in order."""
        rows = [t.rows() for t in self.terms]
        cols = [t.cols() for t in self.terms]
        none = np.zeros(0, np.int64)
        return np.concatenate([none, *rows]), np.concatenate([none, *cols])


def identity(size: int) -> Block:
    """The identity matrix."""
    term = make_term([Index(size, 1, 1)], 0, 0, constant(1.0, 1))
    return Block((size, size), () if term is None else (term,))


def is_identity(block: Block) -> bool:
    """Whether a block is the identity and says so."""
    if block.shape[0] != block.shape[1] or len(block.terms) != 1:
        return False
    (term,) = block.terms
    same = all(
        not isinstance(i.row, np.ndarray) and not isinstance(i.col, np.ndarray) and i.row == i.col
        for i in term.indices
    )
    is_one = term.value.node is None and term.value.scale == 1
    return same and is_one and term.nnz == block.shape[0] and term.row0 == term.col0 == 0


def added(blocks: Sequence[Block]) -> Block:
    """The sum of blocks of one shape; terms with the same nest become one."""
    if len(blocks) == 1:
        return blocks[0]
    nests: dict[Any, list[Term]] = {}
    for block in blocks:
        for term in block.terms:
            nests.setdefault(term.key, []).append(term)
    terms = [
        Term(same[0].indices, same[0].row0, same[0].col0, total([t.value for t in same]))
        for same in nests.values()
    ]
    return Block(blocks[0].shape, tuple(terms))


def make_term(indices: Iterable[Index], row0: int, col0: int, value: Value) -> Term | None:
    """Bring a nest into its normal form.

    Indices of one entry go into the offsets, tables that are strides become strides, indices that
    move nothing are summed over, outer indices move the row most, and neighbours that together
    count through one range become one index.

    Args:
        indices: The indices, an axis of `value` for each.
        row0: The row where all indices are 0.
        col0: The column where all indices are 0.
        value: The entries.

    Returns:
        The term, or None if it has no entries.
    """
    kept: list[Index] = []
    for index in indices:
        axis = len(kept)
        if index.extent == 0:
            return None
        row, row_start = _simple(index.row, index.extent)
        col, col_start = _simple(index.col, index.extent)
        row0, col0 = row0 + row_start, col0 + col_start
        if index.extent == 1 or (_is_still(row) and _is_still(col)):
            value = value.summed(axis, index.extent)
        else:
            kept.append(Index(index.extent, row, col))
    if value.node is None and value.scale == 0:
        return None
    order = sorted(range(len(kept)), key=lambda a: _precedence(kept[a]))
    value = value.transposed(order)
    nest: list[Index] = []
    for index in (kept[a] for a in order):
        axis = len(nest)
        if nest and _counts_on(nest[-1], index) and value.varies(axis - 1) == value.varies(axis):
            extent = nest[-1].extent * index.extent
            one = extent if value.varies(axis) else 1
            value = value.reshaped((*value.shape[: axis - 1], one, *value.shape[axis + 1 :]))
            nest[-1] = Index(extent, index.row, index.col)
        else:
            nest.append(index)
    return Term(tuple(nest), row0, col0, value)


def offsets(coord: Coord, extent: int) -> np.ndarray:
    """What an index adds to a coordinate, for each of its positions."""
    return coord if isinstance(coord, np.ndarray) else coord * np.arange(extent, dtype=np.int64)


def spread(coords: Sequence[Coord], extents: Sequence[int], start: int) -> np.ndarray:
    """The coordinate of every entry of a nest, in row-major order."""
    where = np.full(1, start, np.int64)
    for coord, extent in zip(coords, extents, strict=True):
        where = (where[:, None] + offsets(coord, extent)).ravel()
    return where


def placed(blocks: Sequence[Sequence[Block]]) -> Iterator[tuple[int, int, Block]]:
    """Rows of blocks as one matrix: each block with the row and the column where it starts."""
    row0 = 0
    for row in blocks:
        col0 = 0
        for block in row:
            yield row0, col0, block
            col0 += block.shape[1]
        row0 += row[0].shape[0] if row else 0


def _simple(coord: Coord, extent: int) -> tuple[Coord, int]:
    """A coordinate that starts at 0, a stride if it can be one, and where it started."""
    if not isinstance(coord, np.ndarray):
        return (coord if extent > 1 else 0), 0
    start = int(coord[0])
    if extent == 1:
        return 0, start
    step = int(coord[1]) - start
    if int(coord[-1]) - start == step * (extent - 1) and np.all(np.diff(coord) == step):
        return step, start
    least = int(coord.min())
    return (coord - least if least else coord), least


def _is_still(coord: Coord) -> bool:
    return not isinstance(coord, np.ndarray) and coord == 0


def reach(coord: Coord, extent: int) -> int:
    """How far an index moves a coordinate at most."""
    return int(np.ptp(coord)) if isinstance(coord, np.ndarray) else abs(coord) * (extent - 1)


def _precedence(index: Index) -> tuple[int, int]:
    return -reach(index.row, index.extent), -reach(index.col, index.extent)


def _counts_on(outer: Index, inner: Index) -> bool:
    """Whether one step of the outer index is the whole range of the inner one."""
    return all(
        not isinstance(a, np.ndarray) and not isinstance(b, np.ndarray) and a == b * inner.extent
        for a, b in ((outer.row, inner.row), (outer.col, inner.col))
    )


def _key(coord: Coord) -> Any:
    return coord.tobytes() if isinstance(coord, np.ndarray) else coord
