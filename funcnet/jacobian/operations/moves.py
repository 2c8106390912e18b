"""The Jacobians of operations that move entries and do not change them.

A slice, a transposition, a broadcast and a gather have one entry in each row, which is 1; in which
column it stands is all that there is to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from funcnet.jacobian.blocks.terms import Block, Index, make_term
from funcnet.jacobian.blocks.values import constant
from funcnet.jacobian.linearization import LinearProgram, run
from funcnet.jacobian.operations.making import nest, shape_of, size_of, strides, zero

__all__ = [
    "broadcast",
    "concatenated",
    "moved",
    "padded",
    "piece",
    "reshaped",
    "reversed_",
    "same",
    "same_entries",
    "scattered",
    "sliced",
    "stacked",
    "transposed",
]

_EXACT_IN_FLOAT32 = 1 << 24
"""Integers below this are exact in float32."""


def same(eqn: JaxprEqn, place: int) -> Block:
    """Every entry stays where it is."""
    return nest(eqn, place, [Index(size_of(eqn.invars[place]), 1, 1)])


def same_entries(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    """``out[i] = x[i]``, in row-major order."""
    return same(eqn, place)


def transposed(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    """``out[j, i] = x[i, j]``."""
    return _reordered(eqn, place, eqn.params["permutation"])


def reshaped(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    """``out[i] = x[i]`` in row-major order, or in that of `dimensions`."""
    order = eqn.params.get("dimensions")
    return same(eqn, place) if order is None else _reordered(eqn, place, order)


def _reordered(eqn: JaxprEqn, place: int, order: Sequence[int]) -> Block:
    """The block of an operation that reads the axes of its operand in another order."""
    inner = shape_of(eqn.invars[place])
    cols = strides(inner)
    extents = [inner[axis] for axis in order]
    rows = strides(extents)
    return nest(
        eqn, place, [Index(n, r, cols[p]) for n, r, p in zip(extents, rows, order, strict=True)]
    )


def reversed_(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    """``out[i] = x[n - 1 - i]``."""
    shape, turned = shape_of(eqn.invars[0]), eqn.params["dimensions"]
    steps = strides(shape)
    indices = [
        Index(n, s, -s if a in turned else s)
        for a, (n, s) in enumerate(zip(shape, steps, strict=True))
    ]
    return nest(eqn, place, indices, col0=sum((shape[a] - 1) * steps[a] for a in turned))


def broadcast(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """``out[i, j] = x[j]``."""
    if place != 0:
        return None
    shape, inner = shape_of(eqn.outvars[0]), shape_of(eqn.invars[0])
    cols = [0] * len(shape)
    for axis, extent, stride in zip(
        eqn.params["broadcast_dimensions"], inner, strides(inner), strict=True
    ):
        cols[axis] = stride if extent == shape[axis] else 0
    rows = strides(shape)
    return nest(eqn, place, [Index(*i) for i in zip(shape, rows, cols, strict=True)])


def sliced(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    """``out[i] = x[start + i step]``."""
    shape, inner = shape_of(eqn.outvars[0]), shape_of(eqn.invars[0])
    start = eqn.params["start_indices"]
    steps = eqn.params["strides"] or (1,) * len(shape)
    rows, cols = strides(shape), strides(inner)
    indices = [Index(n, r, c * s) for n, r, c, s in zip(shape, rows, cols, steps, strict=True)]
    return nest(eqn, place, indices, col0=sum(i * c for i, c in zip(start, cols, strict=True)))


def padded(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """``out[low + i (gap + 1)] = x[i]``; negative paddings cut off."""
    if place != 0:
        return None
    shape, inner = shape_of(eqn.outvars[0]), shape_of(eqn.invars[0])
    indices, row0, col0 = [], 0, 0
    for n, m, r, c, (low, _, gap) in zip(
        shape, inner, strides(shape), strides(inner), eqn.params["padding_config"], strict=True
    ):
        where = low + np.arange(m) * (gap + 1)
        inside = np.flatnonzero((where >= 0) & (where < n))
        if not len(inside):
            return zero(eqn, place, 0)
        first = int(inside[0])
        indices.append(Index(len(inside), r * (gap + 1), c))
        row0, col0 = row0 + int(where[first]) * r, col0 + first * c
    return nest(eqn, place, indices, row0=row0, col0=col0)


def concatenated(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    """``out[before + i] = x[i]``."""
    axis, shape = eqn.params["dimension"], shape_of(eqn.outvars[0])
    inner = shape_of(eqn.invars[place])
    before = sum(shape_of(v)[axis] for v in eqn.invars[:place])
    rows, cols = strides(shape), strides(inner)
    indices = [Index(*i) for i in zip(inner, rows, cols, strict=True)]
    return nest(eqn, place, indices, row0=before * rows[axis])


def stacked(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    """``out[place, i] = x[i]``."""
    axis, inner = eqn.params["axis"], shape_of(eqn.invars[place])
    rows = strides(shape_of(eqn.outvars[0]))
    row0 = place * rows.pop(axis)
    indices = [Index(*i) for i in zip(inner, rows, strides(inner), strict=True)]
    return nest(eqn, place, indices, row0=row0)


def piece(eqn: JaxprEqn, result: int) -> Block:
    """One of the results of cutting an array along an axis."""
    axis, inner = eqn.params["axis"], shape_of(eqn.invars[0])
    shape, cols = shape_of(eqn.outvars[result]), strides(inner)
    if eqn.primitive.name == "split":
        start = sum(eqn.params["sizes"][:result]) * cols[axis]
    else:
        start = result * cols.pop(axis)
    indices = [Index(*i) for i in zip(shape, strides(shape), cols, strict=True)]
    term = make_term(indices, 0, start, constant(1.0, len(indices)))
    return Block((math.prod(shape), math.prod(inner)), () if term is None else (term,))


def moved(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """Where each entry comes from is found by moving numbers that tell their place."""
    if place != 0 or any(program.is_linear(v) for v in eqn.invars[1:]):
        return None
    others = [program.static(v) for v in eqn.invars[1:]]
    if any(x is None for x in others) or size_of(eqn.outvars[0]) == 0:
        return None
    size = size_of(eqn.invars[0])
    numbers = np.arange(1, size + 1, dtype=np.int32).reshape(shape_of(eqn.invars[0]))
    with jax.ensure_compile_time_eval():
        found = np.asarray(run(eqn, [numbers, *others])[0]).astype(np.int64) - 1
    # What lies outside of the operand is filled with anything but a place in it.
    source = np.where((found >= 0) & (found < size), found, -1)
    indices, row0, col0 = _table_indices(source, strides(source.shape))
    return nest(eqn, place, indices, row0=row0, col0=col0)


def scattered(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """What is added to passes, and each update goes to where its number comes back from."""
    if place == 0:
        return same(eqn, place)
    if place != 2 or program.is_linear(eqn.invars[1]):
        return None
    where = program.static(eqn.invars[1])
    out, updates = shape_of(eqn.outvars[0]), shape_of(eqn.invars[2])
    if where is None or math.prod(updates) == 0 or math.prod(out) >= _EXACT_IN_FLOAT32:
        return None

    def scattered(u: Any) -> Any:
        return run(eqn, [jnp.zeros(out, jnp.float32), where, u])[0]

    numbers = np.arange(1, math.prod(out) + 1, dtype=np.float32).reshape(out)
    with jax.ensure_compile_time_eval():
        back = jax.linear_transpose(scattered, jax.ShapeDtypeStruct(updates, jnp.float32))
        found = np.asarray(back(jnp.asarray(numbers))[0]).astype(np.int64) - 1
    indices, col0, row0 = _table_indices(found, strides(updates))
    return nest(eqn, place, [i.transposed for i in indices], row0=row0, col0=col0)


def _table_indices(source: np.ndarray, rows: Sequence[int]) -> tuple[list[Index], int, int]:
    """Indices for a table of columns, -1 being none: one for each axis if the table is a sum."""
    if source.size and source.min() >= 0:
        first = source.ravel()[0]
        parts = [
            source[(0,) * a + (slice(None),) + (0,) * (source.ndim - a - 1)] - first
            for a in range(source.ndim)
        ]
        added = first
        for a, part in enumerate(parts):
            added = added + part.reshape([-1 if i == a else 1 for i in range(source.ndim)])
        if np.array_equal(np.broadcast_to(added, source.shape), source):
            indices = [
                Index(len(part), stride, part) for part, stride in zip(parts, rows, strict=True)
            ]
            return indices, 0, int(first)
    where = np.flatnonzero(source.ravel() >= 0)
    return [Index(len(where), where, source.ravel()[where])], 0, 0
