"""Four functions of scalars whose Jacobians have been counted in multiplications.

Lohoff and Neftci, "Optimizing Automatic Differentiation with Deep Reinforcement Learning" (2024),
arXiv 2406.05027, search orders of vertex elimination for them. Their counts are reproduced by these
rules, of which the tests have a program:

* A vertex is an operation of the jaxpr, with nothing merged: a root taken three times is three
  vertices. Constants are no vertices. An edge leads from each argument of an operation to it.
* Eliminating a vertex costs one multiplication for each pair of an edge in and an edge out. An edge
  that is 1 or -1, such as those of sums, is multiplied like any other; additions are not counted.
* Operations whose result is returned are not eliminated.
* Forward eliminates in the order of the program, reverse in the opposite one; Markowitz takes the
  vertex that costs least, and on ties the first of the program, or the last.

The formulas are written operation by operation as they were counted, repetitions included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

__all__ = ["ELIMINATION", "EliminationCase"]


@dataclass(frozen=True, eq=False)
class EliminationCase:
    """A function of scalars that returns scalars, and what its Jacobian costs in multiplications.

    Attributes:
        name: What it is called.
        f: The function; every argument is to be differentiated.
        point: Arguments in the range that its problem asks for.
        forward: Multiplications of forward elimination.
        reverse: Of reverse elimination.
        markowitz: Of minimal Markowitz degree, ties going to the first operation.
        markowitz_reverse: The same with ties going to the last.
        published: The best that the paper found: not to be exceeded.
    """

    name: str
    f: Callable[..., Any]
    point: tuple[float, ...]
    forward: int
    reverse: int
    markowitz: int
    markowitz_reverse: int
    published: int

    def make(self, dtype: Any = np.float64) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The function and its arguments, which are arrays of rank 0."""
        return self.f, tuple(np.asarray(x, dtype) for x in self.point)


def _state(density: Any, momentum: Any, energy: Any) -> tuple[Any, Any, Any]:
    """Velocity, pressure and enthalpy of a gas with an adiabatic index of 1.4."""
    velocity = momentum / density
    pressure = 0.4 * (energy - 0.5 * momentum**2 / density)
    return velocity, pressure, (energy + pressure) / density


def _flux(density: Any, momentum: Any, energy: Any, pressure: Any) -> tuple[Any, Any, Any]:
    velocity = momentum / density
    return momentum, pressure + momentum * velocity, velocity * (pressure + energy)


def roe_flux_1d(l0: Any, l1: Any, l2: Any, r0: Any, r1: Any, r2: Any) -> tuple[Any, ...]:
    """The numerical flux between two states of density, momentum and energy.

    P. L. Roe, "Approximate Riemann solvers, parameter vectors, and difference schemes", Journal of
    Computational Physics 43 (1981). The third wave's speed is |u|, as it was counted; it is |u - a|
    in Roe's scheme.
    """
    jump = r0 - l0
    mean_density = jnp.sqrt(l0 * r0)
    weight = jnp.sqrt(l0) + jnp.sqrt(r0)
    left_velocity, left_pressure, left_enthalpy = _state(l0, l1, l2)
    right_velocity, right_pressure, right_enthalpy = _state(r0, r1, r2)
    dp = right_pressure - left_pressure
    dv = right_velocity - left_velocity

    u = (jnp.sqrt(l0) * left_velocity + jnp.sqrt(r0) * right_velocity) / weight
    h = (jnp.sqrt(l0) * left_enthalpy + jnp.sqrt(r0) * right_enthalpy) / weight
    u2 = u**2
    a2 = 0.4 * (h - 0.5 * u2)
    a = jnp.sqrt(a2)

    fast, slow, third = jnp.abs(u + a), jnp.abs(u), jnp.abs(u)
    n = a * mean_density
    c0 = (jump - dp / a2) * slow
    c1 = (dv + dp / n) * fast
    c2 = (dv - dp / n) * third

    left = _flux(l0, l1, l2, left_pressure)
    right = _flux(r0, r1, r2, right_pressure)
    both = [x + y for x, y in zip(left, right, strict=True)]
    c = 0.5 * mean_density / a
    waves = (
        c0 + c * c1 - c * c2,
        c0 * u + c * c1 * (u + a) - c * c2 * (u - a),
        c0 * 0.5 * u2 + c * c1 * (h + u * a) - c * c2 * (h - u * a),
    )
    return tuple(0.5 * (x - y) for x, y in zip(both, waves, strict=True))


def robot_arm_6dof(t1: Any, t2: Any, t3: Any, t4: Any, t5: Any, t6: Any) -> tuple[Any, ...]:
    """Position (in mm) and Tait-Bryan angles of a robot's hand from the angles of its six joints.

    S. Dikmenli, "Forward & inverse kinematics solution of 6-DOF robots those have offset &
    spherical wrists", Eurasian Journal of Science Engineering and Technology 3 (2022).
    """
    c1, c2, c4, c5, c6 = (jnp.cos(t) for t in (t1, t2, t4, t5, t6))
    c23 = jnp.cos(t2) * jnp.cos(t3) - jnp.sin(t2) * jnp.sin(t3)
    s1, s2, s4, s5, s6 = (jnp.sin(t) for t in (t1, t2, t4, t5, t6))
    s23 = jnp.cos(t2) * jnp.sin(t3) + jnp.sin(t2) * jnp.cos(t3)

    def along_x() -> Any:
        return s5 * (c1 * c23 * c4 + s1 * s4) + c1 * s23 * c5

    def along_y() -> Any:
        return s5 * (s1 * c23 * c4 - c1 * s4) + s1 * s23 * c5

    def along_z() -> Any:
        return s23 * c4 * s5 - c23 * c5

    def bend() -> Any:
        return c23 * s5 + s23 * c4 * c5

    def reach() -> Any:
        return 175.0 + 890.0 * c2 + 50.0 * c23 + 1035.0 * s23

    ax, ay, az = along_x(), along_y(), along_z()
    nz = c6 * bend() - s23 * s4 * s6
    oz = -s6 * bend() - s23 * s4 * c6
    yaw = jnp.arctan2(ay, ax)
    pitch = jnp.arctan2(jnp.sqrt(1.0 - az**2), az)
    roll = jnp.arctan2(oz, -nz)

    px = 185.0 * along_x() + c1 * reach()
    # Counted with + where the hand's direction has a -: the graph is the same.
    py = 185.0 * along_y() + s1 * reach()
    pz = 890.0 * s2 + 575.0 + 50.0 * s23 - 1035.0 * c23 + 185.0 * along_z()
    return px, py, pz, yaw, pitch, roll


def human_heart_dipole(*x: Any) -> tuple[Any, ...]:
    """The residuals of eight moments measured on a torso, as functions of two dipoles in a plane.

    C. V. Nelson and B. C. Hodgkin, "Determination of magnitudes, directions, and locations of two
    independent dipoles in a circular conducting region from boundary potential measurements", IEEE
    Transactions on Biomedical Engineering 28 (1981); a problem of the collection MINPACK-2 (B. M.
    Averick, R. G. Carter, J. J. More and G.-L. Xue, 1992). Here every moment is 1.
    """
    a, b, c, d, t, u, v, w = x
    f1 = a + b - 1.0
    f2 = c + d - 1.0
    f3 = t * a + u * b - v * c - w * d - 1.0
    f4 = v * a + w * b + t * c + u * d - 1.0

    tv, uw = t**2 - v**2, u**2 - w**2
    f5 = a * tv - 2 * c * t * v + b * uw - 2 * d * u * w - 1.0
    f6 = c * tv - 2 * a * t * v + d * uw - 2 * b * u * w - 1.0

    def cubic(p: Any, q: Any) -> Any:
        return p * (p**2 - 3 * q**2)

    ttv, vvt, uuw, wwu = cubic(t, v), cubic(v, t), cubic(u, w), cubic(w, u)
    f7 = a * ttv + c * vvt + b * uuw + d * wwu - 1.0
    f8 = c * ttv - a * vvt + d * uuw - b * wwu - 1.0
    return f1, f2, f3, f4, f5, f6, f7, f8


def propane_combustion(*x: Any) -> tuple[Any, ...]:
    """The residuals of the equilibrium of propane burnt in air, in amounts of ten products.

    K. Meintjes and A. P. Morgan, "Chemical equilibrium systems as numerical test problems", ACM
    Transactions on Mathematical Software 16 (1990); a problem of the collection MINPACK-2. The
    pressure is 40, the ratio of air to fuel 10, and the constants of equilibrium are 1.
    """
    x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11 = x
    root = jnp.sqrt(40.0 / x11)
    f1 = x1 + x4 - 3.0
    f2 = 2 * x1 + x2 + x4 + x7 + x8 + x9 + 2 * x10 - 10.0
    f3 = 2 * x2 + 2 * x5 + x6 + x7 - 8.0
    f4 = 2 * x3 + x9 - 40.0
    f5 = x2 * x4 - x1 * x5
    f6 = jnp.sqrt(x2 * x4) - jnp.sqrt(x1) * root * x6
    f7 = jnp.sqrt(x1 * x2) - jnp.sqrt(x4) * x7 * root
    f8 = x1 - x4 * x8 * 40.0 / x11
    f9 = x1 * jnp.sqrt(x3) - x4 * x9 * root
    f10 = x1**2 - x4**2 * x10 * 40.0 / x11
    f11 = x11 - x1 - x2 - x3 - x4 - x5 - x6 - x7 - x8 - x9 - x10
    return f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11


_TUBE = (1.0, 0.75, 2.8, 0.125, 0.05, 0.26)
_JOINTS = (0.3, -0.7, 0.5, 1.1, 0.9, -0.4)
_DIPOLES = (0.6, 0.4, -0.3, 1.3, 0.8, 1.2, -0.5, 0.7)
_AMOUNTS = (0.5, 2.5, 18.0, 0.6, 1.4, 0.7, 0.3, 0.4, 3.6, 0.2, 28.0)

ELIMINATION: dict[str, EliminationCase] = {
    one.name: one
    for one in [
        EliminationCase("RoeFlux_1d", roe_flux_1d, _TUBE, 620, 364, 407, 344, 320),
        EliminationCase("RobotArm_6DOF", robot_arm_6dof, _JOINTS, 397, 301, 288, 221, 231),
        EliminationCase("HumanHeartDipole", human_heart_dipole, _DIPOLES, 240, 172, 194, 148, 148),
        EliminationCase("PropaneCombustion", propane_combustion, _AMOUNTS, 151, 90, 111, 88, 88),
    ]
}
