"""`funcnet calibrate` prints what it measured and writes what plans can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from funcnet.cli import main
from funcnet.jacobian.planning.pricing import load_machine


def test_constants_are_shown_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "machine.json"
    assert main(["calibrate", "--seconds", "0.01", "--out", str(file)]) == 0
    shown = capsys.readouterr().out
    for word in ("memory traffic", "arithmetic", "a step", "shipped", "FUNCNET_MACHINE"):
        assert word in shown
    assert load_machine(str(file)).step > 0


def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "--seconds", "0"]) == 2
    missing = str(tmp_path / "no" / "machine.json")
    assert main(["calibrate", "--seconds", "0.01", "--out", missing]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert str(tmp_path / "no") in lines[1]
