"""What becomes of a function: names, scopes, lines, constants, loops, and errors."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import funcnet.primitives as fn
from funcnet.errors import ArgumentError, DTypeError
from funcnet.graph import Tape, explain, trace
from funcnet.graph.tracing import inside


def ops(graph: Any) -> list[str]:
    return [node.op for node in graph.nodes if node.kind == "operation"]


def test_two_traces_are_equal() -> None:
    def f(x: Any, w: Any) -> Any:
        return lax.scan(lambda c, t: (fn.tanh(c @ w + t), jnp.sum(c)), x, jnp.ones((3, 2)))

    args = jnp.ones(2), jnp.ones((2, 2))
    for unroll in (False, True):
        first, second = (str(trace(f, *args, unroll=unroll)) for _ in range(2))
        assert first == second


def test_calls_are_inlined_and_rules_are_not() -> None:
    @jax.jit
    def inner(x: Any) -> Any:
        return fn.gelu(jax.nn.relu(x)) + jax.nn.silu(x)

    def f(x: Any) -> Any:
        return jax.checkpoint(inner)(x)

    assert ops(trace(f, 1.0)) == ["relu", "gelu", "logistic", "mul", "add"]
    opened = ops(trace(f, 1.0, open_rules=True))
    assert "gelu" not in opened and "relu" not in opened and {"max", "exp"} <= set(opened)


def test_an_opened_graph_computes_the_same() -> None:
    def f(x: Any) -> Any:
        return jnp.sum(fn.silu(x) * fn.tanh(x))

    x = jnp.array([0.3, -1.2, 2.0])
    graph = trace(f, x, open_rules=True)
    values = graph.forward(x)
    np.testing.assert_allclose(values.outputs, f(x), rtol=1e-6)
    np.testing.assert_allclose(graph.backward(values).inputs[0], jax.grad(f)(x), rtol=1e-5)


def test_what_is_inside_a_node() -> None:
    def f(x: Any) -> Any:
        return fn.silu(lax.cond(x > 0, jnp.sin, jnp.cos, x))

    graph = trace(f, 1.0)
    (branches,) = (node for node in graph.nodes if node.op == "cond")
    parts = inside(graph, branches)
    assert {label: ops(part) for label, part in parts.items()} == {
        "cond[0]": ["cos"],
        "cond[1]": ["sin"],
    }
    assert float(parts["cond[1]"].forward(2.0).outputs[0]) == pytest.approx(np.sin(2.0))
    (body,) = inside(graph, graph.nodes[-1]).values()
    assert ops(body) == ["max", "times_sigmoid"]
    assert inside(graph, graph["x"]) == {}


def test_names() -> None:
    def f(params: Any, x: Any) -> Any:
        h = checkpoint_name(x @ params["w"], "h1")
        again = checkpoint_name(h, "again")
        return checkpoint_name(jnp.sin(again), "h1") + params["b"][0]

    graph = trace(f, {"w": jnp.ones((2, 2)), "b": [jnp.ones(2)]}, jnp.ones(2))
    names = [node.name for node in graph.nodes]
    assert names == ["params/b/0", "params/w", "x", "h1", "a1", "h1 (2)", "a2"]
    assert graph["h1"].op == "dot_general" and graph[3] is graph["h1"] is graph[graph["h1"]]


def test_scopes_and_lines() -> None:
    def f(x: Any) -> Any:
        with jax.named_scope("net"), jax.named_scope("hidden"):
            y = jnp.sin(x)
        return jnp.cos(y)

    sine, cosine = trace(f, 1.0).nodes[1:]
    assert (sine.scope, cosine.scope) == ("net/hidden", "")
    assert "test_tracing.py:" in sine.source and sine.source < cosine.source


def test_unrolled_scopes_tell_the_round() -> None:
    def f(x: Any, xs: Any) -> Any:
        return lax.scan(lambda c, t: (jnp.sin(c * t), c), x, xs)

    graph = trace(f, 1.0, jnp.ones(3), unroll=True)
    assert [n.scope for n in graph.nodes if n.op == "sin"] == ["scan[0]", "scan[1]", "scan[2]"]
    assert all("test_tracing.py" in n.source for n in graph.nodes if n.kind == "operation")


def test_constants() -> None:
    w = jnp.arange(3.0)
    graph = trace(lambda x: x * w + w, 2.0)
    assert [(n.name, n.kind) for n in graph.nodes[:2]] == [("x", "input"), ("c1", "constant")]
    adjoints = graph.backward(graph.forward(2.0), jnp.ones(3))
    assert adjoints.node["c1"] is adjoints.edge["c1", "a1"] is None
    np.testing.assert_array_equal(adjoints.node["x"], 3)


def test_a_constant_is_what_it_was_when_it_was_traced() -> None:
    buffer = np.ones(3)
    graph = trace(lambda x: jnp.sum(x * buffer), jnp.ones(3))
    buffer[:] = 5
    assert float(graph.forward(jnp.ones(3)).outputs) == 3
    tape = Tape()
    x = tape.input(np.ones(3))
    total: Any = 0.0
    for i in range(3):
        buffer[:] = i
        total = total + (x * buffer).sum()
    assert tape.gradient(total, x).tolist() == [3, 3, 3]


def test_shapes_are_enough() -> None:
    graph = trace(lambda x: jnp.sum(x * 2), jax.ShapeDtypeStruct((4,), jnp.float32))
    assert float(graph.forward(jnp.ones(4)).outputs) == 8
    with pytest.raises(ArgumentError, match="unroll=True"):
        trace(lambda x: x, jax.ShapeDtypeStruct((), jnp.float32), unroll=True)


def python_branch(x: Any) -> Any:
    return x if x > 0 else -x


def test_what_is_no_function_of_arrays() -> None:
    with pytest.raises(ArgumentError, match=r"python_branch asks for the value.*lax\.cond.*Tape"):
        trace(python_branch, 1.0)
    with pytest.raises(ArgumentError, match="value of an array"):
        trace(lambda x: np.sin(np.asarray(x)), 1.0)
    for needs in (
        lambda n: list(range(n)),
        lambda n: [1, 2][n],
        lambda n: jnp.ones(2)[n > jnp.ones(2)],
    ):
        with pytest.raises(ArgumentError, match="value of an array"):
            trace(needs, 1)
    with pytest.raises(ArgumentError, match="must be a function"):
        trace(3.0, 1.0)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match=r"mode of .* is a str"):
        trace(lambda x, mode: x, 1.0, "fast")
    with pytest.raises(DTypeError, match=r"options/k of .* is a object"):
        trace(lambda options: 1.0, {"k": object()})
    with pytest.raises(ArgumentError, match="no array"):
        trace(lambda x: "text", 1.0)
    with pytest.raises(ArgumentError, match="side effects"):
        trace(lambda x: [jax.debug.print("{}", x), x][1], 1.0)


def test_a_branch_that_is_out_of_range_is_clamped_as_in_jax() -> None:
    def f(i: Any, x: Any) -> Any:
        return lax.switch(i, [jnp.sin, jnp.cos], x)

    for index in (-3, 0, 1, 7):
        graph = trace(f, index, 0.3, unroll=True)
        assert float(graph.forward(index, 0.3).outputs) == float(f(index, 0.3))


def test_tracing_inside_of_other_transformations() -> None:
    graph = trace(lambda x: jnp.sum(jnp.sin(x) ** 2), jnp.ones(3))

    def gradient(x: Any) -> Any:
        return graph.backward(graph.forward(x)).inputs[0]

    x = jnp.arange(3.0)
    expected = jnp.sin(2 * x)
    np.testing.assert_allclose(jax.jit(gradient)(x), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(gradient)(x[None])[0], expected, rtol=1e-6)
    np.testing.assert_allclose(graph.as_gradient()(x)[0], expected, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(graph.as_function())(x), expected, rtol=1e-6)


def test_numbers_that_print_alike_are_not_alike() -> None:
    with np.printoptions(precision=2):
        for factor in (0.000123456, 0.000123459, 0.5134, 0.5123):
            graph = trace(lambda x, k=factor: x * k, 1.0)
            assert float(graph.forward(1.0).outputs) == float(np.float32(factor))


@jax.custom_jvp
def sin(x: Any) -> Any:
    return jnp.sin(3 * x)


sin.defjvp(lambda p, t: (sin(p[0]), 3 * jnp.cos(3 * p[0]) * t[0]))


@jax.custom_vjp
def affine(x: Any, p: Any) -> Any:
    return x * p


affine.defvjp(lambda x, p: (x * p, (x, p)), lambda res, ct: (ct * res[1], ct * res[0]))


def test_functions_of_users_may_be_called_as_ours() -> None:
    text = str(explain(lambda x: affine(sin(x), x), 0.5))
    assert "affine(a1, x)" in text and "a1_bar da1/dx" in text and "cos" not in text
    assert "relu(x)" in str(trace(jax.nn.relu, 1.0))
