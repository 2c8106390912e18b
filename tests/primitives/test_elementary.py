"""Elementary functions: no digit lost in the range of a dtype, and conventions at the edges."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from funcnet.primitives import cos, exp, log, power, sin, sqrt
from tests.primitives.exact import (
    assert_exact,
    derivative,
    exact,
    narrow_dtypes_first,
    points,
    values_of,
)

INF, NAN = np.inf, np.nan


def _power_law(p: Any, c: Any, n: int) -> Callable[[Any], Any]:
    """The n-th derivative of ``c x^p``."""
    for k in range(n):
        c = c * (p - k)
    return lambda x: c * x ** (p - n)


DERIVATIVES: dict[Any, Callable[[int], Callable[[Any], Any]]] = {
    exp: lambda n: mpmath.exp,
    log: lambda n: mpmath.log if n == 0 else _power_law(mpmath.mpf(-1), 1, n - 1),
    sqrt: lambda n: _power_law(mpmath.mpf(1) / 2, 1, n),
    sin: lambda n: lambda x: mpmath.sin(x + n * mpmath.pi / 2),
    cos: lambda n: lambda x: mpmath.cos(x + n * mpmath.pi / 2),
}


@narrow_dtypes_first
@pytest.mark.parametrize("f", DERIVATIVES, ids=lambda f: f.name)
def test_no_digit_is_lost(f: Any, dtype: str) -> None:
    with jax.enable_x64(True), mpmath.workdps(700):
        x = points(dtype, positive=f in (log, sqrt), per_side=15)
        numbers = [exact(v) for v in values_of(x)]
        table = [[DERIVATIVES[f](n)(v) for v in numbers] for n in range(4)]
        for order in range(3):
            scales = [
                abs(d) + abs(v * slope)
                for v, d, slope in zip(numbers, table[order], table[order + 1], strict=True)
            ]
            for modes in itertools.product(("forward", "reverse"), repeat=order):
                g: Any = f
                for mode in modes:
                    g = derivative(g, 0, mode)
                got = jax.jit(g)(x)
                assert_exact(dtype, got, table[order], scales, f"{f.name} {modes}", values_of(x))


@pytest.mark.parametrize(
    ("f", "x", "value", "slope"),
    [
        (exp, -INF, 0, 0),
        (exp, INF, INF, INF),
        (log, 0.0, -INF, INF),
        (log, INF, INF, 0),
        (log, -2.0, NAN, -0.5),
        (sqrt, 0.0, 0, INF),
        (sqrt, INF, INF, 0),
        (sqrt, -1.0, NAN, NAN),
        (sin, INF, NAN, NAN),
        (exp, NAN, NAN, NAN),
        (log, NAN, NAN, NAN),
        (sqrt, NAN, NAN, NAN),
    ],
)
def test_edges(f: Any, x: float, value: float, slope: float) -> None:
    np.testing.assert_equal(float(f(x)), value)
    np.testing.assert_equal(float(jax.grad(f)(x)), slope)
    np.testing.assert_equal(float(jax.jvp(f, (x,), (1.0,))[1]), slope)


def test_a_masked_logarithm_has_no_gradient() -> None:
    x = jnp.array([-1.0, 2.0])
    gradient = jax.grad(lambda x: jnp.where(x > 0, log(x), 0).sum())(x)
    np.testing.assert_array_equal(gradient, [0, 0.5])


@pytest.mark.parametrize("f", DERIVATIVES, ids=lambda f: f.name)
def test_integers_become_floating(f: Any) -> None:
    assert f(jnp.array([1, 2])).dtype == jnp.float32
    assert f(jnp.zeros((0, 2))).shape == (0, 2)


# Powers


def power_derivative(x: Any, y: Any, nx: int, ny: int) -> Any:
    """``d^(nx + ny) x^y / dx^nx dy^ny``, for x above 0 or without derivatives by y."""
    polynomial = [mpmath.mpf(1)]  # y (y - 1) ... (y - nx + 1), lowest power first
    for k in range(nx):
        shifted = [mpmath.mpf(0), *polynomial]
        polynomial = [s - k * p for s, p in zip(shifted, [*polynomial, 0], strict=True)]
    log_x = mpmath.log(x) if ny else 0
    total = mpmath.mpf(0)
    for m in range(ny + 1):
        inner = sum(c * mpmath.ff(j, m) * y ** (j - m) for j, c in enumerate(polynomial) if j >= m)
        total += mpmath.binomial(ny, m) * inner * log_x ** (ny - m)
    return total * x ** (y - nx)


def power_samples(dtype: str) -> tuple[jax.Array, jax.Array]:
    """Bases and exponents of all kinds, as long as powers and slopes are normal numbers."""
    rng = np.random.default_rng(0)
    info = jnp.finfo(dtype)
    top = 0.95 * np.log10(float(info.max))
    bases = 10 ** rng.uniform(-top, top, 160)
    exponents = np.concatenate(
        [
            rng.choice([0.0, 0.5, 1, 2, 3, -1, -2, 0.3, 1.5], 60),
            10 ** rng.uniform(-6, 1, 60) * rng.choice([-1, 1], 60),
            rng.normal(size=40),
        ]
    )
    logs = exponents * np.log10(bases)
    slopes = logs - np.log10(bases) + np.log10(np.abs(exponents) + (exponents == 0))
    inside = (np.abs(logs) < 0.9 * top) & (np.abs(slopes) < 0.9 * top)
    return jnp.asarray(bases[inside], dtype), jnp.asarray(exponents[inside], dtype)


@narrow_dtypes_first
def test_powers_lose_no_digit(dtype: str) -> None:
    with jax.enable_x64(True), mpmath.workdps(60):
        x, y = power_samples(dtype)
        numbers = [(exact(a), exact(b)) for a, b in zip(values_of(x), values_of(y), strict=True)]
        for argnums in ("", "0", "1", "00", "01", "10", "11"):
            nx, ny = argnums.count("0"), argnums.count("1")
            wanted = [power_derivative(a, b, nx, ny) for a, b in numbers]
            scales = [
                abs(w)
                + abs(a * power_derivative(a, b, nx + 1, ny))
                + abs(b * power_derivative(a, b, nx, ny + 1))
                for w, (a, b) in zip(wanted, numbers, strict=True)
            ]
            for mode in ("forward", "reverse"):
                f: Any = power
                for argnum in argnums:
                    f = derivative(f, int(argnum), mode)
                got = jax.jit(f)(x, y)
                assert_exact(dtype, got, wanted, scales, f"power {argnums} {mode}", numbers)


@pytest.mark.parametrize(
    ("x", "y", "z", "by_x", "by_y"),
    [
        (0.0, 2.0, 0, 0, 0),
        (0.0, 1.0, 0, 1, 0),
        (0.0, 0.5, 0, INF, 0),
        (0.0, 0.0, 1, 0, 0),
        (0.0, -1.0, INF, -INF, 0),
        (3.0, 0.0, 1, 0, np.log(3.0)),
        (INF, 0.5, INF, 0, INF),
        (INF, 2.0, INF, INF, INF),
        (INF, -1.0, 0, 0, 0),
        (INF, 0.0, 1, 0, INF),
        (-2.0, 3.0, -8, 12, NAN),
        (-2.0, 2.0, 4, -4, NAN),
        (-2.0, -1.0, -0.5, -0.25, NAN),
        (-2.0, 0.5, NAN, NAN, NAN),
        (1.0, NAN, 1, NAN, 0),
        (NAN, 0.0, 1, 0, NAN),
        (NAN, 1.0, NAN, 1, NAN),
    ],
)
def test_powers_at_the_edges(x: float, y: float, z: float, by_x: float, by_y: float) -> None:
    x, y = jnp.float32(x), jnp.float32(y)
    gradient = jax.grad(power, (0, 1))(x, y)
    forward = derivative(power, 0, "forward")(x, y), derivative(power, 1, "forward")(x, y)
    np.testing.assert_allclose(power(x, y), z, rtol=1e-6)
    np.testing.assert_allclose(gradient, (by_x, by_y), rtol=1e-6)
    np.testing.assert_allclose(forward, (by_x, by_y), rtol=1e-6)


@pytest.mark.parametrize(("y", "second"), [(2.0, 2), (3.0, 0), (1.0, 0), (0.0, 0), (0.5, -INF)])
def test_second_derivatives_of_powers_at_zero(y: float, second: float) -> None:
    assert jax.grad(jax.grad(power))(0.0, y) == second
    assert jax.jacfwd(jax.jacfwd(power))(0.0, y) == second


def test_integer_exponents() -> None:
    x, y = jnp.array([2.0, -3.0]), jnp.array([3, 2])
    with jax.numpy_dtype_promotion("standard"):
        np.testing.assert_array_equal(power(x, y), [8, 9])
        np.testing.assert_array_equal(jax.grad(lambda x: power(x, y).sum())(x), [12, -6])
    np.testing.assert_array_equal(jax.grad(lambda x: power(x, 2).sum())(x), [4, -6])
