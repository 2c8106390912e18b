"""NumPy's broadcasting, and the one place where rules undo it.

Where ``y = f(a, b)`` repeats a along some axes to fit b, each entry of a is used many times, and
its cotangent is the sum over all uses: the transpose of a broadcast is a sum. `unbroadcast` is that
sum, and every rule that broadcasts ends in it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from funcnet.errors import ShapeError
from funcnet.typing import Array, ArrayLike

__all__ = ["Operands", "align", "in_full", "spread", "unbroadcast"]


class Operands(NamedTuple):
    """The residuals of a function of two arguments; what no rule uses of them is not kept."""

    y: Array
    a: Array
    b: Array


def align(function: str, a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    """Give both arguments the same rank, with axes of length 1 in front, and check that they fit.

    With equal ranks JAX broadcasts whatever ``jax_numpy_rank_promotion`` says.
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    rank = max(a.ndim, b.ndim)
    shapes = [(1,) * (rank - x.ndim) + x.shape for x in (a, b)]
    if any(m != n and 1 not in (m, n) for m, n in zip(*shapes, strict=True)):
        raise ShapeError(
            f"{function}: shapes {a.shape} and {b.shape} do not broadcast: counted from the last, "
            "each pair of axes must be equal in length, or one of them 1; reshape an argument"
        )
    return _with_rank(a, rank), _with_rank(b, rank)


def in_full(x: Array) -> Array:
    """In float32 if `x` is in bfloat16 or float16; for steps that would lose digits there."""
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def spread(t: Array, like: Any) -> Array:
    """A tangent of one argument, repeated to the shape of the output `like`, in its dtype."""
    return jnp.broadcast_to(t, like.shape).astype(like.dtype)


def unbroadcast(ct: Array, like: Any) -> Array:
    """Sum a cotangent of the output over the axes along which `like` was repeated to fit it.

    Args:
        ct: A cotangent, of a shape that `like` broadcasts to.
        like: The argument whose cotangent is wanted; its shape and dtype count.

    Returns:
        The sum, of the shape and dtype of `like`.

    Example:
        >>> import jax.numpy as jnp
        >>> unbroadcast(jnp.ones((4, 3)), jnp.ones((4, 1))).tolist()
        [[3.0], [3.0], [3.0], [3.0]]
    """
    if jnp.finfo(like.dtype).bits > jnp.finfo(ct.dtype).bits:
        ct = ct.astype(like.dtype)
    new = ct.ndim - like.ndim
    stretched = [new + i for i, n in enumerate(like.shape) if n != ct.shape[new + i]]
    if new or stretched:
        ct = ct.sum((*range(new), *stretched)).reshape(like.shape)
    return ct.astype(like.dtype)


def _with_rank(x: Array, rank: int) -> Array:
    return jnp.expand_dims(x, range(rank - x.ndim)) if x.ndim < rank else x
