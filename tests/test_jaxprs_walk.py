"""Walking through jaxprs: what is visited, where, how often; inlining and opening."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, jaxpr_as_fun
from jax.sharding import PartitionSpec

from funcnet.jaxprs import Equation, equations, inline, look_inside, nesting, register_opener


@jax.custom_jvp
def double(x: Any) -> Any:
    return 2.0 * x


double.defjvps(lambda t, ans, x: 2.0 * t)


@jax.custom_vjp
def triple(x: Any) -> Any:
    return 3.0 * x


triple.defvjp(lambda x: (triple(x), None), lambda res, ct: (3.0 * ct,))


@jax.jit
def squash(x: Any) -> Any:
    with jax.named_scope("soft"):
        return jnp.tanh(x)


def visit(f: Callable[..., Any], *args: Any) -> list[Equation]:
    return list(equations(jax.make_jaxpr(f)(*args)))


def facts(f: Callable[..., Any], *args: Any) -> list[tuple[str, str, tuple[str, ...], int]]:
    return [(e.name, e.scope, e.path, e.count) for e in visit(f, *args)]


def scan(f: Callable[[Any], Any], x: Any, length: int) -> Any:
    return jax.lax.scan(lambda c, _: (f(c), None), x, None, length=length)[0]


X = np.ones(3, np.float32)


def test_names_with_an_underscore_are_hidden() -> None:
    def _private(x: Any) -> Any:
        return jax.jit(public)(x)

    def public(x: Any) -> Any:
        return jnp.sin(x)

    assert facts(jax.jit(_private), X) == [("sin", "public", (), 1)]


def test_calls_are_entered_and_name_the_scope() -> None:
    def f(x: Any) -> Any:
        with jax.named_scope("net"):
            y = squash(x)
        return double(triple(y)) + jax.checkpoint(jnp.sin)(x)

    assert facts(f, X) == [
        ("tanh", "net/squash/soft", (), 1),
        ("mul", "", (), 1),
        ("mul", "", (), 1),
        ("sin", "", (), 1),
        ("add", "", (), 1),
    ]


def test_a_name_around_the_same_name_is_written_once() -> None:
    def f(x: Any) -> Any:
        with jax.named_scope("net"):
            return jax.jit(squash)(x)

    assert facts(f, X) == [("tanh", "net/squash/soft", (), 1)]
    (eqn,) = inline(jax.make_jaxpr(f)(X)).jaxpr.eqns
    assert str(eqn.source_info.name_stack) == "net/squash/soft"


def test_lengths_of_nested_loops_multiply() -> None:
    def f(x: Any) -> Any:
        return jnp.exp(scan(lambda c: jnp.cos(scan(jnp.sin, c, 7)), x, 5))

    assert facts(f, X) == [
        ("sin", "", ("scan", "scan"), 35),
        ("cos", "", ("scan",), 5),
        ("exp", "", (), 1),
    ]
    assert all(e.bounded for e in visit(f, X))


def test_map_is_a_loop_and_vmap_is_none() -> None:
    assert facts(lambda x: jax.lax.map(jnp.sin, x), X) == [("sin", "", ("scan",), 3)]
    assert [(e.name, e.path, e.count) for e in visit(jax.vmap(jnp.sin), X)] == [("sin", (), 1)]


def test_all_branches_are_visited() -> None:
    def f(i: Any, x: Any) -> Any:
        return jax.lax.switch(i, [jnp.sin, jnp.cos, lambda x: scan(jnp.exp, x, 4)], x)

    found = [(e.name, e.path, e.count) for e in visit(f, 1, X)]
    assert found[-3:] == [
        ("sin", ("cond[0]",), 1),
        ("cos", ("cond[1]",), 1),
        ("exp", ("cond[2]", "scan"), 4),
    ]
    assert all(path == () for _, path, _ in found[:-3])


def test_a_loop_of_unknown_length_is_flagged_and_counted_once() -> None:
    def f(n: Any, x: Any) -> Any:
        def body(state: Any) -> Any:
            return state[0] + 1, scan(jnp.sin, state[1], 3)

        return jax.lax.while_loop(lambda state: state[0] < n, body, (0, x))[1]

    found = {e.name: e for e in visit(f, 4, X)}
    assert (found["lt"].path, found["lt"].count) == (("while condition",), 1)
    assert (found["add"].path, found["add"].count) == (("while",), 1)
    assert (found["sin"].path, found["sin"].count) == (("while", "scan"), 3)
    assert not any(e.bounded for e in found.values())


def test_a_linear_solve_runs_its_solver_alone() -> None:
    def f(a: Any, b: Any) -> Any:
        return jax.lax.custom_linear_solve(lambda x: jnp.sin(a) * x, b, lambda _, b: b / jnp.cos(a))

    names = [e.name for e in visit(f, X, X)]
    assert names == ["cos", "div"]


def test_shard_map_runs_on_every_device() -> None:
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("a", "b"))
    spec = PartitionSpec("a", "b")
    f = jax.shard_map(jnp.sin, mesh=mesh, in_specs=spec, out_specs=spec)
    (sin,) = visit(f, np.ones((4, 6), np.float32))
    assert (sin.name, sin.path, sin.count) == ("sin", ("shard_map",), 4)
    assert sin.out_avals[0].shape == (2, 3)


def test_functions_that_combine_two_numbers_are_not_entered() -> None:
    def f(x: Any) -> Any:
        return jax.lax.reduce(x, np.float32(1), lambda a, b: a * jnp.sin(b), (0,))

    assert [e.name for e in visit(f, X)] == ["reduce"]


def test_shapes_of_operands_and_results() -> None:
    (dot,) = visit(jnp.dot, np.ones((2, 3), np.float32), np.ones((3, 4), np.float32))
    assert [a.shape for a in dot.in_avals] == [(2, 3), (3, 4)]
    assert [(a.shape, a.dtype) for a in dot.out_avals] == [((2, 4), np.float32)]


def test_source_lines_are_the_users() -> None:
    def here(x: Any) -> Any:
        return jax.nn.relu(x)  # Written in JAX: the line that calls it counts.

    line = here.__code__.co_firstlineno + 1
    (maximum,) = visit(here, X)
    assert maximum.name == "max"
    assert f"test_jaxprs_walk.py:{line}:" in maximum.source
    (flat,) = inline(jax.make_jaxpr(here)(X)).jaxpr.eqns
    assert f"test_jaxprs_walk.py:{line}:" in Equation(flat, "", (), 1, True).source


# What no output needs


def test_dead_operations_are_left_out() -> None:
    def f(x: Any) -> Any:
        jnp.sin(x)
        return jnp.cos(x)

    assert [e.name for e in visit(f, X)] == ["cos"]


def test_dead_operations_in_calls_and_branches_are_left_out() -> None:
    pair = jax.jit(lambda x: (jnp.sin(x), jnp.cos(x)))
    assert [e.name for e in visit(lambda x: pair(x)[1], X)] == ["cos"]

    def f(flag: Any, x: Any) -> Any:
        branches = (lambda x: (jnp.sin(x), jnp.exp(x))), (lambda x: (jnp.cos(x), x))
        return jax.lax.cond(flag, *branches, x)[0]

    names = {e.name for e in visit(f, True, X)}
    assert {"sin", "cos"} <= names
    assert "exp" not in names


def test_what_feeds_only_a_dead_operand_is_dead() -> None:
    first = jax.jit(lambda x, y: (x + 1, y + 1))
    assert [e.name for e in visit(lambda x: first(jnp.sin(x), jnp.cos(x))[0], X)] == ["sin", "add"]


def test_a_carried_value_lives_if_a_later_round_needs_it() -> None:
    # c reaches b one round later, b reaches a, and d reaches nothing but itself.
    # The step also reads a constant from outside and a slice, which are not carried.
    def f(x: Any, w: Any) -> Any:
        def step(carry: Any, slice_: Any) -> Any:
            a, b, c, d = carry
            return (jnp.sin(a) + b, c, jnp.cos(c) * w - slice_, jnp.exp(d)), jnp.tanh(a)

        return jax.lax.scan(step, (x, x, x, x), jnp.stack([x, x]))[0][0]

    assert sorted(e.name for e in visit(f, X, X) if e.path) == ["add", "cos", "mul", "sin", "sub"]


def test_a_while_loop_keeps_what_its_condition_needs() -> None:
    def f(x: Any) -> Any:
        def body(state: Any) -> Any:
            i, y, z = state
            return i + 1, jnp.sin(y), jnp.cos(z)

        return jax.lax.while_loop(lambda s: s[0] < 3, body, (0, x, x))[1]

    assert sorted(e.name for e in visit(f, X)) == ["add", "lt", "sin"]


def test_side_effects_live() -> None:
    def f(x: Any) -> Any:
        jax.debug.callback(lambda y: None, jnp.sin(x))
        return x

    assert [e.name for e in visit(f, X)][:1] == ["sin"]
    assert [e.name for e in visit(lambda x: scan(f, x, 2), X)][:1] == ["sin"]


# Inlining


def everything(x: Any, n: Any) -> Any:
    table = np.arange(3, dtype=np.float32)
    scaled = jax.jit(lambda z: triple(z) * jnp.asarray(table))
    y = squash(double(x)) + scaled(x) - squash(scaled(x + 1.0))
    y = squash(squash(y))
    y = scan(lambda c: squash(double(c)), y, 3)
    y = jax.lax.cond(n > 1, squash, lambda z: z, y)
    y = jax.checkpoint(lambda z: squash(z) + x)(y)
    return y, x, 2.0


def primitives(jaxpr: Jaxpr) -> list[str]:
    return [eqn.primitive.name for eqn in jaxpr.eqns]


def test_inlining_keeps_values_and_inputs_and_outputs() -> None:
    traced = jax.make_jaxpr(everything)(X, 3)
    flat = inline(traced)
    assert isinstance(flat, ClosedJaxpr)
    x = np.array([0.5, -1.0, 2.0], np.float32)
    for before, after in zip(jaxpr_as_fun(traced)(x, 3), jaxpr_as_fun(flat)(x, 3), strict=True):
        np.testing.assert_allclose(before, after, rtol=1e-6)
    made = [v for eqn in flat.jaxpr.eqns for v in eqn.outvars]
    assert len(made) == len(set(made))
    bodies = [body for eqn in flat.jaxpr.eqns for body in look_inside(eqn).bodies]
    assert {body.role for body in bodies} == {"loop", "branch"}
    assert [a.shape for a in flat.in_avals] == [(3,), ()]


def test_an_inlined_function_can_be_transformed() -> None:
    flat = jaxpr_as_fun(inline(jax.make_jaxpr(lambda x: squash(squash(x)))(X)))
    gradient = jax.jit(jax.grad(lambda x: flat(x)[0].sum()))(X)
    np.testing.assert_allclose(gradient, jax.grad(lambda x: squash(squash(x)).sum())(X), rtol=1e-6)


def test_inlining_twice_changes_nothing_more() -> None:
    once = inline(jax.make_jaxpr(everything)(X, 3))
    assert primitives(inline(once).jaxpr) == primitives(once.jaxpr)


def test_inlined_equations_keep_their_scopes() -> None:
    def f(x: Any) -> Any:
        with jax.named_scope("net"):
            return squash(x)

    traced = jax.make_jaxpr(f)(X)
    (eqn,) = inline(traced).jaxpr.eqns
    (visited,) = equations(traced)
    assert str(eqn.source_info.name_stack) == visited.scope == "net/squash/soft"


def test_calls_can_be_kept() -> None:
    odd = jax.custom_jvp(lambda x: 2.0 * x)
    odd.defjvps(lambda t, ans, x: 5.0 * t)  # Not the derivative, so that we see who asked it.
    traced = jax.make_jaxpr(lambda x: jax.jit(odd)(triple(x)))(X)
    for keep, names, slope in [
        ((), ["mul", "mul"], 6.0),
        (("custom_jvp_call",), ["mul", "custom_jvp_call"], 15.0),
    ]:
        flat = inline(traced, keep=keep)
        assert primitives(flat.jaxpr) == names
        np.testing.assert_allclose(jax.jvp(jaxpr_as_fun(flat), (X,), (X,))[1][0], slope * X)


# Opening


@pytest.fixture
def opener() -> Any:
    """Openers registered by a test, which are forgotten after it."""
    before = dict(nesting._openers)
    yield register_opener
    nesting._openers.clear()
    nesting._openers.update(before)


def test_an_opener_replaces_a_primitive_by_what_it_computes(opener: Any) -> None:
    def halves(eqn: JaxprEqn) -> ClosedJaxpr:
        aval: Any = eqn.invars[0].aval
        half = jax.ShapeDtypeStruct(aval.shape, aval.dtype)
        return jax.make_jaxpr(lambda x: jnp.exp(x) / (1 + jnp.exp(x)))(half)

    def f(x: Any) -> Any:
        return jax.lax.logistic(x)

    assert [e.name for e in visit(f, X)] == ["logistic"]
    opener("logistic", halves, lambda eqn: "sigmoid")
    assert facts(f, X)[0] == ("exp", "sigmoid", (), 1)
    assert [e.name for e in visit(f, X)] == ["exp", "exp", "add", "div"]
    flat = inline(jax.make_jaxpr(f)(X))
    assert primitives(flat.jaxpr) == ["exp", "exp", "add", "div"]
    np.testing.assert_allclose(jaxpr_as_fun(flat)(X)[0], f(X), rtol=1e-6)


def test_transformations_of_a_loop_are_walked() -> None:
    # Loops in a gradient: forward with stacked residuals, backward in reverse, and batched.
    gradient = jax.vmap(jax.grad(lambda x: scan(squash, x, 6)))
    found = visit(gradient, X)
    assert {(e.path, e.count) for e in found if e.path} == {(("scan",), 6)}
    assert "tanh" in {e.name for e in found}
    assert any(e.scope.startswith("vmap(transpose(jvp(") for e in found)
