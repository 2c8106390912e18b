"""Patterns at given numbers: never too small there, and never used for other numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.jacobian import hessian, jacobian, plan_hessian, plan_jacobian, value_and_jacobian
from funcnet.jacobian.planning.options import Options
from funcnet.jacobian.planning.planned import Planned
from tests.jacobian.battery import BATTERY
from tests.jacobian.cases import flat
from tests.jacobian.random_programs import program

pytestmark = pytest.mark.usefixtures("x64")

X = np.array([0.5, -1.25, 2.0, 0.0, -0.75, 1.5])
MASK = np.array([0.0, 1.0, 1.0, 0.0, 2.0, 1.0])
W = np.random.default_rng(0).normal(size=(4, 6))


def branch(x: Any) -> Any:
    return jax.lax.cond(x[0] > 0, lambda x: x * x, lambda x: jnp.roll(x, 1) * 2.0, x)


def nested(x: Any) -> Any:
    """A branch in a branch, of which the outer one decides whether there is an inner one."""
    inner = lambda x: jax.lax.switch(jnp.int32(x[2]), [jnp.flip, jnp.cos, jnp.sin], x)  # noqa: E731
    return jax.lax.cond(x[0] > 0, inner, jnp.flip, x) * x[1]


# The zeros of their Jacobians follow from single factors: no sum cancels at X or -X.
PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "relu": jax.nn.relu,
    "two layers": lambda x: jnp.sum(jax.nn.relu(jnp.asarray(W) * x[None]), 0),
    "mask": lambda x: jnp.sin(x) * jnp.asarray(MASK),
    "argument in front": lambda x: x * x[0] * 0.0 + x,
    "product": lambda x: x * x[::-1],
    "outer": lambda x: x[:, None] * x[None, :2],
    "lines": lambda x: jax.nn.relu(x)[:, None] * jnp.square(x[None, 3:]),
    "choice of arrays": lambda x: jnp.where(x[0] > 0, x, x[::-1]),
    "choice of three": lambda x: jax.lax.select_n(
        jnp.int32(x > 0) + jnp.int32(x > 1), x, 2 * x[::-1], x**2
    ),
    "largest": jnp.max,
    "sorted": jnp.sort,
    "taken": lambda x: x[jnp.argsort(-x)[:2]],
    "sliced": lambda x: jax.lax.dynamic_slice(x, (jnp.int32(x[2]),), (2,)),
    "added": lambda x: jnp.zeros(3).at[jnp.int32(jnp.abs(x))].add(x),
    "branch": branch,
    "branch in a branch": nested,
    "all zero": lambda x: jax.nn.relu(x - 9.0),
}


FEW = ("choice of three", "branch in a branch", "all zero")


def long_but_for(names: Iterable[str], few: Sequence[str]) -> list[Any]:
    return [pytest.param(n, marks=[] if n in few else [pytest.mark.long]) for n in names]


@pytest.mark.parametrize("name", long_but_for(PROGRAMS, FEW))
def test_no_entry_is_missing_and_none_too_many(name: str) -> None:
    f = PROGRAMS[name]
    of_f = jacobian(f, at_value=True)
    for x in (X, -X):
        wanted = np.asarray(jax.jacrev(f)(x))
        np.testing.assert_allclose(of_f(x), wanted, rtol=1e-12, atol=1e-12)
        rows, cols = plan_jacobian(f, x, at_value=True).pattern()
        found = np.zeros((wanted.size // 6, 6), bool)
        found[rows, cols] = True
        np.testing.assert_array_equal(found, wanted.reshape(found.shape) != 0)


@pytest.mark.long
@pytest.mark.parametrize("name", BATTERY)
def test_battery(name: str) -> None:
    check(*BATTERY[name].make("small"), BATTERY[name].argnums, BATTERY[name].has_reverse)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed: int) -> None:
    f, args = program(seed)
    check(f, args, tuple(range(len(args))))


def check(f: Any, args: Any, argnums: int | tuple[int, ...], reverse: bool = True) -> None:
    """The Jacobian is right, and the pattern holds all that is not 0."""
    f_of_vector, x = flat(f, args, argnums)
    wanted = np.asarray((jax.jacrev if reverse else jax.jacfwd)(f_of_vector)(x))
    ours = jacobian(f_of_vector, output="csr", at_value=True)(x)
    np.testing.assert_allclose(ours.todense(), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "output", ["bcoo", pytest.param("csr", marks=pytest.mark.long), "diagonal"]
)
def test_outputs(output: Any) -> None:
    f = PROGRAMS["relu"]
    wanted = np.asarray(jax.jacrev(f)(X))
    ours = jacobian(f, output=output, at_value=True)(X)
    if output == "diagonal":
        np.testing.assert_allclose(ours, np.diag(wanted), rtol=1e-12)
    else:
        np.testing.assert_allclose(ours.todense(), wanted, rtol=1e-12)
        assert (ours.nse if output == "bcoo" else ours.nnz) == np.count_nonzero(wanted)


def test_relatives() -> None:
    f = lambda x: jnp.sum(jax.nn.relu(x) ** 3)  # noqa: E731
    np.testing.assert_allclose(hessian(f, at_value=True)(X), jax.hessian(f)(X))
    assert plan_hessian(f, X, at_value=True).nnz == 3
    y, ours = value_and_jacobian(jax.nn.relu, at_value=True)(X)
    np.testing.assert_array_equal(y, np.maximum(X, 0))
    np.testing.assert_array_equal(ours, np.diag(np.float64(X > 0)))
    aux = jacobian(lambda x: (jax.nn.relu(x), {"x": x}), has_aux=True, at_value=True)
    for x in (X, -X, X):
        ours, besides = aux(x)
        np.testing.assert_array_equal(ours, np.diag(np.float64(x > 0)))
        np.testing.assert_array_equal(besides["x"], x)


def test_compression_uses_the_pattern_at_the_numbers() -> None:
    f = lambda x, weights: x * jnp.sum(x * weights)  # noqa: E731
    weights = np.asarray([0.0, 0.0, 1.0, 0.0, 0.0, 0.0], X.dtype)
    passes = [
        plan_jacobian(f, X, weights, mode="compressed", at_value=at).chosen.passes
        for at in (False, True)
    ]
    assert passes[1] == 2 < passes[0]


def test_inactive_units_are_not_multiplied() -> None:
    """Two layers with half of the units between them inactive: half of the products."""
    first, second = (np.random.default_rng(0).normal(size=shape) for shape in ((6, 40), (40, 8)))
    f = lambda x: jax.nn.relu(x @ first) @ second  # noqa: E731
    active = np.count_nonzero(X @ first > 0)
    everywhere, here = (plan_jacobian(f, X, at_value=at) for at in (False, True))
    np.testing.assert_allclose(here(X), everywhere(X), rtol=1e-12)
    assert 0 < active < 30
    assert here.chosen.work.flops <= everywhere.chosen.work.flops * active / 40
    assert here.chosen.work.entries <= everywhere.chosen.work.entries


def test_equal_zeros_share_a_plan_and_others_do_not() -> None:
    traced: list[None] = []

    def f(x: Any) -> Any:
        traced.append(None)
        return jax.nn.relu(x)

    planned = Planned("jacobian", f, 0, Options(at_value=True))
    plans = [planned.plan((x,)) for x in (X, 2 * X, -X, X)]
    assert plans[0] is plans[1] is plans[3] is not plans[2]
    assert len(traced) == 1
    assert [p.nnz for p in plans[:3]] == [3, 3, 2]
    plans[0](2 * X)
    with pytest.raises(ValueError, match="zeros at other places"):
        plans[0](-X)


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e-310])
def test_numbers_that_are_not_zero(number: float) -> None:
    x = np.array([0.0, number, -0.0])
    f = lambda x: x * x[0] + 3.0 * x  # noqa: E731
    assert plan_jacobian(lambda x: x * x, x, at_value=True).nnz == 1
    np.testing.assert_array_equal(jacobian(f, at_value=True)(x)[0], [3.0, 0.0, 0.0])


def test_numbers_decide_again_under_other_shapes() -> None:
    of_f = jacobian(jax.nn.relu, at_value=True)
    for x in (X, X.reshape(2, 3)):
        ours = of_f(x)
        assert ours.shape == x.shape * 2
        np.testing.assert_array_equal(ours.reshape(x.size, -1), np.diag(np.float64(x.ravel() > 0)))


def closing_over_a_tracer(scale: Any) -> Any:
    return jacobian(lambda x: scale * x, at_value=True)(X)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jax.jit(jacobian(jnp.sin, at_value=True))(X), "at_value=True needs numbers"),
        (lambda: jax.vmap(jacobian(jnp.sin, at_value=True))(X), "at_value=True needs numbers"),
        (lambda: jax.jit(closing_over_a_tracer)(2.0), "at_value=True needs numbers"),
        (lambda: jax.jit(plan_jacobian(jnp.sin, X, at_value=True))(X), "Plan: at_value=True"),
        (
            lambda: plan_jacobian(jnp.sin, jax.ShapeDtypeStruct((3,), float), at_value=True),
            "given shapes",
        ),
        (lambda: jacobian(jnp.sin, mode="forward", at_value=True), "Take another mode"),
        (lambda: jacobian(jnp.sin, output="operator", at_value=True), "Take another output"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
