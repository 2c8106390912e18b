"""What the results of a loop depend on, given what one step does.

With the body's Jacobian split into carry by carry A, carry by operand C, stacked result by carry D
and stacked result by operand F, the carry follows ``S <- A S + C`` from step to step, and step t
adds the rows ``D S + F`` to the result. An operand that is read slice by slice is seen through the
powers of A: after t steps, what came in s steps ago by ``A^s C``. Where the steps stop changing,
they all look alike from there on; a loop of unknown length takes all powers of A at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from funcnet.jacobian.sparsity.supports import (
    LARGEST,
    Support,
    TooLargeError,
    closure,
    empty,
    equal,
    listed_support,
    product,
    union,
)

__all__ = ["MOST_STEPS", "Steps"]

MOST_STEPS = 256
"""Steps are told apart until there are this many patterns of them."""

Seen: TypeAlias = tuple[Support, list[Support]]
"""What the carry depends on after the loop, and what each stacked result does."""


@dataclass(frozen=True, eq=False)
class Steps:
    """A loop.

    Attributes:
        carry: What all that is carried depends on of all that is carried, one step before.
        readings: What one step's part of each stacked result depends on of all that is carried.
        trips: How many steps there are; None for a loop of unknown length, which stacks nothing.
        is_reversed: Whether slices are read and written from the last to the first.
    """

    carry: Support
    readings: Sequence[Support]
    trips: int | None
    is_reversed: bool

    def by_whole(self, first: Support, added: Support, own: Sequence[Support]) -> Seen:
        """By an operand that the loop starts from, or that each step reads again.

        Args:
            first: What the carry sees of it before the loop.
            added: What one step adds to that.
            own: What one step's part of each stacked result sees of it directly.
        """
        if self.trips is None:
            return product(closure(self.carry), union(first, added)), []
        seen = self._history(first, added, self.trips + 1)
        order, stacked = self._order(), []
        for reading, direct in zip(self.readings, own, strict=True):
            parts = [union(product(reading, s), direct) for s in seen[: self.trips]]
            # The last pattern holds for all steps that are left.
            steps = [[t] for t in range(len(parts))]
            if steps:
                steps[-1] = list(range(len(parts) - 1, self.trips))
            placed = [
                (part, order[at], np.zeros(len(at), np.int64))
                for part, at in zip(parts, steps, strict=True)
            ]
            stacked.append(_placed(placed, direct.shape, (self.trips, 1)))
        return seen[min(self.trips, len(seen) - 1)], stacked

    def by_slices(self, added: Support, own: Sequence[Support]) -> Seen:
        """By an operand of which each step reads a slice.

        Args:
            added: What the carry sees of the slice after the step.
            own: What that step's part of each stacked result sees of it.
        """
        trips = self.trips or 0
        height, width = added.shape
        if not trips:
            none = [empty(0, 0) for _ in own]
            return empty(height, 0), none
        order = self._order()
        # By how many steps ago a slice was read, before the last step.
        ages = self._history(added, empty(height, width), trips)
        last = []
        for age, seen in enumerate(ages):
            until = trips if age == len(ages) - 1 else age + 1
            at = order[trips - 1 - np.arange(age, until)]
            last.append((seen, np.zeros(len(at), np.int64), at))
        stacked = []
        for reading, direct in zip(self.readings, own, strict=True):
            placed = [(direct, order, order)]
            for age, seen in enumerate(ages):
                part = product(reading, seen)
                until = trips if age == len(ages) - 1 else age + 1
                later, earlier = _pairs(trips, age + 1, until, part.nnz)
                placed.append((part, order[later], order[earlier]))
            stacked.append(_placed(placed, direct.shape, (trips, trips)))
        return _placed(last, (height, width), (1, trips)), stacked

    def _history(self, first: Support, added: Support, most: int) -> list[Support]:
        """What the carry sees before each step, as far as that changes; `most` steps at most."""
        found: list[Support] = []
        for seen in self._steps(first, added):
            found.append(seen)
            if len(found) == most:
                break
        return found

    def _steps(self, first: Support, added: Support) -> Iterator[Support]:
        """What the carry sees before each step; the last one holds for all steps after."""
        seen = first
        for _ in range(MOST_STEPS):
            yield seen
            more = union(product(self.carry, seen), added)
            if equal(more, seen):
                return
            seen = more
        yield product(closure(self.carry), union(seen, added))

    def _order(self) -> np.ndarray:
        """Where the slice of each step stands."""
        where = np.arange(self.trips or 0)
        return where[::-1] if self.is_reversed else where


def _pairs(trips: int, least: int, most: int, entries: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of a step and an earlier one that are so many steps apart, both ends included."""
    apart = np.arange(least, min(most, trips - 1) + 1) if entries else np.zeros(0, np.int64)
    counts = trips - apart
    if int(counts.sum()) * entries > LARGEST:
        raise TooLargeError
    later = np.concatenate([np.zeros(0, np.int64), *(np.arange(a, trips) for a in apart)])
    return later, later - np.repeat(apart, counts)


def _placed(
    parts: Sequence[tuple[Support, np.ndarray, np.ndarray]],
    each: tuple[int, int],
    grid: tuple[int, int],
) -> Support:
    """A matrix of equal parts.

    Args:
        parts: Parts that are not 0, with the rows and columns of the grid at which they stand.
        each: The shape of a part.
        grid: How many there are below and beside one another.
    """
    if sum(part.nnz * len(i) for part, i, _ in parts) > LARGEST:
        raise TooLargeError
    rows, cols = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for part, i, j in parts:
        listed = part.tocoo()
        rows.append((listed.row.astype(np.int64) + i[:, None] * each[0]).ravel())
        cols.append((listed.col.astype(np.int64) + j[:, None] * each[1]).ravel())
    shape = (each[0] * grid[0], each[1] * grid[1])
    return listed_support(np.concatenate(rows), np.concatenate(cols), shape)
