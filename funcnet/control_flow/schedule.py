"""Which states of a loop to keep: binomial checkpointing for a number of steps known at run time.

To reverse a loop one needs its states in the opposite order. Keeping all of them takes memory,
keeping one takes time that grows with the square of the number of steps. In between, `s` kept
states reverse ``(s + r choose s)`` steps when no step is run more than `r` times, and no schedule
does better (Griewank 1992, https://doi.org/10.1080/10556789208805505; Griewank & Walther 2000,
algorithm 799, https://doi.org/10.1145/347837.347846). Each schedule splits the steps that are left
at the share ``r / (s + r)``.

A loop of unknown length keeps evenly spaced states on its way; whenever the memory is full, it
drops every other one. On the way back those are taken that lie where the best schedule would have
put them, and the others make room. All that depends on the number of steps is computed while the
loop runs, in integers.

The last states before the end are replayed together, onto a *tape*: a few slots are kept free for
that, since a loop of some length costs less per step than many of one.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Decision", "decide", "replays", "revolve", "split", "tape_of"]

_LONGEST_TAPE = 32
_TAPE_SHARE = 12
"""One slot in so many is kept for the tape: more shorten the overhead of replays, fewer the
replays."""

_FEW_SLOTS, _REPEATS, _MORE_REPEATS = 8, 64, 512
"""How many repeats are thought of: 64 with eight slots are enough for more steps than can be
counted, with fewer slots more are of use."""


def tape_of(slots: int) -> int:
    """How many slots are kept free for replaying the last steps together."""
    return min(slots // _TAPE_SHARE, _LONGEST_TAPE)


class Decision(NamedTuple):
    """What to do from a kept state: replay so many steps onto the tape, then so many without."""

    taped: Any
    plain: Any


def decide(left: Any, free: Any, slots: int, xp: Any = np) -> Decision:
    """The next replay.

    Args:
        left: The number of steps from the last kept state to the end, at least 1.
        free: The number of slots that are free.
        slots: The number of all slots.
        xp: NumPy, or ``jax.numpy`` for numbers that are traced.

    Returns:
        How many steps to replay and keep, and how many to replay after these. The state that comes
        out is the last one, ready to be reversed, or is to be kept in its turn.

    Example:
        >>> decide(5, 3, 8)  # all states fit: three are kept, and one is left in hand
        Decision(taped=3, plain=1)
        >>> decide(1000, 0, 1)  # no room: all steps once more for the very last one
        Decision(taped=0, plain=999)
        >>> decide(100, 4, 6)  # the best place for the next state that is kept
        Decision(taped=0, plain=44)
    """
    spare = free - tape_of(slots)
    at = xp.where(spare > 0, split(left, xp.maximum(spare, 1) + 1, slots, xp), left - 1 - free)
    at = xp.where(free > 0, xp.minimum(at, left - 1), left - 1)
    fits = left - 2 <= free
    taped = xp.where(fits, xp.maximum(left - 2, 0), 0)
    plain = xp.where(fits, xp.minimum(left - 1, 1), at)
    if xp is np:
        return Decision(int(taped), int(plain))
    return Decision(taped, plain)


def split(left: Any, states: Any, slots: int, xp: Any = np) -> Any:
    """Where to keep the next state, in steps after the last.

    With `r` the smallest number for which ``(s + r choose s)`` tapes cover the steps, after a share
    ``r / (s + r)`` of them: what comes before is then reversed with ``r - 1`` repeats at most, for
    it was just run once more.

    Args:
        left: The number of steps to the end.
        states: How many states may be kept on them, the one at the beginning included.
        slots: The number of all slots.
        xp: NumPy or ``jax.numpy``.
    """
    tape = tape_of(slots) + 1
    tapes = (left + tape - 1) // tape
    r = _repeats(tapes, states, slots, xp)
    whole, rest = tapes // (states + r), tapes % (states + r)
    return xp.maximum(whole * r + rest * r // (states + r), 1) * tape


def _repeats(length: Any, states: Any, slots: int, xp: Any) -> Any:
    """The smallest r, up to a bound, for which (s + r choose s) is at least a length.

    By logarithms: a choice that is off by a rounding error is as good.
    """
    most = _MORE_REPEATS if slots < _FEW_SLOTS else _REPEATS
    table = xp.asarray(_log_factorials(slots + 1 + most))
    r = np.arange(most, dtype=np.int32)
    reached = table[states + r] - table[states] - _log_factorials(most)
    return xp.sum(reached < xp.log(xp.asarray(length, np.float32)) - 1e-3, dtype=np.int32)


def _log_factorials(count: int) -> np.ndarray:
    return np.asarray([math.lgamma(i + 1) for i in range(count)], np.float32)


def revolve(steps: int, slots: int) -> int:
    """The fewest steps that must be run to reverse a loop whose length is known beforehand.

    Args:
        steps: The number of steps.
        slots: How many states may be kept at a time, the first one included.

    Returns:
        How often the body runs, the first way through included, the reversals themselves not:
        ``r n - (s + r choose r - 1)`` (Griewank & Walther 2000, eq. 6, with the initial state in
        one of the slots).

    Example:
        >>> revolve(10, 10), revolve(10, 3), revolve(10, 1)
        (9, 15, 45)
    """
    r = 0
    while math.comb(slots + r, slots) < steps:
        r += 1
    return r * steps - math.comb(slots + r, r - 1) if r else 0


def replays(steps: int, slots: int) -> int:
    """How many steps the schedule of this module runs, the first way through included.

    Args:
        steps: The number of steps, which the schedule does not know beforehand.
        slots: How many states may be kept at a time, the first one included.

    Example:
        >>> replays(1000, 100) / revolve(1000, 100) < 1.3
        True
    """
    total, spacing = steps, 1
    room = slots - slots % 2
    while steps > room * spacing:
        spacing *= 2
    kept = chosen(steps, spacing, slots)
    end, hand = steps, None
    while end:
        if hand is not None:
            kept.append(hand)
        taped, plain = decide(end - kept[-1], slots - len(kept), slots)
        total += taped + plain
        if not taped and not plain:
            hand = kept.pop()
        else:
            first = kept[-1] + 1
            kept += range(first, first + taped)
            hand = kept[-1] + plain
        while hand is not None and hand == end - 1:
            end -= 1
            hand = kept.pop() if kept and kept[-1] == end - 1 else None
    return total


def chosen(steps: int, spacing: int, slots: int) -> list[int]:
    """Which of evenly spaced states are worth their room, by position."""
    last = (steps + spacing - 1) // spacing - 1
    if spacing == 1:
        return list(range(last + 1))
    kept = [0] if steps else []
    while steps and kept[-1] < last * spacing and (spare := slots - len(kept) - tape_of(slots)) > 0:
        at = split(steps - kept[-1], spare + 1, slots)
        kept.append(
            min(kept[-1] + max(1, (at + spacing // 2) // spacing) * spacing, last * spacing)
        )
    return [int(k) for k in kept]
