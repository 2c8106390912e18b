"""A network of rules under JAX's transformations: everything gives what plain JAX gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from funcnet.rules import Rule
from tests.rules.examples import examples, sigmoid
from tests.rules.plain import (
    Function,
    close,
    network_args,
    plain,
    plain_pair,
    same,
    written,
)


@pytest.fixture(autouse=True)
def in_float64(x64: None) -> None:
    """So that rounding stays far below what the tests are after."""


# Hessians


HESSIANS: dict[str, Callable[[Function], Function]] = {
    "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "forward over reverse": lambda f: jax.jacfwd(jax.jacrev(f)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
    "reverse over reverse": lambda f: jax.jacrev(jax.jacrev(f)),
    "of the gradient": lambda f: jax.hessian(jax.grad(f)),
}


def test_hessians_of_a_network() -> None:
    same(*HESSIANS.values())


# vmap


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, 2), (-1, None)])
def test_vmap_of_a_network(axes: Any) -> None:
    transforms: list[Callable[[Function], Function]] = [
        lambda f: f,
        lambda f: jax.grad(f, (0, 1)),
        lambda f: lambda x, w: jax.jvp(f, (x, w), (jnp.cos(x), jnp.cos(w))),
        lambda f: jax.hessian(f, (0, 1)),
    ]
    args = [
        a[0] if axis is None else jnp.moveaxis(a, 0, axis)
        for a, axis in zip(network_args(2), axes, strict=True)
    ]
    same(*[lambda f, t=t: jax.vmap(t(f), in_axes=axes) for t in transforms], args=args)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_vmap_with_out_axes(axis: int) -> None:
    same(lambda f: jax.vmap(jax.grad(f), 0, axis), args=network_args(2))


def test_vmap_of_vmap_and_axis_names() -> None:
    def averaged(f: Function) -> Function:
        return jax.vmap(lambda x, w: lax.pmean(jax.grad(f, 1)(x, w), "batch"), axis_name="batch")

    same(averaged, args=network_args(2))
    same(lambda f: jax.vmap(jax.vmap(jax.grad(f)), in_axes=1, out_axes=1), args=network_args(2, 3))


def test_vmap_of_what_is_not_batched() -> None:
    """JAX calls batching rules also where nothing is batched."""
    fixed = network_args()[0]
    same(lambda f: jax.vmap(lambda x, w: jax.hessian(f)(fixed, w), (0, None)))


# Control flow


def _scanned(f: Function) -> Function:
    def run(x: Any, w: Any) -> Any:
        def step(carry: Any, row: Any) -> Any:
            return carry + f(row[None], w * carry), carry

        return lax.scan(step, jnp.sum(x), x)[0]

    return run


def _branched(f: Function) -> Function:
    return lambda x, w: lax.cond(jnp.sum(x) > 0, f, lambda x, w: f(w, w), x, w)


def _switched(f: Function) -> Function:
    branches = [lambda x, w, k=k: f(k * x, w) for k in (1, 2, 3)]
    return lambda x, w: jax.vmap(lambda i: lax.switch(i, branches, x, w))(jnp.arange(3)).sum()


def _fixed_loop(f: Function) -> Function:
    return lambda x, w: lax.fori_loop(0, 3, lambda _, c: c + f(x * c, w), jnp.float64(1.0))


def _open_loop(f: Function) -> Function:
    def run(x: Any, w: Any) -> Any:
        def body(c: Any) -> Any:
            return c[0] + 1, c[1] + f(x * c[1], w)

        return lax.while_loop(lambda c: c[0] < 3, body, (0, jnp.float64(1.0)))[1]

    return run


LOOPS = {"scan": _scanned, "cond": _branched, "switch": _switched, "fori_loop": _fixed_loop}
CHECKPOINTS: dict[str, Any] = {
    "none": None,
    "everything": jax.checkpoint_policies.everything_saveable,
    "nothing": jax.checkpoint_policies.nothing_saveable,
    "products": jax.checkpoint_policies.dots_saveable,
    "products without batch": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "names": jax.checkpoint_policies.save_only_these_names("hidden"),
}


@pytest.mark.parametrize("name", LOOPS)
def test_control_flow_in_both_modes(name: str) -> None:
    wrap = LOOPS[name]
    same(
        lambda f: jax.grad(wrap(f), (0, 1)),
        lambda f: lambda x, w: jax.jvp(wrap(f), (x, w), (jnp.cos(x), jnp.cos(w))),
        lambda f: lambda x, w: jax.jvp(jax.grad(wrap(f), 1), (x, w), (x, w))[1],
        lambda f: lambda x, w: jax.vmap(jax.grad(wrap(f), 1), (0, None))(x[None] * w[0, 0], w),
    )


def test_while_loops_in_forward_mode() -> None:
    same(
        lambda f: lambda x, w: jax.jvp(_open_loop(f), (x, w), (jnp.cos(x), w)),
        lambda f: jax.jacfwd(jax.jacfwd(_open_loop(f))),
        lambda f: lambda x, w: jax.vmap(jax.jacfwd(_open_loop(f)), (0, None))(x[None], w),
    )


@pytest.mark.parametrize("policy", CHECKPOINTS)
def test_checkpoint(policy: str) -> None:
    def wrap(f: Function) -> Function:
        return jax.checkpoint(f, policy=CHECKPOINTS[policy])

    same(
        lambda f: jax.grad(wrap(f), (0, 1)),
        lambda f: lambda x, w: jax.jvp(wrap(f), (x, w), (jnp.cos(x), w)),
        lambda f: lambda x, w: jax.jvp(jax.grad(wrap(f), 1), (x, w), (x, w))[1],
        lambda f: jax.grad(_scanned(wrap(f)), 1),
        lambda f: lambda x, w: jax.vmap(jax.grad(wrap(f), 1), (0, None))(x[None], w),
    )


# Tracing


def test_eval_shape_and_jaxprs_need_no_values() -> None:
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), network_args())
    for transform in (lambda f: f, jax.grad, jax.hessian):
        got, wanted = (jax.eval_shape(transform(f), *shapes) for f in (written, plain))
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)


def test_closures_over_tracers() -> None:
    """Functions that hold values of an outer transformation, at every level."""
    same(
        lambda f: jax.grad(lambda x, w: jax.grad(lambda v: f(x, v * jnp.sum(x)))(w).sum()),
        lambda f: lambda x, w: jax.vmap(lambda c: jax.grad(lambda v: f(c * x, v))(w))(w[0]),
        lambda f: lambda x, w: jax.jvp(lambda v: jax.grad(f, 1)(v, w * v[:1]), (x,), (x,)),
        lambda f: lambda x, w: lax.map(lambda r: jax.grad(lambda v: f(r[None], v))(w), x),
        lambda f: lambda x, w: jax.jacfwd(lambda s: jax.grad(lambda v: f(x * s, v))(w))(1.0),
    )


@pytest.mark.parametrize("transform", [jax.value_and_grad, jax.jacfwd])
def test_without_jit(transform: Any) -> None:
    args = network_args()
    wanted = transform(plain)(*args)
    close(transform(written)(*args), wanted)
    with jax.disable_jit():
        close(transform(written)(*args), wanted)


@pytest.mark.leaks
@pytest.mark.parametrize("transform", [jax.grad, jax.jacfwd, jax.hessian, jax.checkpoint])
def test_no_tracer_leaks(transform: Any) -> None:
    args = network_args()
    jax.make_jaxpr(jax.jit(transform(written)))(*args)
    jax.make_jaxpr(jax.vmap(transform(_scanned(written)), (0, None)))(args[0][None], args[1])


def test_nan_checks_and_donation() -> None:
    x, w = network_args()
    with jax.debug_nans(True):
        close(jax.jit(jax.grad(written))(x, w), jax.grad(plain)(x, w))
    step = jax.jit(lambda x, w: w - jax.grad(written, 1)(x, w), donate_argnums=1)
    close(step(x, jnp.copy(w)), w - jax.grad(plain, 1)(x, w))


def test_custom_derivatives_around_and_inside() -> None:
    def around(f: Function) -> Function:
        outer = jax.custom_vjp(f)
        outer.defvjp(
            lambda x, w: (f(x, w), (x, w)),
            lambda kept, ct: jax.tree.map(lambda g: ct * g, jax.grad(f, (0, 1))(*kept)),
        )
        return outer

    same(lambda f: jax.grad(around(f), (0, 1)))


def test_a_rule_of_trees_under_everything_at_once() -> None:
    example = examples()["pair"]

    def deep(function: Any) -> Function:
        def f(p: Any, factor: Any) -> Any:
            y = function(p, factor)
            return jnp.sum(jnp.sin(y["product"])) + jnp.sum(y["scaled"][0] ** 2)

        def step(p: Any, factor: Any) -> Any:
            return jax.tree.map(lambda a, g: a - 0.1 * g, p, jax.grad(f)(p, factor))

        def run(p: Any, factor: Any) -> Any:
            last = lax.scan(lambda q, _: (jax.checkpoint(step)(q, factor), None), p, length=3)[0]
            return f(last, factor)

        return jax.vmap(jax.grad(run, (0, 1)), (None, 0))

    factors = jnp.array([0.5, 1.5])
    got, wanted = (jax.jit(deep(f))(example.args[0], factors) for f in (example.rule, plain_pair))
    close(got, wanted)


def test_a_cleared_cache_is_filled_again() -> None:
    before = sigmoid(0.5)
    jax.clear_caches()
    assert isinstance(sigmoid, Rule) and hash(sigmoid) == hash(sigmoid)
    assert float(sigmoid(0.5)) == float(before)
