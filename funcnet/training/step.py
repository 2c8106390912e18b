"""One step of training as a pure function from state and batch to the next state.

All that changes during training is one :class:`TrainState`, a pytree. A step takes it and gives
back the next one; the old one is donated, so that the new one is written into its memory.

A *loss* is either ``loss(params, batch)``, or, for networks with a state or with random numbers,
``loss(params, state, batch, key) -> (loss, state)``. Both return one value per example, of shape
``(batch,)``; the step minimises their mean.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import optax

from funcnet.errors import ArgumentError, MissingKeyError, ShapeError
from funcnet.typing import Array, ArrayLike, Key, Params, PyTree, State

__all__ = ["Loss", "Metrics", "Step", "TrainState", "init_train_state", "make_step", "plain_step"]

Loss: TypeAlias = Callable[..., Any]
"""``loss(params, batch)``, or ``loss(params, state, batch, key) -> (per_example, state)``."""

Metrics: TypeAlias = dict[str, Array]
"""Named scalars that a step reports."""


class TrainState(NamedTuple):
    """All that changes during training.

    Attributes:
        params: The parameters of the network.
        state: The state of the network, ``{}`` if it has none.
        opt_state: The state of the optimiser.
        key: The root of all random numbers, or None. It never changes: each step folds its number
            in.
        step: The number of steps taken, an int32 scalar. None without a key: nothing depends on it
            then, and one more scalar to carry takes a tenth of the time of a small step.
    """

    params: Params
    state: State
    opt_state: PyTree
    key: Key | None
    step: Array | None


class Step(Protocol):
    """A step of training: the next state, and what there is to report."""

    def __call__(self, state: TrainState, batch: PyTree, /) -> tuple[TrainState, Metrics]:
        """Take one step on one batch."""
        ...


def init_train_state(
    optimizer: optax.GradientTransformation,
    params: Params,
    *,
    state: State | None = None,
    key: Key | None = None,
) -> TrainState:
    """The state before the first step.

    All arrays are copied: steps donate the state, and a caller's own arrays must outlive that.

    Args:
        optimizer: An optax optimiser.
        params: The parameters, as a layer's ``init`` made them.
        state: The state of the network, from the ``init`` of a stateful layer.
        key: Needed for losses that take a key, and for shuffling.

    Returns:
        A :class:`TrainState` at step 0.

    Example:
        >>> import jax.numpy as jnp
        >>> state = init_train_state(optax.sgd(0.1), {"w": jnp.zeros(3)})
        >>> state.params
        {'w': Array([0., 0., 0.], dtype=float32)}
    """
    opt_state = optimizer.init(params)
    step = None if key is None else jnp.int32(0)
    fresh = TrainState(params, {} if state is None else state, opt_state, key, step)
    return jax.tree.map(_fresh_copy, fresh)


def _fresh_copy(leaf: ArrayLike) -> Array:
    # The explicit dtype ends weak typing: jnp.array(0.0) is weakly typed, the parameter after one
    # step is not, and the step would compile twice.
    return jnp.array(leaf, dtype=jnp.asarray(leaf).dtype, copy=True)


def make_step(loss: Loss, optimizer: optax.GradientTransformation) -> Step:
    """Compile one step of training on one batch.

    ``params <- params + update(d mean(loss) / d params)``, with the update of the optimiser.

    Args:
        loss: ``loss(params, batch)`` or ``loss(params, state, batch, key) -> (per_example,
            state)``, with one value per example, of shape ``(batch,)``. The key is another one at
            each step.
        optimizer: An optax optimiser.

    Returns:
        ``step(state, batch) -> (state, metrics)``, jitted. The state that goes in is donated: use
        the one that comes out. ``metrics["loss"]`` is the mean loss before the update.

    Raises:
        ArgumentError: When the loss takes neither two nor four arguments.
        ShapeError: At the first call, when the loss does not return one value per example.
        MissingKeyError: At the first call, when the loss takes a key and the state has none.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.training import gradient_descent
        >>> def loss(params, batch):
        ...     x, y = batch
        ...     return 0.5 * jnp.square(params["w"] * x - y)
        >>> step = make_step(loss, gradient_descent(0.5))
        >>> state = init_train_state(gradient_descent(0.5), {"w": jnp.array(0.0)})
        >>> for _ in range(20):
        ...     state, metrics = step(state, (jnp.array([1.0, 1.0]), jnp.array([2.0, 4.0])))
        >>> print(f"{state.params['w']:.4f} {metrics['loss']:.4f}")
        3.0000 0.5000
    """
    return jax.jit(plain_step(loss, optimizer), donate_argnums=0)


def plain_step(loss: Loss, optimizer: optax.GradientTransformation) -> Step:
    """The step of :func:`make_step`, not jitted, to be put into a larger program.

    Args:
        loss: As for :func:`make_step`.
        optimizer: An optax optimiser.

    Returns:
        ``step(state, batch) -> (state, metrics)``. It donates nothing.

    Raises:
        ArgumentError: When the loss takes neither two nor four arguments.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.training import gradient_descent
        >>> optimizer = gradient_descent(0.5)
        >>> step = plain_step(lambda params, batch: jnp.square(params["w"] - batch), optimizer)
        >>> state = init_train_state(optimizer, {"w": jnp.array(0.0)})
        >>> state, metrics = jax.lax.scan(step, state, jnp.ones((3, 4)))  # three batches of four
        >>> metrics["loss"]
        Array([1., 0., 0.], dtype=float32)
    """
    takes_key = _takes_state_and_key(loss)

    def mean_loss(
        params: Params, state: State, batch: PyTree, key: Key | None
    ) -> tuple[Array, State]:
        if takes_key:
            per_example, state = loss(params, state, batch, key)
        else:
            per_example = loss(params, batch)
        if jnp.ndim(per_example) != 1:
            raise ShapeError(
                "make_step: the loss must return one value per example, of shape (batch,), got "
                f"shape {jnp.shape(per_example)}; the step takes the mean itself"
            )
        return jnp.mean(per_example), state

    def step(train: TrainState, batch: PyTree, /) -> tuple[TrainState, Metrics]:
        key = _key_of_step(train) if takes_key else None
        gradient_of = jax.value_and_grad(mean_loss, has_aux=True)
        (value, state), gradient = gradient_of(train.params, train.state, batch, key)
        with jax.numpy_dtype_promotion("standard"):  # a user's strictness does not reach optax
            updates, opt_state = optimizer.update(gradient, train.opt_state, train.params)
        params = optax.apply_updates(train.params, updates)
        number = None if train.step is None else train.step + 1
        return TrainState(params, state, opt_state, train.key, number), {"loss": value}

    return step


def _key_of_step(train: TrainState) -> Key:
    if train.key is None or train.step is None:
        raise MissingKeyError(
            "make_step: the loss takes a key but the TrainState has none; "
            "pass key=jax.random.key(0) to init_train_state"
        )
    # The first half of the key is for losses; the second is for shuffling, in make_epoch.
    return jax.random.fold_in(jax.random.split(train.key)[0], train.step)


def _takes_state_and_key(loss: Loss) -> bool:
    """Whether the loss is of the form with four arguments. One that could be both is of two."""
    signature = inspect.signature(loss)
    for count in (2, 4):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count == 4
    raise ArgumentError(
        "make_step: the loss must be loss(params, batch) or loss(params, state, batch, key), "
        f"got {getattr(loss, '__name__', loss)}{signature}"
    )
