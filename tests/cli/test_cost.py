"""`funcnet cost` tells what it is told to compare, and says in one line what it cannot."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from funcnet.cli import main
from funcnet.cli.cost import _spelled_out

SOURCE = """
import jax.numpy as jnp

def f(x, k=2):
    return jnp.sum(jnp.sin(x)) * k

def pair(x, k, y):
    return jnp.sum(x[k] * y["a"])

def chosen(x):
    return jnp.argmax(x)

def broken(x):
    raise RuntimeError("out of order")

def interrupted(x):
    raise KeyboardInterrupt

def of_inputs(n):
    return (lambda x: jnp.ones((4, n)) @ x), (jnp.ones(n),)
"""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "priced_module.py").write_text(SOURCE)


def told(capsys: pytest.CaptureFixture[str], words: str) -> Any:
    """What the command says with --json, and nothing else."""
    assert main(["cost", *words.split(), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


@pytest.mark.parametrize("place", ["priced_module", "priced_module.py"])
def test_a_function_is_counted(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", f"{place}:f", "--arg", "f32[1000]", "--count"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("f, 1,000 inputs and 1 output\ncounted")
    assert re.search(r"forward Jacobian +1,000 ", captured.out)
    assert "measured" not in captured.out and captured.err == ""
    assert os.listdir() == ["priced_module.py"]


def test_it_is_measured_and_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cost", "priced_module:f", "--arg", "float32[9]", "--seconds", "0.1"]
    assert main([*words, "--png", "costs.png"]) == 0
    shown = capsys.readouterr().out
    assert "half of the rounds" in shown and shown.endswith("costs.png shows this\n")
    assert Path("costs.png").read_bytes().startswith(b"\x89PNG")


def test_all_real_arguments_or_those_that_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    words = 'priced_module:pair --arg f32[3] --arg 1 --arg {"a":[1.0,2.0]} --count'
    for more, inputs in (("", 5), (" --argnum 2", 2), (" --argnum 0 --argnum 2", 5)):
        assert told(capsys, words + more)["inputs"] == inputs


def test_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "--model mlp --hidden 5,4 --count")["inputs"] == 64 * 5 + 5 + 24 + 50
    assert told(capsys, "--model logistic --count")["inputs"] == 64


def test_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "priced_module:of_inputs --sizes 2,8 --count --png sizes.png")
    assert [point["inputs"] for point in found["points"]] == [2, 8]
    assert Path("sizes.png").read_bytes().startswith(b"\x89PNG")
    found = told(capsys, "--model mlp --sizes 1,3 --count")
    assert (found["label"], "one VJP" in found["ways"]) == ("hidden layers", True)
    one, three = (
        next(row["kept_bytes"] for row in point["rows"] if row["name"] == "one VJP")
        for point in found["points"]
    )
    assert one < three


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "give a function"),
        ("priced_module:f --model mlp", "not both"),
        ("--model mlp --arg 1.0", "--arg goes with a function"),
        ("--model logistic --hidden 3", "--hidden goes with --model mlp"),
        ("--model mlp --hidden 3 --sizes 2", "--hidden goes with --model mlp, and not with"),
        ("--model logistic --sizes 3", "--sizes goes with a function or with --model mlp"),
        ("priced_module:of_inputs --sizes 3 --arg 1.0", "--arg and --sizes exclude each other"),
        ("priced_module:g", "priced_module has no 'g'"),
        ("nowhere_at_all:f", "cannot import nowhere_at_all"),
        ("priced_module:f --arg 3", "x is int32.*leave it out of --argnum"),
        ("priced_module:f --arg f99[3]", r"--arg float99\[3\]"),
        ("priced_module:f", "no arguments"),
        ("priced_module:f --arg 1.0 --argnum 5", "--argnum=.*but f was given 1 argument"),
        ("priced_module:chosen --arg f32[3]", "output of chosen is int32"),
        ("priced_module:broken --arg 1.0", "broken raised RuntimeError: out of order"),
        ("priced_module:f --sizes 3", "f_of_size.*returned a"),
        ("priced_module:f --arg 1.0 --png costs.jpg", "the ending must be .png"),
        ("priced_module:f --arg 1.0 --count --png no/costs.png", "No such file"),
    ],
)
def test_what_cannot_be_done(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", *words.split()]) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert re.search(message, line), line
    assert captured.out == "" and os.listdir() == ["priced_module.py"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--sizes 0", "'0' must be sizes from 1 to"),
        ("--sizes 1,two", "'1,two' must be sizes"),
        ("--seconds 0", "0.0 is not a positive number"),
        ("--model cnn", "'cnn' is none of logistic, mlp"),
        ("--argnum -1", "--argnum"),
    ],
)
def test_wrong_options(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "priced_module:f", *words.split()]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "priced_module:interrupted", "--arg", "1.0", "--png", "c.png"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert os.listdir() == ["priced_module.py"]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("f32[8,3]", "float32[8,3]"),
        ("bf16[2]", "bfloat16[2]"),
        ("i32[]", "int32[]"),
        ("u8[4]", "uint8[4]"),
        ("c64[4]", "complex64[4]"),
        ("float32[4]", "float32[4]"),
        ("[1.0, 2.0]", "[1.0, 2.0]"),
        ("f.npy", "f.npy"),
    ],
)
def test_short_types(short: str, long: str) -> None:
    assert _spelled_out(short) == long
