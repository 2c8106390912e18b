"""The same layer many times over, compiled once."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.errors import ShapeError
from funcnet.layers._checks import require_count, require_layer, require_same_shapes
from funcnet.layers._children import plain_if_all_are
from funcnet.layers._narrow import scan_narrowly
from funcnet.layers._scope import output_shapes
from funcnet.layers.types import SomeLayer, StatefulLayer, as_stateful
from funcnet.typing import Array, Key, Params, PyTree, ShapeDtype, State

__all__ = ["repeat"]


def repeat(layer: SomeLayer, n: int) -> SomeLayer:
    """Apply a layer n times, each time with parameters of its own.

    ``y = f(p[n-1], ... f(p[1], f(p[0], x)))``. The parameters of all n stand in the same arrays,
    with a new leading axis of extent n, and the layer runs under ``lax.scan``: it is traced and
    compiled once, whatever n is. The same holds for its state.

    The backward pass keeps what products of matrices and random draws made, and computes
    elementwise operations again: one array a repetition for a dense layer and its activation. The
    gradient is one stack, as the parameters are, and takes as much memory as they do.

    Args:
        layer: A layer whose outputs have the shapes and dtypes of its inputs.
        n: How many times, at least 0. Repeating 0 times returns the input.

    Returns:
        A :class:`~funcnet.layers.Layer` or :class:`~funcnet.layers.StatefulLayer`, as the layer is.
        Its params and state have the structure of the layer's, with no name in between. The i-th
        repetition draws from the key with i folded in.

    Raises:
        ArgumentError: When ``layer`` is not a layer or ``n`` is not an integer of at least 0.
        ShapeError: When the layer changes the shape or dtype of its input, or the leading axis of
            the parameters or state is not n.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.layers import activation, dense, serial
        >>> net = repeat(serial(dense(4), activation(jnp.tanh)), 100)
        >>> params = net.init(jax.random.key(0), jax.ShapeDtypeStruct((1, 4), jnp.float32))
        >>> jax.tree.map(jnp.shape, params)
        {'dense_0': {'bias': (100, 4), 'kernel': (100, 4, 4)}}
        >>> net.apply(params, jnp.ones((2, 4))).shape
        (2, 4)
    """
    require_layer("repeat", "layer", layer)
    n = require_count("repeat", "n", n, at_least=0)
    inner = as_stateful(layer)

    def init(key: Key, *inputs: Array | ShapeDtype) -> tuple[Params, State]:
        inputs = jax.eval_shape(lambda *xs: xs, *inputs)  # the dtypes that JAX computes in

        def init_one(key: Key) -> tuple[Params, State]:
            params, state = inner.init(key, *inputs)
            _require_kept(inputs, output_shapes(inner, params, state, *inputs))
            return params, state

        return jax.vmap(init_one)(_fold_in_indices(key, n))

    def apply(
        params: Params, state: State, *inputs: Array, key: Key | None = None, train: bool
    ) -> tuple[Any, State]:
        _require_stacked(n, "params", params)
        _require_stacked(n, "state", state)
        keys = None if key is None else _fold_in_indices(key, n)
        outputs, state = _loop(params, state, keys, *map(jnp.asarray, inputs), train=train)
        return _alone_or_all(outputs), state

    # JAX compiles one function once; a new one at each call would crawl eagerly. The underscore
    # keeps its name out of the scopes of the layers inside.
    @functools.partial(jax.jit, static_argnames="train")
    def _loop(
        params: Params, state: State, keys: Key | None, *inputs: Array, train: bool
    ) -> tuple[tuple[Array, ...], State]:
        def run(own: tuple[Params, State, Key | None], *inputs: Array) -> Any:
            params, state, key = own
            y, state = inner.apply(params, state, *inputs, key=key, train=train)
            _require_kept(inputs, y)
            return y if isinstance(y, tuple) else (y,), state

        return scan_narrowly(run, inputs, (params, state, keys), n)

    return plain_if_all_are(StatefulLayer(init, apply), [layer])


def _alone_or_all(outputs: tuple[Array, ...]) -> Any:
    return outputs[0] if len(outputs) == 1 else outputs


def _fold_in_indices(key: Key, n: int) -> Key:
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(n, dtype=jnp.uint32))


def _require_kept(inputs: tuple[Any, ...], y: PyTree) -> None:
    require_same_shapes("repeat", inputs if len(inputs) != 1 else inputs[0], y)


def _require_stacked(n: int, what: str, tree: PyTree) -> None:
    for path, leaf in jax.tree.leaves_with_path(tree):
        if jnp.shape(leaf)[:1] != (n,):
            raise ShapeError(
                f"repeat: {what}{jax.tree_util.keystr(path)} must have a leading axis of {n}, "
                f"got shape {jnp.shape(leaf)}"
            )
