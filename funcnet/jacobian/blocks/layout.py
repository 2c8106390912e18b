"""Arrays whose axes lie in memory in another order than they are counted in.

A product of two matrices is fast where what is summed over lies close together, and its transpose
may cost less than itself, for one of the factors would have to be turned over first. So a product
is made in the order that its factors suggest, and turned over, if ever, when somebody needs it in
another; where the next product takes it as it lies, that never happens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import jax.numpy as jnp
from jax import lax

__all__ = ["Laid", "add", "contract", "laid", "multiply", "plain", "reshape", "transpose"]


class Laid:
    """An array and the order of its axes.

    Attributes:
        array: The array as it lies.
        axes: Which axis of the array that is meant each axis of `array` is.
    """

    def __init__(self, array: Any, axes: Iterable[int]) -> None:
        self.array, self.axes = array, tuple(axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array that is meant."""
        return tuple(self.array.shape[self.axes.index(i)] for i in range(len(self.axes)))

    @property
    def plain(self) -> Any:
        """The array that is meant."""
        return self.array.transpose([self.axes.index(i) for i in range(len(self.axes))])

    def along(self, axes: Sequence[int]) -> Any:
        """The array with its axes in a certain order."""
        return self.array.transpose([self.axes.index(i) for i in axes])


def laid(x: Any) -> Laid:
    """An array as one that lies in its own order."""
    return x if isinstance(x, Laid) else Laid(x, range(x.ndim))


def plain(x: Any) -> Any:
    """The array that is meant."""
    return x.plain if isinstance(x, Laid) else x


def transpose(x: Any, order: Sequence[int]) -> Laid:
    """The axes in another order, with nothing moved."""
    x = laid(x)
    return Laid(x.array, [order.index(axis) for axis in x.axes])


def reshape(x: Any, shape: Sequence[int]) -> Any:
    """Another shape for the same entries in row-major order, with nothing moved where possible."""
    x = laid(x)
    groups = _groups(x.shape, shape)
    # Axes that become one have to lie behind one another; those of one entry lie anywhere.
    place = {axis: p for p, axis in enumerate(x.axes)}
    for old, _ in groups:
        if any(place[b] != place[a] + 1 for a, b in pairwise(old)):
            return x.plain.reshape(shape)
    groups.sort(key=lambda pair: place[pair[0][0]])
    axes = [axis for _, new in groups for axis in new]
    thin = [axis for axis in range(len(shape)) if axis not in axes]
    sizes = [shape[axis] for axis in (*thin, *axes)]
    return Laid(x.array.reshape(sizes), [*thin, *axes])


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Which axes become which under a reshape, leaving out those of one entry."""
    groups = []
    left = [axis for axis, n in enumerate(old) if n != 1]
    right = [axis for axis, n in enumerate(new) if n != 1]
    while left and right:
        ours, theirs = [left.pop(0)], [right.pop(0)]
        a, b = old[ours[0]], new[theirs[0]]
        while a != b:
            if a < b:
                ours.append(left.pop(0))
                a *= old[ours[-1]]
            else:
                theirs.append(right.pop(0))
                b *= new[theirs[-1]]
        groups.append((ours, theirs))
    return groups


def multiply(x: Any, y: Any) -> Laid:
    """The entrywise product of two arrays of one rank, lying as the larger one does."""
    x, y = laid(x), laid(y)
    axes = max(x, y, key=lambda z: z.array.size).axes
    return Laid(x.along(axes) * y.along(axes), axes)


def add(arrays: Sequence[Any], shape: Sequence[int]) -> Laid:
    """The entrywise sum of arrays of one rank, in a shape that they broadcast to."""
    axes = max(map(laid, arrays), key=lambda z: z.array.size).axes
    parts = [laid(x).along(axes) for x in arrays]
    return Laid(jnp.broadcast_to(sum(parts[1:], parts[0]), [shape[axis] for axis in axes]), axes)


def contract(
    x: Any, x_names: Sequence[int], y: Any, y_names: Sequence[int], kept: Sequence[int]
) -> Laid:
    """Multiply two arrays and sum over the names that are not kept.

    Args:
        x: An array.
        x_names: A name for each of its axes.
        y: Another array.
        y_names: A name for each of its axes; equal names are one axis.
        kept: The names of the axes of the result.

    Returns:
        The result, lying in the order that is cheapest to make.
    """
    x, y = laid(x), laid(y)
    x_side = [x_names[axis] for axis in x.axes], x.array
    y_side = [y_names[axis] for axis in y.axes], y.array
    (first, a), (second, b) = min(
        ((x_side, y_side), (y_side, x_side)), key=lambda sides: _moved(sides[0], sides[1], kept)
    )
    out = _order(first, second, kept)
    made = jnp.einsum(a, first, b, second, out)
    if out != list(kept):
        # Else XLA would make the transpose instead, by turning over both factors.
        made = lax.optimization_barrier(made)
    return Laid(made, [list(kept).index(n) for n in out])


_Side: TypeAlias = tuple[list[int], Any]
"""The names of an array's axes, as they lie, and the array."""


def _order(first: Sequence[int], second: Sequence[int], kept: Sequence[int]) -> list[int]:
    """The axes of a product as it comes: those of both, of the first, of the second."""
    both = [n for n in first if n in second and n in kept]
    return [*both, *(n for n in (*first, *second) if n in kept and n not in both)]


def _moved(first: _Side, second: _Side, kept: Sequence[int]) -> float:
    """About how many entries have to be moved to multiply two arrays in this order.

    The fast product is that of rows of the first with columns of the second, and that of rows with
    rows is nearly as fast; the result may have to be turned over.
    """
    (a, x), (b, y) = first, second
    price = 0.0 if a and a[-1] not in kept else x.size
    price += 0.7 * y.size if b and b[-1] not in kept else 0.0
    if _order(a, b, kept) != list(kept):
        extents = dict(zip(a, x.shape, strict=True)) | dict(zip(b, y.shape, strict=True))
        price += math.prod(extents[n] for n in kept)
    return price
