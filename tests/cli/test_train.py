"""The main job, from options to files."""

from __future__ import annotations

import errno
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import scipy.stats

from funcnet.cli import folder as folder_module
from funcnet.cli import main
from funcnet.cli import train as train_module
from funcnet.cli.train import MOST_SEEDS, mean_and_interval
from funcnet.data import load_digits
from funcnet.models import mlp
from funcnet.training import load_params

ROOT = Path(__file__).parents[2]
SMALL = ["train", "--hidden", "16", "--epochs", "4"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def metrics(folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]


def result(folder: str) -> dict[str, Any]:
    return json.loads(Path(folder, "result.json").read_text())


def test_a_small_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SMALL) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    # The summary, the progress, the result, the cost of the gradient: in this order.
    landmarks = [
        "dense_0",
        "epoch 4/4",
        "seed 0: test accuracy",
        "saved in funcnet-run:",
        "Project",
    ]
    places = [captured.out.index(landmark) for landmark in landmarks]
    assert places == sorted(places)
    assert captured.out.splitlines()[-1].startswith("Projected")

    # The saved parameters have the accuracy that was told.
    params = load_params("funcnet-run/params.safetensors")
    test = load_digits().test.rows()
    right = mlp([16], 10).apply(params, test.images).argmax(-1) == test.labels
    accuracy = float(np.mean(right))
    assert result("funcnet-run")["test_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert f"{accuracy:.2%} ({right.sum()} of 355 images) after 4 epochs" in captured.out

    lines = metrics("funcnet-run")
    assert [(line["seed"], line["epoch"]) for line in lines] == [(0, 1), (0, 2), (0, 3), (0, 4)]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[-1]["test_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert result("funcnet-run")["finished"] is True
    assert result("funcnet-run")["options"]["hidden"] == [16]
    assert matplotlib.image.imread("funcnet-run/learning_curve.png").ndim == 3


def test_the_same_seed_gives_the_same_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    for seed in ("5", "5", "6"):
        assert main([*SMALL, "--quiet", "--seed", seed]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 6  # two lines per run: the accuracy, and where it is
    assert metrics("funcnet-run") == metrics("funcnet-run-2")
    first, same, other = (
        Path(name, "params.safetensors").read_bytes()
        for name in ("funcnet-run", "funcnet-run-2", "funcnet-run-3")
    )
    assert first == same
    assert first != other


def test_mean_accuracy_of_five_seeds_with_the_defaults() -> None:
    """The promise of the documentation: at least 97.5 %."""
    assert main(["train", "--seeds", "5", "--quiet", "--out", "five"]) == 0
    told = result("five")
    accuracies = [run["test_accuracy"] for run in told["runs"]]
    assert len(accuracies) == 5
    assert told["test_accuracy"] == pytest.approx(statistics.fmean(accuracies))
    assert told["test_accuracy"] >= 0.975
    low, high = told["test_accuracy_interval_95"]
    assert 0.0 < high - low < 0.02
    assert len(list(Path("five").glob("params-seed*.safetensors"))) == 5


def test_another_data_file() -> None:
    """Two classes that the sign of one pixel tells apart, as colour images of another size."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(200, 3, 5, 2))
    np.savez("other.npz", images=images, labels=(images[:, 1, 2, 0] > 0).astype(np.int64))
    assert main(["train", "--data", "other.npz", "--hidden", "8", "--batch-size", "20", "-q"]) == 0
    params = load_params("funcnet-run/params.safetensors")
    assert params["dense_0"]["kernel"].shape == (30, 8)
    assert params["output"]["kernel"].shape == (8, 2)
    assert result("funcnet-run")["options"]["data"] == "other.npz"
    assert metrics("funcnet-run")[-1]["loss"] < 0.5 * metrics("funcnet-run")[0]["loss"]


def interrupt_after(epoch: int, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> None:
    @contextmanager
    def progress(*args: object) -> Iterator[Any]:
        def show(done: int, text: str) -> None:
            if done == epoch:
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGINT)

        yield show

    monkeypatch.setattr(train_module, "progress", progress)


def test_an_interrupt_saves_what_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_after(3, monkeypatch)
    assert main(["train", "--hidden", "8", "--epochs", "9", "--seeds", "2"]) == 130
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("funcnet: interrupted; saved in funcnet-run: params.safetensors")
    assert "after 3 of 9 epochs" in captured.out
    assert len(metrics("funcnet-run")) == 3
    assert result("funcnet-run")["finished"] is False
    assert "dense_0" in load_params("funcnet-run/params.safetensors")


def test_a_second_interrupt_keeps_the_finished_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    train_seed = train_module._Job.train_seed

    def interrupted(job: Any, seed: int) -> None:
        if seed == 1:
            raise KeyboardInterrupt
        train_seed(job, seed)

    monkeypatch.setattr(train_module._Job, "train_seed", interrupted)
    assert main(["train", "--hidden", "8", "--epochs", "2", "--seeds", "3", "-q"]) == 130
    assert [line["seed"] for line in metrics("funcnet-run")] == [0, 0]


def test_two_interrupts_in_the_first_seed_save_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_after(1, monkeypatch, times=2)
    assert main(SMALL) == 130
    assert capsys.readouterr().err == "funcnet: interrupted; nothing is saved\n"
    assert os.listdir() == []


def test_a_training_that_diverges_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--learning-rate", "1e30", "--seeds", "2"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "the loss is not finite in epoch 1" in line
    assert "try a smaller --learning-rate" in line
    assert "saved in funcnet-run" in line
    assert len(metrics("funcnet-run")) == 1


def test_a_disk_that_fills_up_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    save = folder_module.save_params

    def save_params(path: Path, params: Any) -> None:
        if not Path(path).is_relative_to(temporary):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        save(path, params)

    monkeypatch.setattr(folder_module, "save_params", save_params)
    assert main([*SMALL, "--quiet"]) == 1
    captured = capsys.readouterr()
    error, where = captured.err.splitlines()
    assert "could not save the run: funcnet-run/params.safetensors: No space left" in error
    (folder,) = temporary.iterdir()
    assert f"saved in {folder}: params.safetensors" in where
    assert len(metrics(str(folder))) == 4
    assert "test accuracy" in captured.out


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}


def test_a_real_interrupt() -> None:
    """In a process of its own, with the default handlers of Python."""
    words = ["train", "--epochs", "1000000", "--hidden", "8"]
    with subprocess.Popen(
        [sys.executable, "-m", "funcnet", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "epoch" in line:
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert err.startswith("funcnet: interrupted; saved in funcnet-run: params.safetensors")
    assert len(metrics("funcnet-run")) >= 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_an_output_that_cannot_be_written_costs_no_run() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "funcnet", *SMALL],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == (
        "funcnet: error: the standard output broke off (No space left on device); "
        "the run is saved in funcnet-run"
    )
    assert len(metrics("funcnet-run")) == 4


def test_a_limit_on_file_sizes_is_found_before_the_training() -> None:
    command = f"ulimit -f 20; exec {sys.executable} -m funcnet"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 1
    assert "epoch" not in done.stdout
    assert done.stderr == (
        "funcnet: error: cannot write to the output folder funcnet-run: File too large\n"
    )


@pytest.mark.parametrize("n", range(2, MOST_SEEDS + 1))
def test_the_interval_is_students(n: int) -> None:
    values = list(np.random.default_rng(n).normal(size=n))
    mean, half = mean_and_interval(values)
    low, high = scipy.stats.t.interval(0.95, n - 1, np.mean(values), scipy.stats.sem(values))
    assert half is not None
    np.testing.assert_allclose([mean, half], [(low + high) / 2, (high - low) / 2], rtol=3e-4)


def test_one_value_has_no_interval() -> None:
    assert mean_and_interval([0.5]) == (0.5, None)
