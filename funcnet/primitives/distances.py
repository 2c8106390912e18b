"""Losses of regression, one value per example, and penalties on parameters, as a table of rules.

An example is what the first axis counts; what other axes there are is summed.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from funcnet.errors import ShapeError
from funcnet.primitives.elementwise import in_float32
from funcnet.rules import rule
from funcnet.structure import Structure
from funcnet.typing import Array, PyTree

__all__ = ["absolute_error", "huber_loss", "l1_penalty", "l2_penalty", "squared_error"]


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


# squared_error


@rule(
    residuals=lambda loss, predictions, targets: (predictions, targets),
    jvp=(
        lambda res, t: _per_example(2 * (res[0] - res[1]) * t),
        lambda res, t: _per_example(2 * (res[1] - res[0]) * t),
    ),
    vjp=(
        lambda res, ct: 2 * (res[0] - res[1]) * _along(ct, res[0]),
        lambda res, ct: 2 * (res[1] - res[0]) * _along(ct, res[0]),
    ),
    structure=Structure.BLOCK_DIAGONAL,
    formula="loss = sum_i (p_i - q_i)^2",
    source="Gauss 1809",
)
@in_float32
def squared_error(predictions: Array, targets: Array) -> Array:
    """The squared distance of predictions and targets, one value per example.

    ``loss = sum_i (p_i - q_i)^2``: ``dloss = sum_i 2 (p_i - q_i) (t_p - t_q)_i``, ``p_bar = 2 (p - q) ct`` and ``q_bar = -p_bar``.

    Args:
        predictions: Floating array ``(batch, ...)``, or one number.
        targets: Array of the same shape and dtype.

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


def _sign(res: Any) -> Array:
    return jnp.sign(res[0] - res[1])


@rule(
    residuals=lambda loss, predictions, targets: (predictions, targets),
    jvp=(
        lambda res, t: _per_example(_sign(res) * t),
        lambda res, t: _per_example(-_sign(res) * t),
    ),
    vjp=(
        lambda res, ct: _sign(res) * _along(ct, res[0]),
        lambda res, ct: -_sign(res) * _along(ct, res[0]),
    ),
    structure=Structure.BLOCK_DIAGONAL,
    formula="loss = sum_i |p_i - q_i|",
    source="Laplace 1774",
)
@in_float32
def absolute_error(predictions: Array, targets: Array) -> Array:
    """The absolute distance of predictions and targets, one value per example.

    ``loss = sum_i |p_i - q_i|``, with s the sign of ``p - q``: ``dloss = sum_i s_i (t_p - t_q)_i``, ``p_bar = s ct`` and ``q_bar = -s ct``. At the
    kink, ``p_i = q_i``, the slope is 0.

    Args:
        predictions: Floating array ``(batch, ...)``, or one number.
        targets: Array of the same shape and dtype.

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


def _huber_slope(res: Any, delta: float) -> Array:
    return jnp.clip(res[0] - res[1], -delta, delta)


@rule(
    residuals=lambda loss, predictions, targets, delta: (predictions, targets),
    jvp=(
        lambda res, t, delta: _per_example(_huber_slope(res, delta) * t),
        lambda res, t, delta: _per_example(-_huber_slope(res, delta) * t),
    ),
    vjp=(
        lambda res, ct, delta: _huber_slope(res, delta) * _along(ct, res[0]),
        lambda res, ct, delta: -_huber_slope(res, delta) * _along(ct, res[0]),
    ),
    structure=Structure.BLOCK_DIAGONAL,
    formula="loss = sum_i d_i^2 / 2 where |d_i| <= delta, else delta (|d_i| - delta / 2)",
    source="Huber 1964",
    static_argnames="delta",
)
@in_float32
def huber_loss(predictions: Array, targets: Array, delta: float = 1.0) -> Array:
    """The Huber loss, quadratic near 0 and linear far out, one value per example.

    ``loss = sum_i h(d_i)`` with ``d = p - q``, ``h(d) = d^2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``, and slope
    ``h'(d) = min(max(d, -delta), delta)``: ``dloss = sum_i h'(d_i) (t_p - t_q)_i``, ``p_bar = h'(d) ct`` and ``q_bar = -p_bar``.

    Args:
        predictions: Floating array ``(batch, ...)``, or one number.
        targets: Array of the same shape and dtype.
        delta: Where the loss turns linear, above 0.

    Returns:
        Array ``(batch,)``, or one number.

    Raises:
        ShapeError: The shapes differ.

    Example:
        >>> import jax
        >>> from funcnet.primitives import huber_loss
        >>> float(huber_loss(3.0, 0.0)), float(jax.grad(huber_loss)(3.0, 0.0))
        (2.5, 1.0)

    References:
        Huber, Robust estimation of a location parameter, 1964.
    """
    d = _difference("huber_loss", predictions, targets)
    inner = jnp.clip(d, -delta, delta)
    return _per_example(inner * inner / 2 + delta * (jnp.abs(d) - jnp.abs(inner)))


# Penalties: one number for a whole tree of parameters


def _total(tree: PyTree) -> Array:
    leaves = jax.tree.leaves(tree)
    return sum((jnp.sum(leaf) for leaf in leaves[1:]), jnp.sum(leaves[0]) if leaves else 0.0)


@rule(
    residuals=lambda penalty, params: params,
    jvp=lambda params, t: _total(jax.tree.map(jnp.multiply, params, t)),
    vjp=lambda params, ct: jax.tree.map(lambda w: ct.astype(w.dtype) * w, params),
    structure=Structure.DENSE,
    formula="penalty = sum_i w_i^2 / 2",
    source="the lecture's 1/2 ||w||^2; Hoerl & Kennard 1970",
)
def l2_penalty(params: PyTree) -> Array:
    """Half the squared length of all parameters together.

    ``penalty = sum_i w_i^2 / 2``: ``dpenalty = sum_i w_i t_i`` and ``w_bar = ct w``.

    Args:
        params: A pytree of floating arrays of one dtype.

    Returns:
        One number.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import l2_penalty
        >>> params = {"kernel": jnp.array([[3.0]]), "bias": jnp.array([4.0])}
        >>> float(l2_penalty(params)), float(jax.grad(l2_penalty)(params)["bias"][0])
        (12.5, 4.0)

    References:
        Hoerl & Kennard, Ridge regression, 1970.
    """
    return _total(jax.tree.map(lambda w: jnp.square(w) / 2, params))


@rule(
    residuals=lambda penalty, params: params,
    jvp=lambda params, t: _total(jax.tree.map(lambda w, s: jnp.sign(w) * s, params, t)),
    vjp=lambda params, ct: jax.tree.map(lambda w: ct.astype(w.dtype) * jnp.sign(w), params),
    structure=Structure.DENSE,
    formula="penalty = sum_i |w_i|",
    source="Tibshirani 1996",
)
def l1_penalty(params: PyTree) -> Array:
    """The sum of the sizes of all parameters.

    ``penalty = sum_i |w_i|``: ``dpenalty = sum_i sign(w_i) t_i`` and ``w_bar = ct sign(w)``. At the kink, ``w_i = 0``, the slope is 0.

    Args:
        params: A pytree of floating arrays of one dtype.

    Returns:
        One number.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import l1_penalty
        >>> float(l1_penalty(jnp.array([3.0, -4.0]))), jax.grad(l1_penalty)(jnp.array([2.0, 0.0])).tolist()
        (7.0, [1.0, 0.0])

    References:
        Tibshirani, Regression shrinkage and selection via the lasso, 1996.
    """
    return _total(jax.tree.map(jnp.abs, params))
