"""Between structured blocks and full matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet.jacobian.blocks.composition import composed
from funcnet.jacobian.blocks.terms import Block, Coord, Index, Term, is_identity, make_term, spread
from funcnet.jacobian.blocks.values import Value, Work, computed, constant, leaf, total, written

__all__ = ["columns_of", "dense", "differ", "from_dense", "from_stack", "gathered", "narrowed"]


def dense(block: Block, *, flat: bool = False) -> Value:
    """The entries of a block as a full matrix.

    Terms that fill the matrix are only rearranged. Others are scattered into zeros, or into the sum
    of those, which costs hardly more than writing the zeros.

    Args:
        block: The block.
        flat: Whether to scatter into a vector where that is possible: XLA copies a matrix that is
            to get an axis of one entry inside, but not a vector.

    Returns:
        A value with an axis for the rows and one for the columns.
    """
    shape = block.shape
    if is_identity(block):
        return leaf(shape, lambda env: jnp.eye(shape[0], dtype=env.dtype))
    full, sparse = [], []
    for t in block.terms:
        order = _filling_order(t, shape)
        whole = _whole(t, shape) if order is None else _rearranged(t, order, shape)
        if whole is None:
            sparse.append(t)
        else:
            full.append(whole)
    if not sparse:
        return _sum(full, shape)
    return _scattered(sparse, [_sum(full, shape)] if full else [], shape, flat)


def _scattered(
    sparse: Sequence[Term], base: Sequence[Value], shape: tuple[int, int], flat: bool
) -> Value:
    """Terms written into zeros, or into a matrix if there is one."""
    places = [t.rows() * shape[1] + t.cols() for t in sparse]
    unique = [differ(p) for p in places]
    apart = not base and all(unique) and differ(np.concatenate(places))
    # Each time that entries are added to a matrix, XLA may copy it: then rather in one go.
    puts = [
        _put(t, shape, each, in_windows=apart or len(sparse) == 1 or _width(t) >= _WIDE)
        for t, each in zip(sparse, unique, strict=True)
    ]
    wide = [p for p in puts if p.height or p.width]
    puts = [*wide, *_together([p for p in puts if p not in wide], shape)]
    apart = apart or not (base or wide)
    size = math.prod(shape)
    flat = flat and not base and size < 1 << 31 and not wide
    if flat:
        puts = [replace(p, starts=p.starts @ np.array([[shape[1]], [1]], np.int32)) for p in puts]

    def make(*arrays: Any) -> Any:
        out = arrays[0] if base else jnp.zeros(size if flat else shape, arrays[0].dtype)
        if not base and size >= _LARGE:
            out = lax.optimization_barrier(out)
        for put, x in zip(puts, arrays[len(base) :], strict=True):
            out = put.onto(out, x, apart=apart)
        return out.reshape(shape)

    moved = size + 2 * sum(t.nnz for t in sparse)
    work = Work(0, moved, scattered=sum(len(p.starts) for p in puts))
    return computed(shape, make, [*base, *(p.entries for p in puts)], work)


_LARGE = 1 << 14
"""Of numbers that are known when compiling, XLA makes a constant: of a matrix with so many entries
that takes longer to read than to write."""

_WIDE = 8
"""Where entries meet others, windows are kept of terms with so many behind one another."""


@dataclass(frozen=True, eq=False)
class _Put:
    """Entries, in windows that each go to one place of a matrix.

    Attributes:
        entries: The windows, one behind the other.
        starts: The row and column of the first entry of each, or its place in a vector.
        height: Whether a window has an axis of rows.
        width: Whether it has one of columns.
        hints: What is known of the places.
    """

    entries: Value
    starts: np.ndarray
    height: bool
    width: bool
    hints: dict[str, Any]

    def onto(self, out: Any, x: Any, *, apart: bool) -> Any:
        """Write the entries to a matrix, or add them where others may be."""
        kept = (self.height, self.width)[: out.ndim]
        numbers = lax.ScatterDimensionNumbers(
            update_window_dims=tuple(range(1, 1 + sum(kept))),
            inserted_window_dims=tuple(axis for axis, whole in enumerate(kept) if not whole),
            scatter_dims_to_operand_dims=tuple(range(out.ndim)),
        )
        put = lax.scatter if apart else lax.scatter_add
        return put(out, self.starts, x, numbers, mode="promise_in_bounds", **self.hints)


def _put(term: Term, shape: tuple[int, int], unique: bool, *, in_windows: bool) -> _Put:
    """How to write a term: dense parts of it as windows, of which there are fewer than entries."""
    axes = range(len(term.indices))
    steps = [(i.row, i.col) for i in term.indices]
    down = [a for a in axes if in_windows and _is(steps[a], (1, 0))][:1]
    across = [a for a in axes if in_windows and _is(steps[a], (0, 1))][:1]
    outer = [a for a in axes if a not in (*down, *across)]
    extents = [term.extents[a] for a in outer]
    rows = spread([term.indices[a].row for a in outer], extents, term.row0)
    cols = spread([term.indices[a].col for a in outer], extents, term.col0)
    windows = [term.extents[a] for a in (*down, *across)]
    entries = written(term.value, term.extents).transposed([*outer, *down, *across])
    hints = {
        "indices_are_sorted": bool(np.all(np.diff(rows * shape[1] + cols) >= 0)),
        "unique_indices": unique,
    }
    starts = np.stack([rows, cols], axis=1)
    fits = max(shape) < 1 << 31
    return _Put(
        entries.reshaped((len(rows), *windows)),
        starts.astype(np.int32) if fits else starts,
        bool(down),
        bool(across),
        hints,
    )


def _together(puts: Sequence[_Put], shape: tuple[int, int]) -> list[_Put]:
    """All single entries as one list, in which no place comes twice."""
    if not puts:
        return []
    starts = np.concatenate([p.starts for p in puts])
    places = starts[:, 0].astype(np.int64) * shape[1] + starts[:, 1]
    entries = [p.entries for p in puts]
    size = len(places)
    value = entries[0]
    if len(entries) > 1:
        value = computed((size,), lambda *xs: jnp.concatenate(xs), entries, Work(0, 2 * size))
    if not differ(places):
        places, groups = np.unique(places, return_inverse=True)
        value = value.grouped(0, groups, len(places))
        starts = np.stack(np.divmod(places, shape[1]), axis=1).astype(starts.dtype)
    ordered = bool(np.all(np.diff(places) >= 0))
    hints = {"indices_are_sorted": ordered, "unique_indices": True}
    return [_Put(value, starts, height=False, width=False, hints=hints)]


def _width(term: Term) -> int:
    """How many entries behind one another a term has at least."""
    return next((i.extent for i in term.indices if _is((i.row, i.col), (0, 1))), 1)


def _is(step: tuple[Coord, Coord], wanted: tuple[int, int]) -> bool:
    return all(not isinstance(c, np.ndarray) and c == w for c, w in zip(step, wanted, strict=True))


def from_dense(value: Value, shape: tuple[int, int], cols: np.ndarray) -> Block:
    """The block whose columns at some places are those of a full matrix, and 0 elsewhere.

    Args:
        value: A value with an axis for the rows and one for the columns.
        shape: The shape of the block.
        cols: The place of each column.
    """
    indices = [Index(shape[0], 1, 0), Index(len(cols), 0, cols)]
    term = make_term(indices, 0, 0, value) if len(cols) else None
    return Block(shape, () if term is None else (term,))


def from_stack(
    value: Value,
    shape: tuple[int, int],
    rows: np.ndarray,
    cols: np.ndarray,
    column_of: np.ndarray,
) -> Block:
    """The block of which a full matrix holds the entries, several of its columns in one.

    Args:
        value: A value with an axis for the rows and one for the columns of the matrix.
        shape: The shape of the block.
        rows: The row of each entry of the block, in row-major order.
        cols: Its column.
        column_of: For each column of the block, the column of the matrix that holds it.
    """
    if not len(rows):
        return Block(shape)
    count = value.shape[1]
    where = rows * count + column_of[cols]
    flat = value.reshaped((value.shape[0] * count,))
    if np.array_equal(column_of, np.arange(shape[1])):
        flat = flat.nonzeros(where)
    elif not np.array_equal(where, np.arange(flat.shape[0])):
        flat = flat.taken(0, where)
    term = make_term([Index(len(rows), rows, cols)], 0, 0, flat)
    return Block(shape, () if term is None else (term,))


def columns_of(block: Block) -> np.ndarray:
    """The columns in which a block has entries, in order."""
    used = np.zeros(block.shape[1], bool)
    for term in block.terms:
        moving = [i for i in term.indices if isinstance(i.col, np.ndarray) or i.col != 0]
        used[spread([i.col for i in moving], [i.extent for i in moving], term.col0)] = True
    return np.flatnonzero(used)


def gathered(block: Block, cols: np.ndarray, groups: np.ndarray) -> Block:
    """Sums of the columns of a block that belong to the same group.

    Args:
        block: The block.
        cols: All columns in which it has entries, in order.
        groups: The number of the group of each, from 0.
    """
    count = int(groups.max(initial=-1)) + 1
    if np.array_equal(groups, np.arange(len(cols))):
        if len(cols) == block.shape[1]:
            return block
        if len(cols) and cols[-1] - cols[0] == len(cols) - 1:
            shifted = [Term(t.indices, t.row0, t.col0 - int(cols[0]), t.value) for t in block.terms]
            return Block((block.shape[0], len(cols)), tuple(shifted))
    selection = make_term([Index(len(cols), cols, groups)], 0, 0, constant(1.0, 1))
    chosen = Block((block.shape[1], count), () if selection is None else (selection,))
    return composed(block, chosen)


def narrowed(block: Block, cols: np.ndarray) -> Block:
    """A block without the columns in which it has no entries.

    Args:
        block: The block.
        cols: The columns to keep, in order: all those in which it has entries.
    """
    return gathered(block, cols, np.arange(len(cols)))


def _filling_order(term: Term, shape: tuple[int, int]) -> list[int] | None:
    """The order of indices in which a term counts through all entries of a matrix, if it does."""
    if term.nnz != math.prod(shape) or term.row0 or term.col0:
        return None
    steps = []
    for index in term.indices:
        if isinstance(index.row, np.ndarray) or isinstance(index.col, np.ndarray):
            return None
        steps.append(index.row * shape[1] + index.col)
    order = sorted(range(len(steps)), key=lambda i: -steps[i])
    below = 1
    for i in reversed(order):
        if steps[i] != below:
            return None
        below *= term.indices[i].extent
    return order


def _whole(term: Term, shape: tuple[int, int]) -> Value | None:
    """The matrix that the entries of a term were taken from, if it is 0 at all others."""
    node, scale = term.value.node, term.value.scale
    if node is None or node.places is None or node.inputs[0].size != math.prod(shape):
        return None
    rows, cols = term.rows(), term.cols()
    source = Value(node.inputs[0].shape, scale, node.inputs[0])
    if np.array_equal(rows * shape[1] + cols, node.places):
        return source.reshaped(shape)
    if np.array_equal(cols * shape[0] + rows, node.places):
        return source.reshaped(shape[::-1]).transposed((1, 0))
    return None


def _rearranged(term: Term, order: Sequence[int], shape: tuple[int, int]) -> Value:
    if all(extent == 1 for extent in term.value.shape):
        return term.value.reshaped((1, 1))
    extents = [term.extents[i] for i in order]
    return written(term.value.transposed(order), extents).reshaped(shape)


def _sum(values: Sequence[Value], shape: tuple[int, int]) -> Value:
    return written(total(values) if values else constant(0.0, 2), shape)


def differ(places: np.ndarray) -> bool:
    """Whether no number comes twice."""
    steps = np.diff(places)
    if np.any(steps <= 0):  # sorted runs are merged, which is much faster than hashing
        steps = np.diff(np.sort(places, kind="stable"))
    return bool(np.all(steps > 0))
