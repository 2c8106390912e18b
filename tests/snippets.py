"""The Python blocks of a Markdown file, run as a reader would: in order, together."""

from __future__ import annotations

import doctest
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^(?P<fence>`{3,})(?P<info>[^\n]*)\n(?P<body>.*?)^(?P=fence)\s*$", re.M | re.S)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the file on which the text begins."""

    language: str
    text: str
    line: int


def blocks(text: str, language: str | None = None) -> list[Block]:
    """All fenced blocks of a Markdown text, or those in one language."""
    found = [
        Block(match["info"].strip(), match["body"], text.count("\n", 0, match.start("body")) + 1)
        for match in FENCE.finditer(text)
    ]
    return [block for block in found if language in (None, block.language)]


def run(path: Path) -> int:
    """Run a file's Python blocks in one namespace; how many there were.

    A block with prompts (``>>>``) is a doctest and its output must agree; any other is executed.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    python = blocks(path.read_text(), "python")
    for block in python:
        if block.text.lstrip().startswith(">>>"):
            run_doctest(block, path, namespace)
        else:
            padding = "\n" * (block.line - 1)  # so that tracebacks give the lines of the file
            exec(compile(padding + block.text, str(path), "exec"), namespace)
    return len(python)


def run_doctest(block: Block, path: Path, namespace: dict[str, Any]) -> None:
    """Run one block of prompts in the given namespace, which keeps what the block defines."""
    parser = doctest.DocTestParser()
    test = parser.get_doctest(block.text, {}, path.name, str(path), block.line - 1)
    test.globs = namespace
    check(test)


def check(test: doctest.DocTest) -> None:
    """Run a doctest; raise with its own report when an output differs."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    if runner.run(test, out=report.append, clear_globs=False).failed:
        raise AssertionError("".join(report))
