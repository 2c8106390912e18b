"""Logistic regression as the lecture has it, with its backward pass written out.

Labels are y in {-1, +1}, the probability of a label is p(y | x) = sigma(y w.x), and the loss of one
example is

    L = 1/2 ||w||^2 - lambda log p(y | x).

The forward pass is u = w.x, p = sigma(y u), L. The backward pass visits the same values in the
opposite order; a bar stands for the derivative of L with respect to a value:

    p-bar = -lambda / p
    u-bar = p-bar y p (1 - p)  =  -lambda y (1 - p)
    w-bar = w + u-bar x        =  w - lambda (1 - sigma(y w.x)) y x.

Without the penalty, with lambda = 1 and for y = +1, that is the lecture's -(1 - sigma) x^T.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from funcnet.errors import DTypeError, ShapeError
from funcnet.initializers import zeros
from funcnet.layers import Layer
from funcnet.primitives import l2_penalty, linear, log_loss, sigmoid
from funcnet.typing import Array, ArrayLike, Init, Key, Params, ShapeDtype

__all__ = ["LogisticBackward", "logistic_backward", "logistic_loss", "logistic_regression"]


def logistic_regression(*, weight_init: Init | None = None) -> Layer:
    """The score of one class against another: ``u = w . x``, the logit of p(y = +1 | x).

    With x of shape ``(..., features)``, w of shape ``(features,)`` and u of shape ``(...)``.
    There is no
    bias: append a feature that is always 1.

    Args:
        weight_init: Draws w. None stands for ``zeros()``; the loss is convex, so any start will do.

    Returns:
        A :class:`~funcnet.layers.Layer` with the parameters ``{"w"}``.

    Raises:
        ShapeError: When the last axes of x and w differ.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net = logistic_regression()
        >>> net.apply({"w": jnp.array([2.0, -1.0])}, jnp.array([[1.0, 1.0], [0.0, 3.0]]))
        Array([ 1., -3.], dtype=float32)
        >>> net.init(jax.random.key(0), jnp.ones((5, 2)))
        {'w': Array([0., 0.], dtype=float32)}
    """
    draw = zeros() if weight_init is None else weight_init

    def init(key: Key, x: Array | ShapeDtype) -> Params:
        if not x.shape:
            raise ShapeError(
                "logistic_regression: expected x of shape (..., features), got a scalar"
            )
        return {"w": draw(key, x.shape[-1:], x.dtype)}

    def apply(params: Params, x: Array) -> Array:
        return _score("logistic_regression", params["w"], x)

    return Layer(init, apply)


def logistic_loss(w: Array, x: Array, y: ArrayLike, *, likelihood_weight: float = 1.0) -> Array:
    """The lecture's loss of each example, ``L = 1/2 ||w||^2 - lambda log p(y | x)``.

    Args:
        w: The weights, of shape ``(features,)``.
        x: The inputs, of shape ``(..., features)``.
        y: The labels -1 or +1, of shape ``(...)``, of any real dtype.
        likelihood_weight: The lambda of the formula.

    Returns:
        L, of shape ``(...)``. The penalty is in the loss of each example, so that the mean over a
        batch has it once.

    Raises:
        ShapeError: When the shapes do not fit.
        DTypeError: When w and x differ in dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> print(logistic_loss(jnp.zeros(2), x, jnp.array([1, -1])))
        [0.6931472 0.6931472]
    """
    u = _score("logistic_loss", w, x)
    labels = _labels("logistic_loss", y, u)
    return jnp.broadcast_to(l2_penalty(w), u.shape) + likelihood_weight * log_loss(u, labels)


class LogisticBackward(NamedTuple):
    """All values of the forward pass, and then of the backward pass, in the order of computation.

    Attributes:
        u: The score ``w . x``, of shape ``(...)``.
        p: The probability of the label, ``sigma(y u)``, of shape ``(...)``.
        loss: L, of shape ``(...)``.
        p_bar: dL/dp, of shape ``(...)``.
        u_bar: dL/du, of shape ``(...)``.
        w_bar: dL/dw for each example, of shape ``(..., features)``.
    """

    u: Array
    p: Array
    loss: Array
    p_bar: Array
    u_bar: Array
    w_bar: Array


def logistic_backward(
    w: Array, x: Array, y: ArrayLike, *, likelihood_weight: float = 1.0, penalty: bool = True
) -> LogisticBackward:
    """The backward pass of :func:`logistic_loss` by hand, step by step.

    ``p-bar = -lambda / p``, ``u-bar = -lambda y (1 - p)`` and ``w-bar = w + u-bar x``.

    In u-bar the factor p of dp/du = y p (1 - p) is cancelled against that of p-bar: where p is so
    small that it is rounded to 0, p-bar is infinite but u-bar and w-bar are still right.

    Args:
        w: The weights, of shape ``(features,)``.
        x: The inputs, of shape ``(..., features)``.
        y: The labels -1 or +1, of shape ``(...)``.
        likelihood_weight: The lambda of the formula.
        penalty: Whether ``1/2 ||w||^2`` is part of the loss. Without it, with ``y = 1``, the
            w-bar is the lecture's ``-(1 - sigma(u)) x^T``.

    Returns:
        A :class:`LogisticBackward`, with one value, or one row, per example.

    Raises:
        ShapeError: When the shapes do not fit.
        DTypeError: When w and x differ in dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> w, x = jnp.array([1.0, -1.0]), jnp.array([2.0, 2.0])
        >>> steps = logistic_backward(w, x, 1)
        >>> print(steps.u, steps.p, steps.p_bar, steps.u_bar, steps.w_bar)
        0.0 0.5 -2.0 -0.5 [ 0. -2.]
        >>> print(jax.grad(logistic_loss)(w, x, 1))
        [ 0. -2.]
    """
    # Forward.
    u = _score("logistic_backward", w, x)
    labels = _labels("logistic_backward", y, u)
    p = sigmoid(labels * u)
    loss = likelihood_weight * log_loss(u, labels)
    # Backward.
    p_bar = -likelihood_weight / p
    u_bar = -likelihood_weight * labels * sigmoid(-labels * u)  # sigma(-a) = 1 - sigma(a)
    w_bar = u_bar[..., None] * x
    if penalty:
        loss = loss + jnp.broadcast_to(l2_penalty(w), loss.shape)
        w_bar = w_bar + jnp.broadcast_to(w, w_bar.shape)
    return LogisticBackward(u, p, loss, p_bar, u_bar, w_bar)


def _score(function: str, w: Array, x: Array) -> Array:
    """``w . x`` over the last axis of x."""
    if jnp.ndim(w) != 1 or jnp.ndim(x) == 0 or jnp.shape(x)[-1] != jnp.shape(w)[0]:
        raise ShapeError(
            f"{function}: w must have the shape (features,) and x (..., features), "
            f"got {jnp.shape(w)} and {jnp.shape(x)}"
        )
    if w.dtype != x.dtype:
        raise DTypeError(f"{function}: w and x must have one dtype, got {w.dtype} and {x.dtype}")
    return linear(x, w[:, None])[..., 0]


def _labels(function: str, y: ArrayLike, u: Array) -> Array:
    """The labels in the dtype of u."""
    labels = jnp.asarray(y)
    if labels.shape != u.shape:
        raise ShapeError(
            f"{function}: y must have one label per example, of shape {u.shape}, got {labels.shape}"
        )
    return labels.astype(u.dtype)
