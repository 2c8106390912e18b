"""Step 3 of the lecture on a graph: ``w <- w - alpha dL/dw``, step by step."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.errors import ArgumentError
from funcnet.graph.graph import Graph
from funcnet.graph.sweeps import Adjoints, Values

__all__ = ["Step", "descend", "moved"]


@dataclass(frozen=True)
class Step:
    """One step of gradient descent, with everything that led to it.

    Attributes:
        args: The arguments before the step.
        values: The value of every node.
        adjoints: The adjoint of every node.
        new_args: The arguments after the step.
    """

    args: tuple[Any, ...]
    values: Values
    adjoints: Adjoints
    new_args: tuple[Any, ...]

    @property
    def loss(self) -> Any:
        """The value of the function before the step."""
        return self.values.outputs


def descend(
    graph: Graph, *args: Any, learning_rate: float, argnums: int | Sequence[int] = 0
) -> Iterator[Step]:
    """Walk downhill, one step for each `next`: ``w <- w - learning_rate dL/dw``.

    Args:
        graph: The graph of a function whose output is one number.
        *args: Where to start.
        learning_rate: The length of a step, per unit of gradient.
        argnums: Which arguments move; the others, data for example, stay.

    Yields:
        Steps, without end.

    Raises:
        ArgumentError: `argnums` names an argument that is not there, or one with integers in it.

    Example:
        >>> from itertools import islice
        >>> from funcnet.graph import descend, trace
        >>> graph = trace(lambda w: (w - 3.0) ** 2, 0.0)
        >>> [float(step.loss) for step in islice(descend(graph, 0.0, learning_rate=0.25), 3)]
        [9.0, 2.25, 0.5625]
    """
    _check_moving("descend", graph, argnums)
    return _steps(graph, args, learning_rate, argnums)


def moved(
    name: str,
    graph: Graph,
    values: Values,
    adjoints: Adjoints,
    learning_rate: float,
    argnums: int | Sequence[int],
) -> tuple[Any, ...]:
    """The arguments after a step; None, leaf by leaf, for those that do not move.

    Args:
        name: Who asks, for errors.
        graph: The graph.
        values: What `Graph.forward` returned.
        adjoints: What `Graph.backward` returned.
        learning_rate: The length of the step.
        argnums: Which arguments move.

    Returns:
        One tree per argument.

    Raises:
        ArgumentError: `argnums` names an argument that is not there, or one with integers in it.
    """
    moving = _check_moving(name, graph, argnums)
    none_is_leaf = lambda leaf: leaf is None  # noqa: E731

    def one(i: int, w: Any, w_bar: Any) -> Any:
        return _moved(name, w, w_bar, learning_rate) if i in moving else None

    return tuple(
        jax.tree.map(partial(one, i), value, bar, is_leaf=none_is_leaf)
        for i, (value, bar) in enumerate(zip(values.inputs, adjoints.inputs, strict=True))
    )


def _steps(
    graph: Graph, args: tuple[Any, ...], learning_rate: float, argnums: int | Sequence[int]
) -> Iterator[Step]:
    while True:
        values = graph.forward(*args)
        adjoints = graph.backward(values)
        after = moved("descend", graph, values, adjoints, learning_rate, argnums)
        moving = _check_moving("descend", graph, argnums)
        new_args = tuple(after[i] if i in moving else arg for i, arg in enumerate(args))
        yield Step(args, values, adjoints, new_args)
        args = new_args


def _check_moving(name: str, graph: Graph, argnums: int | Sequence[int]) -> set[int]:
    given = argnums if isinstance(argnums, Iterable) else (argnums,)
    if wrong_type := [i for i in given if isinstance(i, bool) or not hasattr(i, "__index__")]:
        raise ArgumentError(
            f"{name}: argnums must be a number from 0 or several, got {wrong_type[0]!r}"
        )
    moving = set(map(operator.index, given))
    count = len(graph.in_tree.children())
    if wrong := [i for i in moving if not 0 <= i < count]:
        raise ArgumentError(
            f"{name}: argnums has {wrong[0]}, but {graph.name} has {count} arguments"
        )
    return moving


def _moved(name: str, w: Any, w_bar: Any, learning_rate: float) -> Any:
    if w_bar is None:
        raise ArgumentError(
            f"{name}: an argument that moves has integers in it, {w.dtype}{list(w.shape)}; "
            "argnums says which arguments move"
        )
    # Of a complex number the direction of steepest ascent is the conjugate of JAX's gradient.
    return w - jnp.asarray(learning_rate).astype(w.dtype) * jnp.conj(w_bar)
