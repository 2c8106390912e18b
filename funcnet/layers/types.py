"""What a layer is: a pair of pure functions, with no class behind it.

A :class:`Layer` is ``init(key, *inputs) -> params`` and ``apply(params, *inputs) -> y``. A
:class:`StatefulLayer` also carries a state from call to call and is told whether it is being
trained: ``init(key, *inputs) -> (params, state)`` and ``apply(params, state, *inputs, key=None,
train) -> (y, state)``. Parameters and state are nested dicts of arrays and hold nothing else;
whatever else a layer is made of (its width, its rate) lives in closures. So ``jax.jit``,
``jax.grad``, ``jax.vmap``, optax and chex work on a network as it is.

``init`` wants example inputs, arrays or ``jax.ShapeDtypeStruct``, and reads only their shapes and
dtypes.

Two conventions stand in for fields that a pair of functions does not have:

* the *kind* of a layer is the name of the function that made it, as Python records it in
  ``init.__qualname__``; it becomes the layer's default name in a combinator;
* a layer computes in the dtype of its input. Its parameters are float32, or float64 when the
  example input is, and are cast to the dtype of the input at every call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

from funcnet.typing import Array, Key, Params, ShapeDtype, State

__all__ = ["AnyLayer", "Entry", "Layer", "StatefulLayer", "as_stateful"]


class Layer(NamedTuple):
    """A function with parameters.

    Any pair of pure functions with these signatures is a layer:

    * ``init(key, *inputs) -> params`` draws the parameters from the key, for inputs like these;
    * ``apply(params, *inputs) -> y`` computes the output, an array or a tuple of arrays.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> def scale():
        ...     def init(key, x):
        ...         return {"factor": jnp.ones(x.shape[-1:], x.dtype)}
        ...     def apply(params, x):
        ...         return x * params["factor"]
        ...     return Layer(init, apply)
        >>> x = jnp.array([1.0, 2.0])
        >>> layer = scale()
        >>> layer.apply(layer.init(jax.random.key(0), x), x)
        Array([1., 2.], dtype=float32)
    """

    init: Callable[..., Params]
    apply: Callable[..., Any]


class StatefulLayer(NamedTuple):
    """A function with parameters that also updates a state, draws random numbers or knows training.

    * ``init(key, *inputs) -> (params, state)``;
    * ``apply(params, state, *inputs, key=None, train) -> (y, state)`` returns the output and the
      state for the next call. ``train`` is a Python bool and has no default: whoever calls says
      whether it trains or evaluates. A layer that needs a random key and gets none raises
      :class:`~funcnet.errors.MissingKeyError`.
    """

    init: Callable[..., tuple[Params, State]]
    apply: Callable[..., tuple[Any, State]]


AnyLayer: TypeAlias = Layer | StatefulLayer
"""A layer of either type."""

SomeLayer = TypeVar("SomeLayer", bound=AnyLayer)
"""A layer of one type, where what comes out has the type of what goes in."""

Entry: TypeAlias = Layer | StatefulLayer | tuple[str, AnyLayer]
"""What a combinator takes as one child: a layer, or a name and a layer."""


def as_stateful(layer: AnyLayer) -> StatefulLayer:
    """See any layer as a stateful one, so that code for both types is written once.

    A plain layer gets the state ``{}``, and ignores the key and whether it is trained.

    Args:
        layer: A layer of either type. A :class:`StatefulLayer` comes back as it is.

    Returns:
        A :class:`StatefulLayer` with the same parameters.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.layers import activation, as_stateful
        >>> layer = as_stateful(activation(jnp.negative))
        >>> layer.apply({}, {}, jnp.array([2.0]), train=True)
        (Array([-2.], dtype=float32), {})
    """
    if isinstance(layer, StatefulLayer):
        return layer

    @functools.wraps(layer.init, assigned=("__qualname__",))
    def init(key: Key, *inputs: Array | ShapeDtype) -> tuple[Params, State]:
        return layer.init(key, *inputs), {}

    def apply(
        params: Params, state: State, *inputs: Array, key: Key | None = None, train: bool
    ) -> tuple[Any, State]:
        del key, train
        return layer.apply(params, *inputs), state

    return StatefulLayer(init, apply)
