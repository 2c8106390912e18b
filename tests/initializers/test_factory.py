"""Mistaken calls: each is an error of ours that names the function and the way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import initializers as I
from funcnet.errors import ArgumentError, DTypeError, MissingKeyError, ShapeError

KEY = jax.random.key(0)
FACTORIES = sorted(set(I.__all__) - {"fans", "gain", "gaussian_expectation"})
Call = Callable[[], Any]


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("key", [KEY, jax.random.key_data(KEY), np.zeros(2, np.uint32)])
def test_a_factory_used_as_initializer(name: str, key: Any) -> None:
    factory = getattr(I, name)
    with pytest.raises(ArgumentError, match=rf"{name} .* factory .*kernel_init={name}\("):
        factory(key, (3, 4), jnp.float32)
    with pytest.raises(ArgumentError, match=rf"{name} .*factory"):
        factory(key, shape=(3, 4))
    with pytest.raises(ArgumentError, match=rf"{name} .*factory"):
        factory(key=key, shape=(3, 4))


def test_a_factory_used_as_initializer_under_jit() -> None:
    with pytest.raises(ArgumentError, match=r"he_normal .*factory"):
        jax.jit(lambda key: I.he_normal(key, (3, 4)))(KEY)  # type: ignore[call-arg]


def test_arrays_that_are_no_keys_are_hyper_parameters() -> None:
    low, high = np.asarray(-1.0), jnp.asarray(1.0)
    assert I.uniform(low, high)(KEY, (3,)).shape == (3,)  # type: ignore[arg-type]
    assert I.constant(np.array([1, 2], np.uint32))(KEY, (2,)).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("dtype", [None, jnp.int32, bool, jnp.complex64, "nonsense", KEY.dtype])
def test_dtypes_that_are_not_floating(name: str, dtype: Any) -> None:
    arguments = {"constant": (1.0,), "variance_scaling": (1.0, "fan_in", "normal")}
    init = getattr(I, name)(*arguments.get(name, ()))
    with pytest.raises(DTypeError, match=rf"{name}: dtype must be a real floating"):
        init(KEY, (3, 4, 5), dtype)


SHAPES: dict[str, tuple[Any, str]] = {
    "an int": (3, "tuple of ints"),
    "floats": ((3.0, 4.0), "tuple of ints"),
    "negative": ((3, -4), "must not be negative"),
    "text": ("ab", "tuple of ints"),
    "a key in its place": (KEY, "shape is an array"),
    "a raw key in its place": (jax.random.key_data(KEY), "shape is an array"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_bad_shapes(case: str) -> None:
    shape, message = SHAPES[case]
    with pytest.raises(ShapeError, match=rf"he_normal: .*{message}"):
        I.he_normal()(KEY, shape)
    with pytest.raises(ShapeError, match=rf"zeros: .*{message}"):
        I.zeros()(KEY, shape)


def test_a_traced_shape() -> None:
    with pytest.raises(ShapeError, match=r"normal: .*known while tracing"):
        jax.jit(lambda n: I.normal()(KEY, (n, 3)))(2)


@pytest.mark.parametrize("key", [None, 0, (3, 4)])
def test_missing_keys(key: Any) -> None:
    with pytest.raises(MissingKeyError, match=r"normal: needs a random key.*jax\.random\.key"):
        I.normal()(key, (3, 4))
    assert I.zeros()(key, (3,)).shape == (3,)


BAD: dict[str, tuple[type[Exception], str, Call]] = {
    "normal, negative": (ArgumentError, "stddev must be at least 0", lambda: I.normal(-1.0)),
    "normal, nan": (ArgumentError, "stddev must be finite", lambda: I.normal(float("nan"))),
    "normal, text": (ArgumentError, "concrete real number", lambda: I.normal("a")),  # type: ignore[arg-type]
    "normal, traced": (
        ArgumentError,
        "concrete real number",
        lambda: jax.jit(lambda s: I.normal(s)(KEY, (3,)))(1.0),
    ),
    "truncated, negative": (
        ArgumentError,
        "truncated_normal: stddev",
        lambda: I.truncated_normal(-1.0),
    ),
    "truncated, empty": (
        ArgumentError,
        r"lower=2.0 must be less than upper=2.0",
        lambda: I.truncated_normal(1.0, lower=2.0),
    ),
    "uniform, one end": (
        ArgumentError,
        r"minval=0.5 must be less than maxval=0.01; give both",
        lambda: I.uniform(0.5),
    ),
    "uniform, infinite": (
        ArgumentError,
        "maxval must be finite",
        lambda: I.uniform(0.0, float("inf")),
    ),
    "constant, complex": (DTypeError, "constant: value must be real", lambda: I.constant(1j)),
    "constant, text": (ArgumentError, "number or an array", lambda: I.constant("a")),  # type: ignore[arg-type]
    "constant, shape": (
        ShapeError,
        r"constant: .*\(2,\) does not broadcast to \(3,\)",
        lambda: I.constant(np.ones(2))(KEY, (3,)),
    ),
    "constant, larger": (
        ShapeError,
        r"constant: .*\(2, 3\) does not broadcast to \(3,\)",
        lambda: I.constant(np.ones((2, 3)))(KEY, (3,)),
    ),
    "scale, negative": (
        ArgumentError,
        "variance_scaling: scale must be at least 0",
        lambda: I.variance_scaling(-1.0, "fan_in", "normal"),
    ),
    "mode": (
        ArgumentError,
        "mode must be one of .*fan_avg.*got 'fan'",
        lambda: I.variance_scaling(1.0, "fan", "normal"),  # type: ignore[arg-type]
    ),
    "distribution": (
        ArgumentError,
        "distribution must be one of .*uniform.*got 'gauss'",
        lambda: I.variance_scaling(1.0, "fan_in", "gauss"),  # type: ignore[arg-type]
    ),
    "axis, text": (
        ArgumentError,
        "he_normal: in_axis must be an int or a sequence",
        lambda: I.he_normal(in_axis="a"),  # type: ignore[arg-type]
    ),
    "axis, absent": (
        ShapeError,
        r"he_normal: in_axis=2 does not exist in a shape of 2 axes",
        lambda: I.he_normal(in_axis=2)(KEY, (3, 4)),
    ),
    "axis, twice": (
        ArgumentError,
        r"lecun_normal: .*twice",
        lambda: I.lecun_normal(in_axis=1)(KEY, (3, 4)),
    ),
    "batch axis, twice": (
        ArgumentError,
        r"lecun_normal: .*batch_axis=0.*twice",
        lambda: I.lecun_normal(batch_axis=0)(KEY, (3, 4)),
    ),
    "groups, zero": (
        ArgumentError,
        "xavier_normal: groups must be an int of at least 1, got 0",
        lambda: I.xavier_normal(groups=0),
    ),
    "groups, float": (
        ArgumentError,
        "xavier_normal: groups must be an int of at least 1, got 2.0",
        lambda: I.xavier_normal(groups=2.0),  # type: ignore[arg-type]
    ),
    "groups, remainder": (
        ShapeError,
        "xavier_normal: groups=3 does not divide the 8 outputs",
        lambda: I.xavier_normal(groups=3)(KEY, (3, 3, 4, 8)),
    ),
    "vector": (
        ShapeError,
        r"he_normal: .*\(5,\).*zeros\(\).*in_axis=",
        lambda: I.he_normal()(KEY, (5,)),
    ),
    "scalar": (ShapeError, r"xavier_uniform: .*\(\)", lambda: I.xavier_uniform()(KEY, ())),
    "fans of a vector": (ShapeError, r"fans: needs a kernel", lambda: I.fans((5,))),
    "fans of an int": (ShapeError, r"fans: shape must be", lambda: I.fans(5)),  # type: ignore[arg-type]
    "orthogonal, scale": (
        ArgumentError,
        "orthogonal: scale must be finite",
        lambda: I.orthogonal(float("inf")),
    ),
    "orthogonal, vector": (
        ShapeError,
        r"orthogonal: needs rows and columns.*normal\(",
        lambda: I.orthogonal()(KEY, (5,)),
    ),
    "orthogonal, scalar": (ShapeError, "orthogonal: out_axis", lambda: I.orthogonal()(KEY, ())),
    "orthogonal, no columns": (
        ShapeError,
        "orthogonal: needs rows and columns",
        lambda: I.orthogonal(out_axis=())(KEY, (5, 5)),
    ),
    "orthogonal, axis twice": (
        ArgumentError,
        "orthogonal: .*twice",
        lambda: I.orthogonal(batch_axis=1)(KEY, (5, 5)),
    ),
    "delta, matrix": (
        ShapeError,
        r"delta_orthogonal: needs a kernel .*orthogonal\(\)",
        lambda: I.delta_orthogonal()(KEY, (5, 5)),
    ),
    "delta, four window axes": (
        ShapeError,
        "delta_orthogonal: needs a kernel",
        lambda: I.delta_orthogonal()(KEY, (1, 1, 1, 1, 5, 5)),
    ),
    "delta, narrowing": (
        ShapeError,
        "delta_orthogonal: a map from 5 to 4 channels .* cannot keep all lengths",
        lambda: I.delta_orthogonal()(KEY, (3, 5, 4)),
    ),
    "delta, narrowing groups": (
        ShapeError,
        "delta_orthogonal: a map from 4 to 3 channels per group",
        lambda: I.delta_orthogonal(groups=2)(KEY, (3, 4, 6)),
    ),
    "delta, remainder": (
        ShapeError,
        "delta_orthogonal: groups=4 does not divide the 6 outputs",
        lambda: I.delta_orthogonal(groups=4)(KEY, (3, 1, 6)),
    ),
    "identity, vector": (ShapeError, "identity: needs a kernel", lambda: I.identity()(KEY, (5,))),
    "identity, groups": (
        ArgumentError,
        "identity: groups must be",
        lambda: I.identity(groups=-1),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str) -> None:
    error, message, call = BAD[case]
    with pytest.raises(error, match=message):
        call()
