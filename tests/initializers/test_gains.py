"""Gains and expectations, against closed forms and high-precision integrals."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.initializers import gain, gaussian_expectation, variance_scaling


def density(z: float) -> float:
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def tail(z: float) -> float:
    return math.erfc(z / math.sqrt(2)) / 2


def rectified(c: float) -> float:
    """E[relu(z - c)^2]."""
    return (1 + c * c) * tail(c) - c * density(c)


Activation = Callable[[jax.Array], Any]
CLOSED: dict[str, tuple[Activation, float]] = {
    "identity": (lambda x: x, 1.0),
    "twice": (lambda x: 2 * x, 4.0),
    "relu": (jax.nn.relu, 0.5),
    "leaky_relu": (functools.partial(jax.nn.leaky_relu, negative_slope=0.2), (1 + 0.04) / 2),
    "relu, shifted": (lambda x: jax.nn.relu(x - 0.3137), rectified(0.3137)),
    "relu, far out": (lambda x: jax.nn.relu(x - 5.03), rectified(5.03)),
    "relu, steep": (lambda x: jax.nn.relu(1e6 * x - 1), 1e12 * rectified(1e-6)),
    "two kinks": (lambda x: jnp.clip(x, -1, 1), 1 - 2 * density(1)),
    "abs": (jnp.abs, 1.0),
    "step": (lambda x: x > 0, 0.5),
    "step, shifted": (lambda x: jnp.where(x > math.pi / 4, 1.0, 0.0), tail(math.pi / 4)),
    "sign": (jnp.sign, 1.0),
    "root": (lambda x: jnp.sqrt(jnp.abs(x)), math.sqrt(2 / math.pi)),
    "square": (jnp.square, 3.0),
    "tenth power": (lambda x: x**10, float(math.prod(range(1, 20, 2)))),
    "sin": (jnp.sin, (1 - math.exp(-2)) / 2),
    "sin, fast": (lambda x: jnp.sin(300 * x), 0.5),
    "exp": (jnp.exp, math.exp(2)),
    "exp, fast": (lambda x: jnp.exp(3 * x), math.exp(18)),
    "erf": (jax.scipy.special.erf, 2 / math.pi * math.asin(2 / 3)),
    "numpy": (lambda x: np.maximum(x, 0.0), 0.5),
    "jitted": (jax.jit(jax.nn.relu), 0.5),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms(name: str) -> None:
    activation, moment = CLOSED[name]
    answer = gain(activation)
    assert type(answer) is float
    assert answer == pytest.approx(1 / math.sqrt(moment), rel=1e-12)


def sigmoid(z: Any) -> Any:
    return 1 / (1 + mpmath.exp(-z))


SMOOTH: dict[str, tuple[Activation, Callable[[Any], Any]]] = {
    "tanh": (jnp.tanh, mpmath.tanh),
    "sigmoid": (jax.nn.sigmoid, sigmoid),
    "gelu": (functools.partial(jax.nn.gelu, approximate=False), lambda z: z * mpmath.ncdf(z)),
    "silu": (jax.nn.silu, lambda z: z * sigmoid(z)),
    "softplus": (jax.nn.softplus, lambda z: mpmath.log(1 + mpmath.exp(z))),
    "elu": (jax.nn.elu, lambda z: z if z > 0 else mpmath.expm1(z)),
    "mish": (jax.nn.mish, lambda z: z * mpmath.tanh(mpmath.log(1 + mpmath.exp(z)))),
    "sigmoid, steep": (lambda x: jax.nn.sigmoid(50 * x), lambda z: sigmoid(50 * z)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_against_high_precision(name: str) -> None:
    activation, reference = SMOOTH[name]
    with mpmath.workdps(25):
        moment = mpmath.quad(
            lambda z: reference(z) ** 2 * mpmath.npdf(z), [-12, -4, -1, 0, 1, 4, 12]
        )
    assert gain(activation) == pytest.approx(float(1 / mpmath.sqrt(moment)), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "value"), [("tanh", 1.5925), ("sigmoid", 1.8462), ("gelu", 1.5335), ("silu", 1.6765)]
)
def test_known_digits(name: str, value: float) -> None:
    assert gain(SMOOTH[name][0]) == pytest.approx(value, abs=5e-5)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda z: z, 0.0),
        (lambda z: z**4, 3.0),
        (jnp.ones_like, 1.0),
        (jnp.cos, math.exp(-0.5)),
        (lambda z: jax.nn.relu(z) * z, 0.5),
        (lambda z: jax.vmap(jax.grad(jax.nn.relu))(z) ** 2, 0.5),
        (lambda z: jax.vmap(jax.grad(jnp.sin))(z) ** 2, (1 + math.exp(-2)) / 2),
        (lambda z: jnp.where(z > 0.1, -1.0, 1.0), 1 - 2 * tail(0.1)),
        (lambda z: 0.0 * z, 0.0),
    ],
)
def test_expectations(function: Activation, expected: float) -> None:
    assert gaussian_expectation(function) == pytest.approx(expected, rel=1e-12, abs=1e-14)


SLOPES = {
    "relu": (jax.nn.relu, 1.0, 1.0),
    "tanh": (SMOOTH["tanh"][0], 0.461, 1.178),
    "gelu": (SMOOTH["gelu"][0], 1.144, 1.072),
    "silu": (SMOOTH["silu"][0], 1.173, 1.067),
}


@pytest.mark.parametrize("name", SLOPES)
def test_slopes_of_the_length_map_and_of_gradients(name: str) -> None:
    """The numbers that the docstring of gain gives."""
    activation, length, gradient = SLOPES[name]
    derivative = jax.vmap(jax.grad(activation))
    squared = gain(activation) ** 2
    lengths = gaussian_expectation(lambda z: z * activation(z) * derivative(z))
    gradients = gaussian_expectation(lambda z: derivative(z) ** 2)
    assert squared * lengths == pytest.approx(length, abs=5e-4)
    assert squared * gradients == pytest.approx(gradient, abs=5e-4)


def test_the_activation_gets_float64_whatever_the_default() -> None:
    seen = set()

    def activation(x: jax.Array) -> jax.Array:
        seen.add(x.dtype)
        return jnp.tanh(x)

    off = gain(activation)
    with jax.enable_x64(True):
        on = gain(activation)
    assert off == on
    assert seen == {jnp.dtype("float64")}
    assert jnp.zeros(()).dtype == jnp.float32


def test_float32_parameters_are_promoted() -> None:
    slope = jnp.float32(0.25)
    expected = math.sqrt(2 / (1 + 0.0625))
    assert gain(lambda x: jnp.where(x > 0, x, slope * x)) == pytest.approx(expected, rel=1e-12)


def test_activations_that_compute_in_low_precision() -> None:
    exact = gain(jnp.tanh)
    single = gain(lambda x: jnp.tanh(x.astype(jnp.float32)))
    half = gain(lambda x: jnp.tanh(x.astype(jnp.bfloat16)))
    assert single == pytest.approx(exact, rel=1e-6)
    assert half == pytest.approx(exact, rel=1e-3)


def test_concrete_while_the_caller_is_traced() -> None:
    def scaled(x: jax.Array) -> jax.Array:
        factor = gain(jnp.tanh)
        assert type(factor) is float
        return x * factor

    expected = np.float32(gain(jnp.tanh))
    one = jnp.float32(1)
    assert jax.jit(scaled)(one) == expected
    assert jax.grad(scaled)(one) == expected
    assert jax.jit(jax.vmap(jax.grad(scaled)))(one[None]) == expected
    carry, _ = jax.lax.scan(lambda x, _: (scaled(x), None), one, length=2)
    assert carry == expected * expected
    assert "tanh" not in str(jax.make_jaxpr(scaled)(one))


@pytest.mark.leaks
def test_no_tracer_leaks() -> None:
    jax.jit(lambda x: x * gain(jax.nn.relu))(1.0)


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "a name": ("relu", ArgumentError, r"takes the function itself.*got 'relu'"),
    "sum": (jnp.sum, ShapeError, r"elementwise function, but sum made the shape \(\)"),
    "pairs": (lambda x: x[::2], ShapeError, "elementwise function"),
    "softmax": (jax.nn.softmax, ArgumentError, "softmax is not elementwise"),
    "centred": (lambda x: x - x.mean(), ArgumentError, "is not elementwise"),
    "sorted": (jnp.sort, ArgumentError, "is not elementwise"),
    "log": (jnp.log, ArgumentError, "log returned nan at -"),
    "infinite": (lambda x: jnp.where(x > 7, jnp.inf, x), ArgumentError, "returned inf at 7"),
    "overflow": (lambda x: 1e200 * x, ArgumentError, r"returned -?\d.*e\+200 at"),
    "zero": (jnp.zeros_like, ArgumentError, r"E\[activation\(z\)\^2\] is 0 for .*zeros"),
    "complex": (lambda x: 1j * x, DTypeError, "returned complex"),
    "pole": (lambda x: 1 / x, ArgumentError, "does not settle"),
    "pole elsewhere": (lambda x: 1 / (x - 0.1), ArgumentError, "does not settle"),
    "pole of the square": (lambda x: jnp.abs(x) ** -0.5, ArgumentError, "does not settle"),
    "too fast": (lambda x: jnp.sin(1e6 * x), ArgumentError, "does not settle"),
    "growth": (lambda x: jnp.exp(x * x / 4), ArgumentError, "beyond 24 standard deviations"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_activations(case: str) -> None:
    activation, error, message = BAD[case]
    with pytest.raises(error, match=message):
        gain(activation)


def test_expectation_errors_carry_its_name() -> None:
    with pytest.raises(ArgumentError, match="gaussian_expectation: log returned nan"):
        gaussian_expectation(jnp.log)


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu", "sigmoid"])
def test_the_gain_keeps_the_variance_of_pre_activations(name: str) -> None:
    """From N(0, 1) to N(0, 1) through one wide layer: 5 % are about five standard deviations."""
    activation = SMOOTH[name][0]
    init = variance_scaling(gain(activation) ** 2, "fan_in", "normal")
    before, weights = jax.random.split(jax.random.key(5))
    h = jax.random.normal(before, (500, 500))
    h = activation(h) @ init(weights, (500, 500))
    assert abs(float(jnp.mean(h * h)) - 1) < 0.05
