"""Patterns that are checked at each call: a missing entry is seen, a right pattern passes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.jacobian import hessian, jacobian, plan_jacobian, value_and_jacobian
from tests.jacobian.battery import BATTERY

ROWS = np.array([0, 0, 1, 1, 2, 3, 3])
COLS = np.array([0, 3, 0, 1, 2, 3, 2])


def f(x: Any) -> Any:
    """Entries at the places above."""
    return jnp.stack([x[0] * x[3], x[0] + x[1] ** 2, jnp.sin(x[2]), x[3] * x[2]])


X = np.array([0.5, -2.0, 1.25, 3.0], np.float32)


def without(*entries: int) -> Any:
    return np.delete(ROWS, entries), np.delete(COLS, entries)


def test_a_right_pattern_passes() -> None:
    for x in (X, X.astype(np.float16)):
        ours = jacobian(f, pattern=(ROWS, COLS), check_pattern=True)(x)
        np.testing.assert_allclose(ours, jax.jacrev(f)(x), rtol=1e-3)


def test_every_missing_entry_is_found_in_its_row() -> None:
    for i in (0, 3, 6):
        with pytest.raises(ValueError, match=rf"jacobian: .* in rows? {ROWS[i]}[.,]"):
            jacobian(f, pattern=without(i), check_pattern=True)(X)
    with pytest.raises(
        ValueError, match=r"value_and_jacobian: .* in rows 1, 2\. The pattern leaves"
    ):
        value_and_jacobian(f, pattern=without(2, 4), check_pattern=True)(X)


@pytest.mark.long
def test_many_rows_are_not_all_named() -> None:
    nothing = np.zeros(0, int), np.zeros(0, int)
    with pytest.raises(ValueError, match=r"in rows 0, 1, 2, 3, 4, 5, 6, 7, \.\.\."):
        jacobian(jnp.sin, pattern=nothing, check_pattern=True)(jnp.ones(20))


@pytest.mark.parametrize("output", ["dense", "bcoo"])
def test_under_jit_entries_become_nan(output: Any) -> None:
    for pattern, is_right in (((ROWS, COLS), True), (without(3), False)):
        ours = jax.jit(jacobian(f, output=output, pattern=pattern, check_pattern=True))(X)
        numbers = np.asarray(ours if output == "dense" else ours.data)
        assert np.all(np.isfinite(numbers) if is_right else np.isnan(numbers))


def test_under_vmap_only_the_wrong_ones_become_nan() -> None:
    g = lambda x: jnp.where(x[0] > 0, x, x[::-1])  # noqa: E731
    ours = jax.vmap(jacobian(g, pattern=np.eye(4), check_pattern=True))(np.stack([X, -X]))
    np.testing.assert_array_equal(ours[0], np.eye(4))
    assert np.all(np.isnan(ours[1]))


def test_numbers_that_are_not_finite_are_not_judged() -> None:
    x = np.array([1.0, np.nan, np.inf, 2.0], np.float32)
    ours = jacobian(lambda x: x * x, pattern=np.eye(4), check_pattern=True)(x)
    np.testing.assert_array_equal(np.diag(ours), 2 * x)
    with pytest.raises(ValueError, match="in row 3"):
        jacobian(lambda x: x * x, pattern=np.diag(x != 2), check_pattern=True)(x)


def test_functions_without_forward_mode(x64: None) -> None:
    g, args = BATTERY["spike_reverse_rule"].make("small")
    rows, cols = plan_jacobian(g, *args).pattern()
    wanted = jax.jacrev(g)(*args)
    ours = jacobian(g, pattern=(rows, cols), check_pattern=True)(*args)
    np.testing.assert_allclose(ours, wanted, rtol=1e-12)
    (i, *_) = np.flatnonzero(np.asarray(wanted).reshape(-1, args[0].size)[rows, cols])
    with pytest.raises(ValueError, match=rf"in column {cols[i]}\."):
        jacobian(g, pattern=(np.delete(rows, i), np.delete(cols, i)), check_pattern=True)(*args)


@pytest.mark.long
def test_several_inputs_and_outputs(x64: None) -> None:
    g = lambda a, b: {"sum": a + b[::-1], "none": jnp.ones(2), "product": a * b}  # noqa: E731
    args = jnp.arange(1.0, 4.0), jnp.arange(2.0, 5.0)
    rows, cols = plan_jacobian(g, *args, argnums=(0, 1)).pattern()
    of_g = jacobian(g, (0, 1), pattern=(rows, cols), check_pattern=True)
    jax.tree.map(np.testing.assert_allclose, of_g(*args), jax.jacrev(g, (0, 1))(*args))
    with pytest.raises(ValueError, match=rf"in row {rows[-1]}\."):
        jacobian(g, (0, 1), pattern=(rows[:-1], cols[:-1]), check_pattern=True)(*args)


@pytest.mark.long
def test_hessians() -> None:
    h = lambda x: jnp.sum(x[1:] ** 2 * x[:-1])  # noqa: E731
    i = np.arange(4)
    band = abs(i[:, None] - i) <= 1
    np.testing.assert_allclose(hessian(h, pattern=band, check_pattern=True)(X), jax.hessian(h)(X))
    with pytest.raises(ValueError, match=r"hessian: .* in rows 0, 1, 2, 3"):
        hessian(h, pattern=np.eye(4), check_pattern=True)(X)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="none was given"):
        jacobian(f, check_pattern=True)
    with pytest.raises(ValueError, match="Take another output"):
        jacobian(f, pattern=np.eye(4), check_pattern=True, output="operator")
