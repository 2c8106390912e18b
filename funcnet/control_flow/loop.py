"""A loop of unknown length as one operation that can be differentiated in both modes.

Its tangent is a loop again, of the *dual* body, which moves state and tangent together. Its
transpose is a *sweep* (:mod:`funcnet.control_flow.transpose`): the steps pulled back one by one,
from states that the way forward kept (:mod:`funcnet.control_flow.checkpoints`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from funcnet.control_flow.checkpoints import Record, recorded
from funcnet.control_flow.reversible import Inverse
from funcnet.control_flow.transpose import Flags, Sweep, replaced, taken
from funcnet.jaxprs import depends_on
from funcnet.rules.primitive import LinearMap, rule_p, trace_flat, used_inputs, zeros

if TYPE_CHECKING:
    from funcnet.control_flow.counting import Log

__all__ = ["Loop", "bytes_of"]

_MOST_SLOTS = 1 << 10
"""A thousand states are enough for half a million steps run twice; room for more would have to be
cleared at each call."""


@dataclass(frozen=True, eq=False, repr=False)
class Loop:
    """``while cond(consts, x): x = body(consts, x)`` at fixed shapes: an application of a rule.

    Its arguments are the constants and then the leaves of `x`.

    Args:
        cond: ``(*consts, *x)`` to a bool.
        body: ``(*consts, *x)`` to the next `x`.
        n_consts: The number of constants.
        budget: How many bytes of states the way back may keep.
        records: Whether these are returned too, as a `Record` behind the results.
        is_masked: Whether the body does nothing once it should have stopped.
        moves: The loop whose tangents it moves, and along which arguments, if it is dual to one.
        inverse: ``(*consts, *x)`` to the `x` before, if the body can be undone.
        tolerance: How far off the inverse may be, None for what suits the dtype.
        log: Who wants to know what its sweeps do.
    """

    name: ClassVar[str] = "while_loop"
    origin: ClassVar[None] = None

    cond: ClosedJaxpr
    body: ClosedJaxpr
    n_consts: int
    budget: int
    records: bool = False
    is_masked: bool = False
    moves: tuple[Loop, Flags] | None = None
    inverse: ClosedJaxpr | None = None
    tolerance: float | None = None
    log: Log | None = None
    _linearized: dict[Flags, tuple[ClosedJaxpr, LinearMap]] = field(
        default_factory=dict, init=False
    )
    _duals: dict[Flags, Loop] = field(default_factory=dict, init=False)
    _sweeps: dict[tuple[Flags, int], Sweep] = field(default_factory=dict, init=False)
    _batched: dict[Any, Loop] = field(default_factory=dict, init=False)

    def __repr__(self) -> str:
        return self.name

    @property
    def avals(self) -> list[Any]:
        """What the arguments are like."""
        return list(self.body.in_avals)

    @property
    def carry(self) -> list[Any]:
        """What the leaves of `x` are like."""
        return self.avals[self.n_consts :]

    @property
    def state_bytes(self) -> int:
        """The size of a state."""
        return bytes_of(self.carry)

    @property
    def fewest_slots(self) -> int:
        """How many states have to be kept at least: with an inverse, the last one too."""
        return 2 if self.inverse is None else 3

    @property
    def slots(self) -> int:
        """How many states the budget allows."""
        return min(max(self.budget // max(self.state_bytes, 1), self.fewest_slots), _MOST_SLOTS)

    @cached_property
    def primal(self) -> ClosedJaxpr:
        """``(*consts, *x)`` to the last `x`, and the record if there is one."""
        return trace_flat(self._record if self.records else self._run, self.avals)

    def _functions(self, args: Sequence[Any]) -> tuple[Any, Any, list[Any]]:
        consts, init = list(args[: self.n_consts]), list(args[self.n_consts :])
        cond, body = jaxpr_as_fun(self.cond), jaxpr_as_fun(self.body)
        return lambda x: cond(*consts, *x)[0], lambda x: list(body(*consts, *x)), init

    def _run(self, *args: Any) -> list[Any]:
        return jax.lax.while_loop(*self._functions(args))

    def _record(self, *args: Any) -> list[Any]:
        inverse = self.inverse_at(args)
        check = None if inverse is None else inverse.leads_back
        x, record = recorded(*self._functions(args), self.slots, check)
        return [*x, *record.flat]

    def inverse_at(self, args: Sequence[Any]) -> Inverse | None:
        """The inverse of the body, for these constants."""
        if self.inverse is None:
            return None
        undo, consts = jaxpr_as_fun(self.inverse), args[: self.n_consts]
        return Inverse(lambda x: list(undo(*consts, *x)), self.tolerance)

    def recording(self) -> Loop:
        """The same loop, keeping states."""
        if self.records:
            return self
        return self._recording

    @cached_property
    def _recording(self) -> Loop:
        return replace(self, records=True)

    @cached_property
    def moving(self) -> list[bool]:
        """Which leaves of `x` have tangents."""
        return [has_tangent(a) for a in self.carry]

    @property
    def differentiable(self) -> list[bool]:
        """Which results have tangents: nothing of the record, which no derivative goes through."""
        kept = Record.count(len(self.carry)) if self.records else 0
        return self.moving + [False] * kept

    @cached_property
    def _read(self) -> list[bool]:
        """The constants that the body reads; the others only tell when to stop."""
        return used_inputs(self.body)[: self.n_consts]

    def widen(self, live: Sequence[bool]) -> Flags:
        """What moves: a leaf of `x` as well if a later step makes it move."""
        consts = [
            flag and read and has_tangent(aval)
            for flag, read, aval in zip(live, self._read, self.avals, strict=False)
        ]
        moved = [f and m for f, m in zip(live[self.n_consts :], self.moving, strict=True)]
        while True:
            reached = depends_on(self.body, [*consts, *moved])
            further = [
                old or (new and m) for old, new, m in zip(moved, reached, self.moving, strict=True)
            ]
            if further == moved:
                return (*consts, *moved)
            moved = further

    def dual(self, live: Flags) -> Loop:
        """The loop that moves tangents along: ``(consts, d consts, x, d x)``."""
        if live not in self._duals:
            self._duals[live] = self._dual(live)
        return self._duals[live]

    def _dual(self, live: Flags) -> Loop:
        n, moves = self.n_consts, live[self.n_consts :]
        tangents = [a.to_tangent_aval() for a, f in zip(self.avals, live, strict=True) if f]
        k = sum(live[:n])
        avals = [*self.avals[:n], *tangents[:k], *self.carry, *tangents[k:]]
        split = n, n + k, n + k + len(moves)

        def parted(args: Sequence[Any]) -> tuple[list[Any], list[Any]]:
            a, b, c = split
            return [*args[:a], *args[b:c]], [*args[a:b], *args[c:]]

        def along(step: ClosedJaxpr, *args: Any) -> list[Any]:
            at, towards = parted(args)
            y, dy = jvp_along(step, live, at, towards)
            return [*y, *(t for t, f in zip(dy, moves, strict=True) if f)]

        def cond(*args: Any) -> list[Any]:
            return list(jaxpr_as_fun(self.cond)(*parted(args)[0]))

        return replace(
            self,
            cond=trace_flat(cond, avals),
            body=trace_flat(partial(along, self.body), avals),
            inverse=None
            if self.inverse is None
            else trace_flat(partial(along, self.inverse), avals),
            n_consts=n + k,
            records=False,
            moves=(self, live),
            log=None,
        )

    def transposed(self, cotangents: Sequence[Any], args: Sequence[Any], unknown: Flags) -> Any:
        """The cotangents of tangents that are unknown, for a dual loop; None for any other case.

        Args:
            cotangents: Those of all results, None where it is 0.
            args: The arguments.
            unknown: Which of them are unknown.
        """
        if self.moves is None or self.records:
            return None
        loop, live = self.moves
        n, k, m = loop.n_consts, sum(live[: loop.n_consts]), len(loop.carry)
        is_tangent = [i in range(n, n + k) or i >= n + k + m for i in range(len(args))]
        bends = any(u and not t for u, t in zip(unknown, is_tangent, strict=True))
        if bends or any(c is not None for c in cotangents[:m]):
            return None
        at = [x for x, t in zip(args, is_tangent, strict=True) if not t]
        record = rule_p.bind(*at, application=loop.recording())[m:]
        moved = taken(loop.carry, live[n:])
        given = [
            zeros(a.to_ct_aval()) if c is None else c
            for a, c in zip(moved, cotangents[m:], strict=True)
        ]
        made = iter(loop.pulled(live, at, record, given))
        return [next(made) if t else None for t in is_tangent]

    def pushed(self, live: Flags, args: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
        """The tangents of the leaves of the result that move, by the dual loop."""
        n, k = self.n_consts, sum(live[: self.n_consts])
        given = [*args[:n], *tangents[:k], *args[n:], *tangents[k:]]
        return rule_p.bind(*given, application=self.dual(live))[len(self.carry) :]

    def pulled(self, live: Flags, args: Sequence[Any], kept: Sequence[Any], cotangents: Any) -> Any:
        """The cotangents of the live arguments, for those of the leaves that move."""
        sweep = self.sweep(live)
        return rule_p.bind(*args, *kept, *cotangents, application=sweep)

    def sweep(self, live: Flags, slots: int | None = None) -> Sweep:
        """The way back, through a record with so many slots."""
        key = live, slots or self.slots
        if key not in self._sweeps:
            self._sweeps[key] = Sweep(self, *key)
        return self._sweeps[key]

    def linearize(self, live: Flags) -> tuple[ClosedJaxpr, LinearMap]:
        """What the tangents' map needs is the arguments, and the record if there is one."""
        if live not in self._linearized:
            self._linearized[live] = self._linearize(live)
        return self._linearized[live]

    def _linearize(self, live: Flags) -> tuple[ClosedJaxpr, LinearMap]:
        outs, n_args = self.primal.out_avals, len(self.avals)
        n_carry, moves = len(self.carry), live[self.n_consts :]

        def kept(*values: Any) -> list[Any]:
            results, args = values[: len(outs)], values[len(outs) :]
            return [*args, *results[n_carry:]]

        residuals = trace_flat(kept, [*outs, *self.avals])
        avals = residuals.out_avals

        def forward(*values: Any) -> list[Any]:
            moved = iter(self.pushed(live, values[:n_args], values[len(avals) :]))
            return [
                next(moved) if f else zeros(a.to_tangent_aval())
                for a, f, m in zip(self.carry, moves, self.moving, strict=True)
                if m
            ]

        def transpose(*values: Any) -> list[Any]:
            args, record = values[:n_args], values[n_args : len(avals)]
            own = [f for f, m in zip(moves, self.moving, strict=True) if m]
            cotangents = [c for c, f in zip(values[len(avals) :], own, strict=True) if f]
            if not record:
                record = rule_p.bind(*args, application=self.recording())[n_carry:]
            return self.pulled(live, args, record, cotangents)

        tangents = [a.to_tangent_aval() for a, f in zip(self.avals, live, strict=True) if f]
        results = [a.to_ct_aval() for a, m in zip(self.carry, self.moving, strict=True) if m]
        linear = LinearMap(
            self.name,
            len(avals),
            lambda: trace_flat(forward, [*avals, *tangents]),
            lambda: trace_flat(transpose, [*avals, *results]),
        )
        return residuals, linear

    # Under vmap

    @cached_property
    def masked(self) -> Loop:
        """The same loop, whose body does nothing once it should have stopped.

        What the body would make of a state that it was never meant for is not even computed, for
        its derivative may be infinite there: it gets the initial state instead, which is why that
        is among the constants.
        """
        n, m = self.n_consts, len(self.carry)
        avals = [*self.avals, *self.carry]

        def body(*args: Any) -> list[Any]:
            consts, x = args[:n], args[n + m :]
            init = [jax.lax.stop_gradient(a) for a in args[n : n + m]]
            (goes,) = jaxpr_as_fun(self.cond)(*consts, *x)
            safe = [jax.lax.select(goes, a, b) for a, b in zip(x, init, strict=True)]
            y = jaxpr_as_fun(self.body)(*consts, *safe)
            return [jax.lax.select(goes, a, b) for a, b in zip(y, x, strict=True)]

        def cond(*args: Any) -> list[Any]:
            return list(jaxpr_as_fun(self.cond)(*args[:n], *args[n + m :]))

        return replace(
            self,
            cond=trace_flat(cond, avals),
            body=trace_flat(body, avals),
            inverse=None,  # it does not know which examples had stopped
            n_consts=n + m,
            is_masked=True,
            moves=None,
        )

    def stops_apart(self, mapped: Sequence[bool]) -> bool:
        """Whether examples may stop at different steps."""
        consts, x = mapped[: self.n_consts], self._carries_mapped(mapped)
        return any(depends_on(self.cond, [*consts, *x]))

    def _carries_mapped(self, mapped: Sequence[bool]) -> list[bool]:
        """The leaves of `x` that differ between examples, if all take as many steps."""
        consts, x = list(mapped[: self.n_consts]), list(mapped[self.n_consts :])
        while True:
            reached = depends_on(self.body, [*consts, *x])
            further = [a or b for a, b in zip(x, reached, strict=True)]
            if further == x:
                return x
            x = further

    def batched(self, batch: Any, args: Sequence[Any], axes: Sequence[int | None]) -> Any:
        """Under ``vmap``: a loop that takes a step of all examples at a time."""
        args = [x if a is None else jnp.moveaxis(x, a, 0) for x, a in zip(args, axes, strict=True)]
        mapped = [a is not None for a in axes]
        inner, n, x_mapped = self, self.n_consts, self._carries_mapped(mapped)
        if self.stops_apart(mapped):
            x_mapped = [True] * len(self.carry)
            if not self.is_masked:
                inner, args, mapped = self.masked, [*args, *args[n:]], [*mapped, *mapped[n:]]
        n = inner.n_consts
        for i, now in enumerate(x_mapped, n):
            if now and not mapped[i]:
                args[i] = jnp.broadcast_to(args[i], (batch.size, *args[i].shape))
        mapped = [*mapped[:n], *x_mapped]
        loop = inner._of_all(batch, tuple(jax.typeof(x) for x in args), tuple(mapped))
        outs = rule_p.bind(*args, application=loop)
        out_axes: list[int | None] = [0 if m else None for m in x_mapped]
        if self.records:
            out_axes += Record.axes([1 if m else None for m in x_mapped])
        return outs, out_axes

    def _of_all(self, batch: Any, avals: tuple[Any, ...], mapped: Flags) -> Loop:
        key = (batch, avals, mapped)
        if key not in self._batched:
            axes = tuple(0 if m else None for m in mapped)
            each = batch.map(self.cond, avals, axes, (0,))

            def cond(*args: Any) -> list[Any]:
                return [jnp.any(jaxpr_as_fun(each)(*args)[0])]

            differs = any(depends_on(self.cond, mapped))
            every = trace_flat(cond, avals) if differs else self.cond
            map_step = partial(batch.map, avals=avals, in_axes=axes, out_axes=axes[self.n_consts :])
            self._batched[key] = replace(
                self,
                cond=every,
                body=map_step(self.body),
                inverse=self.inverse and map_step(self.inverse),
                moves=None,
            )
        return self._batched[key]


def jvp_along(jaxpr: ClosedJaxpr, live: Flags, at: Sequence[Any], towards: Sequence[Any]) -> Any:
    """The value of a jaxpr, and its tangents along those of its arguments that have any."""

    def moved(*values: Any) -> list[Any]:
        return list(jaxpr_as_fun(jaxpr)(*replaced(at, live, values)))

    return jax.jvp(moved, taken(at, live), list(towards))


def has_tangent(aval: Any) -> bool:
    """Whether a value can be differentiated."""
    return aval.to_tangent_aval().dtype != jax.dtypes.float0


def bytes_of(avals: Sequence[Any]) -> int:
    """The size of a state."""
    return sum(math.prod(a.shape) * a.dtype.itemsize for a in avals)
