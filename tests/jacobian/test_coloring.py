"""Colours of columns, of rows and of both: laws over a table of patterns."""

from __future__ import annotations

import time
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.jacobian.coloring import first_fit
from funcnet.jacobian.coloring.one_sided import (
    Coloring,
    color_columns,
    color_rows,
    decompress,
    narrow,
)
from funcnet.jacobian.coloring.two_sided import color_both
from tests.jacobian.coloring_patterns import (
    Pattern,
    arrowhead,
    band,
    brusselator,
    bundle,
    doubled,
    of,
    patterns,
    products,
    random_matrix,
    scattered,
)

each_pattern = pytest.mark.parametrize("pattern", patterns.values(), ids=patterns)
orders: list[first_fit.Order | None] = [None, *get_args(first_fit.Order)]
methods = {"column": color_columns, "row": color_rows, "bi": color_both}
each_method = pytest.mark.parametrize("kind", methods)


def check(coloring: Coloring, pattern: Pattern) -> None:
    """Each entry is alone where it is said to stand, and is read there."""
    m, n = pattern.shape
    assert coloring.shape == (m, n)
    assert coloring.column_colors.shape == (n,) and coloring.row_colors.shape == (m,)
    for colors, count in (
        (coloring.column_colors, coloring.jvps),
        (coloring.row_colors, coloring.vjps),
    ):
        assert colors.dtype == np.int32
        assert set(colors[colors >= 0].tolist()) == set(range(count))
    dense = pattern.dense
    for row, col, at in zip(pattern.rows, pattern.cols, coloring.gather, strict=True):
        if at < coloring.jvps * m:
            color, place = divmod(int(at), m)
            summed = dense[place, coloring.column_colors == color]
            assert (place, color) == (row, coloring.column_colors[col])
        else:
            color, place = divmod(int(at) - coloring.jvps * m, n)
            summed = dense[coloring.row_colors == color, place]
            assert (color, place) == (coloring.row_colors[row], col)
        assert summed.sum() == 1
    matrix = random_matrix(pattern)
    values = decompress(coloring, *products(coloring, matrix))
    np.testing.assert_array_equal(values, matrix[pattern.rows, pattern.cols])


@each_pattern
@each_method
def test_every_entry_is_alone_in_a_product_and_read_there(pattern: Pattern, kind: str) -> None:
    for order in orders:
        coloring = methods[kind](*pattern, order=order)
        check(coloring, pattern)
        assert coloring.kind == kind and coloring.count == coloring.jvps + coloring.vjps
        if kind != "bi":
            assert (coloring.vjps if kind == "column" else coloring.jvps) == 0
            assert coloring.colors.max(initial=-1) + 1 == coloring.count
        again = methods[kind](*pattern, order=order)
        np.testing.assert_array_equal(coloring.column_colors, again.column_colors)
        np.testing.assert_array_equal(coloring.row_colors, again.row_colors)


@each_pattern
def test_counts_lie_between_the_longest_row_and_the_neighbors(pattern: Pattern) -> None:
    dense = pattern.dense.astype(int)
    neighbors = ((dense.T @ dense) > 0).sum(axis=1)  # and the column itself, if it has entries
    for order in orders:
        count = color_columns(*pattern, order=order, iterations=0).count
        assert dense.sum(axis=1).max(initial=0) <= count <= neighbors.max(initial=0)


@each_pattern
def test_rows_are_the_columns_of_the_transpose(pattern: Pattern) -> None:
    rows, columns = color_rows(*pattern), color_columns(*pattern.transposed)
    np.testing.assert_array_equal(rows.colors, columns.colors)
    np.testing.assert_array_equal(rows.gather, columns.gather)


def test_both_never_take_more_than_one() -> None:
    some = [scattered(12, 12, 0.25, seed) for seed in range(40)]
    for pattern in [*patterns.values(), *some]:
        both, columns, rows = (
            method(*pattern, order="natural", iterations=0).count
            for method in (color_both, color_columns, color_rows)
        )
        assert both <= min(columns, rows)


@each_pattern
@each_method
def test_neither_sequence_nor_repetition_of_entries_matters(pattern: Pattern, kind: str) -> None:
    once, again = methods[kind](*pattern), methods[kind](*doubled(pattern))
    np.testing.assert_array_equal(once.column_colors, again.column_colors)
    np.testing.assert_array_equal(once.row_colors, again.row_colors)


@each_pattern
def test_iterations_never_take_more_colours(pattern: Pattern) -> None:
    counts = [color_columns(*pattern, order="random", iterations=k).count for k in range(6)]
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize(
    ("pattern", "columns", "rows", "both"),
    [
        (patterns["no entries"], 0, 0, 0),
        (patterns["one row"], 7, 1, 1),
        (patterns["one column"], 1, 7, 1),
        (patterns["diagonal"], 1, 1, 1),
        (patterns["full"], 8, 6, 6),
        (patterns["blocks"], 4, 3, 3),
        (band(50, 1, 1), 3, 3, 3),
        (band(50, 0, 2), 3, 3, 3),
        (arrowhead(2000), 2000, 2000, 3),
        # Two full rows, two full columns, and one entry in each other row and column.
        (patterns["two borders"], 25, 25, 5),
        # The long rows are told apart by the first column alone.
        (patterns["wide and tall"], 11, 20, 2),
        (bundle(300, 4, 40), 14, None, 14),
    ],
    ids=lambda x: str(x) if x is None or isinstance(x, int) else f"{x.shape}",
)
def test_counts(pattern: Pattern, columns: int, rows: int | None, both: int) -> None:
    assert color_columns(*pattern).count == columns
    assert rows is None or color_rows(*pattern).count == rows
    assert color_both(*pattern).count == both


def test_an_arrowhead_takes_one_vjp_and_two_jvps() -> None:
    coloring = color_both(*arrowhead(2000))
    assert (coloring.jvps, coloring.vjps) == (2, 1)


@pytest.mark.parametrize("n", [22, 23, 32])
def test_a_brusselator_takes_ten(n: int) -> None:
    assert color_columns(*brusselator(n)).count <= 10
    assert color_columns(*brusselator(n), order="natural", iterations=16).count <= 10


def test_the_default_is_no_worse_than_what_it_tries() -> None:
    for seed in range(5):
        pattern = scattered(120, 120, 0.03, seed)
        tried: list[first_fit.Order] = ["natural", "largest_first", "saturation"]
        least = min(color_columns(*pattern, order=o, iterations=0).count for o in tried)
        assert color_columns(*pattern, iterations=0).count == least


def naive(pattern: Pattern, order: str) -> list[int]:
    """The colours of columns by an order, from its definition; ties go to the heaviest."""
    rows = np.unique(pattern.dense, axis=0)
    shared = rows[rows.sum(axis=1) > 1].astype(int)
    shared = shared.T @ shared  # how many rows two columns share
    np.fill_diagonal(shared, 0)
    n, weight = len(shared), shared.sum(axis=1)
    left, turns = list(range(n)), []
    colors = [-1] * n

    def taken(column: int) -> set[int]:
        return {colors[other] for other in np.flatnonzero(shared[column])} - {-1}

    def take(column: int) -> None:
        colors[column] = min(set(range(n)) - taken(column))

    def key(column: int) -> int:
        if order == "largest_first":
            return int(-weight[column])
        if order == "smallest_last":
            return int(shared[column, left].sum())
        if order == "incidence":
            return int(shared[column, left].sum() - weight[column])
        return -len(taken(column)) if order == "saturation" else 0

    ties = [0] * n if order == "natural" else -weight
    while left:
        column = min(left, key=lambda v: (key(v), ties[v], v))
        left.remove(column)
        turns.append(column)
        if order == "saturation":
            take(column)
    if order != "saturation":
        for column in reversed(turns) if order == "smallest_last" else turns:
            take(column)
    return colors


@pytest.mark.parametrize("order", [o for o in get_args(first_fit.Order) if o != "random"])
def test_an_order_is_what_it_says(order: first_fit.Order) -> None:
    for seed in range(4):
        pattern = scattered(30, 30, 0.1, seed)
        if not pattern.dense.any(axis=0).all():
            pattern = of(pattern.dense | np.eye(30, dtype=bool))
        coloring = color_columns(*pattern, order=order, iterations=0)
        assert coloring.colors.tolist() == naive(pattern, order)


def test_the_bound_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    colored = first_fit._Search.colored

    def noted(self: Any, order: first_fit.Order) -> np.ndarray:
        tried.append(order)
        return colored(self, order)

    monkeypatch.setattr(first_fit._Search, "colored", noted)
    color_columns(*band(30, 1, 1))
    assert tried == ["natural"]
    color_columns(*brusselator(5))
    assert tried[1:] == ["natural", "largest_first", "saturation"]
    monkeypatch.setattr(first_fit, "_PAIRS", 100)
    color_columns(*brusselator(5))
    assert tried[4:] == ["natural", "largest_first"]


def test_of_rows_that_are_alike_one_is_left() -> None:
    rows, cols = np.nonzero(patterns["blocks"].dense)
    left, _ = first_fit._telling(rows, cols, patterns["blocks"].shape)
    assert np.bincount(left).tolist() == [4] * 5


@each_method
def test_where_bits_are_scarce_columns_in_wide_rows_are_alone(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern = patterns["denser"]
    few = methods[kind](*pattern).count
    monkeypatch.setattr(first_fit, "_BITS", 8 * len(pattern.rows))
    coloring = methods[kind](*pattern)
    check(coloring, pattern)
    assert coloring.count > few or kind == "bi"
    # In an arrowhead nothing is lost.
    monkeypatch.setattr(first_fit, "_BITS", 1)
    assert color_columns(*arrowhead(30)).count == 30


@pytest.mark.parametrize("order", ["smallest_last", "incidence", "saturation"])
def test_an_order_may_look_at_few_pairs_and_stays_valid(
    order: first_fit.Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_fit, "_PAIRS", 0)
    pattern = patterns["arrowhead"]
    check(color_columns(*pattern, order=order), pattern)


def test_rows_with_equal_sums_need_not_be_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    class Constant:
        def random(self, size: int) -> np.ndarray:
            return np.ones(size)

    pattern = scattered(30, 12, 0.25, 9)
    expected = color_columns(*pattern, order="natural", iterations=0).colors
    with monkeypatch.context() as patched:
        patched.setattr(np.random, "default_rng", lambda seed: Constant())
        found = color_columns(*pattern, order="natural", iterations=0)
    check(found, of(pattern.dense))
    np.testing.assert_array_equal(found.colors, expected)


@each_method
def test_time_grows_with_the_entries_and_not_with_their_pairs(kind: str) -> None:
    """Of a row with 30 000 entries there are 450 million pairs: minutes, not a second."""
    start = time.process_time()
    methods[kind](*arrowhead(30_000))
    assert time.process_time() - start < 20


@pytest.mark.usefixtures("x64")
def test_jax_reads_a_jacobian_by_the_index() -> None:
    def f(x: jax.Array) -> jax.Array:
        y = x * x[0] + jnp.sin(x)
        return y.at[0].add(jnp.dot(x, x))

    pattern = arrowhead(12)
    coloring = color_both(*pattern)

    @jax.jit
    def read(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        pushed = jnp.asarray(coloring.column_colors == np.arange(coloring.jvps)[:, None], x.dtype)
        pulled = jnp.asarray(coloring.row_colors == np.arange(coloring.vjps)[:, None], x.dtype)
        _, push = jax.linearize(f, x)
        _, pull = jax.vjp(f, x)
        jvps, (vjps,) = jax.vmap(push)(pushed), jax.vmap(pull)(pulled)
        values = jnp.concatenate([jvps.ravel(), vjps.ravel()])[coloring.gather]
        return values, jax.jacfwd(f)(x)[pattern.rows, pattern.cols]

    values, expected = read(jnp.linspace(0.3, 1.1, 12))
    np.testing.assert_allclose(values, expected, rtol=1e-14)


@pytest.mark.parametrize("function", methods.values(), ids=methods)
@pytest.mark.parametrize(
    ("rows", "cols", "options", "error", "message"),
    [
        ([0, 1], [0], {}, ShapeError, r"rows has shape \(2,\) and cols \(1,\)"),
        ([[0]], [[0]], {}, ShapeError, r"give two vectors"),
        ([0.5], [0], {}, DTypeError, "rows has dtype float64; give integers"),
        ([0], [True], {}, DTypeError, "cols has dtype bool"),
        ([2], [0], {}, ArgumentError, r"rows holds 2, but the shape is \(2, 3\).*from 0 to 1"),
        ([0], [-1], {}, ArgumentError, "cols holds -1"),
        ([0], [0], {"order": "best"}, ArgumentError, "order is 'best'; give None or one of nat"),
        ([0], [0], {"iterations": -1}, ArgumentError, "iterations is -1; give 0 or more"),
    ],
)
def test_errors_say_what_is_wrong(
    function: Any, rows: Any, cols: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{function.__name__}: .*{message}"):
        function(rows, cols, (2, 3), **options)


def test_decompress_wants_one_product_per_colour() -> None:
    coloring = color_columns([0, 0], [0, 1], (1, 2))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"jvps has shape \(1, 1\).*\(2, 1\)"):
        decompress(coloring, np.ones((1, 1)))
    with pytest.raises(ShapeError, match="jvps has shape"):
        decompress(coloring, None)


def test_an_index_is_narrow_where_that_holds_it() -> None:
    assert narrow(np.array([0, 2**31 - 1])).dtype == np.int32
    assert narrow(np.array([0, 2**31])).dtype == np.int64
    assert color_columns(*arrowhead(10)).gather.dtype == np.int32


def test_places_in_large_products_do_not_overflow() -> None:
    n = 50_000
    cols, rows = np.arange(n), np.zeros(n, int)
    expected = np.arange(n) * n
    np.testing.assert_array_equal(color_columns(rows, cols, (n, n)).gather, expected)
    np.testing.assert_array_equal(color_rows(cols, rows, (n, n)).gather, expected)
