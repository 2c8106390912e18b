"""`funcnet graph` draws what it is told to, and says in one line what it cannot."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.cli import main
from funcnet.cli.subject import MODELS

SOURCE = """
import jax, jax.numpy as jnp

def f(x1, x2):
    return jnp.sin(x2) + x1 * x2

def halve(x):
    return jax.lax.while_loop(lambda c: c > 1.0, lambda c: 0.5 * c, x)

def tree(params, x):
    return jnp.sum(jnp.tanh(x @ params["w"]))

def broken(x):
    raise RuntimeError("out of order")

def leaves(x):
    raise SystemExit(3)

def interrupted(x):
    raise KeyboardInterrupt

def chosen(x):
    return jnp.argmax(x, -1)

class Net:
    @staticmethod
    def loss(x):
        return jnp.sum(x**2)

number = 3
"""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "drawn_module.py").write_text(SOURCE)


def data_of(path: str) -> Any:
    (text,) = re.findall(
        r'<script id="graph" type="application/json">(.*?)</script>', Path(path).read_text(), re.S
    )
    return json.loads(text)


@pytest.mark.parametrize("place", ["drawn_module", "drawn_module.py"])
def test_a_function_by_module_or_file(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", f"{place}:f", "--arg", "2.0", "--arg", "0.5"]) == 0
    shown = capsys.readouterr().out
    assert "a1  ├─●    sin(x2)" in shown and shown.endswith("f.html shows 5 nodes\n")
    data = data_of("f.html")
    assert [node["adjoint"]["entries"] for node in data["nodes"][:2]] == pytest.approx(
        [0.5, 2 + np.cos(0.5)], rel=1e-6
    )
    assert [move["after"]["entries"] for move in data["moves"]] == pytest.approx(
        [1.95, 0.5 - 0.1 * (2 + np.cos(0.5))], rel=1e-6
    )


def test_options_arrive(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["graph", "drawn_module:f", "--arg", "2.0", "--arg", "0.5", "--quiet"]
    assert main([*words, "--argnum", "1", "--learning-rate", "0.5", "--out", "g.html"]) == 0
    assert capsys.readouterr().out == "g.html shows 5 nodes\n"
    (move,) = data_of("g.html")["moves"]
    assert move["node"] == 1
    assert move["after"]["entries"] == pytest.approx(0.5 - 0.5 * (2 + np.cos(0.5)), rel=1e-6)


def test_each_ending_has_its_format(capsys: pytest.CaptureFixture[str]) -> None:
    for ending, begin in ((".svg", "<svg"), (".dot", "digraph"), (".txt", "x2  ●")):
        words = ["graph", "drawn_module:f", "--arg", "2.0", "--arg", "0.5", "--out", f"g{ending}"]
        assert main(words) == 0
        assert Path(f"g{ending}").read_text().startswith(begin)


def test_no_page_is_overwritten_unasked() -> None:
    for name in ("f.html", "f-2.html", "f-3.html"):
        assert main(["graph", "drawn_module:f", "--arg", "2.0", "--arg", "0.5", "-q"]) == 0
        assert Path(name).exists()


def test_trees_types_and_files(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("x.npy", np.ones((4, 2), np.float32))
    for first in ('{"w": [[1.0], [2.0]]}', '{"w": [[0.5], [0.5]]}'):
        for second in ("x.npy", "float32[4,2]", "[[1.0, 2.0]]"):
            assert main(["graph", "drawn_module:tree", "--arg", first, "--arg", second, "-q"]) == 0
    nodes = data_of("tree.html")["nodes"]
    assert [node["name"] for node in nodes[:2]] == ["params/w", "x"]
    assert nodes[1]["value"]["shape"] == [4, 2]


def test_random_arguments_follow_the_seed() -> None:
    def drawn(*words: str) -> Any:
        main(
            [
                "graph",
                "drawn_module:Net.loss",
                "--arg",
                "float32[3]",
                "-q",
                "--out",
                "r.html",
                *words,
            ]
        )
        return data_of("r.html")["nodes"][0]["value"]["entries"]

    assert drawn() == drawn() != drawn("--seed", "1")


def test_loops_are_followed_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "drawn_module:halve", "--arg", "6.0", "--unroll"]) == 0
    assert data_of("halve.html")["nodes"][0]["adjoint"]["entries"] == 0.125


def test_integers_and_several_outputs_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "drawn_module:f", "--arg", "2", "--arg", "[0.5, 1.5]"]) == 0
    shown = capsys.readouterr().out
    assert "note: x1 is an integer and has no adjoint; write 2.0, not 2" in shown
    assert "note: the output is not one number" in shown
    assert [move["node"] for move in data_of("f.html")["moves"]] == [1]


@pytest.mark.parametrize("model", sorted(MODELS))
def test_models(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    hidden = ["--hidden", "5,4"] if model == "mlp" else []
    assert main(["graph", "--model", model, *hidden]) == 0
    data = data_of(f"{model}.html")
    moving = [data["nodes"][move["node"]]["name"] for move in data["moves"]]
    if model == "mlp":
        assert len(moving) == 6 and all(name.startswith("params/") for name in moving)
        assert any("float32[5, 4]" in node["type"] for node in data["nodes"])
    else:
        assert moving == ["w"]
    output = data["nodes"][data["outputs"][0]]
    assert output["adjoint"]["entries"] == 1.0 and 0 < output["value"]["entries"] < 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "give a function"),
        ("drawn_module:f --model mlp", "not both"),
        ("--model mlp --arg 1.0", "--arg goes with a function"),
        ("drawn_module", "must be module:function"),
        ("nowhere_at_all:f", "cannot import nowhere_at_all"),
        ("nowhere.py:f", "cannot import nowhere.py.*there is no file nowhere.py"),
        ("drawn_module:g", "drawn_module has no 'g'; it has .*f"),
        ("drawn_module:number", "is no function but a int"),
        ("drawn_module:f --arg 1.0", "f raised TypeError.*missing 1 required"),
        ("drawn_module:broken --arg 1.0", "broken raised RuntimeError: out of order"),
        ("drawn_module:f --arg one --arg 2.0", "--arg one: expected a number"),
        ("drawn_module:f --arg float99[3] --arg 2.0", r"--arg float99\[3\]"),
        ("drawn_module:f --arg none.npy --arg 2.0", "none.npy: No such file"),
        ("drawn_module:f --arg 1.0 --arg 2.0 --out f.png", "must be one of .html, .svg"),
        ("drawn_module:f --arg 1.0 --arg 2.0 --out no/f.svg", "No such file"),
        ("drawn_module:f --arg 1.0 --arg 2.0 --argnum 7", "argnums has 7"),
        ("drawn_module:halve --arg 6.0", "trace with --unroll"),
        ("drawn_module:leaves --arg 6.0", "leaves raised SystemExit"),
        ("ends.py:f --arg 6.0", "cannot import ends.py: SystemExit"),
        ("drawn_module:number.x.y", "drawn_module has no 'number.x.y'"),
        ("drawn_module:f --arg str[3] --arg 2.0", "str is no type of numbers"),
        ("drawn_module:f --arg [100000000000] --arg 2.0", r"--arg \[100000000000\]"),
        ("drawn_module:f --arg words.npy --arg 2.0", "--arg words.npy"),
        ("drawn_module:f --arg empty.npy --arg 2.0", "--arg empty.npy"),
        ("drawn_module:f --arg " + "[" * 5000 + " --arg 2.0", "expected a number"),
        ("drawn_module:f --arg 1.0 --arg 2.0 --hidden 3", "--hidden goes with --model mlp"),
        ("--model logistic --hidden 3", "--hidden goes with --model mlp"),
        ("drawn_module:f --arg 1.0 --arg 2.0 --out f.svg --argnum 1", "--argnum goes with a page"),
    ],
)
def test_what_cannot_be_drawn(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("ends.py").write_text("import sys; sys.exit(0)")
    np.save("words.npy", np.array(["a", "b"]))
    Path("empty.npy").write_bytes(b"")
    assert main(["graph", *words.split()]) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert re.search(message, line), line
    assert captured.out == "" and [n for n in os.listdir() if n.endswith((".html", ".svg"))] == []


def test_a_file_finds_its_neighbours_and_its_dataclasses() -> None:
    Path("sub").mkdir()
    Path("sub/drawn_neighbour.py").write_text("factor = 3.0")
    Path("sub/drawn_uses.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "import drawn_neighbour\n"
        "@dataclass\nclass Options:\n    factor: float = drawn_neighbour.factor\n"
        "def f(x):\n    return Options().factor * x\n"
    )
    assert main(["graph", "sub/drawn_uses.py:f", "--arg", "2.0", "-q"]) == 0
    assert data_of("f.html")["nodes"][0]["adjoint"]["entries"] == 3.0


def test_files_here_do_not_stand_in_for_pythons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(Path.cwd())])
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    Path("colorsys.py").write_text("raise RuntimeError('the wrong one')")
    Path("drawn_importer.py").write_text("import colorsys\ndef f(x):\n    return 2.0 * x\n")
    assert main(["graph", "drawn_importer.py:f", "--arg", "2.0", "-q"]) == 0


def test_integers_as_outputs_have_no_backward_sweep() -> None:
    assert main(["graph", "drawn_module:chosen", "--arg", "float32[4,3]", "-q"]) == 0
    assert data_of("chosen.html")["nodes"][-1]["adjoint"] is None


def test_an_interrupt_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "drawn_module:interrupted", "--arg", "1.0"]) == 130
    assert capsys.readouterr().err == "funcnet: interrupted; nothing is drawn\n"


def test_an_unknown_model_is_a_wrong_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "--model", "mpl"]) == 2
    assert "'mpl' is none of logistic, mlp" in capsys.readouterr().err


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "--help"]) == 0
    text = capsys.readouterr().out
    for words in ("--arg", "--model", "--unroll", "funcnet graph lecture.py:f --arg 2.0"):
        assert words in text


def test_the_adjoints_are_jaxs() -> None:
    main(["graph", "drawn_module:tree", "--arg", '{"w": [[1.0], [2.0]]}', "--arg", "[[1.0, 2.0]]"])
    w, x = jnp.array([[1.0], [2.0]]), jnp.array([[1.0, 2.0]])
    reference = jax.grad(lambda w: jnp.sum(jnp.tanh(x @ w)))(w)
    shown = data_of("tree.html")["nodes"][0]["adjoint"]["entries"]
    np.testing.assert_allclose(shown, reference, rtol=1e-6)
