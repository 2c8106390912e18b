"""Losses of two classes from logits and scores, one value per example, as a table of rules.

Each class loss is stated from logits, never from probabilities, whose logarithm has lost what
matters by then. Their gradients are differences of probabilities, which cancel for examples that
are already right; the rules take them as sums of the other probabilities, so that no digit is lost.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from funcnet.errors import ArgumentError, ShapeError
from funcnet.primitives.activations import log_sigmoid, sigmoid, softplus
from funcnet.primitives.checked import checked_rule, known
from funcnet.primitives.elementwise import in_float32
from funcnet.structure import Structure
from funcnet.typing import Array

__all__ = ["binary_cross_entropy", "hinge_loss", "log_loss"]


def _same_shape(name: str, first: str, a: Array, second: str, b: Any) -> Array:
    """The second argument in the dtype of the first, if the shapes agree."""
    b = jnp.asarray(b)
    if a.shape != b.shape:
        raise ShapeError(
            f"{name}: {first} and {second} must have one shape, got {a.shape} and {b.shape}"
        )
    return b.astype(a.dtype)


def _check_signs(name: str, labels: Any) -> None:
    values = known(labels)
    if values is not None and not ((values == 1) | (values == -1)).all():
        wrong = values[(values != 1) & (values != -1)].flat[0]
        raise ArgumentError(
            f"{name}: labels must be -1 or +1, got {wrong}; "
            "labels 0 and 1 become signs by 2 * labels - 1"
        )


def _log_loss_slope(res: Any, s: Array) -> Array:
    logits, labels = res
    y = jnp.asarray(labels).astype(logits.dtype)
    return -y * sigmoid(-y * logits) * s


@checked_rule(
    check=lambda logits, labels: _check_signs("log_loss", labels),
    residuals=lambda loss, logits, labels: (logits, labels),
    jvp=(_log_loss_slope, None),
    vjp=(_log_loss_slope, None),
    structure=(Structure.DIAGONAL, None),
    formula="loss = log(1 + exp(-y u))",
    source="the lecture's -log p(y | x) with p = sigma(y u)",
)
@in_float32
def log_loss(logits: Array, labels: Array) -> Array:
    """The lecture's log loss for labels -1 and +1, from logits.

    ``loss = -log sigma(y u) = log(1 + exp(-y u))``, with u the logits and y the labels:
    ``dloss = -y sigma(-y u) t`` and ``u_bar = -y sigma(-y u) ct``.

    Args:
        logits: Floating array ``(...)``, one logit per example.
        labels: Array of the same shape, -1 or +1, of any real dtype. It has no derivative.

    Returns:
        Array of the shape and dtype of the logits.

    Raises:
        ArgumentError: A label that is known when the function is called is neither -1 nor +1.
        ShapeError: The shapes differ.

    Example:
        >>> import jax
        >>> from funcnet.primitives import log_loss
        >>> round(float(log_loss(0.0, 1)), 4), float(jax.grad(log_loss)(0.0, -1))
        (0.6931, 0.5)
    """
    return softplus(-_same_shape("log_loss", "logits", logits, "labels", labels) * logits)


def _check_binary(logits: Any, labels: Any) -> None:
    values = known(labels)
    if values is None or values.dtype.kind not in "iu" or ((values == 0) | (values == 1)).all():
        return
    raise ArgumentError(
        f"binary_cross_entropy: labels must be 0 or 1, got {values[values // 2 != 0].flat[0]}; "
        "for labels -1 and +1 there is log_loss"
    )


def _bce_slope(res: Any) -> Array:
    # sigma(u) - p = (1 - p) sigma(u) - p sigma(-u): no cancellation where p is 0 or 1.
    logits, labels = res
    p = jnp.asarray(labels).astype(logits.dtype)
    return (1 - p) * sigmoid(logits) - p * sigmoid(-logits)


@checked_rule(
    check=_check_binary,
    residuals=lambda loss, logits, labels: (logits, labels),
    jvp=(
        lambda res, t: _bce_slope(res) * t,
        lambda res, t: -res[0] * t.astype(res[0].dtype),
    ),
    vjp=(
        lambda res, ct: _bce_slope(res) * ct,
        lambda res, ct: (-res[0] * ct).astype(res[1].dtype),
    ),
    structure=Structure.DIAGONAL,
    formula="loss = -p log sigma(u) - (1 - p) log sigma(-u)",
    source="cross entropy of a Bernoulli variable",
)
@in_float32
def binary_cross_entropy(logits: Array, labels: Array) -> Array:
    """The cross entropy of yes or no, from logits.

    ``loss = -p log sigma(u) - (1 - p) log sigma(-u)``, with u the logits and p the labels:
    ``dloss = (sigma(u) - p) t_u - u t_p``, ``u_bar = (sigma(u) - p) ct`` and ``p_bar = -u ct``. A
    term with the factor 0 is 0, also at infinite logits.

    Args:
        logits: Floating array ``(...)``, one logit per example.
        labels: Array of the same shape, of any real dtype: the probability of yes, in [0, 1].

    Returns:
        Array of the shape and dtype of the logits.

    Raises:
        ArgumentError: An integer label that is known when the function is called is not 0 or 1.
        ShapeError: The shapes differ.

    Example:
        >>> import jax
        >>> from funcnet.primitives import binary_cross_entropy
        >>> float(binary_cross_entropy(1e4, 0.0)), float(jax.grad(binary_cross_entropy)(0.0, 1.0))
        (10000.0, -0.5)
    """
    p = _same_shape("binary_cross_entropy", "logits", logits, "labels", labels)
    yes = jnp.where(p == 0, 0, -p * log_sigmoid(jnp.where(p == 0, 0, logits)))
    no = jnp.where(p == 1, 0, (p - 1) * log_sigmoid(jnp.where(p == 1, 0, -logits)))
    return yes + no


def _hinge_slope(res: Any, s: Array) -> Array:
    scores, labels = res
    y = jnp.asarray(labels).astype(scores.dtype)
    return jnp.where(y * scores < 1, -y * s, 0)


@checked_rule(
    check=lambda scores, labels: _check_signs("hinge_loss", labels),
    residuals=lambda loss, scores, labels: (scores, labels),
    jvp=(_hinge_slope, None),
    vjp=(_hinge_slope, None),
    structure=(Structure.DIAGONAL, None),
    formula="loss = max(0, 1 - y s)",
    source="Cortes & Vapnik 1995",
)
@in_float32
def hinge_loss(scores: Array, labels: Array) -> Array:
    """The hinge loss for labels -1 and +1.

    ``loss = max(0, 1 - y s)``: ``dloss = -y t`` where ``y s < 1``, else 0; ``s_bar = -y ct`` there,
    else 0. At the kink, ``y s = 1``, the slope is 0.

    Args:
        scores: Floating array ``(...)``, one score per example.
        labels: Array of the same shape, -1 or +1, of any real dtype. It has no derivative.

    Returns:
        Array of the shape and dtype of the scores.

    Raises:
        ArgumentError: A label that is known when the function is called is neither -1 nor +1.
        ShapeError: The shapes differ.

    Example:
        >>> import jax
        >>> from funcnet.primitives import hinge_loss
        >>> float(hinge_loss(0.5, 1)), float(jax.grad(hinge_loss)(1.0, 1))
        (0.5, 0.0)

    References:
        Cortes & Vapnik, Support-vector networks, Machine Learning 20 (1995).
    """
    y = _same_shape("hinge_loss", "scores", scores, "labels", labels)
    return jnp.maximum(0, 1 - y * scores)
