"""Pictures hold what they should: their texts and marks, and bytes that are a PNG file."""

from __future__ import annotations

import io
from typing import Any

import jax.numpy as jnp
import matplotlib.image
import matplotlib.text
import pytest
from matplotlib.figure import Figure

from funcnet.cost import compare_modes, draw_comparison, draw_sweep, pictures, sweep

SIZE = [2, 4, 8]


def outputs_of_four(n: int) -> Any:
    return (lambda x: jnp.sin(jnp.ones((4, n)) @ x)), (jnp.ones(n),)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    drawn: list[Figure] = []
    png = pictures._png

    def remembered(figure: Figure) -> bytes:
        drawn.append(figure)
        return png(figure)

    monkeypatch.setattr(pictures, "_png", remembered)
    return drawn


def texts(figure: Figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(matplotlib.text.Text)}


def test_a_comparison(figures: list[Figure]) -> None:
    costs = compare_modes(
        lambda x: jnp.sum(jnp.sin(x)), jnp.ones(20), ways=["one VJP", "forward Jacobian"],
        rounds=3, seconds=0.1,
    )  # fmt: skip
    picture = matplotlib.image.imread(io.BytesIO(draw_comparison(costs)))
    assert picture.shape[0] > 200 and picture.shape[1] > 1000
    shown = texts(figures[0])
    assert {"f, 20 inputs and 1 output", *costs, "Griewank's bound", "time, measured"} <= shown
    assert {"80 B", "time", "1 x"} <= shown


def test_a_comparison_that_was_only_counted(figures: list[Figure]) -> None:
    costs = compare_modes(jnp.sum, jnp.ones(5), ways=["one VJP"], measure=False)
    assert draw_comparison(costs).startswith(b"\x89PNG")
    assert "time, measured" not in texts(figures[0]) and "operations" in texts(figures[0])


@pytest.mark.parametrize("ways", [[], ["one JVP"]])
def test_little_to_draw(ways: list[str]) -> None:
    draw_comparison(compare_modes(lambda x: x, jnp.ones(5), ways=ways, measure=False))


def test_a_sweep_marks_the_crossing(figures: list[Figure]) -> None:
    costs = sweep(outputs_of_four, SIZE, label="inputs", measure=False)
    assert draw_sweep(costs).startswith(b"\x89PNG")
    shown = texts(figures[0])
    assert {"forward Jacobian", "inputs", "operations", "memory kept", "8"} <= shown
    assert any(text.startswith("equal at ") for text in shown)
    draw_sweep(costs, by="bytes")
    assert "memory traffic" in texts(figures[1])


def test_a_sweep_without_memory_has_one_panel(figures: list[Figure]) -> None:
    costs = sweep(outputs_of_four, SIZE, ways=["one JVP"], measure=False)
    draw_sweep(costs)
    assert len(figures[0].axes) == 1


def test_a_measured_sweep(figures: list[Figure]) -> None:
    costs = sweep(outputs_of_four, SIZE[:2], ways=["one VJP"], rounds=3, seconds=0.05)
    draw_sweep(costs)
    assert {"time of a call", "one VJP, kept", "memory"} <= texts(figures[0])
