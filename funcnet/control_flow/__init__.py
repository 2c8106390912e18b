"""Loops, branches and algorithms that can be differentiated in both modes."""

from funcnet.control_flow.counting import LoopReport, Sweeping, loop_report
from funcnet.control_flow.implicit import fixed_point, minimize, root
from funcnet.control_flow.loops import DEFAULT_BUDGET, fori_loop, while_loop
from funcnet.control_flow.remat import checkpointed
from funcnet.control_flow.scans import scan
from funcnet.control_flow.schedule import replays, revolve

__all__ = [
    "DEFAULT_BUDGET",
    "LoopReport",
    "Sweeping",
    "checkpointed",
    "fixed_point",
    "fori_loop",
    "loop_report",
    "minimize",
    "replays",
    "revolve",
    "root",
    "scan",
    "while_loop",
]
