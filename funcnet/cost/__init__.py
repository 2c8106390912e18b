"""What a derivative costs in each mode, counted, compiled, measured and drawn.

Forward mode takes one pass for each input and keeps nothing; reverse mode takes one pass for each
output and keeps what the way back needs. Which is cheaper, and by how much, is a matter of numbers:
:func:`compare_modes` tells them for any function, :func:`sweep` how they grow with its size, and
:func:`crossover` where one mode overtakes the other.
"""

from __future__ import annotations

from funcnet.clock import Spread
from funcnet.cost.bounds import Bound, gradient_bound, tangent_bound
from funcnet.cost.comparison import Progress, compare_modes
from funcnet.cost.gradients import GradientMode, value_and_grad
from funcnet.cost.pictures import draw_comparison, draw_sweep
from funcnet.cost.report import Comparison, Measurement, ModeCost
from funcnet.cost.sweeps import Quantity, Sweep, SweepPoint, crossover, sweep
from funcnet.cost.ways import WAYS
from funcnet.jaxprs import residuals

__all__ = [
    "WAYS",
    "Bound",
    "Comparison",
    "GradientMode",
    "Measurement",
    "ModeCost",
    "Progress",
    "Quantity",
    "Spread",
    "Sweep",
    "SweepPoint",
    "compare_modes",
    "crossover",
    "draw_comparison",
    "draw_sweep",
    "gradient_bound",
    "residuals",
    "sweep",
    "tangent_bound",
    "value_and_grad",
]
