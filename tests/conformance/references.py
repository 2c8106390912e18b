"""Functions in plain JAX that have no name of their own in `jax.numpy` or `jax.nn`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = [
    "bernoulli",
    "cross_entropy",
    "divergence",
    "huber",
    "masked",
    "signed",
    "slope",
    "total",
    "wide",
]


def wide(function: Callable[..., Any]) -> Callable[..., Any]:
    """Broadcast the arguments first, whatever their ranks."""

    def reference(*args: Any) -> Any:
        shape = np.broadcast_shapes(*(a.shape for a in args))
        return function(*(jnp.broadcast_to(a, shape) for a in args))

    return reference


def slope(function: Callable[..., Any]) -> Callable[..., Any]:
    """The derivative of an elementwise function, by JAX."""

    def reference(x: Any, **static: Any) -> Any:
        return jax.jvp(functools.partial(function, **static), (x,), (jnp.ones_like(x),))[1]

    return reference


def cross_entropy(logits: Any, labels: Any, label_smoothing: float = 0.0) -> Any:
    classes = logits.shape[-1]
    if jnp.issubdtype(labels.dtype, jnp.integer):
        labels = jax.nn.one_hot(labels, classes, dtype=logits.dtype)
    total = labels.sum(-1, keepdims=True)
    smooth = (1 - label_smoothing) * labels + label_smoothing / classes * total
    return -jnp.sum(smooth * jax.nn.log_softmax(logits), -1)


def bernoulli(logits: Any, labels: Any) -> Any:
    yes, no = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    return -labels * yes - (1 - labels) * no


def huber(predictions: Any, targets: Any, delta: float = 1.0) -> Any:
    d = jnp.abs(predictions - targets)
    return jnp.sum(jnp.where(d <= delta, d**2 / 2, delta * (d - delta / 2)), -1)


def divergence(log_predictions: Any, targets: Any) -> Any:
    return jnp.sum(targets * (jnp.log(targets) - log_predictions), -1)


def total(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda params: sum(jnp.sum(function(leaf)) for leaf in jax.tree.leaves(params))


def signed(function: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda x, labels: function(labels.astype(x.dtype) * x)


def masked(x: Any, key: Any, dropped: int) -> Any:
    """Zeros with probability dropped / 65536, and the others scaled up."""
    kept = jax.random.bits(key, x.shape, jnp.uint16) >= dropped
    return jnp.where(kept, x / (1 - dropped / 65536), 0.0)
