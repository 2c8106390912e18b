"""Operations of which nothing is known but how to apply them, forwards or backwards.

A loop, a Fourier transform or a triangular solve has a dense block, but writing that down first
would be a waste: what comes in is pushed through it column by column, all columns at once, or what
comes back is pulled through it row by row. Where it is known which results depend on which operands
(:mod:`funcnet.jacobian.sparsity.dependence`), only these entries are kept, and columns that share
no row go through together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

from funcnet.jacobian.blocks.dense import columns_of, dense, from_dense, from_stack, gathered
from funcnet.jacobian.blocks.layout import Laid
from funcnet.jacobian.blocks.terms import Block, identity, is_identity
from funcnet.jacobian.blocks.values import Recipe, Value, Work, computed, leaf
from funcnet.jacobian.coloring.one_sided import color_columns
from funcnet.jacobian.linearization import aval_of
from funcnet.jacobian.sparsity.dependence import Dependence
from funcnet.jacobian.sparsity.supports import (
    Support,
    TooLargeError,
    beside,
    product,
    support_of,
    transposed,
)
from funcnet.jaxprs import cost_of, straight
from funcnet.jaxprs import equations as find_equations

__all__ = ["Bundle"]

_SPARSE = 1 / 16
_SMALL = 1 << 16
"""What comes out of pushing a block is cut down to its support where that leaves no larger share,
or the matrix is no larger: picking entries and putting them back costs more than a few zeros do."""

_MOST_COLORED = 1 << 20
"""Supports with more entries are not coloured: planning would take seconds."""


class Bundle:
    """Linear operations that are applied as one, with known arrays besides their operands.

    Args:
        equations: The operations, in order.
        inputs: The variables that they are linear in.
        outputs: The variables that are wanted of those that they make.
        dependence: Which outputs depend on which inputs, if that is known.

    Attributes:
        inputs: The variables that it is linear in.
        outputs: The variables that it makes.
    """

    def __init__(
        self,
        equations: Sequence[JaxprEqn],
        inputs: Sequence[Var],
        outputs: Sequence[Var],
        dependence: Dependence | None = None,
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
        self._pulling: dict[tuple[int, ...], Work | None] = {}
        self._dependence = dependence
        self._columns: dict[int, np.ndarray | None] = {}
        self._rows: dict[int, np.ndarray | None] = {}
        self._pushed: dict[Any, list[Block]] = {}
        self._pulled: dict[Any, list[Block]] = {}

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
        return self.pulling((result,)) is not None

    @cached_property
    def pushing(self) -> Work:
        """About what applying it once takes."""
        return self._work_of(self._jaxpr.jaxpr)

    def pulling(self, results: tuple[int, ...]) -> Work | None:
        """About what pulling some outputs back once takes; None if that cannot be done."""
        if any(e.primitive.name == "while" for e in self._jaxpr.jaxpr.eqns):
            return None  # which JAX would find out after having traced it
        if results not in self._pulling:
            try:
                made = jax.make_jaxpr(partial(self._backward, results))(
                    self._known_avals, [_struct(self.outputs[i]) for i in results]
                )
            except Exception:  # JAX has many types of errors for what cannot be transposed
                self._pulling[results] = None
            else:
                self._pulling[results] = self._work_of(made.jaxpr)
        return self._pulling[results]

    def _work_of(self, jaxpr: Jaxpr) -> Work:
        cost = cost_of(jaxpr, (True,) * len(jaxpr.outvars))
        entries = cost.bytes // max(aval_of(v).dtype.itemsize for v in self.inputs)
        written = (t for name, t in cost.by_primitive.items() if name.startswith("scatter"))
        return Work(
            cost.flops + cost.transcendentals, entries, scattered=sum(t.flops for t in written)
        )

    def support(self, result: int, place: int) -> Support | None:
        """Where an output depends on an input; None if that may be everywhere."""
        found = None if self._dependence is None else self._dependence.by(place)
        if found is None or found[result].nnz == math.prod(found[result].shape):
            return None
        return found[result]

    def column_colors(self, place: int) -> np.ndarray | None:
        """Colours of the entries of an input that no output entry sees two of.

        None if they would save less than half of the passes.
        """
        if place not in self._columns:
            supports = [self.support(i, place) for i in range(len(self.outputs))]
            self._columns[place] = _colors(supports, _size(self.inputs[place]))
        return self._columns[place]

    def row_colors(self, result: int) -> np.ndarray | None:
        """Colours of the entries of an output that see no input entry together, or None."""
        if result not in self._rows:
            supports = [self.support(result, i) for i in range(len(self.inputs))]
            turned = [None if s is None else transposed(s) for s in supports]
            self._rows[result] = _colors(turned, _size(self.outputs[result]))
        return self._rows[result]

    def pushed(self, place: int, block: Block | None = None) -> list[Block]:
        """The blocks of all outputs, for the block of one input; the identity if none is given."""
        key = (place, block)
        if key not in self._pushed:
            supports = [self.support(i, place) for i in range(len(self.outputs))]
            colors = self.column_colors(place) if block is None else None
            block = block or identity(_size(self.inputs[place]))
            cols = columns_of(block)
            if colors is None:
                colors = np.arange(len(cols))
            seeds = _seeds(gathered(block, cols, colors))
            stacks = self.pushed_stacks({place: seeds})
            self._pushed[key] = _unpacked(stacks, supports, block, cols, colors)
        return self._pushed[key]

    def pulled(self, result: int, block: Block | None = None) -> list[Block]:
        """The blocks by all inputs, for the block by one output; the identity if none is given."""
        key = (result, block)
        if key not in self._pulled:
            supports = [self.support(result, i) for i in range(len(self.inputs))]
            turned = [None if s is None else transposed(s) for s in supports]
            colors = self.row_colors(result) if block is None else None
            block = identity(_size(self.outputs[result])) if block is None else block.transposed
            rows = columns_of(block)
            if colors is None:
                colors = np.arange(len(rows))
            seeds = _seeds(gathered(block, rows, colors))
            stacks = self.pulled_stacks({result: seeds})
            found = _unpacked(stacks, turned, block, rows, colors)
            self._pulled[key] = [b.transposed for b in found]
        return self._pulled[key]

    def pushed_stacks(self, stacks: Mapping[int, Value]) -> list[Value]:
        """Push stacks of tangents through, all at once.

        Args:
            stacks: For inputs that are not 0, a matrix with a tangent in each column.

        Returns:
            Such a matrix for each output.
        """
        return self._mapped(self._forward, self.pushing, stacks, self.inputs, self.outputs)

    def pulled_stacks(self, stacks: Mapping[int, Value]) -> list[Value]:
        """Pull stacks of cotangents back, all at once: from some outputs to all inputs."""
        work = self.pulling(tuple(stacks))
        assert work is not None
        return self._mapped(self._backward, work, stacks, self.outputs, self.inputs)

    def _mapped(
        self,
        apply: Callable[..., list[Any]],
        once: Work,
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
                matrix.T.reshape(count, *aval.shape).astype(aval.dtype)
                for matrix, aval in zip(matrices, avals, strict=True)
            ]
            # One behind the other, as loops and sums along an axis like them best.
            each = jax.vmap(lambda *xs: apply(places, known, xs))
            return [y.astype(matrices[0].dtype) for y in each(*vectors)]

        work = Work(once.flops * count, once.entries * count, scattered=once.scattered * count)
        known = [Value(node.shape, 1.0, node) for node in self._known]
        together = computed((), make, [*stacks.values(), *known], work)
        shapes = [(_size(v), count) for v in others]
        return [
            computed(shape, partial(_picked, i, shape), [together], Work())
            for i, shape in enumerate(shapes)
        ]


def _seeds(block: Block) -> Value:
    """The columns of a block as a matrix, lying one behind the other."""
    if not is_identity(block):
        return dense(block)
    size = block.shape[0]
    return leaf(block.shape, lambda env: Laid(jnp.eye(size, dtype=env.dtype), (1, 0)))


def _picked(which: int, shape: tuple[int, int], made: Sequence[Any]) -> Any:
    """One of the results, a matrix whose columns lie one behind the other."""
    return Laid(made[which].reshape(shape[::-1]), (1, 0))


def _colors(supports: Sequence[Support | None], count: int) -> np.ndarray | None:
    """Colours of the columns of matrices one below the other, if few are enough."""
    known = [s for s in supports if s is not None]
    if len(known) < len(supports) or not count or not any(s.nnz for s in known):
        return None
    whole = beside([[s] for s in known])
    # Entries of one row are all of different colours.
    if 2 * int(np.diff(whole.indptr).max()) > count or whole.nnz > _MOST_COLORED:
        return None
    listed = whole.tocoo()
    coloring = color_columns(listed.row, listed.col, whole.shape)
    return coloring.column_colors if 2 * coloring.count <= count else None


def _unpacked(
    stacks: Sequence[Value],
    supports: Sequence[Support | None],
    block: Block,
    cols: np.ndarray,
    colors: np.ndarray,
) -> list[Block]:
    """The columns that went through an operation, put back to their places.

    Args:
        stacks: What came out, with a column for each colour.
        supports: Where each result depends on the operand, None standing for everywhere.
        block: What went in.
        cols: The columns of it that did.
        colors: The colour of each.
    """
    width = block.shape[1]
    color_of = np.zeros(width, np.int64)
    color_of[cols] = colors
    found = []
    for value, support in zip(stacks, supports, strict=True):
        reached = None if support is None else _reached(support, block)
        shape = (value.shape[0], width)
        if reached is None or reached.nnz == value.shape[0] * len(cols):
            found.append(from_dense(value, shape, cols))
        else:
            at = reached.row.astype(np.int64), reached.col.astype(np.int64)
            found.append(from_stack(value, shape, *at, color_of))
    return found


def _reached(support: Support, block: Block) -> Any:
    """Rows and columns of the product with a block, if knowing them is worth the while."""
    if block.nnz >= math.prod(block.shape):
        return None
    try:
        found = product(support, support_of(block))
    except TooLargeError:
        return None
    size = found.shape[0] * found.shape[1]
    is_sparse = size <= _SMALL or found.nnz <= _SPARSE * size or is_identity(block)
    return found.tocoo() if is_sparse else None


def _known_node(var: Any) -> Recipe:
    return Recipe(lambda env: env.read(var), (), tuple(aval_of(var).shape))


def _struct(var: Var) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval_of(var).shape, aval_of(var).dtype)


def _size(var: Any) -> int:
    return math.prod(aval_of(var).shape)
