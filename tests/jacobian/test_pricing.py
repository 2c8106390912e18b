"""The constants of a machine: measured, written, read, and what plans make of them."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from funcnet.errors import ArgumentError
from funcnet.jacobian import Machine, calibrate, plan_jacobian
from funcnet.jacobian.blocks.values import Work
from funcnet.jacobian.planning.pricing import MACHINES, VARIABLE, load_machine, machine


def test_seconds_are_traffic_arithmetic_steps_and_places() -> None:
    one = Machine(bytes_per_second=100.0, flops_per_second=10.0, step=1.0, scatter=0.5)
    work = Work(flops=20, entries=50, scattered=8)
    assert one.seconds(work, 3, itemsize=4) == 2.0 + 2.0 + 3.0 + 4.0


def test_measured_constants_are_of_this_world() -> None:
    rounds: list[tuple[int, int]] = []
    found = calibrate(0.01, lambda done, of: rounds.append((done, of)))
    assert rounds[-1] == (len(rounds), len(rounds))
    assert 1e7 < found.bytes_per_second < 1e13
    assert 1e7 < found.flops_per_second < 1e16
    assert 1e-11 < found.step < 1e-2
    assert 1e-13 < found.scatter < 1e-3


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_to_measure_is_positive(seconds: float) -> None:
    with pytest.raises(ArgumentError, match="seconds"):
        calibrate(seconds)


def test_a_file_that_is_named_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "machine.json"
    slow = Machine(bytes_per_second=1.0, flops_per_second=1.0, step=1.0, scatter=1.0)
    file.write_text(slow.to_json())
    assert load_machine(str(file)) == slow
    assert machine() == MACHINES["cpu"]

    def twice(x: jax.Array) -> jax.Array:
        return jnp.sin(jnp.sin(x))

    before = plan_jacobian(twice, jnp.ones(10)).chosen.seconds
    monkeypatch.setenv(VARIABLE, str(file))
    assert machine() == slow
    assert plan_jacobian(twice, jnp.ones(10)).chosen.seconds > 1e6 * before


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[]",
        '{"bytes_per_second": 1, "flops_per_second": 1}',
        '{"bytes_per_second": 1, "flops_per_second": 1, "step": "much", "scatter": 1}',
        '{"bytes_per_second": 1, "flops_per_second": 1, "step": 0, "scatter": 1}',
        '{"bytes_per_second": NaN, "flops_per_second": 1, "step": 1, "scatter": 1}',
    ],
)
def test_any_other_file_is_refused_by_its_name(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ArgumentError, match=r"other\.json"):
        load_machine(str(file))
