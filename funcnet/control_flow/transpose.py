"""The transpose of a loop's derivative: an operation of its own, with a derivative in its turn.

For tangents `v` and `w` of what goes into a loop, and a cotangent `c` of what comes out, the number

    d/dv d/dw <c, loop>

does not depend on which derivative is taken first. So the derivative of the transpose is made of
the transpose of the dual loop, and no derivative, of whatever order, goes through the bookkeeping
of checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import jax
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from funcnet.control_flow.checkpoints import Record, load, swept
from funcnet.control_flow.reversible import undone
from funcnet.rules.primitive import BatchedApplication, LinearMap, rule_p, trace_flat, zeros

if TYPE_CHECKING:
    from funcnet.control_flow.loop import Loop

__all__ = ["Flags", "Sweep", "replaced", "taken"]

Flags = tuple[bool, ...]


class Sweep:
    """The way back through a loop: the transpose of its tangents' map, as a function of it all.

    Its arguments are those of the loop, what the way forward kept, and the cotangents of the
    leaves of the result that move; its results are the cotangents of the live arguments.

    Args:
        loop: The loop.
        live: Which of its arguments have tangents.
        slots: How many states there is room for.
    """

    name = "while_loop^T"
    origin = None

    def __init__(self, loop: Loop, live: Flags, slots: int) -> None:
        self.loop, self.live, self.slots = loop, live, slots
        self._linearized: dict[Flags, tuple[ClosedJaxpr, LinearMap]] = {}

    def __repr__(self) -> str:
        return self.name

    @cached_property
    def _moved(self) -> list[Any]:
        """What the leaves of `x` that move are like."""
        moves = self.live[self.loop.n_consts :]
        return [a for a, f in zip(self.loop.carry, moves, strict=True) if f]

    @property
    def record(self) -> range:
        """The places of the slots among the arguments."""
        first, leaves = len(self.loop.avals), len(self.loop.carry)
        return range(first + Record.count(0), first + Record.count(leaves))

    @cached_property
    def avals(self) -> list[Any]:
        """What the arguments are like."""
        cotangents = [a.to_ct_aval() for a in self._moved]
        return [*self.loop.avals, *Record.avals(self.loop.carry, self.slots), *cotangents]

    @property
    def differentiable(self) -> list[bool]:
        """All results have tangents."""
        return [True] * sum(self.live)

    @cached_property
    def primal(self) -> ClosedJaxpr:
        """The way back, step by step."""
        return trace_flat(self._sweep, self.avals)

    @cached_property
    def back(self) -> tuple[ClosedJaxpr, ClosedJaxpr]:
        """One step pulled back, in two parts.

        ``(consts, x)`` to its slopes, and ``(consts, x, slopes, cotangents)`` to the cotangents of
        what is live. In one piece XLA would compute a slope anew for every cotangent that it is a
        factor of.
        """
        loop, kept = self.loop, _Kept()

        def slopes(*args: Any) -> list[Any]:
            def step(*moved: Any) -> list[Any]:
                y = jaxpr_as_fun(loop.body)(*replaced(args, self.live, moved))
                return [o for o, f in zip(y, self.live[loop.n_consts :], strict=True) if f]

            return kept.parted(jax.vjp(step, *taken(args, self.live))[1], args)

        def back(*values: Any) -> list[Any]:
            k, c = len(loop.avals), len(self._moved)
            args, made, cotangents = values[:k], values[k : len(values) - c], values[-c:]
            return list(kept.joined(args, made)(list(cotangents)))

        first = trace_flat(slopes, loop.avals)
        cotangents = [a.to_ct_aval() for a in self._moved]
        return first, trace_flat(back, [*loop.avals, *first.out_avals, *cotangents])

    def _parted(self, values: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        a = len(self.loop.avals)
        b = a + Record.count(len(self.loop.carry))
        return list(values[:a]), list(values[a:b]), list(values[b:])

    def _sweep(self, *values: Any) -> list[Any]:
        args, record, cotangents = self._parted(values)
        n = self.loop.n_consts
        _, body, init = self.loop._functions(args)
        sums = [zeros(a.to_ct_aval()) for a in taken(self.loop.avals[:n], self.live[:n])]
        slopes_of, back = map(jaxpr_as_fun, self.back)

        def slopes(x: Any) -> list[Any]:
            return list(slopes_of(*args[:n], *x))

        def pull(x: Any, slope: Any, cts: Any, sums: Any) -> tuple[Any, Any]:
            made = back(*args[:n], *x, *slope, *cts)
            return list(made[len(sums) :]), [a + b for a, b in zip(sums, made, strict=False)]

        kept, pulled = Record.of(record), (cotangents, sums)
        inverse, left = self.loop.inverse_at(args), kept.steps
        if inverse is not None:
            last = load(kept.slots, self.slots - 1)
            good, by_inverse = undone(inverse, slopes, pull, last, kept, pulled)
            pulled = jax.tree.map(partial(jax.lax.select, good), by_inverse, pulled)
            left = jax.numpy.where(good, 0, left)
        cotangents, sums, again = swept(body, slopes, pull, init, kept, left, pulled, self.slots)
        if self.loop.log is not None:
            self.loop.log.note(
                self.slots, self.loop.state_bytes, kept.steps, again, inverse is not None
            )
        return [*sums, *cotangents]

    def widen(self, live: Sequence[bool]) -> Flags:
        """The loop's arguments as for the loop; a record has no tangents."""
        args, record, cotangents = self._parted(live)
        return (*self.loop.widen(args), *(False for _ in record), *cotangents)

    def linearize(self, live: Flags) -> tuple[ClosedJaxpr, LinearMap]:
        """Linear in the cotangents; bent by the arguments, as the loop's second derivative says."""
        if live not in self._linearized:
            self._linearized[live] = self._linearize(live)
        return self._linearized[live]

    def _linearize(self, live: Flags) -> tuple[ClosedJaxpr, LinearMap]:
        loop = self.loop
        varied, _, pulled = self._parted(live)
        bends, pulls = any(varied), any(pulled)

        def kept(*values: Any) -> list[Any]:
            args, record, cotangents = self._parted(values[sum(self.live) :])
            return [*args, *record, *(cotangents if bends else [])]

        outs = [a.to_ct_aval() for a in taken(loop.avals, self.live)]
        residuals = trace_flat(kept, [*outs, *self.avals])
        avals = residuals.out_avals

        def mixed(first: Flags, args: Any, tangents: Any, second: Flags, cotangents: Any) -> Any:
            """By the arguments that `second` marks: <c, loop> along the tangents of `first`."""

            def along(*moved: Any) -> list[Any]:
                at = replaced(args, second, moved)
                return taken(loop.pushed(first, at, tangents), taken(self.live[k:], first[k:]))

            k = loop.n_consts
            moved = taken(first[k:], self.live[k:])
            needed = taken(cotangents, moved)
            return jax.vjp(along, *taken(args, second))[1](needed)

        def forward(*values: Any) -> list[Any]:
            args, record, cotangents = self._parted(values[: len(avals)])
            given = list(values[len(avals) :])
            k = sum(varied)
            terms = []
            if pulls:
                moved = iter(given[k:])
                full = [
                    next(moved) if f else zeros(a.to_ct_aval())
                    for f, a in zip(pulled, self._moved, strict=True)
                ]
                terms.append(rule_p.bind(*args, *record, *full, application=self))
            if bends:
                terms.append(mixed(tuple(varied), args, given[:k], self.live, cotangents))
            return [sum(parts[1:], parts[0]) for parts in zip(*terms, strict=True)]

        def transpose(*values: Any) -> list[Any]:
            args, _, cotangents = self._parted(values[: len(avals)])
            given = list(values[len(avals) :])
            result: list[Any] = []
            if bends:
                result += mixed(self.live, args, given, tuple(varied), cotangents)
            if pulls:
                moved = loop.pushed(self.live, args, given)
                result += [t for t, f in zip(moved, pulled, strict=True) if f]
            return result

        tangents = [a.to_tangent_aval() for a in taken(self.avals, live)]
        linear = LinearMap(
            self.name,
            len(avals),
            lambda: trace_flat(forward, [*avals, *tangents]),
            lambda: trace_flat(transpose, [*avals, *outs]),
        )
        return residuals, linear

    def batched(self, batch: Any, args: Sequence[Any], axes: Sequence[int | None]) -> Any:
        """Under ``vmap``: all examples take the same steps, those that stopped earlier idle."""
        return mapped_sweep(self, batch, args, axes)

    def stops_apart(self, mapped: Sequence[bool]) -> bool:
        """Whether examples may stop at different steps, which the body does not know of yet."""
        return not self.loop.is_masked and self.loop.stops_apart(self._parted(mapped)[0])

    @property
    def masked(self) -> Sweep:
        """The same through the masked loop."""
        return self.loop.masked.sweep(tuple(self.with_init(self.live, [False])), self.slots)

    def with_init(self, values: Sequence[Any], init: Sequence[Any] | None = None) -> list[Any]:
        """What belongs to the arguments, for the masked loop, which has its initial state twice."""
        n, m = self.loop.n_consts, len(self.loop.carry)
        twice = values[n : n + m] if init is None else list(init) * m
        return [*values[:n], *twice, *values[n:]]

    def slot_axis(self, place: int) -> int:
        """Along which axis an array of the record has its slots."""
        return 0

    def resized(self, slots: int) -> Sweep:
        """The same with another number of slots."""
        return self.loop.sweep(self.live, slots)


class MappedSweep(BatchedApplication):
    """A sweep under ``vmap``, as it is written: all examples take the same steps.

    The number of slots is no property of the sweep, but of the record: a further ``vmap`` of the
    loop leaves room for fewer.
    """

    inner: Sweep | MappedSweep

    @property
    def record(self) -> range:
        """The places of the slots among the arguments."""
        return self.inner.record

    def slot_axis(self, place: int) -> int:
        """Along which axis an array of the record has its slots."""
        own, mapped = self.inner.slot_axis(place), self.axes[place]
        return own + (mapped is not None and mapped <= own)

    def resized(self, slots: int) -> MappedSweep:
        """The same with another number of slots."""
        avals = list(self.avals)
        for place in self.record:
            shape = list(avals[place].shape)
            shape[self.slot_axis(place)] = slots
            avals[place] = avals[place].update(shape=tuple(shape))
        return MappedSweep(self.inner.resized(slots), self.batch, tuple(avals), self.axes)

    def stops_apart(self, mapped: Sequence[bool]) -> bool:
        """As of a sweep."""
        return self.inner.stops_apart(mapped)

    @property
    def masked(self) -> MappedSweep:
        """As of a sweep."""
        avals, axes = self.with_init(self.avals), self.with_init(self.axes)
        return MappedSweep(self.inner.masked, self.batch, tuple(avals), tuple(axes))

    def with_init(self, values: Sequence[Any]) -> list[Any]:
        """As of a sweep."""
        return self.inner.with_init(values)

    def batched(self, batch: Any, args: Sequence[Any], axes: Sequence[int | None]) -> Any:
        """Under another ``vmap``."""
        return mapped_sweep(self, batch, args, axes)


def mapped_sweep(sweep: Any, batch: Any, args: Sequence[Any], axes: Sequence[int | None]) -> Any:
    """Bind a sweep under ``vmap``, for as many slots as there are."""
    if sweep.stops_apart([a is not None for a in axes]):
        args, axes, sweep = sweep.with_init(args), sweep.with_init(axes), sweep.masked
    avals = tuple(jax.typeof(x) for x in args)
    mapped = MappedSweep(sweep, batch, avals, tuple(axes))
    place = sweep.record[0]
    slots = avals[place].shape[mapped.slot_axis(place)]
    mapped = MappedSweep(sweep.resized(slots), batch, avals, tuple(axes))
    outs = rule_p.bind(*args, application=mapped)
    return outs, [0] * len(outs)


class _Kept:
    """What a pullback keeps: arguments, constants, and what had to be computed."""

    def parted(self, pullback: Callable[..., Any], args: Sequence[Any]) -> list[Any]:
        """What had to be computed."""
        leaves, self._structure = jax.tree.flatten(pullback)
        places = {id(x): i for i, x in enumerate(args)}
        made: list[Any] = []
        self._places: list[int | None] = []
        self._constants = [None if isinstance(x, jax.core.Tracer) else x for x in leaves]
        for x in leaves:
            if isinstance(x, jax.core.Tracer) and id(x) not in places:
                places[id(x)] = len(args) + len(made)
                made.append(x)
            self._places.append(places.get(id(x)))
        return made

    def joined(self, args: Sequence[Any], made: Sequence[Any]) -> Callable[..., Any]:
        """The pullback again, at other arguments."""
        values = [*args, *made]
        leaves = [
            constant if place is None else values[place]
            for place, constant in zip(self._places, self._constants, strict=True)
        ]
        return jax.tree.unflatten(self._structure, leaves)


def taken(values: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
    """The values that are marked."""
    return [v for v, f in zip(values, flags, strict=True) if f]


def replaced(values: Sequence[Any], flags: Sequence[bool], others: Sequence[Any]) -> list[Any]:
    """The values, others in place of those that are marked."""
    given = iter(others)
    return [next(given) if f else v for v, f in zip(values, flags, strict=True)]
