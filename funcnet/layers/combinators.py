"""Layers made of layers: in a row, side by side, or around a skip connection.

A combinator of plain layers is a :class:`~funcnet.layers.Layer`; as soon as one child is a
:class:`~funcnet.layers.StatefulLayer`, so is the whole. ``params`` and ``state`` have one entry per
child that has any, under the child's name.

**Names.** A child is given as a layer, as a pair ``(name, layer)``, or as a keyword ``name=layer``;
keywords come after the rest. A layer without a name gets that of its kind and a number, counted per
kind: ``dense_0``, ``relu_0``, ``dense_1``.

**Keys.** A child draws from the key of the combinator with the child's *name* folded in, not its
position. Adding, removing or moving a layer therefore changes neither the initial values nor the
dropout masks of any other layer that keeps its name: name the layers, or add one of another kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import jax.numpy as jnp

from funcnet.errors import ArgumentError
from funcnet.layers._checks import require_layer, require_same_shapes
from funcnet.layers._children import enter, name_all, plain_if_all_are
from funcnet.layers._scope import Child
from funcnet.layers.types import AnyLayer, Entry, Layer, SomeLayer, StatefulLayer, as_stateful
from funcnet.typing import Array, Key, Params, ShapeDtype, State

__all__ = ["parallel", "residual", "serial"]


@overload
def serial(*layers: Layer | tuple[str, Layer], **named: Layer) -> Layer: ...


@overload
def serial(*layers: Entry, **named: AnyLayer) -> AnyLayer: ...


def serial(*layers: Entry, **named: AnyLayer) -> AnyLayer:
    """Apply layers one after the other.

    ``y = f_n(...f_2(f_1(*inputs)))``. A layer that returns a tuple hands its elements to the next
    one as several inputs. Without any layer the input is returned.

    Args:
        *layers: The layers, each alone or as ``(name, layer)``.
        **named: Further layers with their names.

    Returns:
        A :class:`~funcnet.layers.Layer`, or a :class:`~funcnet.layers.StatefulLayer` if a child is.

    Raises:
        ArgumentError: When an argument is not a layer, or a name is used twice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.layers import activation, dense
        >>> from funcnet.primitives import relu
        >>> net = serial(hidden=dense(4), relu=activation(relu), output=dense(2))
        >>> params = net.init(jax.random.key(0), jax.ShapeDtypeStruct((1, 3), jnp.float32))
        >>> jax.tree.map(jnp.shape, params)
        {'hidden': {'bias': (4,), 'kernel': (3, 4)}, 'output': {'bias': (2,), 'kernel': (4, 2)}}
        >>> net.apply(params, jnp.ones((5, 3))).shape
        (5, 2)
    """
    all_layers = name_all("serial", layers, named)
    children = [Child(name, as_stateful(layer)) for name, layer in all_layers.items()]

    def init(key: Key, *inputs: Array | ShapeDtype) -> tuple[Params, State]:
        params: Params = {}
        state: State = {}
        for child in children:
            own_params, own_state, y = child.init(key, *inputs)
            enter(params, child.name, own_params)
            enter(state, child.name, own_state)
            inputs = y if isinstance(y, tuple) else (y,)
        return params, state

    def apply(
        params: Params, state: State, *inputs: Array, key: Key | None = None, train: bool
    ) -> tuple[Any, State]:
        y: Any = inputs if len(inputs) != 1 else inputs[0]
        new_state: State = {}
        for child in children:
            inputs = y if isinstance(y, tuple) else (y,)
            y, own_state = child.apply(params, state, *inputs, key=key, train=train)
            enter(new_state, child.name, own_state)
        return y, new_state

    return plain_if_all_are(StatefulLayer(init, apply), all_layers.values())


@overload
def parallel(
    *layers: Layer | tuple[str, Layer], combine: Callable[..., Any] | None = ..., **named: Layer
) -> Layer: ...


@overload
def parallel(
    *layers: Entry, combine: Callable[..., Any] | None = ..., **named: AnyLayer
) -> AnyLayer: ...


def parallel(
    *layers: Entry, combine: Callable[..., Any] | None = None, **named: AnyLayer
) -> AnyLayer:
    """Apply each layer to the same inputs.

    ``y = (f_1(*inputs), ..., f_n(*inputs))``, or ``combine`` of these.

    Args:
        *layers: The layers, each alone or as ``(name, layer)``.
        combine: A function of the outputs, such as ``lambda a, b: a + b``; None makes a tuple of
            them.
        **named: Further layers with their names; ``combine`` is not available as a name.

    Returns:
        A :class:`~funcnet.layers.Layer`, or a :class:`~funcnet.layers.StatefulLayer` if a child is.

    Raises:
        ArgumentError: When an argument is not a layer, or a name is used twice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.layers import activation
        >>> both = parallel(activation(jnp.sin), activation(jnp.cos), combine=jnp.hypot)
        >>> float(both.apply({}, jnp.array(0.0)))
        1.0
    """
    all_layers = name_all("parallel", layers, named)
    children = [Child(name, as_stateful(layer)) for name, layer in all_layers.items()]
    if combine is not None and not callable(combine):
        raise ArgumentError(f"parallel: combine must be a function or None, got {combine!r}")

    def init(key: Key, *inputs: Array | ShapeDtype) -> tuple[Params, State]:
        params: Params = {}
        state: State = {}
        for child in children:
            own_params, own_state, _ = child.init(key, *inputs)
            enter(params, child.name, own_params)
            enter(state, child.name, own_state)
        return params, state

    def apply(
        params: Params, state: State, *inputs: Array, key: Key | None = None, train: bool
    ) -> tuple[Any, State]:
        outputs = []
        new_state: State = {}
        for child in children:
            y, own_state = child.apply(params, state, *inputs, key=key, train=train)
            enter(new_state, child.name, own_state)
            outputs.append(y)
        return tuple(outputs) if combine is None else combine(*outputs), new_state

    return plain_if_all_are(StatefulLayer(init, apply), all_layers.values())


def residual(layer: SomeLayer) -> SomeLayer:
    """Add to the output of a layer its input: a skip connection.

    ``y = x + f(x)``. It has the params and state of the layer, with no name in between.

    Args:
        layer: A layer of one input, whose output has the shape and dtype of the input.

    Returns:
        A :class:`~funcnet.layers.Layer` or :class:`~funcnet.layers.StatefulLayer`, as the layer is.

    Raises:
        ArgumentError: When the argument is not a layer.
        ShapeError: When the output of the layer has another shape or dtype than its input.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.layers import activation
        >>> residual(activation(jnp.square)).apply({}, jnp.array([3.0]))
        Array([12.], dtype=float32)
    """
    require_layer("residual", "the argument", layer)
    inner = as_stateful(layer)

    def init(key: Key, x: Array | ShapeDtype) -> tuple[Params, State]:
        return inner.init(key, x)

    def apply(
        params: Params, state: State, x: Array, key: Key | None = None, *, train: bool
    ) -> tuple[Array, State]:
        x = jnp.asarray(x)
        y, state = inner.apply(params, state, x, key=key, train=train)
        require_same_shapes("residual", x, y)
        return x + y, state

    return plain_if_all_are(StatefulLayer(init, apply), [layer])
