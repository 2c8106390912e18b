"""Star and acyclic colourings of symmetric patterns: laws over a table."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError, ShapeError
from funcnet.jacobian.coloring import symmetric as symmetric_coloring
from funcnet.jacobian.coloring.one_sided import Coloring, decompress
from funcnet.jacobian.coloring.symmetric import SymmetricOrder, color_acyclic, color_star
from tests.jacobian.coloring_patterns import (
    Pattern,
    arrowhead,
    band,
    brusselator,
    of,
    products,
    random_matrix,
    scattered,
    symmetric,
    symmetric_patterns,
)

methods: dict[str, Callable[..., Coloring]] = {"star": color_star, "acyclic": color_acyclic}
each_pattern = pytest.mark.parametrize(
    "pattern", symmetric_patterns.values(), ids=symmetric_patterns
)
each_method = pytest.mark.parametrize("kind", methods)


def color(kind: str, pattern: Pattern, order: SymmetricOrder | None = None) -> Coloring:
    return methods[kind](pattern.rows, pattern.cols, pattern.shape[0], order=order)


def graph(pattern: Pattern) -> np.ndarray:
    dense = pattern.dense | pattern.dense.T
    np.fill_diagonal(dense, False)
    return dense


def is_star(near: np.ndarray, colors: np.ndarray) -> bool:
    """Neighbours differ, and no path a - b - c - d has two colours."""
    for b, c in zip(*np.nonzero(near), strict=True):
        if colors[b] == colors[c]:
            return False
        ends = set(np.flatnonzero(near[b] & (colors == colors[c]))) - {c}
        if ends and set(np.flatnonzero(near[c] & (colors == colors[b]))) - {b}:
            return False
    return True


def is_acyclic(near: np.ndarray, colors: np.ndarray) -> bool:
    """Neighbours differ, and to take leaves away leaves nothing between any two colours."""
    if any(near[np.ix_(colors == c, colors == c)].any() for c in set(colors)):
        return False
    for pair in combinations(sorted(set(colors)), 2):
        both = np.isin(colors, pair)
        left = near[np.ix_(both, both)].copy()
        while (leaves := left.sum(axis=1) == 1).any():
            left[leaves] = False
            left[:, leaves] = False
        if left.any():
            return False
    return True


@each_pattern
@pytest.mark.parametrize("order", [None, *get_args(SymmetricOrder)])
@each_method
def test_a_colouring_is_what_it_says_and_gives_the_hessian_exactly(
    pattern: Pattern, order: SymmetricOrder | None, kind: str
) -> None:
    coloring = color(kind, pattern, order)
    colors, near = coloring.colors, graph(pattern)
    assert coloring.kind == kind and coloring.shape == pattern.shape and coloring.vjps == 0
    assert colors.dtype == np.int32
    assert set(colors[colors >= 0].tolist()) == set(range(coloring.count))
    np.testing.assert_array_equal(colors >= 0, (pattern.dense | pattern.dense.T).any(axis=1))
    assert (is_star if kind == "star" else is_acyclic)(near, colors)
    hessian = random_matrix(pattern, mirrored=True)
    values = decompress(coloring, *products(coloring, hessian))
    np.testing.assert_array_equal(values, hessian[pattern.rows, pattern.cols])
    again = color(kind, pattern, order)
    np.testing.assert_array_equal(colors, again.colors)
    np.testing.assert_array_equal(coloring.gather, again.gather)


@each_method
@pytest.mark.parametrize("density", [0.05, 0.15, 0.4])
def test_random_graphs_are_coloured_as_said(kind: str, density: float) -> None:
    for seed in range(20):
        pattern = symmetric(scattered(4 + seed, 4 + seed, density, seed))
        coloring = color(kind, pattern, "random")
        assert (is_star if kind == "star" else is_acyclic)(graph(pattern), coloring.colors)
        hessian = random_matrix(pattern, mirrored=True)
        values = decompress(coloring, *products(coloring, hessian))
        np.testing.assert_array_equal(values, hessian[pattern.rows, pattern.cols])


@pytest.mark.parametrize(
    ("pattern", "star", "acyclic"),
    [
        (symmetric_patterns["no entries"], 0, 0),
        (of(np.eye(9)), 1, 1),
        (of(np.ones((7, 7))), 7, 7),
        (arrowhead(3000), 2, 2),
        (band(60, 1, 1), 3, 2),
        (band(60, 2, 2), 5, 3),
        (symmetric_patterns["ring"], 3, 3),
        (symmetric_patterns["tree"], 3, 2),
        (symmetric_patterns["random tree"], 4, 2),
    ],
    ids=lambda x: str(x) if isinstance(x, int) else f"{x.shape}",
)
def test_counts(pattern: Pattern, star: int, acyclic: int) -> None:
    assert color("star", pattern).count == star
    assert color("acyclic", pattern).count == acyclic


@each_pattern
def test_trees_take_no_more_than_stars(pattern: Pattern) -> None:
    """Not a law of first fit, but so on every pattern of the table."""
    assert color("acyclic", pattern).count <= color("star", pattern).count


@each_method
def test_the_default_is_the_best_of_the_orders(kind: str) -> None:
    better = 0
    for seed in range(10):
        pattern = symmetric(scattered(40, 40, 0.08, seed))
        counts = [color(kind, pattern, order).count for order in get_args(SymmetricOrder)]
        assert color(kind, pattern).count == min(counts)
        better += min(counts) < counts[0]
    assert better


def test_a_brusselator_takes_ten_or_six() -> None:
    pattern = brusselator(22)
    assert color("star", pattern).count <= 10
    assert color("acyclic", pattern).count <= 6


@pytest.mark.parametrize(
    ("pattern", "orders"),
    [(of(np.ones((9, 9))), []), (band(30, 1, 1), ["natural"]), (arrowhead(9), ["natural"])],
    ids=["full", "band", "arrowhead"],
)
def test_the_bound_ends_the_search(
    pattern: Pattern, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    turns = symmetric_coloring._Graph.turns

    def noted(self: Any, order: str) -> Any:
        tried.append(order)
        return turns(self, order)

    monkeypatch.setattr(symmetric_coloring._Graph, "turns", noted)
    color("acyclic", pattern)
    assert tried == orders
    monkeypatch.setattr(symmetric_coloring, "_MANY", 0)
    color("star", brusselator(4))
    assert tried == [*orders, "natural"]


def test_a_long_path_takes_few_steps() -> None:
    """A tree of two colours may be deep; parents of parents are reached by doubling."""
    n = 2000
    substitution = color_acyclic(np.arange(n - 1), np.arange(1, n), n).substitution
    assert substitution is not None
    assert 9 <= len(substitution.steps) <= 11
    star = color_acyclic(*arrowhead(n)[:2], n).substitution
    assert star is not None and star.steps == ()


@pytest.mark.usefixtures("x64")
@each_method
def test_jax_reads_a_hessian_by_the_index(kind: str) -> None:
    def f(x: jax.Array) -> jax.Array:
        return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    pattern = band(30, 1, 1)
    coloring = color(kind, pattern)

    @jax.jit
    def read(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        seeds = jnp.asarray(coloring.colors == np.arange(coloring.jvps)[:, None], x.dtype)
        found = jax.vmap(jax.linearize(jax.grad(f), x)[1])(seeds).ravel()
        if coloring.substitution is not None:
            found = found[coloring.substitution.index]
            for i, (source, target) in enumerate(coloring.substitution.steps):
                found = found.at[target].add(found[source] if i else -found[source])
        return found[coloring.gather], jax.hessian(f)(x)[pattern.rows, pattern.cols]

    values, expected = read(jnp.linspace(-1.0, 1.0, 30))
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("function", methods.values(), ids=methods)
def test_errors_say_what_is_wrong(function: Any) -> None:
    name = function.__name__
    with pytest.raises(ArgumentError, match=f"^{name}: rows holds 3, but the shape is"):
        function([3], [0], 3)
    with pytest.raises(ShapeError, match=f"^{name}: rows has shape"):
        function([0, 1], [0], 3)
    with pytest.raises(ArgumentError, match=f"^{name}: order is 'saturation'; give None or one of"):
        function([0], [0], 3, order="saturation")
