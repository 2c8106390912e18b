from __future__ import annotations

import io
import sys

import matplotlib.image
import numpy as np
import pytest

from funcnet.cli.curve import draw_learning_curve
from funcnet.cli.folder import Run


def run(epochs: int, seed: int = 0) -> Run:
    history = [
        {"loss": 2.0 / n, "test_loss": 2.1 / n, "test_accuracy": 1 - 0.5 / n}
        for n in range(1, epochs + 1)
    ]
    return Run(seed, {}, history)


@pytest.mark.parametrize("runs", [[run(60)], [run(1)], [run(30, 0), run(30, 1)]])
def test_it_is_a_picture_with_both_curves(runs: list[Run]) -> None:
    pixels = matplotlib.image.imread(io.BytesIO(draw_learning_curve(runs, "Title")), format="png")
    height, width = pixels.shape[:2]
    assert (width, height) == (1080, 480)
    left, right = pixels[:, : width // 2, :3], pixels[:, width // 2 :, :3]
    blue, orange = (31, 119, 180), (255, 127, 14)
    for half, colour, there in ((left, blue, True), (left, orange, True), (right, orange, True)):
        near = np.abs(half * 255 - np.array(colour)).sum(-1) < 120
        assert near.any() == there


def test_values_that_are_not_finite_are_left_out() -> None:
    broken = run(3)
    broken.history[-1].update(loss=float("nan"), test_loss=float("inf"))
    assert draw_learning_curve([broken], "Title")[:4] == b"\x89PNG"


def test_it_needs_no_display_and_leaves_pyplot_alone() -> None:
    before = "matplotlib.pyplot" in sys.modules
    draw_learning_curve([run(2)], "Title")
    assert ("matplotlib.pyplot" in sys.modules) == before
