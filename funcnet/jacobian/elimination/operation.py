"""One output of a group of operations by one of its inputs, written down only where that pays.

What is dense outside of its diagonal blocks, say, may be pushed through a loop tangent by tangent,
or the loop may be written down as a sparse block first, once for all that meets it: by a closed
form, or by pushing through together what shares no result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from funcnet.jacobian.blocks.terms import Block
from funcnet.jacobian.elimination.bundle import Bundle
from funcnet.jacobian.linearization import aval_of

__all__ = ["Operation"]

_LISTED = 4
"""How many times as much as in full matrices a product of entries that are listed takes: they are
picked out, multiplied, and put back."""


@dataclass(frozen=True, eq=False)
class Operation:
    """One output of a group by one of its inputs, not written down.

    Attributes:
        group: The operations.
        place: Which input.
        result: Which output.
        form: Its block, where a closed form of that is known.
    """

    group: Bundle
    place: int
    result: int
    form: Block | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and columns of its block."""
        outputs, inputs = self.group.outputs, self.group.inputs
        return aval_of(outputs[self.result]).size, aval_of(inputs[self.place]).size

    @cached_property
    def nnz(self) -> int:
        """The number of entries of its block."""
        if self.form is not None:
            return self.form.nnz
        support = self.group.support(self.result, self.place)
        return math.prod(self.shape) if support is None else int(support.nnz)

    @property
    def price(self) -> float:
        """About how many entries of arrays applying it once takes."""
        return float(self.group.work.entries)

    @cached_property
    def price_written(self) -> float:
        """The same of writing its block down; infinite if that saves no passes."""
        return 0.0 if self.form is not None else self._passes()[0] * self.price

    @cached_property
    def price_of_entry(self) -> float:
        """What multiplying one entry of its block takes, if it is written down."""
        is_plain = self.form is not None and all(t.value.node is None for t in self.form.terms)
        return 1.0 if is_plain else float(_LISTED)

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
        if self.form is not None:
            return self.form
        rows, cols = self.shape
        pull = self.group.can_pull(self.result)
        assert pull or self.group.can_push, "JAX made an operation that runs in neither mode"
        saved, by_columns = self._passes()
        if saved == math.inf:
            by_columns = self.group.can_push and (cols <= rows or not pull)
        if by_columns:
            return self.group.pushed(self.place)[self.result]
        return self.group.pulled(self.result)[self.place]

    def _passes(self) -> tuple[float, bool]:
        """The passes that colours take, infinite if there are none, and if they are of columns."""
        columns = self.group.column_colors(self.place) if self.group.can_push else None
        rows = self.group.row_colors(self.result) if self.group.can_pull(self.result) else None
        counts = [math.inf if c is None else float(c.max() + 1) for c in (columns, rows)]
        return min(counts), counts[0] <= counts[1]
