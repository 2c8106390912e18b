"""What a way of computing a Jacobian is expected to take, in seconds.

Most of it is moving bytes: arithmetic hides behind that unless matrices are multiplied, and each
step has a price of its own, however small its arrays. Three constants for each back end say how
fast these are; they need not be exact to rank the ways, and the same shapes always give the same
choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax

from funcnet.jacobian.values import Work

__all__ = ["MACHINES", "Machine", "machine"]


@dataclass(frozen=True)
class Machine:
    """How fast a back end is.

    Attributes:
        bytes_per_second: Memory traffic.
        flops_per_second: Arithmetic in matrix products.
        step: Seconds that a step takes before it moves anything.
    """

    bytes_per_second: float
    flops_per_second: float
    step: float

    def seconds(self, work: Work, steps: int, itemsize: int) -> float:
        """The predicted time of so much work in so many steps."""
        moved = work.entries * itemsize / self.bytes_per_second
        return moved + work.flops / self.flops_per_second + steps * self.step


MACHINES = {
    "cpu": Machine(8e9, 6e10, 5e-7),
    "gpu": Machine(1e12, 1e13, 3e-6),
    "tpu": Machine(6e11, 5e13, 2e-6),
}
"""Round numbers for a few cores, a data-centre GPU and a TPU core."""


def machine() -> Machine:
    """The constants of the back end that JAX uses by default."""
    name = jax.default_backend()
    return MACHINES.get(name, MACHINES["gpu" if name in ("cuda", "rocm") else "cpu"])
