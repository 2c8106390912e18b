"""Timing several functions so that their ratios can be believed.

A machine's speed drifts, and the first call of anything is slow. So all functions are warmed up and
then take turns, round after round; each call is waited for. What counts is the median over the
rounds with its quartiles, and for a ratio the median of the ratios within the rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

__all__ = ["Spread", "interleaved", "ratio", "spread"]

_SAMPLE = 1e-3
"""A sample takes at least so many seconds, in several calls where one is shorter."""
_MOST_CALLS = 1000
_FEWEST_ROUNDS = 3


class Spread(NamedTuple):
    """What half of the samples lie between.

    Attributes:
        median: The median.
        low: The lower quartile.
        high: The upper quartile.
    """

    median: float
    low: float
    high: float


def spread(samples: Sequence[float]) -> Spread:
    """The median of some samples and their quartiles.

    Args:
        samples: The samples; at least one.

    Returns:
        The :class:`Spread`.

    Example:
        >>> spread([3.0, 1.0, 2.0, 5.0, 4.0])
        Spread(median=3.0, low=2.0, high=4.0)
    """
    if len(samples) == 1:
        return Spread(samples[0], samples[0], samples[0])
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Spread(median, low, high)


def ratio(samples: Sequence[float], reference: Sequence[float]) -> Spread:
    """How many times longer something took than a reference in the same rounds.

    Args:
        samples: Its time in each round.
        reference: That of the reference.

    Returns:
        The :class:`Spread` of the ratios.

    Example:
        >>> ratio([2.0, 6.0, 4.0], [1.0, 3.0, 2.0]).median
        2.0
    """
    return spread([ours / theirs for ours, theirs in zip(samples, reference, strict=True)])


def interleaved(
    functions: Sequence[Callable[[], Any]],
    rounds: int,
    seconds: float,
    on_round: Callable[[int, int], None] | None = None,
) -> list[list[float]]:
    """Time functions that take turns.

    Args:
        functions: What to time.
        rounds: The most rounds to take.
        seconds: About how long all of it may take; there are at least three rounds.
        on_round: Is told how many rounds of how many are done.

    Returns:
        For each function its time per call in each round.

    Example:
        >>> [samples] = interleaved([lambda: None], rounds=5, seconds=1.0)
        >>> len(samples)
        5
    """
    for f in functions:
        jax.block_until_ready(f())
    once = [_time(f, 1) for f in functions]
    calls = [min(_MOST_CALLS, 1 + int(_SAMPLE / max(t, 1e-9))) for t in once]
    one_round = sum(n * t for n, t in zip(calls, once, strict=True))
    rounds = max(_FEWEST_ROUNDS, min(rounds, int(seconds / max(one_round, 1e-9))))
    samples: list[list[float]] = [[] for _ in functions]
    for done in range(rounds):
        # Back and forth, so that none always comes after the same one.
        order = range(len(functions))
        for i in order if done % 2 else reversed(order):
            samples[i].append(_time(functions[i], calls[i]))
        if on_round is not None:
            on_round(done + 1, rounds)
    return samples


def _time(f: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(f())
    return (time.perf_counter() - start) / calls
