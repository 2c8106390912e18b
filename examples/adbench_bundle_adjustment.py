"""ADBench's bundle adjustment: what cameras see of points in space, and a large sparse Jacobian.

A camera has 11 parameters: a rotation r (its axis times its angle), a centre c, a focal length f, a
principal point u and two coefficients k of radial distortion. It sees a point x, with R the matrix
of the rotation, at

    (X, Y, Z) = R (x - c),    p = (X / Z, Y / Z),    f (1 + k_1 |p|^2 + k_2 |p|^4) p + u.

The residuals of an observation are its weight times the distance, in both coordinates, between this
and what was seen, and 1 - weight^2. Each depends on one camera, one point and one weight: an
observation has 14 + 14 + 1 nonzero derivatives, whatever the number of unknowns.

The problem is from F. Srajer, Z. Kukelova and A. Fitzgibbon, "A benchmark of selected algorithmic
differentiation tools on some problems in computer vision and machine learning" (2018), arXiv
1807.10129. Its first data set has the size `ba1` here.

Run it with ``python examples/adbench_bundle_adjustment.py --size ba1``.
"""

from __future__ import annotations

import argparse

import jax.numpy as jnp
import numpy as np

from funcnet.jacobian import jacobian
from funcnet.report import Table

SIZES = {"small": (3, 10, 20), "medium": (10, 500, 2000), "ba1": (49, 7776, 31_843)}


def rotate(rotation, vector):
    """Rodrigues' formula for a batch of rotations, smooth at a rotation by nothing too."""
    square = jnp.sum(rotation**2, axis=-1, keepdims=True)
    tiny = square == 0
    angle = jnp.sqrt(jnp.where(tiny, 1, square))  # no division by zero, even where not chosen
    sine = jnp.where(tiny, 1, jnp.sin(angle) / angle)
    versine = jnp.where(tiny, 0.5, (1 - jnp.cos(angle)) / angle**2)
    along = jnp.sum(rotation * vector, axis=-1, keepdims=True)
    turned = jnp.cross(rotation, vector)
    # cos(angle) v + sin(angle) n x v + (1 - cos(angle)) (n.v) n, with n the rotation over its angle
    return (1 - versine * square) * vector + sine * turned + versine * along * rotation


def project(camera, point):
    """Where cameras (p, 11) see points (p, 3): (p, 2)."""
    rotation, centre, focal, principal, radial = jnp.split(camera, (3, 6, 7, 9), axis=-1)
    seen = rotate(rotation, point - centre)
    plane = seen[:, :2] / seen[:, 2:]
    square = jnp.sum(plane**2, axis=-1, keepdims=True)
    return focal * (1 + radial[:, :1] * square + radial[:, 1:] * square**2) * plane + principal


def split(params, size):
    """Cameras (n, 11), points (m, 3) and weights (p,) out of one vector."""
    n, m, _ = SIZES[size]
    return (
        params[: 11 * n].reshape(n, 11),
        params[11 * n : 11 * n + 3 * m].reshape(m, 3),
        params[11 * n + 3 * m :],
    )


def make_residuals(size, observations, features):
    """A function of one vector of all unknowns, which returns one vector: what is seen is fixed."""
    camera_of, point_of = observations.T

    def residuals(params):
        cameras, points, weights = split(params, size)
        error = weights[:, None] * (project(cameras[camera_of], points[point_of]) - features)
        return jnp.concatenate([error.ravel(), 1 - weights**2])

    return residuals


def residuals_by_loops(params, size, observations, features):
    """The same with a matrix for each rotation, for complex numbers too."""
    cameras, points, weights = split(params, size)
    errors = []
    for (i, j), weight, feature in zip(observations, weights, features, strict=True):
        rotation, centre, (focal, *principal) = cameras[i, :3], cameras[i, 3:6], cameras[i, 6:9]
        x, y, z = rotation / (angle := np.sqrt((rotation**2).sum()))
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        matrix = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
        seen = matrix @ (points[j] - centre)
        r2 = (seen[0] / seen[2]) ** 2 + (seen[1] / seen[2]) ** 2
        scale = focal * (1 + cameras[i, 9] * r2 + cameras[i, 10] * r2**2)
        for axis in range(2):
            errors.append(weight * (scale * seen[axis] / seen[2] + principal[axis] - feature[axis]))
    return np.array([*errors, *(1 - w * w for w in weights)])


def inputs(size, seed=0):
    """Cameras before a cloud of points, all unknowns as one vector, and noisy observations."""
    n, m, p = SIZES[size]
    rng = np.random.default_rng(seed)
    cameras = np.concatenate(
        [
            rng.normal(size=(n, 3)) / 10,
            rng.normal(size=(n, 3)) - np.array([0, 0, 8]),
            rng.uniform(0.9, 1.1, size=(n, 1)),
            rng.normal(size=(n, 4)) / 100,
        ],
        axis=1,
    )
    points, weights = rng.normal(size=(m, 3)), rng.uniform(0.5, 1.5, size=p)
    observations = np.stack([np.arange(p) % n, rng.integers(m, size=p)], axis=1)
    features = rng.normal(size=(p, 2)) / 10
    return np.concatenate([cameras.ravel(), points.ravel(), weights]), observations, features


def main(size="small"):
    params, observations, features = inputs(size)
    residuals = make_residuals(size, observations, features)
    values = residuals(jnp.asarray(params))
    matrix = jacobian(residuals, output="csr")(jnp.asarray(params))

    # Along any direction, the derivative of an analytic function is Im f(x + i h v) / h.
    direction = np.random.default_rng(1).normal(size=params.shape)
    moved = params + 1e-30j * direction
    by_loops = residuals_by_loops(moved, size, observations, features)
    along = by_loops.imag / 1e-30
    differences = {
        "residuals": np.abs(values - by_loops.real).max(),
        "Jacobian along a direction": np.abs(matrix @ direction - along).max(),
    }

    n, m, p = SIZES[size]
    print(f"{n} cameras, {m} points, {p} observations\n")
    rows = [("residuals", matrix.shape[0]), ("unknowns", matrix.shape[1]), ("nonzeros", matrix.nnz)]
    print(Table(["Jacobian", ""], rows), "\n")
    print(Table(["against loops and a complex step", "difference"], list(differences.items())))
    return differences | {"nonzeros": matrix.nnz}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    main(parser.parse_args().size)
