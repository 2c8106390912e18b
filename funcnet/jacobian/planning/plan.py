"""Deciding how to compute a Jacobian, and doing it.

A :class:`Plan` is made from shapes alone. It linearises the function, reads the structure of every
operation, prices the ways to multiply them together and keeps the cheapest. It says what it chose
and why when printed, and compiles to one function when called.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.errors import ArgumentError, ShapeError
from funcnet.jacobian.blocks.terms import Block, placed
from funcnet.jacobian.blocks.values import Env, evaluate
from funcnet.jacobian.elimination.compression import Colorist
from funcnet.jacobian.linearization import LinearProgram, linearized
from funcnet.jacobian.planning.at_value import AtValue
from funcnet.jacobian.planning.options import Options
from funcnet.jacobian.planning.outputs import Output, entries, form_of, refuse_tracers
from funcnet.jacobian.planning.planner import Alternative, JacobianMode, Planner, alternatives
from funcnet.jacobian.planning.probe import Probe
from funcnet.jacobian.planning.saving import SavedPlan, fingerprint, write_plan
from funcnet.jacobian.signature import Call
from funcnet.jacobian.sparsity.patterns import pattern_from, pattern_of
from funcnet.report import Column, Table, format_bytes, format_count, format_seconds

__all__ = ["Plan", "make_plan"]


class Plan:
    """How to compute a Jacobian at arguments of certain shapes. Call it to do so.

    Attributes:
        chosen: The way that was taken.
        alternatives: All ways that were priced, the cheapest first.
        output: The form in which the Jacobian is handed over.
        measured: The seconds that some of the ways took, if they were tried.
    """

    def __init__(
        self,
        call: Call,
        program: LinearProgram,
        alternatives: Sequence[Alternative],
        output: Output,
        probe: Probe | None = None,
        point: tuple[AtValue, bytes] | None = None,
        saved: Mapping[str, Any] | None = None,
    ) -> None:
        self._call, self._program, self.output = call, program, output
        self._probe, self._point, self._saved = probe, point, dict(saved or {})
        self.alternatives = sorted(alternatives, key=lambda a: a.seconds)
        self.chosen = alternatives[0]
        self.measured: dict[Alternative, float] = {}
        self._forms = [
            [
                form_of(output, block, out.shape, in_.shape)
                for block, in_ in zip(row, call.avals, strict=True)
            ]
            for row, out in zip(self.chosen.blocks, call.out_avals, strict=True)
        ]
        # What closes over the tracers of another trace lives no longer than that.
        self.run = jax.jit(self._compute) if program.is_closed else self._compute

    @property
    def is_closed(self) -> bool:
        """Whether it may be kept for other calls of the same shapes."""
        return self._program.is_closed

    @property
    def mode(self) -> JacobianMode:
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
        values, arrays, wrong = self.run(*call.leaves, *call.others)
        if self._probe is not None:
            arrays = _judged(self._probe, wrong, arrays)
        given = iter(arrays)
        rows = [[form.hand_over(next(given)) for form in row] for row in self._forms]
        n = self._call.out_tree.num_leaves
        y = self._call.out_tree.unflatten(values[:n])
        aux = self._call.aux_of(values[n:])
        return y, self._call.tree_of(rows), aux

    def entries(self, call: Call) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, columns and values of all entries, outputs and inputs one after the other."""
        read = self._program.environment([*call.leaves, *call.others])
        found = []
        for row0, col0, block in placed(self.chosen.blocks):
            r, c, values = entries(block)
            arrays = evaluate(values, Env(read, self._call.dtype))
            found += [(row0 + r, col0 + c, np.concatenate([np.zeros(0), *arrays]))]
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
        if self._point is not None:
            at_value, digest = self._point
            arrays = [*call.leaves, *call.others]
            refuse_tracers("Plan", "at_value=True", arrays)
            if at_value.at(arrays)[0] != digest:
                raise ArgumentError(
                    "Plan: made with at_value=True for numbers that have zeros at other places, or "
                    "take other branches, than those that it was called with. Make another plan "
                    "for these, or one for all numbers."
                )
        return call

    def taking(self, way: Alternative) -> Plan:
        """The same plan with another of its ways."""
        others = [a for a in self.alternatives if a is not way]
        return Plan(
            self._call,
            self._program,
            [way, *others],
            self.output,
            self._probe,
            self._point,
            self._saved,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan to a file, which :func:`load_plan` reads.

        What is saved is what was decided: mode, order, pattern and colouring, and for which shapes.
        The function is not.

        Args:
            path: The file, of NumPy's ``.npz`` format whatever its name.
        """
        write_plan(path, SavedPlan(self.record(), *(self.chosen.colored or ())))

    def record(self) -> dict[str, Any]:
        """What a file says of the plan in words and numbers."""
        return {
            "signature": self._call.recorded(),
            "program": fingerprint(self._program.jaxpr),
            "at_value": self._point and self._point[1].hex(),
            "mode": self.chosen.mode,
            "order": self.chosen.order or "auto",
            "output": self.output,
            "argnums": self._call.argnums,
            **self._saved,
        }

    def _compute(self, *arrays: Any) -> tuple[list[Any], list[Any], Any]:
        read = self._program.environment(arrays)
        dtype = self._call.dtype
        forms = [form for row in self._forms for form in row]
        asked = [v for form in forms for v in form.values]
        probed = [] if self._probe is None else self._probe.values
        found = evaluate([*asked, *probed], Env(read, dtype))
        made = iter(found)
        results = [
            form.assemble([next(made) for _ in form.values], dtype).astype(in_.dtype)
            for form, in_ in zip(forms, self._call.avals * len(self._forms), strict=True)
        ]
        wrong = None if self._probe is None else self._probe.wrong(found[len(asked) :])
        return [read(v) for v in self._program.values], results, wrong

    def table(self) -> Table:
        """The ways that were priced, as a table."""
        columns = [
            Column("way"),
            Column("passes"),
            Column("FLOPs", format_count),
            Column("memory traffic", format_bytes),
            Column("predicted", format_seconds),
            *([Column("measured", format_seconds)] if self.measured else []),
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
                *([self.measured.get(a)] if self.measured else []),
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


def _judged(probe: Probe, wrong: Any, arrays: Sequence[Any]) -> Sequence[Any]:
    """Raise if a Jacobian is wrong; where that cannot be told yet, its entries become NaN then."""
    if not isinstance(wrong, jax.core.Tracer):
        probe.judge(wrong)
        return arrays
    return [jnp.where(wrong.any(), jnp.asarray(jnp.nan, x.dtype), x) for x in arrays]


def make_plan(
    function: str,
    call: Call,
    options: Options,
    *,
    potential: Callable[..., Any] | None = None,
    colorist: Colorist | None = None,
    symmetric: Callable[[], bool] = lambda: False,
    program: LinearProgram | None = None,
    point: tuple[AtValue, bytes] | None = None,
) -> Plan:
    """Make a plan for a call, and for others of the same shapes.

    Args:
        function: Who asks, for messages.
        call: The call, which the program was linearised at.
        options: What is asked for.
        potential: The function whose gradient the function is, if that is known.
        colorist: Who colours patterns.
        symmetric: Whether the Jacobian is symmetric.
        program: The linear program, if there is one already.
        point: Which numbers that is for, if not for all.
    """
    output: Any = options.output
    if program is None:
        call.check()
        program = linearized(call.flat, call.avals, call.other_avals)
    if output == "dense":
        _check_size(function, call, options.max_bytes)
    if output == "diagonal":
        _check_square(function, call)
    planner = Planner(
        program, call.out_avals, call.itemsize, colorist, symmetric, full=output == "dense"
    )
    known = None
    if options.pattern is not None:
        shape = sum(planner.rows), sum(planner.cols)
        known = pattern_from(function, options.pattern, shape)
    ways = alternatives(
        function, planner, options.mode, options.order, known, thorough=options.autotune
    )
    chosen = min(ways, key=lambda a: a.seconds)
    rest = [a for a in ways if a is not chosen]
    probe = None
    if options.check_pattern:
        avals = [*call.avals, *call.out_avals]
        precision = max(float(jnp.finfo(a.dtype).eps) for a in avals)
        probe = planner.probe(function, chosen.blocks, precision)
    saved = {
        "has_aux": options.has_aux,
        "hessian": potential is not None,
        "max_bytes": options.max_bytes,
        "check_pattern": options.check_pattern,
    }
    return Plan(call, program, [chosen, *rest], output, probe, point, saved)


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
