"""What the blocks of operations are made of: shapes, nests, and what is known of factors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn, Literal

from funcnet.jacobian.blocks.terms import Block, Index, make_term
from funcnet.jacobian.blocks.values import Value, constant, leaf
from funcnet.jacobian.linearization import LinearProgram, aval_of

__all__ = ["known", "mask_of", "nest", "shape_of", "size_of", "strides", "zero"]


def shape_of(atom: Any) -> tuple[int, ...]:
    """The shape of a variable."""
    return tuple(aval_of(atom).shape)


def size_of(atom: Any) -> int:
    """The number of its entries."""
    return math.prod(shape_of(atom))


def strides(shape: Sequence[int]) -> list[int]:
    """How far one step along each axis leads in row-major order."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def nest(
    eqn: JaxprEqn,
    place: int,
    indices: Sequence[Index],
    value: Value | None = None,
    row0: int = 0,
    col0: int = 0,
) -> Block:
    """The block of an operation's first result by one operand, of one nest."""
    shape = (size_of(eqn.outvars[0]), size_of(eqn.invars[place]))
    entries = constant(1.0, len(indices)) if value is None else value
    term = make_term(indices, row0, col0, entries)
    return Block(shape, () if term is None else (term,))


def zero(eqn: JaxprEqn, place: int, result: int) -> Block:
    """A block without entries."""
    return Block((size_of(eqn.outvars[result]), size_of(eqn.invars[place])))


def known(
    program: LinearProgram,
    atom: Any,
    shape: Sequence[int],
    make: Callable[[Any], Any] = lambda x: x,
) -> Value:
    """A known array, or what `make` makes of each entry, as a value of a shape it broadcasts to.

    If the array was itself made by broadcasting, it is read before that.
    """
    shape = tuple(shape)
    if isinstance(atom, Literal) or size_of(atom) == 1:
        static = program.static(atom)
        if static is not None and static.dtype.kind != "c":
            return constant(float(make(static.reshape(()))), len(shape))
    axes, source = _own_axes(program, atom, len(shape))
    kept = [1] * len(shape)
    for axis, extent in zip(axes, shape_of(source), strict=True):
        kept[axis] = extent
    return leaf(kept, lambda env: make(env.read(source)).reshape(kept))


def mask_of(
    program: LinearProgram,
    atom: Any,
    shape: Sequence[int],
    make: Callable[[Any], Any] = lambda x: x,
) -> np.ndarray | None:
    """Where a known array differs from 0, if that is known by now; as for a value of it."""
    axes, source = _own_axes(program, atom, len(shape))
    static = program.static(source)
    if static is not None:
        kept = [1] * len(shape)
        for axis, extent in zip(axes, static.shape, strict=True):
            kept[axis] = extent
        return np.asarray(make(static) != 0).reshape(kept)
    static = program.static(atom)
    nonzero = program.nonzero(atom) if static is None else np.asarray(make(static) != 0)
    if nonzero is None:
        return None
    # Broadcast axes, along which the array does not vary, hold the same zeros everywhere.
    along = tuple(slice(None) if axis in axes else slice(1) for axis in range(len(shape)))
    return nonzero.reshape(nonzero.shape or (1,) * len(shape))[along]


def _own_axes(program: LinearProgram, atom: Any, rank: int) -> tuple[list[int], Any]:
    """The array that an array was broadcast from, and which axes are its own."""
    axes = list(range(rank)) if shape_of(atom) else []
    while (maker := program.maker(atom)) is not None and maker.primitive.name == "broadcast_in_dim":
        inner = maker.invars[0]
        if isinstance(inner, Literal):
            break
        axes = [axes[d] for d in maker.params["broadcast_dimensions"]]
        atom = inner
    return axes, atom
