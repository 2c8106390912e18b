"""Operations of which nothing is known but how to apply them, forwards or backwards.

A loop, a Fourier transform or a triangular solve has a dense block, but writing that down first
would be a waste: what comes in is pushed through it column by column, all columns at once, or what
comes back is pulled through it row by row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal, Var, jaxpr_as_fun

from funcnet.jacobian.dense import columns_of, dense, from_dense, narrowed
from funcnet.jacobian.linearization import aval_of
from funcnet.jacobian.terms import Block, identity
from funcnet.jacobian.values import Recipe, Value, Work, computed
from funcnet.jaxprs import cost_of, straight
from funcnet.jaxprs import equations as find_equations

__all__ = ["Bundle", "Operation"]


class Bundle:
    """Linear operations that are applied as one, with known arrays besides their operands.

    Attributes:
        inputs: The variables that it is linear in.
        outputs: The variables that it makes.
        work: About what applying it once takes.
    """

    def __init__(
        self, equations: Sequence[JaxprEqn], inputs: Sequence[Var], outputs: Sequence[Var]
    ) -> None:
        self.inputs, self.outputs = list(inputs), list(outputs)
        made = {v for eqn in equations for v in eqn.outvars}
        read = dict.fromkeys(
            v
            for eqn in equations
            for v in eqn.invars
            if not isinstance(v, Literal) and v not in made and v not in inputs
        )
        self._jaxpr = straight(equations, [*read, *self.inputs], self.outputs)
        self._call = jaxpr_as_fun(self._jaxpr)
        self._known = [_known_node(v) for v in read]
        self._known_avals = [jax.ShapeDtypeStruct(aval_of(v).shape, aval_of(v).dtype) for v in read]
        cost = cost_of(self._jaxpr.jaxpr, (True,) * len(self.outputs))
        self.work = Work(cost.flops + cost.transcendentals, cost.bytes // 4)
        self._pullable: dict[int, bool] = {}
        self._pushed: dict[Any, Any] = {}
        self._pulled: dict[Any, Any] = {}

    def _forward(
        self, places: Sequence[int], known: Sequence[Any], tangents: Sequence[Any]
    ) -> list[Any]:
        """All outputs for inputs of which some are not 0."""
        given = [jnp.zeros(aval_of(v).shape, aval_of(v).dtype) for v in self.inputs]
        for place, tangent in zip(places, tangents, strict=True):
            given[place] = tangent
        return list(self._call(*known, *given))

    def _backward(
        self, places: Sequence[int], known: Sequence[Any], cotangents: Sequence[Any]
    ) -> list[Any]:
        """All inputs' cotangents for outputs of which some have one that is not 0."""

        def linear(*tangents: Any) -> list[Any]:
            results = self._call(*known, *tangents)
            return [results[place] for place in places]

        transposed = jax.linear_transpose(linear, *(_struct(v) for v in self.inputs))
        return list(transposed(list(cotangents)))

    @cached_property
    def can_push(self) -> bool:
        """Whether it can be applied forwards: not a function with a reverse rule alone."""
        return all(e.name != "custom_lin" for e in find_equations(self._jaxpr))

    def can_pull(self, result: int) -> bool:
        """Whether one output can be pulled back: not that of a loop of unknown length."""
        if result not in self._pullable:
            try:
                jax.eval_shape(
                    lambda known, ct: self._backward([result], known, [ct]),
                    self._known_avals,
                    _struct(self.outputs[result]),
                )
                self._pullable[result] = True
            except Exception:  # JAX has many types of errors for what cannot be transposed
                self._pullable[result] = False
        return self._pullable[result]

    def pushed(self, place: int, block: Block) -> list[Block]:
        """The blocks of all outputs, for the block of one input."""
        key = (place, block)
        if key not in self._pushed:
            cols = columns_of(block)
            stacks = self.pushed_stacks({place: dense(narrowed(block, cols))})
            self._pushed[key] = [
                from_dense(value, (_size(v), block.shape[1]), cols)
                for v, value in zip(self.outputs, stacks, strict=True)
            ]
        return self._pushed[key]

    def pulled(self, result: int, block: Block) -> list[Block]:
        """The blocks by all inputs, for the block by one output."""
        key = (result, block)
        if key not in self._pulled:
            turned = block.transposed
            rows = columns_of(turned)
            stacks = self.pulled_stacks({result: dense(narrowed(turned, rows))})
            self._pulled[key] = [
                from_dense(value, (_size(v), block.shape[0]), rows).transposed
                for v, value in zip(self.inputs, stacks, strict=True)
            ]
        return self._pulled[key]

    def pushed_stacks(self, stacks: Mapping[int, Value]) -> list[Value]:
        """Push stacks of tangents through, all at once.

        Args:
            stacks: For inputs that are not 0, a matrix with a tangent in each column.

        Returns:
            Such a matrix for each output.
        """
        return self._mapped(self._forward, stacks, self.inputs, self.outputs)

    def pulled_stacks(self, stacks: Mapping[int, Value]) -> list[Value]:
        """Pull stacks of cotangents back, all at once: from some outputs to all inputs."""
        return self._mapped(self._backward, stacks, self.outputs, self.inputs)

    def _mapped(
        self,
        apply: Callable[..., list[Any]],
        stacks: Mapping[int, Value],
        ends: Sequence[Var],
        others: Sequence[Var],
    ) -> list[Value]:
        """One step that makes all results together, and one to pick each."""
        places = list(stacks)
        avals = [aval_of(ends[place]) for place in places]
        count = stacks[places[0]].shape[1]

        def make(*arrays: Any) -> list[Any]:
            matrices, known = arrays[: len(places)], arrays[len(places) :]
            vectors = [
                matrix.reshape(*aval.shape, count).astype(aval.dtype)
                for matrix, aval in zip(matrices, avals, strict=True)
            ]
            each = jax.vmap(lambda *xs: apply(places, known, xs), in_axes=-1, out_axes=-1)
            return [y.astype(matrices[0].dtype) for y in each(*vectors)]

        work = Work(self.work.flops * count, self.work.entries * count)
        known = [Value(node.shape, 1.0, node) for node in self._known]
        together = computed((), make, [*stacks.values(), *known], work)
        shapes = [(_size(v), count) for v in others]
        return [
            computed(shape, partial(_picked, i, shape), [together], Work())
            for i, shape in enumerate(shapes)
        ]


@dataclass(frozen=True, eq=False)
class Operation:
    """One output of a group by one of its inputs, not written down."""

    group: Bundle
    place: int
    result: int

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and columns of its block."""
        return _size(self.group.outputs[self.result]), _size(self.group.inputs[self.place])

    def after(self, block: Block) -> Block | None:
        """Push a block through it; None if it cannot be applied forwards."""
        return self.group.pushed(self.place, block)[self.result] if self.group.can_push else None

    def before(self, block: Block) -> Block | None:
        """Pull a block back through it; None if it cannot be applied backwards."""
        return (
            self.group.pulled(self.result, block)[self.place]
            if self.group.can_pull(self.result)
            else None
        )

    @cached_property
    def block(self) -> Block:
        """Its block, written down from the side that takes fewer passes."""
        rows, cols = self.shape
        pull = self.group.can_pull(self.result)
        by_columns = self.group.can_push and (cols <= rows or not pull)
        found = self.after(identity(cols)) if by_columns else self.before(identity(rows))
        assert found is not None, "JAX made an operation that runs in neither mode"
        return found


def _picked(which: int, shape: tuple[int, ...], made: Sequence[Any]) -> Any:
    return made[which].reshape(shape)


def _known_node(var: Any) -> Recipe:
    return Recipe(lambda env: env.read(var), (), tuple(aval_of(var).shape))


def _struct(var: Var) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval_of(var).shape, aval_of(var).dtype)


def _size(var: Any) -> int:
    return math.prod(aval_of(var).shape)
