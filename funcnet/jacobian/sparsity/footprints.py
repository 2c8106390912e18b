"""Where the Jacobian of an operation can differ from 0, if its entries are not plain to state.

A Fourier transform is dense along its axes and the identity along all others; so is a gather whose
indices are not known, and a solve has a triangle besides. The blocks here say no more than that:
their values are ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from jax.extend.core import JaxprEqn

from funcnet.jacobian.blocks.terms import Block, Index, make_term
from funcnet.jacobian.blocks.values import constant
from funcnet.jacobian.linearization import LinearProgram, aval_of
from funcnet.jacobian.operations.windows import convolution, window_block, windows_of

__all__ = ["footprint_of"]

_MOST_WINDOWS = 1 << 12
"""Terms of a pattern that is only listed may be more than those of a block."""


def footprint_of(program: LinearProgram, eqn: JaxprEqn, place: int) -> Block | None:
    """Where the Jacobian of an operation by one of its operands can differ from 0.

    Args:
        program: The program that the operation stands in.
        eqn: The operation, with one result.
        place: The position of the operand.

    Returns:
        A block whose values mean nothing, or None if nothing is known.
    """
    if eqn.primitive.name == "conv_general_dilated":
        return convolution(program, eqn, place, _MOST_WINDOWS)
    rule = _TABLE.get(eqn.primitive.name)
    if rule is None or any(program.is_linear(v) for v in eqn.invars if v is not eqn.invars[place]):
        rule = _SEVERAL.get(eqn.primitive.name)
    return None if rule is None else rule(eqn, place)


Rule: TypeAlias = Callable[[JaxprEqn, int], "Block | None"]


def _shape(atom: Any) -> tuple[int, ...]:
    return tuple(aval_of(atom).shape)


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _paired(
    eqn: JaxprEqn,
    place: int,
    pairs: Mapping[int, int],
    related: Mapping[int, np.ndarray] | None = None,
) -> Block:
    """The identity between some axes of the result and of the operand, ones between all others.

    Args:
        eqn: The operation.
        place: The position of the operand.
        pairs: From axes of the result to axes of the operand, of one extent.
        related: For further axes, of the same number in both, where an entry along the one sees
            one along the other.
    """
    out, inner = _shape(eqn.outvars[0]), _shape(eqn.invars[place])
    rows, cols = _strides(out), _strides(inner)
    indices = [Index(out[a], rows[a], cols[b]) for a, b in pairs.items()]
    done_out, done_in = set(pairs), set(pairs.values())
    for a, where in (related or {}).items():
        i, j = np.nonzero(where)
        indices.append(Index(len(i), i * rows[a], j * cols[a]))
        done_out.add(a)
        done_in.add(a)
    indices += [Index(n, rows[a], 0) for a, n in enumerate(out) if a not in done_out]
    indices += [Index(n, 0, cols[b]) for b, n in enumerate(inner) if b not in done_in]
    term = make_term(indices, 0, 0, constant(1.0, len(indices)))
    return Block((math.prod(out), math.prod(inner)), () if term is None else (term,))


def _each(eqn: JaxprEqn, place: int) -> Block:
    """Each entry of the result sees its own entry of the operand; a scalar is seen by all."""
    inner, rank = _shape(eqn.invars[place]), len(_shape(eqn.outvars[0]))
    return _paired(eqn, place, {a: a for a in range(rank)} if inner else {})


def _fft(eqn: JaxprEqn, place: int) -> Block:
    batch = len(_shape(eqn.outvars[0])) - len(eqn.params["fft_lengths"])
    return _paired(eqn, place, {a: a for a in range(batch)})


def _triangular_solve(eqn: JaxprEqn, place: int) -> Block | None:
    """The inverse of a triangle is one; from the right it acts as its transpose."""
    if place != 1:
        return None
    shape, params = _shape(eqn.outvars[0]), eqn.params
    axis = len(shape) - (2 if params["left_side"] else 1)
    lower = (
        params["lower"] != params["transpose_a"]
        if params["left_side"]
        else (params["lower"] == params["transpose_a"])
    )
    n = shape[axis]
    triangle = np.tri(n, dtype=bool)
    return _paired(
        eqn,
        place,
        {a: a for a in range(len(shape)) if a != axis},
        {axis: triangle if lower else triangle.T},
    )


def _gather(eqn: JaxprEqn, place: int) -> Block | None:
    if place != 0:
        return None
    numbers = eqn.params["dimension_numbers"]
    sizes, inner = eqn.params["slice_sizes"], _shape(eqn.invars[0])
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [b for b in range(len(inner)) if b not in gone]
    pairs = {a: b for a, b in zip(numbers.offset_dims, kept, strict=True) if sizes[b] == inner[b]}
    outer = [a for a in range(len(_shape(eqn.outvars[0]))) if a not in numbers.offset_dims]
    batching = zip(numbers.start_indices_batching_dims, numbers.operand_batching_dims, strict=True)
    return _paired(eqn, place, pairs | {outer[a]: b for a, b in batching})


def _scatter_add(eqn: JaxprEqn, place: int) -> Block | None:
    if place != 2:
        return None
    numbers, out, updates = (
        eqn.params["dimension_numbers"],
        _shape(eqn.outvars[0]),
        _shape(eqn.invars[2]),
    )
    gone = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    kept = [a for a in range(len(out)) if a not in gone]
    pairs = {
        a: b for a, b in zip(kept, numbers.update_window_dims, strict=True) if out[a] == updates[b]
    }
    outer = [b for b in range(len(updates)) if b not in numbers.update_window_dims]
    batching = zip(
        numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True
    )
    return _paired(eqn, place, pairs | {a: outer[b] for a, b in batching})


def _dynamic_slice(eqn: JaxprEqn, place: int) -> Block | None:
    return _shifted(eqn, place) if place == 0 else None


def _dynamic_update_slice(eqn: JaxprEqn, place: int) -> Block | None:
    return _shifted(eqn, place) if place < 2 else None


def _shifted(eqn: JaxprEqn, place: int) -> Block:
    """A slice that starts anywhere, but ends inside: taken out of an array, or put into one."""
    related = {}
    for axis, (m, n) in enumerate(
        zip(_shape(eqn.outvars[0]), _shape(eqn.invars[place]), strict=True)
    ):
        ahead = np.arange(n) - np.arange(m)[:, None]
        related[axis] = (np.minimum(0, n - m) <= ahead) & (ahead <= np.maximum(0, n - m))
    return _paired(eqn, place, {}, related)


def _chosen_in_windows(eqn: JaxprEqn, place: int) -> Block | None:
    """From each window, the tangent of the largest or smallest entry."""
    if place != 0:
        return None
    windows = windows_of(eqn, _shape(eqn.outvars[0]), _shape(eqn.invars[0]))
    return window_block(windows, _MOST_WINDOWS)


def _scattered_to_windows(eqn: JaxprEqn, place: int) -> Block | None:
    """What comes back from each window, to its largest or smallest entry."""
    if place != 0:
        return None
    windows = windows_of(eqn, _shape(eqn.invars[0]), _shape(eqn.outvars[0]))
    found = window_block(windows, _MOST_WINDOWS)
    return None if found is None else found.transposed


def _windows(eqn: JaxprEqn, place: int) -> Block | None:
    windows = windows_of(eqn, _shape(eqn.outvars[0]), _shape(eqn.invars[0]))
    return window_block(windows, _MOST_WINDOWS)


_TABLE: dict[str, Rule] = {
    **dict.fromkeys(["real", "imag", "conj"], _each),
    "fft": _fft,
    "triangular_solve": _triangular_solve,
    "gather": _gather,
    "dynamic_slice": _dynamic_slice,
    "select_and_gather_add": _chosen_in_windows,
    "select_and_scatter_add": _scattered_to_windows,
    "reduce_window_sum": _windows,
}

_SEVERAL: dict[str, Rule] = {
    "complex": _each,
    "scatter-add": _scatter_add,
    "dynamic_update_slice": _dynamic_update_slice,
}
"""Operations that are linear in several operands at once."""
