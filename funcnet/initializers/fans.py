"""How many inputs a unit sums over, and how many units an input reaches.

``fan_in`` is the number of terms in the sum that makes one output, ``fan_out`` the number of
outputs that one input takes part in: the backward pass sums over those. They are what the variance
of a weight has to be divided by for signals, and for gradients, to keep their size.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

from funcnet.errors import ArgumentError, ShapeError
from funcnet.initializers.factory import checked_shape, positive_int
from funcnet.typing import Shape

__all__ = ["Axes", "as_ints", "fans", "fans_for", "normalize_axes"]

Axes: TypeAlias = int | Sequence[int]
"""One axis of a kernel, or several; negative ones count from the end."""


def fans(
    shape: Shape,
    *,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    groups: int = 1,
) -> tuple[int, int]:
    """Fan-in and fan-out of a kernel.

    ``fan_in = n_in * r`` and ``fan_out = (n_out / groups) * r``, where ``n_in`` and ``n_out`` are
    the extents of ``in_axis`` and ``out_axis`` and ``r``, the receptive field, is the product of
    all axes that are none of in, out or batch.

    In a convolution with ``groups`` groups the kernel has the shape ``(*window, in / groups,
    out)``. Its ``in_axis`` already holds the inputs of one group only, so ``fan_in`` needs no
    correction. Its ``out_axis`` holds the outputs of all groups, of which an input reaches ``out /
    groups``: the shape does not tell, so the number of groups has to be said, and defaults to 1.
    (Strides and padding are left out of the count, as everywhere.)

    Args:
        shape: the kernel's shape, ``(in, out)`` for dense layers, ``(*window, in / groups, out)``
            for convolutions, each with any batch axes.
        in_axis: the axis, or axes, that are summed over.
        out_axis: the axis, or axes, of the outputs.
        batch_axis: the axis, or axes, along which independent kernels are stacked.
        groups: the number of groups of a convolution.

    Returns:
        ``(fan_in, fan_out)``.

    Raises:
        ShapeError: if the shape lacks the axes, or the groups do not divide the outputs.
        ArgumentError: if the axes overlap or are no ints, or ``groups`` is not positive.

    Example:
        >>> from funcnet.initializers import fans
        >>> fans((300, 100))
        (300, 100)
        >>> fans((3, 3, 16, 32))
        (144, 288)
        >>> fans((3, 3, 4, 32), groups=4)
        (36, 72)
        >>> fans((10, 300, 100), batch_axis=0)
        (300, 100)
    """
    return fans_for("fans", shape, in_axis, out_axis, batch_axis, groups)


def fans_for(
    name: str, shape: Shape, in_axis: Axes, out_axis: Axes, batch_axis: Axes, groups: int
) -> tuple[int, int]:
    """Fans for another function, whose name the errors carry.

    Args:
        name: that function's name.
        shape: as for :func:`~funcnet.initializers.fans`.
        in_axis: as for :func:`~funcnet.initializers.fans`.
        out_axis: as for :func:`~funcnet.initializers.fans`.
        batch_axis: as for :func:`~funcnet.initializers.fans`.
        groups: as for :func:`~funcnet.initializers.fans`.

    Returns:
        ``(fan_in, fan_out)``.
    """
    extents = checked_shape(name, shape)
    if len(extents) < 2 and in_axis == -2:
        raise ShapeError(
            f"{name}: needs a kernel with an input and an output axis, got the shape {extents}; "
            f"use zeros(), constant(...) or normal(...) for biases and other vectors, or name the "
            f"axes with in_axis=... and out_axis=... (() for none)"
        )
    ins = normalize_axes(name, "in_axis", in_axis, len(extents))
    outs = normalize_axes(name, "out_axis", out_axis, len(extents))
    batch = normalize_axes(name, "batch_axis", batch_axis, len(extents))
    named = ins + outs + batch
    if len(set(named)) < len(named):
        raise ArgumentError(
            f"{name}: in_axis={in_axis}, out_axis={out_axis} and batch_axis={batch_axis} name an "
            f"axis of the shape {extents} twice; give each axis one role (() for none)"
        )
    n_out = math.prod(extents[axis] for axis in outs)
    if n_out % positive_int(name, "groups", groups):
        raise ShapeError(
            f"{name}: groups={groups} does not divide the {n_out} outputs of the shape {extents}; "
            f"the kernel of a grouped convolution is (*window, in / groups, out)"
        )
    window = math.prod(extents[axis] for axis in range(len(extents)) if axis not in named)
    return math.prod(extents[axis] for axis in ins) * window, n_out // groups * window


def normalize_axes(name: str, argument: str, axes: Axes, rank: int) -> tuple[int, ...]:
    """Return axes as a tuple of ints counted from the front.

    Args:
        name: the caller's name, for error messages.
        argument: the argument's name.
        axes: one axis or several.
        rank: the number of axes that there are.

    Returns:
        The axes, each between 0 and ``rank - 1``.

    Raises:
        ArgumentError: if they are no ints.
        ShapeError: if there is no such axis.
    """
    indices = as_ints(name, argument, axes)
    for axis in indices:
        if not -rank <= axis < rank:
            raise ShapeError(
                f"{name}: {argument}={axes} does not exist in a shape of {rank} axes; give the "
                f"shape that axis or change {argument}"
            )
    return tuple(axis % rank for axis in indices)


def as_ints(name: str, argument: str, axes: Any) -> tuple[int, ...]:
    """Return one axis or several as a tuple of ints.

    Args:
        name: the caller's name, for error messages.
        argument: the argument's name.
        axes: an int or a sequence of ints.

    Returns:
        The ints, negative ones as they are.

    Raises:
        ArgumentError: if they are no ints.
    """
    try:
        several = axes if isinstance(axes, Sequence) else (axes,)
        return tuple(operator.index(axis) for axis in several)
    except TypeError as error:
        raise ArgumentError(
            f"{name}: {argument} must be an int or a sequence of ints, got {axes!r}"
        ) from error
