"""The ways to compute a Jacobian, and what each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

from funcnet.errors import ArgumentError
from funcnet.jacobian.blocks.dense import dense
from funcnet.jacobian.blocks.terms import Block
from funcnet.jacobian.blocks.values import Value, Work, work_of
from funcnet.jacobian.coloring.one_sided import Coloring
from funcnet.jacobian.elimination.bundle import Bundle
from funcnet.jacobian.elimination.compression import Colorist, compressed
from funcnet.jacobian.elimination.graph import EliminationGraph, OverBudgetError, graph_of
from funcnet.jacobian.elimination.orders import NAMES, Order, bottlenecks, eliminate_in
from funcnet.jacobian.linearization import LinearProgram
from funcnet.jacobian.planning.pricing import machine
from funcnet.jacobian.planning.probe import Probe
from funcnet.jacobian.sparsity.patterns import Pattern, pattern_of

__all__ = ["Alternative", "Blocks", "JacobianMode", "Planner", "alternatives"]

JacobianMode: TypeAlias = Literal["auto", "forward", "reverse", "compressed", "eliminate"]
"""How to compute: a choice by price; one pass for each input entry; one for each output entry; one
for each colour; local Jacobians multiplied in a planned order."""

_MOST_VERTICES = 4000
"""Graphs with more vertices are not eliminated unless asked for: compiling would take minutes."""

_FEW_PRODUCTS = 100
_MORE_PRODUCTS = 1.5
"""An order is given up once it took so many products of terms, and so many times those of another:
it will not be the best, and planning takes time."""

_COMPRESSED = 0.5
"""A Jacobian that takes more than this part of its rows or columns is not compressed unasked."""

_COLORED_PER_SECOND = 2e8
"""A pattern is coloured unasked where it has at most so many entries for each second that the best
way takes: to colour as many takes a few hundred such Jacobians, as compiling does."""

_WORTH_COLORING = 0.5
"""It is coloured unasked only where as few products as its entries need take no more than this part
of what the best way takes."""

Blocks: TypeAlias = list[list[Block]]
"""A row for each output, a column for each input."""


@dataclass(frozen=True, eq=False, repr=False)
class Alternative:
    """One way to compute a Jacobian, and what it is expected to take.

    Attributes:
        mode: Its mode.
        order: The order of elimination; empty in other modes.
        passes: How many tangents or cotangents go through the whole function; 0 for elimination.
        blocks: The Jacobian.
        work: Arithmetic and traffic, without the function itself.
        seconds: The predicted time.
        colored: The pattern and its colouring, of a compressed Jacobian.
    """

    mode: JacobianMode
    order: str
    passes: int
    blocks: Blocks
    work: Work
    seconds: float
    colored: tuple[Pattern, Coloring] | None = None

    def __repr__(self) -> str:
        return f"<Alternative: {self.name}, {self.seconds:.2g} s>"

    @property
    def name(self) -> str:
        """The mode, and the order if there is one."""
        return f"{self.mode}, {self.order}" if self.order else self.mode


class Planner:
    """The ways to compute the Jacobian of one linear program.

    Args:
        program: The program.
        avals: The shapes of the outputs.
        itemsize: The bytes of an entry.
        colorist: Who colours patterns.
        symmetric: Whether the Jacobian is symmetric; asked where that matters.
        full: Whether it is wanted as a full array.
    """

    def __init__(
        self,
        program: LinearProgram,
        avals: Sequence[Any],
        itemsize: int,
        colorist: Colorist | None = None,
        symmetric: Callable[[], bool] = lambda: False,
        *,
        full: bool = False,
    ) -> None:
        self.program, self.itemsize, self._full = program, itemsize, full
        self.colorist, self._is_symmetric = colorist or Colorist(), symmetric
        self.rows = [math.prod(a.shape) for a in avals]
        self.cols = [v.aval.size for v in program.inputs]

    @cached_property
    def graph(self) -> EliminationGraph:
        """The elimination graph."""
        return graph_of(self.program)

    @cached_property
    def whole(self) -> tuple[Bundle, list[int | None]] | None:
        """The program as one operation, and which of its outputs is which; None if it is 0."""
        made = [v for v in dict.fromkeys(self.program.outputs) if v is not None]
        if not made:
            return None
        places = [None if v is None else made.index(v) for v in self.program.outputs]
        return Bundle(self.program.equations, self.program.inputs, made), places

    @cached_property
    def orders(self) -> tuple[Order, ...]:
        """The orders that are priced; the others are tried if named."""
        every: tuple[Order, ...] = ("chain", "markowitz", "forward", "reverse")
        # Without bottlenecks, the first two are the same.
        return every if bottlenecks(self.graph) else every[1:]

    def eliminated(self, order: Order) -> Alternative:
        """Local Jacobians multiplied in an order."""
        found = eliminate_in(self.graph, order).jacobian()
        return self._alternative("eliminate", order, 0, self._complete(found))

    def in_orders(self, orders: Sequence[Order]) -> Iterator[Alternative]:
        """All orders that take not many more products than those before them."""
        budget = math.inf
        for order in orders:
            try:
                done = eliminate_in(self.graph, order, budget)
            except OverBudgetError:
                continue
            budget = min(budget, max(_FEW_PRODUCTS, _MORE_PRODUCTS * done.products))
            yield self._alternative("eliminate", order, 0, self._complete(done.jacobian()))

    def forward(self) -> Alternative | None:
        """One pass for each entry of the inputs."""
        if self.whole is None:
            return self._alternative("forward", "", 0, self._complete([]))
        group, places = self.whole
        if not group.can_push:
            return None
        columns = [group.pushed(i) for i in range(len(self.cols))]
        found = [[None if p is None else column[p] for column in columns] for p in places]
        return self._alternative("forward", "", sum(self.cols), self._complete(found))

    def reverse(self) -> Alternative | None:
        """One pass for each entry of the outputs."""
        if self.whole is None:
            return self._alternative("reverse", "", 0, self._complete([]))
        group, places = self.whole
        if not all(p is None or group.can_pull(p) for p in places):
            return None
        found: list[list[Block | None]] = [
            [None] * len(self.cols) if p is None else list(group.pulled(p)) for p in places
        ]
        return self._alternative("reverse", "", sum(self.rows), self._complete(found))

    def compressed(self, pattern: Pattern | None) -> Alternative | None:
        """One pass for each colour of a pattern: a given one, or that of the structure."""
        if pattern is None:
            pattern = pattern_of(self.eliminated("chain").blocks)
        if self.whole is None or not len(pattern[0]):
            return self._alternative("compressed", "", 0, self._complete([]))
        group, places = self.whole
        coloring = self.colorist.best(
            *pattern,
            (sum(self.rows), sum(self.cols)),
            push=group.can_push,
            pull=all(p is None or group.can_pull(p) for p in places),
            symmetric=self._is_symmetric(),
        )
        blocks = compressed(group, places, (self.rows, self.cols), pattern, coloring)
        way = self._alternative("compressed", "", coloring.count, blocks)
        return replace(way, colored=(pattern, coloring))

    def compressed_if_cheap(self, best: Alternative) -> Alternative | None:
        """The structure's own pattern, compressed: where that may pay and is soon coloured.

        A product gives a number for each row, or for each column, so that it takes no fewer of
        them than there are entries for each.
        """
        sizes = sum(self.rows), sum(self.cols)
        entries = sum(b.nnz for row in best.blocks for b in row)
        least = math.ceil(entries / max(*sizes, 1))
        if self.whole is None or least > _COMPRESSED * min(sizes):
            return None
        product = machine().seconds(self.whole[0].pushing, 1, self.itemsize)
        if (
            entries > _COLORED_PER_SECOND * best.seconds
            or least * product > _WORTH_COLORING * best.seconds
        ):
            return None
        way = self.compressed(pattern_of(best.blocks))
        return way if way and way.passes <= _COMPRESSED * min(sizes) else None

    def probe(self, function: str, blocks: Blocks, precision: float) -> Probe | None:
        """A comparison of a Jacobian with the function; None where it is 0."""
        return self.whole and Probe(function, *self.whole, blocks, precision)

    def _complete(self, found: Sequence[Sequence[Block | None]]) -> Blocks:
        whole = []
        for k, m in enumerate(self.rows):
            row = found[k] if found else [None] * len(self.cols)
            whole.append([b or Block((m, n)) for b, n in zip(row, self.cols, strict=True)])
        return whole

    def _alternative(
        self, mode: JacobianMode, order: str, passes: int, blocks: Blocks
    ) -> Alternative:
        every = [b for row in blocks for b in row]
        values = [dense(b) for b in every] if self._full else _entries(every)
        work, steps = work_of(values)
        return Alternative(
            mode, order, passes, blocks, work, machine().seconds(work, steps, self.itemsize)
        )


def _entries(blocks: Sequence[Block]) -> list[Value]:
    return [t.value for b in blocks for t in b.terms]


def alternatives(
    function: str,
    planner: Planner,
    mode: JacobianMode,
    order: str,
    pattern: Pattern | None,
    *,
    thorough: bool = False,
) -> list[Alternative]:
    """The ways that a mode and an order leave open.

    Args:
        function: Who asks, for the message.
        planner: The ways that there are.
        mode: The mode.
        order: The order of elimination, or ``"auto"``.
        pattern: What the user knows.
        thorough: Whether planning may take long.

    Returns:
        One way at least.

    Raises:
        ArgumentError: If the function does not have the mode.
    """
    found: list[Alternative | None]
    if mode == "compressed" or (mode == "auto" and pattern is not None):
        found = [planner.compressed(pattern)]
    elif mode == "forward":
        found = [planner.forward()]
    elif mode == "reverse":
        found = [planner.reverse()]
    elif mode == "eliminate" or len(planner.program.equations) <= _MOST_VERTICES:
        orders = [o for o in NAMES if o == order] or planner.orders
        found = [*planner.in_orders(orders)]
        if mode == "auto" and order == "auto" and thorough:
            found += [planner.forward(), planner.reverse()]
    else:
        found = [planner.forward(), planner.reverse()]
    ways = [a for a in found if a is not None]
    if mode == "auto" and order == "auto" and pattern is None and ways:
        cheap = planner.compressed_if_cheap(min(ways, key=lambda a: a.seconds))
        ways += [] if cheap is None else [cheap]
    if not ways:
        lacks = "forward mode" if mode == "forward" else "reverse mode"
        raise ArgumentError(
            f"{function}: mode={mode!r}, but f has an operation without {lacks}: a loop of unknown "
            "length, or a function with a custom_vjp. Take another mode."
        )
    return ways
