"""Networks to start from: logistic regression and the multilayer perceptron."""

from __future__ import annotations

from funcnet.models.logistic import (
    LogisticBackward,
    logistic_backward,
    logistic_loss,
    logistic_regression,
)
from funcnet.models.mlp import mlp

__all__ = [
    "LogisticBackward",
    "logistic_backward",
    "logistic_loss",
    "logistic_regression",
    "mlp",
]
