"""A function at its arguments: what is differentiated, how large it is, and the checks of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.errors import ArgumentError, DTypeError
from funcnet.jaxprs import argument_paths

__all__ = ["Function", "check_inputs", "checked_argnums", "restricted"]


class Function:
    """A function at arguments, differentiated with respect to some of them.

    Attributes:
        name: What it is called.
        f: The function.
        args: Its arguments, with arrays or ShapeDtypeStructs as leaves.
        argnums: The arguments to differentiate with respect to, counted from 0.
        inputs: How many numbers these hold.
        outputs: How many numbers the function returns.
        out: The structure, shapes and dtypes of what it returns.
        concrete: Whether all arguments are arrays, so that it can be run.
    """

    def __init__(
        self, caller: str, f: Callable[..., Any], args: Sequence[Any], argnums: int | Sequence[int]
    ) -> None:
        if not callable(f):
            raise ArgumentError(f"{caller}: f is {f!r}, which is no function.")
        if not args:
            raise ArgumentError(
                f"{caller}: f was given no arguments; give those at which to differentiate it, "
                f"as in {caller}(f, x)."
            )
        names = argument_paths(f, args)
        leaves, tree = jax.tree.flatten(tuple(args))
        named = zip(names, leaves, strict=True)
        self.args: tuple[Any, ...] = jax.tree.unflatten(
            tree, [_array(caller, *leaf) for leaf in named]
        )
        self.name, self.f = _name(f), f
        self.argnums = checked_argnums(caller, argnums, len(args))
        check_inputs(caller, f, self.args, self.argnums)
        self.inputs = _entries(self.chosen(self.args))
        self.out = jax.eval_shape(f, *self.args)
        self.outputs = _entries(self.out)
        self._check_sizes(caller)
        self.concrete = not any(
            isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(self.args)
        )

    @property
    def is_scalar(self) -> bool:
        """Whether it returns one number, as ``jax.grad`` needs it."""
        leaves = jax.tree.leaves(self.out)
        return len(leaves) == 1 and leaves[0].shape == ()

    def chosen(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """Those of some arguments that are differentiated."""
        return tuple(args[i] for i in self.argnums)

    def restricted(
        self, args: Sequence[Any], function: Callable[..., Any] | None = None
    ) -> Callable[..., Any]:
        """The function, or another like it, of these alone; the others stay as they are."""
        return restricted(function or self.f, args, self.argnums)

    def _check_sizes(self, caller: str) -> None:
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.out):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                where = jax.tree_util.keystr(path)
                raise DTypeError(
                    f"{caller}: the output{where} of {self.name} is {leaf.dtype}, which has no "
                    "real derivative. Return only floating-point outputs."
                )
        for what, size in (("arguments named by argnums hold", self.inputs),
                           (f"outputs of {self.name} hold", self.outputs)):  # fmt: skip
            if not size:
                raise ArgumentError(f"{caller}: the {what} no number, so nothing can be compared.")


def restricted(
    f: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int]
) -> Callable[..., Any]:
    """A function of some of its arguments alone; the others stay as they are.

    Args:
        f: The function.
        args: All arguments.
        argnums: The positions of those that it is to be a function of.

    Returns:
        The function of these.

    Example:
        >>> restricted(lambda x, y: (x, y), (1, 2), [1])(5)
        (1, 5)
    """

    def f_of_chosen(*chosen: Any) -> Any:
        every = list(args)
        for i, value in zip(argnums, chosen, strict=True):
            every[i] = value
        return f(*every)

    return f_of_chosen


def checked_argnums(caller: str, argnums: int | Sequence[int], count: int) -> tuple[int, ...]:
    """The positions that `argnums` names, counted from 0.

    Args:
        caller: Who asks, for the error.
        argnums: One position or several; negative ones count from the end.
        count: How many arguments there are.

    Returns:
        The positions.

    Raises:
        ArgumentError: There is no such argument, or it is named twice, or none is named.
    """
    wanted = (argnums,) if isinstance(argnums, int | np.integer) else tuple(argnums)
    if not wanted:
        raise ArgumentError(f"{caller}: argnums is empty; name at least one argument.")
    for i in wanted:
        if not isinstance(i, int | np.integer) or not -count <= i < count:
            plural = "" if count == 1 else "s"
            raise ArgumentError(
                f"{caller}: argnums={argnums!r}, but f was given {count} argument{plural}."
            )
    positions = tuple(int(i) % count for i in wanted)
    if len(set(positions)) < len(positions):
        raise ArgumentError(f"{caller}: argnums={argnums!r} names an argument twice.")
    return positions


def check_inputs(
    caller: str, f: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int]
) -> None:
    """Raise unless all arrays to differentiate with respect to are real.

    Args:
        caller: Who asks, for the error.
        f: The function.
        args: Its arguments.
        argnums: The positions of those that are differentiated.

    Raises:
        DTypeError: A leaf is of another dtype, or no array.
    """
    names = iter(argument_paths(f, args))
    for i, arg in enumerate(args):
        for leaf in jax.tree.leaves(arg):
            name = next(names)
            dtype: Any = _array(caller, name, leaf).dtype
            if i not in argnums or jnp.issubdtype(dtype, jnp.floating):
                continue
            way = (
                "Pass its real and imaginary part."
                if jnp.issubdtype(dtype, jnp.complexfloating)
                else "Convert it, as 2.0 for 2, or leave it out of argnums."
            )
            raise DTypeError(
                f"{caller}: {name} is {dtype}, and derivatives here are those with respect to real "
                f"numbers. {way}"
            )


def _array(caller: str, name: str, leaf: Any) -> Any:
    if isinstance(leaf, jax.ShapeDtypeStruct | jax.Array):
        return leaf
    try:
        if isinstance(leaf, str | bytes):  # a single letter would be taken for a dtype
            raise TypeError("no number")
        return jnp.asarray(leaf)
    except TypeError as error:
        raise DTypeError(
            f"{caller}: {name} is a {type(leaf).__name__}, which is no array. Fix it beforehand, "
            "as in lambda x: f(x, option)."
        ) from error


def _entries(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _name(f: Any) -> str:
    while isinstance(f, partial):
        f = f.func
    name = getattr(f, "__name__", type(f).__name__)
    return "f" if name == "<lambda>" else name
