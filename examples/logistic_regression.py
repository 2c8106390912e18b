"""Logistic regression as in the lecture: the backward pass by hand, then training with it.

One image of a handwritten digit is followed through the forward pass and back. Then the weights
that tell threes from eights are trained twice with the lecture's update w <- w - eta w-bar: once
with the w-bar written by hand, once with ``jax.grad``.

Run it with ``python examples/logistic_regression.py``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from funcnet.data import load_digits
from funcnet.models import logistic_backward, logistic_loss
from funcnet.report import Table

NEGATIVE, POSITIVE = 3, 8
LIKELIHOOD_WEIGHT = 100.0  # the lambda of L = 1/2 ||w||^2 - lambda log p(y | x)
LEARNING_RATE, STEPS = 0.01, 400


def threes_and_eights(data):
    """Images as rows with a 1 at their end, for the bias, and labels -1 and +1."""
    rows = data.rows()
    chosen = (rows.labels == NEGATIVE) | (rows.labels == POSITIVE)
    x = jnp.asarray(rows.images[chosen])
    x = jnp.concatenate([x, jnp.ones((len(x), 1))], axis=1)
    return x, jnp.where(rows.labels[chosen] == POSITIVE, 1, -1)


def show_backward_pass(w, x, y):
    """Print every value of the forward and of the backward pass of one example."""
    steps = logistic_backward(w, x, y, likelihood_weight=LIKELIHOOD_WEIGHT)
    by_jax = jax.grad(logistic_loss)(w, x, y, likelihood_weight=LIKELIHOOD_WEIGHT)
    rows = [
        ("u", "w . x", float(steps.u)),
        ("p", "sigma(y u)", float(steps.p)),
        ("L", "1/2 ||w||^2 - lambda log p", float(steps.loss)),
        ("p-bar", "-lambda / p", float(steps.p_bar)),
        ("u-bar", "p-bar y p (1 - p)", float(steps.u_bar)),
        ("||w-bar||", "|| w + u-bar x ||", float(jnp.linalg.norm(steps.w_bar))),
    ]
    print(
        Table(["value", "computed as", "of one image"], rows, title=f"Step by step, y = {int(y)}")
    )
    difference = float(jnp.abs(steps.w_bar - by_jax).max())
    print(f"largest difference of w-bar from jax.grad: {difference:.1e}\n")


def w_bar_by_hand(w, x, y):
    """The mean of w - lambda (1 - sigma(y w.x)) y x over the examples."""
    return logistic_backward(w, x, y, likelihood_weight=LIKELIHOOD_WEIGHT).w_bar.mean(axis=0)


def mean_loss(w, x, y):
    return logistic_loss(w, x, y, likelihood_weight=LIKELIHOOD_WEIGHT).mean()


def train(gradient, x, y):
    """Gradient descent from zero; the loss before each step is kept."""

    @jax.jit
    def step(w):
        return w - LEARNING_RATE * gradient(w, x, y), mean_loss(w, x, y)

    w, losses = jnp.zeros(x.shape[1]), []
    for _ in range(STEPS):
        w, loss = step(w)
        losses.append(float(loss))
    return w, losses


def accuracy(w, x, y):
    return float(jnp.mean(jnp.sign(x @ w) == y))


def main():
    train_part, test_part = load_digits()
    x, y = threes_and_eights(train_part)
    x_test, y_test = threes_and_eights(test_part)
    print(f"{len(y)} images of {NEGATIVE} (y = -1) and {POSITIVE} (y = +1), {x.shape[1]} weights\n")

    w = 0.1 * jax.random.normal(jax.random.key(0), x.shape[1:])
    for label in (1, -1):
        example = int(jnp.argmax(y == label))
        show_backward_pass(w, x[example], y[example])

    by_hand, losses = train(w_bar_by_hand, x, y)
    by_jax, _ = train(jax.grad(mean_loss), x, y)
    print(f"trained by hand: loss {losses[0]:.2f} -> {losses[-1]:.2f} in {STEPS} steps")
    print(
        f"accuracy: {accuracy(by_hand, x, y):.1%} in training, "
        f"{accuracy(by_hand, x_test, y_test):.1%} on {len(y_test)} new images"
    )
    difference = float(jnp.abs(by_hand - by_jax).max() / jnp.abs(by_jax).max())
    print(f"relative difference from training with jax.grad: {difference:.1e}")
    return {
        "accuracy": accuracy(by_hand, x_test, y_test),
        "difference": difference,
        "losses": losses,
    }


if __name__ == "__main__":
    main()
