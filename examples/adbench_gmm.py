"""ADBench's Gaussian mixture: the log posterior of a mixture, and its gradient.

Points x_i in d dimensions come from k Gaussians with weights softmax(alpha). The precision matrix
of a Gaussian is Q^T Q, with Q lower triangular: exp(q) on its diagonal and l below, column by
column. The log-likelihood is

    sum_i log sum_k exp(alpha_k + sum(q_k) - 1/2 ||Q_k (x_i - mu_k)||^2)
        - n log sum_k exp(alpha_k) - n d / 2 log(2 pi),

and the precisions have a Wishart prior of d + m + 1 degrees of freedom and scale I / gamma^2,

    log p(Q) = m sum(q) - gamma^2 / 2 ||Q||^2 + constant.

The prior is added here, as GradBench does; ADBench subtracted it. The problem is from F. Srajer,
Z. Kukelova and A. Fitzgibbon, "A benchmark of selected algorithmic differentiation tools on some
problems in computer vision and machine learning" (2018), arXiv 1807.10129.

Run it with ``python examples/adbench_gmm.py --size medium``.
"""

from __future__ import annotations

import argparse
from math import lgamma, log, pi

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.jacobian import jacobian
from funcnet.report import Table

SIZES = {"small": (3, 4, 50), "medium": (10, 25, 1000), "large": (20, 50, 10_000)}  # d, k, n
GAMMA, M = 1.0, 2


def log_normalizer(d):
    """The constant of the prior of one precision matrix."""
    dof = d + M + 1
    log_gammas = sum(lgamma((dof - j) / 2) for j in range(d))
    return dof * d * (log(GAMMA) - log(2) / 2) - d * (d - 1) / 4 * log(pi) - log_gammas


def objective(alphas, means, factors, points):
    """The log posterior; `alphas` (k,), `means` (k, d), `factors` (k, d (d + 1) / 2)."""
    n, d = points.shape
    q, l = factors[:, :d], factors[:, d:]  # noqa: E741
    column, row = np.triu_indices(d, 1)  # the entries below a diagonal, column by column
    below = jnp.zeros((len(alphas), d, d), jnp.result_type(l)).at[:, row, column].set(l)

    centred = points[:, None, :] - means[None]
    scaled = jnp.exp(q)[None] * centred + jnp.einsum("kij,nkj->nki", below, centred)
    scores = (alphas + q.sum(axis=1))[None] - 0.5 * jnp.sum(scaled**2, axis=-1)
    likelihood = (
        jax.nn.logsumexp(scores, axis=1).sum()
        - n * jax.nn.logsumexp(alphas)
        - n * d / 2 * log(2 * pi)
    )
    squares = jnp.sum(jnp.exp(2 * q)) + jnp.sum(l**2)
    prior = M * q.sum() - 0.5 * GAMMA**2 * squares + len(alphas) * log_normalizer(d)
    return likelihood + prior


def objective_by_loops(alphas, means, factors, points):
    """The same number by number, for complex numbers too."""
    n, d = points.shape
    total = -n * d / 2 * log(2 * pi) - n * np.log(np.exp(alphas).sum())
    matrices = []
    for packed in factors:
        matrix, taken = np.diag(np.exp(packed[:d])), d
        for column in range(d):
            for row in range(column + 1, d):
                matrix[row, column] = packed[taken]
                taken += 1
        matrices.append(matrix)
        total += M * packed[:d].sum() - GAMMA**2 / 2 * (matrix**2).sum() + log_normalizer(d)
    for point in points:
        density = 0
        for alpha, mean, packed, matrix in zip(alphas, means, factors, matrices, strict=True):
            away = matrix @ (point - mean)
            density += np.exp(alpha + packed[:d].sum() - (away**2).sum() / 2)
        total += np.log(density)
    return total


def inputs(size, seed=0):
    """Weights, means and factors as a start for a fit, and points of as many clusters."""
    d, k, n = SIZES[size]
    rng = np.random.default_rng(seed)
    params = rng.normal(size=k), rng.normal(size=(k, d)), rng.normal(size=(k, d * (d + 1) // 2)) / d
    return (*params, rng.normal(size=(k, d))[rng.integers(k, size=n)] + rng.normal(size=(n, d)))


def main(size="small"):
    *params, points = inputs(size)
    value = objective(*params, points)
    gradient = jax.jit(jacobian(objective, argnums=(0, 1, 2)))(*params, points)

    # Along any direction, the derivative of an analytic function is Im f(x + i h v) / h, and no
    # digit is lost for a tiny h.
    directions = [np.random.default_rng(1).normal(size=p.shape) for p in params]
    moved = [p + 1e-30j * v for p, v in zip(params, directions, strict=True)]
    by_loops = objective_by_loops(*moved, points)
    along = sum(np.vdot(g, v) for g, v in zip(gradient, directions, strict=True))
    differences = {
        "value": abs(float(value) / by_loops.real - 1),
        "gradient along a direction": abs(along / (by_loops.imag / 1e-30) - 1),
    }

    d, k, n = SIZES[size]
    print(f"{k} Gaussians in {d} dimensions, {n} points: {sum(p.size for p in params)} parameters")
    print(f"log posterior {float(value):.6g}\n")
    norms = [float(jnp.linalg.norm(g)) for g in gradient]
    shapes = [str(p.shape) for p in params]
    rows = list(zip(("alphas", "means", "factors"), shapes, norms, strict=True))
    print(Table(["parameters", "shape", "norm of the gradient"], rows), "\n")
    print(Table(["against loops and a complex step", "difference"], list(differences.items())))
    return differences


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    main(parser.parse_args().size)
