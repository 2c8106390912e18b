"""The way back through a loop whose step can be undone: no state is kept, none computed twice.

An inverse is taken at its word as long as it proves true: on the way forward it has to lead from
every state to the one before, and on the way back to the states that were kept. What it led to is
replaced by these, so that errors do not add up for longer than from one to the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.control_flow.checkpoints import Record, load
from funcnet.control_flow.counters import count_while

__all__ = ["Inverse", "undone"]

State = list[Any]


@dataclass(frozen=True)
class Inverse:
    """A step's inverse, and how far off it may be.

    Args:
        undo: From a state to the one before.
        tolerance: The largest error of a number, relative to the largest of its array or to 1; by
            default the square root of the dtype's precision.
    """

    undo: Callable[[State], State]
    tolerance: float | None

    def leads_back(self, before: State, after: State) -> Any:
        """Whether it leads from one state to the other."""
        return self.near(self.undo(after), before)

    def near(self, found: State, right: State) -> Any:
        """Whether two states are the same within the tolerance."""
        good = [self._near(a, b) for a, b in zip(found, right, strict=True)]
        return jnp.all(jnp.stack([jnp.asarray(True), *good]))

    def _near(self, found: Any, right: Any) -> Any:
        if jnp.issubdtype(right.dtype, jax.dtypes.prng_key):
            found, right = jax.random.key_data(found), jax.random.key_data(right)
        if not jnp.issubdtype(right.dtype, jnp.inexact):
            return jnp.all(found == right)
        allowed = self.tolerance
        if allowed is None:
            allowed = math.sqrt(jnp.finfo(right.dtype).eps)
        largest = jnp.max(jnp.abs(right), initial=1.0)
        return jnp.all(jnp.abs(found - right) <= allowed * largest)


def undone(
    inverse: Inverse,
    slopes: Callable[[State], State],
    pull: Callable[..., tuple[State, State]],
    last: State,
    record: Record,
    pulled: tuple[State, State],
) -> tuple[Any, tuple[State, State]]:
    """Go back through a loop by the inverse of its step.

    Args:
        inverse: The inverse.
        slopes: What the pullback of a step needs besides the state before it.
        pull: A step's pullback, as of :func:`~funcnet.control_flow.checkpoints.swept`.
        last: The last state.
        record: What was kept: the states that the inverse has to lead to.
        pulled: The cotangents of the last state, and zeros for the constants.

    Returns:
        Whether the inverse proved true, and the cotangents of the first state and of the
        constants, which are worthless if not.
    """

    def undo(counters: Sequence[Any], state: Any) -> Any:
        (at,), (x, slope, pulled) = counters, state
        pulled = pull(x, slope, *pulled)
        x = inverse.undo(x)
        return [at - 1], (x, slopes(x), pulled)

    def piece(counters: Sequence[Any], state: Any) -> Any:
        """Back to a state that was kept; the step from the first of these is a piece of its own."""
        at, i, _ = counters
        end = jnp.where(i < 0, -1, i << record.level)
        (at,), (x, _, pulled) = count_while(lambda at: at > end, undo, [at], state)
        kept = load(record.slots, jnp.maximum(i, 0))
        good = (i < 0) | inverse.near(x, kept)
        return [at, i - 1, good], (kept, slopes(kept), pulled)

    at = record.steps - 1
    x = inverse.undo(last)
    # Where all states were kept, nothing has to be undone.
    good = (record.level > 0) & (record.exact > 0)
    (_, _, good), (_, _, pulled) = count_while(
        lambda _, i, good: (i >= -1) & (good > 0),
        piece,
        [at, at >> record.level, good],
        (x, slopes(x), pulled),
    )
    return good > 0, pulled
