"""The Jacobian of each linear operation, from obvious to tricky.

A linearised function is made of few operations. The table at the end of this module gives, for each
whose Jacobian has a structure, the block of one result by one operand. An operation that is not in
the table, or that the table cannot tell anything about, is dense: it is applied to whatever has to
pass through it (:mod:`funcnet.jacobian.operation`). So no operation is an error, and no pattern
is too small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn, Literal, Var

from funcnet.jacobian.layout import reshape, transpose
from funcnet.jacobian.linearization import LinearProgram, aval_of, run
from funcnet.jacobian.masks import without_zeros
from funcnet.jacobian.terms import Block, Index, make_term
from funcnet.jacobian.values import Value, constant, leaf
from funcnet.jacobian.windows import convolution, cumulative_sum, window_sum

__all__ = ["block_of", "deciding", "form_of"]

Rule: TypeAlias = Callable[[LinearProgram, JaxprEqn, int], "Block | None"]


def block_of(program: LinearProgram, eqn: JaxprEqn, place: int, result: int) -> Block | None:
    """The Jacobian of one result of a linear operation by one of its operands.

    Args:
        program: The program that the operation stands in.
        eqn: The operation.
        place: The position of the operand.
        result: The position of the result.

    Returns:
        The block, or None if nothing is known about it.
    """
    if eqn.primitive.name in _EACH_FOR_ITSELF:
        return _identity(eqn, place) if place == result else _zero(eqn, place, result)
    if eqn.primitive.name in ("split", "unstack"):
        return _piece(eqn, result)
    rule = _TABLE.get(eqn.primitive.name)
    if rule is None or len(eqn.outvars) != 1:
        return None
    return rule(program, eqn, place)


def deciding(program: LinearProgram) -> list[Var]:
    """The known variables whose zeros, choices or indices decide where blocks have entries."""
    found = [
        v
        for eqn in program.equations
        if eqn.primitive.name in _DECIDED
        for v in eqn.invars
        if not isinstance(v, Literal) and not program.is_linear(v) and _size(v) <= _LARGEST_MASK
    ]
    return list(dict.fromkeys(found))


def form_of(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """The Jacobian of an operation that is better applied to what is dense.

    Written down, a convolution takes each entry of its kernel once for each place, so that to
    multiply full matrices with that is a waste.

    Args:
        program: The program that the operation stands in.
        eqn: The operation.
        place: The position of the operand.

    Returns:
        The block, or None if there is no closed form of it.
    """
    rule = _FORMS.get(eqn.primitive.name)
    return None if rule is None else rule(program, eqn, place)


# Blocks


def _shape(atom: Any) -> tuple[int, ...]:
    return tuple(aval_of(atom).shape)


def _size(atom: Any) -> int:
    return math.prod(_shape(atom))


def _strides(shape: Sequence[int]) -> list[int]:
    """How far one step along each axis leads in row-major order."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _block(
    eqn: JaxprEqn,
    place: int,
    indices: Sequence[Index],
    value: Value | None = None,
    row0: int = 0,
    col0: int = 0,
) -> Block:
    shape = (_size(eqn.outvars[0]), _size(eqn.invars[place]))
    entries = constant(1.0, len(indices)) if value is None else value
    term = make_term(indices, row0, col0, entries)
    return Block(shape, () if term is None else (term,))


def _zero(eqn: JaxprEqn, place: int, result: int) -> Block:
    return Block((_size(eqn.outvars[result]), _size(eqn.invars[place])))


def _known(
    program: LinearProgram,
    atom: Any,
    shape: Sequence[int],
    make: Callable[[Any], Any] = lambda x: x,
) -> Value:
    """A known array, or what `make` makes of each entry, as a value of a shape it broadcasts to.

    If the array was itself made by broadcasting, it is read before that.
    """
    shape = tuple(shape)
    if isinstance(atom, Literal) or _size(atom) == 1:
        static = program.static(atom)
        if static is not None and static.dtype.kind != "c":
            return constant(float(make(static.reshape(()))), len(shape))
    axes, source = _own_axes(program, atom, len(shape))
    kept = [1] * len(shape)
    for axis, extent in zip(axes, _shape(source), strict=True):
        kept[axis] = extent
    return leaf(kept, lambda env: make(env.read(source)).reshape(kept))


def _mask(
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
    axes = list(range(rank)) if _shape(atom) else []
    while (maker := program.maker(atom)) is not None and maker.primitive.name == "broadcast_in_dim":
        inner = maker.invars[0]
        if isinstance(inner, Literal):
            break
        axes = [axes[d] for d in maker.params["broadcast_dimensions"]]
        atom = inner
    return axes, atom


# Moving entries without changing them


def _identity(eqn: JaxprEqn, place: int) -> Block:
    return _block(eqn, place, [Index(_size(eqn.invars[place]), 1, 1)])


def _same_entries(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    return _identity(eqn, place)


def _transpose(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    return _reordered(eqn, place, eqn.params["permutation"])


def _reshape(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    order = eqn.params.get("dimensions")
    return _identity(eqn, place) if order is None else _reordered(eqn, place, order)


def _reordered(eqn: JaxprEqn, place: int, order: Sequence[int]) -> Block:
    """The block of an operation that reads the axes of its operand in another order."""
    inner = _shape(eqn.invars[place])
    cols = _strides(inner)
    extents = [inner[axis] for axis in order]
    rows = _strides(extents)
    return _block(
        eqn, place, [Index(n, r, cols[p]) for n, r, p in zip(extents, rows, order, strict=True)]
    )


def _rev(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    shape, turned = _shape(eqn.invars[0]), eqn.params["dimensions"]
    strides = _strides(shape)
    indices = [
        Index(n, s, -s if a in turned else s)
        for a, (n, s) in enumerate(zip(shape, strides, strict=True))
    ]
    return _block(eqn, place, indices, col0=sum((shape[a] - 1) * strides[a] for a in turned))


def _broadcast(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    if place != 0:
        return None
    shape, inner = _shape(eqn.outvars[0]), _shape(eqn.invars[0])
    cols = [0] * len(shape)
    for axis, extent, stride in zip(
        eqn.params["broadcast_dimensions"], inner, _strides(inner), strict=True
    ):
        cols[axis] = stride if extent == shape[axis] else 0
    rows = _strides(shape)
    return _block(eqn, place, [Index(*i) for i in zip(shape, rows, cols, strict=True)])


def _slice(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    shape, inner = _shape(eqn.outvars[0]), _shape(eqn.invars[0])
    start = eqn.params["start_indices"]
    steps = eqn.params["strides"] or (1,) * len(shape)
    rows, cols = _strides(shape), _strides(inner)
    indices = [Index(n, r, c * s) for n, r, c, s in zip(shape, rows, cols, steps, strict=True)]
    return _block(eqn, place, indices, col0=sum(i * c for i, c in zip(start, cols, strict=True)))


def _pad(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    if place != 0:
        return None
    shape, inner = _shape(eqn.outvars[0]), _shape(eqn.invars[0])
    indices, row0, col0 = [], 0, 0
    for n, m, r, c, (low, _, gap) in zip(
        shape, inner, _strides(shape), _strides(inner), eqn.params["padding_config"], strict=True
    ):
        where = low + np.arange(m) * (gap + 1)
        inside = np.flatnonzero((where >= 0) & (where < n))
        if not len(inside):
            return _zero(eqn, place, 0)
        first = int(inside[0])
        indices.append(Index(len(inside), r * (gap + 1), c))
        row0, col0 = row0 + int(where[first]) * r, col0 + first * c
    return _block(eqn, place, indices, row0=row0, col0=col0)


def _concatenate(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    axis, shape = eqn.params["dimension"], _shape(eqn.outvars[0])
    inner = _shape(eqn.invars[place])
    before = sum(_shape(v)[axis] for v in eqn.invars[:place])
    rows, cols = _strides(shape), _strides(inner)
    indices = [Index(*i) for i in zip(inner, rows, cols, strict=True)]
    return _block(eqn, place, indices, row0=before * rows[axis])


def _stack(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    axis, inner = eqn.params["axis"], _shape(eqn.invars[place])
    rows = _strides(_shape(eqn.outvars[0]))
    row0 = place * rows.pop(axis)
    indices = [Index(*i) for i in zip(inner, rows, _strides(inner), strict=True)]
    return _block(eqn, place, indices, row0=row0)


def _piece(eqn: JaxprEqn, result: int) -> Block:
    """One of the results of cutting an array along an axis."""
    axis, inner = eqn.params["axis"], _shape(eqn.invars[0])
    shape, cols = _shape(eqn.outvars[result]), _strides(inner)
    if eqn.primitive.name == "split":
        start = sum(eqn.params["sizes"][:result]) * cols[axis]
    else:
        start = result * cols.pop(axis)
    indices = [Index(*i) for i in zip(shape, _strides(shape), cols, strict=True)]
    term = make_term(indices, 0, start, constant(1.0, len(indices)))
    return Block((math.prod(shape), math.prod(inner)), () if term is None else (term,))


def _moved(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """Where each entry comes from is found by moving numbers that tell their place."""
    if place != 0 or any(program.is_linear(v) for v in eqn.invars[1:]):
        return None
    others = [program.static(v) for v in eqn.invars[1:]]
    if any(x is None for x in others) or _size(eqn.outvars[0]) == 0:
        return None
    size = _size(eqn.invars[0])
    numbers = np.arange(1, size + 1, dtype=np.int32).reshape(_shape(eqn.invars[0]))
    with jax.ensure_compile_time_eval():
        found = np.asarray(run(eqn, [numbers, *others])[0]).astype(np.int64) - 1
    # What lies outside of the operand is filled with anything but a place in it.
    source = np.where((found >= 0) & (found < size), found, -1)
    indices, row0, col0 = _table_indices(source, _strides(source.shape))
    return _block(eqn, place, indices, row0=row0, col0=col0)


def _scatter_add(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """What is added to passes, and each update goes to where its number comes back from."""
    if place == 0:
        return _identity(eqn, place)
    if place != 2 or program.is_linear(eqn.invars[1]):
        return None
    where = program.static(eqn.invars[1])
    out, updates = _shape(eqn.outvars[0]), _shape(eqn.invars[2])
    if where is None or math.prod(updates) == 0 or math.prod(out) >= _EXACT_IN_FLOAT32:
        return None

    def scattered(u: Any) -> Any:
        return run(eqn, [jnp.zeros(out, jnp.float32), where, u])[0]

    numbers = np.arange(1, math.prod(out) + 1, dtype=np.float32).reshape(out)
    with jax.ensure_compile_time_eval():
        back = jax.linear_transpose(scattered, jax.ShapeDtypeStruct(updates, jnp.float32))
        found = np.asarray(back(jnp.asarray(numbers))[0]).astype(np.int64) - 1
    indices, col0, row0 = _table_indices(found, _strides(updates))
    return _block(eqn, place, [i.transposed for i in indices], row0=row0, col0=col0)


def _table_indices(source: np.ndarray, rows: Sequence[int]) -> tuple[list[Index], int, int]:
    """Indices for a table of columns, -1 being none: one for each axis if the table is a sum."""
    if source.size and source.min() >= 0:
        first = source.ravel()[0]
        parts = [
            source[(0,) * a + (slice(None),) + (0,) * (source.ndim - a - 1)] - first
            for a in range(source.ndim)
        ]
        added = first
        for a, part in enumerate(parts):
            added = added + part.reshape([-1 if i == a else 1 for i in range(source.ndim)])
        if np.array_equal(np.broadcast_to(added, source.shape), source):
            indices = [
                Index(len(part), stride, part) for part, stride in zip(parts, rows, strict=True)
            ]
            return indices, 0, int(first)
    where = np.flatnonzero(source.ravel() >= 0)
    return [Index(len(where), where, source.ravel()[where])], 0, 0


# Scaling entries


def _summand(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    return _diagonal(eqn, place, constant(1.0, len(_shape(eqn.outvars[0]))))


def _negated(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    return _summand(program, eqn, place).scaled(-1.0)


def _difference(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    return (_negated if place else _summand)(program, eqn, place)


def _scaled(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    other, shape = eqn.invars[1 - place], _shape(eqn.outvars[0])
    if program.is_linear(other):
        return None
    value, mask = _known(program, other, shape), _mask(program, other, shape)
    return _diagonal(eqn, place, value, mask)


def _quotient(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    if place != 0 or program.is_linear(eqn.invars[1]):
        return None
    inverse = _known(program, eqn.invars[1], _shape(eqn.outvars[0]), lambda x: 1 / x)
    return _diagonal(eqn, place, inverse)


def _chosen(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    if place == 0:
        return None
    dtype = aval_of(eqn.outvars[0]).dtype

    def is_chosen(which: Any) -> Any:
        return (which == bool(place - 1) if which.dtype == bool else which == place - 1).astype(
            dtype
        )

    which = program, eqn.invars[0], _shape(eqn.outvars[0]), is_chosen
    return _diagonal(eqn, place, _known(*which), _mask(*which))


def _diagonal(eqn: JaxprEqn, place: int, value: Value, mask: np.ndarray | None = None) -> Block:
    """Each result is an entry of the operand, times a value; axes of extent 1 are repeated."""
    shape, inner = _shape(eqn.outvars[0]), _shape(eqn.invars[place])
    cols = _strides(inner) if inner else [0] * len(shape)
    repeated = [m != n for m, n in zip(inner or (0,) * len(shape), shape, strict=True)]
    indices = [
        Index(n, r, 0 if again else c)
        for n, r, c, again in zip(shape, _strides(shape), cols, repeated, strict=True)
    ]
    if mask is not None:
        indices, value = without_zeros(indices, value, mask)
    return _block(eqn, place, indices, value)


# Sums and products


def _reduce_sum(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    inner, axes = _shape(eqn.invars[0]), eqn.params["axes"]
    kept = [a for a in range(len(inner)) if a not in axes]
    rows = dict(zip(kept, _strides([inner[a] for a in kept]), strict=True))
    cols = _strides(inner)
    return _block(eqn, place, [Index(n, rows.get(a, 0), cols[a]) for a, n in enumerate(inner)])


def _dot_general(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """``out[batch, m, n] = sum_k lhs[batch, m, k] rhs[batch, n, k]``, in any order of axes."""
    if program.is_linear(eqn.invars[1 - place]):
        return None
    contracting, batch = eqn.params["dimension_numbers"]
    shapes = [_shape(v) for v in eqn.invars]
    free = [
        [a for a in range(len(shapes[s])) if a not in (*contracting[s], *batch[s])] for s in (0, 1)
    ]
    rows = _strides(_shape(eqn.outvars[0]))
    n_batch, n_left = len(batch[0]), len(free[0])
    row_of = [
        {a: rows[i] for i, a in enumerate(batch[s])}
        | {a: rows[n_batch + (n_left if s else 0) + i] for i, a in enumerate(free[s])}
        for s in (0, 1)
    ]
    ours, theirs = place, 1 - place
    cols = _strides(shapes[ours])
    indices = [Index(shapes[ours][a], row_of[ours].get(a, 0), cols[a]) for a in range(len(cols))]
    # The axes of the known factor: batch and contracting ones are ours too, free ones are new.
    home = dict(zip(batch[theirs], batch[ours], strict=True))
    home |= dict(zip(contracting[theirs], contracting[ours], strict=True))
    for a in free[theirs]:
        home[a] = len(indices)
        indices.append(Index(shapes[theirs][a], row_of[theirs][a], 0))
    # A known array as a value, given which index each of its axes belongs to.
    factor = eqn.invars[theirs]
    order = sorted(home, key=lambda a: home[a])
    full = [1] * len(indices)
    for a in order:
        full[home[a]] = shapes[theirs][a]
    value = leaf(full, lambda env: reshape(transpose(env.read(factor), order), full))
    static = program.static(factor)
    if static is not None and np.count_nonzero(static) < _SPARSE * static.size:
        mask = np.asarray(static != 0).transpose(order).reshape(full)
        indices, value = without_zeros(indices, value, mask)
    return _block(eqn, place, indices, value)


_SPARSE = 1 / 8
"""Constant matrices in products count as sparse where a smaller share of them differs from 0."""

_EXACT_IN_FLOAT32 = 1 << 24
"""Integers below this are exact in float32."""

_DECIDED = {"mul", "select_n", "gather", "dynamic_slice", "scatter-add"}
"""Operations whose entries are fewer where known operands are known as numbers."""

_LARGEST_MASK = 1 << 20
"""Zeros in larger arrays are not looked for: lists of what is left would take longer than they."""

_EACH_FOR_ITSELF = {"optimization_barrier"}

_TABLE: dict[str, Rule] = {
    **dict.fromkeys(
        [
            "convert_element_type",
            "copy",
            "copy_p",
            "squeeze",
            "expand_dims",
            "reduce_precision",
            "name",
        ],
        _same_entries,
    ),
    "reshape": _reshape,
    "transpose": _transpose,
    "rev": _rev,
    "broadcast_in_dim": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "concatenate": _concatenate,
    "stack": _stack,
    **dict.fromkeys(["gather", "dynamic_slice"], _moved),
    "scatter-add": _scatter_add,
    **dict.fromkeys(["add", "add_any"], _summand),
    "neg": _negated,
    "sub": _difference,
    "mul": _scaled,
    "div": _quotient,
    "select_n": _chosen,
    "reduce_sum": _reduce_sum,
    "dot_general": _dot_general,
}

_FORMS: dict[str, Rule] = {
    "cumsum": cumulative_sum,
    "reduce_window_sum": window_sum,
    "conv_general_dilated": convolution,
}
