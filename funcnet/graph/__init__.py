"""Any JAX function as a graph: its values, tangents, adjoints, paths and pictures.

Any function is a directed acyclic graph of the values that it computes. The forward pass visits the
nodes in order and stores each value; the backward pass visits them in reverse, and the adjoint of
each is the sum of what arrives along its edges. :func:`trace` writes that graph down for any
function that JAX can trace.
"""

from __future__ import annotations

from funcnet.graph.descent import Step, descend
from funcnet.graph.explain import Explanation, Summand, explain, summands
from funcnet.graph.flow import Culprit, Flow, find_nan, flow
from funcnet.graph.graph import Graph
from funcnet.graph.local_jacobians import LocalJacobian
from funcnet.graph.node import Node, Operation
from funcnet.graph.paths import Path, Paths
from funcnet.graph.pictures import Page, Picture, to_dot, to_html, to_svg, to_text
from funcnet.graph.sweeps import Adjoints, PerNode, Values
from funcnet.graph.tape import Tape, Variable
from funcnet.graph.tracing import inside, trace

__all__ = [
    "Adjoints",
    "Culprit",
    "Explanation",
    "Flow",
    "Graph",
    "LocalJacobian",
    "Node",
    "Operation",
    "Page",
    "Path",
    "Paths",
    "PerNode",
    "Picture",
    "Step",
    "Summand",
    "Tape",
    "Values",
    "Variable",
    "descend",
    "explain",
    "find_nan",
    "flow",
    "inside",
    "summands",
    "to_dot",
    "to_html",
    "to_svg",
    "to_text",
    "trace",
]
