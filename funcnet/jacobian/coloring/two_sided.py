"""Few products for patterns with dense rows and dense columns: some of each.

A dense row makes every two columns neighbours, a dense column every two rows; with both, as in an
arrowhead, neither columns nor rows can share a colour. But if the dense rows get VJPs, then the
columns have to be told apart in the other rows only, where a dense column takes one colour more::

    * * * *      row 0        one VJP
    * *          column 0     one JVP
    *   *        the rest of
    *     *      the diagonal one JVP

So the rows with more entries than a threshold are read from VJPs and all others from JVPs, or the
columns with more from JVPs and all others from VJPs. A colouring of one part has at least as many
colours as the longest line across has entries, which tells for each threshold how few products it
can lead to; the most promising ones are tried.

References:
    Hossain and Steihaug 1998, Computing a sparse Jacobian matrix by rows and columns. Coleman and
    Verma 1998, The efficient computation of sparse Jacobian matrices using automatic
    differentiation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from funcnet.jacobian.coloring.first_fit import Order, count_colors, entries, first_fit
from funcnet.jacobian.coloring.one_sided import (
    Coloring,
    check_options,
    check_pattern,
    narrow,
    place,
)

__all__ = ["color_both"]

_TRIES = 4
"""So many of the most promising splits are tried, besides columns alone and rows alone."""

_WORTHWHILE = 2 / 3
"""A split is not tried unless its bound is at most this part of theirs."""


def color_both(
    rows: np.ndarray,
    cols: np.ndarray,
    shape: tuple[int, int],
    *,
    order: Order | None = None,
    iterations: int = 4,
) -> Coloring:
    """Colour rows and columns such that each entry is alone in a JVP or in a VJP.

    Columns alone and rows alone are among what is tried.

    Args:
        rows: The row of each entry that can differ from 0.
        cols: Its column.
        shape: The shape of the Jacobian.
        order: Who comes first, see :func:`~funcnet.jacobian.coloring.one_sided.color_columns`.
        iterations: Rounds of turns by colour.

    Returns:
        The colouring, the same for the same arguments.

    Raises:
        ShapeError: `rows` and `cols` are not two vectors of one length.
        DTypeError: They do not hold integers.
        ArgumentError: An index lies outside of `shape`, or an option is unknown.

    Example:
        >>> i, zero = np.arange(1000), np.zeros(1000, int)
        >>> arrowhead = np.concatenate([i, i, zero]), np.concatenate([i, zero, i])
        >>> coloring = color_both(*arrowhead, (1000, 1000))
        >>> coloring.jvps, coloring.vjps
        (2, 1)
    """
    rows, cols, (m, n) = check_pattern("color_both", rows, cols, shape)
    check_options("color_both", order, iterations)
    # Each entry once: how often it is given says nothing about how dense its row is.
    each = entries(rows, cols, n)
    splits = sorted(_splits(*each, (m, n)), key=lambda split: split.bound)
    plain = [split for split in splits if split.is_plain]
    worthwhile = [split for split in splits if split.bound <= _WORTHWHILE * plain[0].bound]
    fewest, chosen = m + n + 1, plain[0]
    for split in [*worthwhile[:_TRIES], *plain]:
        if split.bound < fewest:
            # To choose a split, one order and no improvement are good enough.
            colors = split.colored(*each, (m, n), order or "largest_first", 0)
            count = sum(map(count_colors, colors))
            if count < fewest:
                fewest, chosen = count, split
    column_colors, row_colors = chosen.colored(*each, (m, n), order, iterations)
    jvps, vjps = count_colors(column_colors), count_colors(row_colors)
    pushed = place(column_colors[cols], rows, m)
    pulled = jvps * m + place(row_colors[rows], cols, n)
    return Coloring(
        kind="bi",
        shape=(m, n),
        column_colors=column_colors,
        row_colors=row_colors,
        jvps=jvps,
        vjps=vjps,
        gather=narrow(np.where(chosen.forward(rows, cols), pushed, pulled)),
    )


class _Split(NamedTuple):
    """A choice between JVPs and VJPs.

    Attributes:
        axis: Whether rows decide, 0, or columns, 1.
        forward_lines: For each of them, whether its entries are read from JVPs.
        bound: No colouring has fewer colours.
    """

    axis: int
    forward_lines: np.ndarray
    bound: int

    def forward(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """For each entry, whether it is read from a JVP."""
        return self.forward_lines[(rows, cols)[self.axis]]

    def colored(
        self,
        rows: np.ndarray,
        cols: np.ndarray,
        shape: tuple[int, int],
        order: Order | None,
        iterations: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The colours of the columns in one part, and of the rows in the other."""
        forward = self.forward(rows, cols)
        return (
            first_fit(rows[forward], cols[forward], shape, order, iterations),
            first_fit(cols[~forward], rows[~forward], shape[::-1], order, iterations),
        )

    @property
    def is_plain(self) -> bool:
        """Whether all entries are read alike."""
        return bool(self.forward_lines.all() or not self.forward_lines.any())


def _splits(rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]) -> Iterator[_Split]:
    """One axis alone, twice, and thresholds at the powers of two for rows and for columns."""
    for axis, lines in enumerate((rows, cols)):
        length = np.bincount(lines, minlength=shape[axis])
        seen = [0, shape[axis]]
        for threshold in 2 ** np.arange(int(length.max(initial=0)).bit_length()):
            sparse = length <= threshold
            if sparse.sum() not in seen:
                seen.append(sparse.sum())
                yield _split(rows, cols, axis, sparse if axis == 0 else ~sparse)
    yield _split(rows, cols, 0, np.ones(shape[0], bool))
    yield _split(rows, cols, 0, np.zeros(shape[0], bool))


def _split(rows: np.ndarray, cols: np.ndarray, axis: int, forward_lines: np.ndarray) -> _Split:
    forward = forward_lines[(rows, cols)[axis]]
    bound = np.bincount(rows[forward], minlength=1).max()
    bound += np.bincount(cols[~forward], minlength=1).max()
    return _Split(axis, forward_lines, int(bound))
