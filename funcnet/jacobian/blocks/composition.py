"""The chain rule for structured blocks: the product of two terms is a term again.

In ``A B`` the columns of A meet the rows of B. Both count through the same range, each by its own
indices: 12 entries may be one index of 12 on one side and 3 times 4 on the other. Where the two
ways of counting have a boundary in common, as digits of a number do, the range falls into levels,
and each level is matched for itself. At a level where both sides have one index of one stride the
match is the overlap of two ranges; only tables have to be joined entry by entry. Indices that move
only the rows of A or only the columns of B have no part in it, so that dense parts are never
written out as lists of entries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from funcnet.jacobian.blocks.terms import (
    Block,
    Coord,
    Index,
    Term,
    added,
    make_term,
    offsets,
    reach,
)
from funcnet.jacobian.blocks.values import Value, contraction, product

__all__ = ["composed"]


def composed(a: Block, b: Block) -> Block:
    """The product of two blocks: the derivative of one function after another.

    Args:
        a: The Jacobian of the outer function.
        b: The Jacobian of the inner function, with as many rows as `a` has columns.

    Returns:
        The Jacobian of the composition.
    """
    shape = (a.shape[0], b.shape[1])
    blocks = [
        Block(shape, (term,))
        for outer in a.terms
        for inner in b.terms
        if (term := _product(outer, inner, a.shape[1])) is not None
    ]
    return added([Block(shape), *blocks])


@dataclass(eq=False)
class _Axis:
    """An index of a factor: what it adds to the coordinate in common, and to the one that stays."""

    extent: int
    meet: Coord
    stay: Coord

    @cached_property
    def unit(self) -> int:
        """The largest number that divides all it adds to the coordinate in common."""
        return int(np.gcd.reduce(self.meet)) if isinstance(self.meet, np.ndarray) else self.meet

    @cached_property
    def top(self) -> int:
        """The most that it adds to the coordinate in common."""
        return reach(self.meet, self.extent)


class _Side:
    """One of the two factors while they are matched."""

    def __init__(self, term: Term, *, is_outer: bool) -> None:
        self.value = term.value
        self.meet0, self.stay0 = (term.col0, term.row0) if is_outer else (term.row0, term.col0)
        self.axes = []
        for i, index in enumerate(term.indices):
            meet, stay = (index.col, index.row) if is_outer else (index.row, index.col)
            if not isinstance(meet, np.ndarray) and meet < 0:
                # Counted from its other end, an index moves upwards.
                last = index.extent - 1
                self.meet0, meet = self.meet0 + meet * last, -meet
                if isinstance(stay, np.ndarray):
                    stay = stay[::-1]
                else:
                    self.stay0, stay = self.stay0 + stay * last, -stay
                self.value = self.value.flipped(i)
            self.axes.append(_Axis(index.extent, meet, stay))

    def moving(self) -> list[_Axis]:
        """The indices that move the coordinate in common."""
        return [a for a in self.axes if isinstance(a.meet, np.ndarray) or a.meet != 0]

    def boundaries(self) -> set[int]:
        """Where the digits of this way of counting may end."""
        ends = {0}
        for a in self.moving():
            ends.add(a.unit)
            if not isinstance(a.meet, np.ndarray):
                ends.add(a.meet * a.extent)
        return ends

    def cuts_at(self, boundary: int) -> dict[_Axis, int] | None:
        """The indices to split at a boundary, and their low steps; None if there is no boundary."""
        cuts, low = {}, self.meet0 % boundary
        for a in self.moving():
            if a.unit % boundary == 0:
                continue
            if a.top < boundary:
                low += a.top
            elif not isinstance(a.meet, np.ndarray) and boundary % a.meet == 0:
                steps = boundary // a.meet
                if a.extent % steps or isinstance(a.stay, np.ndarray):
                    return None
                cuts[a] = steps
                low += boundary - a.meet
            else:
                return None
            if low >= boundary:
                return None
        return cuts

    def split(self, cuts: dict[_Axis, int]) -> None:
        """Count each of some indices in two, the inner one in so many steps."""
        for a, steps in cuts.items():
            assert not isinstance(a.meet, np.ndarray) and not isinstance(a.stay, np.ndarray)
            at, shape = self.axes.index(a), self.value.shape
            outer = _Axis(a.extent // steps, a.meet * steps, a.stay * steps)
            parts = (outer.extent, steps) if self.value.varies(at) else (1, 1)
            self.value = self.value.reshaped((*shape[:at], *parts, *shape[at + 1 :]))
            self.axes[at : at + 1] = [outer, _Axis(steps, a.meet, a.stay)]

    def level(self, low: int, high: int) -> _Axis | None:
        """The one index that counts between two boundaries; several are joined to one."""
        found = [a for a in self.moving() if a.unit % low == 0 and a.top < high and a.unit < high]
        found = [a for a in found if a.unit >= low]
        return self._joined(found) if len(found) > 1 else found[0] if found else None

    def _joined(self, several: Sequence[_Axis]) -> _Axis:
        places = [self.axes.index(a) for a in several]
        rest = [i for i in range(len(self.axes)) if i not in places]
        extents = [a.extent for a in several]
        meet, stay = np.zeros(1, np.int64), np.zeros(1, np.int64)
        for a in several:
            meet = (meet[:, None] + offsets(a.meet, a.extent)).ravel()
            stay = (stay[:, None] + offsets(a.stay, a.extent)).ravel()
        value = self.value.transposed([*places, *rest])
        varies = any(value.varies(i) for i in range(len(several)))
        for i, extent in enumerate(extents if varies else []):
            value = value.repeated(i, extent)
        one = math.prod(extents) if varies else 1
        self.value = value.reshaped((one, *value.shape[len(several) :]))
        # What moves nothing else is summed over, and that is told by a stride of 0.
        joined = _Axis(math.prod(extents), meet, stay if stay.any() else 0)
        self.axes = [joined, *(self.axes[i] for i in rest)]
        return joined

    def keep_range(self, axis: _Axis, start: int, extent: int) -> None:
        """Restrict an index to a range."""
        self.value = self.value.sliced(self.axes.index(axis), start, extent)
        if isinstance(axis.stay, np.ndarray):
            axis.stay = axis.stay[start : start + extent]
        else:
            self.stay0 += axis.stay * start
        axis.extent = extent

    def keep_entries(self, axis: _Axis, positions: np.ndarray) -> None:
        """Let an index run through a list of its positions."""
        whole = len(positions) == axis.extent and np.array_equal(positions, np.arange(axis.extent))
        if not whole:
            self.value = self.value.taken(self.axes.index(axis), positions)
            if isinstance(axis.stay, np.ndarray) or axis.stay != 0:
                axis.stay = offsets(axis.stay, axis.extent)[positions]
            axis.extent = len(positions)


def _product(outer: Term, inner: Term, size: int) -> Term | None:
    """The product of two terms; None if it has no entries."""
    if len(outer.indices) == len(inner.indices) <= 1 and _run_together(outer, inner):
        # Most products are of this kind: entry by entry.
        indices = tuple(
            Index(i.extent, i.row, j.col) for i, j in zip(outer.indices, inner.indices, strict=True)
        )
        return Term(indices, outer.row0, inner.col0, product(outer.value, inner.value))
    a, b = _Side(outer, is_outer=True), _Side(inner, is_outer=False)
    pairs = []
    for low, high in _levels(a, b, size):
        digit_a, digit_b = (s.meet0 // low % (high // low) for s in (a, b))
        pair = _match(a, b, a.level(low, high), b.level(low, high), low, (digit_a, digit_b))
        if pair is None:
            return None
        pairs.append(pair)
    return _multiplied(a, b, [p for p in pairs if p != (None, None)])


def _run_together(outer: Term, inner: Term) -> bool:
    """Whether two terms of at most one index meet in every entry, and nowhere twice."""
    if outer.col0 != inner.row0:
        return False
    return all(
        i.extent == j.extent
        and _is_step(i.col)
        and _is_step(j.row)
        and i.col == j.row
        and (_is_step(i.row) or _is_step(j.col))
        for i, j in zip(outer.indices, inner.indices, strict=True)
    )


def _is_step(coord: Coord) -> bool:
    return not isinstance(coord, np.ndarray) and coord != 0


def _levels(a: _Side, b: _Side, size: int) -> list[tuple[int, int]]:
    """Split the indices of both sides at all boundaries that they have in common."""
    levels, low = [], 1
    for boundary in sorted(a.boundaries() | b.boundaries()):
        if low < boundary < size and boundary % low == 0:
            cuts_a, cuts_b = a.cuts_at(boundary), b.cuts_at(boundary)
            if cuts_a is not None and cuts_b is not None:
                a.split(cuts_a)
                b.split(cuts_b)
                levels.append((low, boundary))
                low = boundary
    # The uppermost digit has no end that it could run over.
    levels.append((low, low * (size // low + 2)))
    return levels


def _match(
    a: _Side, b: _Side, in_a: _Axis | None, in_b: _Axis | None, low: int, digits: tuple[int, int]
) -> tuple[_Axis | None, _Axis | None] | None:
    """Restrict both sides to where they agree on a level; None if they never do.

    Returns:
        The two indices that have become one, or one index alone, or none.
    """
    start_a, start_b = digits
    if in_a is None and in_b is None:
        return (None, None) if start_a == start_b else None
    if in_a is None or in_b is None:
        side, axis, wanted = (
            (b, in_b, start_a - start_b) if in_a is None else (a, in_a, start_b - start_a)
        )
        assert axis is not None
        found = np.flatnonzero(offsets(axis.meet, axis.extent) == wanted * low)
        if not len(found):
            return None
        if len(found) == 1:
            side.keep_range(axis, int(found[0]), 1)
        else:
            side.keep_entries(axis, found)
        return (in_a, in_b)
    apart = (start_b - start_a) * low
    step, other = in_a.meet, in_b.meet
    if not isinstance(step, np.ndarray) and not isinstance(other, np.ndarray) and step == other:
        if apart % step:
            return None
        ahead = apart // step
        first, end = max(0, ahead), min(in_a.extent, in_b.extent + ahead)
        if first >= end:
            return None
        a.keep_range(in_a, first, end - first)
        b.keep_range(in_b, first - ahead, end - first)
        return in_a, in_b
    at_a, at_b = _join(offsets(in_a.meet, in_a.extent), offsets(in_b.meet, in_b.extent) + apart)
    if not len(at_a):
        return None
    a.keep_entries(in_a, at_a)
    b.keep_entries(in_b, at_b)
    return in_a, in_b


def _join(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of positions at which two lists of numbers agree, ordered by the left one."""
    if len(left) < len(right):
        at_right, at_left = _join(right, left)
        order = np.argsort(at_left, kind="stable")
        return at_left[order], at_right[order]
    order = np.argsort(right, kind="stable")
    first = np.searchsorted(right[order], left, "left")
    count = np.searchsorted(right[order], left, "right") - first
    at_left = np.repeat(np.arange(len(left)), count)
    within = np.arange(len(at_left)) - np.repeat(np.cumsum(count) - count, count)
    return at_left, order[np.repeat(first, count) + within]


def _multiplied(
    a: _Side, b: _Side, pairs: Sequence[tuple[_Axis | None, _Axis | None]]
) -> Term | None:
    """The term that two matched sides make."""
    mates = {x: y for x, y in pairs if x is not None and y is not None}
    name = {axis: i for i, axis in enumerate([*a.axes, *b.axes])}
    name |= {y: name[x] for x, y in mates.items()}
    found = {
        name[x]: Index(x.extent, x.stay, mates[x].stay if x in mates else 0) for x in a.axes
    } | {name[y]: Index(y.extent, 0, y.stay) for y in b.axes if y not in mates.values()}
    kept = {i: index for i, index in found.items() if not index.is_still}
    value = _value(
        a.value, [name[x] for x in a.axes], b.value, [name[y] for y in b.axes], found, kept
    )
    indices = list(kept.values())
    for axis, index in enumerate(indices):
        if (unique := _distinct(index)) is not None:
            indices[axis], groups = unique
            value = value.grouped(axis, groups, indices[axis].extent)
    return make_term(indices, a.stay0, b.stay0, value)


def _value(
    a: Value,
    a_names: Sequence[int],
    b: Value,
    b_names: Sequence[int],
    found: Mapping[int, Index],
    kept: Mapping[int, Index],
) -> Value:
    """The product of two values, summed over the indices that are not kept."""
    varying = [
        {n for n, extent in zip(names, v.shape, strict=True) if extent != 1}
        for v, names in ((a, a_names), (b, b_names))
    ]
    lost = found.keys() - kept.keys()
    times = math.prod(found[n].extent for n in lost - varying[0] - varying[1])
    if varying[0] & varying[1] & lost:
        return contraction(a, a_names, b, b_names, list(kept)).scaled(times)
    parts = [_aligned(*side, lost, list(kept)) for side in ((a, a_names), (b, b_names))]
    return product(*parts).scaled(times)


def _aligned(value: Value, names: Sequence[int], lost: Set[int], kept: Sequence[int]) -> Value:
    """Sum over the lost indices and give a value an axis for each of the kept ones."""
    names = list(names)
    for n in [n for n in names if n in lost]:
        axis = names.index(n)
        value = value.summed(axis, value.shape[axis])
        del names[axis]
    here = sorted(range(len(names)), key=lambda axis: kept.index(names[axis]))
    value = value.transposed(here)
    extents = {names[axis]: extent for axis, extent in zip(here, value.shape, strict=True)}
    return value.reshaped([extents.get(n, 1) for n in kept])


def _distinct(index: Index) -> tuple[Index, np.ndarray] | None:
    """An index with every pair of row and column once, and which entries come together in it."""
    row, col = index.row, index.col
    tables = [c for c in (row, col) if isinstance(c, np.ndarray)]
    if not tables or any(not isinstance(c, np.ndarray) and c != 0 for c in (row, col)):
        return None
    places = np.stack(tables)
    order = np.lexsort(places)
    new = np.any(np.diff(places[:, order], axis=1) != 0, axis=0)
    if np.all(new):
        return None
    groups = np.empty(index.extent, np.int64)
    groups[order] = np.concatenate([[0], np.cumsum(new)])
    first = order[np.concatenate([[True], new])]
    taken = [c[first] if isinstance(c, np.ndarray) else 0 for c in (row, col)]
    return Index(len(first), *taken), groups
