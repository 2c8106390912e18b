"""What a way of computing a Jacobian is expected to take, in seconds.

Most of it is moving bytes: arithmetic hides behind that unless matrices are multiplied, each step
has a price of its own, however small its arrays, and so has each entry that is written to a place
from a list. Four constants for each back end say how fast these are; they need not be exact to rank
the ways, and the same shapes always give the same choice. Whoever wants those of their own machine
measures them once (``funcnet calibrate``) and names the file in the environment variable
``FUNCNET_MACHINE``.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import jax

from funcnet.errors import ArgumentError
from funcnet.jacobian.blocks.values import Work

__all__ = ["MACHINES", "Machine", "load_machine", "machine"]

VARIABLE = "FUNCNET_MACHINE"
"""The environment variable that names a file of constants."""


@dataclass(frozen=True)
class Machine:
    """How fast a back end is.

    Attributes:
        bytes_per_second: Memory traffic.
        flops_per_second: Arithmetic in matrix products.
        step: Seconds that a step takes before it moves anything.
        scatter: Seconds for each entry, or window, that is written to a place from a list.
    """

    bytes_per_second: float
    flops_per_second: float
    step: float
    scatter: float

    def seconds(self, work: Work, steps: int, itemsize: int) -> float:
        """The predicted time of so much work in so many steps."""
        moved = work.entries * itemsize / self.bytes_per_second
        started = steps * self.step + work.scattered * self.scatter
        return moved + work.flops / self.flops_per_second + started

    def to_json(self) -> str:
        """The constants as text that :func:`load_machine` reads."""
        return json.dumps(asdict(self), indent=2) + "\n"


MACHINES = {
    "cpu": Machine(8e9, 6e10, 5e-7, 3e-9),
    "gpu": Machine(1e12, 1e13, 3e-6, 1e-10),
    "tpu": Machine(6e11, 5e13, 2e-6, 1e-9),
}
"""Round numbers for a few cores, a data-centre GPU and a TPU core."""


def machine() -> Machine:
    """The constants of the file that the user names, else of the back end that JAX uses."""
    named = os.environ.get(VARIABLE)
    if named:
        return load_machine(named)
    name = jax.default_backend()
    return MACHINES.get(name, MACHINES["gpu" if name in ("cuda", "rocm") else "cpu"])


@cache
def load_machine(path: str) -> Machine:
    """Read constants that were measured before.

    Args:
        path: A file that ``funcnet calibrate --out`` wrote.

    Returns:
        The constants.

    Raises:
        ArgumentError: If there is no such file, or it holds anything else.
    """
    try:
        found = json.loads(Path(path).read_text())
        numbers = {name: float(found[name]) for name in Machine.__dataclass_fields__}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ArgumentError(
            f"{VARIABLE}={path}: this file cannot be read as constants of a machine "
            f"({type(error).__name__}: {error}). `funcnet calibrate --out {path}` makes one."
        ) from error
    for name, value in numbers.items():
        if not (math.isfinite(value) and value > 0):
            raise ArgumentError(f"{VARIABLE}={path}: {name} is {value}; it has to be positive.")
    return Machine(**numbers)
