"""Linear systems whose matrix nobody writes down: only its products with vectors are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.sparse.linalg import cg, gmres

from funcnet.control_flow.runtime import warn

__all__ = ["dot", "newton_step", "norm", "precision", "solve"]

_FEW_STEPS, _MOST_STEPS, _RESTART = 32, 1000, 20


def solve(
    matvec: Callable[[Any], Any],
    b: Any,
    *,
    symmetric: bool = False,
    near_identity: bool = False,
    whose: str = "solve",
) -> Any:
    """Solve ``A x = b``, and its transpose in reverse mode.

    ``x = A^-1 b``, ``dx = A^-1 (db - dA x)``, ``b_bar = A^-T x_bar``. By conjugate gradients where
    `A` is symmetric and positive definite, else by minimal residuals, restarted. Where what comes
    out leaves a residual, conjugate gradients of the normal equations go on from there: these are
    slow and get everywhere. Where that does not help either, there is a warning.

    Args:
        matvec: ``x`` to ``A x``: linear, on any pytree of real floating arrays.
        b: The right side.
        symmetric: Whether `A` is symmetric and positive definite.
        near_identity: Whether ``I - A`` is a contraction. Then ``x + (b - A x)``, again and again,
            is tried first.
        whose: Who asks, for the warning.

    References:
        Saad & Schultz, GMRES, 1986, https://doi.org/10.1137/0907058; Saad, Iterative methods for
        sparse linear systems, 2nd ed., 2003, algorithm 8.4.
    """

    def solver(matvec: Callable[[Any], Any], b: Any) -> Any:
        def hard(x: Any) -> Any:
            return _checked(
                matvec, b, _polished(matvec, b, _krylov(matvec, b, x, symmetric)), whose
            )

        if not near_identity:
            return hard(jax.tree.map(jnp.zeros_like, b))
        x, r = _richardson(matvec, b)
        solved = norm(r) <= 2 * _near(b) * norm(b)
        return lax.cond(solved, lambda x: x, hard, x)

    # As one vector: JAX transposes a solve only if all parts of the right side have tangents.
    vector, tree = _flat(b)
    x = lax.custom_linear_solve(
        lambda x: _flat(matvec(tree(x)))[0], vector, solver, solver, symmetric=symmetric
    )
    return tree(x)


def _flat(x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """A tree as one vector, and the way back."""
    structure: Any
    leaves, structure = jax.tree.flatten(x)
    dtype = max((leaf.dtype for leaf in leaves), key=lambda d: jnp.finfo(d).bits)
    ends = list(accumulate(leaf.size for leaf in leaves))

    def tree(vector: Any) -> Any:
        parts = zip(leaves, [0, *ends], ends, strict=False)
        return structure.unflatten(
            [vector[a:b].reshape(leaf.shape).astype(leaf.dtype) for leaf, a, b in parts]
        )

    return jnp.concatenate([leaf.ravel().astype(dtype) for leaf in leaves]), tree


def _near(b: Any) -> float:
    """The residual, relative to that of zero, that is as good as none."""
    return 16 * precision(b)


def _richardson(matvec: Callable[[Any], Any], b: Any) -> tuple[Any, Any]:
    """A few steps of ``x + (b - A x)``, as long as they lead nearer; and the residual."""
    enough = 4 * precision(b) * norm(b)

    def goes(state: Any) -> Any:
        i, _, _, size, before = state
        return (i < _FEW_STEPS) & (size > enough) & (size < before)

    def step(state: Any) -> Any:
        i, x, r, size, _ = state
        x = jax.tree.map(jnp.add, x, r)
        r = _minus(b, matvec(x))
        return i + 1, x, r, norm(r), size

    size = norm(b)
    start = (0, jax.tree.map(jnp.zeros_like, b), b, size, 2 * size)
    _, x, r, _, _ = lax.while_loop(goes, step, start)
    return x, r


def _krylov(matvec: Callable[[Any], Any], b: Any, x: Any, symmetric: bool) -> Any:
    if symmetric:
        return cg(matvec, b, x, tol=_near(b), maxiter=_MOST_STEPS)[0]
    rounds = _MOST_STEPS // _RESTART
    how = {"restart": _RESTART, "maxiter": rounds, "solve_method": "incremental"}
    return gmres(matvec, b, x, tol=_near(b), **how)[0]


def _checked(matvec: Callable[[Any], Any], b: Any, x: Any, whose: str) -> Any:
    """The same solution, with a warning if it is none."""
    rest = norm(_minus(b, matvec(x))) / jnp.maximum(norm(b), jnp.finfo(norm(b).dtype).tiny)
    warn(
        ~(rest <= math.sqrt(precision(b))),
        lambda rest: (
            f"{whose}: the linear system of the derivative is solved up to a residual of {rest:.1e}"
            " only. It is singular or nearly so where the solution is; take the derivative with a "
            "grain of salt."
        ),
        rest,
    )
    return x


def newton_step(matvec: Callable[[Any], Any], b: Any) -> Any:
    """About ``A^-1 b``: as near as a step of Newton's method needs it."""
    x, _ = gmres(matvec, b, tol=1e-3, restart=_RESTART, maxiter=5, solve_method="incremental")
    return x


def _polished(matvec: Callable[[Any], Any], b: Any, x: Any) -> Any:
    """Go on from a bad solution by conjugate gradients of ``A^T A x = A^T b``."""

    def transposed(y: Any) -> Any:
        return jax.linear_transpose(matvec, x)(y)[0]

    enough = (math.sqrt(precision(b)) * norm(b)) ** 2
    r = _minus(b, matvec(x))
    better = dot(r, r) < dot(b, b)  # than nothing, which infinity and NaN are not
    x, r = (
        jax.tree.map(lambda a, b: jnp.where(better, a, b), found, instead)
        for found, instead in ((x, jax.tree.map(jnp.zeros_like, x)), (r, b))
    )
    bad = dot(r, r) > enough
    z = lax.cond(bad, transposed, lambda y: y, r)

    def goes(state: Any) -> Any:
        i, _, r, _, _ = state
        return bad & (i < _MOST_STEPS) & (dot(r, r) > enough * 1e-2)

    def step(state: Any) -> Any:
        i, x, r, p, size = state
        q = matvec(p)
        share = size / dot(q, q)
        x, r = _plus(x, share, p), _plus(r, -share, q)
        z = transposed(r)
        after = dot(z, z)
        return i + 1, x, r, _plus(z, after / size, p), after

    return lax.while_loop(goes, step, (0, x, r, z, dot(z, z)))[1]


def dot(a: Any, b: Any) -> Any:
    """The inner product of two trees."""
    parts = [jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]
    return sum(parts[1:], parts[0])


def norm(x: Any) -> Any:
    """The Euclidean norm of a tree."""
    return jnp.sqrt(dot(x, x))


def precision(x: Any) -> float:
    """That of the least precise leaf."""
    return max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(x))


def _minus(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.subtract, a, b)


def _plus(a: Any, share: Any, b: Any) -> Any:
    return jax.tree.map(lambda x, y: x + share.astype(x.dtype) * y, a, b)
