"""Choosing by trying: the ways that are expected to be about equally fast take turns.

Prices are made of a few constants, and a way that is priced at twice the time of another may turn
out to be the faster one. Who computes a Jacobian many times can afford to compile a few ways and to
time them at the first call.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from funcnet.clock import interleaved, spread
from funcnet.jacobian.planning.plan import Plan
from funcnet.jacobian.planning.planner import Alternative

__all__ = ["tuned"]

_NEAR = 5.0
"""A way is tried if it is expected to take at most so many times as long as the best."""
_MOST = 5
"""The most ways that are tried."""
_ROUNDS = 25
_SECONDS = 0.5
"""The ways take turns in so many rounds at most, and for about so long."""


def tuned(plan: Plan, arrays: list[Any]) -> Plan:
    """The plan that takes the fastest of its ways at some arguments.

    Args:
        plan: A plan.
        arrays: The arrays to differentiate with respect to, and the others.

    Returns:
        A plan that tells what was measured.
    """
    ways = _contenders(plan)
    if len(ways) < 2:
        return plan
    plans = [plan.taking(way) for way in ways]
    samples = interleaved([partial(p.run, *arrays) for p in plans], _ROUNDS, _SECONDS)
    # What else runs on a machine only ever adds to a time.
    seconds = [spread(taken).low for taken in samples]
    best = plans[seconds.index(min(seconds))]
    best.measured = dict(zip(ways, seconds, strict=True))
    return best


def _contenders(plan: Plan) -> list[Alternative]:
    """The ways that may be the fastest, each once: several orders may lead to the same products."""
    found: list[Alternative] = []
    for way in plan.alternatives:
        if way.seconds > _NEAR * plan.chosen.seconds or len(found) == _MOST:
            break
        if all((way.mode, way.work) != (other.mode, other.work) for other in found):
            found.append(way)
    return found
