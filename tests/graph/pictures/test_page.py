"""The page holds what the sweeps computed: stepping through its data is backpropagation."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError
from funcnet.graph import to_html, trace
from funcnet.graph.pictures.facts import facts_of
from funcnet.graph.pictures.rulebook import code_of
from funcnet.primitives import relu
from tests.graph.pictures.pictured import CASES, DAILY, lecture, network_loss, swept

pytestmark = pytest.mark.usefixtures("x64")


def data_of(page: str) -> Any:
    """The data that is embedded in a page."""
    (text,) = re.findall(r'<script id="graph" type="application/json">(.*?)</script>', page, re.S)
    return json.loads(text)


def array(facts: Any) -> np.ndarray:
    return np.array(facts["entries"], np.float64).reshape(facts["shape"])


@pytest.fixture(
    params=[
        pytest.param(case, id=case[0], marks=() if case[0] in DAILY else pytest.mark.long)
        for case in CASES
    ]
)
def case(request: Any) -> Any:
    _, f, args, has_reverse = request.param
    args = jax.tree.map(jnp.asarray, args)
    return f, args, swept(f, args, has_reverse)


def test_stepping_through_the_data_gives_the_gradient(case: Any) -> None:
    f, args, (graph, values, adjoints) = case
    data = data_of(to_html(graph, values, adjoints))
    nodes = data["nodes"]
    assert [node["name"] for node in nodes] == [node.name for node in graph.nodes]

    # Step 1: whatever a node reads stands before it, and its value is the graph's.
    for i, node in enumerate(nodes):
        assert all(parent < i for parent in node["parents"])
        if "entries" in node["value"] and graph.nodes[i].dtype != jnp.complex128:
            np.testing.assert_array_equal(array(node["value"]), np.asarray(values[i], np.float64))

    # Step 2: each adjoint is the sum of its terms, all of which come from later nodes.
    for i, node in reversed(list(enumerate(nodes))):
        if node["adjoint"] is None or "entries" not in node["adjoint"]:
            continue
        if graph.nodes[i].dtype == jnp.complex128:
            continue
        total = np.zeros(node["adjoint"]["shape"])
        for term in node["terms"]:
            assert term["from"] is None or term["from"] > i
            total = total + array(term["value"])
        np.testing.assert_allclose(total, array(node["adjoint"]), rtol=1e-12, atol=1e-12)

    if adjoints is None:
        return
    gradient = jax.vjp(f, *args)[1](jax.tree.map(ones_like, jax.eval_shape(f, *args)))
    for i, reference in zip(graph.inputs, jax.tree.leaves(gradient), strict=True):
        shown = nodes[i]["adjoint"]
        if reference.dtype == jax.dtypes.float0:
            assert shown is None
        elif "entries" in shown and not jnp.iscomplexobj(reference):
            np.testing.assert_allclose(array(shown), reference, rtol=1e-12, atol=1e-12)


def ones_like(aval: Any) -> Any:
    is_inexact = jnp.issubdtype(aval.dtype, jnp.inexact)
    return (
        jnp.ones(aval.shape, aval.dtype) if is_inexact else np.zeros(aval.shape, jax.dtypes.float0)
    )


def test_the_update_is_gradient_descent() -> None:
    graph, values, adjoints = swept(lecture, (2.0, 0.5))
    data = data_of(to_html(graph, values, adjoints, learning_rate=0.1, argnums=(0, 1)))
    after = [float(array(move["after"])) for move in data["moves"]]
    assert [move["node"] for move in data["moves"]] == list(graph.inputs)
    gradient = jax.grad(lecture, (0, 1))(2.0, 0.5)
    reference = [w - 0.1 * g for w, g in zip((2.0, 0.5), gradient, strict=True)]
    np.testing.assert_allclose(after, reference, rtol=1e-12)


def test_only_what_argnums_says_moves() -> None:
    loss, args = network_loss(1)
    graph, values, adjoints = swept(loss, args)
    data = data_of(to_html(graph, values, adjoints, learning_rate=0.5))
    names = [data["nodes"][move["node"]]["name"] for move in data["moves"]]
    assert len(names) == 4 and all(name.startswith("params/") for name in names)


def test_rules_are_told_once_as_formula_and_source() -> None:
    loss, args = network_loss(5)
    data = data_of(to_html(*swept(loss, args)))
    told = [rule["name"] for rule in data["rules"]]
    assert told.count("relu") == 1
    rule = data["rules"][told.index("relu")]
    assert rule["formula"] == "y = max(x, 0)"
    assert "vjp=lambda y, ct: jnp.where(y > 0, ct, 0)" in rule["code"]
    assert '"""' not in rule["code"]
    assert "where(" in rule["programs"]["Pullback, step by step"]
    affine = next(n for n in data["nodes"] if n["op"] == "affine")
    assert len(affine["back"]) == 3 and "^T" in affine["back"][0]


def test_loops_show_what_is_inside() -> None:
    def f(x: Any) -> Any:
        return jax.lax.fori_loop(0, 3, lambda i, c: jnp.sin(c), x)

    (node,) = [n for n in data_of(to_html(trace(f, 1.0)))["nodes"] if n["op"] == "scan"][:1]
    rule = data_of(to_html(trace(f, 1.0)))["rules"][node["rule"]]
    assert any("sin(" in text for text in rule["programs"].values())


def test_a_page_is_one_file_that_fetches_nothing() -> None:
    loss, args = network_loss(1)
    page = to_html(*swept(loss, args))
    assert not re.findall(r"(?:src|href)=|@import|url\((?!#)|https?://(?!www\.w3\.org)", page)

    class Checked(HTMLParser):
        ids: list[str]

    parser = Checked()
    parser.ids = []
    parser.handle_starttag = lambda tag, attrs: parser.ids.extend(  # type: ignore[method-assign]
        value or "" for key, value in attrs if key == "id"
    )
    parser.feed(page)
    assert len(set(parser.ids)) == len(parser.ids)
    script = page.rpartition("<script>")[2]
    for wanted in set(re.findall(r'byId\("([\w-]+)"\)', script)):
        assert wanted in parser.ids


def test_no_text_of_the_user_ends_the_script_or_the_markup() -> None:
    def evil(x: Any) -> Any:
        with jax.named_scope("</script><b>"):
            return jnp.sin(x) * x

    evil.__name__ = "</title><script>alert(1)</script>"
    page = to_html(trace(evil, 1.0))
    assert page.count("<script") == 2 and "alert(1)</script>" not in page
    assert data_of(page)["nodes"][1]["scope"] == "</script><b>"


def test_a_rule_that_several_nodes_share_names_no_operand_of_theirs() -> None:
    data = data_of(to_html(trace(lambda x, y: relu(x) * relu(y), 1.0, 2.0)))
    inside = data["rules"][data["nodes"][2]["rule"]]["programs"]["Inside: relu"]
    assert data["nodes"][2]["rule"] == data["nodes"][3]["rule"] and inside.startswith("x1 ")


def test_integers_are_whole_and_flags_are_flags() -> None:
    whole = facts_of(jnp.array([1234567, 2**53 + 1]))
    assert whole is not None and whole["entries"] == [1234567, "9007199254740993"]
    flags = facts_of(jnp.array([True, False]))
    assert flags is not None and flags["entries"] == [True, False]
    assert whole["text"] == "[1234567, 9007199254740993]"
    for dtype in ("int8", "int32"):
        least = facts_of(jnp.full(9, jnp.iinfo(dtype).min, dtype))
        assert least is not None and least["text"].startswith("[9], all -")


def test_the_step_of_a_complex_number_says_conjugate() -> None:
    found = swept(lambda z: jnp.real(z * jnp.conj(z)), (jnp.asarray(1.0 + 2.0j),))
    (move,) = data_of(to_html(*found, learning_rate=0.1))["moves"]
    assert move["text"] == "z <- z - 0.1 conj(z_bar)"


def test_heat_of_the_largest_numbers() -> None:
    facts = facts_of(jnp.full((100, 100), 1.5e308))
    assert facts is not None and facts["heat"]["most"] == "1.5e+308"
    assert set(base64.b64decode(facts["heat"]["cells"])) == {254}


def test_all_is_said_only_of_equal_entries() -> None:
    spans = {
        "all 2": jnp.full(9, 2.0),
        "nan to nan": jnp.full(9, 2.0).at[3].set(jnp.nan),
        "2 to 2": jnp.full(9, 2.0).at[3].set(2.00001),
    }
    for span, array in spans.items():
        facts = facts_of(array)
        assert facts is not None
        assert facts["range"] == span and facts["text"] == f"[9], {span}"


def test_zeros_are_counted_among_all_entries() -> None:
    facts = facts_of(jnp.array([0, 0, jnp.nan, 1, jnp.inf, 2, 3, 0]))
    assert facts is not None and facts["stats"]["zeros"] == "37.5% of 8"


def test_a_page_of_nothing() -> None:
    assert data_of(to_html(trace(lambda: ())))["nodes"] == []


def test_templates_in_names_are_not_filled() -> None:
    def f(x: Any) -> Any:
        return jnp.sin(x)

    f.__name__ = "@DATA@@SCRIPT@"
    page = to_html(trace(f, 1.0))
    assert data_of(page)["title"] == "@DATA@@SCRIPT@(x)"
    assert "<title>@DATA@@SCRIPT@(x)</title>" in page


@pytest.mark.parametrize("x", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_said_in_words(x: float) -> None:
    data = data_of(to_html(*swept(lambda x: jnp.sum(x * x), (jnp.full(3, x),))))
    assert set(data["nodes"][0]["value"]["entries"]) == {str(x)}
    large = facts_of(jnp.full((20, 20), x).at[0, 0].set(1.0))
    assert large is not None and large["stats"]["not finite"] == "399"
    cells = np.frombuffer(base64.b64decode(large["heat"]["cells"]), np.uint8)
    assert np.sum(cells == 255) == 399


@pytest.mark.parametrize(
    "shape",
    [(), (0,), (3, 0), (7,), (64,), (65,), (1000,), (3, 1000), (1000, 3), (5, 6, 7), (1, 70)],
)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "int32", "bool", "complex64"])
def test_facts_of_every_shape_and_dtype(shape: Any, dtype: str) -> None:
    value = jnp.asarray(np.random.default_rng(0).normal(size=shape)).astype(dtype)
    facts = facts_of(value)
    assert facts is not None
    json.dumps(facts, allow_nan=False)
    assert ("entries" in facts) == (value.size <= 64)
    assert ("heat" in facts) == (value.size > 6)
    if "heat" in facts:
        cells = base64.b64decode(facts["heat"]["cells"])
        assert len(cells) == facts["heat"]["rows"] * facts["heat"]["columns"] <= 24 * 48


def test_a_heat_map_is_the_means_of_blocks() -> None:
    matrix = jnp.zeros((48, 96)).at[:2, :2].set(2.0).at[2:4, :2].set(-1.0)
    facts = facts_of(matrix)
    assert facts is not None
    cells = np.frombuffer(base64.b64decode(facts["heat"]["cells"]), np.uint8).reshape(24, 48)
    assert facts["heat"]["most"] == "2" and cells[0, 0] == 254 and cells[1, 0] == 64
    assert np.all(cells[2:] == 127)


def test_statistics_neither_overflow_nor_vanish() -> None:
    for size in (1e300, 1e-300):
        facts = facts_of(jnp.asarray([size, -size] * 50))
        assert facts is not None
        assert float(facts["stats"]["std"]) == pytest.approx(size, rel=1e-3)
        assert float(facts["stats"]["norm"]) == pytest.approx(10 * size, rel=1e-3)


def test_structure_alone() -> None:
    data = data_of(to_html(trace(lecture, 2.0, 0.5)))
    assert not data["hasValues"] and all(node["value"] is None for node in data["nodes"])


def test_wrong_combinations_are_refused() -> None:
    graph, values, adjoints = swept(lecture, (2.0, 0.5))
    with pytest.raises(ArgumentError, match="without the values"):
        to_html(graph, None, adjoints)
    with pytest.raises(ArgumentError, match="without adjoints"):
        to_html(graph, values, learning_rate=0.1)
    with pytest.raises(ArgumentError, match="argnums has 2"):
        to_html(graph, values, adjoints, learning_rate=0.1, argnums=2)
    loss, args = network_loss(1)
    with pytest.raises(ArgumentError, match=r"to_html: .* integers in it"):
        to_html(*swept(loss, args), learning_rate=0.1, argnums=2)


@pytest.mark.parametrize("rate", [np.nan, np.inf, "x", True, [0.1, 0.2], 1j])
def test_a_rate_is_a_finite_number(rate: Any) -> None:
    with pytest.raises(ArgumentError, match="to_html: learning_rate must be a finite number"):
        to_html(*swept(lecture, (2.0, 0.5)), learning_rate=rate)


@pytest.mark.parametrize("rate", [np.float32(0.5), jnp.array(0.5), 1])
def test_any_number_is_a_rate(rate: Any) -> None:
    data = data_of(to_html(*swept(lecture, (2.0, 0.5)), learning_rate=rate))
    assert data["moves"][0]["text"] == f"x1 <- x1 - {float(rate):g} x1_bar"


@pytest.mark.parametrize("argnums", [True, 1.0, None, "x", [0.5]])
def test_argnums_are_whole_numbers(argnums: Any) -> None:
    with pytest.raises(ArgumentError, match="to_html: argnums must be a number from 0"):
        to_html(*swept(lecture, (2.0, 0.5)), learning_rate=0.1, argnums=argnums)


def test_code_is_without_docstring_or_empty() -> None:
    assert code_of(relu.primal).startswith("@rule(")
    assert code_of(len) == ""


def test_a_notebook_shows_a_frame(tmp_path: Path) -> None:
    page = to_html(trace(lecture, 2.0, 0.5))
    assert page._repr_html_().startswith("<iframe srcdoc=")
    assert page.save(tmp_path / "page.html").read_text(encoding="utf-8") == page
