"""The Jacobian of each linear operation, from obvious to tricky.

A linearised function is made of few operations. The table at the end of this module gives, for each
whose Jacobian has a structure, the block of one result by one operand. An operation that is not in
the table, or that the table cannot tell anything about, is applied to whatever has to pass through
it (:mod:`funcnet.jacobian.elimination.operation`). So no operation is an error, and no pattern is
too small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from jax.extend.core import JaxprEqn, Literal, Var

from funcnet.jacobian.blocks.terms import Block
from funcnet.jacobian.linearization import LinearProgram
from funcnet.jacobian.operations.making import size_of, zero
from funcnet.jacobian.operations.moves import (
    broadcast,
    concatenated,
    moved,
    padded,
    piece,
    reshaped,
    reversed_,
    same,
    same_entries,
    scattered,
    sliced,
    stacked,
    transposed,
)
from funcnet.jacobian.operations.products import (
    chosen,
    difference,
    dot,
    negated,
    quotient,
    scaled,
    sum_,
    summand,
)
from funcnet.jacobian.operations.windows import convolution, cumulative_sum, window_sum

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
        return same(eqn, place) if place == result else zero(eqn, place, result)
    if eqn.primitive.name in ("split", "unstack"):
        return piece(eqn, result)
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
        if not isinstance(v, Literal) and not program.is_linear(v) and size_of(v) <= _LARGEST_MASK
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
        same_entries,
    ),
    "reshape": reshaped,
    "transpose": transposed,
    "rev": reversed_,
    "broadcast_in_dim": broadcast,
    "slice": sliced,
    "pad": padded,
    "concatenate": concatenated,
    "stack": stacked,
    **dict.fromkeys(["gather", "dynamic_slice"], moved),
    "scatter-add": scattered,
    **dict.fromkeys(["add", "add_any"], summand),
    "neg": negated,
    "sub": difference,
    "mul": scaled,
    "div": quotient,
    "select_n": chosen,
    "reduce_sum": sum_,
    "dot_general": dot,
}

_FORMS: dict[str, Rule] = {
    "cumsum": cumulative_sum,
    "reduce_window_sum": window_sum,
    "conv_general_dilated": convolution,
}
