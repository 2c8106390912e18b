"""Gates at ties, zeros, infinities and NaN, in every dtype; the quotient over its whole range."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from funcnet.primitives import (
    add,
    divide,
    maximum,
    minimum,
    multiply,
    negate,
    reciprocal,
    subtract,
)
from tests.primitives.exact import (
    DTYPES,
    assert_exact,
    derivative,
    exact,
    narrow_dtypes_first,
    points,
    values_of,
)

INF, NAN = np.inf, np.nan
SPECIAL = (0.0, -0.0, 1.0, -1.0, 3.5, 1e4, -1e4, INF, -INF, NAN)
PAIRS = np.array(list(itertools.product(SPECIAL, SPECIAL))).T

NAIVE = {
    add: np.add,
    subtract: np.subtract,
    multiply: np.multiply,
    divide: np.divide,
    maximum: np.maximum,
    minimum: np.minimum,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gate", NAIVE, ids=lambda gate: gate.name)
def test_values_are_numpys_rounded_once(gate: Any, dtype: str) -> None:
    with jax.enable_x64(True), np.errstate(all="ignore"):
        a, b = (jnp.asarray(x, dtype) for x in PAIRS)
        wanted = jnp.asarray(NAIVE[gate](values_of(a), values_of(b))).astype(dtype)
        got = gate(a, b)
        assert got.dtype == dtype
        np.testing.assert_array_equal(values_of(got), values_of(wanted))


@pytest.mark.parametrize("gate", NAIVE, ids=lambda gate: gate.name)
def test_nothing_in_nothing_out(gate: Any) -> None:
    empty = jnp.zeros((0, 3))
    y, pull = jax.vjp(gate, empty, jnp.ones(3))
    assert y.shape == (0, 3)
    ct_a, ct_b = pull(y)
    assert ct_a.shape == (0, 3)
    np.testing.assert_array_equal(ct_b, jnp.zeros(3))


# Routing


def winners(gate: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """The share of the cotangent that each argument gets, from both modes."""
    y, pull = jax.vjp(gate, a, b)
    backward = pull(jnp.ones_like(y))
    zero = jnp.zeros_like(y)
    forward = tuple(
        jax.jvp(gate, (a, b), tangents)[1]
        for tangents in ((jnp.ones_like(y), zero), (zero, jnp.ones_like(y)))
    )
    for ours, theirs in zip(forward, backward, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    return backward


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("gate", [maximum, minimum], ids=lambda gate: gate.name)
def test_one_argument_gets_the_whole_cotangent(gate: Any, dtype: str) -> None:
    a, b = (jnp.asarray(x, dtype) for x in PAIRS)
    first, second = winners(gate, a, b)
    np.testing.assert_array_equal(first + second, jnp.ones_like(first))
    assert set(values_of(first)) == {0.0, 1.0}
    # The one that the forward pass took, and the first of two that are equal or both NaN.
    y = gate(a, b)
    same = (y == a) | jnp.isnan(a)
    np.testing.assert_array_equal(first == 1, same)


@pytest.mark.parametrize(
    ("gate", "a", "b", "share"),
    [
        (maximum, 1.0, 1.0, 1.0),
        (minimum, 1.0, 1.0, 1.0),
        (maximum, 0.0, -0.0, 1.0),
        (maximum, -0.0, 0.0, 1.0),
        (maximum, INF, INF, 1.0),
        (minimum, -INF, -INF, 1.0),
        (maximum, NAN, 1.0, 1.0),
        (maximum, 1.0, NAN, 0.0),
        (maximum, NAN, NAN, 1.0),
        (minimum, NAN, 1.0, 1.0),
        (minimum, 1.0, NAN, 0.0),
        (maximum, 2.0, 1.0, 1.0),
        (minimum, 2.0, 1.0, 0.0),
    ],
)
def test_who_wins_a_tie(gate: Any, a: float, b: float, share: float) -> None:
    first, second = winners(gate, jnp.float32(a), jnp.float32(b))
    assert (first, second) == (share, 1 - share)


def test_an_infinite_cotangent_does_not_reach_the_loser() -> None:
    _, pull = jax.vjp(maximum, jnp.float32(2), jnp.float32(1))
    assert pull(jnp.float32(INF)) == (INF, 0)


def test_a_tie_along_a_broadcast_axis_goes_to_the_first_argument() -> None:
    a, b = jnp.ones((3, 2)), jnp.array([1.0, 2.0])
    first, second = jax.grad(lambda a, b: maximum(a, b).sum(), (0, 1))(a, b)
    np.testing.assert_array_equal(first, [[1, 0]] * 3)
    np.testing.assert_array_equal(second, [0, 3])


# Quotients


@narrow_dtypes_first
def test_quotients_lose_no_digit(dtype: str) -> None:
    with jax.enable_x64(True):
        grid = points(dtype, per_side=7)
        a, b = (x.ravel() for x in jnp.meshgrid(grid, grid))
        numbers = [(exact(x), exact(y)) for x, y in zip(values_of(a), values_of(b), strict=True)]
        terms = {
            "value": lambda x, y: x / y,
            "a": lambda x, y: 1 / y,
            "b": lambda x, y: -x / y**2,
            "ab": lambda x, y: -1 / y**2,
            "bb": lambda x, y: 2 * x / y**3,
        }
        orders = {"value": "", "a": "0", "b": "1", "ab": "01", "ba": "10", "bb": "11"}
        for name, argnums in orders.items():
            formula = terms["ab" if name == "ba" else name]
            wanted = [formula(x, y) for x, y in numbers]
            # Each is a monomial: |a d_a| and |b d_b| are at most three times |d|.
            scales = [4 * abs(w) for w in wanted]
            for modes in itertools.product(("forward", "reverse"), repeat=len(argnums)):
                f: Any = divide
                for argnum, mode in zip(argnums, modes, strict=True):
                    f = derivative(f, int(argnum), mode)
                got = jax.jit(f)(a, b)
                assert_exact(dtype, got, wanted, scales, f"divide {name} {modes}", numbers)


@pytest.mark.parametrize(
    "gate", [reciprocal, lambda x: divide(1.0, x)], ids=["reciprocal", "divide"]
)
def test_the_pole(gate: Any) -> None:
    x = jnp.array([0.0, -0.0, INF, -INF, NAN])
    slope = jax.vmap(jax.grad(gate))(x)
    np.testing.assert_array_equal(gate(x), [INF, -INF, 0.0, -0.0, NAN])
    np.testing.assert_array_equal(slope, [-INF, -INF, 0, 0, NAN])


@narrow_dtypes_first
def test_reciprocals_lose_no_digit(dtype: str) -> None:
    with jax.enable_x64(True):
        x = points(dtype, per_side=15)
        numbers = [exact(v) for v in values_of(x)]
        f: Any = reciprocal
        for order in range(3):
            wanted = [mpmath.factorial(order) * (-1) ** order / v ** (order + 1) for v in numbers]
            scales = [(order + 2) * abs(w) for w in wanted]
            got = jax.jit(f)(x)
            assert_exact(dtype, got, wanted, scales, f"reciprocal, order {order}", numbers)
            f = derivative(f, 0, ("forward", "reverse")[order % 2])


def test_negate() -> None:
    x = jnp.array([0.0, INF, NAN, 2.0])
    y, pull = jax.vjp(negate, x)
    np.testing.assert_array_equal(y, -x)
    np.testing.assert_array_equal(pull(x)[0], -x)
    assert jax.hessian(negate)(1.0) == 0
