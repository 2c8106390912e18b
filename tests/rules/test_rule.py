"""How rules are stated: what may be arguments and outputs, and what `Rule` tells of itself."""

from __future__ import annotations

import inspect
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet.rules import Rule, rule
from funcnet.structure import Structure
from tests.rules.examples import (
    Example,
    Pair,
    examples,
    linear,
    noise,
    noisy,
    pair,
    pick,
    sigmoid,
    unit,
)

EXAMPLES = examples()


def square(x: Any) -> Any:
    return x * x


SQUARE: dict[str, Any] = dict(
    residuals=lambda y, x: x,
    jvp=lambda x, t: 2 * x * t,
    vjp=lambda x, ct: 2 * x * ct,
)


def test_a_function_or_a_decorator() -> None:
    as_call, as_decorator = rule(square, **SQUARE), rule(**SQUARE)(square)
    for stated in (as_call, as_decorator):
        assert isinstance(stated, Rule)
        assert float(stated(3.0)) == 9.0
        assert float(jax.grad(stated)(3.0)) == 6.0
        assert float(jax.jvp(stated, (3.0,), (2.0,))[1]) == 12.0


def test_one_argument_may_have_its_rules_in_a_sequence() -> None:
    stated = rule(square, residuals=SQUARE["residuals"], jvp=[SQUARE["jvp"]], vjp=(SQUARE["vjp"],))
    assert float(jax.grad(stated)(3.0)) == 6.0
    assert stated.jvp == (SQUARE["jvp"],) and not stated.is_joint("jvp")


def test_a_rule_looks_like_its_function() -> None:
    """A number squared."""
    stated = rule(
        square, **SQUARE, formula="y = x^2", source="Euclid", structure=Structure.DIAGONAL
    )
    assert stated.__name__ == stated.name == "square"
    assert stated.__doc__ == square.__doc__ and stated.__module__ == __name__
    assert inspect.signature(stated) == inspect.signature(square)
    assert repr(stated) == "<rule square(x: 'Any') -> 'Any'>"
    assert (stated.formula, stated.source) == ("y = x^2", "Euclid")
    assert stated.argument_names == ("x",) and stated.static_argnames == ()
    assert stated.structure == (Structure.DIAGONAL,) and stated.primal is square
    assert linear.structure == (Structure.KRONECKER,) * 2
    assert unit.argument_names == ("x", "scale", "shift") and unit.static_argnames == ("power",)
    assert unit.is_joint("jvp") and unit.is_joint("vjp")


def test_numbers_and_numpy_arrays_are_arguments() -> None:
    for x in (3, 3.0, np.float32(3), np.ones(2, np.float32)):
        y = rule(square, **SQUARE)(x)
        assert isinstance(y, jax.Array) and np.all(y == np.square(x))
    assert rule(square, **SQUARE)(3.0).weak_type


def test_a_list_is_a_tree_of_numbers() -> None:
    with pytest.raises(TypeError):
        rule(square, **SQUARE)([1.0, 2.0])


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_value_is_the_functions(name: str) -> None:
    example: Example = EXAMPLES[name]
    wanted = jax.jit(lambda: example.rule.primal(*example.args, **example.kwargs))()
    got = example.rule(*example.args, **example.kwargs)
    chex.assert_trees_all_equal_structs(got, wanted)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, wanted)


def test_static_arguments_by_position_by_name_and_by_default() -> None:
    args = EXAMPLES["unit"].args
    default, named, positional = unit(*args), unit(*args, power=1), unit(*args, 1)
    np.testing.assert_array_equal(default, named)
    np.testing.assert_array_equal(default, positional)
    squared = jax.grad(lambda x: unit(x, *args[1:], power=2).sum())(args[0])
    assert not np.allclose(squared, jax.grad(lambda x: unit(x, *args[1:]).sum())(args[0]))


def test_arguments_by_name() -> None:
    x, w = EXAMPLES["linear"].args
    np.testing.assert_array_equal(linear(w=w, x=x), linear(x, w))
    gradient = jax.grad(lambda w: linear(w=w, x=x).sum())(w)
    np.testing.assert_allclose(gradient, jax.grad(lambda w: (x @ w).sum())(w), rtol=1e-6)


def test_trees_in_and_out() -> None:
    p, factor = EXAMPLES["pair"].args

    def loss(p: Pair, factor: Any) -> Any:
        y = pair(p, factor)
        return y["product"].sum() + (y["scaled"][0] ** 2).sum()

    def plain(p: Pair, factor: Any) -> Any:
        return (p.first * p.second).sum() + ((factor * p.first) ** 2).sum()

    got, wanted = (jax.grad(f, (0, 1))(p, factor) for f in (loss, plain))
    assert isinstance(got[0], Pair)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, wanted)
    y = pair(p, factor)
    assert y["scaled"][1].dtype == jnp.int32 and int(y["scaled"][1]) == 3


def test_one_leaf_of_a_tree_is_differentiated() -> None:
    p, factor = EXAMPLES["pair"].args
    product = jax.grad(lambda second: pair(p._replace(second=second), factor)["product"].sum())
    np.testing.assert_allclose(product(p.second), p.first)


def test_an_integer_output_has_a_float0_tangent() -> None:
    _, tangents = jax.jvp(pair, EXAMPLES["pair"].args, EXAMPLES["pair"].args)
    assert tangents["scaled"][1].dtype == jax.dtypes.float0


def test_integer_arguments_have_float0_cotangents() -> None:
    logits, labels = EXAMPLES["pick"].args
    y, pullback = jax.vjp(pick, logits, labels)
    back, none = pullback(jnp.ones_like(y))
    assert none.dtype == jax.dtypes.float0
    np.testing.assert_array_equal(back, jax.nn.one_hot(labels, 4))
    zero = np.zeros(labels.shape, jax.dtypes.float0)
    assert jax.jvp(pick, (logits, labels), (logits, zero))[1].shape == (3,)


def test_random_keys_are_arguments() -> None:
    x, key = EXAMPLES["noisy"].args
    values = noise(key, x)
    np.testing.assert_allclose(jax.grad(lambda x: noisy(x, key, scale=3.0).sum())(x), 3 * values)
    keys = jax.random.split(key, 4)
    each = jax.vmap(jax.grad(lambda x, k: noisy(x, k).sum()), (None, 0))(x, keys)
    assert each.shape == (4, 3) and len(np.unique(each)) == 12


def test_keyword_only_arrays_defaults_and_none() -> None:
    x, key = EXAMPLES["noisy"].args
    values = noise(key, x)
    np.testing.assert_allclose(noisy(x, key), 2 * values * x, rtol=1e-6)
    slope = jax.grad(lambda s: noisy(x, key, scale=s).sum())(jnp.float32(1.0))
    np.testing.assert_allclose(slope, (values * x).sum(), rtol=1e-6)
    mask = jnp.array([True, False, True])
    masked = jax.grad(lambda x: noisy(x, key, mask=mask).sum())(x)
    np.testing.assert_allclose(masked, jnp.where(mask, 2 * values, 0))


def test_any_number_of_arguments() -> None:
    @rule(
        residuals=lambda y, xs: [x.size for x in xs],
        jvp=lambda kept, ts: jnp.concatenate(ts),
        vjp=lambda kept, ct: tuple(jnp.split(ct, np.cumsum([int(k) for k in SIZES])[:-1])),
    )
    def join(*xs: Any) -> Any:
        return jnp.concatenate(xs)

    xs = [jnp.arange(n, dtype=jnp.float32) for n in SIZES]
    back = jax.grad(lambda *xs: (join(*xs) ** 2).sum(), (0, 1, 2))(*xs)
    jax.tree.map(lambda b, x: np.testing.assert_array_equal(b, 2 * x), list(back), xs)


SIZES = (1, 2, 3)


def test_no_arguments_to_differentiate() -> None:
    @rule(residuals=lambda y, n: (), jvp=(None,), vjp=(None,))
    def parity(n: Any) -> Any:
        return n % 2

    assert int(parity(3)) == 1 and jax.jit(parity)(jnp.arange(3)).shape == (3,)


def test_residuals_may_hold_anything_that_is_a_tree() -> None:
    stated = rule(
        square,
        residuals=lambda y, x: {"kept": (x, None, [2.0]), "unused": jnp.exp(x)},
        jvp=lambda kept, t: kept["kept"][2][0] * kept["kept"][0] * t,
        vjp=lambda kept, ct: kept["kept"][2][0] * kept["kept"][0] * ct,
    )
    assert float(jax.grad(stated)(3.0)) == 6.0
    assert float(jax.hessian(stated)(3.0)) == 2.0


def test_a_rule_calls_rules() -> None:
    layer = rule(
        lambda x, w: sigmoid(linear(x, w)),
        residuals=lambda y, x, w: (y, x, w),
        jvp=(
            lambda kept, t: linear(t, kept[2]) * kept[0] * (1 - kept[0]),
            lambda kept, t: linear(kept[1], t) * kept[0] * (1 - kept[0]),
        ),
        vjp=(
            lambda kept, ct: linear(ct * kept[0] * (1 - kept[0]), kept[2].T),
            lambda kept, ct: linear(kept[1].T, ct * kept[0] * (1 - kept[0])),
        ),
    )
    x, w = EXAMPLES["linear"].args
    got = jax.hessian(lambda w: layer(x, w).sum())(w)
    wanted = jax.hessian(lambda w: jax.nn.sigmoid(x @ w).sum())(w)
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_a_method_and_a_partial_can_be_rules() -> None:
    class Scale:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        def __call__(self, x: Any) -> Any:
            return self.factor * x

    double = Scale(2.0)
    stated = rule(
        double, residuals=lambda y, x: (), jvp=lambda _, t: 2 * t, vjp=lambda _, ct: 2 * ct
    )
    assert stated.name == "Scale" and float(jax.grad(stated)(1.0)) == 2.0


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_custom_vjp_twin_is_the_same_rule(name: str) -> None:
    example: Example = EXAMPLES[name]
    twin = example.rule.custom_vjp
    assert twin is example.rule.custom_vjp and twin.__name__ == example.rule.name

    def loss(function: Any) -> Any:
        def total(x: Any) -> Any:
            y = function(x, *example.args[1:], **example.kwargs)
            return sum(
                jnp.sin(leaf).sum() for leaf in jax.tree.leaves(y) if leaf.dtype != jnp.int32
            )

        return jax.jit(jax.value_and_grad(total))(example.args[0])

    got, wanted = loss(twin), loss(example.rule)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, wanted)


def test_the_twin_is_a_plain_custom_vjp() -> None:
    jaxpr = str(jax.make_jaxpr(sigmoid.custom_vjp)(1.0))
    assert "custom_vjp_call" in jaxpr and "rule[" not in jaxpr
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(sigmoid.custom_vjp, (1.0,), (1.0,))


def test_twins_of_static_settings_differ() -> None:
    args = EXAMPLES["unit"].args
    one, two = (unit.custom_vjp(*args, power=power) for power in (1, 2))
    assert not np.allclose(one, two)


def test_stop_gradient_stops() -> None:
    assert float(jax.grad(lambda x: sigmoid(lax.stop_gradient(x)) * x)(0.0)) == 0.5
