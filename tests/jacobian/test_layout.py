"""Arrays that lie in another order mean the same: every operation is what NumPy's is."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.jacobian.blocks.layout import (
    Laid,
    add,
    contract,
    laid,
    multiply,
    plain,
    reshape,
    transpose,
)


def drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Laid, np.ndarray]:
    """An array, lying in any order, and what is meant."""
    axes = rng.permutation(len(shape)).tolist()
    meant = rng.normal(size=shape).astype(np.float32)
    x = Laid(jnp.asarray(meant.transpose(axes)), axes)
    assert x.shape == shape
    np.testing.assert_array_equal(plain(x), meant)
    return x, meant


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_an_array_of_its_own_order_is_itself() -> None:
    x = jnp.arange(6.0).reshape(2, 3)
    assert plain(x) is x
    np.testing.assert_array_equal(plain(laid(x)), x)
    assert laid(laid(x)).axes == (0, 1)


def test_transpose(rng: np.random.Generator) -> None:
    for order in itertools.permutations(range(3)):
        x, meant = drawn(rng, (2, 3, 4))
        turned = transpose(x, order)
        assert turned.array is x.array
        np.testing.assert_array_equal(plain(turned), meant.transpose(order))


RESHAPES = [
    ((2, 3, 4), (6, 4)),
    ((2, 3, 4), (2, 12)),
    ((2, 12), (2, 3, 4)),
    ((24,), (2, 3, 4)),
    ((2, 3, 4), (24,)),
    ((4, 6), (6, 4)),
    ((1, 3, 1, 4), (3, 4)),
    ((3, 4), (3, 1, 4, 1)),
    ((1, 1), ()),
    ((), (1, 1)),
    ((2, 3, 1, 4), (1, 2, 12)),
    ((5,), (5,)),
]


@pytest.mark.parametrize(("old", "new"), RESHAPES, ids=str)
def test_reshape(old: tuple[int, ...], new: tuple[int, ...], rng: np.random.Generator) -> None:
    for _ in range(6):
        x, meant = drawn(rng, old)
        found = reshape(x, new)
        np.testing.assert_array_equal(plain(found), meant.reshape(new))
        assert plain(found).shape == new


def test_axes_that_lie_behind_one_another_are_not_moved(rng: np.random.Generator) -> None:
    x = Laid(jnp.zeros((5, 2, 3)), (2, 0, 1))  # meant as (2, 3, 5)
    jaxpr = jax.make_jaxpr(lambda a: reshape(Laid(a, (2, 0, 1)), (6, 1, 5)).array)(x.array)
    assert [e.primitive.name for e in jaxpr.jaxpr.eqns] == ["reshape"]


def test_multiply_and_add(rng: np.random.Generator) -> None:
    for small in [(2, 3, 4), (1, 3, 1), (2, 1, 1), (1, 1, 1)]:
        (x, a), (y, b) = drawn(rng, (2, 3, 4)), drawn(rng, small)
        for p, q, c, d in ((x, y, a, b), (y, x, b, a)):
            assert multiply(p, q).axes == x.axes or small == (2, 3, 4)
            np.testing.assert_array_equal(plain(multiply(p, q)), a * b)
            np.testing.assert_allclose(plain(add([p, q, p], (2, 3, 4))), 2 * c + d, rtol=1e-5)
    y, b = drawn(rng, (2, 1, 1))
    np.testing.assert_array_equal(plain(add([y], (2, 3, 4))), np.broadcast_to(b, (2, 3, 4)))


CONTRACTIONS: list[tuple[str, str, str]] = [
    ("mk", "kn", "mn"),
    ("mk", "kn", "nm"),
    ("km", "kn", "mn"),
    ("mk", "nk", "mn"),
    ("km", "nk", "nm"),
    ("bmk", "bkn", "bmn"),
    ("bmk", "bkn", "mbn"),
    ("bmk", "kn", "bnm"),
    ("k", "k", ""),
    ("k", "kn", "n"),
    ("mkl", "kln", "mn"),
    ("bk", "bk", "b"),
]


@pytest.mark.parametrize(("a", "b", "out"), CONTRACTIONS, ids="-".join)
def test_contract(a: str, b: str, out: str, rng: np.random.Generator) -> None:
    for extents in (
        {"m": 2, "k": 3, "n": 4, "b": 5, "l": 6},
        {"m": 7, "k": 3, "n": 2, "b": 2, "l": 2},
    ):

        def names(word: str) -> list[int]:
            return [ord(letter) for letter in word]

        for _ in range(3):
            x, x_meant = drawn(rng, tuple(extents[n] for n in a))
            y, y_meant = drawn(rng, tuple(extents[n] for n in b))
            found: Any = plain(contract(x, names(a), y, names(b), names(out)))
            expected = np.einsum(f"{a},{b}->{out}", x_meant, y_meant)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_factor_that_is_large_is_not_turned_over() -> None:
    weights, few = jnp.zeros((256, 300)), jnp.zeros((256, 4))  # both lie with what is summed first
    made = contract(weights, [0, 1], few, [0, 2], [1, 2])
    assert made.array.shape == (4, 300)
    assert made.shape == (300, 4)
