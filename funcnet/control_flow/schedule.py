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
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

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
    """What to do from a kept state: replay so many steps onto the tape, then so many without.

    Or, as long as states of the record are being chosen, which one is next.
    """

    taped: Any
    plain: Any
    chooses: Any
    chosen: Any


def decide(
    left: Any, free: Any, slots: int, chosen: Any = 0, last: Any = 0, level: Any = 0
) -> Decision:
    """What to do next.

    Args:
        left: The number of steps from the last kept state to the end, at least 1.
        free: The number of slots that are free.
        slots: The number of all slots.
        chosen: Which state of the record is the last that was chosen.
        last: Which one is the last that there is.
        level: They lie ``2^level`` steps apart.

    Returns:
        How many steps to replay and keep, and how many to replay after these. The state that comes
        out is the last one, ready to be reversed, or is to be kept in its turn.

    Example:
        >>> decide(5, 3, 8)[:2]  # all states fit: three are kept, and one is left in hand
        (3, 1)
        >>> decide(1000, 0, 1)[:2]  # no room: all steps once more for the very last one
        (0, 999)
        >>> decide(100, 4, 6)[:2]  # the best place for the next state that is kept
        (0, 44)
        >>> decide(100, 4, 6, 0, 9, 3)[2:]  # or near it, where every eighth was kept: that at 48
        (True, 6)
    """
    xp = jnp if isinstance(left, jax.Array) else np
    spare = free - tape_of(slots)
    best = split(left, xp.maximum(spare, 1) + 1, slots)
    chooses = (chosen < last) & (spare > 0)
    near = xp.minimum(chosen + xp.maximum((best + ((1 << level) >> 1)) >> level, 1), last)
    at = xp.where(spare > 0, best, left - 1 - free)
    at = xp.where(free > 0, xp.minimum(at, left - 1), left - 1)
    fits = left - 2 <= free
    taped = xp.where(fits, xp.maximum(left - 2, 0), 0)
    plain = xp.where(fits, xp.minimum(left - 1, 1), at)
    taped, plain = xp.where(chooses, 0, taped), xp.where(chooses, 0, plain)
    chosen = xp.where(chooses, near, last)
    if xp is np:
        return Decision(int(taped), int(plain), bool(chooses), int(chosen))
    return Decision(taped, plain, chooses, chosen)


def split(left: Any, states: Any, slots: int) -> Any:
    """Where to keep the next state, in steps after the last.

    With `r` the smallest number for which ``(s + r choose s)`` tapes cover the steps, after a share
    ``r / (s + r)`` of them: what comes before is then reversed with ``r - 1`` repeats at most, for
    it was just run once more.

    Args:
        left: The number of steps to the end.
        states: How many states may be kept on them, the one at the beginning included.
        slots: The number of all slots.
    """
    xp = jnp if isinstance(left, jax.Array) else np
    tape = tape_of(slots) + 1
    states = xp.asarray(states, xp.int32)
    tapes = _over(left + tape - 1, tape)
    most = _MORE_REPEATS if slots < _FEW_SLOTS else _REPEATS

    def reaches(state: Any) -> Any:
        r, ways, _ = state
        return (ways < xp.float32(tapes)) & (r < most)

    def further(state: Any) -> Any:
        r, ways, _ = state
        r = r + 1
        ways = ways * xp.float32(states + r) / xp.float32(r)
        whole = _over(tapes, states + r)
        rest = tapes - whole * (states + r)
        return r, ways, xp.maximum(whole * r + _over(rest * r, states + r), 1) * tape

    return _while(reaches, further, (xp.int32(0), xp.float32(1), xp.int32(tape)), xp)[2]


def _over(a: Any, b: Any) -> Any:
    """The quotient of numbers that are not negative, without the rest."""
    return lax.div(a, jnp.asarray(b, a.dtype)) if isinstance(a, jax.Array) else a // b


def _while(goes: Callable[[Any], Any], step: Callable[[Any], Any], state: Any, xp: Any) -> Any:
    """A loop whose numbers fit into registers: XLA makes one function of it."""
    if xp is not np:
        return lax.while_loop(goes, step, state)
    while goes(state):
        state = step(state)
    return state


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
    total, level = steps, 0
    while steps > slots // 2 * 2 << level:
        level += 1
    last = (steps - 1) >> level
    kept, chosen = ([0], 0) if level else (list(range(steps)), last)
    end = steps
    while end:
        left = end - kept[-1]
        taped, plain, chooses, chosen = decide(left, slots - len(kept), slots, chosen, last, level)
        total += taped + plain
        first = kept[-1] + 1
        kept += range(first, first + taped)
        hand = chosen << level if chooses else kept[-1] + plain
        if left == 1:
            kept.pop()
        if hand < end - 1:
            kept.append(hand)
            continue
        end -= 1
        while kept and kept[-1] == end - 1:
            end -= 1
            kept.pop()
    return total
