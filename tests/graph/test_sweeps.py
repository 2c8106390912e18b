"""Forward, backward, tangents and path sums of any program are those of JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError
from funcnet.graph import trace
from tests.graph.laws import check_backward, check_forward, check_paths, check_tangents
from tests.graph.programs import PROGRAMS, Program
from tests.graph.random_programs import random_program

pytestmark = pytest.mark.usefixtures("x64")

WITH_LOOPS = {"rnn", "fori", "switch", "nested loops", "scan, no rounds"}
WITH_LOOPS |= {program.name for program in PROGRAMS if not program.has_reverse}
LOOPS = [p for p in PROGRAMS if p.name in WITH_LOOPS or p.name.startswith("cond")]
CASES = [(program, False) for program in PROGRAMS] + [(program, True) for program in LOOPS]


def jacobian_of(f: Any, args: Any) -> Any:
    """One leaf of the output by one leaf of the arguments, by forward mode or else by reverse."""
    leaves: list[Any]
    tree: Any
    leaves, tree = jax.tree.flatten(args)

    def block(output: int, source: int) -> Any:
        def one(x: Any) -> Any:
            moved = [x if i == source else leaf for i, leaf in enumerate(leaves)]
            return jax.tree.leaves(f(*tree.unflatten(moved)))[output]

        at = jnp.asarray(leaves[source])
        try:
            return jax.jacfwd(one)(at)
        except TypeError:
            return jax.jacrev(one)(at)

    return block


@pytest.mark.parametrize(
    ("program", "unroll"),
    CASES,
    ids=[f"{program.name}{', unrolled' * unroll}" for program, unroll in CASES],
)
def test_written_programs(program: Program, unroll: bool) -> None:
    f, args = program.f, jax.tree.map(jnp.asarray, program.args)
    graph = trace(f, *args, unroll=unroll)
    values = check_forward(graph, f, args)
    if program.has_reverse:
        check_backward(graph, values, f, args)
    else:
        ones = jax.tree.map(jnp.ones_like, values.outputs)
        if not unroll:
            with pytest.raises(ArgumentError, match="unroll=True"):
                graph.backward(values, ones)
            return
        blocks = jax.tree.leaves(jax.jacfwd(f)(*args))
        total = sum(jnp.sum(block, axis=range(block.ndim - args[0].ndim)) for block in blocks)
        np.testing.assert_allclose(graph.backward(values, ones).inputs[0], total, atol=1e-12)
    if program.has_forward:
        check_tangents(graph, values, f, args)
    else:
        with pytest.raises(ArgumentError, match="forward-mode"):
            graph.tangents(values, *args)
    if program.name != "complex":
        check_paths(graph, values, jacobian_of(f, args))


def test_there_are_enough_programs() -> None:
    assert len({program.name for program in PROGRAMS}) == len(PROGRAMS) >= 30


@pytest.mark.parametrize(
    "block", [*range(2), *(pytest.param(i, marks=pytest.mark.long) for i in range(2, 20))]
)
def test_random_programs(block: int) -> None:
    """Ten programs in each block, two hundred in all."""
    compared = 0
    for seed in range(10 * block, 10 * block + 10):
        f, args = random_program(seed)
        given = tuple(map(jnp.asarray, args))
        graph = trace(f, *given)
        values = check_forward(graph, f, given)
        check_backward(graph, values, f, given)
        check_tangents(graph, values, f, given)
        compared += check_paths(graph, values, jacobian_of(f, given))
    assert compared == 40  # two outputs by two inputs
