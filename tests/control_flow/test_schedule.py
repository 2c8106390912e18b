"""The schedule of checkpoints against the best that there is, and against itself in a loop."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from funcnet.control_flow import replays, revolve
from funcnet.control_flow.schedule import decide, split, tape_of


def fewest(steps: int, slots: int, known: dict[tuple[int, int], int]) -> int:
    """The fewest steps that reverse a loop, by trying all places for the next state."""
    if steps <= 1:
        return 0
    if slots == 1:
        return steps * (steps - 1) // 2
    if (steps, slots) not in known:
        known[steps, slots] = min(
            at + fewest(steps - at, slots - 1, known) + fewest(at, slots, known)
            for at in range(1, steps)
        )
    return known[steps, slots]


def test_revolve_is_the_fewest() -> None:
    known: dict[tuple[int, int], int] = {}
    for slots in range(1, 8):
        for steps in range(1, 40):
            assert revolve(steps, slots) == fewest(steps, slots, known), (steps, slots)


@pytest.mark.parametrize("slots", [5, 10, 30, 100, 450])
def test_near_the_best_for_unknown_lengths(slots: int) -> None:
    for steps in (1000, 4000):
        assert replays(steps, slots) <= 1.3 * revolve(steps, slots), steps


@pytest.mark.long
@pytest.mark.parametrize("slots", [5, 10, 30, 100, 450])
def test_near_the_best_for_long_loops(slots: int) -> None:
    assert replays(100_000, slots) <= 1.3 * revolve(100_000, slots)


@pytest.mark.parametrize("slots", [2, 3, 4, 12, 13, 24, 36])
def test_ends_for_every_length(slots: int) -> None:
    for steps in range(70):
        assert replays(steps, slots) >= steps


@pytest.mark.parametrize("slots", [2, 5, 12, 100, 450])
def test_decides_the_same_while_it_runs(slots: int) -> None:
    """In NumPy, where costs are predicted, as in the loop."""
    left, free = np.meshgrid([1, 2, 3, 7, 40, 1000, 123_456], np.arange(0, slots, 7))
    pairs = np.stack([left.ravel(), free.ravel()], 1).astype(np.int32)
    traced = jax.jit(jax.vmap(lambda pair: decide(pair[0], pair[1], slots)))(pairs)
    for (n, s), *found in zip(pairs, *traced, strict=True):
        assert found == list(decide(int(n), int(s), slots)), (n, s)


def test_splits_inside() -> None:
    for slots in (2, 12, 48, 1000):
        for left in (2, 10, 1000, 10**6, 2**31 - 2 * slots):
            for states in (2, slots // 2 + 1, slots):
                at = int(split(left, states, slots))
                assert 1 <= at <= left + tape_of(slots), (slots, left, states)
