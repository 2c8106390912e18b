"""The Jacobians of operations that scale entries, and of those that add them up."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from funcnet.jacobian.blocks.layout import reshape, transpose
from funcnet.jacobian.blocks.masks import without_zeros
from funcnet.jacobian.blocks.terms import Block, Index
from funcnet.jacobian.blocks.values import Value, constant, leaf
from funcnet.jacobian.linearization import LinearProgram, aval_of
from funcnet.jacobian.operations.making import known, mask_of, nest, shape_of, strides

__all__ = ["chosen", "difference", "dot", "negated", "quotient", "scaled", "sum_", "summand"]

_SPARSE = 1 / 8
"""Constant matrices in products count as sparse where a smaller share of them differs from 0."""


def summand(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    """``out[i] = x[i] + ...``."""
    return _diagonal(eqn, place, constant(1.0, len(shape_of(eqn.outvars[0]))))


def negated(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    """``out[i] = -x[i]``."""
    return summand(program, eqn, place).scaled(-1.0)


def difference(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    """``out[i] = x[i] - y[i]``."""
    return (negated if place else summand)(program, eqn, place)


def scaled(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """``out[i] = a[i] x[i]``, with a known."""
    other, shape = eqn.invars[1 - place], shape_of(eqn.outvars[0])
    if program.is_linear(other):
        return None
    value, mask = known(program, other, shape), mask_of(program, other, shape)
    return _diagonal(eqn, place, value, mask)


def quotient(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """``out[i] = x[i] / a[i]``, with a known."""
    if place != 0 or program.is_linear(eqn.invars[1]):
        return None
    inverse = known(program, eqn.invars[1], shape_of(eqn.outvars[0]), lambda x: 1 / x)
    return _diagonal(eqn, place, inverse)


def chosen(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """``out[i] = x[i]`` where x is what is chosen."""
    if place == 0:
        return None
    dtype = aval_of(eqn.outvars[0]).dtype

    def is_chosen(which: Any) -> Any:
        return (which == bool(place - 1) if which.dtype == bool else which == place - 1).astype(
            dtype
        )

    which = program, eqn.invars[0], shape_of(eqn.outvars[0]), is_chosen
    return _diagonal(eqn, place, known(*which), mask_of(*which))


def _diagonal(eqn: JaxprEqn, place: int, value: Value, mask: np.ndarray | None = None) -> Block:
    """Each result is an entry of the operand, times a value; axes of extent 1 are repeated."""
    shape, inner = shape_of(eqn.outvars[0]), shape_of(eqn.invars[place])
    cols = strides(inner) if inner else [0] * len(shape)
    repeated = [m != n for m, n in zip(inner or (0,) * len(shape), shape, strict=True)]
    indices = [
        Index(n, r, 0 if again else c)
        for n, r, c, again in zip(shape, strides(shape), cols, repeated, strict=True)
    ]
    if mask is not None:
        indices, value = without_zeros(indices, value, mask)
    return nest(eqn, place, indices, value)


def sum_(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block:
    """``out[i] = sum_j x[i, j]``."""
    inner, axes = shape_of(eqn.invars[0]), eqn.params["axes"]
    kept = [a for a in range(len(inner)) if a not in axes]
    rows = dict(zip(kept, strides([inner[a] for a in kept]), strict=True))
    cols = strides(inner)
    return nest(eqn, place, [Index(n, rows.get(a, 0), cols[a]) for a, n in enumerate(inner)])


def dot(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """``out[batch, m, n] = sum_k lhs[batch, m, k] rhs[batch, n, k]``, in any order of axes."""
    if program.is_linear(eqn.invars[1 - place]):
        return None
    contracting, batch = eqn.params["dimension_numbers"]
    shapes = [shape_of(v) for v in eqn.invars]
    free = [
        [a for a in range(len(shapes[s])) if a not in (*contracting[s], *batch[s])] for s in (0, 1)
    ]
    rows = strides(shape_of(eqn.outvars[0]))
    n_batch, n_left = len(batch[0]), len(free[0])
    row_of = [
        {a: rows[i] for i, a in enumerate(batch[s])}
        | {a: rows[n_batch + (n_left if s else 0) + i] for i, a in enumerate(free[s])}
        for s in (0, 1)
    ]
    ours, theirs = place, 1 - place
    cols = strides(shapes[ours])
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
    return nest(eqn, place, indices, value)
