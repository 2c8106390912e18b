"""The way forward that keeps states, and the way back that uses them.

States are kept in *slots*: for each leaf of the state an array with one more axis in front. On the
way forward they are evenly spaced, and spaced twice as far whenever the slots are full. On the way
back the slots are a stack; :func:`~funcnet.control_flow.schedule.decide` says what to replay from
its top. Nothing here is ever differentiated.

What happens only sometimes is a loop that may take no step: a branch over the slots would copy
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from funcnet.control_flow.counters import count_while
from funcnet.control_flow.schedule import decide

__all__ = ["Record", "load", "recorded", "store", "swept"]

State = list[Any]


class Record(NamedTuple):
    """What the way forward kept: a state every ``2^level`` steps, that of the beginning first.

    Attributes:
        steps: How many steps there were.
        level: How far the states lie apart.
        exact: Whether an inverse of the step led back to every state, if there is one.
        slots: The states, stacked leaf by leaf. With an inverse, the last slot has the last state.
    """

    steps: Any
    level: Any
    exact: Any
    slots: list[Any]

    @property
    def flat(self) -> list[Any]:
        """As a list."""
        return [self.steps, self.level, self.exact, *self.slots]

    @classmethod
    def of(cls, flat: Sequence[Any]) -> Record:
        """From a list."""
        return cls(flat[0], flat[1], flat[2], list(flat[3:]))

    @staticmethod
    def count(leaves: int) -> int:
        """How many arrays it is, for a state of so many leaves."""
        return leaves + 3

    @staticmethod
    def avals(carry: Sequence[Any], slots: int) -> list[Any]:
        """What these arrays are like."""
        number = jax.ShapeDtypeStruct((), jnp.int32)
        kept = [jax.ShapeDtypeStruct((slots, *a.shape), a.dtype) for a in carry]
        return [number, number, number, *kept]

    @staticmethod
    def axes(of_slots: Sequence[int | None]) -> list[int | None]:
        """Along which axes they differ between examples, for those of the slots."""
        return [None, None, None, *of_slots]


def _empty(carry: Sequence[Any], slots: int) -> State:
    return [jnp.zeros((slots, *x.shape), x.dtype) for x in carry]


def load(slots: State, place: Any) -> State:
    """The state in a slot."""
    return [lax.dynamic_index_in_dim(s, place, 0, keepdims=False) for s in slots]


def store(slots: State, place: Any, x: State) -> State:
    """The slots with a state in one of them."""
    return [
        lax.dynamic_update_index_in_dim(s, leaf, place, 0) for s, leaf in zip(slots, x, strict=True)
    ]


def _times(count: Any, step: Callable[[Any], Any], x: Any) -> Any:
    """Take a step so many times."""
    return count_while(_remain, lambda c, y: ([c[0] - 1], step(y)), [count], x)[1]


def recorded(
    goes: Callable[[State], Any],
    step: Callable[[State], State],
    init: State,
    slots: int,
    leads_back: Callable[[State, State], Any] | None = None,
) -> tuple[State, Record]:
    """Run a loop and keep states of it.

    Args:
        goes: Whether there is a next step.
        step: The step.
        init: The state to start from.
        slots: How many states may be kept.
        leads_back: Whether the step's inverse leads from one state to the one before, if there is
            an inverse.

    Returns:
        The last state, and the record.
    """
    half = (slots - (leads_back is not None)) // 2
    room = 2 * half  # so that half of the states lie at multiples of twice the spacing

    def stretch(counters: Any, state: Any) -> Any:
        """Keep this state, and go on to the next that may be kept."""
        (_, n, level, exact), (x, kept) = counters, state
        full = n == room << level
        _, kept = count_while(
            lambda i: i < jnp.where(full, half, 0),
            lambda c, kept: ([c[0] + 1], store(kept, c[0], load(kept, 2 * c[0]))),
            [0],
            kept,
        )
        level = jnp.where(full, level + 1, level)
        kept = store(kept, n >> level, x)
        end = n + (1 << level)

        def further(counters: Any, x: State) -> Any:
            _, m, exact = counters
            y = step(x)
            if leads_back is not None:
                exact = (exact > 0) & leads_back(x, y)
            return [goes(y), m + 1, exact], y

        (going, n, exact), x = count_while(
            lambda go, m, _: (go > 0) & (m < end), further, [1, n, exact], x
        )
        return [going, n, level, exact], (x, kept)

    start = [goes(init), 0, 0, leads_back is not None], (init, _empty(init, slots))
    (_, n, level, exact), (x, kept) = count_while(_remain, stretch, *start)
    if leads_back is not None:
        kept = store(kept, slots - 1, x)
    return x, Record(n, level, exact, kept)


_STACK, _HAND, _RECORD = range(3)
"""Where the next state is: on top of the stack, in hand, or to be chosen from the record."""


def swept(
    step: Callable[[State], State],
    slopes: Callable[[State], State],
    pull: Callable[[State, State, State, State], tuple[State, State]],
    init: State,
    record: Record,
    left: Any,
    pulled: tuple[State, State],
    slots: int,
) -> tuple[State, State, Any]:
    """Go back through a loop.

    Args:
        step: The step.
        slopes: What the pullback of a step needs besides the state before it, from that state.
        pull: A step's pullback: the state before it, its slopes, the cotangents of the one after
            it, and what was summed up for the constants, to the cotangents of the state before it
            and the sums.
        init: The state that it started from, of which only the shapes matter.
        record: What was kept.
        left: How many steps are to be reversed: all, or none.
        pulled: The cotangents of the last state, and zeros for the constants.
        slots: How many states there is room for.

    Returns:
        The cotangents of the first state, the sums, and how many steps were run again.
    """
    last = (record.steps - 1) >> record.level

    def replay(counters: Any, state: Any) -> Any:
        """Go forward from a state; reverse what comes out, if that was the last step."""
        end, count, source, chosen, at, again = counters
        hand, kept, places, pulled = state
        place = jnp.where(source == _RECORD, chosen, jnp.maximum(count - 1, 0))
        (found,), loaded = load([places], place), load(kept, place)
        hand = [lax.select(source == _HAND, a, b) for a, b in zip(hand, loaded, strict=True)]
        at = lax.select_n(source, found, at, chosen << record.level)
        count = jnp.where(source == _STACK, count, count + 1)
        kept, places = store(kept, count - 1, hand), *store([places], count - 1, [at])
        left = end - at
        todo = decide(left, slots - count, slots, chosen, last, record.level)
        start = [todo.taped, at, count], (hand, kept, places)
        (_, at, count), (hand, kept, places) = count_while(_remain, tape, *start)
        hand, at = _times(todo.plain, step, hand), at + todo.plain
        count = jnp.where(left == 1, count - 1, count)
        starts = at == end - 1
        start = [starts, end, count], (hand, slopes(hand), pulled)
        reverse = partial(_reverse, slopes, pull, kept, places)
        (_, end, count), (hand, _, pulled) = count_while(_remain, reverse, *start)
        source = jnp.where(starts, _STACK, jnp.where(todo.chooses, _RECORD, _HAND))
        again += todo.taped + todo.plain
        return [end, count, source, todo.chosen, at, again], (hand, kept, places, pulled)

    def tape(counters: Any, state: Any) -> Any:
        (left, at, count), (hand, kept, places) = counters, state
        hand, at = step(hand), at + 1
        kept, places = store(kept, count, hand), *store([places], count, [at])
        return [left - 1, at, count + 1], (hand, kept, places)

    # Where all states were kept, all are worth it.
    dense = record.level == 0
    count, chosen = jnp.where(dense, last + 1, 0), jnp.where(dense, last, 0)
    start = [left, count, jnp.where(dense, _STACK, _RECORD), chosen, 0, 0]
    places = jnp.arange(slots, dtype=jnp.int32)
    state = (init, record.slots, places, pulled)
    counters, done = count_while(_remain, replay, start, state)
    return *done[-1], counters[-1]


def _reverse(
    slopes: Callable[..., State],
    pull: Callable[..., tuple[State, State]],
    kept: State,
    places: Any,
    counters: Any,
    state: Any,
) -> Any:
    """Pull cotangents back through a step; take the state before it, if it was kept.

    The slopes there are computed before the next step needs them: as part of the state they are
    computed once, where XLA would otherwise do so for each cotangent that they are a factor of.
    """
    (_, end, count), (hand, slope, pulled) = counters, state
    pulled = pull(hand, slope, *pulled)
    top = jnp.maximum(count - 1, 0)
    (at,), hand = load([places], top), load(kept, top)
    follows = (count > 0) & (at == end - 2)
    return [follows, end - 1, count - follows.astype(jnp.int32)], (hand, slopes(hand), pulled)


def _remain(left: Any, *_: Any) -> Any:
    return left > 0
