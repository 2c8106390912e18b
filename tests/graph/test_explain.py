"""The lecture's tables, symbol by symbol and number by number."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnet.primitives as fn
from funcnet.errors import ArgumentError
from funcnet.graph import explain, trace
from funcnet.graph.explain import contribution


def lecture(x1: Any, x2: Any) -> Any:
    return jnp.sin(x2) + x1 * x2


def test_the_function_of_the_slides() -> None:
    """a1 = sin(x2), a2 = x1 x2, a3 = a1 + a2; a3_bar = 1 and x2_bar = P1 + P2."""
    assert str(explain(lecture, 2.0, 0.5)) == (
        "Step 1, forward: values in topological order\n"
        "node  is        value\n"
        "----  -------  ------\n"
        "x1    input         2\n"
        "x2    input       0.5\n"
        "a1    sin(x2)  0.4794\n"
        "a2    x1 x2         1\n"
        "a3    a1 + a2   1.479\n"
        "\n"
        "Step 2, backward: adjoints in reverse order\n"
        "adjoint  is               value\n"
        "-------  --------------  ------\n"
        "a3_bar   1                    1\n"
        "a2_bar   a3_bar               1\n"
        "a1_bar   a3_bar               1\n"
        "x2_bar   P1 + P2          2.878\n"
        "P1       a1_bar cos(x2)  0.8776\n"
        "P2       a2_bar x1            2\n"
        "x1_bar   a2_bar x2          0.5"
    )


def test_the_graph_of_the_slides() -> None:
    lines = str(trace(lecture, 2.0, 0.5)).splitlines()
    line = f"test_explain.py:{lecture.__code__.co_firstlineno + 1}"
    assert lines[0] == "lecture(x1, x2) -> a3"
    assert [line.split() for line in lines[3:]] == [
        ["x1", "input", "float32[]"],
        ["x2", "input", "float32[]"],
        ["a1", "sin(x2)", "float32[]", line],
        ["a2", "x1", "x2", "float32[]", line],
        ["a3", "a1", "+", "a2", "float32[]", line],
    ]


def backward_lines(explanation: Any) -> list[str]:
    return [" ".join(line.split()) for line in str(explanation.backward).splitlines()[3:]]


def test_logistic_regression() -> None:
    """p_bar = -1/p, u_bar = p_bar p (1 - p) = -(1 - p), w_bar = u_bar x."""

    def loss(w: Any, x: Any) -> Any:
        u = fn.inner(w, x)
        p = fn.sigmoid(u)
        return -fn.log(p)

    w, x = jnp.array([0.5, -1.0]), jnp.array([1.0, 2.0])
    p = float(jax.nn.sigmoid(-1.5))
    assert backward_lines(explain(loss, w, x)) == [
        "a4_bar 1 1",
        "a3_bar -a4_bar -1",
        f"a2_bar a3_bar / a2 {-1 / p:.4g}",
        f"a1_bar a2_bar a2 (1 - a2) {-(1 - p):.4g}",
        f"x_bar a1_bar w [{-(1 - p) * 0.5:.4g}, {(1 - p):.4g}]",
        f"w_bar a1_bar x [{-(1 - p):.4g}, {-(1 - p) * 2:.4g}]",
    ]


def test_a_step_of_the_dynamic_rnn() -> None:
    def step(x: Any, h: Any, w_i: Any, w_h: Any) -> Any:
        i2h = fn.linear(x, w_i)
        h2h = fn.linear(h, w_h)
        next_h = i2h + h2h
        return fn.tanh(next_h)

    zeros, ones = jnp.zeros(3), jnp.ones(2)
    explained = explain(step, ones, zeros, jnp.zeros((2, 3)), jnp.zeros((3, 3)))
    forward = [line.split()[1:4] for line in str(explained.forward).splitlines()[7:]]
    assert forward == [
        ["x", "@", "w_i"],
        ["h", "@", "w_h"],
        ["a1", "+", "a2"],
        ["tanh(a3)", "[0,", "0,"],
    ]
    assert [line.split(" [")[0] for line in backward_lines(explained)] == [
        "a4_bar",
        "a3_bar a4_bar (1 - a4^2)",
        "a2_bar a3_bar",
        "a1_bar a3_bar",
        "w_h_bar outer(h, a2_bar)",
        "w_i_bar outer(x, a1_bar)",
        "h_bar a2_bar @ w_h^T",
        "x_bar a1_bar @ w_i^T",
    ]


@pytest.mark.parametrize("product", [jnp.matmul, fn.linear], ids=["jax", "rule"])
def test_a_linear_layer_and_relu(product: Any) -> None:
    x, w, b = jnp.array([1.0, -2.0]), jnp.array([[1.0, 2, 3], [2, 1, 0]]), jnp.array([4.0, 1, -4])
    explained = explain(lambda x, w, b: fn.relu(product(x, w) + b), x, w, b)
    assert backward_lines(explained) == [
        "a3_bar [1, 1, 1] [1, 1, 1]",
        "a2_bar a3_bar [a2 > 0] [1, 1, 0]",
        "a1_bar a2_bar [1, 1, 0]",
        "b_bar a2_bar [1, 1, 0]",
        "w_bar outer(x, a1_bar) [[1, 1, 0], [-2, -2, -0]]",
        "x_bar a1_bar @ w^T [3, 3]",
    ]


def test_an_mlp() -> None:
    def net(params: Any, x: Any) -> Any:
        h = fn.tanh(fn.affine(x, params["w1"], params["b1"]))
        return fn.sum(fn.affine(h, params["w2"], params["b2"]))

    params = {"w1": jnp.ones((3, 4)), "b1": jnp.ones(4), "w2": jnp.ones((4, 2)), "b2": jnp.ones(2)}
    explained = explain(net, params, jnp.ones((5, 3)))
    texts = {line.split()[0]: line for line in backward_lines(explained)}
    assert texts["params/w1_bar"].startswith("params/w1_bar x^T @ a1_bar [3, 4], ")
    assert texts["params/b2_bar"] == "params/b2_bar sum(a3_bar) [5, 5]"
    assert texts["a3_bar"].startswith("a3_bar broadcast(a4_bar, [5, 2]) [5, 2], all 1")


# A function of x and y, what its edge to y hands back in the table, and that in Python.
EDGES: list[tuple[Any, str, Any]] = [
    (lambda x, y: x - y, "-a1_bar", lambda x, y, a1, bar: -bar),
    (lambda x, y: y / x, "a1_bar / x", lambda x, y, a1, bar: bar / x),
    (lambda x, y: x / y, "-a1_bar a1 / y", lambda x, y, a1, bar: -bar * a1 / y),
    (lambda x, y: -y, "-a1_bar", lambda x, y, a1, bar: -bar),
    (lambda x, y: y * y, "a1_bar y + a1_bar y", lambda x, y, a1, bar: bar * y + bar * y),
    (lambda x, y: jnp.square(y), "a1_bar 2 y", lambda x, y, a1, bar: bar * 2 * y),
    (lambda x, y: x * y, "a1_bar x", lambda x, y, a1, bar: bar * x),
    (lambda x, y: jnp.cos(y), "-a1_bar sin(y)", lambda x, y, a1, bar: -bar * np.sin(y)),
    (lambda x, y: jnp.exp(y), "a1_bar a1", lambda x, y, a1, bar: bar * a1),
    (lambda x, y: jnp.log(y), "a1_bar / y", lambda x, y, a1, bar: bar / y),
    (lambda x, y: jnp.sqrt(y), "a1_bar / (2 a1)", lambda x, y, a1, bar: bar / (2 * a1)),
    (lambda x, y: jnp.tanh(y), "a1_bar (1 - a1^2)", lambda x, y, a1, bar: bar * (1 - a1**2)),
    (lambda x, y: fn.reciprocal(y), "-a1_bar a1^2", lambda x, y, a1, bar: -bar * a1**2),
    (lambda x, y: fn.sigmoid(y), "a1_bar a1 (1 - a1)", lambda x, y, a1, bar: bar * a1 * (1 - a1)),
    (
        lambda x, y: fn.log_sigmoid(y),
        "a1_bar sigma(-y)",
        lambda x, y, a1, bar: bar / (1 + np.exp(y)),
    ),
    (
        lambda x, y: jnp.arctan2(x, y),
        "a1_bar da1/dy",
        lambda x, y, a1, bar: -bar * x / (x * x + y * y),
    ),
]


@pytest.mark.parametrize(("f", "text", "formula"), EDGES, ids=[text for _, text, _ in EDGES])
def test_contributions_are_true(f: Any, text: str, formula: Any) -> None:
    explained = explain(f, 1.7, 0.6, cotangent=1.3)
    said = {row[0]: row[1] for row in explained.backward.rows}["y_bar"]
    assert said == text
    expected = formula(1.7, 0.6, float(explained.values["a1"]), 1.3)
    np.testing.assert_allclose(explained.adjoints.node["y"], expected, rtol=1e-6)


def test_an_output_twice_and_complex_numbers() -> None:
    def twice(x: Any) -> Any:
        y = x * x
        return y, y

    assert backward_lines(explain(twice, 1.5, cotangent=(1.0, 2.0)))[0] == "a1_bar 3 3"
    assert "2j" in str(explain(lambda z: jnp.abs(z * 2j), 1 + 2j))


def test_cotangents_and_integers() -> None:
    def f(x: Any, n: Any) -> Any:
        return x * 2.0, n + 1

    explained = explain(f, jnp.ones(8), 3)
    assert explained.adjoints.node["n"] is None
    assert backward_lines(explained)[0].startswith("a1_bar [8], all 1")
    assert "Step 2" in explained._repr_html_()
    with pytest.raises(ArgumentError, match="structure"):
        explain(f, jnp.ones(8), 3, cotangent=(1.0,))


VECTOR, ROWS, MATRIX = (3,), (5, 3), (3, 4)
PRODUCTS = [(jnp.matmul, x, w) for x in (VECTOR, ROWS) for w in (VECTOR, MATRIX)]
PRODUCTS += [(product, x, MATRIX) for product in (fn.linear, fn.affine) for x in (VECTOR, ROWS)]


@pytest.mark.parametrize(("product", "x", "w"), PRODUCTS)
def test_what_a_product_hands_back_can_be_computed_as_it_is_written(
    product: Any, x: Any, w: Any
) -> None:
    """The text of each edge, read as a formula, gives the number of the edge."""
    rng = np.random.default_rng(1)
    given = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in (x, w)]
    if product is fn.affine:
        given.append(jnp.zeros(4))
    graph = trace(lambda x, w, *b: product(x, w, *b), *given)
    values = graph.forward(*given)
    bar = jnp.asarray(rng.normal(size=values.outputs.shape), jnp.float32)
    adjoints = graph.backward(values, bar)
    known: dict[str, Any] = {"x": given[0], "w": given[1], "a1_bar": bar}
    known |= {"outer": jnp.outer, "sum": lambda x: jnp.sum(x, 0), "times": jnp.multiply}
    node = graph.nodes[graph.outputs[0]]
    for parent in (graph.nodes[i] for i in node.parents):
        text = contribution(graph, node, parent).replace("^T", ".T")
        if " " in text and not set(text) & set("@,("):  # a product of numbers
            text = f"times({text.replace(' ', ', ')})"
        computed = eval(text, {}, known)
        np.testing.assert_allclose(computed, adjoints.edge[parent, node], rtol=1e-5, err_msg=text)


def test_powers_and_shapes_are_written_out() -> None:
    def f(x: Any) -> Any:
        return jnp.sum(jnp.reshape(x**3, (2, 2)))

    text = str(explain(f, jnp.arange(4.0)))
    for words in ("a1_bar 3 x^2", "reshape(a2_bar, [4])", "broadcast(a3_bar, [2, 2])"):
        assert words in text
