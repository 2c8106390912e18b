"""A Jacobian compared with automatic differentiation at every call, in one direction.

A pattern that leaves out an entry gives wrong numbers, silently. The product of the Jacobian with a
random vector, made once from its entries and once by JAX, tells: it takes one product more, and
shares the forward pass with all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from funcnet.errors import ArgumentError
from funcnet.jacobian.blocks.dense import dense
from funcnet.jacobian.blocks.terms import Block, placed
from funcnet.jacobian.blocks.values import Value, leaf
from funcnet.jacobian.elimination.bundle import Bundle
from funcnet.jacobian.planning.outputs import entries

__all__ = ["Probe"]

_SHOWN = 8
"""So many rows are named in a message."""


class Probe:
    """What to compute beside the entries of a Jacobian, and what to make of it.

    Args:
        function: Who asks, for the message.
        group: The linear program as one operation.
        places: Which output of the group each output of the program is; None for one that is 0.
        blocks: The Jacobian.
        precision: The largest rounding error among the dtypes of inputs and outputs.
    """

    def __init__(
        self,
        function: str,
        group: Bundle,
        places: Sequence[int | None],
        blocks: Sequence[Sequence[Block]],
        precision: float,
    ) -> None:
        self._function, self._precision, self._forward = function, precision, group.can_push
        heights = [row[0].shape[0] for row in blocks]
        widths = [block.shape[1] for block in blocks[0]]
        given, made = (widths, heights) if self._forward else (heights, widths)
        self._direction = np.random.default_rng(0).normal(size=sum(given))
        pieces = np.split(self._direction, np.cumsum(given)[:-1])
        stacks = {i: _column(piece) for i, piece in enumerate(pieces)}
        if self._forward:
            found = group.pushed_stacks(stacks)
            products = [
                dense(Block((m, 1))) if p is None else found[p]
                for p, m in zip(places, made, strict=True)
            ]
        else:
            known = {p: stacks[k] for k, p in enumerate(places) if p is not None}
            products = group.pulled_stacks(known)
        rows, cols, listed = _listed(blocks)
        self._into, self._from = (rows, cols) if self._forward else (cols, rows)
        self._size, self._count = sum(made), len(products)
        self.values: list[Value] = [*products, *listed]

    def wrong(self, arrays: Sequence[Any]) -> Any:
        """Where the product from the entries is not that of JAX, which is anything but finite.

        Args:
            arrays: Those of the values.

        Returns:
            For each row, or for each column where there is no forward mode, whether they differ by
            more than the square root of the precision, in units of the summands.
        """
        theirs = jnp.concatenate([x.reshape(-1) for x in arrays[: self._count]])
        none = jnp.zeros(0, theirs.dtype)
        parts = jnp.concatenate([none, *arrays[self._count :]])
        parts = parts * jnp.asarray(self._direction[self._from], theirs.dtype)
        zeros = jnp.zeros(self._size, theirs.dtype)
        ours = zeros.at[self._into].add(parts)
        known = jnp.isfinite(theirs)
        scale = jnp.where(known, zeros.at[self._into].add(jnp.abs(parts)) + jnp.abs(theirs), 0)
        finite = jnp.where(jnp.isfinite(scale), scale, 0)
        # Each entry is measured by its own summands, or by the rounding of the largest.
        least = jnp.max(finite, initial=0) * self._precision + jnp.finfo(theirs.dtype).tiny
        close = jnp.abs(ours - theirs) <= self._precision**0.5 * jnp.maximum(finite, least)
        return known & ~close

    def judge(self, wrong: Any) -> None:
        """Raise if there is anything wrong."""
        (where,) = np.nonzero(np.asarray(wrong))
        if not len(where):
            return
        named = ", ".join(map(str, where[:_SHOWN])) + (", ..." if len(where) > _SHOWN else "")
        line = "row" if self._forward else "column"
        raise ArgumentError(
            f"{self._function}: with this pattern the Jacobian differs from automatic "
            f"differentiation in {line}{'s' if len(where) > 1 else ''} {named}. The pattern leaves "
            "out an entry there; add it, or leave the pattern to the structure of f."
        )


def _column(piece: np.ndarray) -> Value:
    return leaf((len(piece), 1), lambda env: jnp.asarray(piece[:, None], env.dtype))


def _listed(blocks: Sequence[Sequence[Block]]) -> tuple[np.ndarray, np.ndarray, list[Value]]:
    """Rows, columns and values of all blocks, outputs and inputs one after the other."""
    none = np.zeros(0, np.int64)
    rows, cols, values = [none], [none], []
    for row0, col0, block in placed(blocks):
        r, c, listed = entries(block)
        rows.append(row0 + r)
        cols.append(col0 + c)
        values += listed
    return np.concatenate(rows), np.concatenate(cols), values
