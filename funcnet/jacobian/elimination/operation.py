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
from funcnet.jacobian.blocks.values import Work
from funcnet.jacobian.elimination.bundle import Bundle
from funcnet.jacobian.linearization import aval_of

__all__ = ["Operation"]

_LISTED = 4
"""How many times as much as in full matrices a product of entries that are listed takes: they are
picked out, multiplied, and put back."""

_SCATTERED = 6
"""As how many entries one counts that is written to a place from a list."""


@dataclass(frozen=True, eq=False)
class Operation:
    """One output of a group by one of its inputs, not written down.

    All prices are about how many entries of arrays are read and written.

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

    @cached_property
    def price_pushed(self) -> float:
        """What pushing one column through it takes; infinite if that cannot be done."""
        return _price(self.group.pushing) if self.group.can_push else math.inf

    @cached_property
    def price_pulled(self) -> float:
        """What pulling one row back through it takes; infinite if that cannot be done."""
        work = self.group.pulling((self.result,))
        return math.inf if work is None else _price(work)

    @cached_property
    def price_written(self) -> float:
        """What writing its block down takes; infinite if that saves no passes."""
        return 0.0 if self.form is not None else min(self._prices_colored)

    @property
    def price_block(self) -> float:
        """What writing its block down takes, whether that saves passes or not."""
        written = self.price_written
        return min(self._prices_full) if written == math.inf else written

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
        prices = self._prices_colored
        if min(prices) == math.inf:
            prices = self._prices_full
        assert min(prices) < math.inf, "JAX made an operation that runs in neither mode"
        if prices[0] < prices[1]:
            return self.group.pushed(self.place)[self.result]
        return self.group.pulled(self.result)[self.place]

    @property
    def _prices_full(self) -> tuple[float, float]:
        """What its block takes column by column, and row by row."""
        rows, cols = self.shape
        return self._prices(cols, rows)

    @cached_property
    def _prices_colored(self) -> tuple[float, float]:
        """The same by colours, infinite where they would not save half of the passes."""
        columns = self.group.column_colors(self.place) if self.group.can_push else None
        rows = self.group.row_colors(self.result) if self.group.can_pull(self.result) else None
        return self._prices(
            math.inf if columns is None else int(columns.max()) + 1,
            math.inf if rows is None else int(rows.max()) + 1,
        )

    def _prices(self, columns: float, rows: float) -> tuple[float, float]:
        """So many passes of columns, which are turned over to lie as rows do, and of rows."""
        turned = 2 * self.shape[0]
        return columns * (self.price_pushed + turned), rows * self.price_pulled


def _price(work: Work) -> float:
    """Work as a number of entries that are read or written."""
    return float(work.entries + _SCATTERED * work.scattered)
