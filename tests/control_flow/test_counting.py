"""What a gradient is said to take is what it takes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.control_flow import fori_loop, loop_report, replays
from tests.control_flow.programs import SCALE, STATE, looped


@pytest.mark.parametrize("slots", [2, 5, 13, 60])
def test_as_many_steps_as_predicted(slots: int, x64: None) -> None:
    for steps in (0, 1, 59, 200):
        (sweep,) = loop_report(lambda x, n=steps: looped(slots)(SCALE, x, n), STATE).sweeps
        assert (sweep.steps, sweep.slots) == (steps, slots)
        assert sweep.evaluations == sweep.predicted == replays(steps, slots)


def test_examples_share_the_budget(x64: None) -> None:
    f = jax.vmap(looped(40), (None, 0, 0))
    counts = np.array([3, 50, 20], np.int32)
    (sweep,) = loop_report(f, SCALE, np.stack([STATE] * 3), counts).sweeps
    assert sweep.steps == 50
    # Those of the counts, one for all examples, are not needed three times.
    assert 40 // 3 <= sweep.slots <= 40 // 3 + 1


def test_a_loop_inside_is_there_as_often_as_it_runs() -> None:
    def f(x: Any) -> Any:
        def inner(_: Any, y: Any) -> Any:
            return jnp.sin(y)

        def outer(i: Any, y: Any) -> Any:
            return fori_loop(0, i, inner, y)

        return fori_loop(0, 3, outer, x)

    report = loop_report(f, 1.0)
    assert [s.loop.split(",")[0] for s in report.sweeps] == ["inner"] * 3 + ["outer"]
    assert [s.steps for s in report.sweeps] == [2, 1, 0, 3]
    assert "test_counting.py:" in str(report)


def test_without_loops_there_is_nothing() -> None:
    assert loop_report(jnp.sin, 1.0).sweeps == []
