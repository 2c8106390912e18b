"""Loops of a length that is known when they run, beside the same in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet.control_flow import fori_loop, while_loop

__all__ = [
    "SCALE",
    "STATE",
    "STATE_BYTES",
    "counted",
    "looped",
    "scanned",
    "selected",
    "step",
    "unrolled",
]

STATE = np.array([0.3, 0.5, -0.2])
SCALE = np.array([1.1, 0.7, 1.3])
STATE_BYTES = 3 * 8 + 4
"""Those of the state of `looped` in float64, with its count."""

Function = Callable[..., Any]


def step(scale: Any, x: Any) -> Any:
    return jnp.sin(scale * x) + 0.1 * x * jnp.roll(x, 1)


def looped(slots: int) -> Function:
    """`steps` times the step, with room for so many states."""

    def f(scale: Any, x: Any, steps: Any) -> Any:
        def body(state: Any) -> Any:
            count, x = state
            return count + 1, step(scale, x)

        start = (jnp.zeros((), jnp.int32), x)
        budget = slots * STATE_BYTES
        return while_loop(lambda state: state[0] < steps, body, start, budget_bytes=budget)[1]

    return f


def counted(slots: int) -> Function:
    """The same by counting."""

    def f(scale: Any, x: Any, steps: Any) -> Any:
        budget = slots * STATE_BYTES
        return fori_loop(0, steps, lambda _, x: step(scale, x), x, budget_bytes=budget)

    return f


def unrolled(scale: Any, x: Any, steps: int) -> Any:
    """The same in Python."""
    for _ in range(steps):
        x = step(scale, x)
    return x


def scanned(scale: Any, x: Any, steps: int) -> Any:
    """The same by JAX, which has to know how often."""
    return lax.scan(lambda c, _: (step(scale, c), None), x, length=steps)[0]


def selected(scale: Any, x: Any, steps: Any) -> Any:
    """The same for a traced number of at most 12 steps, all of which are taken."""
    states = [x]
    for _ in range(12):
        states.append(step(scale, states[-1]))
    return jnp.stack(states)[steps]
