"""Forward, backward, tangents and path sums of any program are those of JAX."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError
from funcnet.graph import trace
from tests.graph.laws import check_backward, check_forward, check_paths, check_tangents, moving
from tests.graph.programs import PROGRAMS, Program
from tests.graph.random_programs import random_program

pytestmark = pytest.mark.usefixtures("x64")

WITH_LOOPS = {"rnn", "fori", "switch", "nested loops", "scan, no rounds"}
WITH_LOOPS |= {program.name for program in PROGRAMS if not program.has_reverse}
LOOPS = [p for p in PROGRAMS if p.name in WITH_LOOPS or p.name.startswith("cond")]
CASES = [(program, False) for program in PROGRAMS] + [(program, True) for program in LOOPS]
# Costly, and of nothing but what others of the programs are made of too.
LIKE_OTHERS = {"mlp", "softmax loss, plain", "matrix product", "determinant", "rnn, unrolled"}


def case(program: Program, unroll: bool) -> Any:
    name = f"{program.name}{', unrolled' * unroll}"
    marks = pytest.mark.long if name in LIKE_OTHERS else ()
    return pytest.param(program, unroll, id=name, marks=marks)


def jacobian_of(f: Any, args: Any) -> Any:
    """One leaf of the output by one leaf of the arguments, by forward mode or else by reverse.

    All blocks come from one compilation.
    """
    leaves: list[Any]
    tree: Any
    leaves, tree = jax.tree.flatten(args)
    places = [i for i, flag in enumerate(moving(args)) if flag]

    def outputs(*points: Any) -> dict[int, Any]:
        filled = dict(enumerate(leaves)) | dict(zip(places, points, strict=True))
        y = f(*tree.unflatten(filled.values()))
        flags = enumerate(zip(jax.tree.leaves(y), moving(y), strict=True))
        return {o: leaf for o, (leaf, flag) in flags if flag}

    @functools.cache
    def blocks() -> Any:
        at = [jnp.asarray(leaves[i]) for i in places]
        every = tuple(range(len(at)))
        try:
            return jax.jit(jax.jacfwd(outputs, every))(*at)
        except TypeError:
            return jax.jit(jax.jacrev(outputs, every))(*at)

    return lambda output, source: blocks()[output][places.index(source)]


@pytest.mark.parametrize(("program", "unroll"), [case(*pair) for pair in CASES])
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
    "block", [0, *(pytest.param(i, marks=pytest.mark.long) for i in range(1, 40))]
)
def test_random_programs(block: int) -> None:
    """Five programs in each block, two hundred in all."""
    compared = 0
    for seed in range(5 * block, 5 * block + 5):
        f, args = random_program(seed)
        given = tuple(map(jnp.asarray, args))
        graph = trace(f, *given)
        values = check_forward(graph, f, given)
        check_backward(graph, values, f, given)
        check_tangents(graph, values, f, given)
        compared += check_paths(graph, values, jacobian_of(f, given))
    assert compared == 20  # two outputs by two inputs
