"""Loops that count.

XLA makes a kernel of every number that a loop changes, and each takes its time to compile and to
start. So numbers travel as one vector here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

__all__ = ["count_while"]

Counters = Sequence[Any]


def count_while(
    goes: Callable[..., Any],
    step: Callable[[Counters, Any], tuple[Counters, Any]],
    counters: Counters,
    rest: Any,
) -> tuple[Counters, Any]:
    """Repeat a step while its counters say so.

    Args:
        goes: From the counters to whether there is another step.
        step: From the counters and the rest of the state to the next of both.
        counters: Integers to start from.
        rest: Any arrays.
    """

    def body(state: Any) -> Any:
        vector, inner = state
        counters, inner = step(_parts(vector), inner)
        return _joined(counters), inner

    vector, rest = lax.while_loop(lambda s: goes(*_parts(s[0])), body, (_joined(counters), rest))
    return _parts(vector), rest


def _joined(counters: Counters) -> Any:
    return lax.concatenate(
        [lax.reshape(lax.convert_element_type(x, jnp.int32), (1,)) for x in counters], 0
    )


def _parts(vector: Any) -> list[Any]:
    return [lax.index_in_dim(vector, i, keepdims=False) for i in range(vector.shape[0])]
