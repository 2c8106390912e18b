"""Losses of distributions over classes, which stand along the last axis; one value per example.

The gradient of the softmax cross entropy is ``p - q``. For an example that is already right both
are near 1, and their difference has lost its digits. Here it comes from the loss itself, whose
digits are all there, or from the sum of the other probabilities.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.primitives.broadcast import in_full
from funcnet.primitives.checked import checked_rule, known
from funcnet.primitives.elementary import exp, log
from funcnet.primitives.elementwise import in_float32
from funcnet.primitives.softmax import centered, decentered, log_softmax, shifted, softmax
from funcnet.rules import rule
from funcnet.structure import Structure
from funcnet.typing import Array

__all__ = ["kl_divergence", "softmax_cross_entropy"]


def _per_class(x: Array, like: Array) -> Array:
    """One number per example, repeated for each class."""
    return jnp.broadcast_to(x[..., None], like.shape)


def _weighted(weights: Array, x: Array) -> Array:
    """``weights * x``, where a weight 0 gives 0 whatever x is."""
    return jnp.where(weights == 0, 0, weights * jnp.where(weights == 0, 0, x))


# Labels, as they stand for distributions


def _are_classes(labels: Array) -> bool:
    return bool(jnp.issubdtype(labels.dtype, jnp.integer))


def _is_label(logits: Array, labels: Array) -> Array:
    """Where the class is the label; nowhere, for a label that is no class."""
    labels = labels.astype(jnp.int32) if labels.dtype.itemsize < 4 else labels
    classes = lax.broadcasted_iota(labels.dtype, logits.shape, logits.ndim - 1)
    return classes == _per_class(labels, logits)


def _smooth(q: Array, label_smoothing: float) -> Array:
    """``(1 - s) q + s / classes``, times the sum of q: symmetric, so its own transpose."""
    if not label_smoothing:
        return q
    mean = jnp.mean(q, axis=-1, keepdims=True)
    return (1 - label_smoothing) * q + label_smoothing * jnp.broadcast_to(mean, q.shape)


def _distribution(logits: Array, labels: Array, label_smoothing: float) -> Array:
    """What labels stand for, in the dtype of the logits; 0 for a label that is no class."""
    q = _is_label(logits, labels) if _are_classes(labels) else labels
    return _smooth(q.astype(logits.dtype), label_smoothing)


# Of a class c the loss is -log p_c, and with it 1 - p_c = -expm1(-loss): no sum needs to be taken
# for the slopes, which are p_i, and p_c - 1 for the class itself. JAX's own derivative of expm1,
# which is expm1 + 1, would lose the digits again at the next order.


@rule(
    residuals=lambda y, x: x,
    jvp=lambda x, t: exp(-x) * t,
    vjp=lambda x, ct: ct * exp(-x),
    structure=Structure.DIAGONAL,
    formula="y = 1 - exp(-x)",
)
@in_float32
def _other_probability(x: Array) -> Array:
    """The probability of all other classes, where x is the loss of one."""
    return -jnp.expm1(-x)


def _class_loss(logits: Array, labels: Array) -> Array:
    """``-log p_c``; of the largest logit it is log1p of the sum of the others."""
    _, z = shifted(logits, -1)
    index = jnp.where(labels < 0, logits.shape[-1], labels)
    own = jnp.take_along_axis(z, index[..., None], -1, mode="fill", fill_value=-jnp.inf)[..., 0]
    others = jnp.sum(jnp.where(_is_label(logits, labels), 0, jnp.exp(z)), axis=-1)
    loss = jnp.where(own == 0, lax.log1p(others), jnp.log(others + jnp.exp(own)) - own)
    return jnp.where(own == -jnp.inf, jnp.inf, loss)


def _class_slope(res: Any) -> Array:
    loss, logits, labels = res
    is_class = (labels >= 0) & (labels < logits.shape[-1])
    at_label = _per_class(-_other_probability(loss), logits)
    slope = jnp.where(_is_label(logits, labels), at_label, softmax(logits))
    return jnp.where(_per_class(is_class, logits), slope, 0)


def _cross_entropy_jvp(res: Any, t: Array, label_smoothing: float) -> Array:
    _, logits, labels = res
    if _are_classes(labels) and not label_smoothing:
        return jnp.sum(_class_slope(res) * t, axis=-1)
    q = _distribution(logits, labels, label_smoothing)
    return -jnp.sum(_weighted(q, centered(softmax(logits), t, -1)), axis=-1)


def _cross_entropy_vjp(res: Any, ct: Array, label_smoothing: float) -> Array:
    _, logits, labels = res
    if _are_classes(labels) and not label_smoothing:
        return _per_class(ct, logits) * _class_slope(res)
    q = _distribution(logits, labels, label_smoothing)
    return -_per_class(ct, logits) * decentered(softmax(logits), q, -1)


def _cross_entropy_jvp_labels(res: Any, t: Array, label_smoothing: float) -> Array:
    _, logits, _ = res
    t = _smooth(t.astype(logits.dtype), label_smoothing)
    return -jnp.sum(_weighted(t, log_softmax(logits)), axis=-1)


def _cross_entropy_vjp_labels(res: Any, ct: Array, label_smoothing: float) -> Array:
    _, logits, labels = res
    log_p = _smooth(log_softmax(logits), label_smoothing)
    return -_weighted(_per_class(ct, logits), log_p).astype(labels.dtype)


def _check_classes(logits: Any, labels: Any, label_smoothing: float = 0.0) -> None:
    values, shape = known(labels), jnp.shape(logits)
    if values is None or values.dtype.kind not in "iu" or not values.size or not shape:
        return
    wrong = values[(values < 0) | (values > shape[-1] - 1)]
    if wrong.size:
        raise ArgumentError(
            f"softmax_cross_entropy: label {wrong.flat[0]} is no class: logits of shape {shape} "
            f"have {shape[-1]} classes, counted from 0"
        )


def _check_shapes(logits: Array, labels: Array, label_smoothing: float) -> None:
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(
            f"softmax_cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}"
        )
    distributions = jnp.issubdtype(labels.dtype, jnp.floating)
    if not distributions and not _are_classes(labels):
        raise DTypeError(
            "softmax_cross_entropy: labels must be integers (classes) or floating "
            f"(distributions), got {labels.dtype}"
        )
    wanted = logits.shape if distributions else logits.shape[:-1]
    if logits.ndim == 0 or labels.shape != wanted:
        kind = "distributions, of the shape of the logits" if distributions else "one per example"
        raise ShapeError(
            f"softmax_cross_entropy: for logits of shape {logits.shape}, {labels.dtype} labels "
            f"must be {kind}: {wanted}, got {labels.shape}"
        )
    if not logits.shape[-1]:
        raise ShapeError(f"softmax_cross_entropy: logits of shape {logits.shape} have no classes")


@checked_rule(
    check=_check_classes,
    residuals=lambda loss, logits, labels, label_smoothing: (loss, logits, labels),
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

    ``loss = -sum_i q_i log p_i`` with ``p = softmax(x)`` and q the distribution that the labels
    stand for, smoothed to ``(1 - s) q + s / classes``: ``dloss = sum_i q_i (sum_j p_j t_j - t_i)``
    and ``x_bar = ct (p sum_i q_i - q)``. For labels that are distributions,
    ``dloss = -sum_i t_i log p_i`` and ``q_bar = -ct log p``, smoothed likewise.

    A label that is no class is an error where its value is known; inside a compiled program its
    loss is +inf, the loss of a class that has no probability, with gradient 0. A term with the
    factor ``q_i = 0`` is 0, also where ``log p_i`` is -inf.

    Args:
        logits: Floating array ``(..., classes)``.
        labels: Integer array ``(...)`` of classes, or floating array ``(..., classes)`` of
            distributions.
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
        >>> [round(v, 4) for v in softmax_cross_entropy(logits, jnp.array([0, 1])).tolist()]
        [0.6931, 10000.0]

    References:
        Bridle (1990); Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7.
    """
    labels = jnp.asarray(labels)
    _check_shapes(logits, labels, label_smoothing)
    if _are_classes(labels) and not label_smoothing:
        return _class_loss(logits, labels)
    q = _distribution(logits, labels, label_smoothing)
    loss = jnp.sum(_weighted(q, -log_softmax(logits)), axis=-1)
    if not _are_classes(labels):
        return loss
    return jnp.where((labels >= 0) & (labels < logits.shape[-1]), loss, jnp.inf)


# The divergence of distributions


def _kl_slope_targets(res: Any) -> Array:
    log_p, q = (in_full(x) for x in (res[0], res[1].astype(res[0].dtype)))
    slope = jnp.where(q == 0, -jnp.inf, log(q) + 1 - jnp.where(q == 0, 0, log_p))
    return slope.astype(res[0].dtype)


def _kl_jvp_logs(res: Any, t: Array) -> Array:
    return -jnp.sum(res[1].astype(t.dtype) * t, axis=-1)


def _kl_vjp_logs(res: Any, ct: Array) -> Array:
    return -_per_class(ct, res[0]) * res[1].astype(ct.dtype)


def _kl_jvp_targets(res: Any, t: Array) -> Array:
    return jnp.sum(_weighted(t.astype(res[0].dtype), _kl_slope_targets(res)), axis=-1)


def _kl_vjp_targets(res: Any, ct: Array) -> Array:
    return _weighted(_per_class(ct, res[0]), _kl_slope_targets(res)).astype(res[1].dtype)


@rule(
    residuals=lambda loss, log_predictions, targets: (log_predictions, targets),
    jvp=(_kl_jvp_logs, _kl_jvp_targets),
    vjp=(_kl_vjp_logs, _kl_vjp_targets),
    structure=Structure.BLOCK_DIAGONAL,
    formula="loss = sum_i q_i (log q_i - log p_i)",
    source="Kullback & Leibler 1951, eq. 2.2",
)
@in_float32
def kl_divergence(log_predictions: Array, targets: Array) -> Array:
    """The Kullback-Leibler divergence of targets from predictions given as logarithms.

    ``loss = sum_i q_i (log q_i - log p_i)``, with q the targets and log p the log predictions:
    ``dloss = -sum_i q_i t_i`` and ``logp_bar = -ct q`` for the first argument,
    ``dloss = sum_i (log q_i + 1 - log p_i) t_i`` and ``q_bar = ct (log q + 1 - log p)`` for the
    second. ``0 log 0 = 0``, also where ``log p = -inf``; there the slope in q is -inf.

    Args:
        log_predictions: Floating array ``(..., classes)``, for example from `log_softmax`.
        targets: Array of the same shape, of any real dtype: distributions over the last axis.

    Returns:
        Array ``(...)`` of the same dtype.

    Raises:
        ShapeError: The shapes differ, or are those of single numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.primitives import kl_divergence
        >>> half = jnp.array([0.5, 0.5])
        >>> float(kl_divergence(jnp.log(half), half))
        0.0

    References:
        Kullback & Leibler, On information and sufficiency, 1951, eq. 2.2.
    """
    if targets.shape != log_predictions.shape or not targets.ndim:
        raise ShapeError(
            "kl_divergence: log_predictions and targets must have one shape (..., classes), got "
            f"{log_predictions.shape} and {targets.shape}"
        )
    q = targets.astype(log_predictions.dtype)
    return jnp.sum(_weighted(q, jnp.log(q) - log_predictions), axis=-1)
