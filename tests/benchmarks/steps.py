"""One training step of networks against the same step in hand-written JAX.

    python -m tests.benchmarks.steps [--rounds 61]

Both have the same parameters, are jitted, donate their state and return the loss; the hand-written
one uses `jax.nn`, `jnp` and optax alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from funcnet import primitives as fn
from funcnet.layers import activation, dense, serial
from funcnet.training import gradient_descent, init_train_state, make_step
from tests.benchmarks.paired import paired, progress

KEY = jax.random.key(0)


def running(step: Callable[[Any], Any], state: Any) -> Callable[[], Any]:
    """Call a step on its own last state."""
    box = [state]

    def call() -> Any:
        box[0], loss = step(box[0])
        return loss

    return call


def logistic(
    bare: bool, inputs: int = 64, batch: int = 32
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Ours is either `make_step`, with its TrainState, or like the reference a bare function."""
    x = jax.random.normal(KEY, (batch, inputs))
    y = jnp.where(x[:, 0] > 0, 1.0, -1.0)
    params = {"w": jnp.zeros(inputs)}

    def ours(params: Any, batch: Any) -> Any:
        x, y = batch
        return fn.log_loss(fn.matmul(x, params["w"]), y)

    def plain(params: Any, batch: Any) -> Any:
        x, y = batch
        return jax.nn.softplus(-y * (x @ params["w"]))

    def descent(loss: Any) -> Any:
        def step(params: Any, batch: Any) -> Any:
            mean = lambda params: jnp.mean(loss(params, batch))  # noqa: E731
            value, grad = jax.value_and_grad(mean)(params)
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, grad), {"loss": value}

        return jax.jit(step, donate_argnums=0)

    def start(step: Any, state: Any) -> Callable[[], Any]:
        return running(lambda s: step(s, (x, y)), jax.tree.map(jnp.copy, state))

    optimizer = gradient_descent(0.1)
    whole = start(make_step(ours, optimizer), init_train_state(optimizer, params))
    return (
        start(descent(ours), params) if bare else whole,
        start(descent(plain), params),
    )


def network(
    widths: tuple[int, ...], batch: int, ours_activation: Any, plain_activation: Any
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A multilayer perceptron with softmax cross entropy and Adam."""
    inputs, *hidden, classes = widths
    x = jax.random.normal(KEY, (batch, inputs))
    y = jax.random.randint(KEY, (batch,), 0, classes)
    parts: list[Any] = []
    for width in hidden:
        parts += [dense(width), activation(ours_activation)]
    net = serial(*parts, dense(classes))
    params = net.init(KEY, x)
    optimizer = optax.adam(1e-3)

    def ours(params: Any, batch: Any) -> Any:
        return fn.softmax_cross_entropy(net.apply(params, batch[0]), batch[1])

    step = make_step(ours, optimizer)
    state = init_train_state(optimizer, params)

    names = sorted(params)

    def plain_loss(params: Any, x: Any, y: Any) -> Any:
        for name in names[:-1]:
            x = plain_activation(x @ params[name]["kernel"] + params[name]["bias"])
        logits = x @ params[names[-1]]["kernel"] + params[names[-1]]["bias"]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))

    def plain(state: Any, batch: Any) -> Any:
        params, opt_state = state
        loss, grad = jax.value_and_grad(plain_loss)(params, *batch)
        updates, opt_state = optimizer.update(grad, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), {"loss": loss}

    donating = jax.jit(plain, donate_argnums=0)
    plain_params = jax.tree.map(jnp.copy, params)
    return (
        running(lambda s: step(s, (x, y)), state),
        running(lambda s: donating(s, (x, y)), (plain_params, optimizer.init(plain_params))),
    )


TASKS: dict[str, Callable[[], tuple[Callable[[], Any], Callable[[], Any]]]] = {
    "logistic regression 64, batch 32, a bare function of its params": lambda: logistic(bare=True),
    "logistic regression 64, batch 32, `make_step`": lambda: logistic(bare=False),
    "MLP 64-128-128-10, batch 64, ReLU, Adam": lambda: network(
        (64, 128, 128, 10), 64, fn.relu, jax.nn.relu
    ),
    "MLP 784-1024-1024-1024-10, batch 256, ReLU, Adam": lambda: network(
        (784, 1024, 1024, 1024, 10), 256, fn.relu, jax.nn.relu
    ),
    "MLP 784-1024-1024-1024-10, batch 256, tanh, Adam": lambda: network(
        (784, 1024, 1024, 1024, 10), 256, fn.tanh, jnp.tanh
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=61)
    options = parser.parse_args()
    print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}")
    print()
    print("| step | time / hand-written JAX (95 %) | ours, us | hand-written, us |")
    print("|---|---|---|---|")
    with progress() as bar:
        for name in bar.track(TASKS, description="steps"):
            ratio = paired(*TASKS[name](), options.rounds, seconds=0.05)
            ours, plain = ratio.seconds * 1e6, ratio.reference_seconds * 1e6
            print(f"| {name} | {ratio} | {ours:.1f} | {plain:.1f} |", flush=True)


if __name__ == "__main__":
    main()
