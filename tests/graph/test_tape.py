"""Define by run: ordinary programs on concrete values, with the gradients of `jax.grad`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnet.primitives as fn
from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.graph import Tape

pytestmark = pytest.mark.usefixtures("x64")

W = np.random.default_rng(0).normal(size=(3, 3))
XS = np.random.default_rng(1).normal(size=(6, 3))


def collatz(x: Any) -> Any:
    """Branches and a loop whose length depends on the value."""
    steps = 0
    while x > 1.0 and steps < 30:
        x = x / 2.0 if int(x) % 2 == 0 else x * 1.5 + 0.5
        steps += 1
    return x * steps


@pytest.mark.parametrize("start", [0.5, 3.3, 6.7, 7.1])
def test_ordinary_control_flow(start: float) -> None:
    tape = Tape()
    x = tape.input(start, "x")
    y = collatz(x)
    assert float(y) == collatz(start)
    # On concrete values JAX takes the same branches.
    assert float(tape.gradient(y, x)) == pytest.approx(float(jax.grad(collatz)(start)), rel=1e-12)


def rnn(w: Any, h: Any, xs: Any) -> Any:
    """The lecture's step, as often as there are inputs."""
    for x in xs:
        i2h = x @ w
        h2h = h @ w
        next_h = i2h + h2h
        h = next_h.tanh() if hasattr(next_h, "tanh") else jnp.tanh(next_h)
    return h


def test_a_dynamic_rnn() -> None:
    tape = Tape()
    w, h = tape.input(W, "w"), tape.input(np.zeros(3), "h")
    last = rnn(w, h, XS)
    loss = (last * last).sum()
    w_bar, h_bar = tape.gradient(loss, (w, h))

    def reference(w: Any, h: Any) -> Any:
        return jnp.sum(rnn(w, h, jnp.asarray(XS)) ** 2)

    expected = jax.grad(reference, (0, 1))(jnp.asarray(W), jnp.zeros(3))
    np.testing.assert_allclose(w_bar, expected[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(h_bar, expected[1], rtol=0, atol=1e-12)
    names = [node.op for node in tape.graph(loss).nodes if node.kind == "operation"]
    assert names == ["dot_general", "dot_general", "add", "tanh"] * len(XS) + ["mul", "reduce_sum"]


def test_gradients_then_more_nodes_then_gradients() -> None:
    tape = Tape()
    x = tape.input(0.7, "x")
    y = x
    for _ in range(10):
        y = y.sin()
    first = tape.gradient(y, x)
    assert tape.visited == 10
    z = y.exp() * y + x
    second = tape.gradient(z, {"x": x, "y": y})
    assert tape.visited == 13  # exp, mul and add: what is behind y is known
    tape.gradient(z, x)
    assert tape.visited == 13

    def f(v: Any) -> Any:
        for _ in range(10):
            v = jnp.sin(v)
        return v

    np.testing.assert_allclose(first, jax.grad(f)(0.7), rtol=1e-12)
    expected = jax.grad(lambda v: jnp.exp(f(v)) * f(v) + v)(0.7)
    np.testing.assert_allclose(second["x"], expected, rtol=1e-12)
    np.testing.assert_allclose(second["y"], jnp.exp(y.value) * (1 + y.value), rtol=1e-12)


def test_sweeps_through_several_known_targets() -> None:
    """Two known targets, one behind the other and both read again, are each counted once."""
    tape = Tape()
    x = tape.input(0.3, "x")
    a = x * x
    tape.gradient(a, x)
    b = a.sin() + x
    tape.gradient(b, x)
    c = a * b + b.cos()
    got = tape.gradient(c, [x, a, b])

    def f(x: Any, a: Any, b: Any) -> Any:
        a = a + x * x
        b = b + jnp.sin(a) + x
        return a * b + jnp.cos(b)

    expected = jax.grad(f, (0, 1, 2))(0.3, 0.0, 0.0)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_functions_rules_and_pytrees() -> None:
    tape = Tape()
    params = {"w": tape.input(W, "w"), "b": tape.input(np.ones(3), "b")}

    def layer(p: Any, x: Any, *, scale: float) -> Any:
        return {"h": fn.tanh(fn.affine(x, p["w"], p["b"])) * scale, "n": 3}

    out = tape(layer, params, jnp.asarray(XS), scale=0.5)
    assert int(out["n"]) == 3
    gradients = tape.gradient(out["h"].sum(), params)
    plain = {"w": jnp.asarray(W), "b": jnp.ones(3)}
    expected = jax.grad(lambda p: jnp.sum(layer(p, jnp.asarray(XS), scale=0.5)["h"]))(plain)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-12)
    assert "tanh" in [node.op for node in tape.graph(out["h"]).nodes]


def test_truncated_backpropagation() -> None:
    """After a release gradients end at what was kept, and memory does not grow."""
    tape = Tape()
    w, h = tape.input(W, "w"), tape.input(np.zeros(3), "h")
    sizes = []
    for x in XS:
        h = (x @ w + h @ w).tanh()
        loss = h.sum()
        w_bar = tape.gradient(loss, w)
        before = h.value
        sizes.append(len(tape))
        tape.release(w, h)
    assert len(set(sizes)) == 1
    assert [node.name for node in tape.graph().nodes] == ["w", "x2"]

    def last_step(w: Any, h: Any) -> Any:
        return jnp.sum(jnp.tanh(jnp.asarray(XS[-1]) @ w + h @ w))

    np.testing.assert_array_equal(h.value, before)
    previous = rnn(jnp.asarray(W), jnp.zeros(3), jnp.asarray(XS[:-1]))
    expected = jax.grad(last_step)(jnp.asarray(W), previous)
    np.testing.assert_allclose(w_bar, expected, rtol=1e-12)
    with pytest.raises(ArgumentError, match="released"):
        loss * 2.0


OPERATORS = [
    lambda x: 2.0 * x + x / 3.0 - 1.0,
    lambda x: 1.0 / x - (1.0 - x),
    lambda x: x**3.0 + 2.0**x,
    lambda x: -abs(x - 5.0),
    lambda x: x % 0.4,
    lambda x: np.float64(2.0) * x,
]


@pytest.mark.parametrize("f", OPERATORS, ids=range(len(OPERATORS)))
def test_operators(f: Any) -> None:
    tape = Tape()
    x = tape.input(0.7)
    y = f(x)
    assert float(y) == pytest.approx(float(f(jnp.asarray(0.7))), rel=1e-12)
    expected = float(jax.grad(f)(0.7))
    assert float(tape.gradient(y, x)) == pytest.approx(expected, rel=1e-12)


def test_comparisons_indices_and_names() -> None:
    tape = Tape()
    x = tape.input(np.array([1.0, 2.0]))
    assert [bool(c) for c in (x[0] < 2, x[1] <= 1, x[0] > 0, x[1] >= 3, x[0] == 1, x[0] != 1)] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]
    y = (x[1] * 3.0).named("y")
    assert tape.graph(y)["y"].op == "mul" and repr(y) == "Variable(6.0)"
    assert "test_tape.py" in tape.graph(y)["y"].source
    assert tape.gradient(y, x).tolist() == [0.0, 3.0]


def test_variables_are_like_arrays() -> None:
    tape = Tape()
    x = tape.input(np.arange(6.0).reshape(2, 3))
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((2, 3), 2, 6, np.float64, 2)
    first, second = x
    y = (first * second).sum() + (x.T @ x).sum() / x.size
    expected = jax.grad(lambda x: jnp.sum(x[0] * x[1]) + jnp.sum(x.T @ x) / 6)(x.value)
    np.testing.assert_allclose(tape.gradient(y, x), expected, rtol=1e-12)


def test_a_tape_as_a_graph() -> None:
    tape = Tape()
    x = tape.input(2.0, "x")
    y = x * x * x if x > 1.0 else x
    graph = tape.graph(y)
    assert float(graph.forward(3.0).outputs) == 27.0
    size = len(graph.nodes)
    x.sin()
    assert len(graph.nodes) == size < len(tape)


def test_errors() -> None:
    tape, other = Tape(), Tape()
    x = tape.input(np.ones(2))
    with pytest.raises(ShapeError, match="sum it up"):
        tape.gradient(x, x)
    with pytest.raises(ArgumentError, match="another tape"):
        tape(jnp.add, x, other.input(1.0))
    for target, source in ((other.input(1.0), x), (x.sum(), other.input(1.0)), (x.sum(), 2.0)):
        with pytest.raises(ArgumentError, match="variables of this tape"):
            tape.gradient(target, source)
    for library in (jnp, np):  # it would not be recorded
        with pytest.raises(TypeError):
            library.sin(x)
    with pytest.raises(AttributeError, match="no_such"):
        x.no_such()
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)


def test_methods_are_those_of_arrays() -> None:
    tape = Tape()
    x = tape.input(np.arange(6.0), "x")
    y = x.reshape(2, 3).sum(axis=1).clip(0.0, 4.0)
    assert y.value.tolist() == [3.0, 4.0] and y.astype(np.float32).dtype == np.float32
    i = tape.input(1)
    assert float(x[i]) == 1.0 and tape.gradient(x[i], x).tolist() == [0, 1, 0, 0, 0, 0]


def test_misuse() -> None:
    tape = Tape()
    x, w = tape.input(2.0), tape.input(3.0)
    size = len(tape)
    with pytest.raises(ArgumentError, match=r"none of its arguments.*tape\(f, x, w\)"):
        tape(lambda x: x * w, x)
    with pytest.raises(ArgumentError, match="no array"):
        tape(lambda x: "text", x)
    with pytest.raises(ArgumentError, match="value of an array"):
        tape(lambda x: x if x > 0 else -x, x)
    with pytest.raises(ArgumentError, match="variables of this tape"):
        tape.release(np.ones(2))  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="int"):
        tape.gradient(tape.input(3), x)
    assert len(tape) == size + 1


def test_variables_of_one_node_stay_one() -> None:
    tape = Tape()
    h = tape.input(2.0, "h")
    same = tape(lambda v: v, h)
    tape.release(h, same)
    assert float(tape.gradient(h * same, h)) == 4.0 and len(tape) == 2
