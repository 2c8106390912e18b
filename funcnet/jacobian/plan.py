"""Deciding how to compute a Jacobian, and doing it.

A :class:`Plan` is made from shapes alone. It linearises the function, reads the structure of every
operation, prices the ways to multiply them together and keeps the cheapest. It says what it chose
and why when printed, and compiles to one function when called.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import jax
import numpy as np

from funcnet.errors import ArgumentError, ShapeError
from funcnet.jacobian.bundle import Bundle
from funcnet.jacobian.compression import best_coloring, compressed
from funcnet.jacobian.elimination import EliminationGraph, graph_of
from funcnet.jacobian.linearization import LinearProgram, linearized
from funcnet.jacobian.orders import NAMES, Order, eliminate_in
from funcnet.jacobian.outputs import Output, entries, form_of
from funcnet.jacobian.patterns import pattern_from
from funcnet.jacobian.pricing import machine
from funcnet.jacobian.signature import Call
from funcnet.jacobian.terms import Block
from funcnet.jacobian.values import Env, Work, evaluate, work_of
from funcnet.report import Column, Table, format_bytes, format_count, format_seconds

__all__ = ["Alternative", "Mode", "Plan", "make_plan", "pattern_of"]

Mode: TypeAlias = Literal["auto", "forward", "reverse", "compressed", "eliminate"]
"""How to compute: a choice by price; one pass for each input entry; one for each output entry; one
for each colour; local Jacobians multiplied in a planned order."""

_MOST_VERTICES = 4000
"""Graphs with more vertices are not eliminated unless asked for: compiling would take minutes."""

_PLANNED: tuple[Order, ...] = ("chain", "markowitz", "forward", "reverse")
"""The orders that are priced; the others are tried if named."""


Pattern: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Rows and columns."""

Blocks: TypeAlias = list[list[Block]]
"""A row for each output, a column for each input."""


@dataclass(frozen=True, eq=False)
class Alternative:
    """One way to compute a Jacobian, and what it is expected to take.

    Attributes:
        mode: Its mode.
        order: The order of elimination; empty in other modes.
        passes: How many tangents or cotangents go through the whole function; 0 for elimination.
        blocks: The Jacobian.
        work: Arithmetic and traffic, without the function itself.
        seconds: The predicted time.
    """

    mode: Mode
    order: str
    passes: int
    blocks: Blocks
    work: Work
    seconds: float

    @property
    def name(self) -> str:
        """The mode, and the order if there is one."""
        return f"{self.mode}, {self.order}" if self.order else self.mode


class Planner:
    """The ways to compute the Jacobian of one linear program."""

    def __init__(self, program: LinearProgram, avals: Sequence[Any], itemsize: int) -> None:
        self.program, self.itemsize = program, itemsize
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

    def eliminated(self, order: Order) -> Alternative:
        """Local Jacobians multiplied in an order."""
        found = eliminate_in(self.graph, order).jacobian()
        return self._alternative("eliminate", order, 0, self._complete(found))

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
        coloring = best_coloring(
            *pattern,
            (sum(self.rows), sum(self.cols)),
            push=group.can_push,
            pull=all(p is None or group.can_pull(p) for p in places),
        )
        blocks = compressed(group, places, (self.rows, self.cols), pattern, coloring)
        return self._alternative("compressed", "", coloring.count, blocks)

    def _complete(self, found: Sequence[Sequence[Block | None]]) -> Blocks:
        whole = []
        for k, m in enumerate(self.rows):
            row = found[k] if found else [None] * len(self.cols)
            whole.append([b or Block((m, n)) for b, n in zip(row, self.cols, strict=True)])
        return whole

    def _alternative(self, mode: Mode, order: str, passes: int, blocks: Blocks) -> Alternative:
        values = [t.value for row in blocks for b in row for t in b.terms]
        work, steps = work_of(values)
        return Alternative(
            mode, order, passes, blocks, work, machine().seconds(work, steps, self.itemsize)
        )


class Plan:
    """How to compute a Jacobian at arguments of certain shapes. Call it to do so.

    Attributes:
        chosen: The way that was taken.
        alternatives: All ways that were priced, the cheapest first.
        output: The form in which the Jacobian is handed over.
    """

    def __init__(
        self,
        call: Call,
        program: LinearProgram,
        alternatives: Sequence[Alternative],
        output: Output,
    ) -> None:
        self._call, self._program, self.output = call, program, output
        self.alternatives = sorted(alternatives, key=lambda a: a.seconds)
        self.chosen = alternatives[0]
        self._forms = [
            [
                form_of(output, block, out.shape, in_.shape)
                for block, in_ in zip(row, call.avals, strict=True)
            ]
            for row, out in zip(self.chosen.blocks, call.out_avals, strict=True)
        ]
        # What closes over the tracers of another trace lives no longer than that.
        self._run = jax.jit(self._compute) if program.is_closed else self._compute

    @property
    def mode(self) -> Mode:
        """The mode that was chosen."""
        return self.chosen.mode

    @property
    def nnz(self) -> int:
        """How many entries can differ from 0, those that several terms share counted each time."""
        return sum(b.nnz for row in self.chosen.blocks for b in row)

    def pattern(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows and columns of the entries that can differ from 0, in row-major order.

        Outputs follow one another in the rows, inputs in the columns, each flattened.
        """
        return pattern_of(self.chosen.blocks)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """The Jacobian at arguments of the shapes that the plan was made for."""
        return self.evaluated(self._matching(args, named))[1]

    def evaluated(self, call: Call) -> tuple[Any, Any, Any]:
        """The value, the Jacobian and what else the function returns, for a call."""
        values, arrays = self._run(*call.leaves, *call.others)
        given = iter(arrays)
        rows = [[form.hand_over(next(given)) for form in row] for row in self._forms]
        n = self._call.out_tree.num_leaves
        y = self._call.out_tree.unflatten(values[:n])
        aux = self._call.aux_of(values[n:])
        return y, self._call.tree_of(rows), aux

    def entries(self, call: Call) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, columns and values of all entries, outputs and inputs one after the other."""
        read = self._program.environment([*call.leaves, *call.others])
        found, row0 = [], 0
        for row in self.chosen.blocks:
            col0 = 0
            for block in row:
                r, c, values = entries(block)
                arrays = evaluate(values, Env(read, self._call.dtype))
                found += [(row0 + r, col0 + c, np.concatenate([np.zeros(0), *arrays]))]
                col0 += block.shape[1]
            row0 += row[0].shape[0] if row else 0
        none = np.zeros(0, np.int64)
        rows = np.concatenate([none, *(part[0] for part in found)])
        cols = np.concatenate([none, *(part[1] for part in found)])
        return rows, cols, np.concatenate([np.zeros(0), *(part[2] for part in found)])

    def _matching(self, args: Sequence[Any], named: Mapping[str, Any]) -> Call:
        call = self._call.again(args, named)
        if call.key != self._call.key:
            raise ShapeError(
                f"Plan: made for arguments {self._call.described()}, but called with "
                f"{call.described()}. Make another plan for these."
            )
        return call

    def _compute(self, *arrays: Any) -> tuple[list[Any], list[Any]]:
        read = self._program.environment(arrays)
        dtype = self._call.dtype
        forms = [form for row in self._forms for form in row]
        made = iter(evaluate([v for form in forms for v in form.values], Env(read, dtype)))
        results = [
            form.assemble([next(made) for _ in form.values], dtype).astype(in_.dtype)
            for form, in_ in zip(forms, self._call.avals * len(self._forms), strict=True)
        ]
        return [read(v) for v in self._program.values], results

    def table(self) -> Table:
        """The ways that were priced, as a table."""
        columns = [
            Column("way"),
            Column("passes"),
            Column("FLOPs", format_count),
            Column("memory traffic", format_bytes),
            Column("predicted", format_seconds),
            Column(""),
        ]
        itemsize = self._call.itemsize
        rows = [
            (
                a.name,
                a.passes or None,
                a.work.flops,
                a.work.entries * itemsize,
                a.seconds,
                "chosen" if a is self.chosen else "",
            )
            for a in self.alternatives
        ]
        return Table(columns, rows)

    def __str__(self) -> str:
        head = [
            f"{out.shape} by {name} {in_.shape}: {described(block)}"
            for row, out in zip(self.chosen.blocks, self._call.out_avals, strict=True)
            for block, name, in_ in zip(row, self._call.names, self._call.avals, strict=True)
        ]
        return "\n".join([*head, "", str(self.table())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def described(block: Block) -> str:
    """What can be said of a block in a few words."""
    size = math.prod(block.shape)
    if not block.terms:
        return "zero"
    if block.nnz >= size:
        return f"full, {size:,} entries"
    return f"{block.nnz:,} of {size:,} entries ({block.nnz / size:.2g})"


def pattern_of(blocks: Blocks) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns at which blocks have entries, each once, in row-major order."""
    none = np.zeros(0, np.int64)
    rows, cols, row0 = [none], [none], 0
    for row in blocks:
        col0 = 0
        for block in row:
            r, c = block.positions()
            rows.append(r + row0)
            cols.append(c + col0)
            col0 += block.shape[1]
        row0 += row[0].shape[0] if row else 0
    r, c = np.concatenate(rows), np.concatenate(cols)
    width = sum(b.shape[1] for b in blocks[0]) if blocks else 0
    flat = np.unique(r * width + c)
    return flat // max(width, 1), flat % max(width, 1)


def make_plan(
    function: str,
    call: Call,
    *,
    mode: Mode,
    output: Output,
    order: str,
    pattern: Any,
    max_bytes: int,
) -> tuple[Plan, bool]:
    """Make a plan; tell also whether it may be kept for other calls of the same shapes."""
    program = linearized(call.flat, call.avals, call.other_avals)
    if output == "dense":
        _check_size(function, call, max_bytes)
    if output == "diagonal":
        _check_square(function, call)
    planner = Planner(program, call.out_avals, call.itemsize)
    known = None
    if pattern is not None:
        known = pattern_from(function, pattern, (sum(planner.rows), sum(planner.cols)))
    alternatives = _alternatives(function, planner, mode, order, known)
    chosen = min(alternatives, key=lambda a: a.seconds)
    rest = [a for a in alternatives if a is not chosen]
    return Plan(call, program, [chosen, *rest], output), program.is_closed


def _alternatives(
    function: str, planner: Planner, mode: Mode, order: str, pattern: Pattern | None
) -> list[Alternative]:
    found: list[Alternative | None]
    if mode == "compressed" or (mode == "auto" and pattern is not None):
        found = [planner.compressed(pattern)]
    elif mode == "forward":
        found = [planner.forward()]
    elif mode == "reverse":
        found = [planner.reverse()]
    elif mode == "eliminate" or len(planner.program.equations) <= _MOST_VERTICES:
        orders = [o for o in NAMES if o == order] or _PLANNED
        found = [planner.eliminated(o) for o in orders]
    else:
        found = [planner.forward(), planner.reverse()]
    ways = [a for a in found if a is not None]
    if not ways:
        lacks = "forward mode" if mode == "forward" else "reverse mode"
        raise ArgumentError(
            f"{function}: mode={mode!r}, but f has an operation without {lacks}: a loop of unknown "
            "length, or a function with a custom_vjp. Take another mode."
        )
    return ways


def _check_square(function: str, call: Call) -> None:
    sizes = [[math.prod(a.shape) for a in avals] for avals in (call.out_avals, call.avals)]
    if len(sizes[0]) != 1 or sizes[0] != sizes[1]:
        raise ShapeError(
            f"{function}: a Jacobian has a diagonal where input and output are one array each, of "
            f"the same size; here are inputs of sizes {sizes[1]} and outputs of sizes {sizes[0]}."
        )


def _check_size(function: str, call: Call, max_bytes: int) -> None:
    for out in call.out_avals:
        for name, in_ in zip(call.names, call.avals, strict=True):
            nbytes = math.prod(out.shape) * math.prod(in_.shape) * in_.dtype.itemsize
            if nbytes > max_bytes:
                raise ArgumentError(
                    f"{function}: the full Jacobian of an output {out.shape} by {name} {in_.shape} "
                    f"takes {format_bytes(nbytes)}, more than max_bytes={max_bytes:,}. Take "
                    'output="bcoo" for its entries alone, a linear operator, or raise max_bytes.'
                )
