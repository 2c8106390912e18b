"""Arithmetic on trees, paths, and the flat form that files have."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import tree
from funcnet.errors import ArgumentError, DTypeError, ShapeError


class Pair(NamedTuple):
    left: Any
    right: Any


def params() -> dict[str, Any]:
    return {
        "hidden": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.array([1.0, -1.0, 2.0])},
        "output": {"kernel": jnp.ones((3, 1))},
    }


def assert_trees_equal(x: Any, y: Any) -> None:
    chex.assert_trees_all_equal_structs(x, y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        assert jnp.result_type(a) == jnp.result_type(b)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, [""]),
        ({}, []),
        (None, []),
        ({"b": 1, "a": [2, {"c": 3}]}, ["a/0", "a/1/c", "b"]),
        (Pair(1, (2,)), ["left", "right/0"]),
        ({3: 1}, ["3"]),
    ],
)
def test_paths(value: Any, expected: list[str]) -> None:
    assert tree.paths(value) == expected
    assert len(expected) == len(jax.tree.leaves(value))


def test_flatten_and_back() -> None:
    flat = tree.flatten(params())
    assert list(flat) == ["hidden/bias", "hidden/kernel", "output/kernel"]
    assert_trees_equal(tree.unflatten(flat), params())
    assert_trees_equal(tree.unflatten(dict(reversed(flat.items()))), params())


@pytest.mark.parametrize("value", [3.0, {}, {"a": Pair(1.0, [2.0, ()])}, [{"b": {}}, (1.0,)]])
def test_flatten_and_back_into_a_structure(value: Any) -> None:
    assert_trees_equal(tree.unflatten(tree.flatten(value), like=value), value)


def test_a_single_leaf_comes_back_alone() -> None:
    assert tree.unflatten({"": 3.0}) == 3.0


def test_unflatten_names_missing_and_surplus_paths() -> None:
    with pytest.raises(ShapeError, match="'a/y' only in like; 'b' only in leaves"):
        tree.unflatten({"a/x": 1, "b": 2}, like={"a": {"x": 0, "y": 0}})


@pytest.mark.parametrize("flat", [{"a": 1, "a/b": 2}, {"a/b": 2, "a": 1}, {"": 0, "/b": 1}])
def test_unflatten_refuses_a_leaf_that_is_a_branch(flat: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="unflatten"):
        tree.unflatten(flat)


def test_flatten_refuses_two_leaves_of_one_path() -> None:
    with pytest.raises(ArgumentError, match="'a/b'"):
        tree.flatten({"a/b": 1, "a": {"b": 2}})


def test_arithmetic_against_leaves() -> None:
    x, y = params(), jax.tree.map(lambda leaf: leaf + 2.0, params())
    assert_trees_equal(tree.add(x, y), jax.tree.map(lambda a: 2 * a + 2.0, params()))
    assert_trees_equal(tree.subtract(y, x), jax.tree.map(lambda a: jnp.full_like(a, 2), x))
    assert_trees_equal(tree.scale(-3.0, x), jax.tree.map(lambda a: -3.0 * a, x))
    assert_trees_equal(tree.zeros_like(x), jax.tree.map(lambda a: 0 * a, x))


def test_scale_keeps_every_dtype() -> None:
    x = {"a": jnp.ones(2, jnp.bfloat16), "b": jnp.ones(2, jnp.complex64), "c": 1.0}
    for factor in (0.5, np.float64(0.5), jnp.float32(0.5), jnp.array(0.5, jnp.float16)):
        scaled = tree.scale(factor, x)
        assert scaled["a"].dtype == jnp.bfloat16
        assert scaled["b"].dtype == jnp.complex64
        assert all(np.all(leaf == 0.5) for leaf in jax.tree.leaves(scaled))


def test_scale_refuses_integers_by_path() -> None:
    with pytest.raises(DTypeError, match="'state/steps' is of dtype int32"):
        tree.scale(0.5, {"state": {"steps": jnp.array(3)}})


def flat_vector(x: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(x)])


def test_vdot_and_norm_are_those_of_the_flat_vector() -> None:
    x, y = params(), jax.tree.map(jnp.cos, params())
    np.testing.assert_allclose(tree.vdot(x, y), np.vdot(flat_vector(x), flat_vector(y)), rtol=1e-6)
    np.testing.assert_allclose(tree.norm(x), np.linalg.norm(flat_vector(x)), rtol=1e-6)


def test_vdot_conjugates_the_first() -> None:
    x, y = {"z": jnp.array([1 + 2j])}, {"z": jnp.array([3 - 1j])}
    np.testing.assert_allclose(tree.vdot(x, y), (1 - 2j) * (3 - 1j))
    norm = tree.norm(x)
    assert norm.dtype == jnp.float32
    np.testing.assert_allclose(norm, 5**0.5, rtol=1e-6)


def test_vdot_sums_half_precision_in_float32() -> None:
    x = {"a": jnp.full(4096, 1.0, jnp.bfloat16), "b": jnp.full(1, 1.0, jnp.float16)}
    assert tree.vdot(x, x).dtype == jnp.float32
    assert float(tree.vdot(x, x)) == 4097.0


def test_vdot_leaves_out_tangents_of_integers() -> None:
    nothing = np.zeros((2,), jax.dtypes.float0)
    x = {"w": jnp.array([2.0]), "labels": nothing}
    assert float(tree.vdot(x, x)) == 4.0


def test_vdot_of_nothing_is_zero() -> None:
    assert float(tree.vdot({}, {})) == 0.0
    assert float(tree.norm(())) == 0.0


@pytest.mark.parametrize("function", [tree.add, tree.subtract, tree.vdot])
def test_structures_must_agree(function: Any) -> None:
    x = params()
    with pytest.raises(ShapeError, match="'output/kernel' only in the first tree"):
        function(x, {"hidden": x["hidden"]})
    with pytest.raises(ShapeError, match=r"'a' has shape \(2,\) in the first tree and \(1,\)"):
        function({"a": jnp.ones(2)}, {"a": jnp.ones(1)})
    with pytest.raises(ShapeError, match="different containers"):
        function((jnp.ones(1),), [jnp.ones(1)])


def test_cast_converts_floats_alone() -> None:
    x = {"w": jnp.ones(2), "n": jnp.array(1), "z": jnp.array(1j), "half": jnp.ones(1, jnp.float16)}
    cast = tree.cast(x, jnp.bfloat16)
    assert {name: leaf.dtype.name for name, leaf in cast.items()} == {
        "w": "bfloat16",
        "n": "int32",
        "z": "complex64",
        "half": "bfloat16",
    }


def test_size_and_bytes_also_of_arrays_to_come() -> None:
    shapes = jax.eval_shape(params)
    for x in (params(), shapes):
        assert tree.size(x) == 6 + 3 + 3
        assert tree.nbytes(x) == 4 * 12
    assert tree.nbytes({"a": jnp.ones(3, jnp.int8), "b": 1.0, "c": None}) == 3 + 4
    assert tree.size({"empty": jnp.ones((0, 5))}) == 0


def test_normal_like_draws_another_number_for_every_entry() -> None:
    like = {"w": jax.ShapeDtypeStruct((500,), jnp.float32), "b": jnp.ones(500, jnp.bfloat16)}
    draws = tree.normal_like(jax.random.key(0), like)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), draws) == jax.tree.map(
        lambda a: (a.shape, a.dtype), like
    )
    twins = tree.normal_like(jax.random.key(0), [jnp.ones(500), jnp.ones(500)])
    assert not np.any(twins[0] == twins[1])
    # The standard error of the mean is 0.045, that of the variance 0.063.
    assert abs(float(draws["w"].mean())) < 0.2
    assert abs(float(draws["w"].var()) - 1) < 0.3
    assert tree.normal_like(jax.random.key(0), {}) == {}


def test_works_under_jit_and_grad() -> None:
    gradient = jax.jit(jax.grad(lambda x: tree.vdot(x, tree.scale(0.5, x))))(params())
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(params()), strict=True):
        np.testing.assert_allclose(a, b)
