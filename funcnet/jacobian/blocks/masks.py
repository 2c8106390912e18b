"""Zeros that are known before any argument is: factors that are constants, with zeros in them.

A mask leaves a part of a diagonal, and a matrix of finite differences has a few entries in each
row. Their nests run through the entries alone: where a mask is a product of one for each axis,
axis by axis, otherwise through a list.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from funcnet.jacobian.blocks.terms import Index, offsets
from funcnet.jacobian.blocks.values import Value

__all__ = ["without_zeros"]


def without_zeros(
    indices: Sequence[Index], value: Value, mask: np.ndarray
) -> tuple[list[Index], Value]:
    """A nest without the entries that are 0.

    Args:
        indices: Its indices.
        value: Its entries, with an axis for each index.
        mask: Where an entry can differ from 0, with an axis for each index, of extent 1 where that
            does not matter.

    Returns:
        The indices and the value of the rest.
    """
    if mask.all():
        return list(indices), value
    axes = [a for a, extent in enumerate(mask.shape) if extent != 1]
    if not axes:
        return [Index(0, 0, 0)], Value((1,), value.scale)
    each = [mask.any(tuple(b for b in range(mask.ndim) if b != a), keepdims=True) for a in axes]
    if np.array_equal(math.prod(each[1:], start=each[0]), mask):
        return _by_axes(indices, value, {a: m.ravel() for a, m in zip(axes, each, strict=True)})
    return _listed(indices, value, mask, axes)


def _by_axes(
    indices: Sequence[Index], value: Value, masks: dict[int, np.ndarray]
) -> tuple[list[Index], Value]:
    kept = list(indices)
    for axis, mask in masks.items():
        (where,) = np.nonzero(mask)
        kept[axis] = _taken(indices[axis], where)
        if len(where) < len(mask):
            value = value.taken(axis, where)
    return kept, value


def _listed(
    indices: Sequence[Index], value: Value, mask: np.ndarray, axes: Sequence[int]
) -> tuple[list[Index], Value]:
    """One index for all that the mask varies along, and the others after it."""
    where = np.nonzero(mask)
    parts = [_taken(indices[a], where[a]) for a in axes]
    row = sum(offsets(p.row, p.extent) for p in parts)
    col = sum(offsets(p.col, p.extent) for p in parts)
    rest = [a for a in range(len(indices)) if a not in axes]
    varies = any(value.varies(a) for a in axes)
    for a in axes if varies else ():
        value = value.repeated(a, indices[a].extent)
    value = value.transposed([*axes, *rest])
    count = math.prod(indices[a].extent for a in axes) if varies else 1
    value = value.reshaped((count, *value.shape[len(axes) :]))
    flat = np.ravel_multi_index([where[a] for a in axes], [indices[a].extent for a in axes])
    first = Index(len(flat), np.asarray(row), np.asarray(col))
    return [first, *(indices[a] for a in rest)], value.taken(0, flat)


def _taken(index: Index, where: np.ndarray) -> Index:
    return Index(
        len(where),
        offsets(index.row, index.extent)[where],
        offsets(index.col, index.extent)[where],
    )
