"""The pages that the guide shows, drawn while the docs are built, by what they are examples of."""

from __future__ import annotations

import contextlib
import io
import runpy
from pathlib import Path

from sphinx.application import Sphinx

from funcnet.cli import main as funcnet

PAGES = ("lecture.html", "mlp.html")
"""What `draw` makes."""

ROOT = Path(__file__).parents[2]


def draw(folder: Path) -> None:
    """Draw all pages into a folder: the lecture's example, and a multilayer perceptron."""
    with contextlib.redirect_stdout(io.StringIO()):
        runpy.run_path(str(ROOT / "examples" / "backpropagation.py"))["main"](folder)
        status = funcnet(["graph", "--model", "mlp", "--quiet", "--out", str(folder / "mlp.html")])
    if status:
        raise RuntimeError("the multilayer perceptron could not be drawn")


def _on_finish(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        draw(Path(app.outdir) / "_static")


def setup(app: Sphinx) -> dict[str, bool]:
    """Draw when a build has ended."""
    app.connect("build-finished", _on_finish)
    return {"parallel_read_safe": True}
