"""Nodes, edges, paths and local Jacobians of a graph, and what it refuses."""

from __future__ import annotations

from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnet.primitives as fn
from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.graph import descend, trace
from funcnet.structure import Structure, holds
from tests.graph.programs import PROGRAMS


def lecture(x1: Any, x2: Any) -> Any:
    return jnp.sin(x2) + x1 * x2


GRAPH = trace(lecture, 2.0, 0.5)


def test_nodes_are_found_by_name_index_and_themselves() -> None:
    assert GRAPH["a1"] is GRAPH[2] is GRAPH[GRAPH[2]]
    for wrong in ("a9", 9, -1, trace(lecture, 1.0, 2.0)[2]):
        with pytest.raises(ArgumentError, match="lecture"):
            GRAPH[wrong]


def test_a_graph_cannot_be_changed() -> None:
    for thing, name in ((GRAPH, "nodes"), (GRAPH["a1"], "name")):
        with pytest.raises(AttributeError):
            setattr(thing, name, ())


def test_edges() -> None:
    adjoints = GRAPH.backward(GRAPH.forward(2.0, 0.5), 2.0)
    edges = {(p.name, n.name): float(part) for (p, n), part in adjoints.edge.items()}
    assert edges == {
        ("x2", "a1"): pytest.approx(2 * np.cos(0.5)),
        ("x1", "a2"): 1.0,
        ("x2", "a2"): 4.0,
        ("a1", "a3"): 2.0,
        ("a2", "a3"): 2.0,
    }
    assert len(adjoints.edge) == 5 and len(adjoints.node) == 5
    with pytest.raises(ArgumentError, match="a1 is not computed from x1, but from x2"):
        adjoints.edge["x1", "a1"]


def test_values_that_were_dropped_come_back() -> None:
    def deep(x: Any) -> Any:
        for _ in range(3000):
            x = jnp.sin(x)
        return x

    graph = trace(deep, 1.0)
    kept = graph.forward(1.0)
    dropped = graph.forward(1.0, keep=lambda node: node.index % 1000 == 0)
    assert float(dropped["a1999"]) == float(kept["a1999"])
    assert len(dropped._arrays) == 4
    few = trace(lambda x: fn.tanh(jnp.sin(x) * x), 0.7)
    gradients = [
        float(few.backward(few.forward(0.7, keep=keep)).inputs[0])
        for keep in (None, lambda node: False)
    ]
    assert gradients[0] == gradients[1]


def test_values_of_another_graph() -> None:
    values = trace(lambda x1, x2: x1 + x2, 1.0, 2.0).forward(1.0, 2.0)
    for sweep in (GRAPH.backward, GRAPH.tangents):
        with pytest.raises(ArgumentError, match="another graph"):
            sweep(values, 1.0)


def test_wrong_arguments() -> None:
    graph = trace(lambda p, x: jnp.sum(p["w"] * x), {"w": jnp.ones(3)}, jnp.ones(3))
    good = {"w": jnp.ones(3)}, jnp.ones(3)
    values = graph.forward(*good)
    with pytest.raises(ArgumentError, match="structure"):
        graph.forward({"v": jnp.ones(3)}, jnp.ones(3))
    with pytest.raises(ShapeError, match=r"value of x must have shape \(3,\), got \(4,\)"):
        graph.forward(good[0], jnp.ones(4))
    with pytest.raises(DTypeError, match="float32, got int32"):
        graph.forward(good[0], jnp.ones(3, int))
    whole = trace(lambda n: n * 10, 2)
    for number in (2.7, 1j):
        with pytest.raises(DTypeError, match="value of n must have dtype int32"):
            whole.forward(number)
    with pytest.raises(ShapeError, match="cotangent of a2"):
        graph.backward(values, jnp.ones(3))
    with pytest.raises(ArgumentError, match="tangents must be given for each argument"):
        graph.tangents(values, good[0])
    vector = trace(lambda x: x * 2, jnp.ones(2))
    with pytest.raises(ArgumentError, match="needs a cotangent unless the output is one number"):
        vector.backward(vector.forward(jnp.ones(2)))


# Local Jacobians


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.long)])
def test_structures_hold(every: bool) -> None:
    """Edges of all programs have the structure that is said, and most are not dense.

    By default the first edge of each kind is looked at: an operation, an operand, a structure.
    """
    seen: dict[Structure, int] = {}
    kinds = set[tuple[str, int, Structure]]()
    for program in PROGRAMS:
        if program.name in ("complex", "a loop behind a stop") or not program.has_reverse:
            continue
        args = jax.tree.map(jnp.asarray, program.args)
        graph = trace(program.f, *args)
        values = None
        for node in graph.nodes:
            for place, parent in enumerate(graph.nodes[p] for p in node.parents):
                structure = graph.local_jacobian(node, parent).structure
                seen[structure] = seen.get(structure, 0) + 1
                kind = (node.op, place, structure)
                if kind in kinds and not every:
                    continue
                kinds.add(kind)
                values = graph.forward(*args) if values is None else values
                local = graph.local_jacobian(node, parent, values)
                assert (local.shape, local.structure) == (node.shape + parent.shape, structure)
                if local.matrix is not None and np.all(np.isfinite(local.matrix)):
                    verdict = holds(structure, local.matrix, node.shape, parent.shape)
                    assert verdict, f"{program.name}, d{node.op}/d{parent.name}: {verdict.why}"
    assert set(seen) >= set(Structure) - {Structure.KRONECKER, Structure.BLOCK_DIAGONAL}
    assert seen[Structure.DENSE] < sum(seen.values()) / 4


def test_local_jacobians_print_and_refuse() -> None:
    values = GRAPH.forward(2.0, 0.5)
    assert repr(GRAPH.local_jacobian("a2", "x2", values)) == "da2/dx2: diagonal, shape (): 2.0"
    assert repr(GRAPH.local_jacobian("a2", "x2")) == "da2/dx2: diagonal, shape ()"
    with pytest.raises(ArgumentError, match="a1 is not computed from x1"):
        GRAPH.local_jacobian("a1", "x1")


def test_the_jacobian_of_a_relu_layer_is_diagonal() -> None:
    x, w = jnp.array([1.0, -1.0]), jnp.array([[1.0, 2.0], [3.0, 1.0]])
    graph = trace(lambda x, w: fn.relu(fn.linear(x, w)), x, w)
    values = graph.forward(x, w)
    relu = graph.local_jacobian("a2", "a1", values)
    np.testing.assert_array_equal(relu.matrix, np.diag([0.0, 1.0]))
    assert relu.structure is Structure.DIAGONAL
    np.testing.assert_array_equal(graph.local_jacobian("a1", "x", values).matrix, w.T)


# Paths


def test_paths_of_the_slides() -> None:
    paths = GRAPH.paths("x2", "a3", GRAPH.forward(2.0, 0.5))
    assert [str(path) for path in paths] == ["x2 -> a1 -> a3", "x2 -> a2 -> a3"]
    assert [float(path.product) for path in paths] == [pytest.approx(np.cos(0.5)), 2.0]
    assert paths.count == 2 and paths
    assert GRAPH.paths("a1", "a2").count == 0 and not GRAPH.paths("a3", "x1")
    (trivial,) = GRAPH.paths("a1", "a1", GRAPH.forward(2.0, 0.5))
    assert str(trivial) == "a1" and float(trivial.product) == 1
    with pytest.raises(ArgumentError, match="values"):
        GRAPH.paths("x2", "a3").total()


def test_counts_are_exact_however_many() -> None:
    """Each residual layer triples the paths: around it, and by both factors inside it."""

    def net(x: Any) -> Any:
        for _ in range(50):
            x = x + jnp.sin(x) * jnp.cos(x)
        return jnp.sum(x)

    x = jnp.full(2, 0.1)
    graph = trace(net, x)
    paths = graph.paths("x", graph.outputs[0], graph.forward(x))
    assert paths.count == 3**50 > 2**64
    np.testing.assert_allclose(paths.total(), jax.grad(net)(x), rtol=1e-5)
    assert len({str(path) for path in islice(paths, 20)}) == 20


def test_jacobians_too_large_to_write_down() -> None:
    x = jnp.ones(5000)
    graph = trace(jnp.sin, x)
    values = graph.forward(x)
    assert graph.local_jacobian("a1", 0, values).matrix is None
    with pytest.raises(ArgumentError, match="too large"):
        graph.paths(0, "a1", values).total()
    assert [path.product for path in graph.paths(0, "a1")] == [None]


# Descent


def test_descent_is_the_lectures_update() -> None:
    def loss(w: Any, x: Any) -> Any:
        return jnp.sum((w["a"] * x - w["b"]) ** 2)

    w, x = {"a": jnp.array(0.3), "b": jnp.ones(2)}, jnp.array([1.0, 2.0])
    graph = trace(lambda w, x: jnp.sum((w["a"] * x - w["b"]) ** 2), w, x)
    current = w
    for step in islice(descend(graph, w, x, learning_rate=0.1), 5):
        np.testing.assert_allclose(step.loss, loss(current, x), rtol=1e-6)
        gradient = jax.grad(loss)(current, x)
        current = jax.tree.map(lambda p, g: p - 0.1 * g, current, gradient)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), step.new_args[0], current
        )
        assert step.new_args[1] is x
    count = trace(lambda n: 1.0 * n, 3)
    with pytest.raises(ArgumentError, match="argnums says which"):
        next(descend(count, 3, learning_rate=0.1))
    half = jnp.ones((), jnp.bfloat16)
    steps = descend(trace(lambda w: w * w, half), half, learning_rate=np.float32(0.1))  # type: ignore[arg-type]
    assert [s.new_args[0].dtype for s in islice(steps, 2)] == [jnp.bfloat16] * 2
    wave = trace(lambda z: jnp.abs(z) ** 2, 1 + 2j)
    losses = [float(s.loss) for s in islice(descend(wave, 1 + 2j, learning_rate=0.1), 4)]
    assert losses == sorted(losses, reverse=True)
    with pytest.raises(ArgumentError, match=r"argnums has 2, but .* has 2 arguments"):
        descend(graph, w, x, learning_rate=0.1, argnums=2)
