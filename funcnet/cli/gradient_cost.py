"""What the gradient of a loss costs in reverse mode, and what it would cost in forward mode.

Reverse mode computes all derivatives of one number in one pass, at a few times the cost of the
loss. Forward mode computes the derivative in one direction per pass; for the whole gradient it
needs as many passes as there are parameters. One pass is measured, and the rest projected.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.jaxprs import flops
from funcnet.report import Column, Table, format_count, format_seconds
from funcnet.training import Loss
from funcnet.typing import Params, PyTree

__all__ = ["gradient_cost_table"]

_ROUNDS = 100


def gradient_cost_table(loss: Loss, params: Params, batch: PyTree) -> Table:
    """Measure the loss, its gradient in reverse mode, and one pass of forward mode on one batch.

    Args:
        loss: ``loss(params, batch)``, with one value per example.
        params: The parameters.
        batch: The batch.

    Returns:
        A table of times, their ratios to the time of the loss, and counted FLOPs.
    """
    mean_loss = lambda params: jnp.mean(loss(params, batch))  # noqa: E731
    direction = jax.tree.map(jnp.ones_like, params)
    passes: list[Callable[[Params], Any]] = [
        mean_loss,
        jax.value_and_grad(mean_loss),
        lambda params: jax.jvp(mean_loss, (params,), (direction,)),
    ]
    seconds = _median_seconds([jax.jit(f) for f in passes], params)
    counts = [flops(f, params).flops for f in passes]
    directions = sum(leaf.size for leaf in jax.tree.leaves(params))
    rows = [
        ("loss", seconds[0], counts[0]),
        ("gradient in reverse mode", seconds[1], counts[1]),
        ("one direction in forward mode", seconds[2], counts[2]),
        ("gradient in forward mode, projected", seconds[2] * directions, counts[2] * directions),
    ]
    return Table(
        [
            "",
            Column("time", format_seconds),
            Column("times the loss", _format_ratio),
            Column("FLOPs", format_count),
        ],
        [(name, time, time / seconds[0], count) for name, time, count in rows],
        title=f"What the gradient of {directions:,} parameters costs per batch",
        notes=["Projected: one direction, times the number of parameters."],
    )


def _median_seconds(functions: list[Callable[[Params], Any]], params: Params) -> list[float]:
    """The median time of a call of each function; they take turns, to see the same load."""
    samples: list[list[float]] = [[] for _ in functions]
    for function in functions:
        jax.block_until_ready(function(params))
    for _ in range(_ROUNDS):
        for function, sample in zip(functions, samples, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(function(params))
            sample.append(time.perf_counter() - start)
    return [statistics.median(sample) for sample in samples]


def _format_ratio(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 100 else f"{ratio:,.0f}"
