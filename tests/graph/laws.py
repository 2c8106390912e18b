"""What every graph must satisfy, as functions of a program; JAX itself is the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.graph import Graph

__all__ = ["check_backward", "check_forward", "check_paths", "check_tangents", "moving"]

FEW = 60  # paths that are visited one by one


def close(ours: Any, reference: Any, what: str) -> None:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True):
        assert a.shape == jnp.shape(b) and a.dtype == jnp.asarray(b).dtype, what
        if not jnp.issubdtype(a.dtype, jnp.inexact):
            assert np.array_equal(a, b), what
            continue
        scale = float(np.max(np.abs(b), initial=1.0))
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * scale, err_msg=what)


def moving(tree: Any) -> Any:
    """Whether each leaf is differentiable."""
    return [jnp.issubdtype(jnp.asarray(x).dtype, jnp.inexact) for x in jax.tree.leaves(tree)]


def differentiable(derivatives: Any) -> list[Any]:
    """The leaves, but None for the derivatives of integers."""
    leaves = jax.tree.leaves(derivatives)
    return [None if leaf.dtype == jax.dtypes.float0 else leaf for leaf in leaves]


def direction(tree: Any, seed: int) -> Any:
    """A random tangent or cotangent; float0 for integers, as JAX wants it."""
    rng = np.random.default_rng(seed)

    def one(x: Any) -> Any:
        if not jnp.issubdtype(jnp.asarray(x).dtype, jnp.inexact):
            return np.zeros(jnp.shape(x), jax.dtypes.float0)
        return jnp.asarray(rng.normal(size=jnp.shape(x)), jnp.asarray(x).dtype)

    return jax.tree.map(one, tree)


def check_forward(graph: Graph, f: Callable[..., Any], args: Any) -> Any:
    values = graph.forward(*args)
    reference = f(*args)
    ours, theirs = map(jax.tree.structure, (values.outputs, reference))
    assert str(ours) == str(theirs)
    close(values.outputs, reference, "outputs")
    for node in graph.nodes:
        assert values[node].shape == node.shape and values[node].dtype == node.dtype
        assert all(parent < node.index for parent in node.parents)
    return values


def check_backward(graph: Graph, values: Any, f: Callable[..., Any], args: Any) -> None:
    cotangent = direction(values.outputs, 1)
    adjoints = graph.backward(values, cotangent)

    @jax.jit
    def reference(args: Any) -> list[Any]:
        return differentiable(jax.vjp(f, *args)[1](cotangent))

    flags, wanted = moving(args), reference(args)
    got = [adjoints.node[i] for i in graph.inputs]
    for flag, ours, theirs in zip(flags, got, wanted, strict=True):
        assert (ours is None) == (not flag)
        if flag:
            close(ours, theirs, "gradient")
    # The adjoint of a node is the sum of what its edges bring, and of its own cotangent.
    seeds = dict[int, Any]()
    for index, seed in graph.seeds(cotangent):
        seeds[index] = seeds.get(index, 0) + seed
    for node in graph.nodes:
        if node.index not in graph.active:
            assert adjoints.node[node] is None or node.index in graph.outputs
        else:
            parts = [adjoints.edge[node.index, child] for child in graph.children[node.index]]
            total = sum(parts, seeds.get(node.index, jnp.zeros(node.shape, node.dtype)))
            close(adjoints.node[node], total, f"the sum of the edges out of {node.name}")


def check_tangents(graph: Graph, values: Any, f: Callable[..., Any], args: Any) -> None:
    towards = direction(args, 2)

    @jax.jit
    def reference(args: Any) -> list[Any]:
        return differentiable(jax.jvp(f, args, towards)[1])

    given = jax.tree.map(lambda t: None if t.dtype == jax.dtypes.float0 else t, towards)
    tangents = graph.tangents(values, *given)
    got = [tangents[i] for i in graph.outputs]
    for ours, theirs in zip(got, reference(args), strict=True):
        if theirs is not None:
            close(ours, theirs, "tangent")


def check_paths(graph: Graph, values: Any, jacobian: Callable[[int, int], Any]) -> int:
    """`jacobian(output, input)`: of one leaf by another; returns the number of sums compared."""
    compared = 0
    for o, output in enumerate(graph.outputs):
        for i, source in enumerate(graph.inputs):
            ends = graph.nodes[source], graph.nodes[output]
            if not all(end.differentiable and end.size for end in ends):
                continue
            paths = graph.paths(source, output, values)
            reference = jacobian(o, i)
            close(paths.total(), reference, "total of paths")
            if paths.count <= FEW:
                visited = list(paths)
                assert len(visited) == paths.count
                assert len({tuple(n.index for n in path.nodes) for path in visited}) == paths.count
                products = [path.product for path in visited]
                close(sum(products, jnp.zeros_like(reference)), reference, "sum of products")
            compared += 1
    return compared
