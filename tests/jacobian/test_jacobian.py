"""The laws of Jacobians, over the battery and over random programs, against JAX's two modes."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.experimental import sparse

from funcnet.jacobian import (
    check_jacobian,
    hessian,
    hvp,
    jacobian,
    jacobian_diagonal,
    plan_jacobian,
    value_and_jacobian,
)
from tests.jacobian.battery import BATTERY
from tests.jacobian.random_programs import program

pytestmark = pytest.mark.usefixtures("x64")

ORDERS = ("forward", "reverse", "markowitz", "markowitz_reverse", "chain", "search")


def reference(name: str) -> Any:
    case = BATTERY[name]
    f, args = case.make("small")
    of = jax.jacrev if case.has_reverse else jax.jacfwd
    return f, args, of(f, case.argnums)(*args)


def full(tree: Any, like: Any) -> Any:
    """A Jacobian in any form as full arrays, in the shapes of another."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda x: hasattr(x, "todense"))
    arrays = [x.todense() if hasattr(x, "todense") else x for x in leaves]
    wanted = jax.tree.leaves(like)
    return [np.asarray(x).reshape(y.shape) for x, y in zip(arrays, wanted, strict=True)]


def assert_same(ours: Any, theirs: Any) -> None:
    wanted = jax.tree.leaves(theirs)
    for x, y in zip(full(ours, theirs), wanted, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", BATTERY)
def test_battery(name: str) -> None:
    f, args, wanted = reference(name)
    argnums = BATTERY[name].argnums
    y, ours = value_and_jacobian(f, argnums)(*args)
    chex.assert_trees_all_equal_structs(ours, wanted)
    assert_same(ours, wanted)
    jax.tree.map(np.testing.assert_allclose, y, f(*args))


@pytest.mark.parametrize("name", BATTERY)
def test_patterns(name: str) -> None:
    """No entry is missing, and of structured programs none is too many."""
    case = BATTERY[name]
    f, args = case.make("small")
    truth = np.asarray(case.pattern("small"), bool)
    rows, cols = plan_jacobian(f, *args, argnums=case.argnums).pattern()
    found = np.zeros(truth.shape, bool)
    found[rows, cols] = True
    assert np.all(found >= truth)
    if name not in BY_VALUES:
        np.testing.assert_array_equal(found, truth)


BY_VALUES = {"cholesky"}
"""Programs with zeros that no operation tells of: here, half of a factor that comes at run time."""


@pytest.mark.long
@pytest.mark.parametrize("output", ["bcoo", "csr", "coo"])
@pytest.mark.parametrize("name", BATTERY)
def test_sparse_outputs(name: str, output: Any) -> None:
    f, args, wanted = reference(name)
    assert_same(jacobian(f, BATTERY[name].argnums, output=output)(*args), wanted)


@pytest.mark.long
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", BATTERY)
def test_orders(name: str, order: str) -> None:
    f, args, wanted = reference(name)
    assert_same(jacobian(f, BATTERY[name].argnums, mode="eliminate", order=order)(*args), wanted)


@pytest.mark.long
@pytest.mark.parametrize("name", BATTERY)
def test_compressed(name: str) -> None:
    """With the pattern that is read off, and with the true one."""
    case = BATTERY[name]
    f, args, wanted = reference(name)
    assert_same(jacobian(f, case.argnums, mode="compressed")(*args), wanted)
    pattern = case.pattern("small")
    assert_same(jacobian(f, case.argnums, pattern=pattern)(*args), wanted)
    assert check_jacobian(f, *args, argnums=case.argnums, pattern=pattern)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("name", BATTERY)
def test_modes(name: str, mode: Any) -> None:
    case = BATTERY[name]
    f, args, wanted = reference(name)
    if case.has_forward if mode == "forward" else case.has_reverse:
        assert_same(jacobian(f, case.argnums, mode=mode)(*args), wanted)
    else:
        with pytest.raises(ValueError, match=f"without {mode} mode"):
            jacobian(f, case.argnums, mode=mode)(*args)


FEW = ("burgers", "bottleneck_8", "arrowhead", "trees", "softmax_rows", "spike_forward_rule")


@pytest.mark.parametrize("name", FEW)
def test_every_way_on_a_few(name: str) -> None:
    f, args, wanted = reference(name)
    outputs: list[Any] = ["bcoo", "csr", "coo"]
    for output in outputs:
        assert_same(jacobian(f, output=output)(*args), wanted)
    assert_same(jacobian(f, mode="forward")(*args), wanted)
    assert_same(jacobian(f, mode="reverse")(*args), wanted)
    assert_same(jacobian(f, mode="compressed")(*args), wanted)
    for order in ORDERS:
        assert_same(jacobian(f, mode="eliminate", order=order)(*args), wanted)


def check_program(seed: int) -> None:
    f, args = program(seed)
    argnums = tuple(range(len(args)))
    wanted = jax.jacrev(f, argnums)(*args)
    ours = jacobian(f, argnums)(*args)
    chex.assert_trees_all_equal_structs(ours, wanted)
    assert_same(ours, wanted)
    rows, cols = plan_jacobian(f, *args, argnums=argnums).pattern()
    entries = set(zip(rows.tolist(), cols.tolist(), strict=True))
    at = np.concatenate(
        [
            np.concatenate([np.asarray(x).reshape(_size(y), -1) for x in row], axis=1)
            for y, row in zip(*_rows(f, args, wanted), strict=True)
        ]
    )
    assert entries >= set(zip(*(i.tolist() for i in np.nonzero(at)), strict=True))


def _rows(f: Any, args: Any, jac: Any) -> tuple[list[Any], list[list[Any]]]:
    outs = jax.tree.leaves(jax.eval_shape(f, *args))
    leaves = jax.tree.leaves(jac)
    width = len(leaves) // len(outs)
    return outs, [leaves[i * width : (i + 1) * width] for i in range(len(outs))]


def _size(aval: Any) -> int:
    return int(np.prod(aval.shape))


@pytest.mark.parametrize("seed", range(8))
def test_random_programs(seed: int) -> None:
    check_program(seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(8, 100))
def test_more_random_programs(seed: int) -> None:
    check_program(seed)


# Under JAX's transformations


def wave(x: Any, w: Any) -> Any:
    return jnp.tanh(w @ x) * jnp.sum(x)


X = np.array([0.3, -1.2, 0.7])
W = np.arange(12.0).reshape(4, 3) / 7 - 0.5


def test_under_jit_vmap_and_itself() -> None:
    x, w = jnp.asarray(X), jnp.asarray(W)
    wanted = jax.jacrev(wave)(x, w)
    assert_same(jax.jit(jacobian(wave))(x, w), wanted)
    stack = jnp.stack([x, 2 * x, -x])
    assert_same(
        jax.vmap(jacobian(wave), (0, None))(stack, w),
        jax.vmap(jax.jacrev(wave), (0, None))(stack, w),
    )
    assert_same(jacobian(jacobian(wave))(x, w), jax.jacrev(jax.jacrev(wave))(x, w))
    norm = lambda of: lambda x: jnp.sum(of(wave)(x, w) ** 2)  # noqa: E731
    assert_same(jax.grad(norm(jacobian))(x), jax.grad(norm(jax.jacrev))(x))
    tangent = jnp.ones_like(x)
    assert_same(
        jax.jvp(lambda x: jacobian(wave)(x, w), (x,), (tangent,))[1],
        jax.jvp(lambda x: jax.jacrev(wave)(x, w), (x,), (tangent,))[1],
    )


@pytest.mark.leaks
def test_closed_over_tracers_do_not_leak() -> None:
    f = lambda w: jacobian(lambda x: wave(x, w))(jnp.asarray(X))  # noqa: E731
    wanted = jax.jacrev(lambda x: wave(x, jnp.asarray(W)))(jnp.asarray(X))
    assert_same(jax.jit(f)(jnp.asarray(W)), wanted)


@pytest.mark.parametrize("output", ["dense", "bcoo", "diagonal"])
def test_plans_made_under_jit_serve_outside(output: Any) -> None:
    of_f = jacobian(jnp.sin, output=output)
    x = jnp.asarray(X)
    wanted = np.cos(X) if output == "diagonal" else np.diag(np.cos(X))
    assert_same(jax.jit(of_f)(x), wanted)
    assert_same(of_f(x), wanted)


def test_plans_with_tracers_are_not_kept() -> None:
    """One function, called under two traces, closes over a tracer of each."""
    scale: list[Any] = [None]
    scaled = jacobian(lambda x: x * scale[0])

    def at(number: Any) -> Any:
        scale[0] = number
        return scaled(jnp.ones(2))

    np.testing.assert_array_equal(jax.jit(at)(2.0), 2 * np.eye(2))
    np.testing.assert_array_equal(jax.jit(lambda s: at(s))(3.0), 3 * np.eye(2))


def test_custom_rules_of_higher_order_stay() -> None:
    """The derivative of a Jacobian runs the rules that JAX's own does."""

    @jax.custom_jvp
    def f(x: Any) -> Any:
        return x**3

    f.defjvp(lambda p, t: (f(p[0]), 5.0 * f(p[0]) * t[0]))
    x = jnp.array([2.0, 3.0])
    assert_same(jacobian(jacobian(f))(x), jax.jacrev(jax.jacrev(f))(x))


# Its relatives


def test_hessian_and_products() -> None:
    f = lambda x: jnp.sum(jnp.sin(x) * jnp.roll(x, 1)) + x[0] * x[2]  # noqa: E731
    x, v = jnp.linspace(-1.0, 2.0, 6), jnp.arange(6.0)
    wanted = jax.hessian(f)(x)
    assert_same(hessian(f)(x), wanted)
    assert hessian(f, output="bcoo")(x).nse < 36
    np.testing.assert_allclose(hvp(f)(x, v), wanted @ v, rtol=1e-12)


def test_hessian_of_several_arguments() -> None:
    f = lambda a, b: (jnp.sum(a**2 * b), "besides")  # noqa: E731
    args = jnp.arange(3.0), jnp.arange(1.0, 4.0)
    ours, aux = hessian(f, (0, 1), has_aux=True)(*args)
    assert aux == "besides"
    assert_same(ours, jax.hessian(lambda a, b: f(a, b)[0], (0, 1))(*args))


def test_diagonal() -> None:
    f = lambda x: jnp.sin(x) + jnp.sum(x * x)  # noqa: E731
    x = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
    wanted = np.diagonal(jax.jacrev(f)(x).reshape(6, 6)).reshape(2, 3)
    np.testing.assert_allclose(jacobian_diagonal(f)(x), wanted, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(jacobian_diagonal(f))(x), wanted, rtol=1e-12)
    with pytest.raises(ValueError, match=r"sizes \[6\] and outputs of sizes \[1\]"):
        jacobian_diagonal(jnp.sum)(x)


def test_operator() -> None:
    f = lambda p, c: {"y": wave(p["x"], p["w"]) * c}  # noqa: E731
    p = {"x": jnp.asarray(X), "w": jnp.asarray(W)}
    operator = jacobian(f, output="operator")(p, 2.0)
    dense = jax.jacrev(f)(p, 2.0)
    assert operator.shape == (4, 15)
    tangent = jax.tree.map(jnp.cos, p)
    pushed = sum(jnp.tensordot(dense["y"][k], tangent[k], axes=tangent[k].ndim) for k in ("x", "w"))
    np.testing.assert_allclose(operator.mv(tangent)["y"], pushed, rtol=1e-12)
    u = jnp.arange(4.0)
    pulled = operator.rmv({"y": u})
    for k in ("x", "w"):
        np.testing.assert_allclose(pulled[k], jnp.tensordot(u, dense["y"][k], axes=1), rtol=1e-12)
    assert_same(operator.todense(), dense)
    with pytest.raises(ValueError, match=r"JacobianOperator.rmv: the vector has shapes"):
        operator.rmv(u)
    square = jacobian(jnp.sin, output="operator")(jnp.asarray(X))
    np.testing.assert_allclose(square.diagonal(), np.cos(X), rtol=1e-12)


def test_aux_and_static_arguments() -> None:
    f = lambda x, power, name: (x**power, {name: x + 1, "n": 3})  # noqa: E731
    x = jnp.arange(1.0, 3.0)
    ours, aux = jacobian(f, has_aux=True)(x, 2, "shifted")
    np.testing.assert_allclose(ours, np.diag(2 * x))
    np.testing.assert_allclose(aux["shifted"], x + 1)
    (y, again), other = value_and_jacobian(f, has_aux=True)(x, 2, "shifted")
    np.testing.assert_allclose(y, x**2)
    assert again["n"] == 3
    assert_same(other, ours)


def test_other_arguments_stay_what_they_are() -> None:
    """Python numbers may be shapes and exponents; arguments may be named; nothing is kept stale."""
    f = lambda x, n, *, s: jnp.full((n,), s) * x[0] ** n  # noqa: E731
    x, of_f = jnp.array([2.0, 3.0]), jacobian(f)
    for n, s in ((2, 3.0), (3, 3.0), (3, 4.0)):
        assert_same(of_f(x, n, s=s), jax.jacrev(f)(x, n, s=s))
    for s in (jnp.float64(1.0), jnp.float64(2.0)):
        np.testing.assert_allclose(of_f(x, 1, s=s), [[s, 0.0]])
    assert jacobian(lambda p: jnp.ones(2))({}) == {}


def test_solvers_keep_their_rule() -> None:
    """An iterative solver is linear from outside alone."""
    f = lambda x: jax.scipy.sparse.linalg.cg(lambda v: v * x, x * x)[0]  # noqa: E731
    x = jnp.arange(1.0, 6.0)
    modes: list[Any] = ["auto", "forward", "reverse"]
    for mode in modes:
        of_f = jacobian(f, mode=mode)
        np.testing.assert_allclose(of_f(x), np.eye(5), atol=1e-6)


def test_dtypes() -> None:
    x = jnp.arange(3, dtype=jnp.bfloat16)
    f = lambda x: (x * x).astype(jnp.float32)  # noqa: E731
    assert jacobian(f)(x).dtype == jax.jacrev(f)(x).dtype == jnp.bfloat16
    np.testing.assert_array_equal(jacobian(f)(x), jax.jacrev(f)(x))


# What a plan says


def test_plan_prints_its_choice() -> None:
    f, args = BATTERY["bottleneck_8"].make("small")
    plan = plan_jacobian(f, *args)
    text = str(plan)
    assert "chosen" in text and "eliminate, chain" in text and "full, 49 entries" in text
    assert_same(plan(*args), jax.jacrev(f)(*args))
    with pytest.raises(ValueError, match="Plan: made for arguments"):
        plan(jnp.ones(3), *args[1:])


def test_planning_is_deterministic_and_needs_no_numbers() -> None:
    f, args = BATTERY["brusselator"].make("small")
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), args)
    assert str(plan_jacobian(f, *shapes)) == str(plan_jacobian(f, *args))


def test_bottleneck_is_multiplied_from_the_bottleneck() -> None:
    f, args = BATTERY["bottleneck_8"].make("full")
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, np.float32), args)
    plan = plan_jacobian(f, *shapes)
    assert plan.chosen.order == "chain"
    work = {a.order: a.work.flops for a in plan.alternatives}
    assert 15 * work["chain"] < min(work["forward"], work["reverse"])


# Patterns


def test_given_patterns_in_any_form() -> None:
    f, args, wanted = reference("arrowhead")
    full_pattern = np.asarray(BATTERY["arrowhead"].pattern("small"))
    rows, cols = np.nonzero(full_pattern)
    indices = jnp.stack([jnp.asarray(rows), jnp.asarray(cols)], axis=1)
    stored = sparse.BCOO((jnp.ones(len(rows)), indices), shape=full_pattern.shape)
    for pattern in ((rows, cols), full_pattern, scipy.sparse.csr_array(full_pattern), stored):
        plan = plan_jacobian(f, *args, pattern=pattern)
        assert plan.mode == "compressed"
        assert plan.chosen.passes == 3
        assert_same(plan(*args), wanted)


def test_compression_takes_several_inputs_and_outputs() -> None:
    f = lambda a, b: {"sum": a + b[::-1], "product": a * b, "none": jnp.ones(2)}  # noqa: E731
    args = jnp.arange(1.0, 7.0), jnp.arange(2.0, 8.0)
    wanted = jax.jacrev(f, (0, 1))(*args)
    assert_same(jacobian(f, (0, 1), mode="compressed")(*args), wanted)
    assert plan_jacobian(f, *args, argnums=(0, 1), mode="compressed").chosen.passes <= 3


def test_wrong_patterns_are_detected() -> None:
    f, args, _ = reference("brusselator")
    pattern = np.array(BATTERY["brusselator"].pattern("small"), bool)
    rows, cols = np.nonzero(pattern)
    for i in range(0, len(rows), 17):
        missing = pattern.copy()
        missing[rows[i], cols[i]] = False
        found = check_jacobian(f, *args, pattern=missing)
        assert not found
        assert "an entry of it is missing" in str(found)
    assert "ok: products by jvp" in str(check_jacobian(f, *args, pattern=pattern))


def test_functions_without_forward_mode_are_checked_in_reverse() -> None:
    f, args = BATTERY["spike_reverse_rule"].make("small")
    assert check_jacobian(f, *args).by == "vjp"
    rows, cols = plan_jacobian(f, *args).pattern()
    found = check_jacobian(f, *args, pattern=(rows[:-1], cols[:-1]))
    assert not found
    assert "of the flattened input" in str(found)


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jacobian(jnp.sin)(jnp.arange(3)), r"jacobian: x is int.*only floating-point"),
        (
            lambda: jacobian(jnp.sin)(jnp.ones(3, complex)),
            "x is complex128.*real and imaginary part",
        ),
        (lambda: jacobian(lambda x: x > 0)(jnp.ones(3)), "the output of f is bool.*has_aux=True"),
        (
            lambda: jacobian(lambda x: jax.lax.complex(x, x))(jnp.ones(3)),
            "output of f is complex128",
        ),
        (lambda: jacobian(lambda x: {"a": jnp.argmax(x)})(jnp.ones(3)), r"output\['a'\] of f"),
        (lambda: jacobian(jnp.sin, 1)(jnp.ones(3)), "argnums=1, but f was given 1 argument"),
        (lambda: jacobian(jnp.add, (0, 0))(1.0, 2.0), "names an argument twice"),
        (lambda: jacobian(jnp.sin, ())(jnp.ones(3)), "argnums is empty"),
        (lambda: jacobian(lambda x: x)("text"), "x is str, which is not an array"),
        (lambda: jacobian(jnp.sin, mode="fast"), "mode='fast' is not known"),  # type: ignore
        (lambda: jacobian(jnp.sin, output="matrix"), "output='matrix' is not known"),  # type: ignore
        (lambda: jacobian(jnp.sin, order="best"), "order='best' is not known"),
        (lambda: jacobian(jnp.sin, pattern=np.eye(2))(jnp.ones(3)), r"pattern has shape \(2, 2\)"),
        (lambda: jacobian(jnp.sin, mode="forward", pattern=np.eye(3)), "a pattern is for mode="),
        (lambda: jacobian(jnp.sin, mode="reverse", order="chain"), "order='chain' is for mode="),
        (lambda: jacobian(jnp.sin, order="chain", pattern=np.eye(3)), "goes with no pattern"),
        (lambda: jacobian(jnp.sin, pattern=([0], [3]))(jnp.ones(3)), "cols holds 3"),
        (lambda: check_jacobian(jnp.sin, jnp.ones(3), directions=0), "directions=0"),
        (lambda: jacobian(jnp.sin, has_aux=True)(jnp.ones(3)), "instead of a pair"),
        (lambda: jax.jit(jacobian(jnp.sin, output="csr"))(jnp.ones(3)), "needs numbers"),
        (lambda: jacobian(jnp.sin)(jnp.ones(40_000)), r"takes 11.9 GiB, more than max_bytes"),
        (lambda: jacobian(jnp.outer, max_bytes=10)(jnp.ones(3), jnp.ones(3)), "max_bytes=10"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_values_that_are_not_finite_stay_where_they_are() -> None:
    """One-hot tangents spread them: 0 times infinity off the diagonal is NaN in ``jax.jacfwd``."""
    x = jnp.array([jnp.nan, jnp.inf, 0.0, 1.0])
    f = lambda x: jnp.where(x > 0, x * x, -x)  # noqa: E731
    np.testing.assert_array_equal(jacobian(f)(x), np.diag([-1.0, np.inf, -1.0, 2.0]))
    np.testing.assert_array_equal(np.diag(jax.jacfwd(f)(x)), [-1.0, np.inf, -1.0, 2.0])
    g = lambda x: x * x + jnp.sum(jnp.zeros(4) * x)  # noqa: E731
    assert np.isnan(jacobian(lambda x: x * jnp.sin(x))(x)[0, 0])
    np.testing.assert_array_equal(jnp.diag(jacobian(g)(x))[2:], [0.0, 2.0])
