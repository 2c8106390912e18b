"""Loops of unknown length: every derivative against the same loop unrolled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import grad, hessian, jacfwd, jacrev, jit, jvp, lax, linearize, vmap

from funcnet.control_flow import fori_loop, while_loop
from funcnet.graph import trace
from funcnet.jacobian import jacobian
from tests.control_flow.programs import (
    SCALE,
    STATE,
    Function,
    counted,
    looped,
    scanned,
    selected,
    step,
    unrolled,
)


@pytest.fixture(autouse=True)
def in_float64(x64: None) -> None:
    """So that rounding stays far below what the tests are after."""


def agree(found: Any, expected: Any, tolerance: float = 1e-12) -> None:
    """Two trees of numbers, to a tolerance that grows with them."""
    a, b = jax.tree.leaves(found), jax.tree.leaves(expected)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        size = max(1.0, float(np.max(np.abs(y), initial=0)))
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * size)


TANGENT = np.array([0.2, -0.4, 0.9])
OTHER = np.array([1.0, 0.3, -0.5])


def scalar(f: Function, steps: Any) -> Function:
    """Of all that goes in: the state, and what the step closes over."""
    return lambda x: jnp.sum(jnp.cos(f(SCALE * jnp.sum(x), x, steps)))


def vector(f: Function, steps: Any) -> Function:
    return lambda x: f(SCALE * x, x, steps)


def third(a: Function, b: Function, c: Function) -> Callable[[Function, Any], Any]:
    return lambda f, n: a(b(c(scalar(f, n))))(STATE)


MODES: dict[str, Function] = {"forward": jacfwd, "reverse": jacrev}
THIRDS = {
    f"{a} over {b} over {c}": third(MODES[a], MODES[b], MODES[c])
    for a in MODES
    for b in MODES
    for c in MODES
}
"""All third derivatives by nesting two modes."""

DERIVATIVES: dict[str, Callable[[Function, Any], Any]] = {
    "value": lambda f, n: vector(f, n)(STATE),
    "jvp": lambda f, n: jvp(vector(f, n), (STATE,), (TANGENT,)),
    "jacfwd": lambda f, n: jacfwd(vector(f, n))(STATE),
    "linearize": lambda f, n: linearize(vector(f, n), STATE)[1](TANGENT),
    "grad": lambda f, n: grad(scalar(f, n))(STATE),
    "jacrev": lambda f, n: jacrev(vector(f, n))(STATE),
    "grad by the constants alone": lambda f, n: grad(lambda s: f(s, STATE, n).sum())(SCALE),
    "jvp of grad": lambda f, n: jvp(grad(scalar(f, n)), (STATE,), (TANGENT,)),
    "grad of grad": lambda f, n: grad(lambda x: grad(scalar(f, n))(x) @ OTHER)(STATE),
    "grad of jvp": lambda f, n: grad(lambda x: jvp(scalar(f, n), (x,), (TANGENT,))[1])(STATE),
    "jvp of jvp": lambda f, n: jvp(
        lambda x: jvp(scalar(f, n), (x,), (TANGENT,))[1], (STATE,), (OTHER,)
    ),
    "hessian": lambda f, n: hessian(scalar(f, n))(STATE),
    "reverse over reverse": lambda f, n: jacrev(jacrev(vector(f, n)))(STATE),
    "vmap of grad": lambda f, n: vmap(grad(scalar(f, n)))(jnp.stack([STATE, TANGENT, OTHER])),
    "checkpoint": lambda f, n: grad(jax.checkpoint(scalar(f, n)))(STATE),
    "in a scan": lambda f, n: grad(
        lambda x: lax.scan(lambda c, _: (vector(f, n)(c), c.sum()), x, None, length=3)[0].sum()
    )(STATE),
    "in a branch": lambda f, n: grad(
        lambda x: lax.cond(x[0] > 0, vector(f, n), lambda y: y, x).sum()
    )(STATE),
}


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_derivatives(derivative: str, steps: int) -> None:
    if derivative == "in a branch":
        assert STATE[0] > 0
    compute = DERIVATIVES[derivative]
    agree(compute(looped(4), steps), compute(unrolled, steps))


@pytest.mark.parametrize("derivative", ["jvp", "grad", "hessian", "reverse over reverse"])
def test_under_jit_with_a_traced_count(derivative: str) -> None:
    compute = jit(lambda n: DERIVATIVES[derivative](looped(4), n))
    for steps in (0, 3, 8):
        agree(compute(steps), DERIVATIVES[derivative](unrolled, steps))


@pytest.mark.long
@pytest.mark.parametrize("derivative", THIRDS)
def test_third_derivatives(derivative: str) -> None:
    compute = THIRDS[derivative]
    agree(compute(looped(4), 6), compute(unrolled, 6))


def test_a_third_derivative() -> None:
    compute = THIRDS["reverse over forward over reverse"]
    agree(compute(looped(4), 3), compute(unrolled, 3))


SLOTS = [2, 3, 4, 8, 12, 13, 24, 64]
"""Tapes of 0, 1 and more steps, even and odd rooms."""


@pytest.mark.parametrize("slots", SLOTS)
def test_lengths_around_the_room(slots: int) -> None:
    """At, below and above what fits, and what fits when each second state is dropped."""
    gradient = jit(grad(lambda s, x, n: (looped(slots)(s, x, n) ** 2).sum(), (0, 1)))
    lengths = {0, 1, 2, 3} | {k * slots + d for k in (1, 2, 4) for d in (-1, 0, 1)}
    for steps in sorted(lengths):
        expected = grad(lambda s, x, n=steps: (scanned(s, x, n) ** 2).sum(), (0, 1))
        agree(gradient(SCALE, STATE, steps), expected(SCALE, STATE))


# Examples that stop at different steps


MAPPED: dict[str, Callable[[Function], Any]] = {
    "vmap of grad": lambda f: vmap(grad(f, (0, 1)), (None, 0, 0)),
    "grad of vmap": lambda f: grad(
        lambda s, xs, ns: vmap(f, (None, 0, 0))(s, xs, ns).sum(), (0, 1)
    ),
    "vmap of jvp": lambda f: vmap(
        lambda s, x, n: jvp(lambda x: f(s, x, n), (x,), (TANGENT,)), (None, 0, 0)
    ),
    "vmap of hessian": lambda f: vmap(hessian(f, (0, 1)), (None, 0, 0)),
    "vmap of reverse over reverse": lambda f: vmap(jacrev(jacrev(f, (0, 1)), (0, 1)), (None, 0, 0)),
    "hessian of vmap": lambda f: hessian(
        lambda s, xs, ns: vmap(f, (None, 0, 0))(s, xs, ns).sum(), (0, 1)
    ),
}


@pytest.mark.parametrize("slots", [2, 4, 20])
@pytest.mark.parametrize("derivative", MAPPED)
def test_different_counts(derivative: str, slots: int) -> None:
    counts = np.array([0, 1, 5, 7, 12], np.int32)
    states = np.stack([STATE * i for i in (1.0, 0.5, 2.0, 3.0, -1.0)])

    def of(f: Function) -> Any:
        return jit(MAPPED[derivative](lambda s, x, n: (f(s, x, n) ** 2).sum()))(
            SCALE, states, counts
        )

    agree(of(looped(5 * slots)), of(selected), 1e-11)


def test_examples_that_stopped_stay_clear_of_what_is_infinite() -> None:
    """A step whose derivative is infinite where an example stopped must not see that state."""

    def f(x: Any) -> Any:
        return while_loop(lambda y: y > 0.5, lambda y: jnp.sqrt(y - 0.5) * y, x)

    xs = np.array([0.5, 0.9, 1.2, 0.4])
    expected = np.stack([grad(f)(x) for x in xs])
    assert np.all(np.isfinite(expected))
    agree(vmap(grad(f))(xs), expected)
    agree(grad(lambda xs: vmap(f)(xs).sum())(xs), expected)


def test_one_map_inside_of_another() -> None:
    counts = np.array([[0, 3], [5, 1]], np.int32)
    states = np.stack([STATE, OTHER])

    def f(g: Function, x: Any, n: Any) -> Any:
        return grad(lambda x: (g(SCALE, x, n) ** 2).sum())(x)

    def both(g: Function) -> Any:
        inner = vmap(lambda x, n: f(g, x, n), (0, 0))
        return jit(vmap(inner, (None, 0)))(states, counts)

    agree(both(looped(8)), both(selected))


# What the state is made of


def test_counted_loops() -> None:
    for steps in (0, 1, 9):
        for mode in (jacfwd, jacrev):
            found = mode(lambda x, n=steps: counted(4)(SCALE, x, n))(STATE)
            agree(found, mode(lambda x, n=steps: unrolled(SCALE, x, n))(STATE))


def test_from_one_integer_to_another() -> None:
    for lower, upper in ((2, 6), (3, 3), (5, 1)):
        found = grad(
            lambda x, a=lower, b=upper: fori_loop(a, b, lambda i, y: y * x + i.astype(float), 1.0)
        )(0.5)
        expected = grad(
            lambda x, a=lower, b=upper: lax.fori_loop(
                a, b, lambda i, y: y * x + i.astype(float), 1.0
            )
        )
        agree(found, expected(0.5) if upper > lower else 0.0)


def test_trees_integers_and_keys_in_the_state() -> None:
    """Noise that is drawn on the way, which the way back draws again."""

    def f(x: Any, loop: Function) -> Any:
        def body(state: Any) -> Any:
            key, noise = jax.random.split(state["key"])
            drawn = jax.random.normal(noise, ())
            pair = state["pair"][0] * jnp.cos(drawn * x), state["pair"][1] + state["count"] * x
            return {"key": key, "count": state["count"] + 1, "pair": pair}

        start = {
            "key": jax.random.key(3),
            "count": jnp.zeros((), jnp.int16),
            "pair": (x, jnp.ones((2,))),
        }
        with jax.numpy_dtype_promotion("standard"):
            last = loop(lambda s: s["count"] < 11, body, start)
        return last["pair"][0] * last["pair"][1].sum()

    def in_python(goes: Function, body: Function, state: Any) -> Any:
        while goes(state):
            state = body(state)
        return state

    small = lambda c, b, s: while_loop(c, b, s, budget_bytes=200)  # noqa: E731
    for mode in (jacfwd, jacrev, hessian):
        agree(mode(f)(0.7, small), mode(f)(0.7, in_python))


def test_a_loop_in_a_loop() -> None:
    def f(x: Any, inner: Function, outer: Function) -> Any:
        def body(state: Any) -> Any:
            count, y = state
            return count + 1, inner(SCALE, y * x[0], count)

        return outer(lambda s: s[0] < 4, body, (jnp.zeros((), jnp.int32), x))[1].sum()

    def in_python(goes: Function, body: Function, state: Any) -> Any:
        for i in range(4):
            state = jnp.asarray(i), state[1]
            state = body((i, state[1]))
        return state

    for mode in (grad, hessian):
        found = mode(f)(STATE, looped(3), lambda *a: while_loop(*a, budget_bytes=84))
        agree(found, mode(f)(STATE, unrolled, in_python))


def test_constants_that_only_stop_the_loop_get_nothing() -> None:
    def f(bound: Any, x: Any) -> Any:
        return while_loop(lambda y: y < bound, lambda y: 2.0 * y, x)

    assert grad(f, (0, 1))(10.0, 1.0) == (0.0, 16.0)
    assert jvp(f, (10.0, 1.0), (1.0, 0.0))[1] == 0.0


def test_converging_to_what_newton_does() -> None:
    def root(a: Any) -> Any:
        return while_loop(lambda x: abs(x * x - a) > 1e-14 * a, lambda x: (x + a / x) / 2, a)

    for a in (0.3, 2.0, 700.0):
        agree(grad(root)(a), 0.5 / np.sqrt(a))
        agree(grad(grad(root))(a), -0.25 * a**-1.5, 1e-10)


def test_no_step_twice_where_all_states_fit() -> None:
    """Counted as they run."""
    calls: list[int] = []

    def body(x: Any) -> Any:
        jax.debug.callback(lambda: calls.append(1))
        return step(SCALE, x)

    counted_body = lambda i, x: body(x)  # noqa: E731
    jax.block_until_ready(
        grad(lambda x: fori_loop(0, 10, counted_body, x, budget_bytes=10_000).sum())(STATE)
    )
    jax.effects_barrier()
    # Ten forwards, ten to be reversed, and one for slopes that are computed before it is known that
    # no step is left.
    assert len(calls) == 21


# In the other rooms


def test_structured_jacobians() -> None:
    for mode in ("auto", "forward", "reverse"):
        found = jacobian(lambda x: looped(4)(SCALE, x, 6), mode=mode)(STATE)
        agree(found, jacfwd(lambda x: unrolled(SCALE, x, 6))(STATE))


def test_graphs_show_a_loop_as_one_operation() -> None:
    graph = trace(lambda x: looped(4)(SCALE, x, 3).sum(), STATE)
    adjoints = graph.backward(graph.forward(STATE))
    expected = grad(lambda x: unrolled(SCALE, x, 3).sum())(STATE)
    agree(adjoints.node["x"], expected)
