"""One table of all initializers, and what each of them has to satisfy."""

from __future__ import annotations

import inspect
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import initializers as I
from funcnet.typing import Init

CONV, EMPTY = (3, 2, 4, 8), (3, 0, 8)
SCALAR = ()
ANY = (SCALAR, CONV, EMPTY)
KERNELS = (CONV, EMPTY)


class Row(NamedTuple):
    init: Init
    shapes: tuple[tuple[int, ...], ...]
    random: bool = True


TABLE = {
    "constant": Row(I.constant(0.3), ANY, random=False),
    "delta_orthogonal": Row(I.delta_orthogonal(), (CONV, EMPTY, (0, 4, 8))),
    "he_normal": Row(I.he_normal(), KERNELS),
    "he_uniform": Row(I.he_uniform(), KERNELS),
    "identity": Row(I.identity(2.0), (*KERNELS, (0, 4, 8)), random=False),
    "lecun_normal": Row(I.lecun_normal(), KERNELS),
    "lecun_uniform": Row(I.lecun_uniform(), KERNELS),
    "normal": Row(I.normal(), ANY),
    "ones": Row(I.ones(), ANY, random=False),
    "orthogonal": Row(I.orthogonal(), KERNELS),
    "truncated_he_normal": Row(I.truncated_he_normal(), KERNELS),
    "truncated_lecun_normal": Row(I.truncated_lecun_normal(), KERNELS),
    "truncated_normal": Row(I.truncated_normal(), ANY),
    "truncated_xavier_normal": Row(I.truncated_xavier_normal(), KERNELS),
    "uniform": Row(I.uniform(), ANY),
    "variance_scaling": Row(I.variance_scaling(1.5, "fan_geo_avg", "normal"), KERNELS),
    "xavier_normal": Row(I.xavier_normal(), KERNELS),
    "xavier_uniform": Row(I.xavier_uniform(), KERNELS),
    "zeros": Row(I.zeros(), ANY, random=False),
}
NARROW = ("bfloat16", "float16", "float8_e4m3fn")
CASES = [(name, shape) for name, row in TABLE.items() for shape in row.shapes]
RANDOM = [name for name, row in TABLE.items() if row.random]
every_case = pytest.mark.parametrize(("name", "shape"), CASES)
KEY = jax.random.key(7)


def bits(array: jax.Array) -> bytes:
    return np.asarray(array).tobytes()


def test_the_table_is_complete() -> None:
    assert set(TABLE) == set(I.__all__) - {"fans", "gain", "gaussian_expectation"}


@every_case
def test_shape_dtype_and_finiteness(name: str, shape: tuple[int, ...]) -> None:
    drawn = TABLE[name].init(KEY, shape)
    assert drawn.shape == shape
    assert drawn.dtype == jnp.float32
    assert not drawn.weak_type
    assert np.isfinite(drawn).all()


@pytest.fixture(scope="module")
def with_x64() -> dict[str, tuple[jax.Array, jax.Array]]:
    def draw(key: jax.Array) -> dict[str, tuple[jax.Array, jax.Array]]:
        return {
            name: (row.init(key, CONV), row.init(key, CONV, jnp.float64))
            for name, row in TABLE.items()
        }

    with jax.enable_x64(True):
        return jax.jit(draw)(KEY)  # one compilation for the whole table


@pytest.mark.parametrize("name", TABLE)
def test_float32_is_the_default_with_float64_on(
    name: str, with_x64: dict[str, tuple[jax.Array, jax.Array]]
) -> None:
    default, wide = with_x64[name]
    assert default.dtype == jnp.float32
    assert (wide.shape, wide.dtype) == (CONV, jnp.float64)
    np.testing.assert_allclose(default, TABLE[name].init(KEY, CONV), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", RANDOM)
def test_float64_without_x64_warns_as_jax_does(name: str) -> None:
    with pytest.warns(UserWarning, match="float64.* not available"):
        assert TABLE[name].init(KEY, CONV, jnp.float64).dtype == jnp.float32


@every_case
@pytest.mark.parametrize("dtype", NARROW)
def test_narrow_dtypes_round_the_float32_draw(
    name: str, shape: tuple[int, ...], dtype: str
) -> None:
    narrow = TABLE[name].init(KEY, shape, dtype)
    assert narrow.dtype == jnp.dtype(dtype)
    assert bits(narrow) == bits(TABLE[name].init(KEY, shape).astype(dtype))


@every_case
def test_same_key_same_values(name: str, shape: tuple[int, ...]) -> None:
    init = TABLE[name].init
    drawn = init(KEY, shape)
    assert bits(init(KEY, shape)) == bits(drawn)
    assert bits(init(KEY, list(shape))) == bits(drawn)
    assert bits(init(KEY, shape, np.dtype("float32"))) == bits(drawn)
    assert bits(init(jax.random.key_data(KEY), shape)) == bits(drawn)


@pytest.mark.parametrize("name", RANDOM)
def test_other_keys_other_values(name: str) -> None:
    first, second = (TABLE[name].init(key, CONV) for key in jax.random.split(KEY))
    assert not np.isclose(first, second).all()


def draw_all(key: jax.Array) -> dict[str, jax.Array]:
    return {name: row.init(key, CONV) for name, row in TABLE.items()}


@pytest.fixture(scope="module")
def mapped() -> dict[str, jax.Array]:
    return jax.jit(jax.vmap(draw_all))(jax.random.split(KEY))  # one compilation for the whole table


@pytest.mark.parametrize("name", TABLE)
def test_jit_and_vmap_over_keys(name: str, mapped: dict[str, jax.Array]) -> None:
    looped = np.stack([TABLE[name].init(key, CONV) for key in jax.random.split(KEY)])
    np.testing.assert_allclose(mapped[name], looped, rtol=1e-5, atol=1e-6)


@every_case
def test_eval_shape(name: str, shape: tuple[int, ...]) -> None:
    abstract = jax.eval_shape(lambda key: TABLE[name].init(key, shape, jnp.bfloat16), KEY)
    assert (abstract.shape, abstract.dtype) == (shape, jnp.bfloat16)


@pytest.mark.parametrize("name", RANDOM)
def test_other_random_generators(name: str) -> None:
    drawn = TABLE[name].init(jax.random.key(0, impl="rbg"), CONV)
    assert np.isfinite(drawn).all()
    assert np.unique(drawn).size > 4


@pytest.mark.parametrize("name", TABLE)
def test_factories_keep_their_signature_and_name_their_product(name: str) -> None:
    factory = getattr(I, name)
    assert "kwargs" not in inspect.signature(factory).parameters
    assert factory.__name__ == name
    assert name in repr(TABLE[name].init)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("he_normal", [1.622642159461975, 2.0252647399902344]),
        ("xavier_uniform", [1.0965558290481567, 1.172276496887207]),
        ("truncated_lecun_normal", [1.170405387878418, 1.37843918800354]),
    ],
)
def test_values_stay_the_same_across_versions(name: str, expected: list[float]) -> None:
    drawn = TABLE[name].init(jax.random.key(0), (2, 2))
    np.testing.assert_allclose(drawn[0], expected, rtol=1e-5)
