"""Step 3 of the lecture on a graph: ``w <- w - alpha dL/dw``, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.errors import ArgumentError
from funcnet.graph.graph import Graph
from funcnet.graph.sweeps import Adjoints, Values

__all__ = ["Step", "descend"]


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
    moving = {argnums} if isinstance(argnums, int) else set(argnums)
    if wrong := [i for i in moving if not 0 <= i < len(args)]:
        raise ArgumentError(
            f"descend: argnums has {wrong[0]}, but {graph.name} has {len(args)} arguments"
        )
    return _steps(graph, args, learning_rate, moving)


def _steps(
    graph: Graph, args: tuple[Any, ...], learning_rate: float, moving: set[int]
) -> Iterator[Step]:
    while True:
        values = graph.forward(*args)
        adjoints = graph.backward(values)
        new_args = tuple(
            jax.tree.map(
                lambda w, w_bar: _moved(w, w_bar, learning_rate),
                values.inputs[i],
                bar,
                is_leaf=lambda leaf: leaf is None,
            )
            if i in moving
            else arg
            for i, (arg, bar) in enumerate(zip(args, adjoints.inputs, strict=True))
        )
        yield Step(args, values, adjoints, new_args)
        args = new_args


def _moved(w: Any, w_bar: Any, learning_rate: float) -> Any:
    if w_bar is None:
        raise ArgumentError(
            f"descend: an argument that moves has integers in it, {w.dtype}{list(w.shape)}; "
            "argnums says which arguments move"
        )
    # Of a complex number the direction of steepest ascent is the conjugate of JAX's gradient.
    return w - jnp.asarray(learning_rate).astype(w.dtype) * jnp.conj(w_bar)
