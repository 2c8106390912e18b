"""Training: steps, epochs, and parameters in files."""

from __future__ import annotations

from funcnet.training.epoch import Callback, History, fit, make_epoch
from funcnet.training.optimizers import gradient_descent
from funcnet.training.saving import load_params, save_params
from funcnet.training.step import (
    Loss,
    Metrics,
    Step,
    TrainState,
    init_train_state,
    make_step,
    plain_step,
)

__all__ = [
    "Callback",
    "History",
    "Loss",
    "Metrics",
    "Step",
    "TrainState",
    "fit",
    "gradient_descent",
    "init_train_state",
    "load_params",
    "make_epoch",
    "make_step",
    "plain_step",
    "save_params",
]
