"""Law: JAX's transformations change how a rule is run and never what it gives, in both modes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from tests.conformance.table import IDS, ROWS, Row
from tests.conformance.test_values import assert_close, weights_like
from tests.quick import quick_jit


def moving(row: Row) -> tuple[Any, ...]:
    return tuple(row.args[i] for i in row.argnums)


def along(row: Row, f: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """The rule as a function of the arguments that can be differentiated."""

    def call(*values: Any) -> Any:
        full = list(row.args)
        for i, value in zip(row.argnums, values, strict=True):
            full[i] = value
        return (f or row.call)(*full)

    return call


def both_modes(f: Callable[..., Any]) -> Callable[..., Any]:
    """Value, tangent and cotangents."""

    def run(*args: Any) -> Any:
        y, pull = jax.vjp(f, *args)
        tangent = jax.jvp(f, args, jax.tree.map(lambda x: jnp.sin(1 + x), args))[1]
        return y, tangent, pull(weights_like(y))

    return run


def in_scan(f: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        return jax.tree.map(lambda y: y[1], lax.scan(lambda c, _: (c, f(*c)), args, None, length=2)[1])

    return run


def in_cond(f: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        first = jax.tree.leaves(args)[0]
        return lax.cond(first.sum() < 1e30, f, lambda *a: jnp.zeros_like(f(*a)), *args)

    return run


def in_vmap(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: jax.vmap(f)(*jax.tree.map(lambda x: jnp.stack([x, x]), args))[0]


def transformed(f: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    yield "jit", both_modes(jax.jit(f))
    yield "scan", both_modes(in_scan(f))
    yield "cond", both_modes(in_cond(f))
    yield "vmap outside", in_vmap_of_modes(f)
    yield "vmap inside", both_modes(in_vmap(f))
    yield "checkpoint", both_modes(jax.checkpoint(f))
    policy = jax.checkpoint_policies.dots_saveable
    yield "checkpoint with a policy", both_modes(jax.checkpoint(f, policy=policy))


def in_vmap_of_modes(f: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        out = jax.vmap(both_modes(f))(*jax.tree.map(lambda x: jnp.stack([x, 2 * x, x]), args))
        return jax.tree.map(lambda y: y[2], out)

    return run


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_transformations_keep_both_modes(row: Row, x64: None) -> None:
    f, args = along(row), moving(row)
    plain = both_modes(f)(*args)
    names, functions = zip(*transformed(f), strict=True)
    for name, got in zip(names, quick_jit(lambda *a: [g(*a) for g in functions])(*args), strict=True):
        assert_close(got, plain, 1e-13, f"{row.id}, {name}")


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_each_argument_batched_alone(row: Row, x64: None) -> None:
    """vmap of both modes with one argument batched and the others shared, against a loop."""
    f, args = along(row), moving(row)

    def compute(*args: Any) -> Any:
        pairs = []
        for i in range(len(args)):
            batch = jax.tree.map(lambda x: jnp.stack([x, 1.5 * x], axis=-1), args[i])
            axes = [None] * len(args)
            axes[i] = -1  # type: ignore[call-overload]
            mapped = jax.vmap(both_modes(f), tuple(axes))(*args[:i], batch, *args[i + 1 :])
            one = both_modes(f)(*args[:i], jax.tree.map(lambda x: 1.5 * x, args[i]), *args[i + 1 :])
            pairs.append((jax.tree.map(lambda y: y[1], mapped), one))
        return pairs

    for i, (mapped, one) in enumerate(quick_jit(compute)(*args)):
        assert_close(mapped, one, 1e-13, f"{row.id}, argument {i} batched")


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_linearize_and_while_loop(row: Row, x64: None) -> None:
    f, args = along(row), moving(row)
    tangents = jax.tree.map(lambda x: jnp.sin(1 + x), args)

    def loop(*args: Any) -> Any:
        start = (0, jnp.zeros_like(f(*args)))
        return lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, f(*args)), start)[1]

    def compute(*args: Any) -> Any:
        straight = jax.jvp(f, args, tangents)
        value, push = jax.linearize(f, *args)
        return straight, (value, push(*tangents)), jax.jvp(loop, args, tangents)

    straight, linearized, looped = quick_jit(compute)(*args)
    assert_close(linearized, straight, 1e-13, f"{row.id}, linearize")
    assert_close(looped, straight, 1e-13, f"{row.id}, while_loop")


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_plain_custom_vjp_is_the_same_rule(row: Row, x64: None) -> None:
    names = row.rule.argument_names

    def twin(*args: Any) -> Any:
        return row.rule.custom_vjp(**dict(zip(names, args, strict=False)), **row.static)

    def reverse(f: Callable[..., Any]) -> Any:
        y, pull = jax.vjp(f, *moving(row))
        return y, pull(weights_like(y))

    ours, theirs = quick_jit(lambda: (reverse(along(row)), reverse(along(row, twin))))()
    assert_close(ours, theirs, 1e-15, row.id)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(along(row, twin), moving(row), moving(row))


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_lowers_for_every_platform(row: Row) -> None:
    """Value, gradient and jvp compile to StableHLO for CPU, CUDA and TPU, without the hardware."""
    args = jax.tree.map(lambda x: jnp.asarray(x), moving(row))
    exported = jax.export.export(jax.jit(both_modes(along(row))), platforms=("cpu", "cuda", "tpu"))(*args)
    assert exported.platforms == ("cpu", "cuda", "tpu")


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_rule_stays_recognisable(row: Row) -> None:
    """Under vmap, scan and grad, an equation of the jaxpr still leads to the rule."""
    args = jax.tree.map(jnp.asarray, moving(row))
    for name, f in (("vmap", in_vmap(along(row))), ("scan", in_scan(along(row)))):
        text = str(jax.make_jaxpr(lambda *a, f=f: both_modes(f)(*a))(*args))
        assert f"application={row.rule.name}" in text, name
        assert f"linear={row.rule.name}" in text, name
