"""Loops that are undone on the way back, and what happens when they cannot be."""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.control_flow import fori_loop, loop_report, while_loop
from funcnet.errors import ArgumentError, ShapeError

SCALE = np.array([0.3, -0.2, 0.5])
START = (np.ones(3), np.arange(3.0))
STATE_BYTES = 2 * 3 * 8 + 4


@pytest.fixture(autouse=True)
def in_float64(x64: None) -> None:
    """So that rounding stays far below what the tests are after."""


def step(w: Any, i: Any, x: Any) -> Any:
    a, b = x
    a = a + 0.1 * jnp.tanh(w * b)
    return a, b + 0.1 * jnp.sin(a * w + 0.01 * i.astype(float))


def back(w: Any, i: Any, y: Any) -> Any:
    a, b = y
    b = b - 0.1 * jnp.sin(a * w + 0.01 * i.astype(float))
    return a - 0.1 * jnp.tanh(w * b), b


def final(w: Any, x: Any, steps: Any, slots: int, inverse: Any, **how: Any) -> Any:
    budget = slots * STATE_BYTES
    undo = None if inverse is None else lambda i, y: inverse(w, i, y)
    count = jnp.asarray(steps, jnp.int32)
    a, b = fori_loop(
        0, count, lambda i, x: step(w, i, x), x, budget_bytes=budget, inverse=undo, **how
    )
    return (a**2).sum() + (a * b).sum()


def evaluations(inverse: Any, **how: Any) -> list[tuple[int, int]]:
    report = loop_report(lambda w, x: final(w, x, 100, 7, inverse, **how), SCALE, START)
    return [(s.evaluations, s.predicted) for s in report.sweeps]


@pytest.mark.parametrize("slots", [3, 5, 12, 100])
@pytest.mark.parametrize("mode", ["grad", "hessian"])
def test_the_same_derivatives(mode: str, slots: int) -> None:
    derivative = {"grad": jax.grad, "hessian": jax.hessian}[mode]

    def at(inverse: Any) -> Any:
        return jax.jit(derivative(lambda w, x, n: final(w, x, n, slots, inverse), (0, 1)))

    plain, undone = at(None), at(back)
    for steps in (0, 1, 2, 3, 4, 5, 11, 12, 13, 60):
        found, right = undone(SCALE, START, steps), plain(SCALE, START, steps)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-10, 1e-12), found, right)


def test_no_step_is_run_again() -> None:
    ((found, predicted),) = evaluations(back)
    assert found == predicted == 100
    ((without, _),) = evaluations(None)
    assert without > 250


def wrong(w: Any, i: Any, y: Any) -> Any:
    return back(w + 1e-5, i, y)


def drifting(w: Any, i: Any, y: Any) -> Any:
    """Right within the tolerance at each step, not after several."""
    a, b = back(w, i, y)
    return a + 4e-9, b


def nan_at_first(w: Any, i: Any, y: Any) -> Any:
    a, b = back(w, i, y)
    return a + jnp.where(i == 0, jnp.nan, 0.0), b


@pytest.mark.parametrize("inverse", [wrong, drifting, nan_at_first])
def test_an_inverse_that_is_none_costs_time_only(inverse: Any) -> None:
    ((found, predicted),) = evaluations(inverse)
    assert found > 2.5 * predicted
    right = jax.grad(lambda w: final(w, START, 100, 7, None))(SCALE)
    np.testing.assert_allclose(
        jax.grad(lambda w: final(w, START, 100, 7, inverse))(SCALE), right, 1e-12, 1e-14
    )


def test_an_inverse_that_errs_between_the_states_that_are_kept() -> None:
    """Every other state is negative, which its absolute value does not tell; these are not kept."""

    def factor(i: Any) -> Any:
        return jnp.where(i % 2 == 0, -1.01, 1.01)

    def f(x: Any, inverse: Any) -> Any:
        return fori_loop(
            0, 61, lambda i, x: factor(i) * jnp.abs(x), x, budget_bytes=80, inverse=inverse
        )

    undo = lambda i, y: y / factor(i)  # noqa: E731
    right = jax.grad(lambda x: f(x, None))(0.5)
    np.testing.assert_allclose(jax.grad(lambda x: f(x, undo))(0.5), right, 1e-12)
    (sweep,) = loop_report(lambda x: f(x, undo), 0.5).sweeps
    assert sweep.evaluations > sweep.predicted


def test_a_tolerance_can_be_given() -> None:
    ((found, predicted),) = evaluations(wrong, tolerance=1e-3)
    assert found == predicted
    ((found, predicted),) = evaluations(back, tolerance=0.0)
    assert found > predicted


def test_integers_have_to_be_met() -> None:
    def total(inverse: Any) -> Any:
        def f(x: Any) -> Any:
            start = (jnp.asarray(0, jnp.int32), x)
            return while_loop(
                lambda s: s[0] < 60,
                lambda s: (s[0] + 1, s[1] * 1.01),
                start,
                budget_bytes=4 * 12,
                inverse=inverse,
            )[1]

        return loop_report(f, 1.0).sweeps[0].evaluations

    assert total(lambda s: (s[0] - 1, s[1] / 1.01)) == 60
    assert total(lambda s: (s[0] - 2, s[1] / 1.01)) > 60


def test_with_a_number_of_steps_that_must_be_enough() -> None:
    def f(x: Any) -> Any:
        return while_loop(
            lambda y: y < 10.0,
            lambda y: 1.1 * y,
            x,
            budget_bytes=50,
            max_steps=100,
            inverse=lambda y: y / 1.1,
        )

    np.testing.assert_allclose(jax.grad(f)(1.0), 1.1**25, 1e-12)


@pytest.mark.parametrize("same", [True, False])
def test_under_vmap(same: bool) -> None:
    steps = np.array([40, 40, 40] if same else [40, 0, 17])
    scales = np.stack([SCALE, 2 * SCALE, -SCALE])
    axes = (0, None, None) if same else (0, None, 0)
    given = 40 if same else steps

    def each(inverse: Any) -> Any:
        gradient = jax.grad(lambda w, x, n: final(w, x, n, 9, inverse), (0, 1))
        return jax.jit(jax.vmap(gradient, axes))(scales, START, given)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 1e-10, 1e-12), each(back), each(None)
    )


def test_says_what_is_wrong() -> None:
    with pytest.raises(ShapeError, match="inverse returns a state of another structure"):
        while_loop(lambda x: x < 3, lambda x: x + 1, cast(Any, 0.0), inverse=lambda x: (x, x))
    with pytest.raises(ShapeError, match=r"inverse turns the state of shape \(\) into"):
        while_loop(lambda x: x < 3, lambda x: x + 1, cast(Any, 0.0), inverse=lambda x: x[None])
    with pytest.raises(ArgumentError, match=r"and 3 have to be kept at least\. Give 24"):
        while_loop(lambda x: x < 3, lambda x: x + 1, 0.0, inverse=lambda x: x - 1, budget_bytes=16)
    with pytest.raises(ArgumentError, match="tolerance is -1"):
        while_loop(lambda x: x < 3, lambda x: x + 1, 0.0, inverse=lambda x: x - 1, tolerance=-1)
