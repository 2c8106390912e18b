"""Graphs to be drawn: the written programs, deep networks, tangles, and next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.graph import Adjoints, Graph, Values, trace
from funcnet.graph.sweeps import unit_cotangent
from funcnet.models import mlp
from funcnet.primitives import softmax_cross_entropy
from tests.graph.programs import PROGRAMS

__all__ = ["CASES", "DAILY", "Swept", "lecture", "network_loss", "swept"]


class Swept(NamedTuple):
    """A graph after both sweeps; without adjoints where there is no reverse mode."""

    graph: Graph
    values: Values
    adjoints: Adjoints | None


def swept(f: Callable[..., Any], args: Any, has_reverse: bool = True) -> Swept:
    graph = trace(f, *args)
    values = graph.forward(*args)
    adjoints = graph.backward(values, unit_cotangent(values)) if has_reverse else None
    return Swept(graph, values, adjoints)


def lecture(x1: Any, x2: Any) -> Any:
    return jnp.sin(x2) + x1 * x2


def network_loss(layers: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A multilayer perceptron with so many hidden layers, its loss, and arguments."""
    net = mlp([12] * layers, 10)
    rng = np.random.default_rng(3)
    x, labels = jnp.asarray(rng.normal(size=(4, 20)), jnp.float32), jnp.arange(4)
    params = net.init(jax.random.key(0), x)

    def loss(params: Any, x: Any, labels: Any) -> Any:
        return jnp.mean(softmax_cross_entropy(net.apply(params, x), labels))

    return loss, (params, x, labels)


def chain(x: Any) -> Any:
    for _ in range(300):
        x = jnp.sin(x) + 0.5 * x
    return x


def tangle(x: Any) -> Any:
    rng = np.random.default_rng(5)
    found = [x]
    for _ in range(40):
        near, far = rng.integers(max(0, len(found) - 9), len(found)), rng.integers(len(found))
        found.append(found[near] * jnp.sin(found[far]))
    return sum(found)


def scoped(x: Any, w: Any) -> Any:
    """A scope that is left and entered again, scopes in scopes, and a value that skips them."""
    with jax.named_scope("a"):
        y = jnp.sin(x) * w["u"]
        with jax.named_scope("b"):
            z = jnp.cos(y) * w["v"] + y
    z = z + x
    with jax.named_scope("a"):
        return z * y + w["u"], jnp.exp(y)


OWN: list[tuple[str, Callable[..., Any], Any]] = [
    ("lecture", lecture, (2.0, 0.5)),
    ("3 layers", *network_loss(2)),
    ("50 layers", *network_loss(50)),
    ("long chain", chain, (0.3,)),
    ("tangle", tangle, (0.7,)),
    ("scopes", scoped, (0.4, {"u": 2.0, "v": 3.0})),
    ("nothing", lambda: None, ()),
    ("an argument and nothing else", lambda x: x, (1.0,)),
    ("a constant", lambda: jnp.arange(3.0), ()),
    ("many arguments", lambda *xs: sum(xs), tuple(map(float, range(40)))),
]

CASES = [(p.name, p.f, p.args, p.has_reverse) for p in PROGRAMS if p.name != "lecture"]
CASES += [(name, f, args, True) for name, f, args in OWN]

DAILY = {
    *("lecture", "3 layers", "scopes", "rnn", "while", "cond, true", "several outputs", "empty"),
    *("complex", "unused input", "straight-through", "integer inputs", "no outputs", "nothing"),
    *("one output twice", "array in a custom rule", "random numbers", "output is an input"),
}
"""Cases to sweep every day: each compiles its operations."""

assert {case[0] for case in CASES} >= DAILY
