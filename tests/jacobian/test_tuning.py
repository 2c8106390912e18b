"""`autotune=True` times ways that are priced alike, and takes the one that was fastest."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError
from funcnet.jacobian import (
    hessian,
    jacobian,
    plan_hessian,
    plan_jacobian,
    value_and_jacobian,
)
from funcnet.jacobian.planning import tuning

X = np.linspace(-1.0, 1.0, 12, dtype=np.float32)
W = np.random.default_rng(0).normal(size=(3, 12, 12)).astype(np.float32) / 4


def network(x: Any) -> Any:
    for w in W:
        x = jnp.tanh(w @ x)
    return x


def slowest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the measurements say the opposite of the prices."""

    def backwards(calls: Any, *_: Any) -> list[list[float]]:
        return [[float(len(calls) - i)] for i in range(len(calls))]

    monkeypatch.setattr(tuning, "interleaved", backwards)


def test_the_fastest_is_taken_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    priced = plan_jacobian(network, X)
    slowest_first(monkeypatch)
    plan = plan_jacobian(network, X, autotune=True)
    tried = list(plan.measured)
    assert {"forward", "reverse", "eliminate"} <= {way.mode for way in plan.alternatives}
    assert len(tried) > 1
    assert plan.chosen is tried[-1]
    assert plan.chosen.seconds >= priced.chosen.seconds
    assert plan.chosen.seconds <= 5 * priced.chosen.seconds
    assert "measured" in str(plan)
    assert "measured" not in str(priced)
    np.testing.assert_allclose(plan(X), jax.jacfwd(network)(X), rtol=1e-4, atol=1e-6)


def test_each_product_is_tried_once() -> None:
    tried = list(plan_jacobian(network, X, autotune=True).measured)
    assert len({(way.mode, way.work) for way in tried}) == len(tried) <= 5


def test_it_is_tried_once_for_each_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = tuning.interleaved

    def counted(calls: Any, *rest: Any) -> Any:
        asked.append(len(calls))
        return real(calls, *rest)

    monkeypatch.setattr(tuning, "interleaved", counted)
    f = jacobian(network, autotune=True)
    for _ in range(3):
        f(X)
    assert len(asked) == 1


@pytest.mark.parametrize("make", [jacobian, hessian])
def test_values_are_those_of_the_plan(make: Any) -> None:
    def f(x: Any) -> Any:
        return jnp.sum(network(x) ** 2)

    ours, theirs = make(f, autotune=True)(X), make(f)(X)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    value, gradient = value_and_jacobian(f, autotune=True)(X)
    np.testing.assert_allclose(value, f(X), rtol=1e-5)
    np.testing.assert_allclose(gradient, jax.grad(f)(X), rtol=1e-4, atol=1e-6)
    assert plan_hessian(f, X, autotune=True).measured


def test_one_way_needs_no_trial() -> None:
    assert not plan_jacobian(jnp.sin, X, mode="forward", autotune=True).measured


def test_numbers_are_needed() -> None:
    f = jacobian(network, autotune=True)
    for under, x in ((jax.jit(f), X), (jax.vmap(f), X[None]), (jax.jacfwd(f), X)):
        with pytest.raises(ArgumentError, match="autotune=True needs numbers"):
            under(x)
    with pytest.raises(ArgumentError, match="autotune=True needs numbers"):
        plan_jacobian(network, jax.ShapeDtypeStruct((12,), np.float32), autotune=True)
    with pytest.raises(ArgumentError, match="autotune=True is about entries"):
        jacobian(network, autotune=True, output="operator")
