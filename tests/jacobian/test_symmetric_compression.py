"""Hessians from few products, and patterns that are compressed because that pays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.jacobian import hessian, jacobian, plan_hessian, plan_jacobian
from funcnet.jacobian.elimination.compression import best_coloring
from funcnet.jacobian.linearization import linearized
from funcnet.jacobian.planning.planner import Planner
from tests.jacobian.test_at_value import long_but_for

pytestmark = pytest.mark.usefixtures("x64")

PAIRS = np.random.default_rng(0).integers(40, size=(90, 2))
X = np.linspace(-1.0, 2.0, 40)


def rosenbrock(x: Any) -> Any:
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def banded(x: Any) -> Any:
    return sum(jnp.sum(jnp.sin(x[k:] * x[: x.size - k])) for k in range(1, 4))


def clipped(x: Any) -> Any:
    """Its second derivatives are not symmetric: the gradient is clipped on its way back."""

    @jax.custom_vjp
    def clip(x: Any) -> Any:
        return x

    clip.defvjp(lambda x: (x, None), lambda _, ct: (jnp.clip(ct, -0.5, 0.5),))
    return arrowhead(clip(x))


def arrowhead(x: Any) -> Any:
    return jnp.sum(x[0] * jnp.sin(x))


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "rosenbrock": rosenbrock,
    "arrowhead": arrowhead,
    "banded": banded,
    "random": lambda x: jnp.sum(jnp.sin(x[PAIRS[:, 0]] * x[PAIRS[:, 1]])),
    "separable": lambda x: jnp.sum(jnp.sin(x) * x**2),
    "looped": lambda x: jax.lax.fori_loop(0, 2, lambda _, s: s + arrowhead(x), 0.0 * x[0]),
    "clipped": clipped,
    "linear": jnp.sum,
}


FEW = ("random",)


@pytest.mark.parametrize("name", long_but_for(FUNCTIONS, FEW))
def test_hessians_agree_with_columns_alone(name: str) -> None:
    f = FUNCTIONS[name]
    wanted = np.asarray(jax.hessian(f)(X))
    ours = plan_hessian(f, X, mode="compressed")
    columns = plan_jacobian(jax.grad(f), X, mode="compressed")
    np.testing.assert_allclose(ours(X), wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(columns(X), wanted, rtol=1e-12, atol=1e-12)
    assert ours.chosen.passes <= columns.chosen.passes
    fewer = {"arrowhead": (2, 3), "random": (4, 8)}
    if name in fewer:
        assert (ours.chosen.passes, columns.chosen.passes) == fewer[name]
    np.testing.assert_allclose(
        hessian(f, pattern=ours.pattern(), output="bcoo")(X).todense(),
        wanted,
        rtol=1e-12,
        atol=1e-12,
    )


def test_symmetry_is_not_taken_for_granted() -> None:
    """A rule that clips, however deep inside, and a pattern that is not symmetric."""
    for wrap in (lambda f: f, jax.jit):
        f = wrap(clipped)
        wanted = np.asarray(jax.hessian(f)(X))
        assert not np.allclose(wanted, wanted.T)
        plan = plan_hessian(f, X, mode="compressed")
        assert plan.chosen.colored is not None
        assert plan.chosen.colored[1].kind not in ("star", "acyclic")
        np.testing.assert_allclose(plan(X), wanted, rtol=1e-12)
    i, zero = np.arange(30), np.zeros(30, int)
    rows, cols = np.concatenate([i, i, zero]), np.concatenate([i, zero, i])
    for part, kind in ((slice(None), "star"), (slice(-1), "bi")):
        taken = rows[part], cols[part]
        coloring = best_coloring(*taken, (30, 30), push=True, pull=True, symmetric=True)
        assert coloring.kind == kind


@pytest.mark.long
def test_hessians_of_several_arguments() -> None:
    f = lambda a, b: jnp.sum(a[0] * jnp.sin(b) * a) + jnp.sum(b**3)  # noqa: E731
    args = X, X[::-1]
    wanted = jax.hessian(f, (0, 1))(*args)
    ours = plan_hessian(f, *args, argnums=(0, 1), mode="compressed")
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-12), ours(*args), wanted)
    columns = plan_jacobian(jax.grad(f, (0, 1)), *args, argnums=(0, 1), mode="compressed")
    assert ours.chosen.passes < columns.chosen.passes
    aux = hessian(lambda a, b: (f(a, b), "besides"), mode="compressed", has_aux=True)(*args)
    np.testing.assert_allclose(aux[0], wanted[0][0], atol=1e-12)
    assert aux[1] == "besides"


def test_substitution_is_taken_only_where_it_saves_much() -> None:
    i = np.arange(50)
    both = np.concatenate([i, i[1:], i[:-1]]), np.concatenate([i, i[:-1], i[1:]])
    shape = 50, 50
    assert best_coloring(*both, shape, push=True, pull=True, symmetric=True).count == 3


# The structure's own pattern


def planner_of(f: Callable[[Any], Any]) -> Planner:
    out = jax.eval_shape(f, X)
    return Planner(linearized(lambda x: ([f(x)], []), [X]), [out], 8)


def test_the_own_pattern_is_compressed_where_that_may_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the price of the best way for a means: two products, too many entries, and too full."""
    planner = planner_of(lambda x: x * x[::-1])
    best = planner.eliminated("chain")
    way = planner.compressed_if_cheap(replace(best, seconds=1.0))
    assert way is not None and way.passes == 2

    def refused(self: Planner, pattern: Any) -> None:
        raise AssertionError("it was coloured")

    monkeypatch.setattr(Planner, "compressed", refused)
    for seconds in (9e-7, 1e-9):
        assert planner.compressed_if_cheap(replace(best, seconds=seconds)) is None
    full = planner_of(lambda x: x * jnp.sum(x))
    assert full.compressed_if_cheap(replace(full.eliminated("chain"), seconds=1.0)) is None


def test_auto_takes_it_if_it_is_cheapest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Planner,
        "in_orders",
        lambda self, orders: (replace(way, seconds=1.0) for way in in_orders(self, orders)),
    )
    f = lambda x: x * x[::-1]  # noqa: E731
    plan = plan_jacobian(f, X)
    assert plan.mode == "compressed" and len(plan.alternatives) == 5
    np.testing.assert_allclose(jacobian(f)(X), jax.jacrev(f)(X))


in_orders = Planner.in_orders
