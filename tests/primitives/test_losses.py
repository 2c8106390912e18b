"""Losses of two classes: exact in the tails, at infinities, and wrong labels are seen."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from funcnet.errors import ArgumentError, DTypeError, RuleError, ShapeError
from funcnet.primitives import binary_cross_entropy, hinge_loss, log_loss, sigmoid
from tests.primitives.exact import (
    assert_exact,
    derivative,
    exact,
    narrow_dtypes_first,
    points,
    values_of,
)

INF, NAN = np.inf, np.nan


def log_sigma(u: Any) -> Any:
    return -mpmath.log1p(mpmath.exp(-u)) if u > 0 else u - mpmath.log1p(mpmath.exp(u))


def sigma(u: Any) -> Any:
    return 1 / (1 + mpmath.exp(-u)) if u > 0 else mpmath.exp(u) / (1 + mpmath.exp(u))


def bernoulli(u: Any, p: Any) -> list[Any]:
    """Value and three derivatives of ``-p log sigma(u) - (1 - p) log sigma(-u)``."""
    bell = sigma(u) * sigma(-u)
    return [
        -p * log_sigma(u) - (1 - p) * log_sigma(-u),
        (1 - p) * sigma(u) - p * sigma(-u),
        bell,
        bell * (sigma(-u) - sigma(u)),
    ]


@narrow_dtypes_first
@pytest.mark.parametrize("name", ["yes", "no", "both", "rather"])
def test_no_digit_is_lost(name: str, dtype: str) -> None:
    share = {"yes": 1.0, "no": 0.0, "both": 0.5, "rather": 0.875}[name]
    with jax.enable_x64(True), mpmath.workdps(30):
        u = points(dtype, per_side=20)
        labels = jnp.full_like(u, share)
        functions: dict[str, Any] = {"bce": lambda u: binary_cross_entropy(u, labels)}
        if share in (0.0, 1.0):
            functions["log_loss"] = lambda u: log_loss(u, 2 * labels - 1)
        numbers = [exact(v) for v in values_of(u)]
        far = [min(max(v, mpmath.mpf(-2000)), mpmath.mpf(2000)) for v in numbers]
        table = [bernoulli(v, mpmath.mpf(share)) for v in far]
        for row, v, near in zip(table, numbers, far, strict=True):
            row[0] += abs(v - near) * (share if v < 0 else 1 - share)  # straight lines far out
        by_labels = [0, share * (1 - share), 0]  # the labels are an argument too
        for what, f in functions.items():
            for order in range(3):
                wanted = [row[order] for row in table]
                scales = [
                    abs(row[order]) + abs(v * row[order + 1]) + by_labels[order]
                    for v, row in zip(numbers, table, strict=True)
                ]
                got = jax.jit(f)(u)
                assert_exact(dtype, got, wanted, scales, f"{what} {name} {order}", numbers)
                f = derivative(f, 0, ("reverse", "forward")[order % 2])


@pytest.mark.parametrize(
    ("f", "label", "logit", "loss", "slope"),
    [
        (log_loss, 1, INF, 0, 0),
        (log_loss, 1, -INF, INF, -1),
        (log_loss, -1, INF, INF, 1),
        (log_loss, -1, -INF, 0, 0),
        (log_loss, 1, -1e4, 1e4, -1),
        (log_loss, 1, 1e4, 0, 0),
        (log_loss, 1, NAN, NAN, NAN),
        (binary_cross_entropy, 1, INF, 0, 0),
        (binary_cross_entropy, 1, -INF, INF, -1),
        (binary_cross_entropy, 0, INF, INF, 1),
        (binary_cross_entropy, 0, -INF, 0, 0),
        (binary_cross_entropy, 0.25, INF, INF, 0.75),
        (binary_cross_entropy, 0.25, 1e4, 7500, 0.75),
        (binary_cross_entropy, 0, NAN, NAN, NAN),
        (hinge_loss, 1, INF, 0, 0),
        (hinge_loss, 1, -INF, INF, -1),
        (hinge_loss, -1, 1e4, 10001, 1),
        (hinge_loss, 1, 1.0, 0, 0),  # the kink
        (hinge_loss, -1, -1.0, 0, 0),
        (hinge_loss, 1, 0.5, 0.5, -1),
        (hinge_loss, -1, 0.0, 1, 1),
    ],
)
def test_edges(f: Any, label: Any, logit: float, loss: float, slope: float) -> None:
    for dtype in (jnp.float32, jnp.bfloat16):
        u = jnp.asarray(logit, dtype)
        value, pull = jax.vjp(lambda u: f(u, label), u)
        assert value.dtype == dtype
        np.testing.assert_allclose(value.astype(float), loss, rtol=1e-2)
        np.testing.assert_array_equal(pull(jnp.ones_like(u))[0].astype(float), slope)
        tangent = jax.jvp(lambda u: f(u, label), (u,), (jnp.ones_like(u),))[1]
        np.testing.assert_array_equal(tangent.astype(float), slope)


def test_the_lecture_gradient() -> None:
    u = jnp.linspace(-5, 5, 11)
    gradient = jax.vmap(jax.grad(log_loss))(u, jnp.ones(11))
    np.testing.assert_allclose(gradient, -(1 - sigmoid(u)), rtol=1e-5)


def test_the_derivative_by_probabilities() -> None:
    u = jnp.array([INF, -INF, 3.0])
    for p in (0.0, 0.25, 1.0):
        labels = jnp.full(3, p)
        slope = jax.grad(lambda p: binary_cross_entropy(u, p).sum())(labels)
        np.testing.assert_array_equal(slope, -u)


@pytest.mark.parametrize("f", [log_loss, hinge_loss], ids=lambda f: f.name)
def test_signs_have_no_derivative(f: Any) -> None:
    with pytest.raises(RuleError, match=rf"{f.name}: .*'labels' has no derivative"):
        jax.grad(f, argnums=1)(1.0, 1.0)


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.int32, jnp.float32, jnp.bfloat16])
def test_labels_of_any_dtype(dtype: Any) -> None:
    u = jnp.array([2.0, -1.0])
    for f, labels in ((log_loss, [1, -1]), (hinge_loss, [1, -1]), (binary_cross_entropy, [1, 0])):
        value, pull = jax.vjp(functools.partial(f, labels=jnp.array(labels, dtype)), u)
        assert value.dtype == pull(value)[0].dtype == jnp.float32
        np.testing.assert_array_equal(value, f(u, jnp.array(labels, jnp.float32)))
    p = jnp.array([0.5, 1.0], jnp.bfloat16)
    ct = jax.grad(lambda p: binary_cross_entropy(u, p).sum())(p)
    assert ct.dtype == jnp.bfloat16


@pytest.mark.parametrize("f", [log_loss, hinge_loss, binary_cross_entropy], ids=lambda f: f.name)
def test_what_does_not_fit(f: Any) -> None:
    with pytest.raises(ShapeError, match=rf"{f.name}: .*\(3,\) and \(3, 1\)"):
        f(jnp.zeros(3), jnp.ones((3, 1)))
    with pytest.raises(DTypeError, match=f.name):
        f(jnp.zeros(3, jnp.int32), jnp.ones(3))
    assert f(jnp.zeros(0), jnp.zeros(0)).shape == (0,)


@pytest.mark.parametrize(
    ("f", "label"), [(log_loss, 0), (hinge_loss, 0), (hinge_loss, 2), (binary_cross_entropy, -1)]
)
def test_labels_of_another_kind_are_seen(f: Any, label: int) -> None:
    with pytest.raises(ArgumentError, match=rf"{f.name}: labels must be .* got {label}"):
        f(jnp.zeros(2), np.array([1, label]))
    with pytest.raises(ArgumentError, match=f.name):
        jax.jit(lambda u: f(u, np.array([1, label])))(jnp.zeros(2))
    assert f(jnp.zeros(2), jnp.array([1, 1])).shape == (2,)
