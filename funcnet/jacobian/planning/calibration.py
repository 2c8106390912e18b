"""Measuring the constants by which ways to a Jacobian are priced.

Four small programs tell them apart: a pass over an array that fits in no cache, a product of
matrices that fit in one, a row of products so small that starting them is all they take, and
entries written to places all over an array.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.clock import interleaved, spread
from funcnet.errors import ArgumentError
from funcnet.jacobian.planning.pricing import Machine

__all__ = ["calibrate"]

_PASS = 1 << 23
_MATRIX = 512
_TINY = 4
_CHAIN = 64
_SPREAD = 1 << 16
"""Entries of the long array, rows of the matrix and of the tiny ones, products in the row, and
entries that are written one by one."""

_ROUNDS = 200
"""The most rounds that are taken."""


def calibrate(seconds: float = 3.0, on_round: Callable[[int, int], None] | None = None) -> Machine:
    """Measure how fast the default back end moves bytes, multiplies, and starts a step.

    Args:
        seconds: About how long to measure.
        on_round: Is told how many rounds of how many are done.

    Returns:
        The constants of this machine, as it was while this ran.

    Raises:
        ArgumentError: If `seconds` is not positive.

    Example:
        >>> found = calibrate(seconds=0.1)
        >>> found.bytes_per_second > 0, found.step > 0
        (True, True)
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise ArgumentError(f"calibrate: seconds={seconds}; take a positive number.")
    long, matrix, tiny = jnp.ones(_PASS), jnp.ones((_MATRIX, _MATRIX)), jnp.ones((_TINY, _TINY))
    programs = [
        (jax.jit(lambda x: 0.5 * x + 1.0), long),
        (jax.jit(lambda x: x @ x), matrix),
        (jax.jit(lambda x: _row(x, _CHAIN)), tiny),
        (jax.jit(lambda x: _row(x, 0)), tiny),
        (jax.jit(_spread), jnp.ones(_SPREAD)),
    ]
    calls = [partial(f, x) for f, x in programs]
    samples = interleaved(calls, _ROUNDS, seconds, on_round)
    moving, multiplying, chain, nothing, writing = (spread(taken).median for taken in samples)
    return Machine(
        bytes_per_second=2 * long.nbytes / moving,
        flops_per_second=2 * _MATRIX**3 / multiplying,
        step=max(chain - nothing, 1e-9) / _CHAIN,
        scatter=writing / _SPREAD,
    )


def _spread(x: Any) -> Any:
    return jnp.zeros(4 * _SPREAD).at[4 * jnp.arange(_SPREAD)].set(x, unique_indices=True)


def _row(x: Any, count: int) -> Any:
    for _ in range(count):
        x = x @ x
    return x * 0.5
