"""What a graph costs: tracing and both sweeps node by node, and its compiled gradient.

    python -m tests.benchmarks.graphs [--nodes 10000] [--rounds 31]

prints the seconds for a graph of that many nodes, after a first run that compiles its few different
operations, and the time of the compiled backward sweep over that of ``jax.grad`` under ``jax.jit``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import funcnet.primitives as fn
from funcnet.graph import trace
from tests.benchmarks.paired import paired

# Operations in turn: elementwise, reductions, products, gathers, rules.
OPERATIONS: list[Callable[..., Any]] = [
    jnp.sin,
    lambda x: x * 0.5,
    lambda x: x + jnp.sum(x) * 0.1,
    fn.tanh,
    lambda x: x[::-1],
    lambda x: jnp.maximum(x, 0.1),
    lambda x: x @ W,
    fn.softmax,
    lambda x: x * x,
    lambda x: fn.relu(x) - 0.3,
]
W: jax.Array = jnp.eye(8) * 0.9
X = jnp.linspace(-1.0, 1.0, 8)


def long_chain(nodes: int) -> Callable[..., Any]:
    """A function whose graph has about so many nodes."""
    per_round = len(trace(_round, X).nodes) - 2

    def f(x: Any) -> Any:
        for _ in range(nodes // per_round):
            x = _round(x)
        return jnp.sum(x)

    return f


def _round(x: Any) -> Any:
    for operation in OPERATIONS:
        x = operation(x)
    return x


def sweep_seconds(nodes: int) -> tuple[int, list[tuple[str, float]]]:
    """The number of nodes and the seconds of each part, after a run on a smaller graph."""
    small = trace(long_chain(200), X)
    small.backward(small.forward(X))
    f = long_chain(nodes)
    start = time.perf_counter()
    graph = trace(f, X)
    traced = time.perf_counter()
    values = graph.forward(X)
    jax.block_until_ready(values.outputs)
    forward = time.perf_counter()
    jax.block_until_ready(graph.backward(values).inputs)
    backward = time.perf_counter()
    parts = [
        ("trace", traced - start),
        ("forward", forward - traced),
        ("backward", backward - forward),
    ]
    return len(graph.nodes), parts


def mlp_loss(params: Any, x: Any) -> Any:
    for w in params:
        x = fn.tanh(fn.linear(x, w))
    return jnp.sum(x * x)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    count, parts = sweep_seconds(options.nodes)
    print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}, {count} nodes")
    for name, seconds in parts:
        print(f"{name}: {seconds:.2f} s")
    print(f"together: {sum(seconds for _, seconds in parts):.2f} s")
    for width, batch in ((32, 32), (256, 256)):
        params = [jax.random.normal(jax.random.key(i), (width, width)) * 0.1 for i in range(4)]
        x = jnp.ones((batch, width))
        ours, plain = trace(mlp_loss, params, x).as_gradient(), jax.jit(jax.grad(mlp_loss, (0, 1)))
        ratio = paired(partial(ours, params, x), partial(plain, params, x), options.rounds)
        print(f"compiled gradient, 4 layers of {width}, batch {batch}, over jax.grad: {ratio}")


if __name__ == "__main__":
    main()
