"""No digit lost: values and first two derivatives of the activations, over the whole range of each
dtype.

The law is ``|error| <= 8 eps (|d| + |x d'|)``, where d is the value or a derivative, computed from
the textbook formula with as many digits as its cancellations need. Where d is below the smallest
normal number, it may be flushed to zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy

from funcnet import primitives as fn
from tests.compiled import optimised
from tests.primitives.exact import narrow_dtypes_first

X = sympy.Symbol("x")
SIGMOID = 1 / (1 + sympy.exp(-X))
GELU_ARGUMENT = sympy.sqrt(8 / sympy.pi) * (X + sympy.Rational(44715, 10**6) * X**3)
SELU = [
    sympy.Float(s, 40)
    for s in ("1.0507009873554804934193349852946", "1.6732632423543772848170429916717")
]


class Case(NamedTuple):
    """A function, its textbook formula on both sides of 0, and what it is far out."""

    function: Callable[..., Any]
    right: Any
    left: Any
    far_right: Any
    far_left: Any


def smooth(function: Any, formula: Any, far_right: Any, far_left: Any) -> Case:
    return Case(function, formula, formula, sympy.sympify(far_right), sympy.sympify(far_left))


CASES = {
    "sigmoid": smooth(fn.sigmoid, SIGMOID, 1, 0),
    "tanh": smooth(fn.tanh, 1 - 2 / (1 + sympy.exp(2 * X)), 1, -1),
    "softplus": smooth(fn.softplus, sympy.log(1 + sympy.exp(X)), X, 0),
    "log_sigmoid": smooth(fn.log_sigmoid, -sympy.log(1 + sympy.exp(-X)), 0, X),
    "silu": smooth(fn.silu, X * SIGMOID, X, 0),
    "gelu tanh": smooth(fn.gelu, X / (1 + sympy.exp(-GELU_ARGUMENT)), X, 0),
    "gelu exact": Case(
        lambda x: fn.gelu(x, approximate=False),
        X * (2 - sympy.erfc(X / sympy.sqrt(2))) / 2,
        # sympy turns erfc(-x) into 2 - erfc(x), which cancels; a root hides the sign from it.
        X * sympy.erfc(sympy.sqrt(X**2) / sympy.sqrt(2)) / 2,
        X,
        sympy.Integer(0),
    ),
    "mish": smooth(fn.mish, X * (1 - 2 / ((1 + sympy.exp(X)) ** 2 + 1)), X, 0),
    "softsign": Case(fn.softsign, X / (1 + X), X / (1 - X), X / (1 + X), X / (1 - X)),
    "elu": Case(fn.elu, X, sympy.exp(X) - 1, X, sympy.Integer(-1)),
    "selu": Case(
        fn.selu,
        SELU[0] * X,
        SELU[0] * SELU[1] * (sympy.exp(X) - 1),
        SELU[0] * X,
        -SELU[0] * SELU[1],
    ),
    "relu": Case(fn.relu, X, sympy.Integer(0), X, sympy.Integer(0)),
    "leaky_relu": Case(
        fn.leaky_relu, X, sympy.Float("0.01", 40) * X, X, sympy.Float("0.01", 40) * X
    ),
}
FAR = 2000.0
DTYPES = {"float64": 800.0, "float32": 120.0, "bfloat16": 120.0, "float16": 24.0}


def grid(dtype: str) -> np.ndarray:
    """Powers of ten over all normal numbers, and the region of exponentials."""
    info = jnp.finfo(dtype)
    powers = np.logspace(
        math.log10(float(info.smallest_normal)) + 0.01, math.log10(float(info.max)) - 0.01, 17
    )
    steps = np.concatenate([np.linspace(0.02, DTYPES[dtype], 30), np.linspace(0.05, 15, 30)])
    both = np.concatenate([-powers, powers, -steps, steps])
    rounded = jnp.asarray(both).astype(dtype).astype(jnp.float64)
    return np.unique(np.asarray(rounded))


def derivatives(case: Case, xs: np.ndarray) -> list[list[Any]]:
    """The function and its first three derivatives at all points, as exact as needed."""
    pieces = [case.far_left, case.left, case.right, case.far_right]
    tables = [
        [sympy.lambdify(X, sympy.diff(piece, X, n), "mpmath") for n in range(4)] for piece in pieces
    ]
    rows: list[list[Any]] = [[] for _ in range(4)]
    for x in xs:
        piece = tables[0 if x < -FAR else 1 if x < 0 else 2 if x <= FAR else 3]
        small = max(0.0, -math.log10(abs(x)))
        big = abs(x) if abs(x) <= FAR else 4 * math.log10(abs(x))
        with mpmath.workdps(int(40 + 2 * small + big)):
            for n in range(4):
                rows[n].append(piece[n](mpmath.mpf(float(x))))
    return rows


@narrow_dtypes_first
@pytest.mark.parametrize("name", CASES)
def test_no_digit_is_lost(name: str, dtype: str) -> None:
    case = CASES[name]
    with jax.enable_x64(True):
        xs = grid(dtype)
        truth = derivatives(case, xs)
        x = jnp.asarray(xs).astype(dtype)
        f = case.function
        forward = lambda g: lambda x: jax.jvp(g, (x,), (jnp.ones_like(x),))[1]  # noqa: E731
        derivatives_of = {
            "value": (0, f),
            "gradient": (1, jax.grad(f)),
            "tangent": (1, forward(f)),
            "gradient of the gradient": (2, jax.grad(jax.grad(f))),
            "tangent of the gradient": (2, forward(jax.grad(f))),
        }
        found = optimised(lambda x: {n: jax.vmap(g)(x) for n, (_, g) in derivatives_of.items()})(x)
        for what, (order, _) in derivatives_of.items():
            values = np.asarray(found[what].astype(jnp.float64))
            worst, where = largest_excess(dtype, xs, values, truth[order], truth[order + 1])
            assert worst <= 8, f"{name}, {what}, {dtype}: {worst:.3g} eps at x = {xs[where]!r}"


def largest_excess(dtype: str, xs: Any, values: Any, ds: Any, slopes: Any) -> tuple[float, int]:
    """The largest error in units of ``eps (|d| + |x d'|)``, and where it is."""
    info = jnp.finfo(dtype)
    eps, tiny, huge = (float(v) for v in (info.eps, info.smallest_normal, info.max))
    worst = (0.0, 0)
    for i, (x, y, d, slope) in enumerate(zip(xs, values, ds, slopes, strict=True)):
        if abs(d) > huge:
            continue
        allowed = eps * (abs(d) + abs(mpmath.mpf(float(x)) * slope))
        if abs(d) < tiny:
            allowed += tiny / 8
        error = abs(mpmath.mpf(float(y)) - d)
        ratio = float(error / allowed) if allowed else (0.0 if error == 0 else math.inf)
        worst = max(worst, (ratio if math.isfinite(ratio) else math.inf, i))
    return worst
