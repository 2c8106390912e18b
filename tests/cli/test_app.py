"""What is wrong is told in one line, before anything is trained."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from funcnet.cli import app as app_module
from funcnet.cli import main
from funcnet.cli.train import Options

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")


def complaint(capsys: pytest.CaptureFixture[str], *words: str, status: int) -> str:
    """The one line that the command complains with."""
    assert main(words) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("funcnet: error: ")
    assert os.listdir() == []
    return line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train --epochs 0", "--epochs"),
        ("train --epochs many", "--epochs"),
        ("train --batch-size -4", "--batch-size"),
        ("train --learning-rate 0", "--learning-rate.*0.0 is not a positive number"),
        ("train --learning-rate nan", "--learning-rate.*nan is not a positive number"),
        ("train --learning-rate inf", "--learning-rate.*inf is not a positive number"),
        ("train --label-smoothing 1", "--label-smoothing.*1.0 is not in the range 0<=x<1"),
        ("train --label-smoothing nan", "--label-smoothing"),
        ("train --hidden 128x64", "--hidden.*'128x64' must be widths from 1 to 65536"),
        ("train --hidden 128,", "--hidden"),
        ("train --hidden 0", "--hidden"),
        ("train --hidden 100000000000", "--hidden"),
        ("train --seed -1", "--seed"),
        ("train --seed 3000000000", "--seed"),
        ("train --seeds 0", "--seeds"),
        ("train --seeds 21", "--seeds"),
        ("train --epoch 5", "--epoch"),
        ("train 5", "5"),
        ("trian", "No such command 'trian'"),
        ("--epochs 5", "--epochs"),
    ],
)
def test_wrong_options(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(message, complaint(capsys, *words.split(), status=2))


def test_a_batch_larger_than_the_training_part(capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "train", "--batch-size", "1443", status=1)
    assert line.endswith("--batch-size 1443 is more than the 1442 training images")


@pytest.mark.parametrize("content", [None, b"", b"no archive", "folder"])
def test_unreadable_data(
    content: bytes | str | None,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path_factory.mktemp("data") / "some.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()
    assert "some.npz" in complaint(capsys, "train", "--data", str(path), status=1)


def test_wrong_arrays(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path_factory.mktemp("data") / "some.npz"
    np.savez(path, images=np.full((20, 4), np.nan), labels=np.arange(20) % 2)
    assert "images[0, 0] is nan" in complaint(capsys, "train", "--data", str(path), status=1)


def test_an_output_folder_that_is_a_file(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path_factory.mktemp("out") / "file"
    path.write_bytes(b"")
    assert complaint(capsys, "train", "--out", str(path), status=1).endswith("file is a file")
    line = complaint(capsys, "train", "--out", str(path / "below"), status=1)
    assert line.endswith("Not a directory")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="the system has no /proc")
def test_an_output_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert "/proc/run" in complaint(capsys, "train", "--out", "/proc/run", status=1)


@pytest.mark.parametrize("words", [[], ["train"]])
def test_training_with_the_defaults(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def train(options: Options) -> int:
        asked.append(options)
        return 7

    monkeypatch.setattr(app_module, "do_train", train)
    assert main(words) == 7
    assert asked == [Options()]


def test_every_option_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def train(options: Options) -> int:
        asked.append(options)
        return 0

    monkeypatch.setattr(app_module, "do_train", train)
    words = (
        "train --epochs 3 --batch-size 5 --learning-rate 0.5 --hidden 7,8,9 --label-smoothing 0.25 "
        "--seed 11 --seeds 2 --data a.npz --out there -q"
    )
    assert main(words.split()) == 0
    assert asked == [Options(3, 5, 0.5, (7, 8, 9), 0.25, 11, 2, Path("a.npz"), Path("there"), True)]


def test_an_interrupt_before_the_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(options: Options) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(app_module, "do_train", train)
    assert main([]) == 130
    assert capsys.readouterr().err == "funcnet: interrupted; nothing is saved\n"


@pytest.mark.parametrize(
    "error", [MemoryError("no memory"), jax.errors.JaxRuntimeError("no memory")]
)
def test_a_network_that_is_too_large(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(options: Options) -> int:
        raise error

    monkeypatch.setattr(app_module, "do_train", train)
    assert complaint(capsys, status=1) == "funcnet: error: no memory"


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert "train" in listed and "graph" in listed
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    for option in (
        *("--epochs", "--batch-size", "--learning-rate", "--hidden", "--label-smoothing"),
        *("--seed", "--seeds", "--data", "--out", "--quiet"),
    ):
        assert option in text
    for words in ("128,128", "0.003", "funcnet-run", "Ctrl-C"):
        assert words in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"funcnet (\d+\.\d+\S*|\(not installed.*\))\n", capsys.readouterr().out)


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "funcnet", "train", "--data", "nowhere.npz"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "funcnet: error: nowhere.npz: No such file or directory\n"
