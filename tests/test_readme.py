"""The README can be believed: its commands, its snippets and its links."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests import snippets

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert snippets.run(ROOT / "README.md") >= 2


def test_first_two_commands_are_one_line_each() -> None:
    first, second = [block.text.strip() for block in snippets.blocks(README, "bash")[:2]]
    assert "\n" not in first + second
    assert first.endswith("python -m funcnet")
    assert second.endswith("pytest")


def test_ci_reads_the_second_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    function = re.search(r"^readme_command\(\) \{.*?^\}", script, re.M | re.S)
    assert function is not None
    done = subprocess.run(
        ["bash", "-c", f"checkout={ROOT}; {function[0]}; readme_command 2"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == snippets.blocks(README, "bash")[1].text


def test_extras_exist() -> None:
    extras = {
        extra.strip()
        for group in re.findall(r"pip install -e '\.\[(.*?)\]'", README)
        for extra in group.split(",")
    }
    assert extras and extras <= set(PROJECT["optional-dependencies"])


def test_versions_agree_with_the_project_file() -> None:
    python = PROJECT["requires-python"].removeprefix(">=")
    jax = next(d for d in PROJECT["dependencies"] if d.startswith("jax>=")).removeprefix("jax>=")
    assert f"Python {python}" in README
    assert f"JAX {jax}" in README


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)", README))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()
