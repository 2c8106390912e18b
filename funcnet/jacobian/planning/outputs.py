"""The forms in which a Jacobian is handed over.

Blocks become full arrays, JAX's sparse arrays or SciPy's sparse matrices. Where each entry goes is
known before there are numbers, so that a sparse form is the numbers alone, in an order that was
worked out once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.errors import ArgumentError
from funcnet.jacobian.blocks.consolidation import listed
from funcnet.jacobian.blocks.dense import dense, differ
from funcnet.jacobian.blocks.terms import Block
from funcnet.jacobian.blocks.values import Value, written

__all__ = ["Form", "Output", "entries", "form_of", "refuse_tracers"]

Output: TypeAlias = Literal["dense", "bcoo", "csr", "coo", "diagonal"]
"""A full array; ``jax.experimental.sparse.BCOO``; SciPy's ``csr_array`` or ``coo_array``; the
diagonal of a square Jacobian, in the shape of the input."""


class Form:
    """What to compute of a block, and what to make of it.

    Attributes:
        values: The arrays to compute.
        assemble: From these arrays to one array, compiled with them.
        hand_over: From that array to the result, not compiled.
    """

    def __init__(
        self,
        values: Sequence[Value],
        assemble: Callable[[Sequence[Any], Any], Any],
        hand_over: Callable[[Any], Any] = lambda array: array,
    ) -> None:
        self.values, self.assemble, self.hand_over = list(values), assemble, hand_over


def form_of(
    output: Output, block: Block, out_shape: Sequence[int], in_shape: Sequence[int]
) -> Form:
    """How to hand over one block.

    Args:
        output: The form.
        block: The block.
        out_shape: The shape of the output; its entries are the rows of the block.
        in_shape: The shape of the input; its entries are the columns.

    Returns:
        A :class:`Form`.
    """
    shape = (*out_shape, *in_shape)
    if output == "dense":
        thin_inside = any(n == 1 for n in shape[1:-1])
        return Form([dense(block, flat=thin_inside)], lambda xs, dtype: xs[0].reshape(shape))
    if output == "diagonal":
        return _diagonal(block, in_shape)
    rows, cols, values = entries(block)
    if output == "bcoo":
        return _bcoo(rows, cols, values, out_shape, in_shape)
    return _scipy(output, rows, cols, values, block.shape)


def entries(block: Block) -> tuple[np.ndarray, np.ndarray, list[Value]]:
    """Rows and columns of all entries, each place once, and the values in the same order."""
    rows, cols = block.positions()
    if not differ(rows * block.shape[1] + cols):
        block = listed(block)
        rows, cols = block.positions()
    values = [written(t.value, t.extents).reshaped((t.nnz,)) for t in block.terms]
    return rows, cols, values


def _diagonal(block: Block, shape: Sequence[int]) -> Form:
    """How to hand over the diagonal of a square block."""
    parts = []
    n = block.shape[0]
    for term in block.terms:
        rows, cols = term.rows(), term.cols()
        (here,) = np.nonzero(rows == cols)
        if len(here):
            flat = written(term.value, term.extents).reshaped((term.nnz,))
            parts.append((rows[here], flat.taken(0, here)))

    def assemble(arrays: Sequence[Any], dtype: Any) -> Any:
        total = jnp.zeros(n, dtype)
        for (where, _), x in zip(parts, arrays, strict=True):
            whole = len(where) == n and np.array_equal(where, np.arange(n))
            total = total + x if whole else total.at[where].add(x)
        return total.reshape(tuple(shape))

    return Form([value for _, value in parts], assemble)


def _bcoo(
    rows: np.ndarray,
    cols: np.ndarray,
    values: Sequence[Value],
    out_shape: Sequence[int],
    in_shape: Sequence[int],
) -> Form:
    shape = (*out_shape, *in_shape)
    where = [*np.unravel_index(rows, out_shape or (1,)), *np.unravel_index(cols, in_shape or (1,))]
    kept = [*([True] * len(out_shape) or [False]), *([True] * len(in_shape) or [False])]
    chosen = [w for w, keep in zip(where, kept, strict=True) if keep]
    none = np.zeros((len(rows), 0), np.int32)
    indices = np.stack(chosen, axis=1).astype(np.int32) if chosen else none
    ordered = bool(np.all(np.diff(rows * math.prod(in_shape) + cols) > 0))

    with jax.ensure_compile_time_eval():  # a plan made under jit outlives that trace
        where_to = jnp.asarray(indices)

    def hand_over(data: Any) -> Any:
        # It loads SciPy, which is not needed otherwise.
        from jax.experimental.sparse import BCOO

        return BCOO((data, where_to), shape=shape, unique_indices=True, indices_sorted=ordered)

    return Form(values, _joined, hand_over)


def _scipy(
    output: Output,
    rows: np.ndarray,
    cols: np.ndarray,
    values: Sequence[Value],
    shape: tuple[int, int],
) -> Form:
    try:
        import scipy.sparse
    except ImportError as error:
        raise ArgumentError(
            f"jacobian: output={output!r} hands over to SciPy, which is not installed; "
            'install scipy, or take output="bcoo".'
        ) from error
    if output == "coo":
        return Form(
            values,
            _joined,
            lambda data: scipy.sparse.coo_array((np.asarray(data), (rows, cols)), shape=shape),
        )
    order = np.lexsort((cols, rows))
    starts = np.searchsorted(rows[order], np.arange(shape[0] + 1))
    sorted_cols = cols[order]
    return Form(
        values,
        _joined,
        lambda data: scipy.sparse.csr_array(
            (np.asarray(data)[order], sorted_cols, starts), shape=shape
        ),
    )


def _joined(arrays: Sequence[Any], dtype: Any) -> Any:
    return jnp.concatenate(arrays) if arrays else jnp.zeros(0, dtype)


def refuse_tracers(function: str, option: str, leaves: Sequence[Any]) -> None:
    """Raise where an option needs numbers and there are none."""
    if any(isinstance(x, jax.core.Tracer) for x in leaves):
        raise ArgumentError(
            f"{function}: {option} needs numbers, but it was called under a transformation such as "
            'jit, vmap or grad. Call it outside, or take output="bcoo" or "dense".'
        )
