"""What a page is told about an array: its entries if few, else a heat map and statistics."""

from __future__ import annotations

import base64
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.graph.text import WRITTEN, number, span_text
from funcnet.report import format_number

__all__ = ["facts_of"]

FEW = 64
"""Arrays with no more entries than this are told entry by entry; only larger ones than `WRITTEN`
have a heat map and statistics."""
ROWS, COLUMNS = 24, 48
"""The most cells of a heat map; each is the mean of a block of entries."""


def facts_of(value: Any, *, brief: bool = False) -> dict[str, Any] | None:
    """An array as JSON can say it.

    Args:
        value: The array, or None.
        brief: Leave heat map and statistics of large arrays away.

    Returns:
        Its text, its shape, and its entries or a heat map and statistics.
    """
    if value is None:
        return None
    facts: dict[str, Any] = {"text": number(value), "shape": list(value.shape)}
    if jnp.issubdtype(value.dtype, jax.dtypes.extended):
        return facts
    array = np.asarray(value)
    if array.dtype.kind not in "iufbc":  # bfloat16 and its like, which NumPy does not know
        array = array.astype(np.float64)
    if array.size <= FEW:
        facts["entries"] = _entries(array)
    if array.size <= WRITTEN or brief:
        return facts
    is_complex = array.dtype.kind == "c"
    real = (np.abs(array) if is_complex else array).astype(np.float64)
    heat = _heat(real, "of absolute values" if is_complex else "")
    return facts | {"range": span_text(real), "heat": heat, "stats": _statistics(real)}


def _entries(array: np.ndarray) -> Any:
    """Nested lists of numbers; what JSON, or a browser, has no number for is a text."""
    if array.ndim:
        return [_entries(row) for row in array]
    entry = array.item()
    is_number = not isinstance(entry, complex) and math.isfinite(entry)
    return entry if is_number and (isinstance(entry, float) or abs(entry) <= 2**53) else str(entry)


def _statistics(array: np.ndarray) -> dict[str, str]:
    good = array[np.isfinite(array)]
    if not good.size:
        return {"not finite": format_number(array.size)}
    # Divided by the largest first, so that no square overflows.
    most = float(np.max(np.abs(good))) or 1.0
    scaled = good / most
    return {
        "mean": format_number(float(np.mean(scaled)) * most),
        "std": format_number(float(np.std(scaled)) * most),
        "least": format_number(float(np.min(good))),
        "most": format_number(float(np.max(good))),
        "norm": format_number(float(np.linalg.norm(scaled)) * most),
        "zeros": f"{np.mean(array == 0):.1%} of {array.size:,}",
        "not finite": format_number(array.size - good.size) if good.size < array.size else "",
    }


def _heat(array: np.ndarray, note: str) -> dict[str, Any]:
    """Means of blocks over the largest of them, as bytes: 0 is -1, 127 is 0, 254 is 1, 255 NaN."""
    largest = float(np.max(np.abs(array), where=np.isfinite(array), initial=0.0)) or 1.0
    matrix = (array / largest).reshape(-1, array.shape[-1])  # so that no sum overflows
    blocks = _means(_means(matrix, ROWS, 0), COLUMNS, 1)
    good = np.isfinite(blocks)
    most = float(np.max(np.abs(blocks), where=good, initial=0.0))
    share = np.where(good, blocks, 0.0) / (most or 1.0)
    codes = np.where(good, np.round(127 * (1 + share)), 255).astype(np.uint8)
    is_block = blocks.size < array.size
    notes = [note, "each cell the mean of a block" if is_block else ""]
    return {
        "rows": blocks.shape[0],
        "columns": blocks.shape[1],
        "most": format_number(most * largest),
        "cells": base64.b64encode(codes.tobytes()).decode(),
        "note": ", ".join(filter(None, notes)),
    }


def _means(matrix: np.ndarray, most: int, axis: int) -> np.ndarray:
    """At most so many stretches along an axis, each as its mean."""
    length = matrix.shape[axis]
    if length <= most:
        return matrix
    cuts = np.linspace(0, length, most + 1).astype(int)
    sums = np.add.reduceat(matrix, cuts[:-1], axis=axis)
    counts = np.diff(cuts)
    return sums / (counts[:, None] if axis == 0 else counts)
