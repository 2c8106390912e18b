"""The programs that Jacobians are tested and measured on, each at a small and at its full size.

Here stand those that other libraries have been measured on; `operations.py` has one for each kind
of operation, and `control.py` those of loops, branches and rules. `BATTERY["relu"].make("full")`
gives a function and its arguments. Weights are arguments too, so that no compiler can fold products
with them away.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.jacobian import control, operations
from tests.jacobian.cases import Case, Draw, band, case, cases_of, diagonal

__all__ = ["BATTERY", "rosenbrock"]


@case(8, 4096, diagonal)
def relu(n: int, fixed: Draw, draw: Draw) -> Any:
    return jax.nn.relu, (draw(n),)


@case((3, 4), (128, 256), lambda s: np.kron(np.eye(s[0]), np.ones(s[1])))
def linear_weights(size: Any, fixed: Draw, draw: Draw) -> Any:
    return lambda w, v: w @ v, (draw(*size), draw(size[1]))


@case(7, 4000, lambda n: band(n, 1))
def burgers(n: int, fixed: Draw, draw: Draw) -> Any:
    """u_t = -u u_x + nu u_xx by central differences, between walls where u = 0."""

    def velocity(u: Any) -> Any:
        left, right = jnp.pad(u, (1, 0))[:-1], jnp.pad(u, (0, 1))[1:]
        return -u * (right - left) / 2 + 0.3 * (right - 2 * u + left)

    return velocity, (draw(n),)


def _brusselator_truth(n: int) -> Any:
    cell, itself = np.arange(n * n).reshape(n, n), np.eye(n * n)
    neighbours = [np.roll(cell, s, axis).ravel() for s in (-1, 1) for axis in (0, 1)]
    near = itself + sum(itself[where] for where in neighbours)
    return np.block([[near, itself], [itself, near]])


@case(4, 64, _brusselator_truth)
def brusselator(n: int, fixed: Draw, draw: Draw) -> Any:
    """Two species that react and diffuse on an n x n torus; 2 n^2 unknowns."""

    def laplacian(u: Any) -> Any:
        near = [jnp.roll(u, s, axis) for s in (-1, 1) for axis in (0, 1)]
        return sum(near) - 4 * u

    def velocity(state: Any) -> Any:
        u, v = state.reshape(2, n, n)
        made = u * u * v
        du = 1 + made - 4.4 * u + 0.1 * laplacian(u)
        return jnp.stack([du, 3.4 * u - made + 0.1 * laplacian(v)]).ravel()

    return velocity, (draw(2 * n * n),)


def mlp(widths: Any, fixed: Draw, draw: Draw) -> Any:
    def network(x: Any, layers: Any) -> Any:
        for w, b in layers[:-1]:
            x = jnp.tanh(x @ w + b)
        w, b = layers[-1]
        return x @ w + b

    return network, (draw(widths[0]), draw.network(*widths))


def _network(name: str, small: tuple[int, ...], full: tuple[int, ...]) -> Case:
    return Case(name, mlp, {"small": small, "full": full}, lambda s: np.ones((s[-1], s[0])), True)


mlp_tall = _network("mlp_tall", (2, 5, 5, 5, 7), (10, 256, 256, 256, 1000))
mlp_wide = _network("mlp_wide", (7, 5, 5, 5, 2), (1000, 256, 256, 256, 10))
mlp_square = _network("mlp_square", (4, 6, 4), (200, 300, 200))
bottleneck_8 = _network("bottleneck_8", (7, 5, 1, 5, 7), (1000, 256, 8, 256, 1000))
bottleneck_32 = _network("bottleneck_32", (6, 4, 2, 4, 6), (784, 128, 32, 128, 784))


def _arrow(n: int) -> Any:
    arrow = np.eye(n)
    arrow[0] = arrow[:, 0] = 1
    return arrow


@case(6, 2000, _arrow)
def arrowhead(n: int, fixed: Draw, draw: Draw) -> Any:
    """A dense row, a dense column and a diagonal."""

    def f(x: Any) -> Any:
        return jnp.concatenate([jnp.sum(jnp.sin(x))[None], x[0] * x[1:] ** 2])

    return f, (draw(n),)


def rosenbrock(x: Any) -> Any:
    """sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2."""
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@case(6, 5000, lambda n: band(n, 1))
def rosenbrock_gradient(n: int, fixed: Draw, draw: Draw) -> Any:
    """Its Jacobian is a Hessian."""
    return jax.grad(rosenbrock), (draw(n),)


BATTERY: dict[str, Case] = {
    name: one
    for module in (globals(), vars(operations), vars(control))
    for name, one in cases_of(module).items()
}
