"""Sums, and the operations that only move entries about: all linear, with little to keep.

Where f is linear, its forward rule is f itself, applied to the tangent, and its backward rule is
the transposed map: a sum's is a broadcast, a selection's puts each entry of the cotangent back
where it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.primitives.broadcast import in_full
from funcnet.primitives.checked import checked_rule, known
from funcnet.rules import rule
from funcnet.structure import Structure
from funcnet.typing import Array

__all__ = ["concatenate", "gather", "mean", "reshape", "sum", "transpose"]

Axes = int | tuple[int, ...] | None


# Entries that move


@rule(
    residuals=lambda y, x, shape: x,
    jvp=lambda x, t, shape: reshape(t, shape),
    vjp=lambda x, ct, shape: reshape(ct, x.shape),
    structure=Structure.SELECTION,
    formula="y = x with the same entries in row-major order",
    source="linear: its own derivative; orthogonal: its transpose is its inverse",
    static_argnames="shape",
)
def reshape(x: Array, shape: int | tuple[int, ...]) -> Array:
    """The same entries in another shape, in row-major order.

    ``y = reshape(x, shape)``: ``dy = reshape(t, shape)`` and ``x_bar = reshape(ct, x.shape)``.

    Args:
        x: Array of any shape.
        shape: The new shape, a tuple of as many entries in all; one length may be -1, which stands
            for what is left.

    Returns:
        Array of that shape and the dtype of x.

    Raises:
        ShapeError: The number of entries differs.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import reshape
        >>> reshape(jnp.arange(4.0), (2, -1)).tolist()
        [[0.0, 1.0], [2.0, 3.0]]

    References:
        Linear, and so its own derivative; a permutation, and so transposed by its inverse.
    """
    sizes = (shape,) if isinstance(shape, int) else shape
    known_size = int(np.prod([n for n in sizes if n != -1]))
    free = sizes.count(-1)
    fits = x.size == known_size if not free else known_size and x.size % known_size == 0
    if free > 1 or not fits:
        raise ShapeError(
            f"reshape: x of shape {x.shape} has {x.size} entries and cannot take the shape "
            f"{sizes}; give a shape with as many, or -1 for one of its axes"
        )
    return jnp.reshape(x, shape)


def _transpose_vjp(_: Any, ct: Array, axes: tuple[int, ...] | None) -> Array:
    if axes is None:
        return transpose(ct)
    return transpose(ct, tuple(int(i) for i in np.argsort([a % ct.ndim for a in axes])))


@rule(
    residuals=lambda y, x, axes: (),
    jvp=lambda _, t, axes: transpose(t, axes),
    vjp=_transpose_vjp,
    structure=Structure.SELECTION,
    formula="y[i, j, ...] = x[the indices in another order]",
    source="linear: its own derivative; orthogonal: its transpose is its inverse",
    static_argnames="axes",
)
def transpose(x: Array, axes: tuple[int, ...] | None = None) -> Array:
    """The axes in another order.

    ``y = transpose(x, axes)``: ``dy = transpose(t, axes)`` and
    ``x_bar = transpose(ct, inverse of axes)``.

    Args:
        x: Array of any shape.
        axes: Axis i of y is axis ``axes[i]`` of x; a tuple. None reverses the order.

    Returns:
        Array of the permuted shape and the dtype of x.

    Raises:
        ArgumentError: `axes` is no permutation of the axes of x.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.primitives import transpose
        >>> transpose(jnp.zeros((2, 3, 5)), (2, 0, 1)).shape
        (5, 2, 3)

    References:
        Linear, and so its own derivative; a permutation, and so transposed by its inverse.
    """
    n = x.ndim
    if axes is not None and (
        len(axes) != n or sorted(a % n for a in axes if -n <= a < n) != list(range(n))
    ):
        raise ArgumentError(
            f"transpose: axes {axes} is no permutation of the {n} axes of x of shape {x.shape}; "
            "name each axis once"
        )
    return jnp.transpose(x, axes)


def _concatenate_jvp(arrays: Sequence[Array], tangents: Sequence[Any], axis: int) -> Array:
    return concatenate([_or_zeros(t, x) for t, x in zip(tangents, arrays, strict=True)], axis)


def _or_zeros(t: Any, x: Array) -> Array:
    """The tangent, or for an integer array, which has none, zeros."""
    return jnp.zeros_like(x) if t.dtype == jax.dtypes.float0 else t


def _concatenate_vjp(arrays: Sequence[Array], ct: Array, axis: int) -> Any:
    ends = np.cumsum([x.shape[axis] for x in arrays])
    parts = jnp.split(ct, ends[:-1], axis)
    like = jax.tree.structure(arrays)
    return jax.tree.unflatten(like, [p.astype(x.dtype) for p, x in zip(parts, arrays, strict=True)])


@rule(
    residuals=lambda y, arrays, axis: arrays,
    jvp=_concatenate_jvp,
    vjp=_concatenate_vjp,
    structure=Structure.SELECTION,
    formula="y = [x_1, ..., x_n]",
    source="linear: its own derivative",
    static_argnames="axis",
)
def concatenate(arrays: Sequence[Array], axis: int = 0) -> Array:
    """Arrays one behind the other along an axis that they have.

    ``y = [x_1, ..., x_n]``: ``dy = [t_1, ..., t_n]``, and each ``x_i_bar`` is the part of ct where
    x_i stands.

    Args:
        arrays: Tuple or list of arrays whose shapes are equal but along `axis`.
        axis: The axis.

    Returns:
        Array whose `axis` is as long as theirs together.

    Raises:
        ArgumentError: There is no array, or no such axis.
        ShapeError: The shapes differ along another axis.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import concatenate
        >>> concatenate([jnp.ones(2), jnp.zeros(1)]).tolist()
        [1.0, 1.0, 0.0]

    References:
        Linear, and so its own derivative.
    """
    if not isinstance(arrays, tuple | list) or not arrays:
        raise ArgumentError("concatenate: arrays must be a tuple or list of at least one array")
    _check_axis("concatenate", arrays[0], axis)
    shapes = [x.shape for x in arrays]
    rests = {tuple(n for i, n in enumerate(s) if i != axis % len(shapes[0])) for s in shapes}
    if len(rests) > 1:
        raise ShapeError(
            f"concatenate: the shapes {', '.join(map(str, shapes))} differ elsewhere than along "
            f"axis {axis}"
        )
    return jnp.concatenate(arrays, axis)


# A gathered entry may have been asked for many times: its cotangent is the sum over all of them.


def _gather_jvp(res: Any, t: Array, axis: int) -> Array:
    _, indices = res
    return jnp.take(t, indices, axis, mode="fill", fill_value=0)


def _gather_vjp(res: Any, ct: Array, axis: int) -> Array:
    x, indices = res
    where = (slice(None),) * (axis % x.ndim) + (indices,)
    return jnp.zeros(x.shape, ct.dtype).at[where].add(ct, mode="drop")


def _check_indices(x: Array, indices: Array, axis: int = 0) -> None:
    values = known(indices)
    shape = np.shape(x)
    if values is None or not values.size or not -len(shape) <= axis < len(shape):
        return
    n = shape[axis]
    if values.dtype.kind in "iu" and not -n <= values.min() <= values.max() < n:
        raise ArgumentError(
            f"gather: indices go from {values.min()} to {values.max()}, but axis {axis} of x of "
            f"shape {shape} has {n} entries; give indices from {-n} to {n - 1}"
        )


@checked_rule(
    check=_check_indices,
    residuals=lambda y, x, indices, axis: (x, indices),
    jvp=(_gather_jvp, None),
    vjp=(_gather_vjp, None),
    structure=(Structure.SELECTION, None),
    formula="y[i] = x[indices[i]]",
    source="linear: its own derivative; its transpose scatters and adds",
    static_argnames="axis",
)
def gather(x: Array, indices: Array, axis: int = 0) -> Array:
    """Entries of an axis picked by their indices, as `jax.numpy.take`.

    ``y[i] = x[indices[i]]`` along `axis`: ``dy[i] = t[indices[i]]``, and ``x_bar[k]`` is the sum of
    ``ct[i]`` over all i with ``indices[i] = k``.

    Negative indices count from the end. An index out of range raises at once where its value is
    known. Where it is not, inside `jax.jit`, it gives NaN (for integers the lowest number), which
    nothing depends on: its tangent is 0, and its cotangent is dropped.

    Args:
        x: Array of at least one axis.
        indices: Integer array of any shape, scalars included.
        axis: The axis that is picked from.

    Returns:
        Array of the shape of x with that of `indices` in place of `axis`.

    Raises:
        ArgumentError: An index is out of range, or x has no such axis.
        DTypeError: The indices are not integers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import gather
        >>> x, indices = jnp.array([10.0, 20.0, 30.0]), jnp.array([2, 0, 2])
        >>> gather(x, indices).tolist()
        [30.0, 10.0, 30.0]
        >>> jax.grad(lambda x: gather(x, indices).sum())(x).tolist()
        [1.0, 0.0, 2.0]

    References:
        Linear, and so its own derivative; transposed, it scatters and adds.
    """
    _check_axis("gather", x, axis)
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise DTypeError(f"gather: indices must be integers, got {indices.dtype}")
    return jnp.take(x, indices, axis, mode="fill")


# Sums


def _restored(y: Array, x: Array, axis: Axes) -> Array:
    """`y` with the summed axes put back, as long as in `x`."""
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    summed = {a % x.ndim for a in axes} if x.ndim else set()
    shape = [1 if i in summed else n for i, n in enumerate(x.shape)]
    return jnp.broadcast_to(y.reshape(shape), x.shape)


@rule(
    residuals=lambda y, x, axis, keepdims: x,
    jvp=lambda x, t, axis, keepdims: sum(t, axis, keepdims),
    vjp=lambda x, ct, axis, keepdims: _restored(ct, x, axis),
    structure=Structure.REDUCTION,
    formula="y = sum_i x_i",
    source="linear: its own derivative; its transpose is a broadcast",
    static_argnames=("axis", "keepdims"),
)
def sum(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """The sum over axes, or over all.

    ``y = sum_i x_i``: ``dy = sum_i t_i`` and ``x_i_bar = ct``: each summand gets the whole
    cotangent. bfloat16 and float16 are added up in float32. The sum of nothing is 0.

    Args:
        x: Array of any shape.
        axis: The axis, or a tuple of axes, to sum over; None for all.
        keepdims: Keep the axes with length 1.

    Returns:
        Array without `axis`.

    Raises:
        ArgumentError: x has no such axis, or one is named twice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import sum
        >>> sum(jnp.array([[1.0, 2.0], [3.0, 4.0]]), axis=0).tolist()
        [4.0, 6.0]
        >>> jax.grad(sum)(jnp.array([1.0, 2.0])).tolist()
        [1.0, 1.0]

    References:
        Linear, and so its own derivative; transposed, it is a broadcast.
    """
    _check_axes("sum", x, axis)
    return jnp.sum(x, axis, keepdims=keepdims)


def _mean_vjp(x: Array, ct: Array, axis: Axes, keepdims: bool) -> Array:
    # In float32 at least: float16 cannot even hold the number of entries beyond 65504.
    count = x.size / max(ct.size, 1)
    return _restored((in_full(ct) / count).astype(x.dtype), x, axis)


@rule(
    residuals=lambda y, x, axis, keepdims: x,
    jvp=lambda x, t, axis, keepdims: mean(t, axis, keepdims),
    vjp=_mean_vjp,
    structure=Structure.REDUCTION,
    formula="y = (1 / n) sum_i x_i",
    source="linear: its own derivative; its transpose is a broadcast",
    static_argnames=("axis", "keepdims"),
)
def mean(x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    """The mean over axes, or over all.

    ``y = (1 / n) sum_i x_i`` over n entries: ``dy = (1 / n) sum_i t_i`` and ``x_i_bar = ct / n``.
    bfloat16 and float16 are added up in float32. The mean of nothing is NaN.

    Args:
        x: Array of any shape.
        axis: The axis, or a tuple of axes, to take the mean over; None for all.
        keepdims: Keep the axes with length 1.

    Returns:
        Array without `axis`, of floating dtype.

    Raises:
        ArgumentError: x has no such axis, or one is named twice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import mean
        >>> float(mean(jnp.array([1.0, 2.0, 6.0])))
        3.0
        >>> jax.grad(mean)(jnp.array([1.0, 2.0])).tolist()
        [0.5, 0.5]

    References:
        `sum`, divided by the number of entries.
    """
    _check_axes("mean", x, axis)
    return jnp.mean(x, axis, keepdims=keepdims)


# Checks


def _check_axes(function: str, x: Array, axis: Axes) -> None:
    axes = () if axis is None else (axis,) if isinstance(axis, int) else axis
    for a in axes:
        _check_axis(function, x, a)
    if len({a % x.ndim for a in axes}) < len(axes):
        raise ArgumentError(f"{function}: axis {axis} names an axis twice")


def _check_axis(function: str, x: Array, axis: int) -> None:
    if not -x.ndim <= axis < x.ndim:
        raise ArgumentError(
            f"{function}: there is no axis {axis} in an array of shape {x.shape}; it has {x.ndim}"
        )
