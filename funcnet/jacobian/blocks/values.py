"""The entries of Jacobian blocks, as recipes: their shapes are known now, their numbers later.

A plan decides which entries exist and how they follow from what the forward pass left behind,
before there is any number. A :class:`Value` is such an array to be: ``scale`` times what a
:class:`Recipe` makes, or a number alone. :func:`evaluate` makes the arrays, each step once, and
that may happen while JAX traces.

The shape of a value has an axis for each index of the term that it belongs to; an axis of extent 1
means that the entries do not depend on that index.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet.jacobian.blocks.layout import (
    Laid,
    add,
    contract,
    laid,
    multiply,
    plain,
    reshape,
    transpose,
)

__all__ = [
    "Env",
    "Recipe",
    "Value",
    "Work",
    "computed",
    "constant",
    "contraction",
    "evaluate",
    "leaf",
    "product",
    "total",
    "work_of",
    "written",
]


@dataclass(frozen=True)
class Env:
    """What the forward pass left behind.

    Attributes:
        read: From a variable of the linear program to its array.
        dtype: The dtype that Jacobians are computed in.
    """

    read: Callable[[Any], Any]
    dtype: Any


@dataclass(frozen=True)
class Work:
    """What making arrays takes.

    Attributes:
        flops: Additions and multiplications.
        entries: Entries of arrays that are read and written.
        multiplications: Those of two numbers that both depend on the arguments, the count by which
            elimination orders are compared.
        scattered: Entries, or windows of them, that are written one by one to places from a list.
    """

    flops: int = 0
    entries: int = 0
    multiplications: int = 0
    scattered: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.flops + other.flops,
            self.entries + other.entries,
            self.multiplications + other.multiplications,
            self.scattered + other.scattered,
        )


@dataclass(frozen=True, eq=False)
class Recipe:
    """One step of a recipe.

    Attributes:
        make: From the arrays of the inputs to the array; a node without inputs gets the
            environment instead.
        inputs: The nodes that it needs.
        shape: The shape of the array.
        work: What this step alone takes.
        moves_axes: Whether `make` takes and returns arrays whose axes may lie in any order.
        places: Where its entries stand in its only input, if that is 0 everywhere else.
    """

    make: Callable[..., Any]
    inputs: tuple[Recipe, ...]
    shape: tuple[int, ...]
    work: Work = Work()
    moves_axes: bool = False
    places: np.ndarray | None = None

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Value:
    """``scale`` times the array of a node, or ``scale`` everywhere if there is no node."""

    shape: tuple[int, ...]
    scale: float = 1.0
    node: Recipe | None = None

    def scaled(self, factor: float) -> Value:
        """All entries times a number."""
        return Value(self.shape, self.scale * factor, self.node)

    def varies(self, axis: int) -> bool:
        """Whether the entries depend on an index."""
        return self.shape[axis] != 1

    def _laid(self, shape: Sequence[int], make: Callable[[Any], Any]) -> Value:
        """The same entries in another arrangement, which costs nothing to speak of."""
        if self.node is None:
            return self._step(shape, make)
        node = Recipe(make, (self.node,), tuple(shape), moves_axes=True)
        return Value(node.shape, self.scale, node)

    def reshaped(self, shape: Sequence[int]) -> Value:
        """The same entries in row-major order under another shape."""
        shape = tuple(shape)
        return self if shape == self.shape else self._laid(shape, lambda x: reshape(x, shape))

    def transposed(self, order: Sequence[int]) -> Value:
        """The axes in another order."""
        order = tuple(order)
        if order == tuple(range(len(order))):
            return self
        shape = [self.shape[i] for i in order]
        return self._laid(shape, lambda x: transpose(x, order))

    def sliced(self, axis: int, start: int, extent: int) -> Value:
        """The entries at a range of one index."""
        if not self.varies(axis) or (start == 0 and extent == self.shape[axis]):
            return self
        return self._step(
            _with(self.shape, axis, extent),
            lambda x: lax.slice_in_dim(x, start, start + extent, axis=axis),
        )

    def taken(self, axis: int, indices: np.ndarray) -> Value:
        """The entries at a list of positions of one index."""
        if not self.varies(axis):
            return self
        where = indices.astype(np.int32)
        return self._step(
            _with(self.shape, axis, len(where)),
            lambda x: x.at[(slice(None),) * axis + (where,)].get(mode="promise_in_bounds"),
        )

    def nonzeros(self, places: np.ndarray) -> Value:
        """The entries of a flat array at a list of places, where it is 0 at all others."""
        found = self.taken(0, places)
        if found is self or found.node is None:
            return found
        return replace(found, node=replace(found.node, places=places))

    def flipped(self, axis: int) -> Value:
        """One index counted from its end."""
        return (
            self if not self.varies(axis) else self._step(self.shape, lambda x: jnp.flip(x, axis))
        )

    def repeated(self, axis: int, extent: int) -> Value:
        """The entries written out along an index that they do not depend on."""
        shape = _with(self.shape, axis, extent)
        if self.node is None or shape == self.shape:
            return self
        return self._step(shape, lambda x: jnp.broadcast_to(x, shape))

    def summed(self, axis: int, extent: int) -> Value:
        """The sum over one index, which is dropped."""
        shape = self.shape[:axis] + self.shape[axis + 1 :]
        if not self.varies(axis):
            return self.reshaped(shape).scaled(extent)
        return self._step(shape, lambda x: x.sum(axis), flops=math.prod(self.shape))

    def grouped(self, axis: int, groups: np.ndarray, count: int) -> Value:
        """Sums along one index, of the entries that belong to the same group."""
        if not self.varies(axis):
            sizes = np.bincount(groups, minlength=count)
            if np.all(sizes == sizes[0]):
                return self.scaled(float(sizes[0]))
            shape = tuple(count if i == axis else 1 for i in range(len(self.shape)))
            return product(
                self, leaf(shape, lambda env: jnp.asarray(sizes, env.dtype).reshape(shape))
            )
        where = groups.astype(np.int32)

        def make(x: Any) -> Any:
            front = jnp.moveaxis(x, axis, 0)
            sums = jnp.zeros((count, *front.shape[1:]), x.dtype).at[where].add(front)
            return jnp.moveaxis(sums, 0, axis)

        size = math.prod(self.shape)
        work = {"flops": size, "scattered": self.shape[axis]}
        return self._step(_with(self.shape, axis, count), make, **work)

    def _step(
        self,
        shape: Sequence[int],
        make: Callable[[Any], Any],
        *,
        flops: int = 0,
        scattered: int = 0,
    ) -> Value:
        shape = tuple(shape)
        if self.node is None:
            return Value(shape if math.prod(shape) == 1 else (1,) * len(shape), self.scale)
        work = Work(flops, 2 * math.prod(shape), scattered=scattered)
        node = Recipe(make, (self.node,), shape, work)
        return Value(shape, self.scale, node)


def constant(number: float, rank: int = 0) -> Value:
    """One number for all entries."""
    return Value((1,) * rank, number)


def leaf(shape: Sequence[int], make: Callable[[Env], Any]) -> Value:
    """Entries that follow from what the forward pass left behind."""
    shape = tuple(shape)

    def made(env: Env) -> Any:
        x = laid(make(env))
        return Laid(jnp.asarray(x.array).astype(env.dtype), x.axes)

    return Value(shape, 1.0, Recipe(made, (), shape))


def written(value: Value, shape: Sequence[int]) -> Value:
    """All entries of a value written out in a shape that it broadcasts to."""
    shape = tuple(shape)
    if value.node is None:
        return leaf(shape, lambda env: jnp.full(shape, value.scale, env.dtype))
    for axis, extent in enumerate(shape):
        value = value.repeated(axis, extent)
    return value


def computed(
    shape: Sequence[int], make: Callable[..., Any], inputs: Sequence[Value], work: Work
) -> Value:
    """Entries that follow from those of other values, each with a node."""
    shape, scales = tuple(shape), [v.scale for v in inputs]
    nodes = tuple(v.node for v in inputs if v.node is not None)
    assert len(nodes) == len(scales)

    def scaled(*arrays: Any) -> Any:
        return make(*(_times(s, x) for s, x in zip(scales, arrays, strict=True)))

    return Value(shape, 1.0, Recipe(scaled, nodes, shape, work))


def product(a: Value, b: Value) -> Value:
    """The entrywise product of two values of one rank, broadcast against each other."""
    shape = tuple(np.broadcast_shapes(a.shape, b.shape))
    scale = a.scale * b.scale
    if a.node is None or b.node is None:
        return Value(shape, scale, a.node or b.node)
    count = math.prod(shape)
    work = Work(count, a.node.size + b.node.size + count, count)
    return Value(shape, scale, Recipe(multiply, (a.node, b.node), shape, work, moves_axes=True))


def total(values: Sequence[Value]) -> Value:
    """The entrywise sum of values of one rank, broadcast against one another."""
    if len(values) == 1:
        return values[0]
    shape = tuple(np.broadcast_shapes(*(v.shape for v in values)))
    nodes = tuple(v.node for v in values if v.node is not None)
    rest = math.fsum(v.scale for v in values if v.node is None)
    if not nodes:
        return Value(shape, rest)
    scales = [v.scale for v in values if v.node is not None]
    if len(nodes) == 1 and rest == 0:
        return Value(shape, scales[0], nodes[0])

    def make(*arrays: Any) -> Any:
        parts = [_times(s, x) for s, x in zip(scales, arrays, strict=True)]
        if rest != 0:
            parts.append(jnp.full([1] * len(shape), rest, laid(parts[0]).array.dtype))
        return add(parts, shape)

    count = math.prod(shape)
    work = Work(count * (len(values) - 1), sum(n.size for n in nodes) + count)
    return Value(shape, 1.0, Recipe(make, nodes, shape, work, moves_axes=True))


def contraction(
    a: Value, a_names: Sequence[int], b: Value, b_names: Sequence[int], kept: Sequence[int]
) -> Value:
    """Multiply two values and sum over the indices that the result does not have.

    Args:
        a: A value.
        a_names: A name for each of its axes.
        b: Another value.
        b_names: A name for each of its axes; equal names are one index.
        kept: The names of the axes of the result; one that neither value varies along has
            extent 1.

    Returns:
        The value, with an axis for each of the kept names.
    """
    assert a.node is not None and b.node is not None
    a_extents, b_extents = (
        {n: extent for n, extent in zip(names, v.shape, strict=True) if extent != 1}
        for v, names in ((a, a_names), (b, b_names))
    )
    extents = a_extents | b_extents
    shape = tuple(extents.get(n, 1) for n in kept)
    out = [n for n in kept if n in extents]

    def make(x: Any, y: Any) -> Any:
        x, y = reshape(x, list(a_extents.values())), reshape(y, list(b_extents.values()))
        return reshape(contract(x, list(a_extents), y, list(b_extents), out), shape)

    pairs = math.prod(extents.values())
    work = Work(2 * pairs, a.node.size + b.node.size + math.prod(shape), pairs)
    return Value(
        shape, a.scale * b.scale, Recipe(make, (a.node, b.node), shape, work, moves_axes=True)
    )


def evaluate(values: Sequence[Value], env: Env) -> list[Any]:
    """Make the arrays of values, each step once.

    Args:
        values: Values.
        env: What the forward pass left behind.

    Returns:
        An array for each value, of its shape.
    """
    made: dict[Recipe, Any] = {}
    for node in _in_order(v.node for v in values if v.node is not None):
        inputs = [made[i] if node.moves_axes else plain(made[i]) for i in node.inputs]
        made[node] = node.make(*inputs) if inputs else node.make(env)
    return [
        jnp.full(v.shape, v.scale, env.dtype)
        if v.node is None
        else _times(v.scale, plain(made[v.node]))
        for v in values
    ]


def work_of(values: Iterable[Value]) -> tuple[Work, int]:
    """What making the arrays takes in all, and in how many steps that take anything."""
    works = [n.work for n in _in_order(v.node for v in values if v.node is not None)]
    return sum(works, Work()), sum(w.entries > 0 for w in works)


def _in_order(roots: Iterable[Recipe]) -> Iterable[Recipe]:
    """All nodes that the roots need, inputs first. Chains may be longer than Python's stack."""
    order: dict[Recipe, None] = {}
    for root in roots:
        stack = [(root, False)]
        while stack:
            node, ready = stack.pop()
            if node in order:
                continue
            if ready:
                order[node] = None
            else:
                stack.append((node, True))
                stack.extend((i, False) for i in node.inputs if i not in order)
    return order


def _times(scale: float, x: Any) -> Any:
    if isinstance(x, Laid):
        return Laid(_times(scale, x.array), x.axes)
    return x if scale == 1 else -x if scale == -1 else scale * x


def _with(shape: tuple[int, ...], axis: int, extent: int) -> tuple[int, ...]:
    return (*shape[:axis], extent, *shape[axis + 1 :])
