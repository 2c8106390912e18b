"""Where matrices can differ from 0: booleans in SciPy's sparse arrays, multiplied as matrices are.

The support of a product lies in the product of the supports, where ``or`` stands for the sum and
``and`` for the product; and that of an inverse lies in all powers together, since by Cayley and
Hamilton the inverse is a polynomial in its matrix. Nothing here is exact about numbers, but no
entry is ever missed. What would get too large is refused by an exception: whoever asked then has to
take everything for possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from funcnet.jacobian.blocks.terms import Block

if TYPE_CHECKING:
    import scipy.sparse

__all__ = [
    "Support",
    "TooLargeError",
    "beside",
    "closure",
    "empty",
    "equal",
    "full",
    "identity_support",
    "listed_support",
    "product",
    "support_of",
    "transposed",
    "union",
]

Support: TypeAlias = "scipy.sparse.csr_array"
"""A boolean matrix whose stored entries are all True, each once, sorted in each row."""

LARGEST = 1 << 20
"""Supports with more entries are not written down."""

_MOST_PAIRS = 1 << 22
"""Products that meet in more pairs of entries are not formed."""


class TooLargeError(Exception):
    """A support has too many entries to be written down."""


def _sparse() -> Any:
    """SciPy's module, which importing this one should not wait for."""
    import scipy.sparse

    return scipy.sparse


def _bounded(count: float) -> None:
    if count > LARGEST:
        raise TooLargeError


def listed_support(rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]) -> Support:
    """The support with given rows and columns of its entries, in any order."""
    entries = np.ones(len(rows), bool)
    found = _sparse().coo_array((entries, (rows, cols)), shape=shape).tocsr()
    found.sum_duplicates()
    return found


def support_of(block: Block) -> Support:
    """The entries of a block."""
    _bounded(block.nnz)
    return listed_support(*block.positions(), block.shape)


def identity_support(size: int) -> Support:
    """The diagonal."""
    _bounded(size)
    where = np.arange(size)
    return listed_support(where, where, (size, size))


def empty(rows: int, cols: int) -> Support:
    """Nothing."""
    return _sparse().csr_array((rows, cols), dtype=bool)


def full(rows: int, cols: int) -> Support:
    """Everything."""
    _bounded(rows * cols)
    return _sparse().csr_array(np.ones((rows, cols), bool))


def product(a: Support, b: Support) -> Support:
    """Where a product can differ from 0."""
    if np.diff(b.indptr)[a.indices].sum() > _MOST_PAIRS:
        raise TooLargeError
    found = a @ b
    _bounded(found.nnz)
    found.sort_indices()
    return found


def union(first: Support, *others: Support) -> Support:
    """Where a sum can differ from 0."""
    for other in others:
        first = first + other
    _bounded(first.nnz)
    first.sort_indices()
    return first


def beside(parts: Sequence[Sequence[Support]]) -> Support:
    """A matrix of its blocks, a row of them after the other."""
    found = _sparse().csr_array(_sparse().block_array(parts, format="csr", dtype=bool))
    found.sort_indices()
    return found


def equal(a: Support, b: Support) -> bool:
    """Whether two supports of one shape are the same."""
    return bool(
        a.nnz == b.nnz
        and np.array_equal(a.indptr, b.indptr)
        and np.array_equal(a.indices, b.indices)
    )


def transposed(a: Support) -> Support:
    """Rows for columns."""
    found = a.T.tocsr()
    found.sort_indices()
    return found


def closure(a: Support) -> Support:
    """All powers of a square matrix together: ``I + A + A^2 + ...``."""
    found = union(identity_support(a.shape[0]), a)
    while not equal(found, more := product(found, found)):
        found = more
    return found
