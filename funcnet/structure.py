"""The kinds of local Jacobian block, and a test whether a matrix is of a kind.

The Jacobian of one operation with respect to one of its arguments is a matrix: a row for each
entry of the output, a column for each entry of the argument, both in row-major order. For almost
every operation this matrix is special, and that is why backpropagation never writes it down: a
vector is multiplied by a diagonal matrix in as many steps as it has entries. :class:`Structure`
names the kinds, from the emptiest to the fullest, each with the operation that teaches it.

A rule may declare one structure for all of its differentiable arguments or one for each. The
declaration is a label and an assertion: :func:`holds` is how a checker verifies it, on a Jacobian
that was written down for the purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np

from funcnet.errors import ShapeError
from funcnet.typing import ArrayLike, Shape

__all__ = ["Structure", "Verdict", "holds"]


class Structure(Enum):
    """The kinds of local Jacobian block ``J[output entry, input entry]``.

    IDENTITY, SCALED_IDENTITY and DIAGONAL are meant up to NumPy's broadcasting of the argument to
    the output: where ``x + b`` repeats ``b`` along an axis, its Jacobian for ``b`` is the identity
    repeated along that axis.
    """

    ZERO = "zero"
    """All entries are 0. ``sign(x)``, ``stop_gradient(x)``."""

    IDENTITY = "identity"
    """1 on the diagonal: the add gate ``a + b`` hands its cotangent on unchanged."""

    SCALED_IDENTITY = "scaled identity"
    """One number c on the diagonal: ``-x`` has c = -1, ``x / 2`` has c = 1/2."""

    DIAGONAL = "diagonal"
    """Nothing off the diagonal: every elementwise function. ``relu`` has 0 and 1 there,
    ``sigmoid`` has s (1 - s), the multiply gate ``a * b`` has b for a and a for b."""

    SELECTION = "selection"
    """Each row has at most one entry that is not 0, and that is 1: each output is a copy of an
    input, or of none. ``x[indices]``, ``max(x)`` (the cotangent goes to the largest entry),
    ``reshape``, ``transpose``, ``concatenate`` for each of its arguments."""

    BROADCAST = "broadcast"
    """Each row has one entry that is not 0, and that is 1: each output is a copy of an input. The
    bias of ``x @ w + b``, ``broadcast_to(x, shape)``; the cotangent is summed over the copies."""

    REDUCTION = "reduction"
    """A multiple of a transposed broadcast: each input goes into at most one output, all with
    the same weight. ``sum(x, axis)`` has weight 1, ``mean(x, axis)`` has 1 / n."""

    BLOCK_DIAGONAL = "block diagonal"
    """Along some axis the entries of the output depend each on its own part of the input, and
    each part has a block of its own: the rows of a batch under ``softmax(x, axis=-1)`` or
    ``logsumexp(x, axis=-1)``. A single vector is one block."""

    KRONECKER = "Kronecker"
    """Block diagonal with one block repeated. For ``y = x @ w`` with a batch of x this is
    the identity on the batch times ``w.T`` for x, and x times the identity on the outputs for w.
    A single vector is one block."""

    DENSE = "dense"
    """Nothing is promised: the full matrix. ``w`` itself in ``y = W x`` for one vector x."""


@dataclass(frozen=True)
class Verdict:
    """Whether a matrix has a structure, and if not, what is against it. True or false itself.

    Attributes:
        ok: True if the matrix has the structure.
        why: What is against it, with an entry of the matrix as evidence; empty if nothing is.
    """

    ok: bool
    why: str = ""

    def __bool__(self) -> bool:
        return self.ok


def holds(
    kind: Structure,
    matrix: ArrayLike,
    out_shape: Shape,
    in_shape: Shape,
    *,
    tolerance: float = 0.0,
) -> Verdict:
    """Tell whether a Jacobian has a structure.

    Args:
        kind: The structure in question.
        matrix: The Jacobian ``J[o, i] = d output[o] / d input[i]``, of shape
            ``(prod(out_shape), prod(in_shape))``, both sides flattened in row-major order.
        out_shape: The shape of the output.
        in_shape: The shape of the argument.
        tolerance: Entries count as equal if they differ by at most this, times the largest
            absolute entry. The default suits rules that write exact zeros.

    Returns:
        A :class:`Verdict`, which is true if the structure holds and gives the reason if not.

    Raises:
        ShapeError: If the shape of the matrix is not the one that the two shapes call for.

    Example:
        >>> w = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> bool(holds(Structure.KRONECKER, np.kron(np.eye(3), w.T), (3, 2), (3, 2)))
        True
        >>> holds(Structure.DIAGONAL, w.T, (2,), (2,)).why
        'J[(0,), (1,)] is 3.0, not on the diagonal'
    """
    jacobian = np.asarray(matrix)
    wanted = (int(np.prod(out_shape)), int(np.prod(in_shape)))
    if jacobian.shape != wanted:
        raise ShapeError(
            f"holds: matrix has shape {jacobian.shape}, but out_shape {tuple(out_shape)} and "
            f"in_shape {tuple(in_shape)} call for {wanted}."
        )
    block = _Block(jacobian, tuple(out_shape), tuple(in_shape), tolerance)
    if not np.all(np.isfinite(jacobian)):
        return block.against(~np.isfinite(jacobian), "which is not a finite number")
    return _TESTS[kind](block)


class _Block:
    """A Jacobian with its shapes, and the comparisons that all tests are made of."""

    def __init__(self, matrix: np.ndarray, out: tuple[int, ...], in_: tuple[int, ...], tol: float):
        self.matrix, self.out_shape, self.in_shape = matrix, out, in_
        self.slack = tol * float(np.max(np.abs(matrix), initial=0.0))

    def differs(self, other: ArrayLike) -> np.ndarray:
        return np.abs(self.matrix - other) > self.slack

    def nonzero(self) -> np.ndarray:
        return self.differs(0.0)

    def against(self, bad: np.ndarray, why: str) -> Verdict:
        """Judge by a matrix of objections; the first one is the evidence."""
        if not np.any(bad):
            return Verdict(True)
        row, column = (int(index) for index in np.argwhere(bad)[0])
        where = _coordinates(row, self.out_shape), _coordinates(column, self.in_shape)
        return Verdict(False, f"J[{where[0]}, {where[1]}] is {self.matrix[row, column]}, {why}")

    def diagonal(self) -> np.ndarray | None:
        """Where the diagonal is, broadcasting included, or None if there is none."""
        try:
            columns = np.arange(self.matrix.shape[1]).reshape(self.in_shape)
            column_of_row = np.broadcast_to(columns, self.out_shape).ravel()
        except ValueError:
            return None
        return np.arange(self.matrix.shape[1]) == column_of_row[:, None]

    def ties(self) -> Iterator[np.ndarray]:
        """Yield the part of the Jacobian on each pair of axes that it is diagonal in.

        A part has the pair's common extent as its first axis, and the other axes of the output
        and of the input behind.
        """
        whole = self.matrix.reshape(self.out_shape + self.in_shape)
        nonzero = self.nonzero().reshape(whole.shape)
        for p, extent in enumerate(self.out_shape):
            for q in range(len(self.in_shape)):
                if self.in_shape[q] == extent:
                    axes = (p, len(self.out_shape) + q)
                    pair = np.moveaxis(nonzero, axes, (0, 1))
                    if not np.any(pair[~np.eye(extent, dtype=bool)]):
                        index = np.arange(extent)
                        yield np.moveaxis(whole, axes, (0, 1))[index, index]


def _coordinates(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(index, shape)) if shape else ()


def _is_zero(block: _Block) -> Verdict:
    return block.against(block.nonzero(), "not 0")


def _is_diagonal(block: _Block) -> Verdict:
    diagonal = block.diagonal()
    if diagonal is None:
        return Verdict(False, f"the shape {block.in_shape} does not broadcast to {block.out_shape}")
    return block.against(block.nonzero() & ~diagonal, "not on the diagonal")


def _is_scaled_identity(block: _Block) -> Verdict:
    verdict, diagonal = _is_diagonal(block), block.diagonal()
    if not verdict or diagonal is None or not diagonal.any():
        return verdict
    scale = block.matrix[diagonal][0]
    return block.against(diagonal & block.differs(scale), f"elsewhere on the diagonal is {scale}")


def _is_identity(block: _Block) -> Verdict:
    verdict, diagonal = _is_diagonal(block), block.diagonal()
    if not verdict or diagonal is None:
        return verdict
    return block.against(diagonal & block.differs(1.0), "but the diagonal should be 1")


def _is_selection(block: _Block) -> Verdict:
    verdict = block.against(block.nonzero() & block.differs(1.0), "neither 0 nor 1")
    crowded = block.nonzero() & (block.nonzero().sum(axis=1, keepdims=True) > 1)
    return verdict and block.against(crowded, "not alone in its row")


def _is_broadcast(block: _Block) -> Verdict:
    empty = ~block.nonzero().any(axis=1, keepdims=True)
    verdict = _is_selection(block)
    return verdict and block.against(empty & ~block.nonzero(), "and so is the whole row")


def _is_reduction(block: _Block) -> Verdict:
    nonzero = block.nonzero()
    crowded = nonzero & (nonzero.sum(axis=0, keepdims=True) > 1)
    verdict = block.against(crowded, "not alone in its column")
    if not verdict or not nonzero.any():
        return verdict
    weight = block.matrix[nonzero][0]
    return block.against(nonzero & block.differs(weight), f"another weight is {weight}")


def _is_single(block: _Block) -> bool:
    # A row, a column, or a vector to a vector: there is no second block to compare with.
    ranks = len(block.out_shape), len(block.in_shape)
    return min(ranks) == 0 or max(ranks) == 1


def _is_block_diagonal(block: _Block) -> Verdict:
    if _is_single(block) or any(True for _ in block.ties()):
        return Verdict(True)
    return Verdict(False, "there is no axis along which the outputs have inputs of their own")


def _is_kronecker(block: _Block) -> Verdict:
    if _is_single(block):
        return Verdict(True)
    parts = list(block.ties())
    if not parts:
        return _is_block_diagonal(block)
    if any(np.all(np.abs(part - part[:1]) <= block.slack) for part in parts):
        return Verdict(True)
    return Verdict(False, "it is block diagonal, but its blocks differ along every such axis")


def _is_dense(block: _Block) -> Verdict:
    return Verdict(True)


_Test: TypeAlias = Callable[[_Block], Verdict]

_TESTS: dict[Structure, _Test] = {
    Structure.ZERO: _is_zero,
    Structure.IDENTITY: _is_identity,
    Structure.SCALED_IDENTITY: _is_scaled_identity,
    Structure.DIAGONAL: _is_diagonal,
    Structure.SELECTION: _is_selection,
    Structure.BROADCAST: _is_broadcast,
    Structure.REDUCTION: _is_reduction,
    Structure.BLOCK_DIAGONAL: _is_block_diagonal,
    Structure.KRONECKER: _is_kronecker,
    Structure.DENSE: _is_dense,
}
