"""What all initializers have in common: how they are made, called and checked.

Every public name of this room is a *factory*: ``he_normal()``, ``normal(0.02)`` and also
``zeros()`` are calls that return an initializer, a function ``init(key, shape, dtype=jnp.float32)
-> Array``. Hyper-parameters belong to the factory, keys and shapes to the initializer. Because
there is no exception, ``kernel_init=he_normal()`` and ``bias_init=zeros()`` are written alike; the
mistake that this invites, handing over the factory itself, is caught here and answered with the way
out.

All initializers draw in float32 at least: a lower precision is a rounding of the float32 draw.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, ParamSpec, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.errors import ArgumentError, DTypeError, MissingKeyError, ShapeError
from funcnet.typing import Array, DTypeLike, Init, Key, Shape

__all__ = [
    "Draw",
    "checked_shape",
    "factory",
    "finite_number",
    "initializer",
    "positive_int",
]

Draw: TypeAlias = Callable[[Key, tuple[int, ...], DTypeLike], Array]
"""The part of an initializer that differs from one to the next, called with checked arguments."""

P = ParamSpec("P")


def factory(build: Callable[P, Init]) -> Callable[P, Init]:
    """Let a factory recognise that it was called as if it were the initializer that it makes.

    Args:
        build: a function from hyper-parameters to an initializer.

    Returns:
        The same function; called with a key and a shape it raises an error that says what to write.
    """
    name = build.__name__

    @functools.wraps(build)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Init:
        if _is_a_draw(args, kwargs):
            raise ArgumentError(
                f"{name} was called with a key and a shape, but it is a factory that makes an "
                f"initializer: write {name}(...)(key, shape), or pass {name}(...) with its "
                f"parentheses where an initializer is expected, as in kernel_init={name}(...)"
            )
        return build(*args, **kwargs)

    return guarded


def initializer(name: str, draw: Draw, *, random: bool = True) -> Init:
    """Make an initializer from the function that draws its values.

    Args:
        name: the factory's name, for error messages.
        draw: ``draw(key, shape, dtype) -> Array``; ``shape`` is a tuple of ints and
            ``dtype`` float32 or wider.
        random: whether a key is needed.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, which checks its arguments and rounds to dtypes
        narrower than float32.
    """

    def init(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Array:
        extents = checked_shape(name, shape)
        _check_dtype(name, dtype)
        if random:
            _check_key(name, key)
        if jnp.finfo(dtype).bits < 32:
            return draw(key, extents, jnp.float32).astype(dtype)
        return draw(key, extents, dtype)

    init.__qualname__ = f"{name}(...)"
    return init


def finite_number(name: str, argument: str, value: Any) -> float:
    """Return a hyper-parameter as a Python float, or say what is wrong with it.

    Args:
        name: the factory's name, for error messages.
        argument: the hyper-parameter's name.
        value: a concrete real number of any type.

    Returns:
        The number.

    Raises:
        ArgumentError: if it is no finite real number, or not concrete.
    """
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{name}: {argument} must be a concrete real number, got {value!r}"
        ) from error
    if not math.isfinite(number):
        raise ArgumentError(f"{name}: {argument} must be finite, got {number}")
    return number


def positive_int(name: str, argument: str, value: Any) -> int:
    """Return a count as an int, or say what is wrong with it.

    Args:
        name: the caller's name, for error messages.
        argument: the argument's name.
        value: an int of any type.

    Returns:
        The int.

    Raises:
        ArgumentError: if it is no int of at least 1.
    """
    try:
        count = operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise ArgumentError(f"{name}: {argument} must be an int of at least 1, got {value!r}")
    return count


def checked_shape(name: str, shape: Any) -> tuple[int, ...]:
    """Return a shape as a tuple of ints, or say what is wrong with it.

    Args:
        name: the caller's name, for error messages.
        shape: a sequence of ints.

    Returns:
        The extents.

    Raises:
        ShapeError: if an extent is negative, no int, or not known while tracing.
    """
    way_out = "pass a tuple of ints that is known while tracing, such as (3, 4)"
    if isinstance(shape, jax.Array):  # iterates happily, and is most often a misplaced key
        raise ShapeError(f"{name}: shape is an array, {shape!r}; {way_out}")
    try:
        extents = tuple(operator.index(extent) for extent in shape)
    except TypeError as error:
        raise ShapeError(
            f"{name}: shape must be a tuple of ints, got {shape!r}; {way_out}"
        ) from error
    if any(extent < 0 for extent in extents):
        raise ShapeError(f"{name}: shape must not be negative, got {extents}; {way_out}")
    return extents


def _is_a_draw(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if {"key", "shape"} & kwargs.keys():
        return True
    if not args or not isinstance(args[0], (jax.Array, np.ndarray)):
        return False
    first = args[0]
    is_raw_key = first.dtype == np.uint32 and first.ndim == 1 and len(args) + len(kwargs) > 1
    return is_raw_key or jnp.issubdtype(first.dtype, jax.dtypes.prng_key)


def _check_dtype(name: str, dtype: Any) -> None:
    # NumPy reads None as float64.
    try:
        is_floating = dtype is not None and jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
    except TypeError:
        is_floating = False
    if not is_floating:
        raise DTypeError(
            f"{name}: dtype must be a real floating dtype, got {dtype!r}; ask for float32 and "
            f"convert, and make complex weights of two real draws"
        )


def _check_key(name: str, key: Any) -> None:
    if not isinstance(key, (jax.Array, np.ndarray)):
        raise MissingKeyError(
            f"{name}: needs a random key, got {key!r}; pass one such as jax.random.key(0)"
        )
