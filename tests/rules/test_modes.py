"""Which of the two written rules runs: a rule that is bent in one mode shows it there and nowhere
else.

The example refers to itself in its rules, so that every derivative of every order runs a written
rule. If then `jvp` is off by a factor F and `vjp` by a factor R, a derivative must be off by
exactly one factor for each derivative taken: F for each that is taken forwards, R for each taken in
reverse.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet.rules import Rule, rule
from tests.bending import Place, bend
from tests.rules.examples import examples

FORWARD, REVERSE = 1.001, 1.003
X = 0.7
BENDS = {"jvp": (FORWARD, 1.0), "vjp": (1.0, REVERSE), "both": (FORWARD, REVERSE)}
NESTINGS = [modes for order in (1, 2, 3) for modes in itertools.product("FR", repeat=order)]

Function = Callable[[Any], Any]


def from_the_input(forward: float, reverse: float) -> Rule:
    """A sigmoid that keeps its input and is written with itself."""
    sigmoid = rule(
        lambda x: lax.logistic(x),
        residuals=lambda y, x: x,
        jvp=lambda x, t: forward * t * sigmoid(x) * sigmoid(-x),
        vjp=lambda x, ct: reverse * ct * sigmoid(x) * sigmoid(-x),
    )
    return sigmoid


def from_the_output(forward: float, reverse: float) -> Rule:
    """A sigmoid that keeps its output."""
    return rule(
        lambda x: lax.logistic(x),
        residuals=lambda y, x: y,
        jvp=lambda y, t: forward * t * y * (1 - y),
        vjp=lambda y, ct: reverse * ct * y * (1 - y),
    )


def joint(forward: float, reverse: float) -> Rule:
    """The same, stated as joint rules."""
    return rule(
        lambda x, nothing: lax.logistic(x) + nothing,
        residuals=lambda y, x, nothing: y - nothing,
        jvp=lambda y, t, live: forward * t[0] * y * (1 - y) + (t[1] if live[1] else 0),
        vjp=lambda y, ct, live: (reverse * ct * y * (1 - y), ct if live[1] else None),
    )


def differentiate(f: Function, modes: tuple[str, ...]) -> Function:
    """Apply one derivative after another; the outermost stands first in `modes`."""
    operators: dict[str, Function] = {"F": _forward, "R": jax.grad}
    for mode in reversed(modes):
        f = operators[mode](f)
    return f


def _forward(f: Function) -> Function:
    return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


def expected(modes: tuple[str, ...], bends: tuple[float, float]) -> float:
    y = 1 / (1 + math.exp(-X))
    true = (1, 1 - 2 * y, 1 - 6 * y + 6 * y * y)[len(modes) - 1] * y * (1 - y)
    return true * math.prod(bends["FR".index(mode)] for mode in modes)


@pytest.fixture(autouse=True)
def in_float64(x64: None) -> None:
    """A factor of 1.001 to the third is told from 1.003 by its seventh digit."""


def check(f: Function, bends: tuple[float, float], nestings: Any = NESTINGS) -> None:
    """All nestings in one compilation."""
    got = jax.jit(lambda x: [differentiate(f, modes)(x) for modes in nestings])(X)
    for modes, value in zip(nestings, got, strict=True):
        name = "".join(modes)
        np.testing.assert_allclose(value, expected(modes, bends), rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("bent", BENDS)
@pytest.mark.parametrize("make", [from_the_input, from_the_output, joint])
def test_each_derivative_runs_the_rule_of_its_mode(make: Any, bent: str) -> None:
    stated = make(*BENDS[bent])
    check((lambda x: stated(x, 0.0)) if make is joint else stated, BENDS[bent])


@pytest.mark.parametrize("modes", NESTINGS[:6], ids="".join)
def test_without_jit(modes: tuple[str, ...]) -> None:
    got = differentiate(from_the_input(*BENDS["both"]), modes)(X)
    np.testing.assert_allclose(got, expected(modes, BENDS["both"]), rtol=1e-12)


COMPOSED: dict[str, Callable[[Function], Function]] = {
    "alone": lambda f: f,
    "in itself": lambda f: lambda x: f(f(f(x))),
    "in a product": lambda f: lambda x: f(x) * f(2 * x) * jnp.sin(x),
    "in a network": lambda f: lambda x: _network(f, x),
}


def _network(f: Function, x: Any) -> Any:
    weights = jnp.linspace(-1.0, 2.0, 8).reshape(2, 2, 2)
    hidden = lax.scan(lambda h, w: (f(w @ h), None), jnp.stack([x, 1 - x]), weights)[0]
    return jnp.sum(hidden**2)


@pytest.mark.parametrize("bent", ["jvp", "vjp"])
@pytest.mark.parametrize("where", COMPOSED)
def test_the_other_mode_does_not_see_it_at_all(where: str, bent: str) -> None:
    """Bit for bit, at orders one, two and three, also where a cotangent depends on the input."""
    place = COMPOSED[where]
    f, straight = place(from_the_input(*BENDS[bent])), place(from_the_input(1.0, 1.0))
    own, other = ("F", "R") if bent == "jvp" else ("R", "F")
    for order in (1, 2) if where == "in a network" else (1, 2, 3):
        got, wanted = (jax.jit(differentiate(g, (other,) * order))(X) for g in (f, straight))
        assert float(got) == float(wanted)
        seen = jax.jit(differentiate(f, (own,) * order))(X)
        assert abs(float(seen) / float(wanted) - 1) > 1e-4


WRAPPERS: dict[str, Callable[[Function], Function]] = {
    "vmap": lambda f: lambda x: jax.vmap(f)(x[None])[0],
    "vmap of two": lambda f: lambda x: jax.vmap(jax.vmap(f))(x[None, None])[0, 0],
    "checkpoint": jax.checkpoint,
    "checkpoint that saves all": lambda f: jax.checkpoint(
        f, policy=jax.checkpoint_policies.everything_saveable
    ),
    "scan": lambda f: lambda x: lax.scan(lambda c, _: (f(c), None), x, length=1)[0],
    "map": lambda f: lambda x: lax.map(f, x[None])[0],
    "cond": lambda f: lambda x: lax.cond(x > 0, f, lambda x: 0.0 * x, x),
    "jit": jax.jit,
    "linearize": lambda f: lambda x: _through_linearize(f, x),
    "custom_jvp around": lambda f: _inside_custom_jvp(f),
}


def _through_linearize(f: Function, x: Any) -> Any:
    """Equal to f up to second order: its value, and its slope from `jax.linearize`."""
    y, push = jax.linearize(f, lax.stop_gradient(x))
    return y + push(x - lax.stop_gradient(x))


def _inside_custom_jvp(f: Function) -> Function:
    outer = jax.custom_jvp(f)
    outer.defjvp(lambda primals, tangents: jax.jvp(f, primals, tangents))
    return outer


@pytest.mark.parametrize("name", WRAPPERS)
def test_under_transformations(name: str) -> None:
    f = WRAPPERS[name](from_the_input(*BENDS["both"]))
    # A linearized function has one derivative, taken forwards.
    check(f, BENDS["both"], [("F",)] if name == "linearize" else NESTINGS[:6])


def test_vmap_outside() -> None:
    f = from_the_input(*BENDS["both"])
    derivatives = jax.vmap(lambda x: [differentiate(f, modes)(x) for modes in NESTINGS])
    for modes, got in zip(NESTINGS, jax.jit(derivatives)(jnp.full(3, X)), strict=True):
        np.testing.assert_allclose(got, [expected(modes, BENDS["both"])] * 3, rtol=1e-12)


def test_while_loops_go_forwards() -> None:
    f = from_the_input(*BENDS["both"])

    def looped(x: Any) -> Any:
        return lax.while_loop(lambda c: c[0] < 1, lambda c: (c[0] + 1, f(c[1])), (0, x))[1]

    got = _forward(looped)(X)
    np.testing.assert_allclose(got, expected(("F",), BENDS["both"]), rtol=1e-12)


PUBLIC: dict[str, tuple[Callable[[Function], Any], tuple[str, ...]]] = {
    "jacfwd": (lambda f: jax.jacfwd(f)(X), ("F",)),
    "jacrev": (lambda f: jax.jacrev(f)(X), ("R",)),
    "linearize": (lambda f: jax.linearize(f, X)[1](1.0), ("F",)),
    "vjp": (lambda f: jax.vjp(f, X)[1](1.0)[0], ("R",)),
    "value_and_grad": (lambda f: jax.value_and_grad(f)(X)[1], ("R",)),
    "hessian": (lambda f: jax.hessian(f)(X), ("F", "R")),
    "a transposed tangent map": (
        lambda f: jax.linear_transpose(lambda t: jax.jvp(f, (X,), (t,))[1], X)(1.0)[0],
        ("R",),
    ),
    "a transposed linearization": (
        lambda f: jax.linear_transpose(jax.linearize(f, X)[1], X)(1.0)[0],
        ("R",),
    ),
    "a transposed transpose": (
        lambda f: jax.linear_transpose(lambda ct: jax.vjp(f, X)[1](ct)[0], X)(1.0)[0],
        ("R",),
    ),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_way_to_differentiate(name: str) -> None:
    run, modes = PUBLIC[name]
    got = run(from_the_input(*BENDS["both"]))
    np.testing.assert_allclose(got, expected(modes, BENDS["both"]), rtol=1e-12)


def test_code_without_written_rules_is_differentiated_by_jax() -> None:
    """A product written with ``*``: only the innermost derivative is a rule's."""
    times = rule(
        lambda a, b: a * b,
        residuals=lambda y, a, b: (a, b),
        jvp=(lambda k, t: FORWARD * t * k[1], lambda k, t: FORWARD * k[0] * t),
        vjp=(lambda k, ct: REVERSE * ct * k[1], lambda k, ct: REVERSE * ct * k[0]),
    )
    for outer in "FR":
        for inner, factor in (("F", FORWARD), ("R", REVERSE)):
            got = differentiate(lambda x: times(x, x), (outer, inner))(X)
            np.testing.assert_allclose(got, 2 * factor, rtol=1e-12)


@pytest.mark.parametrize("name", ["linear", "unit", "pair", "pick", "noisy"])
@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_each_argument_runs_its_own_rule(name: str, kind: str) -> None:
    """A bend for one argument shows in its derivative, in that mode, and in no other."""
    example = examples()[name]
    straight = example.rule
    floating = [
        i for i, leaf in enumerate(example.args) if jax.tree.leaves(leaf)[0].dtype == jnp.float64
    ]
    wanted = _first_derivatives(straight, example, floating)
    for bent_at in floating:
        bent = bend(straight, Place(kind, straight.argument_names[bent_at]))
        for place, got in _first_derivatives(bent, example, floating).items():
            factor = 1.001 if place == f"{kind} {bent_at}" else 1.0
            for one, other in zip(*map(jax.tree.leaves, (got, wanted[place])), strict=True):
                np.testing.assert_allclose(one, factor * other, rtol=1e-9, err_msg=place)


def _first_derivatives(r: Rule, example: Any, indices: list[int]) -> dict[str, Any]:
    @jax.jit
    def compute(args: Any) -> dict[str, Any]:
        found = {}
        for index in indices:

            def f(x: Any, index: int = index) -> list[Any]:
                y = r(*args[:index], x, *args[index + 1 :], **example.kwargs)
                return [leaf for leaf in jax.tree.leaves(y) if leaf.dtype == jnp.float64]

            x = args[index]
            found[f"jvp {index}"] = jax.jvp(f, (x,), (jax.tree.map(jnp.cos, x),))[1]
            y, pullback = jax.vjp(f, x)
            found[f"vjp {index}"] = pullback(jax.tree.map(jnp.cos, y))[0]
        return found

    return compute(example.args)
