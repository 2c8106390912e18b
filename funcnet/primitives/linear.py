"""Products of matrices: the linear and the affine layer, inner products and `matmul`.

All are bilinear. A tangent takes the place of its argument; a cotangent is multiplied by the other
argument, and what the product was summed over and what the cotangent is summed over change places:

    y = x @ w         dy = t_x @ w + x @ t_w
    x_bar = ct @ w^T  w_bar = x^T @ ct, summed over the batch

Each of these is one contraction, which copies and repeats nothing. bfloat16 and float16 are added
up in float32 and rounded once.
"""

from __future__ import annotations

import string
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from funcnet.errors import ShapeError
from funcnet.primitives.broadcast import Operands, spread, unbroadcast
from funcnet.rules import rule
from funcnet.structure import Structure
from funcnet.typing import Array

__all__ = ["affine", "inner", "linear", "matmul"]

_GILES = "Giles 2008, matrix multiplication"


def _dot(a: Array, b: Array, axes_a: Any, axes_b: Any) -> Array:
    """The contraction of axes of a with axes of b, in the precision that it is added up in."""
    return jnp.tensordot(
        a, b, (tuple(axes_a), tuple(axes_b)), preferred_element_type=_sum_dtype(a, b)
    )


def _sum_dtype(a: Array, b: Array) -> Any:
    dtype = jnp.result_type(a, b)
    return jnp.float32 if jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4 else None


# linear and affine: the last axis of x meets the first of w, all other axes of x are a batch


def _linear_vjp_x(res: Any, ct: Array) -> Array:
    x, w = res[:2]
    return _dot(ct, w, (ct.ndim - 1,), (1,)).astype(x.dtype)


def _linear_vjp_w(res: Any, ct: Array) -> Array:
    x, w = res[:2]
    batch = range(x.ndim - 1)
    # Where there are several axes to sum over, XLA copies the first operand: let it be the smaller
    # one.
    if x.size <= ct.size:
        return _dot(x, ct, batch, batch).astype(w.dtype)
    return _dot(ct, x, batch, batch).T.astype(w.dtype)


def _check_linear(function: str, x: Array, w: Array) -> None:
    if w.ndim != 2 or x.ndim == 0 or x.shape[-1] != w.shape[0]:
        way_out = "give x the shape (..., inputs) and w the shape (inputs, outputs)"
        if w.ndim == 2 and x.ndim and x.shape[-1] == w.shape[1]:
            way_out = "w has the inputs in its second axis: transpose it"
        raise ShapeError(
            f"{function}: x of shape {x.shape} and w of shape {w.shape} do not fit; {way_out}"
        )


@rule(
    residuals=lambda y, x, w: (x, w),
    jvp=(lambda res, t: linear(t, res[1]), lambda res, t: linear(res[0], t)),
    vjp=(_linear_vjp_x, _linear_vjp_w),
    structure=Structure.KRONECKER,
    formula="y = x @ w",
    source=_GILES,
)
def linear(x: Array, w: Array) -> Array:
    """The linear layer: the last axis of x times a matrix.

    ``y = x @ w``, for each vector along the last axis of x, of which there may be any number, none
    included: ``dy = t_x @ w + x @ t_w``, ``x_bar = ct @ w^T`` and ``w_bar = x^T @ ct``, summed over
    all vectors. For a single vector, w_bar is the outer product of x and ct. Seen by one column
    ``w[:, i]``, only output i moves: the Jacobian is x in row i and 0 elsewhere.

    Args:
        x: Array of shape ``(..., inputs)``.
        w: Array of shape ``(inputs, outputs)``.

    Returns:
        Array of shape ``(..., outputs)``.

    Raises:
        ShapeError: The shapes do not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import linear
        >>> x, w = jnp.array([1.0, 2.0]), jnp.eye(2)
        >>> y, pull = jax.vjp(linear, x, w)
        >>> x_bar, w_bar = pull(jnp.array([1.0, 0.0]))
        >>> x_bar.tolist(), w_bar.tolist()
        ([1.0, 0.0], [[1.0, 0.0], [2.0, 0.0]])

    References:
        Giles, An extended collection of matrix derivative results for forward and reverse mode
        algorithmic differentiation (2008): multiplication.
    """
    _check_linear("linear", x, w)
    return _dot(x, w, (x.ndim - 1,), (0,)).astype(jnp.result_type(x, w))


@rule(
    residuals=lambda y, x, w, b: (x, w, b, y),
    jvp=(
        lambda res, t: linear(t, res[1]).astype(res[3].dtype),
        lambda res, t: linear(res[0], t).astype(res[3].dtype),
        lambda res, t: spread(t, res[3]),
    ),
    vjp=(_linear_vjp_x, _linear_vjp_w, lambda res, ct: unbroadcast(ct, res[2])),
    structure=(Structure.KRONECKER, Structure.KRONECKER, Structure.BROADCAST),
    formula="y = x @ w + b",
    source=_GILES,
)
def affine(x: Array, w: Array, b: Array) -> Array:
    """The affine layer: the last axis of x times a matrix, plus a bias.

    ``y = x @ w + b``, for each vector along the last axis of x: ``dy = t_x @ w + x @ t_w + t_b``,
    ``x_bar = ct @ w^T``, ``w_bar = x^T @ ct`` and ``b_bar = ct``, the last two summed over all
    vectors.

    Args:
        x: Array of shape ``(..., inputs)``, with any number of leading axes, none included.
        w: Array of shape ``(inputs, outputs)``.
        b: Array of shape ``(outputs,)``.

    Returns:
        Array of shape ``(..., outputs)``.

    Raises:
        ShapeError: The shapes do not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import affine
        >>> x, w, b = jnp.ones((4, 2)), jnp.ones((2, 3)), jnp.array([0.0, 1.0, 2.0])
        >>> affine(x, w, b)[0].tolist()
        [2.0, 3.0, 4.0]
        >>> jax.grad(lambda b: affine(x, w, b).sum())(b).tolist()
        [4.0, 4.0, 4.0]

    References:
        `linear`, with the add gate behind it.
    """
    _check_linear("affine", x, w)
    if b.shape != w.shape[1:]:
        raise ShapeError(
            f"affine: b of shape {b.shape} does not fit to w of shape {w.shape}; "
            f"give b the shape {w.shape[1:]}"
        )
    product = _dot(x, w, (x.ndim - 1,), (0,))
    bias = jnp.broadcast_to(b, product.shape).astype(product.dtype)
    return (product + bias).astype(jnp.result_type(x, w, b))


# inner: every vector of a with every vector of b


def _inner_vjp_a(v: Operands, ct: Array) -> Array:
    batch_b = range(v.b.ndim - 1)
    return _dot(ct, v.b, range(v.a.ndim - 1, ct.ndim), batch_b).astype(v.a.dtype)


def _inner_vjp_b(v: Operands, ct: Array) -> Array:
    batch_a = range(v.a.ndim - 1)
    return _dot(ct, v.a, batch_a, batch_a).astype(v.b.dtype)


@rule(
    residuals=Operands,
    jvp=(lambda v, t: inner(t, v.b), lambda v, t: inner(v.a, t)),
    vjp=(_inner_vjp_a, _inner_vjp_b),
    structure=Structure.KRONECKER,
    formula="y = sum_k a_k b_k",
    source=_GILES,
)
def inner(a: Array, b: Array) -> Array:
    """The inner product over the last axes, as `jax.numpy.inner`.

    ``y = sum_k a_k b_k``: ``dy = inner(t_a, b) + inner(a, t_b)`` and, for two vectors,
    ``a_bar = ct b`` and ``b_bar = ct a``. With more axes, every vector of a meets every vector of
    b, and each cotangent is summed over the vectors of the other.

    Args:
        a: Array of shape ``(..., n)``.
        b: Array of shape ``(***, n)``.

    Returns:
        Array of shape ``(..., ***)``; a scalar for two vectors.

    Raises:
        ShapeError: The last axes differ in length, or an argument is a scalar.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import inner
        >>> a, b = jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])
        >>> float(inner(a, b)), jax.grad(inner)(a, b).tolist()
        (11.0, [3.0, 4.0])

    References:
        Giles, An extended collection of matrix derivative results for forward and reverse mode
        algorithmic differentiation (2008): multiplication.
    """
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-1]:
        raise ShapeError(
            f"inner: a of shape {a.shape} and b of shape {b.shape} must have last axes of one "
            "length; for scalars there is multiply"
        )
    return _dot(a, b, (a.ndim - 1,), (b.ndim - 1,)).astype(jnp.result_type(a, b))


# matmul: any mixture of vectors, matrices and stacks of matrices. Each axis gets a letter, as in a
# sum by Einstein's convention; a product of the cotangent with one argument, summed over the
# letters that the other argument lacks, is the cotangent of that other.


class _Letters(NamedTuple):
    """The axes of a, b and y; those of length 1 in front of the matrices are left out."""

    a: str
    b: str
    y: str


def _letters(a: Array, b: Array) -> _Letters:
    def stack(x: Array) -> str:
        depth = max(x.ndim - 2, 0)
        names = string.ascii_uppercase[:depth][::-1]  # the last axis in front of the matrix is A
        return "".join(name for name, n in zip(names, x.shape, strict=False) if n != 1)

    every = "".join(sorted({*stack(a), *stack(b)}, reverse=True))
    row, column = "i" * (a.ndim > 1), "j" * (b.ndim > 1)
    return _Letters(stack(a) + row + "k", stack(b) + "k" + column, every + row + column)


def _contract(a: Array, a_axes: str, b: Array, b_axes: str, like: Array, like_axes: str) -> Array:
    """One contraction, with the axes of length 1 left out before it and restored after."""
    a, b = _named_alone(a, a_axes), _named_alone(b, b_axes)
    if a.size > b.size:  # XLA may copy the first operand
        a, b, a_axes, b_axes = b, a, b_axes, a_axes
    total = jnp.einsum(
        f"{a_axes},{b_axes}->{like_axes}", a, b, preferred_element_type=_sum_dtype(a, b)
    )
    return total.reshape(like.shape).astype(like.dtype)


def _named_alone(x: Array, axes: str) -> Array:
    matrix = x.ndim - len(axes.lstrip(string.ascii_uppercase))
    return x.reshape([n for n in x.shape[:matrix] if n != 1] + list(x.shape[matrix:]))


def _matmul_vjp_a(v: Operands, ct: Array) -> Array:
    axes = _letters(v.a, v.b)
    return _contract(ct, axes.y, v.b, axes.b, v.a, axes.a)


def _matmul_vjp_b(v: Operands, ct: Array) -> Array:
    axes = _letters(v.a, v.b)
    return _contract(ct, axes.y, v.a, axes.a, v.b, axes.b)


def _check_matmul(a: Array, b: Array) -> None:
    fits = a.ndim and b.ndim and a.shape[-1] == b.shape[-2 if b.ndim > 1 else 0]
    try:
        np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"matmul: a of shape {a.shape} and b of shape {b.shape} do not fit; the last axis "
            "of a and the last but one of b (of a vector, its only one) must be equal in length, "
            "and the axes before those must broadcast"
        )


@rule(
    residuals=Operands,
    jvp=(lambda v, t: matmul(t, v.b), lambda v, t: matmul(v.a, t)),
    vjp=(_matmul_vjp_a, _matmul_vjp_b),
    structure=Structure.KRONECKER,
    formula="y = a @ b",
    source=_GILES,
)
def matmul(a: Array, b: Array) -> Array:
    """The product of matrices, vectors, or stacks of matrices, as `jax.numpy.matmul`.

    ``y = a @ b``: ``dy = t_a @ b + a @ t_b``, ``a_bar = ct @ b^T`` and ``b_bar = a^T @ ct``, summed
    over the matrices of a stack that shared an argument. A vector counts as a row on the left and
    as a column on the right, and is a vector again in the result.

    Args:
        a: Array of shape ``(..., n, k)`` or ``(k,)``.
        b: Array of shape ``(..., k, m)`` or ``(k,)``; the axes in front broadcast.

    Returns:
        Array of shape ``(..., n, m)``, without n or m where the argument was a vector.

    Raises:
        ShapeError: The shapes do not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import matmul
        >>> a, b = jnp.ones((5, 2, 3)), jnp.ones((3, 4))
        >>> matmul(a, b).shape
        (5, 2, 4)
        >>> float(jax.grad(lambda b: matmul(a, b).sum())(b)[0, 0])
        10.0

    References:
        Giles, An extended collection of matrix derivative results for forward and reverse mode
        algorithmic differentiation (2008): multiplication.
    """
    _check_matmul(a, b)
    y = jnp.matmul(a, b, preferred_element_type=_sum_dtype(a, b))
    return y.astype(jnp.result_type(a, b))
