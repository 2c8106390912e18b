"""The picture of the learning curve."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence

from funcnet.cli.folder import Run

__all__ = ["draw_learning_curve"]


def draw_learning_curve(runs: Sequence[Run], title: str) -> bytes:
    """Loss and test accuracy after each epoch, one line per seed, as the bytes of a PNG file."""
    # Without a writable home, Matplotlib tells at length where it keeps its cache instead.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 4), dpi=120, layout="constrained")
    figure.suptitle(title)
    losses, accuracy = figure.subplots(1, 2)
    for number, run in enumerate(runs):
        epochs = range(1, len(run.history) + 1)
        style = {"marker": "." if len(run.history) < 20 else "", "alpha": 0.9 / len(runs) ** 0.5}
        for name, label, colour in (
            ("loss", "training, mean over the epoch", "tab:blue"),
            ("test_loss", "test, after the epoch", "tab:orange"),
        ):
            values = [metrics[name] for metrics in run.history]
            losses.plot(epochs, values, color=colour, label="" if number else label, **style)
        values = [100 * metrics["test_accuracy"] for metrics in run.history]
        accuracy.plot(epochs, values, color="tab:orange", **style)
    losses.set_ylabel("cross-entropy loss per image (nats)")
    losses.legend(frameon=False)
    accuracy.set_ylabel("test accuracy (%)")
    for axes in (losses, accuracy):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    return content.getvalue()
