"""What layers check of their arguments, inputs and parameters."""

from __future__ import annotations

import operator
from typing import Any, TypeGuard

import jax.numpy as jnp

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.layers.types import AnyLayer, Layer, StatefulLayer
from funcnet.typing import Array, Params, PyTree, ShapeDtype

__all__ = [
    "floating_input",
    "is_layer",
    "parameter",
    "parameter_dtype",
    "require_count",
    "require_layer",
    "require_same_shapes",
    "shapes_text",
]


def is_layer(value: object) -> TypeGuard[AnyLayer]:
    """Whether this is a layer of either type."""
    return isinstance(value, Layer | StatefulLayer)


def require_layer(kind: str, what: str, value: object) -> None:
    """Raise unless the argument `what` of a combinator is a layer."""
    if not is_layer(value):
        hint = "; activation(fn) makes a layer of a function" if callable(value) else ""
        raise ArgumentError(f"{kind}: {what} must be a layer, got {value!r}{hint}")


def require_same_shapes(kind: str, x: PyTree, y: PyTree) -> None:
    """Raise unless a layer's output `y` is like its input `x` in shape and dtype."""
    if shapes_text(x) != shapes_text(y):
        raise ShapeError(
            f"{kind}: the layer must keep the shape and dtype of its input, "
            f"but it turns {shapes_text(x)} into {shapes_text(y)}"
        )


def shapes_text(tree: PyTree) -> str:
    """Such as ``float32[32, 64]``, or a tuple of these."""
    if isinstance(tree, tuple):
        return f"({', '.join(map(shapes_text, tree))})"
    return f"{tree.dtype}{list(tree.shape)}"


def require_count(kind: str, what: str, value: int, at_least: int) -> int:
    """The argument `what` as a Python int, or an error if it is not an integer in range."""
    try:
        count = operator.index(value)
    except TypeError:
        count = at_least - 1
    if count < at_least or isinstance(value, bool):
        raise ArgumentError(
            f"{kind}: {what} must be an integer of at least {at_least}, got {value!r}"
        )
    return count


def parameter(kind: str, params: Params, name: str, dtype: Any) -> Array:
    """The parameter `name` of a layer, in the dtype that the layer computes in."""
    if name not in params:
        raise ArgumentError(
            f"{kind}: params has no entry {name!r} (it has {sorted(params)}); "
            "params must come from this layer's init"
        )
    return jnp.asarray(params[name]).astype(dtype)


def parameter_dtype(kind: str, x: Array | ShapeDtype) -> Any:
    """The dtype of parameters for inputs like `x`: float32, or float64 when `x` is float64."""
    _require_floating(kind, x)
    # Without float64 in JAX, an example of float64 stands for what becomes of it: float32.
    is_wide = x.dtype == jnp.float64 and jnp.result_type(float) == jnp.float64
    return jnp.dtype(jnp.float64 if is_wide else jnp.float32)


def floating_input(kind: str, x: Array) -> Array:
    """The input of a layer as a JAX array, checked to be of floating dtype."""
    x = jnp.asarray(x)
    _require_floating(kind, x)
    return x


def _require_floating(kind: str, x: Array | ShapeDtype) -> None:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise DTypeError(
            f"{kind}: expected an input of floating dtype, got {x.dtype}; "
            "convert it first, as in x.astype(jnp.float32)"
        )
