"""Pictures of costs, as the bytes of PNG files."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from funcnet.cost.report import Comparison, ModeCost, format_multiple
from funcnet.cost.sweeps import Quantity, Sweep, crossover
from funcnet.report import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_comparison", "draw_sweep"]

_COLOURS = {
    "primal": "#555555",
    "one JVP": "#7fb2dd",
    "one VJP": "#f4a582",
    "forward Jacobian": "#2166ac",
    "reverse Jacobian": "#c8442c",
    "compressed Jacobian": "#8856a7",
    "eliminated Jacobian": "#2a8c55",
    "forward gradient": "#49a9b5",
    "checkpointed VJP": "#c79a1b",
}
_INK, _PALE = "#333333", "#e4e4e4"
_QUANTITIES: dict[str, tuple[str, Callable[[float], str]]] = {
    "operations": ("operations", format_count),
    "bytes": ("memory traffic", format_bytes),
    "seconds": ("time of a call", format_seconds),
    "kept_bytes": ("memory kept", format_bytes),
    "temp_bytes": ("temporary memory", format_bytes),
}
_SHORT = {"kept_bytes": "kept", "temp_bytes": "temporary"}


def draw_comparison(costs: Comparison) -> bytes:
    """Draw what the ways to differentiate a function cost, one line for each.

    On the left are multiples of the function alone: operations, Griewank's bound on them, the time
    that the counts let expect and the one that was measured. On the right is memory.

    Args:
        costs: What :func:`compare_modes` found.

    Returns:
        The picture as the bytes of a PNG file.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.cost import compare_modes
        >>> costs = compare_modes(jnp.sin, jnp.ones(9), ways=["one JVP"], measure=False)
        >>> draw_comparison(costs)[1:4]
        b'PNG'
    """
    rows = costs.rows
    figure = _figure(10.5, 1.9 + 0.42 * len(rows))
    figure.suptitle(costs.title, x=0.012, ha="left", color=_INK, fontsize=13)
    left, right = figure.subplots(1, 2, width_ratios=(3, 1.6), sharey=True)
    _draw_multiples(left, rows)
    _draw_memory(right, rows)
    left.set_yticks(range(len(rows)), [row.name for row in rows])
    left.set_ylim(len(rows) - 0.4, -0.6)
    handles, labels = left.get_legend_handles_labels()
    more, more_labels = right.get_legend_handles_labels()
    figure.legend(
        handles + more, labels + more_labels, loc="outside lower center", ncols=6, frameon=False,
        fontsize=8.5, columnspacing=1.4, handletextpad=0.5,
    )  # fmt: skip
    return _png(figure)


def draw_sweep(costs: Sweep, by: Quantity | None = None) -> bytes:
    """Draw how the cost of each way grows with the size, and how the memory does.

    Args:
        costs: What :func:`sweep` found.
        by: The quantity on the left; None for the time, or the operations if nothing was measured.

    Returns:
        The picture as the bytes of a PNG file.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcnet.cost import sweep
        >>> costs = sweep(lambda n: (jnp.sin, (jnp.ones(n),)), [2, 4], measure=False)
        >>> draw_sweep(costs)[1:4]
        b'PNG'
    """
    quantity: Quantity = by or ("seconds" if costs.is_measured else "operations")
    memory: list[Quantity] = ["kept_bytes", "temp_bytes"]
    with_memory = any(v for way in costs.ways for q in memory for v in costs.values(way, q))
    figure = _figure(11.0 if with_memory else 6.0, 4.7)
    figure.suptitle(
        f"Derivatives of {costs.points[0].costs.function}: {_QUANTITIES[quantity][0]}"
        f"{' and memory' if with_memory else ''} by {costs.label}",
        x=0.012, ha="left", color=_INK, fontsize=13,
    )  # fmt: skip
    panels = figure.subplots(1, 2 if with_memory else 1, squeeze=False)[0]
    _draw_lines(panels[0], costs, ("primal", *costs.ways), [quantity])
    _mark_crossing(panels[0], costs, quantity)
    panels[0].set_ylabel(_QUANTITIES[quantity][0])
    if with_memory:
        _draw_lines(panels[1], costs, costs.ways, memory)
        panels[1].set_ylabel("memory" if costs.is_measured else "memory kept")
    return _png(figure)


def _draw_multiples(axes: Axes, rows: Sequence[ModeCost]) -> None:
    bounded = [(row.bound, i) for i, row in enumerate(rows) if row.bound is not None]
    for number, ((low, high), i) in enumerate(bounded):
        label = "" if number else "Griewank's bound"
        axes.barh(i, high - low, 0.62, left=low, color=_PALE, label=label, zorder=1)
    style: dict[str, Any] = {"linestyle": "", "markerfacecolor": "white", "zorder": 3}
    for attribute, marker, label, size in (
        ("multiple", "o", "operations, counted", 8),
        ("predicted", "D", "time, predicted", 5.5),
    ):
        known = [(v, i) for i, row in enumerate(rows) if (v := getattr(row, attribute))]
        axes.plot(*_columns(known), marker, markeredgecolor=_INK, label=label, ms=size, **style)
    measured = [
        (row.measured.multiple, i)
        for i, row in enumerate(rows)
        if row.measured is not None and row.measured.multiple is not None
    ]
    for number, (times, i) in enumerate(measured):
        colour = _COLOURS[rows[i].name]
        axes.plot([times.low, times.high], [i, i], color=colour, lw=3, alpha=0.5, zorder=4)
        label = "" if number else "time, measured"
        axes.plot(times.median, i, "o", color=colour, ms=7, label=label, zorder=5)
    axes.set_xscale("log")
    left, right = axes.get_xlim()
    axes.set_xlim(min(0.7, left), max(15, right * (right / min(0.7, left)) ** 0.2))
    heading = "time" if measured else "operations"
    medians = {i: times.median for times, i in measured}
    texts = [(i, medians.get(i) if measured else row.multiple) for i, row in enumerate(rows)]
    shown = [(i + 0.0, format_multiple(v)) for i, v in texts if v]
    for y, text in [(-0.72, heading), *shown]:
        axes.annotate(
            text, (0.99, y), xycoords=("axes fraction", "data"), ha="right", va="center",
            color=_INK, fontsize=9.5, style="italic" if text == heading else "normal",
        )  # fmt: skip
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.set_xlabel("times the function alone")
    _tidy(axes, "x")


def _draw_memory(axes: Axes, rows: Sequence[ModeCost]) -> None:
    kept = [(row.kept_bytes, i) for i, row in enumerate(rows)]
    temporary = [
        (None if row.measured is None else row.measured.temp_bytes, i) for i, row in enumerate(rows)
    ]
    sizes = [value for value, _ in (*kept, *temporary) if value]
    low, high = (min(sizes) / 2, float(max(sizes))) if sizes else (1.0, 1024.0)
    for values, offset, colour, label in (
        (kept, -0.17, "#8e5ea8", "kept for the way back"),
        (temporary, 0.17, "#7f9a48", "temporary"),
    ):
        known = [(value, i + offset) for value, i in values if value]
        if known:
            lengths, places = _columns(known)
            axes.hlines(places, low, lengths, color=colour, lw=2, alpha=0.45)
            axes.plot(lengths, places, "o", color=colour, ms=5, label=label)
        for value, i in values:
            if value is not None:
                axes.annotate(
                    format_bytes(value), (max(value, low), i + offset), xytext=(6, 0),
                    textcoords="offset points", va="center", color=_INK, fontsize=7.5,
                )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xlim(low, high * (high / low) ** 0.35)
    _byte_ticks(axes, "x", 4)
    axes.set_xlabel("memory")
    _tidy(axes, "x")
    axes.tick_params(axis="y", left=False, labelleft=False)


def _draw_lines(
    axes: Axes, costs: Sweep, ways: Sequence[str], quantities: Sequence[Quantity]
) -> None:
    for way in ways:
        for quantity in quantities:
            values = costs.values(way, quantity)
            if all(value is None for value in values):
                continue
            known = [(s, v) for s, v in zip(costs.sizes, values, strict=True) if v]
            label = way if len(quantities) == 1 else f"{way}, {_SHORT[quantity]}"
            line: dict[str, Any] = {"linestyle": "--" if quantity == "temp_bytes" else "-"}
            line |= {"color": _COLOURS[way], "marker": "o", "ms": 4.5}
            # What is zero has no place on a logarithmic axis, and only stands in the legend.
            axes.plot(*_columns(known), label=label if known else f"{label}: none", **line)
    axes.set_xscale("log")
    axes.set_xlabel(costs.label)
    sizes = costs.sizes
    axes.set_xticks(sizes if len(sizes) < 9 else sizes[:: 1 + len(sizes) // 8])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    if quantities[0] in ("operations", "seconds"):
        axes.set_yscale("log")
        _one_two_five(axes)
        axes.yaxis.set_major_formatter(lambda value, _: _QUANTITIES[quantities[0]][1](value))
    else:
        axes.set_yscale("log", base=2)
        _byte_ticks(axes, "y", 7)
    axes.legend(frameon=False, fontsize=9)
    _tidy(axes, "both")


def _mark_crossing(axes: Axes, costs: Sweep, quantity: Quantity) -> None:
    if not {"forward Jacobian", "reverse Jacobian"} <= set(costs.ways):
        return
    at = crossover(costs, by=quantity)
    if at is None:
        return
    axes.axvline(at, color=_INK, lw=0.8, ls=":", zorder=0)
    axes.annotate(
        f"equal at {at:,.3g}", (at, 0), xycoords=("data", "axes fraction"), xytext=(4, 6),
        textcoords="offset points", color=_INK, fontsize=9,
    )  # fmt: skip


def _figure(width: float, height: float) -> Figure:
    # Without a writable home, Matplotlib tells at length where it keeps its cache instead.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=130, layout="constrained")


def _png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    return content.getvalue()


def _tidy(axes: Axes, grid: Any) -> None:
    axes.grid(axis=grid, alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="minor", length=0)


def _byte_ticks(axes: Axes, axis: str, most: int) -> None:
    """Powers of two as ticks, no more than so many."""
    low, high = axes.get_xlim() if axis == "x" else axes.get_ylim()
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    stride = next(n for n in (1, 2, 5, 10, 20, 40) if (last - first) / n < most)
    first += -first % stride
    line = axes.xaxis if axis == "x" else axes.yaxis
    line.set_ticks([2.0**power for power in range(first, last + 1, stride)])
    line.set_major_formatter(lambda value, _: format_bytes(value))


def _one_two_five(axes: Axes) -> None:
    """Ticks at 1, 2 and 5 times the powers of ten; where there are many, at the powers alone."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = axes.get_ylim()
    few = high / low < 1e3
    axes.yaxis.set_major_locator(LogLocator(10, (1, 2, 5) if few else (1,), numticks=12))
    axes.yaxis.set_minor_locator(NullLocator())


def _columns(pairs: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [first for first, _ in pairs], [second for _, second in pairs]
