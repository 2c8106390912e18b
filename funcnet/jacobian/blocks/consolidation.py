"""Fewer terms for the same block.

Sums over many paths leave many terms behind, and every product with them takes as many steps. Where
they fill a matrix, or a batch of matrices, one dense term is cheaper; where they are many and
sparse, one list of entries is.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from funcnet.jacobian.blocks.dense import dense
from funcnet.jacobian.blocks.terms import Block, Index, Term, make_term, reach
from funcnet.jacobian.blocks.values import Value, Work, computed, written

__all__ = ["consolidated", "listed"]

_MOST_DENSE = 4
_MOST_SPARSE = 32
"""Blocks with no more terms than this are left as they are."""

_LARGEST_CHECKED = 1 << 24
"""Larger blocks are neither searched for zeros nor listed entry by entry."""


def consolidated(block: Block) -> Block:
    """The same block in few terms."""
    if len(block.terms) <= _MOST_DENSE:
        return block
    batch = _batch(block)
    parts = _side_by_side(block, batch)
    if _covers_all(parts):
        return _filled(block, parts, batch)
    many = len(block.terms) > _MOST_SPARSE and block.nnz <= _LARGEST_CHECKED
    return listed(block) if many else block


def listed(block: Block) -> Block:
    """All entries in one term with one index, each place once."""
    rows, cols = block.positions()
    if not len(rows):
        return Block(block.shape)
    flat = rows * block.shape[1] + cols
    places, groups = np.unique(flat, return_inverse=True)
    entries = [written(t.value, t.extents) for t in block.terms]
    value = computed(
        (len(flat),),
        lambda *arrays: jnp.concatenate([x.reshape(-1) for x in arrays]),
        entries,
        Work(0, 2 * len(flat)),
    )
    if len(places) < len(flat):
        value = value.grouped(0, groups, len(places))
    else:
        value = value.taken(0, np.argsort(flat))
    index = Index(len(places), places // block.shape[1], places % block.shape[1])
    term = make_term([index], 0, 0, value)
    return Block(block.shape, () if term is None else (term,))


def _batch(block: Block) -> int:
    """The largest number of equal parts of rows and columns that have only each other."""
    rows, cols = block.shape
    return next(
        (
            n
            for n in _divisors(math.gcd(rows, cols))
            if all(_split(t, n, rows // n, cols // n) is not None for t in block.terms)
        ),
        1,
    )


def _divisors(number: int) -> list[int]:
    """All divisors greater than 1, the largest first."""
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({d for s in small for d in (s, number // s)} - {1}, reverse=True)


def _split(term: Term, batch: int, rows: int, cols: int) -> tuple[int, int] | None:
    """Which index counts through parts of so many rows and columns, and its steps inside of one.

    None if the term has entries outside of the parts, or no index that counts through all.
    """
    found = None
    reach_row, reach_col = term.row0, term.col0
    for axis, index in enumerate(term.indices):
        row, col = index.row, index.col
        inside = index.extent
        if not isinstance(row, np.ndarray) and not isinstance(col, np.ndarray):
            if row < 0 or col < 0:
                return None
            steps = rows // row if row and rows % row == 0 else 0
            if steps and index.extent == steps * batch and col * steps == cols and found is None:
                found = (axis, steps)
                inside = steps
        reach_row += reach(row, inside)
        reach_col += reach(col, inside)
    return found if reach_row < rows and reach_col < cols else None


def _side_by_side(block: Block, batch: int) -> Block:
    """A batch of matrices, one below the other."""
    if batch == 1:
        return block
    rows, cols = block.shape[0] // batch, block.shape[1] // batch
    parts = [_part(t, batch, rows, cols) for t in block.terms]
    return Block((batch * rows, cols), tuple(p for p in parts if p is not None))


def _covers_all(block: Block) -> bool:
    """Whether the terms have an entry at every place, so that no zero is lost by filling them."""
    size = math.prod(block.shape)
    if block.nnz < size or size > _LARGEST_CHECKED:
        return False
    covered = np.zeros(size, bool)
    for t in block.terms:
        covered[t.rows() * block.shape[1] + t.cols()] = True
    return bool(covered.all())


def _filled(block: Block, parts: Block, batch: int) -> Block:
    """The block as one batch of full matrices."""
    rows, cols = block.shape[0] // batch, block.shape[1] // batch
    value = dense(parts).reshaped((batch, rows, cols))
    indices = [Index(batch, rows, cols), Index(rows, 1, 0), Index(cols, 0, 1)]
    term = make_term(indices, 0, 0, value)
    return Block(block.shape, () if term is None else (term,))


def _part(term: Term, batch: int, rows: int, cols: int) -> Term | None:
    """A term with the columns counted from the start of the part that they are in."""
    found = _split(term, batch, rows, cols)
    assert found is not None
    axis, steps = found
    index = term.indices[axis]
    shape = term.value.shape
    parts = (batch, steps) if term.value.varies(axis) else (1, 1)
    value: Value = term.value.reshaped((*shape[:axis], *parts, *shape[axis + 1 :]))
    assert not isinstance(index.row, np.ndarray) and not isinstance(index.col, np.ndarray)
    inner = [Index(batch, rows, 0), Index(steps, index.row, index.col)]
    indices = [*term.indices[:axis], *inner, *term.indices[axis + 1 :]]
    return make_term(indices, term.row0, term.col0, value)
