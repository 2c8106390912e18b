"""A loop that keeps little for the backward pass.

``y = f(p[n-1], ... f(p[1], f(p[0], x)))`` may be cut into turns anywhere. Reverse mode through
``lax.scan`` keeps what each turn starts from, and whatever else its derivatives need. A layer that
ends with an activation starts from one, and keeps besides what that was computed from: two arrays.
Here a turn starts with the activation of the layer before, so that it starts from what the last
product of matrices made, and all that is cheap is computed again on the way back: one array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxpr_as_fun

from funcnet.jaxprs.operations import is_cheap
from funcnet.jaxprs.split import split_tail
from funcnet.rules.primitive import zeros
from funcnet.typing import Array, PyTree

__all__ = ["scan_narrowly"]


def scan_narrowly(
    turn: Callable[..., tuple[tuple[Array, ...], PyTree]],
    inputs: tuple[Array, ...],
    own: PyTree,
    length: int,
) -> tuple[tuple[Array, ...], PyTree]:
    """Run ``carry, out = turn(own[i], *carry)`` for every i along the leading axes of `own`.

    Returns:
        The last carry, and the outputs of all turns, stacked.
    """
    if length == 0:
        return jax.lax.scan(lambda carry, one: turn(one, *carry), inputs, own, length)
    first = jax.tree.map(lambda leaf: leaf[0], own)
    jaxpr, (_, out) = jax.make_jaxpr(turn, return_shape=True)(first, *inputs)
    leaves = jax.tree.leaves(own)
    others, structure = jax.tree.flatten(out)
    head, tail = split_tail(
        jaxpr,
        [False] * len(leaves) + [True] * len(inputs),
        [True] * len(inputs) + [False] * len(others),
    )
    width = len(tail.in_avals)

    def finish(between: Sequence[Array]) -> list[Array]:
        return list(jaxpr_as_fun(tail)(*between))

    def rotated(between: Sequence[Array], now: tuple[Array, Sequence[Array]]) -> Any:
        is_first, own = now
        carry = [jnp.where(is_first, x, y) for x, y in zip(inputs, finish(between), strict=True)]
        made = jaxpr_as_fun(head)(*own, *carry)
        return made[:width], made[width:]

    def straight(carry: Sequence[Array], now: tuple[Array, Sequence[Array]]) -> Any:
        made = jaxpr_as_fun(jaxpr)(*now[1], *carry)
        return made[: len(inputs)], made[len(inputs) :]

    has_tail = bool(tail.jaxpr.eqns)
    end, outputs = jax.lax.scan(
        jax.checkpoint(rotated if has_tail else straight, prevent_cse=False, policy=_is_dear),
        [zeros(aval) for aval in tail.in_avals] if has_tail else list(inputs),
        (jnp.arange(length) == 0, leaves),
        length,
    )
    return tuple(finish(end) if has_tail else end), jax.tree.unflatten(structure, outputs)


def _is_dear(primitive: Any, *_: Any, **__: Any) -> bool:
    return not is_cheap(primitive.name)
