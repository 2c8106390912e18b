"""Losses of regression, one value per example, as a table of rules.

An example is what the first axis counts; what other axes there are is summed. All are functions of
the difference ``d = p - q`` of predictions and targets, and their rules keep nothing else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from funcnet.errors import ArgumentError, ShapeError
from funcnet.primitives.elementwise import in_float32
from funcnet.rules import rule
from funcnet.structure import Structure
from funcnet.typing import Array

__all__ = ["absolute_error", "huber_loss", "squared_error"]


def _difference(name: str, predictions: Array, targets: Any) -> Array:
    targets = jnp.asarray(targets)
    if predictions.shape != targets.shape:
        raise ShapeError(
            f"{name}: predictions and targets must have one shape, "
            f"got {predictions.shape} and {targets.shape}"
        )
    return predictions - targets.astype(predictions.dtype)


def _per_example(x: Array) -> Array:
    return x.sum(tuple(range(1, x.ndim)))


def _along(ct: Array, x: Array) -> Array:
    """The cotangent of each example, for all of its entries."""
    return jnp.broadcast_to(ct.reshape(ct.shape + (1,) * (x.ndim - ct.ndim)), x.shape)


class _Gap(NamedTuple):
    """The residuals: the difference, and the targets for their dtype."""

    d: Array
    targets: Array


def _gap(loss: Array, predictions: Array, targets: Array, **_: Any) -> _Gap:
    return _Gap(predictions - targets.astype(predictions.dtype), targets)


def _push(slope: Array, t: Array) -> Array:
    """``dloss = sum_i slope_i t_i``."""
    return _per_example(slope * t.astype(slope.dtype))


def _pull(slope: Array, ct: Array, like: Array) -> Array:
    """``ct slope``, the cotangent of each entry."""
    return (slope * _along(ct, slope)).astype(like.dtype)


# squared_error


@rule(
    residuals=_gap,
    jvp=(
        lambda gap, t: _push(2 * gap.d, t),
        lambda gap, t: _push(-2 * gap.d, t),
    ),
    vjp=(
        lambda gap, ct: _pull(2 * gap.d, ct, gap.d),
        lambda gap, ct: _pull(-2 * gap.d, ct, gap.targets),
    ),
    structure=Structure.BLOCK_DIAGONAL,
    formula="loss = sum_i (p_i - q_i)^2",
    source="Gauss 1809",
)
@in_float32
def squared_error(predictions: Array, targets: Array) -> Array:
    """The squared distance of predictions and targets, one value per example.

    ``loss = sum_i (p_i - q_i)^2``: ``dloss = sum_i 2 (p_i - q_i) (t_p - t_q)_i``,
    ``p_bar = 2 (p - q) ct`` and ``q_bar = -p_bar``.

    Args:
        predictions: Floating array ``(batch, ...)``, or one number.
        targets: Array of the same shape, of any real dtype.

    Returns:
        Array ``(batch,)``, or one number.

    Raises:
        ShapeError: The shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.primitives import squared_error
        >>> squared_error(jnp.array([[3.0, 4.0], [1.0, 0.0]]), jnp.zeros((2, 2))).tolist()
        [25.0, 1.0]
    """
    return _per_example(jnp.square(_difference("squared_error", predictions, targets)))


# absolute_error


@rule(
    residuals=_gap,
    jvp=(
        lambda gap, t: _push(jnp.sign(gap.d), t),
        lambda gap, t: _push(-jnp.sign(gap.d), t),
    ),
    vjp=(
        lambda gap, ct: _pull(jnp.sign(gap.d), ct, gap.d),
        lambda gap, ct: _pull(-jnp.sign(gap.d), ct, gap.targets),
    ),
    structure=Structure.BLOCK_DIAGONAL,
    formula="loss = sum_i |p_i - q_i|",
    source="Laplace 1774",
)
@in_float32
def absolute_error(predictions: Array, targets: Array) -> Array:
    """The absolute distance of predictions and targets, one value per example.

    ``loss = sum_i |p_i - q_i|``, with s the sign of ``p - q``: ``dloss = sum_i s_i (t_p - t_q)_i``,
    ``p_bar = s ct`` and ``q_bar = -s ct``. At the kink, ``p_i = q_i``, the slope is 0.

    Args:
        predictions: Floating array ``(batch, ...)``, or one number.
        targets: Array of the same shape, of any real dtype.

    Returns:
        Array ``(batch,)``, or one number.

    Raises:
        ShapeError: The shapes differ.

    Example:
        >>> import jax
        >>> from funcnet.primitives import absolute_error
        >>> float(absolute_error(3.0, 1.0)), float(jax.grad(absolute_error)(1.0, 1.0))
        (2.0, 0.0)
    """
    return _per_example(jnp.abs(_difference("absolute_error", predictions, targets)))


# huber_loss


def _huber_slope(gap: _Gap, delta: float) -> Array:
    # Not jnp.clip, whose own derivative at the ends is 1/2.
    return jnp.where(jnp.abs(gap.d) <= delta, gap.d, delta * jnp.sign(gap.d))


@rule(
    residuals=_gap,
    jvp=(
        lambda gap, t, delta: _push(_huber_slope(gap, delta), t),
        lambda gap, t, delta: _push(-_huber_slope(gap, delta), t),
    ),
    vjp=(
        lambda gap, ct, delta: _pull(_huber_slope(gap, delta), ct, gap.d),
        lambda gap, ct, delta: _pull(-_huber_slope(gap, delta), ct, gap.targets),
    ),
    structure=Structure.BLOCK_DIAGONAL,
    formula="loss = sum_i d_i^2 / 2 where |d_i| <= delta, else delta (|d_i| - delta / 2)",
    source="Huber 1964",
    static_argnames="delta",
)
@in_float32
def huber_loss(predictions: Array, targets: Array, delta: float = 1.0) -> Array:
    """The Huber loss, quadratic near 0 and linear far out, one value per example.

    ``loss = sum_i h(d_i)`` with ``d = p - q``, ``h(d) = d^2 / 2`` where ``|d| <= delta``, else
    ``delta (|d| - delta / 2)``, and slope ``h'(d) = min(max(d, -delta), delta)``:
    ``dloss = sum_i h'(d_i) (t_p - t_q)_i``, ``p_bar = h'(d) ct`` and ``q_bar = -p_bar``. There is
    no kink; the second derivative, which jumps at ``|d| = delta``, is 1 there.

    Args:
        predictions: Floating array ``(batch, ...)``, or one number.
        targets: Array of the same shape, of any real dtype.
        delta: Where the loss turns linear, above 0.

    Returns:
        Array ``(batch,)``, or one number.

    Raises:
        ShapeError: The shapes differ.
        ArgumentError: delta is not above 0.

    Example:
        >>> import jax
        >>> from funcnet.primitives import huber_loss
        >>> float(huber_loss(3.0, 0.0)), float(jax.grad(huber_loss)(3.0, 0.0))
        (2.5, 1.0)

    References:
        Huber, Robust estimation of a location parameter, 1964.
    """
    if not delta > 0:
        raise ArgumentError(f"huber_loss: delta must be above 0, got {delta}")
    size = jnp.abs(_difference("huber_loss", predictions, targets))
    near = jnp.minimum(size, delta)
    return _per_example(near * (size - near / 2))
