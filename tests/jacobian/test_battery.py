"""The programs that Jacobians are tested on are what they say they are."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import Literal

from tests.jacobian.battery import BATTERY, rosenbrock
from tests.jacobian.cases import Case, flat
from tests.jacobian.elimination_cases import ELIMINATION, EliminationCase
from tests.jacobian.random_programs import program

POINTS = 64

each_case = pytest.mark.parametrize("case", BATTERY.values(), ids=BATTERY)
each_count = pytest.mark.parametrize("case", ELIMINATION.values(), ids=ELIMINATION)


def matrices(case: Case, points: int, differentiate: Callable[..., Any]) -> np.ndarray:
    """The Jacobians at some points, each as a matrix of outputs by inputs."""
    f, _ = case.make()
    stacked = jax.tree.map(
        lambda *leaves: np.stack(leaves), *(case.make(seed=seed)[1] for seed in range(points))
    )

    def at(args: Any) -> Any:
        g, x = flat(f, args, case.argnums)
        return differentiate(g)(x)

    return np.asarray(jax.jit(jax.vmap(at))(stacked))


@pytest.mark.usefixtures("x64")
@each_case
def test_pattern_is_where_the_jacobian_is_not_zero(case: Case) -> None:
    jacobians = matrices(case, POINTS, jax.jacfwd if case.has_forward else jax.jacrev)
    assert np.isfinite(jacobians).all()
    pattern = case.pattern()
    assert pattern is not None
    # The rounding of some factorisations is not exactly zero where their derivative is.
    np.testing.assert_array_equal((abs(jacobians) > 1e-12).any(axis=0), pattern)


@pytest.mark.long
@pytest.mark.usefixtures("x64")
@each_case
def test_modes_agree(case: Case) -> None:
    if case.has_forward and case.has_reverse:
        forward, reverse = (matrices(case, 2, mode) for mode in (jax.jacfwd, jax.jacrev))
        np.testing.assert_allclose(forward, reverse, rtol=1e-12, atol=1e-12)
    elif case.has_forward:
        with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
            matrices(case, 2, jax.jacrev)
    else:
        with pytest.raises(TypeError, match="forward-mode"):
            matrices(case, 2, jax.jacfwd)


@pytest.mark.long
@each_case
def test_full_size_fits_its_pattern_in_float32(case: Case) -> None:
    f, args = case.make("full", dtype=np.float32)
    outputs = jax.tree.leaves(jax.jit(f)(*args))
    assert {leaf.dtype for leaf in outputs} == {np.dtype(np.float32)}
    assert all(np.isfinite(leaf).all() for leaf in outputs)
    _, x = flat(f, args, case.argnums)
    pattern = case.pattern("full")
    assert pattern is not None
    assert pattern.shape == (sum(leaf.size for leaf in outputs), x.size)


def test_function_does_not_depend_on_the_seed() -> None:
    case = BATTERY["scalar_to_vector"]
    (f, args), (g, others) = case.make(seed=1), case.make(seed=2)
    assert args != others
    np.testing.assert_array_equal(f(*args), g(*args))


@pytest.mark.usefixtures("x64")
def test_burgers_and_brusselator_by_loops() -> None:
    f, (u,) = BATTERY["burgers"].make()
    walled = [0.0, *u, 0.0]
    expected = [
        -b * (c - a) / 2 + 0.3 * (a - 2 * b + c)
        for a, b, c in zip(walled, walled[1:], walled[2:], strict=False)
    ]
    np.testing.assert_allclose(f(u), expected, rtol=1e-12)

    f, (state,) = BATTERY["brusselator"].make()
    n = 4
    a, b = state.reshape(2, n, n)
    velocity = np.zeros((2, n, n))
    for i in range(n):
        for j in range(n):
            around = [((i + 1) % n, j), (i - 1, j), (i, (j + 1) % n), (i, j - 1)]
            spread = [0.1 * sum(s[near] - s[i, j] for near in around) for s in (a, b)]
            made = a[i, j] ** 2 * b[i, j]
            velocity[:, i, j] = 1 + made - 4.4 * a[i, j], 3.4 * a[i, j] - made
            velocity[:, i, j] += spread
    np.testing.assert_allclose(f(state), velocity.ravel(), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_rosenbrock_has_its_minimum_at_one() -> None:
    gradient, (x,) = BATTERY["rosenbrock_gradient"].make()
    assert rosenbrock(np.ones(6)) == 0
    np.testing.assert_array_equal(gradient(np.ones(6)), np.zeros(6))
    np.testing.assert_allclose(
        rosenbrock(x),
        sum(100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in pairwise(x)),
    )


class Elimination:
    """Vertex elimination that only counts, on sets, as `elimination_cases.py` states it."""

    def __init__(self, case: EliminationCase) -> None:
        jaxpr = jax.make_jaxpr(case.f)(*case.make()[1]).jaxpr
        self.parents: dict[Any, set[Any]] = {}
        self.children: dict[Any, set[Any]] = {var: set() for var in jaxpr.invars}
        for equation in jaxpr.eqns:
            (made,) = equation.outvars
            self.parents[made] = {x for x in equation.invars if not isinstance(x, Literal)}
            self.children[made] = set()
            for parent in self.parents[made]:
                self.children[parent].add(made)
        self.order = [v for v in self.parents if v not in jaxpr.outvars]

    def price(self, vertex: Any) -> int:
        return len(self.parents[vertex]) * len(self.children[vertex])

    def remove(self, vertex: Any) -> int:
        price = self.price(vertex)
        before, after = self.parents.pop(vertex), self.children.pop(vertex)
        for parent in before:
            self.children[parent] = self.children[parent] - {vertex} | after
        for child in after:
            self.parents[child] = self.parents[child] - {vertex} | before
        return price

    def markowitz(self, order: list[Any]) -> int:
        left, total = list(order), 0
        while left:
            vertex = min(left, key=self.price)  # the first on ties
            left.remove(vertex)
            total += self.remove(vertex)
        return total


@each_count
def test_elimination_counts(case: EliminationCase) -> None:
    forward, reverse, first, last = (Elimination(case) for _ in range(4))
    assert sum(map(forward.remove, forward.order)) == case.forward
    assert sum(map(reverse.remove, reverse.order[::-1])) == case.reverse
    assert first.markowitz(first.order) == case.markowitz
    assert last.markowitz(last.order[::-1]) == case.markowitz_reverse


@pytest.mark.usefixtures("x64")
@each_count
def test_elimination_cases_are_smooth_where_they_stand(case: EliminationCase) -> None:
    f, args = case.make()
    x, step = np.array(args), 1e-5

    def g(x: Any) -> Any:
        return jnp.stack(f(*x))

    shifts = step * np.eye(len(x))
    above, below = (jax.jit(jax.vmap(g))(x + s) for s in (shifts, -shifts))
    jacobian = jax.jit(jax.jacfwd(g))(x)
    np.testing.assert_allclose(jacobian.T, (above - below) / (2 * step), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("x64")
def test_roe_flux_of_equal_states_is_the_flux() -> None:
    density, momentum, energy = 1.0, 0.75, 2.8
    pressure = 0.4 * (energy - 0.5 * momentum**2 / density)
    velocity = momentum / density
    np.testing.assert_allclose(
        ELIMINATION["RoeFlux_1d"].f(*2 * (density, momentum, energy)),
        (momentum, momentum * velocity + pressure, velocity * (energy + pressure)),
        rtol=1e-12,
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("seed", range(3))
def test_random_programs_are_the_same_again_and_tame(seed: int) -> None:
    (f, args), (g, again) = program(seed), program(seed)
    for one, other in zip(args, again, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(jax.tree.leaves(f(*args)), jax.tree.leaves(g(*args)), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == np.float64
        assert np.all(np.abs(one) < 100)
    _, single = program(seed, dtype=np.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(f(*single))} == {np.dtype(np.float32)}


@pytest.mark.long
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("seed", range(100))
def test_random_programs_have_both_modes(seed: int) -> None:
    f, args = program(seed)
    g, x = flat(f, args, tuple(range(len(args))))
    forward, reverse = jax.jit(jax.jacfwd(g))(x), jax.jit(jax.jacrev(g))(x)
    assert np.isfinite(forward).all()
    np.testing.assert_allclose(forward, reverse, rtol=1e-12, atol=1e-12)
