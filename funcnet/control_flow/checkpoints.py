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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from funcnet.control_flow.schedule import decide, split, tape_of

__all__ = ["Record", "recorded", "swept"]

State = list[Any]


class Record(NamedTuple):
    """What the way forward kept: every so many steps a state, that of the beginning first."""

    steps: Any
    spacing: Any
    slots: list[Any]

    @property
    def flat(self) -> list[Any]:
        """As a list."""
        return [self.steps, self.spacing, *self.slots]

    @classmethod
    def of(cls, flat: Sequence[Any]) -> Record:
        """From a list."""
        return cls(flat[0], flat[1], list(flat[2:]))

    @staticmethod
    def count(leaves: int) -> int:
        """How many arrays it is, for a state of so many leaves."""
        return leaves + 2

    @staticmethod
    def avals(carry: Sequence[Any], slots: int) -> list[Any]:
        """What these arrays are like."""
        number = jax.ShapeDtypeStruct((), jnp.int32)
        kept = [jax.ShapeDtypeStruct((slots, *a.shape), a.dtype) for a in carry]
        return [number, number, *kept]

    @staticmethod
    def axes(of_slots: Sequence[int | None]) -> list[int | None]:
        """Along which axes they differ between examples, for those of the slots."""
        return [None, None, *of_slots]


def _empty(carry: Sequence[Any], slots: int) -> State:
    return [jnp.zeros((slots, *x.shape), x.dtype) for x in carry]


def _load(slots: State, place: Any) -> State:
    return [lax.dynamic_index_in_dim(s, place, 0, keepdims=False) for s in slots]


def _store(slots: State, place: Any, x: State) -> State:
    return [
        lax.dynamic_update_index_in_dim(s, leaf, place, 0) for s, leaf in zip(slots, x, strict=True)
    ]


def _int(x: int) -> Any:
    return jnp.asarray(x, jnp.int32)


def _times(count: Any, step: Callable[[Any], Any], x: Any) -> Any:
    """Take a step so many times."""

    def body(state: Any) -> Any:
        i, y = state
        return i + 1, step(y)

    return lax.while_loop(lambda state: state[0] < count, body, (_int(0), x))[1]


def recorded(
    goes: Callable[[State], Any], step: Callable[[State], State], init: State, slots: int
) -> tuple[State, Record]:
    """Run a loop and keep states of it.

    Args:
        goes: Whether there is a next step.
        step: The step.
        init: The state to start from.
        slots: How many states may be kept.

    Returns:
        The last state, and the record.
    """
    room = slots - slots % 2  # so that half of the states lie at multiples of twice the spacing

    def stretch(state: Any) -> Any:
        """Keep this state, and go on to the next that may be kept."""
        going, x, n, spacing, kept = state
        full = n == room * spacing
        kept = _times(jnp.where(full, room // 2, 0), _thin, (_int(0), kept))[1]
        spacing = jnp.where(full, 2 * spacing, spacing)
        kept = _store(kept, n // spacing, x)
        end = n + spacing

        def body(inner: Any) -> Any:
            _, m, y = inner
            y = step(y)
            return goes(y), m + 1, y

        going, n, x = lax.while_loop(lambda s: s[0] & (s[1] < end), body, (going, n, x))
        return going, x, n, spacing, kept

    start = (goes(init), init, _int(0), _int(1), _empty(init, slots))
    _, x, n, spacing, kept = lax.while_loop(lambda s: s[0], stretch, start)
    return x, Record(n, spacing, kept)


def _thin(state: Any) -> Any:
    i, kept = state
    return i + 1, _store(kept, i, _load(kept, 2 * i))


def swept(
    step: Callable[[State], State],
    pull: Callable[[State, State, State], tuple[State, State]],
    init: State,
    record: Record,
    cotangents: State,
    sums: State,
    slots: int,
) -> tuple[State, State, Any]:
    """Go back through a loop.

    Args:
        step: The step.
        pull: A step's pullback: the state before it, the cotangents of the one after it, and what
            was summed up for the constants, to the cotangents of the state before it and the sums.
        init: The state that it started from, of which only the shapes matter.
        record: What was kept.
        cotangents: Those of the last state.
        sums: Zeros for the constants.
        slots: How many states there is room for.

    Returns:
        The cotangents of the first state, the sums, and how many steps were run again.
    """
    kept, count = _stacked(record, slots)

    def replay(state: Any) -> Any:
        end, count, in_hand, hand, kept, cts, sums, again = state
        # A state in hand is kept; else the last one that was kept is taken in hand.
        last = _load(kept, jnp.maximum(count - 1, 0))
        hand = [lax.select(in_hand, a, b) for a, b in zip(hand, last, strict=True)]
        top = jnp.where(in_hand, count, count - 1)
        kept, count = _store(kept, top, hand), top + 1
        taped, plain = decide(end - hand[0], slots - count, slots, jnp)
        again += taped + plain
        _, hand, count, kept = lax.while_loop(_remain, tape, (taped, hand, count, kept))
        _, hand = lax.while_loop(_remain, advance, (plain, hand))
        count = count - jnp.where(taped + plain == 0, 1, 0)
        in_hand = hand[0] < end - 1
        start = (~in_hand, end, count, hand, cts, sums, kept)
        _, end, count, hand, cts, sums, kept = lax.while_loop(lambda s: s[0], reverse, start)
        return end, count, in_hand, hand, kept, cts, sums, again

    def further(hand: State) -> State:
        return [hand[0] + 1, *step(hand[1:])]

    def tape(state: Any) -> Any:
        left, hand, count, kept = state
        hand = further(hand)
        return left - 1, hand, count + 1, _store(kept, count, hand)

    def advance(state: Any) -> Any:
        left, hand = state
        return left - 1, further(hand)

    def reverse(state: Any) -> Any:
        _, end, count, hand, cts, sums, kept = state
        cts, sums = pull(hand[1:], cts, sums)
        hand = _load(kept, jnp.maximum(count - 1, 0))
        follows = (count > 0) & (hand[0] == end - 2)
        return follows, end - 1, count - jnp.where(follows, 1, 0), hand, cts, sums, kept

    hand = [_int(0), *init]
    start = (record.steps, count, jnp.asarray(False), hand, kept, cotangents, sums, _int(0))
    done = lax.while_loop(lambda s: s[0] > 0, replay, start)
    return done[-3], done[-2], done[-1]


def _remain(state: Any) -> Any:
    return state[0] > 0


def _stacked(record: Record, slots: int) -> tuple[State, Any]:
    """The stack to begin with: positions and states, of those that are worth their room."""
    last = (record.steps + record.spacing - 1) // record.spacing - 1
    spare = slots - tape_of(slots)

    def choose(state: Any) -> Any:
        i, count, kept = state
        at = split(record.steps - i * record.spacing, spare - count + 1, slots, jnp)
        near = jnp.maximum((at + record.spacing // 2) // record.spacing, 1)
        i = jnp.minimum(i + near, last)
        return i, count + 1, _store(kept, count, _load(kept, i))

    # Where all states were kept, all are worth it.
    dense = record.spacing == 1
    places = record.spacing * jnp.arange(slots, dtype=jnp.int32)
    start = (jnp.where(dense, last, 0), jnp.where(dense, last + 1, 1), [places, *record.slots])
    done = lax.while_loop(lambda s: (s[0] < last) & (s[1] < spare), choose, start)
    return done[2], done[1]
