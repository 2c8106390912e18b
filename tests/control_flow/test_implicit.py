"""Solutions of equations: their values and every derivative against closed forms."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.control_flow import fixed_point, minimize, root
from funcnet.control_flow.krylov import solve
from funcnet.errors import ArgumentError, DTypeError, ShapeError

MATRIX = np.array([[0.2, -0.5, 0.1], [0.4, 0.1, 0.3], [-0.2, 0.3, 0.5]])
RIGHT = np.array([1.0, -2.0, 0.5])


@pytest.fixture(autouse=True)
def in_float64(request: Any, x64: None) -> None:
    """So that rounding stays far below what the tests are after."""


def affine(how: Any, a: Any, b: Any) -> Any:
    """``x = A x + b``."""
    return how(lambda x: a @ x + b, jnp.zeros(3))


def by_root(f: Any, init: Any) -> Any:
    return root(lambda x: x - f(x), init)


def by_least(f: Any, init: Any) -> Any:
    return minimize(lambda x: jnp.sum((x - f(x)) ** 2), init, tolerance=1e-13)


def replayed(f: Any, init: Any) -> Any:
    return fixed_point(f, init, adjoint="replay")


WAYS = {"fixed_point": fixed_point, "replay": replayed, "root": by_root, "minimize": by_least}


def closed(a: Any, b: Any) -> Any:
    return jnp.linalg.solve(jnp.eye(3) - a, b)


def agree(found: Any, right: Any, tolerance: float) -> None:
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * max(1.0, np.max(np.abs(y))))


@pytest.mark.parametrize("way", WAYS)
def test_every_derivative_of_a_linear_system(way: str) -> None:
    def ours(a: Any, b: Any) -> Any:
        return affine(WAYS[way], a, b)

    agree(ours(MATRIX, RIGHT), closed(MATRIX, RIGHT), 1e-9)

    def total(f: Any) -> Any:
        return lambda a, b: jnp.sum(jnp.sin(f(a, b)))

    for derivative, tolerance in (
        (lambda f: jax.jacfwd(f, (0, 1)), 1e-8),
        (lambda f: jax.jacrev(f, (0, 1)), 1e-8),
        (lambda f: jax.jit(jax.grad(total(f), (0, 1))), 1e-8),
        (lambda f: jax.hessian(total(f), (0, 1)), 1e-6),
        (lambda f: jax.grad(lambda a, b: jnp.sum(jax.grad(total(f))(a, b) ** 2), (0, 1)), 1e-6),
    ):
        agree(derivative(ours)(MATRIX, RIGHT), derivative(closed)(MATRIX, RIGHT), tolerance)


@pytest.mark.parametrize("way", ["fixed_point", "root", "minimize"])
def test_vmap_over_searches_of_different_lengths(way: str) -> None:
    scales = np.array([0.1, 1.0, 1.4])
    matrices, rights = scales[:, None, None] * MATRIX, np.stack([RIGHT, 2 * RIGHT, -RIGHT])
    found, right = (
        jax.jit(jax.vmap(jax.grad(lambda a, b, f=f: jnp.sum(jnp.sin(f(a, b))), (0, 1))))(
            matrices, rights
        )
        for f in (lambda a, b: affine(WAYS[way], a, b), closed)
    )
    agree(found, right, 1e-8)


def test_kepler_in_all_orders() -> None:
    """``E = M + e sin(E)``, with derivatives by hand."""

    def anomaly(e: Any, m: Any) -> Any:
        return fixed_point(lambda x: m + e * jnp.sin(x), m)

    def check(e: float) -> None:
        x = float(anomaly(e, 1.0))
        assert abs(x - e * np.sin(x) - 1.0) < 1e-14
        slope = 1 / (1 - e * np.cos(x))
        agree(jax.grad(anomaly, (0, 1))(e, 1.0), (np.sin(x) * slope, slope), 1e-11)
        agree(jax.jvp(lambda m: anomaly(e, m), (1.0,), (1.0,))[1], slope, 1e-11)
        second = -e * np.sin(x) * slope**3
        agree(jax.grad(jax.grad(lambda m: anomaly(e, m)))(1.0), second, 1e-9)
        agree(jax.jvp(jax.grad(lambda m: anomaly(e, m)), (1.0,), (1.0,))[1], second, 1e-9)
        third = slope**4 * (3 * e**2 * np.sin(x) ** 2 * slope - e * np.cos(x))
        agree(jax.jacfwd(jax.grad(jax.grad(lambda m: anomaly(e, m))))(1.0), third, 1e-7)

    for e in (0.0, 0.3, 0.9):
        check(e)


def test_trees() -> None:
    def f(theta: Any) -> Any:
        start: Any = {"a": 0.0, "b": (jnp.zeros(2),)}
        return fixed_point(
            lambda s: {
                "a": 0.5 * jnp.cos(s["b"][0][0]) + theta,
                "b": (0.3 * s["a"] * jnp.ones(2),),
            },
            start,
        )

    def g(theta: Any) -> Any:
        return root(lambda a: 0.5 * jnp.cos(0.3 * a) + theta - a, 0.0)

    agree(f(0.7)["b"][0], 0.3 * g(0.7) * jnp.ones(2), 1e-14)
    agree(jax.grad(lambda t: f(t)["a"] + f(t)["b"][0].sum())(0.7), 1.6 * jax.grad(g)(0.7), 1e-12)


def test_a_slow_contraction_needs_more_than_a_few_adjoint_steps() -> None:
    matrix = np.diag([0.99, -0.5, 0.98]) + 0.01 * MATRIX
    found, right = (
        jax.grad(lambda a, f=f: jnp.sum(jnp.cos(f(a, RIGHT))))(matrix)
        for f in (
            lambda a, b: fixed_point(lambda x: a @ x + b, jnp.zeros(3), max_steps=100_000),
            closed,
        )
    )
    agree(found, right, 1e-6)


def test_in_single_precision() -> None:
    def f(theta: Any) -> Any:
        return jnp.sum(fixed_point(lambda x: 0.5 * jnp.cos(theta + x), jnp.zeros_like(theta)) ** 2)

    theta = np.linspace(-1, 1, 50)
    found = jax.grad(f)(jnp.asarray(theta, jnp.float32))
    assert found.dtype == jnp.float32
    agree(found, jax.grad(f)(theta), 1e-6)


def test_where_it_starts_has_no_derivative() -> None:
    def at(way: Any) -> Any:
        return jax.grad(lambda x: way(lambda y: 0.5 * jnp.cos(y), x))(0.3)

    assert at(fixed_point) == 0
    assert at(by_root) == 0
    assert at(by_least) == 0
    assert abs(at(replayed)) < 1e-12


def test_newton_halves_its_steps() -> None:
    """Of arctan, a full step from 2 leads further away each time."""
    agree(root(lambda x: jnp.arctan(x), 2.0), 0.0, 1e-12)
    found = root(
        lambda v: jnp.stack([v[0] ** 2 + v[1] ** 2 - 4, v[0] * v[1] - 1]), jnp.array([3.0, 0.1])
    )
    agree(found[0] ** 2 + found[1] ** 2, 4.0, 1e-12)
    agree(found[0] * found[1], 1.0, 1e-12)


def test_minimum_of_a_curved_valley() -> None:
    def place(a: Any) -> Any:
        return minimize(
            lambda v: (a - v[0]) ** 2 + 100 * (v[1] - v[0] ** 2) ** 2,
            jnp.array([-1.2, 1.0]),
            tolerance=1e-12,
        )

    agree(place(1.0), np.ones(2), 1e-10)
    agree(jax.jacfwd(place)(1.0), np.array([1.0, 2.0]), 1e-8)
    agree(jax.jacrev(place)(1.0), np.array([1.0, 2.0]), 1e-8)


def test_ridge_regression_by_its_penalty() -> None:
    x = np.random.default_rng(0).normal(size=(20, 4))
    y = x @ np.array([1.0, -2.0, 0.0, 3.0]) + 0.1 * np.random.default_rng(1).normal(size=20)

    def weights(penalty: Any) -> Any:
        return minimize(
            lambda w: jnp.sum((x @ w - y) ** 2) + jnp.exp(penalty) * jnp.sum(w**2), jnp.zeros(4)
        )

    def by_solving(penalty: Any) -> Any:
        return jnp.linalg.solve(x.T @ x + jnp.exp(penalty) * jnp.eye(4), x.T @ y)

    agree(weights(0.5), by_solving(0.5), 1e-7)
    agree(jax.jacrev(weights)(0.5), jax.jacrev(by_solving)(0.5), 1e-6)


@pytest.mark.parametrize("kind", ["any", "symmetric", "near the identity"])
def test_linear_systems(kind: str) -> None:
    draw = np.random.default_rng(3)
    how: dict[str, Any] = {}
    matrix = draw.normal(size=(30, 30)) + 3 * np.eye(30)
    if kind == "symmetric":
        matrix, how = matrix @ matrix.T / 30, {"symmetric": True}
    elif kind == "near the identity":
        matrix, how = np.eye(30) - 0.05 * matrix, {"near_identity": True}
    b = draw.normal(size=30)

    def ours(a: Any, b: Any) -> Any:
        a = (a + a.T) / 2 if kind == "symmetric" else a
        return jnp.sum(jnp.sin(solve(lambda x: a @ x, b, **how)))

    def direct(a: Any, b: Any) -> Any:
        a = (a + a.T) / 2 if kind == "symmetric" else a
        return jnp.sum(jnp.sin(jnp.linalg.solve(a, b)))

    agree(jax.grad(ours, (0, 1))(matrix, b), jax.grad(direct, (0, 1))(matrix, b), 1e-9)
    agree(jax.jvp(ours, (matrix, b), (matrix, b)), jax.jvp(direct, (matrix, b), (matrix, b)), 1e-9)


def test_a_rotation_is_no_obstacle() -> None:
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    agree(solve(lambda x: turn @ x, jnp.array([1.0, 2.0])), np.array([-2.0, 1.0]), 1e-12)
    agree(solve(lambda x: turn @ x, jnp.zeros(2)), np.zeros(2), 0.0)


def test_a_singular_system_warns() -> None:
    ones = np.ones((3, 3))
    for f in (
        lambda b: solve(lambda x: ones @ x, b),
        jax.jit(lambda b: solve(lambda x: ones @ x, b)),
    ):
        with pytest.warns(RuntimeWarning, match="solve: the linear system of the derivative"):
            jax.block_until_ready(f(jnp.arange(3.0)))
            jax.effects_barrier()


def test_a_regular_system_does_not() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.block_until_ready(jax.jit(lambda b: solve(lambda x: 3 * x, b))(jnp.arange(3.0)))
        jax.effects_barrier()


FAULTS: dict[str, tuple[type[Exception], str, Any]] = {
    "no contraction": (
        ArgumentError,
        r"fixed_point: after 1,000 steps x still moves by .*f is no contraction: damp it",
        lambda: fixed_point(lambda x: 3 * x * (1 - x) + 0.5 * x * (1 - x), 0.3),
    ),
    "it runs away": (
        ArgumentError,
        r"fixed_point: after .* steps x still moves by inf, 10 times as far",
        lambda: fixed_point(lambda x: 10 * x, 3.0),
    ),
    "too few steps": (
        ArgumentError,
        r"fixed_point: after 3 steps x still moves by",
        lambda: fixed_point(jnp.cos, 0.3, max_steps=3),
    ),
    "no root": (
        ArgumentError,
        r"root: after .* the residual is still 1\.",
        lambda: root(lambda x: x**2 + 1, 0.5),
    ),
    "no minimum": (
        ArgumentError,
        r"minimize: after .* the gradient's norm is still",
        lambda: minimize(lambda x: x, 0.5, max_steps=20),
    ),
    "another structure": (
        ShapeError,
        "fixed_point: f returns another structure than init",
        lambda: fixed_point(lambda x: (x, x), 0.5),
    ),
    "another shape": (
        ShapeError,
        r"root: f turns a leaf of shape \(2,\) into one of shape \(\)",
        lambda: root(jnp.sum, jnp.ones(2)),
    ),
    "another dtype": (
        DTypeError,
        "fixed_point: f turns a leaf from float64 into float32",
        lambda: fixed_point(lambda x: x.astype(jnp.float32), 0.5),
    ),
    "integers": (
        DTypeError,
        "minimize: init has a leaf of dtype int64; all have to be of real floating dtypes",
        lambda: minimize(lambda x: x * 1.0, 3),
    ),
    "several numbers": (
        ShapeError,
        "minimize: f returns .* it has to return one number",
        lambda: minimize(lambda x: x, jnp.ones(3)),
    ),
    "nothing": (ShapeError, "root: init has no leaves", lambda: root(lambda x: x, ())),
    "a tolerance of nothing": (
        ArgumentError,
        "root: tolerance is 0; it has to be more than 0",
        lambda: root(lambda x: x, 1.0, tolerance=0),
    ),
    "no steps": (
        ArgumentError,
        "minimize: max_steps is 0; it has to be 1 or more",
        lambda: minimize(lambda x: x**2, 1.0, max_steps=0),
    ),
    "an unknown adjoint": (
        ArgumentError,
        "fixed_point: adjoint='magic' is neither 'implicit' nor 'replay'",
        lambda: fixed_point(lambda x: x, 1.0, adjoint="magic"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_says_what_is_wrong(fault: str) -> None:
    error, message, call = FAULTS[fault]
    with pytest.raises(error, match=message):
        call()


def test_says_so_under_jit() -> None:
    for f in (
        jax.jit(lambda x: fixed_point(lambda y: 2 * y, x)),
        jax.jit(jax.vmap(lambda x: fixed_point(lambda y: 2 * y, x))),
    ):
        with pytest.raises(Exception, match=r"fixed_point: after .* steps x still moves by"):
            jax.block_until_ready(f(jnp.ones(2)))
            jax.effects_barrier()
