"""The drawings that stand still: letters, Graphviz, SVG."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from funcnet.errors import ArgumentError
from funcnet.graph import to_dot, to_html, to_svg, to_text, trace
from tests.graph.pictures.pictured import CASES, DAILY, lecture, network_loss, swept

pytestmark = pytest.mark.usefixtures("x64")

IDS = [case[0] for case in CASES]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module", params=CASES, ids=IDS)
def case(request: Any) -> Any:
    with jax.enable_x64():
        name, f, args, has_reverse = request.param
        args = jax.tree.map(jnp.asarray, args)
        return swept(f, args, has_reverse) if name in DAILY else (trace(f, *args), None, None)


# Letters


def test_letters_have_one_line_a_node_and_join_what_is_read(case: Any) -> None:
    graph = case[0]
    lines = to_text(*case).splitlines()
    assert len(lines) == len(graph.nodes)
    assert sum(line.count("●") + line.count("◉") for line in lines) == len(graph.nodes)
    names = [next(n for n in graph.nodes if line.startswith(f"{n.name} ")) for line in lines]
    rails: dict[int, int] = {}  # the place of each value's rail, read off the drawing
    for node, line in zip(names, lines, strict=True):
        drawn = line[max(len(n.name) for n in graph.nodes) + 2 :]
        rails[node.index] = place = min(drawn.index(s) for s in "●◉" if s in drawn)
        for parent in node.parents:
            assert drawn[rails[parent]] in "●◉╰╯├┤┴┼", (node.name, graph.nodes[parent].name)
            between = drawn[min(place, rails[parent]) + 1 : max(place, rails[parent])]
            assert not set(between) - set("─│┴┼╰╯├┤"), line


def test_letters_of_the_lecture() -> None:
    assert (
        to_text(*swept(lecture, (2.0, 0.5)))
        == """\
x2  ●      input    float64[]  value 0.5     adjoint 2.878
a1  ├─●    sin(x2)  float64[]  value 0.4794  adjoint 1
x1  │ │ ●  input    float64[]  value 2       adjoint 0.5
a2  ●─│─╯  x1 x2    float64[]  value 1       adjoint 1
a3  ◉─╯    a1 + a2  float64[]  value 1.479   adjoint 1"""
    )


# Graphviz


def test_dot_has_every_node_and_arrow(case: Any) -> None:
    graph, text = case[0], to_dot(*case)
    assert text.count("{") == text.count("}") or any("{" in n.op for n in graph.nodes)
    assert sorted(map(int, re.findall(r"^ +n(\d+) \[label=", text, re.M))) == list(
        range(len(graph.nodes))
    )
    arrows = {(int(p), int(n)) for p, n in re.findall(r"^ +n(\d+) -> n(\d+)$", text, re.M)}
    assert arrows == {(p, n.index) for n in graph.nodes for p in n.parents}
    clusters = re.findall(r"subgraph (cluster_\w+)", text)
    assert len(set(clusters)) == len(clusters)


def test_dot_quotes_what_it_must() -> None:
    def f(x: Any) -> Any:
        with jax.named_scope('say "a\\b"'):
            return jnp.sin(x) * jnp.cos(x)

    assert r'label="say \"a\\b\""' in to_dot(trace(f, 1.0))


# SVG


def boxes(picture: str) -> list[tuple[str, float, float, float, float]]:
    tree = ElementTree.fromstring(picture)

    def box(r: ElementTree.Element) -> Any:
        return r.get("class"), *(float(r.get(k, "")) for k in ("x", "y", "width", "height"))

    return [box(r) for r in tree.iter(f"{SVG}rect")]


def test_svg_boxes_lie_apart_or_inside_one_another(case: Any) -> None:
    picture = to_svg(*case)
    tree = ElementTree.fromstring(picture)
    width, height = float(tree.get("width", "")), float(tree.get("height", ""))
    found = boxes(picture)
    for kind, x, y, w, h in found:
        assert x >= 0 and y >= 0 and x + w <= width + 1 and y + h <= height + 1, kind
    for (kind, x, y, w, h), (other, a, b, c, d) in combinations(found, 2):
        apart = x + w <= a or a + c <= x or y + h <= b or b + d <= y
        inside = kind == "group" and x <= a and y <= b and a + c <= x + w and b + d <= y + h
        assert apart or inside, (kind, other)


def test_svg_text_fits_its_box() -> None:
    loss, args = network_loss(2)
    tree = ElementTree.fromstring(to_svg(*swept(loss, args)))
    rects, texts = list(tree.iter(f"{SVG}rect")), list(tree.iter(f"{SVG}text"))
    for text in texts:
        x, y = float(text.get("x", "")), float(text.get("y", ""))
        assert any(
            float(r.get("x", "")) < x
            and x + 7.3 * len(text.text or "") < float(r.get("x", "")) + float(r.get("width", ""))
            and float(r.get("y", "")) < y < float(r.get("y", "")) + float(r.get("height", ""))
            for r in rects
        ), text.text


def test_svg_arrows_never_run_behind_a_box(case: Any) -> None:
    tree = ElementTree.fromstring(to_svg(*case))
    solid = [b for b in boxes(to_svg(*case)) if b[0] != "group"]
    for path in tree.iter(f"{SVG}path"):
        if path.get("class") != "arrow":
            continue
        numbers = [float(n) for n in re.findall(r"-?\d+\.\d", path.get("d", ""))]
        x0, y0, bend0, _, _, _, _, bend1, y1, x1 = numbers
        for _, x, y, w, h in solid:
            for left, right, at in ((x0, bend0, y0), (bend1, x1, y1)):
                runs_behind = left < x + w - 1 and x + 1 < right and y + 1 < at < y + h - 1
                assert not runs_behind or right - left < 2


# What fits a graph, and what does not

DRAW = [to_text, to_dot, to_svg, to_html]


@pytest.mark.parametrize("draw", DRAW)
def test_only_what_belongs_together_is_drawn(draw: Any) -> None:
    graph, values, adjoints = swept(lecture, (2.0, 0.5))
    assert adjoints is not None
    other = swept(lecture, (2.0, 0.5))
    name = draw.__name__
    for wrong in (lecture, None, values):
        with pytest.raises(ArgumentError, match=f"{name}: the first argument must be a Graph"):
            draw(wrong)
    tangents = graph.tangents(values, 1.0, None)
    unfit: Any
    for unfit in ((2.0, 0.5), {}, values.outputs, adjoints, tangents):
        with pytest.raises(ArgumentError, match=f"{name}: values must be what graph.forward"):
            draw(graph, unfit)
    for unfit in (values, adjoints.inputs, adjoints.node):
        with pytest.raises(ArgumentError, match=f"{name}: adjoints must be what graph.backward"):
            draw(graph, values, unfit)
    with pytest.raises(ArgumentError, match=f"{name}: the values are those of another graph"):
        draw(graph, other.values)
    with pytest.raises(ArgumentError, match=f"{name}: the adjoints are those of another graph"):
        draw(graph, values, other.adjoints)


@pytest.mark.parametrize("draw", DRAW)
def test_traced_values_are_refused(draw: Any) -> None:
    graph = trace(lecture, 2.0, 0.5)

    def drawn(x: Any) -> Any:
        draw(graph, graph.forward(x, 0.5))
        return x

    with pytest.raises(ArgumentError, match="draw outside of jit"):
        jax.jit(drawn)(2.0)


@pytest.mark.parametrize("draw", DRAW)
def test_values_that_were_dropped_are_there_again(draw: Any) -> None:
    graph = trace(lecture, 2.0, 0.5)
    dropped = graph.forward(2.0, 0.5, keep=lambda node: False)
    assert dropped.whole() is not dropped and dropped.whole().whole() is not None
    assert draw(graph, dropped) == draw(graph, graph.forward(2.0, 0.5))


@pytest.mark.parametrize("draw", DRAW)
def test_names_no_file_takes_are_replaced(draw: Any, tmp_path: Path) -> None:
    def f(x: Any) -> Any:
        with jax.named_scope("a\x00b"):
            return jnp.sin(x["k\ud800\x1b\n"]) * 2.0 * x["wide"]

    graph = trace(f, {"k\ud800\x1b\n": 1.0, "wide": 2.0})
    picture = str(draw(graph))
    picture.encode()
    assert not set(picture) & {"\x00", "\x1b"}
    if draw is to_svg:
        ElementTree.fromstring(picture)
    if draw is to_text:
        assert len(picture.splitlines()) == len(graph.nodes)


@pytest.mark.parametrize("draw", DRAW)
def test_scopes_in_scopes_without_end(draw: Any) -> None:
    def f(x: Any, depth: int = 400) -> Any:
        if not depth:
            return jnp.sin(x)
        with jax.named_scope("s"):
            return f(x, depth - 1) * 2.0

    assert draw(trace(lambda x: f(x), 1.0))


def test_a_picture_saves_itself(tmp_path: Path) -> None:
    picture = to_svg(trace(lecture, 2.0, 0.5))
    path = picture.save(tmp_path / "lecture.svg")
    assert path.read_text(encoding="utf-8") == picture == picture._repr_html_()
