"""Softmax, its logarithm and its normalizer, as rules.

With ``p = softmax(x)`` the three Jacobians are ``diag(p) - p p^T``, ``I - 1 p^T`` and ``p^T``.
Their diagonals hold ``1 - p_i``, which rounds to 0 for a confident winner. But ``I - 1 p^T`` is a
projection: applied once more it changes nothing but the rounding of the first time, and that it
takes off. `centered` and `decentered` do so for it and its transpose.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet.primitives.elementwise import in_float32
from funcnet.rules import rule
from funcnet.structure import Structure
from funcnet.typing import Array

__all__ = ["centered", "decentered", "log_softmax", "logsumexp", "shifted", "softmax"]

Axis = int | tuple[int, ...] | None


def shifted(x: Array, axis: Axis) -> tuple[Array, Array]:
    """The largest entry m, and x - m, without inf - inf: an infinite m is shared equally."""
    # Quarters leave room: +inf minus the largest number is still +inf, any finite entry beside it
    # becomes -inf, and no entry needs to be compared, which would cost a pass over the array.
    largest = jnp.finfo(x.dtype).max
    top = lax.stop_gradient(jnp.max(x, axis=axis, keepdims=True, initial=-jnp.inf))
    quarter = jnp.broadcast_to(jnp.clip(top / 4, -largest / 4, largest), x.shape)
    return top, jnp.minimum((x / 4 - quarter) * 4, 0)


def _masked(x: Array, where: Any) -> Array:
    return x if where is None else jnp.where(where, x, -jnp.inf)


def _sum(x: Array, axis: Axis) -> Array:
    return jnp.broadcast_to(jnp.sum(x, axis=axis, keepdims=True), x.shape)


def centered(p: Array, t: Array, axis: Axis) -> Array:
    """``t_i - sum_j p_j t_j``."""
    for _ in range(2):
        t = t - _sum(p * t, axis)
    return t


def decentered(p: Array, ct: Array, axis: Axis) -> Array:
    """``ct_i - p_i sum_j ct_j``."""
    for _ in range(2):
        ct = ct - p * _sum(ct, axis)
    return ct


# softmax: symmetric, so that both rules are the same


def _softmax_rule(p: Array, t: Array, axis: Axis) -> Array:
    return p * centered(p, t, axis)


@rule(
    residuals=lambda y, x, where, axis: y,
    jvp=(_softmax_rule, None),
    vjp=(_softmax_rule, None),
    structure=(Structure.BLOCK_DIAGONAL, None),
    formula="y_i = exp(x_i) / sum_j exp(x_j)",
    source="Bridle 1990",
    static_argnames="axis",
)
@in_float32
def softmax(x: Array, axis: Axis = -1, where: Array | None = None) -> Array:
    """The softmax along an axis.

    ``y_i = exp(x_i) / sum_j exp(x_j)``, with the Jacobian ``diag(y) - y y^T``:
    ``dy_i = y_i (t_i - sum_j y_j t_j)`` and ``x_bar_i = y_i (ct_i - sum_j y_j ct_j)``.

    Entries that are +inf share the probability equally. Where every entry is -inf or masked, the
    result is 0 and so are both rules (as ONNX has it; `jax.nn.softmax` gives NaN). An empty axis
    gives an empty array.

    Args:
        x: Floating array.
        axis: The axis, or axes, that sum to 1.
        where: Boolean array that broadcasts to x; entries that are False count as -inf.

    Returns:
        Array of the shape and dtype of x.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.primitives import softmax
        >>> softmax(jnp.array([1e4, 0.0, 1e4])).tolist()
        [0.5, 0.0, 0.5]

    References:
        Bridle, Probabilistic interpretation of feedforward classification network outputs (1990).
    """
    top, z = shifted(_masked(x, where), axis)
    e = jnp.exp(z)
    total = jnp.where(jnp.isneginf(top), jnp.inf, jnp.sum(e, axis=axis, keepdims=True))
    return e / jnp.broadcast_to(total, x.shape)


# log_softmax


def _log_softmax_jvp(y: Array, t: Array, axis: Axis) -> Array:
    possible = y > -jnp.inf
    return jnp.where(possible, centered(jnp.exp(y), t, axis), 0)


def _log_softmax_vjp(y: Array, ct: Array, axis: Axis) -> Array:
    possible = y > -jnp.inf
    return jnp.where(possible, decentered(jnp.exp(y), jnp.where(possible, ct, 0), axis), 0)


@rule(
    residuals=lambda y, x, where, axis: y,
    jvp=(_log_softmax_jvp, None),
    vjp=(_log_softmax_vjp, None),
    structure=(Structure.BLOCK_DIAGONAL, None),
    formula="y_i = x_i - log sum_j exp(x_j)",
    source="the logarithm of softmax",
    static_argnames="axis",
)
@in_float32
def log_softmax(x: Array, axis: Axis = -1, where: Array | None = None) -> Array:
    """The logarithm of the softmax along an axis.

    ``y_i = x_i - log sum_j exp(x_j)``, with ``p = exp(y)`` and the Jacobian ``I - 1 p^T``:
    ``dy_i = t_i - sum_j p_j t_j`` and ``x_bar_i = ct_i - p_i sum_j ct_j``. For the largest entry
    ``y_i = -log(1 + sum of the other exp(x_j - x_i))``, which keeps its digits where
    ``x_i - logsumexp(x)`` cancels.

    Entries whose probability is 0 (-inf, masked, or beside +inf) are -inf, and both rules are 0
    there.

    Args:
        x: Floating array.
        axis: The axis, or axes, along which the probabilities sum to 1.
        where: Boolean array that broadcasts to x; entries that are False count as -inf.

    Returns:
        Array of the shape and dtype of x, never positive.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.primitives import log_softmax
        >>> log_softmax(jnp.array([0.0, -jnp.inf])).tolist()
        [0.0, -inf]
    """
    top, z = shifted(_masked(x, where), axis)
    total = jnp.where(jnp.isneginf(top), jnp.inf, _log_of_sum(z, axis))
    return z - jnp.broadcast_to(total, z.shape)


def _log_of_sum(z: Array, axis: Axis) -> Array:
    """``log sum exp(z)`` for z whose largest entry is 0; log1p of the others where they are few."""
    e = jnp.exp(z)
    total = jnp.sum(e, axis=axis, keepdims=True)
    below = jnp.sum(jnp.where(z == 0, 0, e), axis=axis, keepdims=True)
    return jnp.where(total < 1.5, lax.log1p(below), jnp.log(total))


# logsumexp


def _logsumexp_jvp(res: Any, t: Array, axis: Axis, keepdims: bool) -> Array:
    x, where = res
    return jnp.sum(softmax(x, axis, where) * t, axis=axis, keepdims=keepdims)


def _logsumexp_vjp(res: Any, ct: Array, axis: Axis, keepdims: bool) -> Array:
    x, where = res
    if not keepdims:
        ct = _restore(ct, x, axis)
    return softmax(x, axis, where) * jnp.broadcast_to(ct, x.shape)


def _restore(y: Array, x: Array, axis: Axis) -> Array:
    """Put the axes back that a reduction took away."""
    axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    gone = {a % x.ndim for a in axes} if x.ndim else set()
    return y.reshape([1 if i in gone else n for i, n in enumerate(x.shape)])


@rule(
    residuals=lambda y, x, where, axis, keepdims: (x, where),
    jvp=(_logsumexp_jvp, None),
    vjp=(_logsumexp_vjp, None),
    structure=(Structure.BLOCK_DIAGONAL, None),
    formula="y = log sum_j exp(x_j)",
    source="the normalizer of softmax",
    static_argnames=("axis", "keepdims"),
)
@in_float32
def logsumexp(
    x: Array, axis: Axis = None, where: Array | None = None, keepdims: bool = False
) -> Array:
    """The logarithm of a sum of exponentials, over an axis or all.

    ``y = log sum_j exp(x_j)``, with ``p = softmax(x)`` and the Jacobian ``p^T``:
    ``dy = sum_j p_j t_j`` and ``x_bar_j = p_j ct``.

    Of several huge equal entries each receives its share. Of nothing, or of -inf alone, the result
    is -inf with gradient 0; with an entry +inf it is +inf.

    Args:
        x: Floating array.
        axis: The axis, or axes, to sum over; None for all.
        where: Boolean array that broadcasts to x; entries that are False count as -inf.
        keepdims: Keep the axes with length 1.

    Returns:
        Array of the dtype of x, without `axis`.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import logsumexp
        >>> x = jnp.array([1e30, 1e30])
        >>> jax.grad(logsumexp)(x).tolist()
        [0.5, 0.5]
    """
    top, z = shifted(_masked(x, where), axis)
    y = top + jnp.where(jnp.isneginf(top), 0, _log_of_sum(z, axis))
    return y if keepdims else jnp.squeeze(y, axis=axis)
