"""Patterns of nonzeros: those that users have, and those of structured blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from funcnet.errors import ShapeError
from funcnet.jacobian.blocks.terms import Block, placed
from funcnet.jacobian.coloring.first_fit import entries
from funcnet.jacobian.coloring.one_sided import check_pattern

__all__ = ["Pattern", "pattern_from", "pattern_of"]

Pattern: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Rows and columns."""


def pattern_from(function: str, pattern: Any, shape: tuple[int, int]) -> Pattern:
    """The rows and columns of a pattern, each place once, in row-major order.

    Args:
        function: Who asks, for the message.
        pattern: A pair of index arrays; a sparse array of SciPy or JAX, whose stored entries
            count; or a full array, whose entries count that are not 0.
        shape: The shape of the Jacobian, outputs and inputs flattened.

    Returns:
        Rows and columns.

    Raises:
        ShapeError: If the pattern has another shape.
        ArgumentError: If an index lies outside of the shape.
    """
    if isinstance(pattern, tuple):
        rows, cols = pattern
    else:
        own = tuple(getattr(pattern, "shape", np.shape(pattern)))
        if own != shape:
            raise ShapeError(
                f"{function}: the pattern has shape {own}, but the Jacobian, with outputs and "
                f"inputs flattened, has {shape}."
            )
        rows, cols = _stored(pattern)
    rows, cols, _ = check_pattern(function, rows, cols, shape)
    return entries(rows, cols, shape[1])


def pattern_of(blocks: Sequence[Sequence[Block]]) -> Pattern:
    """The rows and columns at which blocks have entries, each once, in row-major order."""
    none = np.zeros(0, np.int64)
    rows, cols = [none], [none]
    for row0, col0, block in placed(blocks):
        r, c = block.positions()
        rows.append(row0 + r)
        cols.append(col0 + c)
    width = sum(b.shape[1] for b in blocks[0]) if blocks else 0
    return entries(np.concatenate(rows), np.concatenate(cols), width)


def _stored(pattern: Any) -> tuple[np.ndarray, np.ndarray]:
    if hasattr(pattern, "indices") and hasattr(pattern, "nse"):
        indices = np.asarray(pattern.indices)
        return indices[:, 0], indices[:, 1]
    if hasattr(pattern, "tocoo"):
        entries = pattern.tocoo()
        return entries.row, entries.col
    rows, cols = np.nonzero(np.asarray(pattern))
    return rows, cols
