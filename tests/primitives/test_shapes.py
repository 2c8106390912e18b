"""Sums and moves: empty arrays, many entries, repeated and impossible indices, mixed arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.primitives import concatenate, gather, mean, reshape, sum, transpose

X = jnp.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1), (), (1, -2)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("f", [sum, mean], ids=lambda f: f.name)
def test_reductions_over_any_axes(f: Any, axis: Any, keepdims: bool) -> None:
    plain: Any = np.sum if f is sum else np.mean
    y, pull = jax.vjp(lambda x: f(x, axis, keepdims), X)
    np.testing.assert_allclose(y, plain(np.asarray(X), axis, keepdims=keepdims), rtol=1e-6)
    weight = 1.0 if f is sum else y.size / X.size
    ct = jnp.cos(y)
    spread = plain(np.zeros_like(X), axis, keepdims=True) + np.asarray(ct).reshape(
        plain(np.asarray(X), axis, keepdims=True).shape
    )
    np.testing.assert_allclose(pull(ct)[0], weight * np.broadcast_to(spread, X.shape), rtol=1e-6)


def test_nothing_to_add_up() -> None:
    empty = jnp.zeros((0, 3))
    assert sum(empty) == 0
    np.testing.assert_array_equal(sum(empty, axis=0), [0, 0, 0])
    assert np.isnan(mean(empty))
    assert jax.grad(sum)(empty).shape == (0, 3)
    assert jax.grad(mean)(empty).shape == (0, 3)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_short_floats_are_added_up_in_float32(dtype: Any) -> None:
    ones = jnp.ones(5000, dtype)
    assert sum(ones).astype(float) == jnp.asarray(5000.0).astype(dtype).astype(float)
    assert mean(ones) == 1


def test_the_mean_of_more_entries_than_float16_can_count() -> None:
    x = jnp.ones(100_000, jnp.float16)
    assert mean(x) == 1
    gradient = jax.grad(lambda x: mean(x).astype(jnp.float32) * 100)(x)
    np.testing.assert_allclose(gradient[:2].astype(float), 1e-3, rtol=1e-3)


@pytest.mark.parametrize("f", [sum, mean], ids=lambda f: f.name)
@pytest.mark.parametrize(("axis", "match"), [(2, "no axis 2"), ((0, -2), "twice")])
def test_axes_that_are_not_there(f: Any, axis: Any, match: str) -> None:
    with pytest.raises(ArgumentError, match=f"{f.name}: .*{match}"):
        f(X, axis)


def test_sums_of_integers() -> None:
    assert sum(jnp.array([1, 2])) == 3
    assert sum(jnp.array([True, True])) == 2
    assert mean(jnp.array([1, 2])) == 1.5
    _, pull = jax.vjp(sum, jnp.array([1, 2]))
    assert pull(np.zeros((), jax.dtypes.float0))[0].dtype == jax.dtypes.float0


# Moves


@pytest.mark.parametrize("axes", [None, (0, 1, 2), (1, 2, 0), (2, 0, 1), (-1, 0, 1)])
def test_transposing_back(axes: Any) -> None:
    x = jnp.arange(24.0).reshape(2, 3, 4)
    y, pull = jax.vjp(lambda x: transpose(x, axes), x)
    np.testing.assert_array_equal(y, np.transpose(x, axes))
    np.testing.assert_array_equal(pull(y)[0], x)


@pytest.mark.parametrize("axes", [(0,), (0, 0), (0, 2), (1, 0, 2)])
def test_no_permutation(axes: Any) -> None:
    with pytest.raises(ArgumentError, match="transpose: axes"):
        transpose(X, axes)


@pytest.mark.parametrize("shape", [(3, 2), (6,), 6, -1, (1, -1, 2), (2, 3, 1)])
def test_reshaping_back(shape: Any) -> None:
    y, pull = jax.vjp(lambda x: reshape(x, shape), X)
    np.testing.assert_array_equal(y, np.reshape(X, shape))
    np.testing.assert_array_equal(pull(y)[0], X)


@pytest.mark.parametrize("shape", [(4,), (4, -1), (-1, -1), (0, -1), 7])
def test_shapes_that_do_not_hold_the_entries(shape: Any) -> None:
    with pytest.raises(ShapeError, match=r"reshape: x of shape \(2, 3\) has 6 entries"):
        reshape(X, shape)


def test_reshaping_nothing() -> None:
    assert reshape(jnp.zeros((0, 3)), (3, 0)).shape == (3, 0)
    assert reshape(jnp.zeros((0, 3)), (3, -1)).shape == (3, 0)


@pytest.mark.parametrize("container", [tuple, list])
def test_concatenating_keeps_the_container(container: Callable[..., Any]) -> None:
    arrays = container([X, 2 * X[:, :1], X[:, :0]])
    y, pull = jax.vjp(lambda arrays: concatenate(arrays, axis=1), arrays)
    assert y.shape == (2, 4)
    (back,) = pull(y)
    assert type(back) is container
    for ours, theirs in zip(back, arrays, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_concatenating_mixed_arrays() -> None:
    a, b, c = jnp.ones(2), jnp.ones(1, jnp.bfloat16), jnp.array([7])
    with jax.numpy_dtype_promotion("standard"):
        y, pull = jax.vjp(lambda a, b: concatenate([a, b, c]), a, b)
        assert [ct.dtype for ct in pull(y)] == [jnp.float32, jnp.bfloat16]
        y, pull = jax.vjp(lambda c: concatenate([a, c]), c)
        assert pull(y)[0].dtype == jax.dtypes.float0
        tangent = jax.jvp(lambda a: concatenate([a, c]), (a,), (a,))[1]
        np.testing.assert_array_equal(tangent, [1, 1, 0])


def test_what_cannot_be_concatenated() -> None:
    with pytest.raises(ArgumentError, match="at least one array"):
        concatenate([])
    with pytest.raises(ArgumentError, match="tuple or list"):
        concatenate(X)
    with pytest.raises(ArgumentError, match="no axis 2"):
        concatenate([X, X], axis=2)
    with pytest.raises(ShapeError, match=r"\(2, 3\), \(3, 2\) differ"):
        concatenate([X, X.T])
    with pytest.raises(ShapeError, match="differ"):
        concatenate([X, X[0]])


# Gathering


def test_what_is_asked_for_twice_is_added_up() -> None:
    indices = jnp.array([[2, 0], [2, -1]])
    y, pull = jax.vjp(lambda x: gather(x, indices, axis=1), X)
    np.testing.assert_array_equal(y, np.asarray(X)[:, [[2, 0], [2, 2]]])
    ct = jnp.arange(8.0).reshape(2, 2, 2)
    wanted = np.zeros((2, 3))
    for i, row in enumerate(np.asarray(ct)):
        np.add.at(wanted[i], [2, 0, 2, 2], row.ravel())
    np.testing.assert_array_equal(pull(ct)[0], wanted)


@pytest.mark.parametrize("index", [3, -4, 100, 2**30])
def test_a_known_index_out_of_range_is_an_error(index: int) -> None:
    for indices in (index, np.array([0, index]), jnp.array([index])):
        with pytest.raises(ArgumentError, match=rf"gather: .*{index}.* has 3 entries"):
            gather(X, indices, axis=1)
    with pytest.raises(ArgumentError, match="gather"):
        jax.jit(lambda x: gather(x, np.array([index]), axis=-1))(X)


def test_an_unknown_index_out_of_range_is_nan_and_nothing_depends_on_it() -> None:
    @jax.jit
    def both_modes(x: Any, indices: Any) -> Any:
        y, pull = jax.vjp(lambda x: gather(x, indices), x)
        return y, pull(jnp.ones_like(y))[0], jax.jvp(lambda x: gather(x, indices), (x,), (x,))[1]

    x = jnp.array([1.0, 2.0, 3.0])
    y, x_bar, tangent = both_modes(x, jnp.array([0, 3, -4, -1]))
    np.testing.assert_array_equal(y, [1, np.nan, np.nan, 3])
    np.testing.assert_array_equal(x_bar, [1, 0, 1])
    np.testing.assert_array_equal(tangent, [1, 0, 0, 3])
    whole = jax.jit(gather)(jnp.array([1, 2]), jnp.array([5]))
    np.testing.assert_array_equal(whole, np.iinfo(np.int32).min)


def test_gathering_nothing_and_from_nothing() -> None:
    none = jnp.zeros(0, jnp.int32)
    assert gather(X, none).shape == (0, 3)
    np.testing.assert_array_equal(jax.grad(lambda x: gather(x, none).sum())(X), jnp.zeros((2, 3)))
    with pytest.raises(ArgumentError, match="has 0 entries"):
        gather(jnp.zeros((0, 3)), 0)


def test_one_index_takes_its_axis_away() -> None:
    np.testing.assert_array_equal(gather(X, 1), X[1])
    np.testing.assert_array_equal(gather(X, np.uint8(2), axis=-1), X[:, 2])


def test_indices_are_integers() -> None:
    for indices in (1.0, jnp.array([True])):
        with pytest.raises(DTypeError, match="gather: indices must be integers"):
            gather(X, indices)
    with pytest.raises(ArgumentError, match="no axis 2"):
        gather(X, 0, axis=2)


def test_a_row_per_example() -> None:
    indices = jnp.array([2, 0])
    rows = jax.vmap(gather)(X, indices)
    np.testing.assert_array_equal(rows, [X[0, 2], X[1, 0]])
    gradient = jax.vmap(jax.grad(gather))(X, indices)
    np.testing.assert_array_equal(gradient, [[0, 0, 1], [1, 0, 0]])
