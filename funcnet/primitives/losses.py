"""Losses from logits and scores, one value per example, as a table of rules.

Each class loss is stated from logits, never from probabilities, whose logarithm has lost what matters by then.
Their gradients are differences of probabilities, which cancel for examples that are already right;
the rules take them as sums of the other probabilities, so that no digit is lost.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from funcnet.errors import ArgumentError, ShapeError
from funcnet.primitives.activations import log_sigmoid, sigmoid, softplus
from funcnet.primitives.checked import checked_rule, known
from funcnet.primitives.elementwise import in_float32
from funcnet.primitives.softmax import centered, decentered, log_softmax, softmax
from funcnet.rules import rule
from funcnet.structure import Structure
from funcnet.typing import Array

__all__ = [
    "binary_cross_entropy",
    "hinge_loss",
    "kl_divergence",
    "log_loss",
    "softmax_cross_entropy",
]


def _same_shape(name: str, first: str, a: Array, second: str, b: Any) -> Array:
    """The second argument in the dtype of the first, if the shapes agree."""
    b = jnp.asarray(b)
    if a.shape != b.shape:
        raise ShapeError(
            f"{name}: {first} and {second} must have one shape, got {a.shape} and {b.shape}"
        )
    return b.astype(a.dtype)


# Two classes: the label is a sign, or a probability


def _check_signs(name: str, labels: Any) -> None:
    values = known(labels)
    if values is not None and not ((values == 1) | (values == -1)).all():
        wrong = values[(values != 1) & (values != -1)].flat[0]
        raise ArgumentError(
            f"{name}: labels must be -1 or +1, got {wrong}; labels 0 and 1 become signs by 2 * labels - 1"
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

    ``loss = -log sigma(y u) = log(1 + exp(-y u))``, with u the logits and y the labels: ``dloss = -y sigma(-y u) t`` and
    ``u_bar = -y sigma(-y u) ct``.

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


def _bce_logits(res: Any, s: Array) -> Array:
    # sigma(u) - p = (1 - p) sigma(u) - p sigma(-u): no cancellation where p is 0 or 1.
    logits, labels = res
    p = jnp.asarray(labels).astype(logits.dtype)
    return ((1 - p) * sigmoid(logits) - p * sigmoid(-logits)) * s


def _bce_labels(res: Any, s: Array) -> Array:
    return -res[0] * s


@rule(
    residuals=lambda loss, logits, labels: (logits, labels),
    jvp=(_bce_logits, _bce_labels),
    vjp=(_bce_logits, _bce_labels),
    structure=Structure.DIAGONAL,
    formula="loss = -p log sigma(u) - (1 - p) log sigma(-u)",
    source="cross entropy of a Bernoulli variable",
)
@in_float32
def binary_cross_entropy(logits: Array, labels: Array) -> Array:
    """The cross entropy of yes or no, from logits.

    ``loss = -p log sigma(u) - (1 - p) log sigma(-u)``, with u the logits and p the labels: ``dloss = (sigma(u) - p) t_u - u t_p``,
    ``u_bar = (sigma(u) - p) ct`` and ``p_bar = -u ct``. A term with the factor 0 is 0, also at infinite logits.

    Args:
        logits: Floating array ``(...)``, one logit per example.
        labels: Floating array of the same shape and dtype: the probability of yes, in [0, 1].

    Returns:
        Array of the shape and dtype of the logits.

    Raises:
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

    ``loss = max(0, 1 - y s)``: ``dloss = -y t`` where ``y s < 1``, else 0; ``s_bar = -y ct`` there, else 0. At the kink, ``y s = 1``, the
    slope is 0.

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


# Many classes


def _targets(logits: Array, labels: Any, label_smoothing: float) -> Array:
    """The distribution over classes that labels stand for; all zeros for a label that is no class."""
    labels = jnp.asarray(labels)
    classes = logits.shape[-1]
    if jnp.issubdtype(labels.dtype, jnp.floating):
        target = labels.astype(logits.dtype)
        return (1 - label_smoothing) * target + label_smoothing / classes * _total(target)
    hot = labels[..., None] == jnp.arange(classes, dtype=labels.dtype).reshape(
        (1,) * labels.ndim + (classes,)
    )
    valid = _is_class(labels, classes)[..., None]
    smooth = jnp.where(valid, label_smoothing / classes, 0.0).astype(logits.dtype)
    return jnp.where(hot, 1 - label_smoothing, 0.0).astype(logits.dtype) + smooth


def _total(target: Array) -> Array:
    return jnp.broadcast_to(target.sum(-1, keepdims=True), target.shape)


def _is_class(labels: Array, classes: int) -> Array:
    return (labels >= 0) & (labels < classes)


def _check_classes(logits: Any, labels: Any, label_smoothing: float = 0.0) -> None:
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(
            f"softmax_cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}"
        )
    values, shape = known(labels), jnp.shape(logits)
    if values is None or not jnp.issubdtype(values.dtype, jnp.integer) or not shape:
        return
    if not _is_class(values, shape[-1]).all():
        wrong = values[~_is_class(values, shape[-1])].flat[0]
        raise ArgumentError(
            f"softmax_cross_entropy: label {wrong} is no class: logits of shape {shape} have the classes "
            f"0 to {shape[-1] - 1}"
        )


def _weighted(target: Array, x: Array) -> Array:
    """``sum_i target_i x_i`` over the last axis, where a target 0 counts 0 whatever x is."""
    return jnp.sum(jnp.where(target == 0, 0, target * jnp.where(target == 0, 0, x)), axis=-1)


def _cross_entropy_jvp(res: Any, t: Array, label_smoothing: float) -> Array:
    logits, labels = res
    target = _targets(logits, labels, label_smoothing)
    return -_weighted(target, centered(softmax(logits), t, -1))


def _cross_entropy_vjp(res: Any, ct: Array, label_smoothing: float) -> Array:
    logits, labels = res
    target = _targets(logits, labels, label_smoothing)
    return -ct[..., None] * decentered(softmax(logits), target, -1)


def _cross_entropy_jvp_labels(res: Any, t: Array, label_smoothing: float) -> Array:
    logits, _ = res
    return -_weighted(_targets(logits, t, label_smoothing), log_softmax(logits))


def _cross_entropy_vjp_labels(res: Any, ct: Array, label_smoothing: float) -> Array:
    logits, labels = res
    smooth = _targets(logits, log_softmax(logits), label_smoothing)
    return (-ct[..., None] * smooth).astype(labels.dtype)


@checked_rule(
    check=_check_classes,
    residuals=lambda loss, logits, labels, label_smoothing: (logits, labels),
    jvp=(_cross_entropy_jvp, _cross_entropy_jvp_labels),
    vjp=(_cross_entropy_vjp, _cross_entropy_vjp_labels),
    structure=(Structure.BLOCK_DIAGONAL, Structure.BLOCK_DIAGONAL),
    formula="loss = -sum_i q_i log softmax(x)_i",
    source="Bridle 1990; label smoothing: Szegedy et al. 2016, sec. 7",
    static_argnames="label_smoothing",
)
@in_float32
def softmax_cross_entropy(logits: Array, labels: Array, label_smoothing: float = 0.0) -> Array:
    """The cross entropy of a class, or of a distribution over classes, from logits.

    ``loss = -sum_i q_i log p_i`` with ``p = softmax(x)`` and q the distribution that the labels stand for, smoothed to
    ``(1 - s) q + s / classes``: ``dloss = sum_i q_i (sum_j p_j t_j - t_i)`` and ``x_bar = ct (p sum_i q_i - q)``. For labels that
    are distributions, ``dloss = -sum_i t_i log p_i`` and ``q_bar = -ct log p``, smoothed likewise.

    A label that is no class is an error where its value is known; inside a compiled program its loss is +inf, the
    loss of a class that has no probability, with gradient 0. A term with the factor ``q_i = 0`` is 0, also where ``log p_i`` is -inf.

    Args:
        logits: Floating array ``(..., classes)``.
        labels: Integer array ``(...)`` of classes, or floating array ``(..., classes)`` of distributions.
        label_smoothing: How much of q is spread over all classes, in [0, 1].

    Returns:
        Array ``(...)`` of the dtype of the logits.

    Raises:
        ArgumentError: A label that is known when the function is called is no class.
        ShapeError: The shapes do not go together.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import softmax_cross_entropy
        >>> logits = jnp.array([[0.0, 0.0], [1e4, 0.0]])
        >>> softmax_cross_entropy(logits, jnp.array([0, 1])).round(4).tolist()
        [0.6931, 10000.0]

    References:
        Bridle (1990); Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7.
    """
    labels = jnp.asarray(labels)
    distributions = jnp.issubdtype(labels.dtype, jnp.floating)
    wanted = logits.shape if distributions else logits.shape[:-1]
    if logits.ndim == 0 or labels.shape != wanted:
        kind = "distributions, of the shape of the logits" if distributions else "one per example"
        raise ShapeError(
            f"softmax_cross_entropy: for logits of shape {logits.shape}, {labels.dtype} labels must be "
            f"{kind}: {wanted}, got {labels.shape}"
        )
    loss = -_weighted(_targets(logits, labels, label_smoothing), log_softmax(logits))
    return loss if distributions else jnp.where(_is_class(labels, logits.shape[-1]), loss, jnp.inf)


# Distributions


def _log_or_zero(q: Array) -> Array:
    return jnp.where(q > 0, jnp.log(jnp.where(q > 0, q, 1)), 0)


def _kl_jvp_logs(res: Any, t: Array) -> Array:
    return -_weighted(res[1], t)


def _kl_vjp_logs(res: Any, ct: Array) -> Array:
    return -ct[..., None] * res[1]


def _kl_slope_targets(res: Any) -> Array:
    logs, q = res
    return jnp.where(q > 0, _log_or_zero(q) + 1 - jnp.where(q > 0, logs, 0), -jnp.inf)


@rule(
    residuals=lambda loss, log_predictions, targets: (log_predictions, targets),
    jvp=(_kl_jvp_logs, lambda res, t: _weighted(t, _kl_slope_targets(res))),
    vjp=(_kl_vjp_logs, lambda res, ct: ct[..., None] * _kl_slope_targets(res)),
    structure=Structure.BLOCK_DIAGONAL,
    formula="loss = sum_i q_i (log q_i - log p_i)",
    source="Kullback & Leibler 1951, eq. 2.2",
)
@in_float32
def kl_divergence(log_predictions: Array, targets: Array) -> Array:
    """The Kullback-Leibler divergence of targets from predictions given as logarithms.

    ``loss = sum_i q_i (log q_i - log p_i)``, with q the targets and log p the log predictions: ``dloss = -sum_i q_i t_i``
    and ``logp_bar = -ct q`` for the first argument, ``dloss = sum_i (log q_i + 1 - log p_i) t_i`` and
    ``q_bar = ct (log q + 1 - log p)`` for the second. ``0 log 0 = 0``; there the slope in q is -inf.

    Args:
        log_predictions: Floating array ``(..., classes)``, for example from `log_softmax`.
        targets: Floating array of the same shape and dtype: distributions over the last axis.

    Returns:
        Array ``(...)`` of the same dtype.

    Raises:
        ShapeError: The shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.primitives import kl_divergence
        >>> half = jnp.array([0.5, 0.5])
        >>> float(kl_divergence(jnp.log(half), half))
        0.0

    References:
        Kullback & Leibler, On information and sufficiency, 1951, eq. 2.2.
    """
    q = _same_shape("kl_divergence", "log_predictions", log_predictions, "targets", targets)
    return _weighted(q, _log_or_zero(q) - jnp.where(q > 0, log_predictions, 0))
