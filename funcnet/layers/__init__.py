"""Layers: pairs of pure functions, and the combinators that make networks of them."""

from __future__ import annotations

from funcnet.layers.activation import activation, prelu
from funcnet.layers.combinators import parallel, residual, serial
from funcnet.layers.dense import dense
from funcnet.layers.dropout import dropout
from funcnet.layers.repeat import repeat
from funcnet.layers.shape import flatten
from funcnet.layers.statistics import running_mean
from funcnet.layers.summary import LayerSummary, Summary, summary
from funcnet.layers.types import AnyLayer, Entry, Layer, StatefulLayer, as_stateful

__all__ = [
    "AnyLayer",
    "Entry",
    "Layer",
    "LayerSummary",
    "StatefulLayer",
    "Summary",
    "activation",
    "as_stateful",
    "dense",
    "dropout",
    "flatten",
    "parallel",
    "prelu",
    "repeat",
    "residual",
    "running_mean",
    "serial",
    "summary",
]
