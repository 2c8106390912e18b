from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from funcnet.cli import folder as folder_module
from funcnet.cli.folder import Run, check_writable, free_folder, save_run
from funcnet.cli.terminal import Failure
from funcnet.training import load_params

RUN = Run(3, {"w": np.ones(2, np.float32)}, [{"loss": 2.0}, {"loss": float("nan")}])
RESULT = {"test_accuracy": 0.5, "nothing": float("inf")}


def draw() -> bytes:
    return b"picture"


def fail_below(monkeypatch: pytest.MonkeyPatch, *places: Path, name: str = "") -> None:
    """As if the disk that holds these places had filled up."""
    write: Callable[..., None] = folder_module.write_atomically

    def write_or_fail(path: Path, content: bytes) -> None:
        if any(Path(path).is_relative_to(place) for place in places) and name in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content)

    def save_or_fail(path: Path, params: Any) -> None:
        write_or_fail(path, b"")
        save(path, params)

    save: Callable[..., None] = folder_module.save_params
    monkeypatch.setattr(folder_module, "write_atomically", write_or_fail)
    monkeypatch.setattr(folder_module, "save_params", save_or_fail)


def test_all_files_of_a_run(tmp_path: Path) -> None:
    saved = save_run(tmp_path / "deep" / "run", [RUN], RESULT, draw)
    assert saved.folder == tmp_path / "deep" / "run"
    assert saved.problems == []
    assert sorted(saved.files) == sorted(path.name for path in saved.folder.iterdir())
    np.testing.assert_array_equal(load_params(saved.folder / "params.safetensors")["w"], [1, 1])
    lines = (saved.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"seed": 3, "epoch": 1, "loss": 2.0},
        {"seed": 3, "epoch": 2, "loss": None},
    ]
    result = json.loads((saved.folder / "result.json").read_text())
    assert result == {"test_accuracy": 0.5, "nothing": None}
    assert (saved.folder / "learning_curve.png").read_bytes() == b"picture"


def test_several_seeds(tmp_path: Path) -> None:
    saved = save_run(tmp_path, [RUN, RUN._replace(seed=4)], RESULT, draw)
    assert saved.files[:2] == ["params-seed3.safetensors", "params-seed4.safetensors"]


def test_a_folder_with_a_run_is_never_touched(tmp_path: Path) -> None:
    first = save_run(tmp_path / "run", [RUN], RESULT, draw)
    before = {path: path.read_bytes() for path in first.folder.iterdir()}
    second = save_run(tmp_path / "run", [RUN, RUN._replace(seed=4)], {}, lambda: b"other")
    third = save_run(tmp_path / "run", [RUN], {}, draw)
    assert [s.folder.name for s in (first, second, third)] == ["run", "run-2", "run-3"]
    assert before == {path: path.read_bytes() for path in first.folder.iterdir()}


@pytest.mark.parametrize(
    "name", ["params.safetensors", "params-seed7.safetensors", "metrics.jsonl", "result.json"]
)
def test_any_file_of_a_run_makes_a_folder_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_bytes(b"")
    assert free_folder(tmp_path / "run") == tmp_path / "run-2"


def test_a_folder_with_other_files_is_free(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert free_folder(tmp_path) == tmp_path
    save_run(tmp_path, [RUN], {}, draw)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_check_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b", 1000)
    assert list(tmp_path.iterdir()) == []
    check_writable(tmp_path, 1000)
    assert list(tmp_path.iterdir()) == []


def test_the_check_refuses_what_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Failure, match=r"the output folder .*file is a file$"):
        check_writable(tmp_path / "file", 10)
    with pytest.raises(Failure, match=r"cannot write to the output folder .*Not a directory"):
        check_writable(tmp_path / "file" / "below", 10)


def test_the_check_refuses_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_below(monkeypatch, tmp_path)
    with pytest.raises(Failure, match=r"cannot write to the output folder .*No space left"):
        check_writable(tmp_path / "run", 10)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_during_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, temporary = tmp_path / "run", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    fail_below(monkeypatch, wanted)
    saved = save_run(wanted, [RUN], RESULT, draw)
    assert saved.folder.parent == temporary
    assert len(saved.files) == len(list(saved.folder.iterdir())) == 4
    (problem,) = saved.problems
    assert "No space left" in problem
    assert str(wanted) in problem


def test_the_home_folder_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, temporary, home = tmp_path / "run", tmp_path / "temporary", tmp_path / "home"
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))  # which does not exist
    monkeypatch.setenv("HOME", str(home))
    fail_below(monkeypatch, wanted)
    saved = save_run(wanted, [RUN], RESULT, draw)
    assert saved.folder == home / "funcnet-run"
    assert len(saved.problems) == 2


def test_nowhere_to_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    fail_below(monkeypatch, tmp_path)
    with pytest.raises(Failure, match=r"No space left.*the run is lost"):
        save_run(tmp_path / "run", [RUN], RESULT, draw)


def test_a_failing_picture_costs_only_the_picture(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise RuntimeError("no fonts")

    saved = save_run(tmp_path, [RUN], RESULT, fail)
    assert saved.problems == ["could not save the learning curve: no fonts"]
    assert "learning_curve.png" not in saved.files
    assert len(list(tmp_path.iterdir())) == 3
