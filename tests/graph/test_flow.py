"""Marks on gradients, and the operation that made a NaN."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet.graph import find_nan, flow, trace


def measured(f: Any, *args: Any) -> Any:
    graph = trace(f, *args)
    values = graph.forward(*args)
    return flow(graph, graph.backward(values, jnp.ones_like(values.outputs)))


@pytest.mark.parametrize(
    ("f", "mark", "at"),
    [
        (lambda x: x * 1e-4 * 1e-4 + 1.0, "vanishing", "x"),
        (lambda x: x * 1e4 * 1e4, "exploding", "x"),
        (lambda x: lax.stop_gradient(x) + 1.0, "zero", "x"),
        (lambda x: jnp.sqrt(x * 0.0), "NaN", "a1"),
    ],
    ids=lambda p: p if isinstance(p, str) else "",
)
def test_marks(f: Any, mark: str, at: str) -> None:
    report = measured(f, jnp.array([1.0, 2.0]))
    assert {m: node.name for m, node in report.first.items()} == {mark: at}
    assert f"first {mark}: the adjoint of {at} = " in str(report)
    assert mark in report._repr_html_()


def test_norms_are_euclidean_and_do_not_overflow() -> None:
    report = measured(lambda x: x * jnp.array([3.0, 4.0]), jnp.ones(2))
    assert report.norms[0] == pytest.approx(5.0) and report.marks == ("", "", "")
    huge = measured(lambda x: x * jnp.array([3e30, 4e30]), jnp.ones(2))
    assert huge.norms[0] == pytest.approx(5e30) and huge.marks[0] == "exploding"


def test_healthy_and_integer_nodes_have_no_marks() -> None:
    report = measured(lambda x, n: jnp.sin(x) * n.astype(jnp.float32), jnp.ones(2), jnp.arange(2))
    assert report.first == {} and report.norms[1] is None


def safe_sqrt(x: Any) -> Any:
    return jnp.sum(jnp.where(x > 0, jnp.sqrt(x), 0.0))


def test_the_trap_of_where() -> None:
    culprit = find_nan(safe_sqrt, jnp.array([0.0, 1.0]))
    assert culprit is not None
    assert (culprit.direction, culprit.node.op) == ("backward", "sqrt")
    assert culprit.parent is not None and culprit.parent.name == "x"
    assert "test_flow.py" in str(culprit) and "where(ok, x, 1)" in str(culprit)
    assert find_nan(safe_sqrt, jnp.array([0.5, 1.0])) is None


def test_forward_culprits() -> None:
    culprit = find_nan(lambda x: jnp.sum(jnp.log(x - 1.0) * 2.0), jnp.array([1.0, 3.0]))
    assert culprit is not None and (culprit.direction, culprit.node.op) == ("forward", "log")
    assert culprit.parent is None and "though a1 is not" in culprit.message
    # What comes in as NaN is nobody's fault.
    assert find_nan(lambda x: x * 2.0, jnp.array(np.nan)) is None


def test_a_culprit_inside_a_loop_is_found_by_unrolling() -> None:
    def f(x: Any) -> Any:
        return lax.fori_loop(0, 4, lambda i, c: jnp.log(c), x)

    culprit = find_nan(f, 2.0, unroll=True)
    assert culprit is not None
    assert (culprit.node.op, culprit.node.scope) == ("log", "scan[2]")
