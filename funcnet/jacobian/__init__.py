"""Jacobians that know their structure.

The full Jacobian of a ReLU layer is large but diagonal; of a linear layer, with respect to its
weights, it is sparse. Forward mode costs in proportion to the inputs, reverse mode to the outputs,
and both are only two of a family of ways to multiply the same local Jacobians.

:func:`jacobian` reads the structure of every operation from the linearised function, plans the
multiplication and computes only what is there. :func:`plan_jacobian` tells what it will do.
"""

from __future__ import annotations

from funcnet.jacobian.api import (
    jacobian,
    jacobian_diagonal,
    plan_jacobian,
    value_and_jacobian,
)
from funcnet.jacobian.checking import JacobianCheck, check_jacobian
from funcnet.jacobian.hessians import hessian, hvp, plan_hessian
from funcnet.jacobian.operator import JacobianOperator
from funcnet.jacobian.planning.calibration import calibrate
from funcnet.jacobian.planning.loading import load_plan
from funcnet.jacobian.planning.plan import Plan
from funcnet.jacobian.planning.planner import Alternative
from funcnet.jacobian.planning.pricing import Machine

__all__ = [
    "Alternative",
    "JacobianCheck",
    "JacobianOperator",
    "Machine",
    "Plan",
    "calibrate",
    "check_jacobian",
    "hessian",
    "hvp",
    "jacobian",
    "jacobian_diagonal",
    "load_plan",
    "plan_hessian",
    "plan_jacobian",
    "value_and_jacobian",
]
