"""Paired timing: two functions in turn in one process, and the ratio of their times.

A machine's speed drifts; a ratio of two times taken one after the other drifts much less. Each
round times both, in alternating order; the result is the median of the rounds' ratios, with a
bootstrap confidence interval.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.progress import Progress


class Ratio(NamedTuple):
    """The time of one function over that of another."""

    median: float
    low: float
    high: float
    seconds: float
    reference_seconds: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


def paired(
    ours: Callable[[], Any], reference: Callable[[], Any], rounds: int = 31, seconds: float = 0.02
) -> Ratio:
    """The ratio ours / reference over `rounds` rounds of about `seconds` per function.

    The interval holds the median ratio with 95 % confidence, by 2000 bootstrap samples.
    """
    calls = [_calls_for(f, seconds) for f in (ours, reference)]
    times = np.empty((rounds, 2))
    for i in range(rounds):
        for j in (0, 1) if i % 2 else (1, 0):
            times[i, j] = _time((ours, reference)[j], calls[j])
    ratios = times[:, 0] / times[:, 1]
    picks = np.random.default_rng(0).integers(0, rounds, (2000, rounds))
    low, high = np.quantile(np.median(ratios[picks], axis=1), [0.025, 0.975])
    return Ratio(float(np.median(ratios)), float(low), float(high), *np.median(times, axis=0))


def _time(f: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        out = f()
    jax.block_until_ready(out)
    return (time.perf_counter() - start) / calls


def _calls_for(f: Callable[[], Any], seconds: float) -> int:
    jax.block_until_ready(f())
    _time(f, 3)
    return max(1, int(seconds / max(_time(f, 5), 1e-7)))


def progress() -> Progress:
    """A progress bar on standard error, so that tables can be redirected."""
    from rich.console import Console

    return Progress(console=Console(stderr=True), transient=True)
