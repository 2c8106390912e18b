"""Training on a data set that fits into memory: an epoch is one compiled program.

The loop over the shuffled batches is a ``lax.scan`` on the device; Python is entered once per
epoch. For a small network that is as fast as training gets, as no time goes into calls.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax

from funcnet.errors import ArgumentError, MissingKeyError, ShapeError
from funcnet.training.step import Loss, Metrics, Step, TrainState, plain_step
from funcnet.typing import Array, PyTree

__all__ = ["Callback", "History", "fit", "make_epoch"]

History: TypeAlias = list[dict[str, float]]
"""The metrics of each epoch, in order."""

Callback: TypeAlias = Callable[[int, TrainState, dict[str, float]], object]
"""``callback(epoch, state, metrics)``; what it returns, if true, ends the training."""


def make_epoch(loss: Loss, optimizer: optax.GradientTransformation, batch_size: int) -> Step:
    """Compile one pass over a data set, in shuffled batches.

    Args:
        loss: As for :func:`make_step`.
        optimizer: An optax optimiser.
        batch_size: The number of examples per step. Each pass leaves out the
            ``n mod batch_size`` examples that the shuffle puts last.

    Returns:
        ``epoch(state, data) -> (state, metrics)``, jitted. ``data`` is a pytree of arrays with a
        common first axis. The state that goes in is donated. The metrics are the means over the
        steps. The shuffle depends on ``state.key`` and ``state.step`` alone: training that goes
        on from a stored state is the same as training without a break.

    Raises:
        ArgumentError: When ``batch_size`` is not a positive integer, or larger than the data set.
        ShapeError: When the arrays of the data have different numbers of examples.
        MissingKeyError: When the state has no key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.training import gradient_descent, init_train_state
        >>> def loss(params, batch):
        ...     return 0.5 * jnp.square(params["mean"] - batch)
        >>> optimizer = gradient_descent(0.1)
        >>> state = init_train_state(optimizer, {"mean": jnp.array(0.0)}, key=jax.random.key(0))
        >>> epoch = make_epoch(loss, optimizer, batch_size=2)
        >>> state, metrics = epoch(state, jnp.arange(10.0))
        >>> int(state.step), sorted(metrics)
        (5, ['loss'])
    """
    size = _positive_int("make_epoch", "batch_size", batch_size)
    step = plain_step(loss, optimizer)

    def epoch(state: TrainState, data: PyTree, /) -> tuple[TrainState, Metrics]:
        if state.key is None or state.step is None:
            raise MissingKeyError(
                "make_epoch: shuffling needs a key but the TrainState has none; "
                "pass key=jax.random.key(0) to init_train_state"
            )
        n = _number_of_examples(data, size)
        key = jax.random.fold_in(jax.random.split(state.key)[1], state.step)
        order = jax.random.permutation(key, n)[: n - n % size].reshape(-1, size)

        def on_batch(state: TrainState, chosen: Array) -> tuple[TrainState, Metrics]:
            return step(state, jax.tree.map(lambda a: jnp.take(a, chosen, axis=0), data))

        state, metrics = jax.lax.scan(on_batch, state, order)
        return state, jax.tree.map(jnp.mean, metrics)

    return jax.jit(epoch, donate_argnums=0)


def fit(
    epoch: Step,
    state: TrainState,
    data: PyTree,
    *,
    epochs: int,
    callback: Callback | None = None,
) -> tuple[TrainState, History]:
    """Train for a number of epochs.

    Args:
        epoch: What :func:`make_epoch` returned. It compiles at its first call, so that another
            ``fit`` with the same one starts at once.
        state: The state to start from. It is donated.
        data: A pytree of arrays with a common first axis. It is put on the device once.
        epochs: The number of epochs, at least 0.
        callback: Called after each epoch as ``callback(epoch, state, metrics)``, with ``epoch``
            counted from 1; a true value ends the training there. The state may be read but not
            kept: the next epoch is written into its memory. Entries that it adds to ``metrics``
            are in the history.

    Returns:
        The last state, and the metrics of each epoch as a list of dicts of floats.

    Raises:
        ArgumentError: When ``epochs`` is not an integer of at least 0.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.training import gradient_descent, init_train_state
        >>> def loss(params, batch):
        ...     return 0.5 * jnp.square(params["mean"] - batch)
        >>> optimizer = gradient_descent(0.05)
        >>> state = init_train_state(optimizer, {"mean": jnp.array(0.0)}, key=jax.random.key(0))
        >>> epoch = make_epoch(loss, optimizer, batch_size=10)
        >>> state, history = fit(epoch, state, jnp.arange(10.0), epochs=100)
        >>> print(f"{state.params['mean']:.2f} {history[0]['loss']:.2f} {history[-1]['loss']:.2f}")
        4.47 14.25 4.13
    """
    data = jax.tree.map(jnp.asarray, data)
    history: History = []
    for number in range(1, _count("fit", "epochs", epochs) + 1):
        state, metrics = epoch(state, data)
        report = {name: float(value) for name, value in metrics.items()}
        history.append(report)
        if callback is not None and callback(number, state, report):
            break
    return state, history


def _number_of_examples(data: PyTree, batch_size: int) -> int:
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(data)]
    counts = {shape[0] if shape else None for shape in shapes}
    count = counts.pop() if len(counts) == 1 else None
    if count is None:
        raise ShapeError(
            f"make_epoch: the arrays of the data must have a common first axis, got shapes {shapes}"
        )
    if count < batch_size:
        raise ArgumentError(
            f"make_epoch: batch_size is {batch_size}, but the data has only {count} examples"
        )
    return count


def _positive_int(function: str, name: str, value: int) -> int:
    if _count(function, name, value) == 0:
        raise ArgumentError(f"{function}: {name} must be a positive integer, got 0")
    return value


def _count(function: str, name: str, value: int) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        count = -1
    if count < 0:
        raise ArgumentError(f"{function}: {name} must be an integer of at least 0, got {value!r}")
    return count
