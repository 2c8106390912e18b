"""The update of the lecture, as an optax optimiser."""

from __future__ import annotations

import jax
import optax

from funcnet.typing import PyTree

__all__ = ["gradient_descent"]


def gradient_descent(learning_rate: float) -> optax.GradientTransformation:
    """Move against the gradient: ``w <- w - learning_rate * dL/dw``.

    It is what ``optax.sgd(learning_rate)`` does, in plain view. Every optimiser of optax fits in
    its place.

    Args:
        learning_rate: The length of a step, in units of the gradient.

    Returns:
        An ``optax.GradientTransformation`` without state.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> w = jnp.array([3.0, -1.0])
        >>> optimizer = gradient_descent(0.5)
        >>> updates, _ = optimizer.update(w, optimizer.init(w))  # the gradient of 1/2 ||w||^2 is w
        >>> optax.apply_updates(w, updates)
        Array([ 1.5, -0.5], dtype=float32)
    """

    def init(params: PyTree) -> optax.OptState:
        del params
        return ()  # nothing to remember

    def update(
        gradient: PyTree, state: optax.OptState, params: PyTree | None = None
    ) -> tuple[PyTree, optax.OptState]:
        del params
        return jax.tree.map(lambda g: -learning_rate * g, gradient), state

    return optax.GradientTransformation(init, update)
