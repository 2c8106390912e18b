"""Initializers whose matrices keep lengths, not on average but exactly.

A product of random matrices keeps the mean length of a vector when each has the right variance, and
still stretches some directions and crushes others, more with every layer. Orthogonal matrices keep
every length (Saxe et al. 2014); :func:`~funcnet.initializers.delta_orthogonal` puts one into the
middle of a convolution's window (Xiao et al. 2018), and :func:`~funcnet.initializers.identity` is
the simplest of them all (Le et al. 2015).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from funcnet.errors import ArgumentError, ShapeError
from funcnet.initializers.factory import factory, finite_number, initializer, positive_int
from funcnet.initializers.fans import Axes, as_ints, normalize_axes
from funcnet.typing import Array, DTypeLike, Init, Key

__all__ = ["delta_orthogonal", "identity", "orthogonal"]


@factory
def orthogonal(scale: float = 1.0, *, out_axis: Axes = -1, batch_axis: Axes = ()) -> Init:
    """Draw orthogonal matrices, uniformly among all of them.

    The kernel is seen as a matrix ``w`` of shape ``(rows, columns)``: columns are ``out_axis``,
    rows all other axes but the batch. With ``rows >= columns`` the columns are orthonormal times
    ``scale``, ``w^T w = scale^2 I``; with ``rows <= columns`` the rows are, ``w w^T = scale^2 I``,
    so that ``x @ w`` is ``scale`` times as long as ``x``. The draw is the QR factor of a normal
    matrix, with signs that make the diagonal of R positive: without them it would not be uniform
    (Haar) distributed.

    Args:
        scale: the length of the orthonormal rows or columns.
        out_axis: the axis, or axes, that are the columns (``column_axis`` in
            ``jax.nn.initializers``).
        batch_axis: the axis, or axes, along which independent matrices are stacked.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for shapes that have rows and columns. Convolution
        kernels ``(*window, in, out)`` are orthogonal from patches to outputs; for a convolution
        that keeps lengths see :func:`~funcnet.initializers.delta_orthogonal`.

    Raises:
        ArgumentError: if ``scale`` is not finite.
        ShapeError: by the initializer, if the shape has no rows or no such axes.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from funcnet.initializers import orthogonal
        >>> w = orthogonal()(jax.random.key(0), (2, 3))
        >>> bool(jnp.allclose(w @ w.T, jnp.eye(2), atol=1e-6))
        True

    References:
        Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning in deep
        linear neural networks, ICLR 2014, https://arxiv.org/abs/1312.6120. Mezzadri, How to
        generate random matrices from the classical compact groups, Notices of the AMS 54, 2007,
        https://arxiv.org/abs/math-ph/0609050.
    """
    length = finite_number("orthogonal", "scale", scale)
    as_ints("orthogonal", "out_axis", out_axis)
    as_ints("orthogonal", "batch_axis", batch_axis)

    def draw(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        batch, rows, columns = _matrix_axes(shape, out_axis, batch_axis)
        order = batch + rows + columns
        stack, n_rows, n_columns = (
            math.prod(shape[axis] for axis in axes) for axes in (batch, rows, columns)
        )
        matrices = _haar(key, stack, n_rows, n_columns, dtype) * length
        kernel = matrices.reshape([shape[axis] for axis in order])
        return jnp.transpose(kernel, sorted(range(len(order)), key=order.__getitem__))

    return initializer("orthogonal", draw)


@factory
def delta_orthogonal(scale: float = 1.0, *, groups: int = 1) -> Init:
    """Draw convolution kernels that keep lengths: zero but for an orthogonal matrix in the middle.

    At the middle of the window, ``(k - 1) // 2`` on each axis, stands a matrix ``m`` of shape
    ``(in, out)`` with ``m m^T = scale^2 I``. A convolution with stride 1 and padding ``"SAME"``
    then multiplies every pixel by ``m``, and lengths by ``scale``.

    Args:
        scale: the factor on lengths.
        groups: the number of groups of the convolution; each gets a matrix of its own.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for kernels ``(*window, in / groups, out)`` with
        one to three window axes and no more inputs than outputs.

    Raises:
        ArgumentError: if ``scale`` is not finite or ``groups`` not positive.
        ShapeError: by the initializer, for other shapes.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from funcnet.initializers import delta_orthogonal
        >>> kernel = delta_orthogonal()(jax.random.key(0), (3, 3, 16, 32))
        >>> x = jax.random.normal(jax.random.key(1), (1, 8, 8, 16))
        >>> y = jax.lax.conv_general_dilated(
        ...     x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        ... )
        >>> bool(jnp.allclose(jnp.linalg.norm(y), jnp.linalg.norm(x), rtol=1e-5))
        True

    References:
        Xiao, Bahri, Sohl-Dickstein, Schoenholz and Pennington, Dynamical isometry and a mean field
        theory of CNNs, ICML 2018, https://arxiv.org/abs/1806.05393.
    """
    length = finite_number("delta_orthogonal", "scale", scale)
    positive_int("delta_orthogonal", "groups", groups)

    def draw(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        if not 3 <= len(shape) <= 5:
            raise ShapeError(
                f"delta_orthogonal: needs a kernel (*window, in, out) with one to three window "
                f"axes, got the shape {shape}; use orthogonal() for matrices"
            )
        n_in, n_out = _group_extents("delta_orthogonal", shape, groups)
        if n_in > n_out:
            raise ShapeError(
                f"delta_orthogonal: a map from {n_in} to {n_out} channels per group cannot keep "
                f"all lengths (shape {shape}, groups={groups}); have at least as many outputs, or "
                f"use orthogonal()"
            )
        blocks = _haar(key, groups, n_in, n_out, dtype) * length
        return _in_the_middle(jnp.swapaxes(blocks, 0, 1).reshape(shape[-2:]), shape)

    return initializer("delta_orthogonal", draw)


@factory
def identity(scale: float = 1.0, *, groups: int = 1) -> Init:
    """The layer that passes its input on: ``x @ w = scale * x``. The key is ignored.

    Dense kernels are ``scale * I``. Convolution kernels have it in the middle of the window, ``(k -
    1) // 2`` on each axis, and pass images on with stride 1 and padding ``"SAME"``. With unequal
    numbers of inputs and outputs, the first ones are passed on and the others are 0.

    Args:
        scale: the factor on the input.
        groups: the number of groups of a convolution.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for kernels ``(in, out)`` and
        ``(*window, in / groups, out)`` with one to three window axes.

    Raises:
        ArgumentError: if ``scale`` is not finite or ``groups`` not positive.
        ShapeError: by the initializer, for other shapes.

    Example:
        >>> import jax
        >>> from funcnet.initializers import identity
        >>> identity()(jax.random.key(0), (2, 3))
        Array([[1., 0., 0.],
               [0., 1., 0.]], dtype=float32)

    References:
        Le, Jaitly and Hinton, A simple way to initialize recurrent networks of rectified linear
        units, 2015, https://arxiv.org/abs/1504.00941.
    """
    factor = finite_number("identity", "scale", scale)
    positive_int("identity", "groups", groups)

    def draw(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        if not 2 <= len(shape) <= 5:
            raise ShapeError(
                f"identity: needs a kernel (in, out) or (*window, in, out) with one to three "
                f"window axes, got the shape {shape}"
            )
        n_in, n_out = _group_extents("identity", shape, groups)
        block = jnp.eye(n_in, n_out, dtype=dtype) * factor
        return _in_the_middle(jnp.tile(block, (1, groups)), shape)

    return initializer("identity", draw, random=False)


def _haar(key: Key, stack: int, n_rows: int, n_columns: int, dtype: DTypeLike) -> Array:
    tall = (stack, max(n_rows, n_columns), min(n_rows, n_columns))
    q, r = jnp.linalg.qr(jax.random.normal(key, tall, dtype))
    diagonal = jnp.diagonal(r, axis1=-2, axis2=-1)
    q = jnp.where(diagonal[:, None, :] < 0, -q, q)
    return q if n_rows >= n_columns else jnp.swapaxes(q, -1, -2)


def _matrix_axes(
    shape: tuple[int, ...], out_axis: Axes, batch_axis: Axes
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    columns = normalize_axes("orthogonal", "out_axis", out_axis, len(shape))
    batch = normalize_axes("orthogonal", "batch_axis", batch_axis, len(shape))
    named = batch + columns
    rows = tuple(axis for axis in range(len(shape)) if axis not in named)
    if len(set(named)) < len(named):
        raise ArgumentError(
            f"orthogonal: out_axis={out_axis} and batch_axis={batch_axis} name an axis of the "
            f"shape {shape} twice; give each axis one role"
        )
    if not rows or not columns:
        raise ShapeError(
            f"orthogonal: needs rows and columns, got the shape {shape} with out_axis={out_axis} "
            f"and batch_axis={batch_axis}; use normal(...) or zeros() for vectors"
        )
    return batch, rows, columns


def _group_extents(name: str, shape: tuple[int, ...], groups: int) -> tuple[int, int]:
    if shape[-1] % groups:
        raise ShapeError(
            f"{name}: groups={groups} does not divide the {shape[-1]} outputs of the shape "
            f"{shape}; the kernel of a grouped convolution is (*window, in / groups, out)"
        )
    return shape[-2], shape[-1] // groups


def _in_the_middle(matrix: Array, shape: tuple[int, ...]) -> Array:
    # The tap that stands on the output's own pixel under "SAME" padding, which pads the left with
    # (k - 1) // 2 of the k - 1 zeros.
    middle = tuple((extent - 1) // 2 for extent in shape[:-2])
    kernel = jnp.zeros(shape, matrix.dtype)
    return kernel if 0 in shape else kernel.at[middle].set(matrix)
