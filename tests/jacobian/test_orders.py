"""Orders of elimination: what they count, and where the bottlenecks are."""

from __future__ import annotations

from itertools import pairwise, permutations

import jax
import pytest
from jax.extend.core import Literal

from funcnet.jacobian.blocks.terms import identity
from funcnet.jacobian.elimination.graph import EliminationGraph
from funcnet.jacobian.elimination.orders import (
    NAMES,
    bottlenecks,
    eliminate_in,
    multiplications,
    searched,
)
from tests.jacobian.elimination_cases import ELIMINATION, EliminationCase


def graph_of_scalars(case: EliminationCase) -> EliminationGraph:
    """A vertex for each operation, an edge for each operand that is not a number."""
    jaxpr = jax.make_jaxpr(case.f)(*case.make()[1]).jaxpr
    number = {v: i for i, v in enumerate(jaxpr.invars)}
    for eqn in jaxpr.eqns:
        number[eqn.outvars[0]] = len(number)
    ends = [number[v] for v in jaxpr.outvars if not isinstance(v, Literal)]
    graph = EliminationGraph([number[v] for v in jaxpr.invars], ends)
    for eqn in jaxpr.eqns:
        for v in dict.fromkeys(v for v in eqn.invars if not isinstance(v, Literal)):
            graph.connect(number[v], number[eqn.outvars[0]], identity(1))
    return graph


@pytest.mark.parametrize("name", ELIMINATION)
def test_search_is_at_or_below_published_counts(name: str) -> None:
    """Lohoff & Neftci 2024, table 1: what reinforcement learning found."""
    case = ELIMINATION[name]
    graph = graph_of_scalars(case)
    inner = graph.inner()
    assert multiplications(graph, inner) == case.forward
    assert multiplications(graph, inner[::-1]) == case.reverse
    found = searched(graph)
    assert sorted(found) == inner
    assert multiplications(graph, found) <= case.published
    assert found == searched(graph)


def chain(*extents: int, shortcut: bool = False) -> EliminationGraph:
    graph = EliminationGraph([0], [len(extents) + 1])
    for u, v in pairwise(range(len(extents) + 2)):
        graph.connect(u, v, identity(1))
    if shortcut:
        graph.connect(0, 2, identity(1))
    return graph


def test_bottlenecks() -> None:
    assert bottlenecks(chain(1, 1, 1)) == [1, 2, 3]
    assert bottlenecks(chain(1, 1, 1, shortcut=True)) == [2, 3]
    around = chain(1, 1)
    around.connect(0, 3, identity(1))
    assert bottlenecks(around) == []


@pytest.mark.parametrize("order", NAMES)
def test_every_order_eliminates_all(order: str) -> None:
    graph = chain(1, 1, 1, shortcut=True)
    done = eliminate_in(graph, order)  # type: ignore[arg-type]
    assert not done.inner()
    assert graph.inner() == [1, 2, 3]
    # Two paths lead from end to end.
    ((block,),) = done.jacobian()
    assert block is not None
    assert [t.value.scale for t in block.terms] == [2.0]


def test_search_finds_the_best_of_a_small_graph() -> None:
    graph = EliminationGraph([0, 1], [6, 7])
    for u, v in ((0, 2), (1, 2), (2, 3), (2, 4), (1, 4), (3, 5), (4, 5), (5, 6), (5, 7), (3, 7)):
        graph.connect(u, v, identity(1))
    best = min(multiplications(graph, order) for order in permutations(graph.inner()))
    assert multiplications(graph, searched(graph, steps=300)) == best
