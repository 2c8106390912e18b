"""Named points: a value inside of a function gets a name that tools can ask for.

A named point costs nothing: compiled code does not contain it, and derivatives pass through it.
The mark is JAX's own, so that `jax.checkpoint_policies.save_only_these_names` knows these names
too.
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from funcnet.errors import ArgumentError, DTypeError

__all__ = ["name"]

T = TypeVar("T")


def name(x: T, path: str) -> T:
    """Give a value inside of a function a name.

    ``y = x``, ``dy = dx``, ``x_bar = y_bar``. Graphs call the node so, and policies of
    `jax.checkpoint` can save what is called so.

    Args:
        x: An array, or a pytree of arrays; each leaf is then called ``path/`` and its own path.
        path: The name, with slashes if it has several parts.

    Returns:
        `x`, unchanged, as JAX's arrays.

    Raises:
        ArgumentError: `path` is no text, or empty.
        DTypeError: A leaf is no array.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.graph import trace
        >>> from funcnet.names import name
        >>> def f(x):
        ...     h = name(jnp.tanh(x), "h")
        ...     return h * h
        >>> [node.name for node in trace(f, 1.0).nodes]
        ['x', 'h', 'a1']
    """
    if not isinstance(path, str) or not path:
        raise ArgumentError(f"name: the name must be a text of at least one letter, got {path!r}")

    def named(keys: Any, leaf: Any) -> Any:
        below = jax.tree_util.keystr(keys, simple=True, separator="/")
        whole = "/".join(filter(None, [path, below]))
        try:
            return checkpoint_name(jnp.asarray(leaf), whole)
        except (TypeError, ValueError, OverflowError) as error:
            raise DTypeError(f"name: {whole} is no array that JAX can hold: {leaf!r}") from error

    return jax.tree_util.tree_map_with_path(named, x)
