"""Colours for the columns of a pattern: each in turn takes the first that is free.

Each row keeps the colours that its columns have taken, as the bits of one integer. The first colour
that is free for a column is then the lowest 0 in the union over its rows, so that a turn costs one
operation per entry of the column, however many neighbours it has. A loop in plain Python goes
through a million entries in a fifth of a second. To colour all columns at once and mend conflicts
would take as many rounds as a long row has entries, and a compiled loop is compiled anew for each
pattern, which takes longer than this one runs.

What decides about the number of colours is the order of the turns.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np

__all__ = ["Order", "count_colors", "entries", "first_fit", "lists"]

Order: TypeAlias = Literal[
    "natural", "largest_first", "smallest_last", "incidence", "saturation", "random"
]

_BITS = 2**33
"""No more than about this many bits for the colours that the rows have seen."""

_GRID = 2**24
"""Rows are looked for within others where the matrix has no more than so many places."""

_PAIRS = 2**22
"""No more than about this many pairs of neighbours are looked at to choose an order."""


def entries(rows: np.ndarray, cols: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct entries of a pattern with `n` columns, row by row.

    Args:
        rows: The row of each entry, int64.
        cols: Its column.
        n: The number of columns.

    Returns:
        The rows and columns, sorted.
    """
    keys = rows * n + cols
    if (keys[1:] > keys[:-1]).all():
        return rows, cols
    keys = np.sort(keys)  # several times as fast as to sort by an index
    rows, cols = np.divmod(keys[np.append(True, keys[1:] != keys[:-1])], max(n, 1))
    return rows, cols


def lists(groups: np.ndarray, members: np.ndarray, n: int) -> list[list[int]]:
    """The members of each of `n` groups.

    Args:
        groups: The group of each member, sorted.
        members: The members.
        n: The number of groups.

    Returns:
        A list of lists of integers.
    """
    ends = np.cumsum(np.bincount(groups, minlength=n)).tolist()
    flat = members.tolist()
    return [flat[a:b] for a, b in pairwise([0, *ends])]


def count_colors(colors: np.ndarray) -> int:
    """The number of colours.

    Args:
        colors: Colours, counted from 0; -1 for none.

    Returns:
        One more than the largest.
    """
    return int(colors.max(initial=-1)) + 1


def first_fit(
    rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int], order: Order | None, iterations: int
) -> np.ndarray:
    """Colours of columns such that no two that share a row have the same.

    Args:
        rows: The row of each entry, int64.
        cols: Its column.
        shape: The number of rows and columns.
        order: Who comes first; None tries several, see `color_columns`.
        iterations: Rounds of improvement.

    Returns:
        The colour of each column, int32, counted from 0; -1 for a column without entries.
    """
    colors = np.full(shape[1], -1, np.int32)
    rows, cols = entries(rows, cols, shape[1])
    used = np.zeros(shape[1], bool)
    used[cols] = True
    rows, cols = _telling(rows, cols, shape)
    if not len(rows):
        colors[used] = 0
        return colors
    if order is None:
        rows, cols = _without_inner(rows, cols, shape[1])
    # Where a row is wide and the pattern large, the bits would take too much memory: columns of
    # such rows get a colour each, as those of the widest row must have anyway.
    wide = np.bincount(rows, minlength=1) > _BITS // max(len(rows), 1)
    alone = np.zeros(shape[1], bool)
    alone[cols[wide[rows]]] = True
    others = np.flatnonzero(used & ~alone)
    entry = ~alone[cols]
    found = _Search(rows[entry], np.searchsorted(others, cols[entry]), len(others))
    colors[others] = found.best(order, iterations)
    colors[alone] = np.arange(alone.sum()) + count_colors(colors)
    return colors


def _telling(
    rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The entries in rows that tell which columns are neighbours, rows numbered from 0.

    A row with one entry tells nothing, nor does one that is like a row before it: of a dense block
    one row is left.
    """
    m, n = shape
    length = np.bincount(rows, minlength=m)
    # Rows that are alike have equal sums of random numbers, to the last bit, for these are added
    # in the same order. Whether rows with equal sums are alike is then seen entry by entry.
    sums = np.bincount(rows, weights=np.random.default_rng(0).random(n)[cols], minlength=m)
    _, first, group = np.unique(sums, return_index=True, return_inverse=True)
    model = first[group]
    like = (model != np.arange(m)) & (length == length[model])
    start = np.cumsum(length) - length
    at = np.flatnonzero(like[rows])
    row = rows[at]
    like[row[cols[at] != cols[start[model[row]] + at - start[row]]]] = False
    return _only(rows, cols, (length > 1) & ~like)


def _only(rows: np.ndarray, cols: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The entries of some rows, which are numbered anew."""
    entry = kept[rows]
    return (np.cumsum(kept) - 1)[rows[entry]], cols[entry]


def _without_inner(rows: np.ndarray, cols: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """No rows that lie within another: of a triangle one row is left.

    A row is compared with one other alone, the longest that shares its rarest column.
    """
    m = int(rows.max(initial=-1)) + 1
    if not 0 < m * n <= _GRID:
        return rows, cols
    length, often = np.bincount(rows, minlength=m), np.bincount(cols, minlength=n)
    longest, rarest = np.zeros(n, np.int64), np.zeros(m, np.int64)
    by_length = np.argsort(length[rows], kind="stable")
    longest[cols[by_length]] = rows[by_length]  # the last one stays
    by_rarity = np.argsort(-often[cols], kind="stable")
    rarest[rows[by_rarity]] = cols[by_rarity]
    outer = longest[rarest]
    grid = np.zeros((m, n), bool)
    grid[rows, cols] = True
    inner = outer != np.arange(m)
    inner[rows[~grid[outer[rows], cols]]] = False
    return _only(rows, cols, ~inner)


class _Search:
    """The search for a colouring with few colours."""

    def __init__(self, rows: np.ndarray, cols: np.ndarray, n: int) -> None:
        self.n = n
        self.length = np.bincount(rows, minlength=1)
        self._rows, self._cols = rows, cols
        by_column, its_rows = entries(cols, rows, len(self.length))
        self.columns = lists(by_column, its_rows, n)
        self.bound = int(self.length.max()) or min(n, 1)

    def best(self, order: Order | None, iterations: int) -> np.ndarray:
        """The colours by one order, or by the best of three; improved."""
        tried: list[Order] = ["natural", "largest_first"] if order is None else [order]
        if order is None and (self.length**2).sum() <= _PAIRS:
            tried.append("saturation")  # the best of them, ten times as slow
        best = np.arange(self.n)
        for candidate in tried:
            colors = self.colored(candidate)
            if count_colors(colors) <= count_colors(best):
                best = colors
            if count_colors(best) <= self.bound:
                return best
        return self.improved(best, iterations)

    def improved(self, colors: np.ndarray, iterations: int) -> np.ndarray:
        """The colours after turns by colour, which come in reversed or in random order.

        Columns of one colour share no row. So those of the k-th colour to come find one among the
        first k free: the number of colours never grows.
        """
        generator = np.random.default_rng(0)
        for i in range(iterations):
            count = count_colors(colors)
            if count <= self.bound:
                break
            turn = generator.permutation(count) if i % 2 else np.arange(count)[::-1]
            colors = self.in_turn(np.argsort(turn[colors], kind="stable").tolist())
        return colors

    def colored(self, order: Order) -> np.ndarray:
        """The colours by one order."""
        if order == "saturation":
            return self.saturated()
        if order == "largest_first":
            return self.in_turn(np.argsort(-self.weight, kind="stable").tolist())
        if order == "smallest_last":
            return self.in_turn(reversed(self.peeled(self.weight)))
        if order == "incidence":
            return self.in_turn(self.peeled(np.zeros(self.n, np.int64)))
        if order == "random":
            return self.in_turn(np.random.default_rng(0).permutation(self.n).tolist())
        return self.in_turn(range(self.n))

    def in_turn(self, turns: Iterable[int]) -> np.ndarray:
        """The colours that columns take in turn."""
        seen = [0] * len(self.length)
        colors = [0] * self.n
        columns = self.columns
        for column in turns:
            rows = columns[column]
            taken = 0
            for row in rows:
                taken |= seen[row]
            bit = ~taken & (taken + 1)  # the lowest 0
            for row in rows:
                seen[row] |= bit
            colors[column] = bit.bit_length() - 1
        return np.array(colors, np.int32)

    @cached_property
    def weight(self) -> np.ndarray:
        """How many neighbours each column has; more than once if they share several rows."""
        weight = np.bincount(self._cols, weights=self.length[self._rows] - 1, minlength=self.n)
        return weight.astype(np.int64)

    @cached_property
    def neighbors(self) -> list[list[int]]:
        """The columns in each row that is short enough to look at pairs of them.

        Only an order depends on these: all rows count when a colour is chosen.
        """
        shortest = np.argsort(self.length, kind="stable")
        pairs = np.cumsum(self.length[shortest] ** 2)
        short = np.zeros(len(self.length), bool)
        short[shortest[pairs <= max(_PAIRS, 8 * len(self._rows))]] = True
        entry = short[self._rows]
        return lists(self._rows[entry], self._cols[entry], len(self.length))

    def ranked(self) -> tuple[list[int], list[int]]:
        """The rank of each column among the largest, and the column of each rank: to break ties."""
        column = np.argsort(-self.weight, kind="stable")
        rank = np.empty(self.n, np.int64)
        rank[column] = np.arange(self.n)
        return rank.tolist(), column.tolist()

    def peeled(self, keys: np.ndarray) -> list[int]:
        """The columns, each time the one with the smallest key.

        With a column go its ties: the key of a neighbour falls by one for each row they share.
        """
        rank, column_of = self.ranked()
        n, columns, neighbors = self.n, self.columns, self.neighbors
        key = [k * n + r for k, r in zip(keys.tolist(), rank, strict=True)]
        heap = key.copy()
        heapify(heap)
        waits = [True] * n
        turns = []
        while heap:
            smallest = heappop(heap)
            column = column_of[smallest % n]
            if not waits[column] or smallest != key[column]:
                continue  # it has fallen since, and is in the heap again
            waits[column] = False
            turns.append(column)
            for row in columns[column]:
                for other in neighbors[row]:
                    if waits[other]:
                        key[other] -= n
                        heappush(heap, key[other])
        return turns

    def saturated(self) -> np.ndarray:
        """The colours if each turn goes to a column whose neighbours have most colours."""
        rank, column_of = self.ranked()
        n, columns, neighbors = self.n, self.columns, self.neighbors
        seen = [0] * len(self.length)
        near = [0] * n
        colors = [-1] * n
        key = rank.copy()
        heap = list(range(n))
        while heap:
            column = column_of[heappop(heap) % n]
            if colors[column] >= 0:
                continue
            rows = columns[column]
            taken = 0
            for row in rows:
                taken |= seen[row]
            bit = ~taken & (taken + 1)
            colors[column] = bit.bit_length() - 1
            for row in rows:
                seen[row] |= bit
                for other in neighbors[row]:
                    if colors[other] < 0 and not near[other] & bit:
                        near[other] |= bit
                        key[other] -= n
                        heappush(heap, key[other])
        return np.array(colors, np.int32)
