"""What to call the arguments of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

__all__ = ["argument_paths"]


def argument_paths(f: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    """Name each leaf of a call's arguments: the parameter, and the path below it.

    Args:
        f: The function.
        args: Its positional arguments.

    Returns:
        One name for each leaf, in the order of ``jax.tree.leaves(args)``; ``argument 0`` and so on
        for functions that do not tell the names of their parameters.

    Example:
        >>> argument_paths(lambda params, *xs: None, ({"w": 1.0, "b": 2.0}, 3.0, 4.0))
        ['params/b', 'params/w', 'xs[0]', 'xs[1]']
    """
    try:
        names = list(_names(inspect.signature(f).bind(*args)))
    except (TypeError, ValueError):
        names = [f"argument {i}" for i in range(len(args))]
    return [
        "/".join(filter(None, [name, jax.tree_util.keystr(path, simple=True, separator="/")]))
        for name, arg in zip(names, args, strict=True)
        for path, _ in jax.tree_util.tree_leaves_with_path(arg)
    ]


def _names(bound: inspect.BoundArguments) -> Iterator[str]:
    for name, value in bound.arguments.items():
        if bound.signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            yield from (f"{name}[{i}]" for i in range(len(value)))
        else:
            yield name
