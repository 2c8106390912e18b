"""Operations that slide a window over arrays: convolutions, sums over windows, cumulative sums.

A convolution multiplies, for an output place o and a tap k of its kernel, along each axis::

    out[o] += kernel[k] input[(o stride + k dilation - low) / base]

wherever that is a whole number inside of the input. Ranges of o and ranges of k for which that is
so everywhere are nests; away from the edges all of k is one. A cumulative sum is a triangle, and
that is made of squares: one half as large as the whole, two of a quarter, and so on to the
diagonal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from funcnet.jacobian.blocks.terms import Block, Index, Term, make_term
from funcnet.jacobian.blocks.values import constant, leaf
from funcnet.jacobian.linearization import LinearProgram, aval_of

__all__ = ["Piece", "Window", "convolution", "cumulative_sum", "window_block", "window_sum"]

_MOST_TERMS = 32
"""More terms than this are no simplification."""

_MOST_PLACES = 1 << 20
"""Along an axis, more pairs of an output place and a tap are not counted through."""


@dataclass(frozen=True)
class Window:
    """How a window slides along an axis.

    Attributes:
        out: The number of output places.
        inside: The number of input places.
        taps: The number of taps of the window.
        stride: How far the window moves from one output place to the next.
        low: The padding before the input.
        base: The distance between places of the input, in steps of the window.
        dilation: The distance between taps.
    """

    out: int
    inside: int
    taps: int
    stride: int = 1
    low: int = 0
    base: int = 1
    dilation: int = 1

    def where(self, out: Any, tap: Any) -> Any:
        """The place of the input that a tap meets, times `base`."""
        return out * self.stride + tap * self.dilation - self.low

    def meets(self, out: Any, tap: Any) -> Any:
        """Whether a tap meets a place of the input."""
        where = self.where(out, tap)
        return (where % self.base == 0) & (where >= 0) & (where < self.base * self.inside)

    def pieces(self) -> list[Piece] | None:
        """Ranges that make up all pairs that meet, few of them; None if that takes too long."""
        if self.out * self.taps > _MOST_PLACES:
            return None
        meets = self.meets(np.arange(self.out)[:, None], np.arange(self.taps))
        by_tap = []
        for tap in np.flatnonzero(meets.any(0)):
            places = np.flatnonzero(meets[:, tap])
            step = int(places[1] - places[0]) if len(places) > 1 else 1
            by_tap.append(Piece(self, int(places[0]), step, len(places), int(tap), 1))
        if self.base > 1:
            return by_tap
        first, count = meets.argmax(1), meets.sum(1)
        by_place = []
        new = np.flatnonzero((np.diff(first) != 0) | (np.diff(count) != 0)) + 1
        for start, end in itertools.pairwise([0, *new.tolist(), self.out]):
            if end > start and count[start]:
                taps = int(first[start]), int(count[start])
                by_place.append(Piece(self, start, 1, end - start, *taps))
        return min(by_tap, by_place, key=len)


@dataclass(frozen=True)
class Piece:
    """Output places ``start + step i`` and taps ``tap + j``, i < count and j < taps, that meet."""

    window: Window
    start: int
    step: int
    count: int
    tap: int
    taps: int

    @property
    def input_start(self) -> int:
        """The place of the input that the first tap meets at the first output place."""
        return int(self.window.where(self.start, self.tap)) // self.window.base

    @property
    def input_steps(self) -> tuple[int, int]:
        """How far in the input one step along the output and along the taps leads."""
        w = self.window
        return self.step * w.stride // w.base, w.dilation // w.base

    def places(self) -> np.ndarray:
        """The place of the input for each output place and tap."""
        along, across = self.input_steps
        grid = np.arange(self.count)[:, None] * along + np.arange(self.taps) * across
        return self.input_start + grid


def _cuts(windows: Sequence[Window], most: int) -> list[tuple[Piece, ...]] | None:
    """All combinations of pieces along several axes; None if they are too many."""
    found = []
    for window in windows:
        pieces = window.pieces()
        if pieces is None:
            return None
        found.append(pieces)
    if math.prod(map(len, found)) > most:
        return None
    return list(itertools.product(*found))


def window_block(windows: Sequence[Window], most: int = _MOST_TERMS) -> Block | None:
    """Where a sum over windows takes its entries from, a window for each axis.

    Args:
        windows: How the window slides along each axis.
        most: More terms than this are not made.

    Returns:
        A block of ones, or None if it would take too many terms.
    """
    cuts = _cuts(windows, most)
    if cuts is None:
        return None
    shape = [w.out for w in windows], [w.inside for w in windows]
    rows, cols = map(_strides, shape)
    terms = []
    for cut in cuts:
        indices = []
        for piece, r, c in zip(cut, rows, cols, strict=True):
            along, across = piece.input_steps
            indices.append(Index(piece.count, piece.step * r, along * c))
            indices.append(Index(piece.taps, 0, across * c))
        row0 = sum(p.start * r for p, r in zip(cut, rows, strict=True))
        col0 = sum(p.input_start * c for p, c in zip(cut, cols, strict=True))
        terms.append(make_term(indices, row0, col0, constant(1.0, len(indices))))
    return _block((math.prod(shape[0]), math.prod(shape[1])), terms)


def windows_of(eqn: JaxprEqn, out: Sequence[int], inside: Sequence[int]) -> list[Window]:
    """The windows of an operation that has them as parameters."""
    params, ones = eqn.params, (1,) * len(out)
    return [
        Window(*sizes)
        for sizes in zip(
            out,
            inside,
            params["window_dimensions"],
            params["window_strides"],
            [low for low, _ in params["padding"]],
            params.get("base_dilation") or ones,
            params.get("window_dilation") or ones,
            strict=True,
        )
    ]


def window_sum(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """Sums over windows of an array."""
    return window_block(windows_of(eqn, _shape(eqn.outvars[0]), _shape(eqn.invars[0])))


def cumulative_sum(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """A triangle along one axis, and the identity along all others."""
    shape, axis = _shape(eqn.invars[0]), eqn.params["axis"]
    strides, size = _strides(shape), math.prod(shape)
    n, step = shape[axis], strides[axis]
    others = [
        Index(m, s, s) for a, (m, s) in enumerate(zip(shape, strides, strict=True)) if a != axis
    ]
    nests: list[tuple[list[Index], int]] = [([Index(n, step, step)], 0)]
    side = 1
    while side < n:
        # Rows [side, 2 side) of each 2 side see the columns before; the last of them may be cut.
        pairs, rest = divmod(n, 2 * side)
        across = Index(side, 0, step)
        low = Index(side, step, 0)
        nests.append(([Index(pairs, 2 * side * step, 2 * side * step), low, across], 0))
        if rest > side:
            nests.append(([Index(rest - side, step, 0), across], pairs * 2 * side))
        side *= 2
    terms = []
    for depth, (nest, start) in enumerate(nests):
        height = 0 if depth == 0 else nest[-1].extent
        row0, col0 = (start + height) * step, start * step
        if eqn.params["reverse"]:
            nest, row0, col0 = [i.transposed for i in nest], col0, row0
        indices = [*others, *nest]
        terms.append(make_term(indices, row0, col0, constant(1.0, len(indices))))
    return _block((size, size), terms)


def convolution(
    program: LinearProgram, eqn: JaxprEqn, place: int, most: int = _MOST_TERMS
) -> Block | None:
    """A convolution, as a function of what is convolved (place 0) or of the kernel (place 1)."""
    if program.is_linear(eqn.invars[1 - place]):
        return None
    numbers, params = eqn.params["dimension_numbers"], eqn.params
    image, kernel, out = (_shape(v) for v in (*eqn.invars, eqn.outvars[0]))
    i_batch, i_feature, *i_axes = numbers.lhs_spec
    k_out, k_in, *k_axes = numbers.rhs_spec
    o_batch, o_feature, *o_axes = numbers.out_spec
    windows = [
        Window(out[o], image[i], kernel[k], stride, low, base, dilation)
        for o, i, k, stride, (low, _), base, dilation in zip(
            o_axes,
            i_axes,
            k_axes,
            params["window_strides"],
            params["padding"],
            params["lhs_dilation"],
            params["rhs_dilation"],
            strict=True,
        )
    ]
    cuts = _cuts(windows, most)
    if cuts is None:
        return None
    # Groups of features or of the batch (at most one of them is more than 1) do not see others.
    by_batch, by_feature = params["batch_group_count"], params["feature_group_count"]
    batch, n_in = out[o_batch], kernel[k_in]
    n_out = kernel[k_out] // (by_batch * by_feature)
    i_steps, k_steps, o_steps = map(_strides, (image, kernel, out))
    # Extent and steps in the output, the image and the kernel.
    channels = [
        (by_batch, n_out * o_steps[o_feature], batch * i_steps[i_batch], n_out * k_steps[k_out]),
        (batch, o_steps[o_batch], i_steps[i_batch], 0),
        (by_feature, n_out * o_steps[o_feature], n_in * i_steps[i_feature], n_out * k_steps[k_out]),
        (n_in, 0, i_steps[i_feature], k_steps[k_in]),
        (n_out, o_steps[o_feature], 0, k_steps[k_out]),
    ]

    def read_image(env: Any, cut: Sequence[Piece]) -> Any:
        x = env.read(eqn.invars[0]).transpose(i_batch, i_feature, *i_axes)
        x = x.reshape(by_batch, batch, by_feature, n_in, 1, *x.shape[2:])
        for axis, piece in enumerate(cut):
            at = (slice(None),) * (5 + 2 * axis)
            x = x.at[(*at, piece.places())].get(mode="promise_in_bounds")
        return x

    def read_kernel(env: Any, cut: Sequence[Piece]) -> Any:
        w = env.read(eqn.invars[1]).transpose(k_out, k_in, *k_axes)
        w = w[(slice(None), slice(None), *(slice(p.tap, p.tap + p.taps) for p in cut))]
        taps = [n for p in cut for n in (1, p.taps)]
        w = w.reshape(by_batch, 1, by_feature, n_out, n_in, *taps)
        return w.swapaxes(3, 4)

    terms = []
    for cut in cuts:
        nest, starts = list(channels), [0, 0, 0]
        for piece, o, i, k in zip(cut, o_axes, i_axes, k_axes, strict=True):
            along, across = piece.input_steps
            nest.append((piece.count, piece.step * o_steps[o], along * i_steps[i], 0))
            nest.append((piece.taps, 0, across * i_steps[i], k_steps[k]))
            starts[0] += piece.start * o_steps[o]
            starts[1] += piece.input_start * i_steps[i]
            starts[2] += piece.tap * k_steps[k]
        ours, theirs, read = (1, 2, read_kernel) if place == 0 else (2, 1, read_image)
        shape = [one[0] if one[1 + theirs] else 1 for one in nest]
        value = leaf(shape, lambda env, read=read, cut=cut: read(env, cut))  # type: ignore[misc]
        indices = [Index(one[0], one[1], one[1 + ours]) for one in nest]
        terms.append(make_term(indices, starts[0], starts[ours], value))
    return _block((math.prod(out), math.prod(_shape(eqn.invars[place]))), terms)


def _block(shape: tuple[int, int], terms: Sequence[Term | None]) -> Block:
    return Block(shape, tuple(t for t in terms if t is not None))


def _shape(atom: Any) -> tuple[int, ...]:
    return tuple(aval_of(atom).shape)


def _strides(shape: Sequence[int]) -> list[int]:
    """How far one step along each axis leads in row-major order."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
