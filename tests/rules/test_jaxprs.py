"""What rules look like to JAX: recognisable, traced once, and no heavier than plain JAX."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from funcnet.rules import Rule, linear_map_p, rule, rule_p
from tests.rules.examples import examples, linear, sigmoid, unit

X, W = jnp.ones((16, 4)), jnp.ones((4, 8))


def equations(jaxpr: Any) -> list[Any]:
    """All equations, also inside of others; the tests do not trust the library's walker."""
    found = []
    for eqn in jaxpr.eqns:
        found.append(eqn)
        for value in eqn.params.values():
            for item in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(item, "jaxpr", item)
                if hasattr(inner, "eqns"):
                    found += equations(inner)
    return found


def rules_in(function: Callable[..., Any], *args: Any) -> dict[str, set[Rule]]:
    found: dict[str, set[Rule]] = {"rule": set(), "linear_map": set()}
    for eqn in equations(jax.make_jaxpr(function)(*args).jaxpr):
        if eqn.primitive is rule_p:
            found["rule"].add(eqn.params["application"].origin)
        if eqn.primitive is linear_map_p:
            found["linear_map"].add(eqn.params["linear"].origin)
    return found


def loss(x: Any, w: Any) -> Any:
    return jnp.sum(sigmoid(linear(x, w)))


def scanned(x: Any, w: Any) -> Any:
    return lax.scan(lambda c, row: (c + loss(row[None], w), None), jnp.float32(0.0), x)[0]


# Recognisable


@pytest.mark.parametrize(
    "wrap",
    [
        lambda f: f,
        jax.jit,
        jax.checkpoint,
        lambda f: lambda x, w: jax.vmap(f, (0, None))(x[:, None], w),
        lambda f: jax.jit(lambda x, w: jax.vmap(jax.jit(f), (None, 0))(x, w[None])),
        lambda f: scanned,
        lambda f: lambda x, w: lax.cond(True, f, f, x, w),
        lambda f: lambda x, w: lax.map(lambda row: f(row[None], w), x),
    ],
)
def test_a_rule_is_recognised_inside_of_everything(wrap: Any) -> None:
    f = wrap(loss)
    assert rules_in(f, X, W)["rule"] == {sigmoid, linear}


@pytest.mark.parametrize(
    "derive",
    [
        jax.grad,
        jax.hessian,
        lambda f: jax.jit(jax.grad(f)),
        lambda f: jax.vmap(jax.grad(lambda x, w: f(x[None], w)), (0, None)),
        lambda f: lambda x, w: jax.jvp(f, (x, w), (x, w)),
        lambda f: jax.grad(scanned),
        lambda f: jax.grad(jax.checkpoint(f)),
    ],
)
def test_derivatives_are_recognised(derive: Any) -> None:
    found = rules_in(derive(loss), X, W)
    assert found["linear_map"] == {sigmoid, linear}
    assert found["rule"] <= {sigmoid, linear}


def test_the_static_settings_are_there_to_read() -> None:
    args = examples()["unit"].args
    jaxpr = jax.make_jaxpr(lambda *args: unit(*args, power=2))(*args).jaxpr
    (eqn,) = [e for e in equations(jaxpr) if e.primitive is rule_p]
    assert eqn.params["application"].static == {"power": 2}
    assert eqn.params["application"].name == "unit"


def test_names_in_the_text_of_a_jaxpr() -> None:
    text = str(jax.make_jaxpr(jax.grad(loss))(X, W))
    assert "rule[application=sigmoid]" in text
    assert "linear_map[linear=sigmoid^T]" in text and "linear_map[linear=linear^T]" in text


# What reverse mode keeps


def kept(function: Callable[..., Any], *args: Any) -> list[tuple[int, ...]]:
    return sorted(leaf.shape for leaf in jax.tree.leaves(jax.vjp(function, *args)[1]))


def test_only_what_the_live_arguments_need_is_kept() -> None:
    assert kept(linear, X, W) == [(4, 8), (16, 4)]
    assert kept(lambda w: linear(X, w), W) == [(16, 4)]
    assert kept(lambda x: linear(x, W), X) == [(4, 8)]


def test_residuals_that_no_rule_uses_are_not_kept_nor_computed() -> None:
    computed = rule(
        lambda x: 2 * x,
        residuals=lambda y, x: (jnp.exp(x), x),
        jvp=lambda kept, t: 2 * t,
        vjp=lambda kept, ct: 2 * ct,
    )
    assert kept(computed, X) == []
    assert "exp" not in str(jax.make_jaxpr(jax.grad(lambda x: computed(x).sum()))(X))


def test_residuals_that_serve_as_shapes_are_not_kept() -> None:
    flat = rule(
        lambda x: x.reshape(-1),
        residuals=lambda y, x: (x, y),
        jvp=lambda kept, t: t.reshape(kept[1].shape).astype(kept[1].dtype),
        vjp=lambda kept, ct: ct.reshape(kept[0].shape) + jnp.zeros_like(kept[0]),
    )
    assert kept(flat, X) == []
    np.testing.assert_array_equal(jax.grad(lambda x: (flat(x) ** 2).sum())(X), 2 * X)


def test_a_mask_is_kept_as_a_mask() -> None:
    ramp = rule(
        lambda x: jnp.maximum(x, 0),
        residuals=lambda y, x: y > 0,
        jvp=lambda on, t: jnp.where(on, t, 0),
        vjp=lambda on, ct: jnp.where(on, ct, 0),
    )
    (leaf,) = jax.tree.leaves(jax.vjp(ramp, X)[1])
    assert leaf.dtype == jnp.bool_


def test_unbatched_residuals_stay_unbatched() -> None:
    xs = jnp.ones((5, 16, 4))
    assert kept(lambda xs: jax.vmap(lambda x: linear(x, W))(xs), xs) == [(4, 8)]
    assert kept(lambda w: jax.vmap(lambda x: linear(x, w))(xs), W) == [(5, 16, 4)]


@pytest.mark.parametrize(
    ("policy", "hidden"),
    [
        (None, 0),
        (jax.checkpoint_policies.nothing_saveable, 0),
        (jax.checkpoint_policies.everything_saveable, 2),
        (jax.checkpoint_policies.dots_saveable, 1),
        (jax.checkpoint_policies.dots_with_no_batch_dims_saveable, 1),
    ],
)
def test_what_a_checkpoint_keeps(policy: Any, hidden: int) -> None:
    """Of linear, sigmoid, linear: the inputs always, and of the hidden arrays as many as stated."""

    def two_layers(x: Any, w: Any, v: Any) -> Any:
        return linear(sigmoid(linear(x, w)), v)

    def plain(x: Any, w: Any, v: Any) -> Any:
        return jax.nn.sigmoid(x @ w) @ v

    shapes = kept(jax.checkpoint(two_layers, policy=policy), X, W, jnp.ones((8, 5)))
    assert shapes.count((16, 8)) == hidden
    assert {(4, 8), (8, 5), (16, 4)} <= set(shapes)
    if policy is not jax.checkpoint_policies.everything_saveable:
        assert shapes == kept(jax.checkpoint(plain, policy=policy), X, W, jnp.ones((8, 5)))


def test_checkpoint_names_are_seen() -> None:
    def named(x: Any, w: Any) -> Any:
        return sigmoid(checkpoint_name(linear(x, w), "hidden"))

    save = jax.checkpoint_policies.save_only_these_names("hidden")
    assert (16, 8) in kept(jax.checkpoint(named, policy=save), X, W)
    assert (16, 8) not in kept(jax.checkpoint(named), X, W)


# No cost


def compiled(function: Callable[..., Any], *args: Any) -> tuple[float, int]:
    """FLOPs and bytes of temporary memory."""
    program = jax.jit(function).lower(*args).compile()
    analysis: Any = program.cost_analysis()
    memory: Any = program.memory_analysis()
    return analysis["flops"], memory.temp_size_in_bytes


@pytest.mark.parametrize("live", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("mode", ["grad", "jvp"])
def test_arguments_that_are_not_differentiated_cost_nothing(live: Any, mode: str) -> None:
    x, w = jnp.ones((64, 32)), jnp.ones((32, 48))

    def derivative(product: Any) -> Callable[..., Any]:
        def f(x: Any, w: Any) -> Any:
            return jnp.sum(jnp.sin(product(x, w)))

        def forward(x: Any, w: Any) -> Any:
            given = (x, w)
            moving = tuple(given[i] for i in live)
            rest = {1 - i: given[1 - i] for i in live} if len(live) == 1 else {}

            def moved(*points: Any) -> Any:
                values = dict(zip(live, points, strict=True)) | rest
                return f(values[0], values[1])

            return jax.jvp(moved, moving, moving)

        return forward if mode == "jvp" else jax.value_and_grad(f, live)

    got = compiled(derivative(linear), x, w)
    assert got == compiled(derivative(lambda x, w: x @ w), x, w)


def test_one_gradient_costs_less_than_two() -> None:
    x, w = jnp.ones((64, 32)), jnp.ones((32, 48))
    f = jax.grad(lambda w, x: jnp.sum(jnp.sin(linear(x, w))))
    both = jax.grad(lambda w, x: jnp.sum(jnp.sin(linear(x, w))), (0, 1))
    product = 2 * 64 * 32 * 48
    assert compiled(both, w, x)[0] - compiled(f, w, x)[0] == pytest.approx(product, rel=0.01)


def counted(function: Any, calls: list[str], name: str) -> Any:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return function(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize(
    "use",
    [
        lambda f: f,
        jax.jit,
        jax.vmap,
        lambda f: jax.grad(lambda x: f(x).sum()),
        lambda f: lambda x: jax.jvp(f, (x,), (x,)),
        lambda f: jax.vmap(jax.grad(f)),
        lambda f: jax.hessian(lambda x: f(x).sum()),
        lambda f: jax.jit(jax.grad(lambda x: f(x).sum())),
        lambda f: jax.grad(lambda x: lax.scan(lambda c, v: (c, f(v)), 0.0, x)[1].sum()),
        lambda f: jax.grad(jax.checkpoint(lambda x: f(x).sum())),
    ],
)
def test_no_retracing_between_calls(use: Any) -> None:
    """The author's functions run once for each shape, also outside of jit."""
    calls: list[str] = []
    derived = use(_counting_rule(calls))
    derived(jnp.ones(3))
    first = len(calls)
    assert first > 0
    for value in (1.0, 2.0):
        derived(value * jnp.ones(3))
    assert calls[first:] == []


def _counting_rule(calls: list[str]) -> Rule:
    def square(x: Any) -> Any:
        calls.append("primal")
        return x * x

    return rule(
        square,
        residuals=counted(lambda y, x: x, calls, "residuals"),
        jvp=counted(lambda x, t: 2 * x * t, calls, "jvp"),
        vjp=counted(lambda x, ct: 2 * x * ct, calls, "vjp"),
    )


def test_a_new_shape_is_traced_and_an_old_one_remembered() -> None:
    calls: list[str] = []
    square = _counting_rule(calls)
    for n in (3, 4, 3, 4):
        jax.grad(lambda x: square(x).sum())(jnp.ones(n))
    assert calls.count("primal") == 2 and calls.count("vjp") == 2


def python_calls(function: Callable[..., Any], *args: Any) -> list[str]:
    """The Python functions that one call runs."""
    seen: list[str] = []

    def watch(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            seen.append(frame.f_code.co_qualname)

    gc.disable()
    sys.setprofile(watch)
    try:
        function(*args)
    finally:
        sys.setprofile(None)
        gc.enable()
    return seen


@pytest.mark.parametrize(
    "function",
    [
        jax.jit(lambda x: sigmoid(x)),
        jax.jit(jax.grad(lambda x: sigmoid(x).sum())),
        jax.jit(lambda x: jax.jvp(sigmoid, (x,), (x,))),
        jax.jit(jax.vmap(jax.grad(sigmoid))),
    ],
)
def test_jitted_calls_stay_on_the_fast_path(function: Any) -> None:
    """Not one Python function runs: JAX's dispatch in C++ does everything."""
    x = jnp.ones(3)
    for _ in range(3):
        function(x)
    assert python_calls(function, x) == []
    assert function._cache_size() == 1


def test_an_eager_call_is_one_jitted_call() -> None:
    x = jnp.ones(3)
    for _ in range(3):
        sigmoid(x)
    assert python_calls(sigmoid, x) == ["Rule.__call__"]
