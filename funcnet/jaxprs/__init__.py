"""Reading functions: what JAX traced, operation by operation.

``jax.make_jaxpr(f)(*args)`` writes any function down as a jaxpr, a list of equations. This room is
the only one that walks through jaxprs. It finds the equations inside loops, branches and
nested calls, tells where each comes from and how often it runs, counts operations and bytes, and
lists what reverse mode keeps.
"""

from __future__ import annotations

from funcnet.jaxprs.arguments import argument_paths
from funcnet.jaxprs.cost import Cost, Tally, cost_of, flops
from funcnet.jaxprs.memory import Residual, Residuals, residuals
from funcnet.jaxprs.nesting import Body, Nesting, Role, look_inside, register_opener
from funcnet.jaxprs.operations import Operations, count_operations
from funcnet.jaxprs.walk import (
    Equation,
    depends_on,
    equations,
    function_of,
    inline,
    live_equations,
    straight,
)

__all__ = [
    "Body",
    "Cost",
    "Equation",
    "Nesting",
    "Operations",
    "Residual",
    "Residuals",
    "Role",
    "Tally",
    "argument_paths",
    "cost_of",
    "count_operations",
    "depends_on",
    "equations",
    "flops",
    "function_of",
    "inline",
    "live_equations",
    "look_inside",
    "register_opener",
    "residuals",
    "straight",
]
