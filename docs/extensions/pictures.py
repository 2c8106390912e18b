"""Pictures of the guide, drawn while the docs are built, by what they are examples of."""

from __future__ import annotations

import contextlib
import io
import runpy
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from sphinx.application import Sphinx

from funcnet.cli import main as funcnet
from funcnet.cost import draw_sweep, sweep

PAGES = ("lecture.html", "mlp.html", "crossing.png", "depth.png")
"""What `draw` makes."""

ROOT = Path(__file__).parents[2]


def draw(folder: Path) -> None:
    """Draw all into a folder: the lecture's example, a perceptron, and what derivatives cost."""
    with contextlib.redirect_stdout(io.StringIO()):
        runpy.run_path(str(ROOT / "examples" / "backpropagation.py"))["main"](folder)
        status = funcnet(["graph", "--model", "mlp", "--quiet", "--out", str(folder / "mlp.html")])
    if status:
        raise RuntimeError("the multilayer perceptron could not be drawn")
    crossing = sweep(layer, [10, 30, 100, 300, 1000], label="inputs", measure=False)
    (folder / "crossing.png").write_bytes(draw_sweep(crossing))
    ways = ["one JVP", "one VJP", "checkpointed VJP"]
    memory = sweep(deep, [20, 100, 500], label="depth", ways=ways, measure=False)
    (folder / "depth.png").write_bytes(draw_sweep(memory))


def layer(inputs: int) -> tuple[Any, tuple[Any, ...]]:
    """A layer with 100 outputs."""
    w = jnp.ones((100, inputs))
    return (lambda x: jnp.sin(w @ x)), (jnp.ones(inputs),)


def deep(depth: int) -> tuple[Any, tuple[Any, ...]]:
    """A function applied many times."""

    def f(x: Any) -> Any:
        return jnp.sum(jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, None, length=depth)[0])

    return f, (jnp.ones(256),)


def _on_finish(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        draw(Path(app.outdir) / "_static")


def setup(app: Sphinx) -> dict[str, bool]:
    """Draw when a build has ended."""
    app.connect("build-finished", _on_finish)
    return {"parallel_read_safe": True}
