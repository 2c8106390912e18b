"""One rule of every shape at a time, closed under differentiation, batching and transposition."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.rules.examples import Example, examples, linear, sigmoid
from tests.rules.plain import ALL, PLAIN, Function, close, network_args


@pytest.fixture(autouse=True)
def in_float64(x64: None) -> None:
    """So that rounding stays far below what the tests are after."""


def scalar(function: Function, example: Example) -> Function:
    """A number from an example's differentiable arguments, with no symmetry to hide behind."""

    def total(*args: Any) -> Any:
        leaves = jax.tree.leaves(function(*_merged(example.args, args), **example.kwargs))
        floating = [y for y in leaves if jnp.issubdtype(y.dtype, jnp.floating)]
        return sum(
            jnp.vdot(jnp.cos(jnp.arange(y.size) + k), jnp.ravel(y)) for k, y in enumerate(floating)
        )

    return total


def _floats(args: Any) -> tuple[Any, ...]:
    return tuple(a for a in args if jax.tree.leaves(a)[0].dtype == jnp.float64)


def _merged(args: Any, floats: Any) -> list[Any]:
    given = iter(floats)
    return [next(given) if jax.tree.leaves(a)[0].dtype == jnp.float64 else a for a in args]


# Nestings


def _nested(f: Function, modes: tuple[str, ...], count: int) -> Function:
    every = tuple(range(count))

    def one(f: Function, mode: str) -> Function:
        def derivative(*args: Any) -> Any:
            along = jax.tree.map(jnp.cos, args)
            if mode == "F":
                return jax.jvp(f, args, along)[1]
            slopes = jax.grad(f, every)(*args)
            pairs = zip(jax.tree.leaves(slopes), jax.tree.leaves(along), strict=True)
            return sum(jnp.vdot(s, a) for s, a in pairs)

        return derivative

    for mode in reversed(modes):
        f = one(f, mode)
    return f


@pytest.mark.parametrize("name", ALL)
def test_every_nesting_of_grad_and_jvp_to_third_order(name: str) -> None:
    example = examples()[name]
    args = _floats(example.args)
    orders = (1, 2, 3) if name in ("sigmoid", "unit", "pair") else (1, 2)
    nestings = [m for order in orders for m in itertools.product("FR", repeat=order)]

    def derivatives(function: Function, nestings: Any) -> list[Any]:
        f = scalar(function, example)
        return jax.jit(lambda *args: [_nested(f, m, len(args))(*args) for m in nestings])(*args)

    wanted = derivatives(PLAIN[name], [("F",) * order for order in orders])
    for modes, got in zip(nestings, derivatives(example.rule, nestings), strict=True):
        np.testing.assert_allclose(got, wanted[len(modes) - 1], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ALL)
def test_the_four_hessians_of_one_rule(name: str) -> None:
    example = examples()[name]
    args = _floats(example.args)
    every = tuple(range(len(args)))

    def hessian(f: Function, outer: Any, inner: Any) -> Any:
        return jax.jit(outer(inner(scalar(f, example), every), every))(*args)

    wanted = hessian(PLAIN[name], jax.jacfwd, jax.jacrev)
    for outer, inner in itertools.product((jax.jacfwd, jax.jacrev), repeat=2):
        close(hessian(example.rule, outer, inner), wanted)


# vmap


@pytest.mark.parametrize("name", ALL)
def test_vmap_with_any_mix_of_arguments(name: str) -> None:
    """Values, tangents and cotangents, each argument batched or not, in front or behind."""
    example = examples()[name]
    args = example.args

    def both_modes(function: Function) -> Function:
        def compute(*args: Any) -> Any:
            floats = _floats(args)

            def f(*floats: Any) -> list[Any]:
                return jax.tree.leaves(function(*_merged(args, floats), **example.kwargs))

            y, pullback = jax.vjp(f, *floats)
            cotangents = [
                jnp.cos(leaf)
                if leaf.dtype == jnp.float64
                else np.zeros(leaf.shape, jax.dtypes.float0)
                for leaf in y
            ]
            dy = jax.jvp(f, floats, jax.tree.map(jnp.sin, floats))[1]
            return y, [t for t in dy if t.dtype == jnp.float64], pullback(cotangents)

        return compute

    def stacked(leaf: Any, axis: int) -> Any:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.split(leaf, 2)
        varied = [leaf, leaf[::-1] if leaf.ndim else 2 * leaf]
        return jnp.stack(varied, axis)

    mixes = [
        m
        for m in itertools.product((None, 0, -1), repeat=len(args))
        if any(a is not None for a in m)
    ]

    def compute(function: Function) -> list[Any]:
        found = []
        for axes in mixes:
            axes = tuple(
                0 if axis is not None and jax.tree.leaves(a)[0].ndim == 0 else axis
                for a, axis in zip(args, axes, strict=True)
            )
            given = [
                a if axis is None else jax.tree.map(lambda leaf, axis=axis: stacked(leaf, axis), a)
                for a, axis in zip(args, axes, strict=True)
            ]
            found.append(jax.vmap(both_modes(function), axes)(*given))
        return found

    close(*(jax.jit(lambda f=f: compute(f))() for f in (example.rule, PLAIN[name])))


# Linear maps as such


@pytest.mark.parametrize("name", ALL)
def test_linearize_and_linear_transpose(name: str) -> None:
    example = examples()[name]
    args = _floats(example.args)

    def maps(function: Function) -> Any:
        f = scalar(function, example)
        y, push = jax.linearize(f, *args)
        pushed = push(*jax.tree.map(jnp.cos, args))
        pulled = jax.linear_transpose(push, *args)(jnp.float64(1.0))
        twice = jax.linear_transpose(lambda c: jax.linear_transpose(push, *args)(c), 1.0)(args)
        return y, pushed, pulled, twice

    close(*(jax.jit(lambda f=f: maps(f))() for f in (example.rule, PLAIN[name])))


def test_linear_transpose_of_a_linear_rule() -> None:
    x, w = network_args()
    for f in (lambda x: linear(x, w), jax.jit(lambda x: linear(x, w))):
        (back,) = jax.linear_transpose(f, x)(x @ w)
        close(back, x @ w @ w.T)
    (back,) = jax.linear_transpose(lambda w: linear(x, w), w)(x @ w)
    close(back, x.T @ x @ w)
    close(jax.vmap(jax.linear_transpose(lambda x: linear(x, w), x))(x[None] @ w)[0][0], x @ w @ w.T)


def test_linear_transpose_of_what_is_not_linear() -> None:
    x, _ = network_args()
    with pytest.raises(TypeError, match="sigmoid: cannot transpose it: it is not linear"):
        jax.linear_transpose(sigmoid, x)(x)
    with pytest.raises(TypeError, match="linear: cannot transpose it: it is not linear"):
        jax.linear_transpose(lambda w: linear(w, w), network_args()[1])(network_args()[1])
