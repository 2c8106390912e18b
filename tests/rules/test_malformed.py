"""A rule that is wrong in form is an error at trace time, which says what and where."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from funcnet.errors import RuleError
from funcnet.rules import Rule, rule
from funcnet.structure import Structure

GOOD: dict[str, Any] = dict(
    residuals=lambda y, x, w: (x, w),
    jvp=(lambda kept, t: t @ kept[1], lambda kept, t: kept[0] @ t),
    vjp=(lambda kept, ct: ct @ kept[1].T, lambda kept, ct: kept[0].T @ ct),
)
JOINT: dict[str, Any] = dict(
    residuals=GOOD["residuals"],
    jvp=lambda kept, t, live: t[0] @ kept[1] + kept[0] @ t[1],
    vjp=lambda kept, ct, live: (ct @ kept[1].T, kept[0].T @ ct),
)
SHAPES = jax.ShapeDtypeStruct((3, 2), jnp.float32), jax.ShapeDtypeStruct((2, 4), jnp.float32)


def product(x: Any, w: Any) -> Any:
    return x @ w


def stated(**changed: Any) -> Rule:
    return Rule(product, **(GOOD | changed))


def joint(**changed: Any) -> Rule:
    return Rule(product, **(JOINT | changed))


def forward(r: Any) -> Any:
    return jax.eval_shape(lambda x, w: jax.jvp(r, (x, w), (x, w)), *SHAPES)


def reverse(r: Any) -> Any:
    return jax.eval_shape(jax.grad(lambda x, w: r(x, w).sum(), (0, 1)), *SHAPES)


def raises(text: str) -> Any:
    return pytest.raises(RuleError, match="^" + re.escape(text))


def test_the_good_ones_are_good() -> None:
    for r in (stated(), joint()):
        forward(r)
        reverse(r)


# Found when the rule is stated


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_a_wrong_number_of_rules(kind: str) -> None:
    with raises(f"product: {kind} has 1 rules, but there are 2 arguments (x, w); give None"):
        stated(**{kind: (GOOD[kind][0],)})
    with raises(f"product: {kind} must be a callable, or one callable or None per argument"):
        stated(**{kind: (GOOD[kind][0], "x")})
    with raises(f"product: {kind} must be a callable"):
        stated(**{kind: None})


def test_a_wrong_number_of_structures() -> None:
    with raises("product: structure has 1 entries, but there are 2 arguments (x, w)"):
        stated(structure=[Structure.DENSE])


def test_unknown_static_argnames() -> None:
    with raises(
        "product: static_argnames has 'axis', but product(x: 'Any', w: 'Any') -> 'Any' has not"
    ):
        stated(static_argnames=("w", "axis"))


def test_arguments_without_names() -> None:
    with raises("options: a rule cannot take **settings; name its arguments"):

        @rule(residuals=lambda y, x: x, jvp=lambda x, t: t, vjp=lambda x, ct: ct)
        def options(x: Any, **settings: Any) -> Any:
            return x


# Found when it is traced


@pytest.mark.parametrize(
    ("index", "name", "wrong", "came"),
    [
        (0, "x", lambda kept, ct: kept[0].T @ ct, "float32[2,4]"),
        (1, "w", lambda kept, ct: ct, "float32[3,4]"),
        (0, "x", lambda kept, ct: (ct @ kept[1].T).astype(jnp.float16), "float16[3,2]"),
        (1, "w", lambda kept, ct: (kept[0].T @ ct).astype(jnp.int32), "int32[2,4]"),
        (0, "x", lambda kept, ct: None, "None"),
        (1, "w", lambda kept, ct: 0.0, "0.0"),
        (0, "x", lambda kept, ct: (ct @ kept[1].T,), "tuple of 1 (float32[3,2])"),
        (1, "w", lambda kept, ct: {"w": ct}, "{'w': "),
    ],
)
def test_a_cotangent_of_the_wrong_form(index: int, name: str, wrong: Any, came: str) -> None:
    expected = "float32[3,2]" if name == "x" else "float32[2,4]"
    vjp = [*GOOD["vjp"]]
    vjp[index] = wrong
    bad = stated(vjp=vjp)
    with pytest.raises(RuleError) as caught:
        reverse(bad)
    message = str(caught.value)
    assert message.startswith(f"product: its vjp for '{name}' must return"), message
    assert f"it returned {came}" in message
    assert expected in message or "like" in message
    both = [*JOINT["vjp"](*[(jnp.ones((3, 2)), jnp.ones((2, 4))), jnp.ones((3, 4)), (True, True)])]
    assert len(both) == 2

    def joint_vjp(kept: Any, ct: Any, live: Any) -> Any:
        back = [one(kept, ct) for one in GOOD["vjp"]]
        back[index] = wrong(kept, ct)
        return back

    with pytest.raises(RuleError, match=f"^product: its vjp for '{name}' must return"):
        reverse(joint(vjp=joint_vjp))


@pytest.mark.parametrize(
    ("wrong", "came"),
    [
        (lambda kept, t: t, "float32[3,2]"),
        (lambda kept, t: (t @ kept[1]).astype(jnp.bfloat16), "bfloat16[3,4]"),
        (lambda kept, t: (t @ kept[1]) > 0, "bool[3,4]"),
        (lambda kept, t: None, "None"),
        (lambda kept, t: [t @ kept[1]], "list of 1 (float32[3,4])"),
        (lambda kept, t: 1.0, "1.0"),
    ],
)
def test_a_tangent_of_the_wrong_form(wrong: Any, came: str) -> None:
    bad = stated(jvp=(wrong, GOOD["jvp"][1]))
    with pytest.raises(RuleError) as caught:
        forward(bad)
    message = str(caught.value)
    assert message.startswith("product: its jvp for 'x' must return"), message
    assert f"it returned {came}" in message and ("float32[3,4]" in message or "like" in message)
    with pytest.raises(RuleError, match=r"^product: its jvp must return"):
        forward(joint(jvp=lambda kept, t, live: wrong(kept, t[0])))


@pytest.mark.parametrize(
    ("back", "came"),
    [
        (lambda kept, ct: (ct @ kept[1].T,), "tuple of 1 (float32[3,2])"),
        (lambda kept, ct: [ct, ct, ct], "list of 3 (float32[3,4], float32[3,4], float32[3,4])"),
        (lambda kept, ct: ct, "float32[3,4]"),
        (lambda kept, ct: None, "None"),
    ],
)
def test_a_wrong_number_of_cotangents(back: Any, came: str) -> None:
    bad = joint(vjp=lambda kept, ct, live: back(kept, ct))
    with raises(
        "product: its vjp must return 2 cotangents (x, w; None for one not live), it returned "
        + came
    ):
        reverse(bad)


@pytest.mark.parametrize(
    ("residuals", "error"),
    [
        (lambda y, x, w: (x,), "IndexError: tuple index out of range"),
        (lambda y, x, w: {0: x}, "KeyError: 1"),
        (lambda y, x, w: None, "TypeError: 'NoneType' object is not subscriptable"),
    ],
)
def test_a_forgotten_residual(residuals: Any, error: str) -> None:
    with raises(f"product: its jvp for 'x' failed with {error}"):
        forward(stated(residuals=residuals))
    with raises(f"product: its jvp failed with {error}"):
        forward(joint(residuals=residuals))
    stated_backwards = stated(residuals=residuals, jvp=_guess, vjp=GOOD["vjp"])
    with raises(f"product: its vjp for 'x' failed with {error}"):
        reverse(stated_backwards)


_guess = (
    lambda kept, t: jnp.zeros((3, 4)),
    lambda kept, t: jnp.zeros((3, 4)),
)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(residuals=lambda y, x: x), "product: its residuals failed with TypeError: "),
        (
            dict(residuals=lambda y, x, w: x.keep),
            "product: its residuals failed with AttributeError",
        ),
        (dict(jvp=(lambda t: t, None)), "product: its jvp for 'x' failed with TypeError: "),
        (dict(jvp=(lambda k, t: t @ t, None)), "product: its jvp for 'x' failed with TypeError: "),
    ],
)
def test_a_callable_that_fails(changed: Any, message: str) -> None:
    with raises(message):
        forward(stated(**changed))


def test_an_argument_without_a_rule_is_differentiated() -> None:
    half = stated(jvp=(GOOD["jvp"][0], None), vjp=(GOOD["vjp"][0], None))
    jax.eval_shape(jax.grad(lambda x, w: half(x, w).sum()), *SHAPES)
    for run in (forward, reverse):
        with raises("product: its jvp for 'w' was asked for, but is None: 'w' has no derivative;"):
            run(half)
    with raises("product: its vjp for 'w' was asked for, but is None: 'w' has no derivative;"):
        reverse(stated(vjp=(GOOD["vjp"][0], None)))


def test_a_traced_value_from_outside_the_function() -> None:
    @jax.jit
    def outer(scale: Any) -> Any:
        scaled = rule(
            lambda x: scale * x, residuals=lambda y, x: x, jvp=lambda x, t: t, vjp=lambda x, ct: ct
        )
        return scaled(1.0)

    with raises(
        "<lambda>: its function closes over a traced value, whose derivative no rule states;"
    ):
        outer(2.0)


def test_a_traced_value_from_outside_a_callable() -> None:
    def outer(scale: Any) -> Any:
        scaled = rule(
            lambda x: 2 * x,
            residuals=lambda y, x: (),
            jvp=lambda _, t: scale * t,
            vjp=lambda _, ct: scale * ct,
        )
        return jax.grad(scaled)(1.0)

    assert float(outer(2.0)) == 2.0
    for transform in (jax.jit, jax.grad, jax.vmap):
        with raises(
            "<lambda>: its jvp closes over a traced value, whose derivative no rule states;"
        ):
            transform(outer)(jnp.ones(3) if transform is jax.vmap else 2.0)


def test_errors_of_the_function_itself_are_left_alone() -> None:
    with pytest.raises(TypeError, match="dot_general requires") as caught:
        stated()(jnp.ones((3, 2)), jnp.ones((3, 4)))
    assert not isinstance(caught.value, RuleError)


def test_errors_come_at_trace_time_and_in_every_transformation() -> None:
    bad = stated(vjp=(lambda kept, ct: ct, GOOD["vjp"][1]))
    x, w = jnp.ones((3, 2)), jnp.ones((2, 4))
    loss = jax.grad(lambda x: bad(x, w).sum())
    for run in (loss, jax.jit(loss), jax.checkpoint(loss)):
        with raises("product: its vjp for 'x' must return float32[3,2]; it returned float32[3,4]"):
            run(x)
    with raises("product: its vjp for 'x' must return"):
        jax.vmap(loss)(x[None])
