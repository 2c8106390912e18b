"""The algebra of structured blocks against NumPy's full matrices, on random nests of indices."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.jacobian import jacobian
from funcnet.jacobian.blocks.composition import composed
from funcnet.jacobian.blocks.consolidation import consolidated, listed
from funcnet.jacobian.blocks.dense import columns_of, dense, from_dense, narrowed
from funcnet.jacobian.blocks.terms import Block, Coord, Index, added, identity, make_term, spread
from funcnet.jacobian.blocks.values import Env, Value, constant, evaluate, leaf
from funcnet.jacobian.linearization import aval_of
from funcnet.jaxprs import equations

NUMBERS = Env(lambda atom: atom, jnp.float32)
EXTENTS = (1, 2, 6, 12, 24)


def full(block: Block) -> np.ndarray:
    """The block as a matrix, entry by entry."""
    matrix = np.zeros(block.shape)
    arrays = evaluate([t.value for t in block.terms], NUMBERS)
    for term, entries in zip(block.terms, arrays, strict=True):
        rows, cols = term.rows(), term.cols()
        assert 0 <= rows.min() <= rows.max() < block.shape[0]
        assert 0 <= cols.min() <= cols.max() < block.shape[1]
        values = np.broadcast_to(np.asarray(entries), term.extents).ravel()
        np.add.at(matrix, (rows, cols), values)
    return matrix


def random_value(draw: np.random.Generator, extents: list[int]) -> tuple[np.ndarray, Value]:
    if draw.random() < 0.3:
        number = float(draw.integers(1, 4))
        return np.full((1,) * len(extents), number), constant(number, len(extents))
    shape = [extent if draw.random() < 0.6 else 1 for extent in extents]
    entries = draw.integers(-5, 6, shape).astype(np.float32)
    return entries, leaf(shape, lambda env: jnp.asarray(entries))


def random_index(draw: np.random.Generator) -> Index:
    extent = int(draw.choice([1, 2, 3, 4, 6]))

    def stride() -> Coord:
        return int(draw.choice([1, 2, 3, 4, 6, 12, -1, -2, -4]))

    def table() -> Coord:
        return draw.integers(0, 8, extent)

    kinds: list[tuple[Coord, Coord]] = [
        (stride(), 0),
        (0, stride()),
        (stride(), stride()),
        (stride(), table()),
        (table(), table()),
        (0, table()),
    ]
    return Index(extent, *kinds[draw.integers(len(kinds))])


def random_term(draw: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, Block]:
    """A matrix, and the same as a block of one term; nests that stand out are drawn again."""
    matrix = np.zeros(shape)
    for _ in range(200):
        indices = [random_index(draw) for _ in range(draw.integers(0, 4))]
        row0, col0 = (int(draw.integers(n)) for n in shape)
        extents = [i.extent for i in indices]
        rows = spread([i.row for i in indices], extents, row0)
        cols = spread([i.col for i in indices], extents, col0)
        if rows.min() < 0 or cols.min() < 0 or rows.max() >= shape[0] or cols.max() >= shape[1]:
            continue
        entries, value = random_value(draw, extents)
        np.add.at(matrix, (rows, cols), np.broadcast_to(entries, extents).ravel())
        term = make_term(indices, row0, col0, value)
        return matrix, Block(shape, () if term is None else (term,))
    return matrix, Block(shape)


def random_block(
    draw: np.random.Generator, shape: tuple[int, int], most: int
) -> tuple[np.ndarray, Block]:
    parts = [random_term(draw, shape) for _ in range(draw.integers(1, most + 1))]
    return sum((m for m, _ in parts), np.zeros(shape)), added([b for _, b in parts])


def random_shape(draw: np.random.Generator, ends: int) -> list[int]:
    return [int(n) for n in draw.choice(EXTENTS, ends)]


@pytest.mark.parametrize("seed", range(8))
def test_products_of_random_blocks(seed: int) -> None:
    draw = np.random.default_rng(seed)
    for _ in range(12):
        rows, middle, cols = random_shape(draw, 3)
        matrix, block = random_block(draw, (rows, middle), 2)
        other, inner = random_block(draw, (middle, cols), 2)
        np.testing.assert_array_equal(full(block), matrix)
        np.testing.assert_array_equal(full(composed(block, inner)), matrix @ other)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 140))
def test_products_of_many_random_blocks(seed: int) -> None:
    test_products_of_random_blocks(seed)


@pytest.mark.parametrize("seed", range(6))
def test_other_forms_of_random_blocks(seed: int) -> None:
    draw = np.random.default_rng(seed)
    for _ in range(5):
        rows, cols = random_shape(draw, 2)
        matrix, block = random_block(draw, (rows, cols), 6)
        np.testing.assert_array_equal(full(block.transposed), matrix.T)
        np.testing.assert_array_equal(full(block.scaled(-2.0)), -2 * matrix)
        np.testing.assert_array_equal(full(listed(block)), matrix)
        np.testing.assert_array_equal(full(consolidated(block)), matrix)
        for flat in (False, True):
            made = evaluate([dense(block, flat=flat)], NUMBERS)[0]
            np.testing.assert_array_equal(made, matrix)
        used = columns_of(block)
        assert set(np.flatnonzero(matrix.any(axis=0))) <= set(used)
        np.testing.assert_array_equal(full(narrowed(block, used)), matrix[:, used])
        back = from_dense(dense(narrowed(block, used)), block.shape, used)
        np.testing.assert_array_equal(full(back), matrix)
        row_of, col_of = listed(block).positions()
        assert len(np.unique(row_of * cols + col_of)) == len(row_of)


def test_reshapes_leave_no_trace() -> None:
    """A grid of indices that counts through one range is one index."""
    term = make_term([Index(2, 12, 12), Index(3, 4, 4), Index(4, 1, 1)], 0, 0, constant(1.0, 3))
    assert term is not None
    assert [(i.extent, i.row, i.col) for i in term.indices] == [(24, 1, 1)]


def test_terms_of_one_nest_are_added() -> None:
    block = added([identity(5), identity(5).scaled(2.0)])
    assert len(block.terms) == 1
    np.testing.assert_array_equal(full(block), 3 * np.eye(5))


def test_dense_parts_are_not_listed() -> None:
    """A batch of products of large matrices has three indices, whatever the sizes are."""
    batch, n = 1000, 2000

    def layer() -> Block:
        value = leaf((1, n, n), lambda env: jnp.zeros((1, n, n)))
        term = make_term([Index(batch, n, n), Index(n, 1, 0), Index(n, 0, 1)], 0, 0, value)
        assert term is not None
        return Block((batch * n, batch * n), (term,))

    (term,) = composed(layer(), layer()).terms
    assert not any(isinstance(c, np.ndarray) for i in term.indices for c in (i.row, i.col))
    assert term.value.shape == (1, n, n)


def test_what_is_no_batch_stays_apart() -> None:
    """Strides beside tables, and batches of which a part is missing."""
    dense_parts = [
        make_term([Index(3, 4, 4)], r, c, constant(1.0, 1)) for r in range(4) for c in range(4)
    ]
    beside_table = make_term(
        [Index(12, 1, np.array([5, 0, 7, 2, 9, 4, 11, 6, 1, 8, 3, 10]))], 0, 0, constant(2.0, 1)
    )
    missing = make_term([Index(2, 4, 4)], 0, 0, leaf((2,), lambda env: jnp.arange(1.0, 3.0)))
    for other in (beside_table, missing):
        terms: list[Any] = [*dense_parts, other]
        block = Block((12, 12), tuple(terms))
        np.testing.assert_array_equal(full(consolidated(block)), full(block))


def counted(start: int, env: Env) -> Any:
    return jnp.arange(3.0) + start


def test_a_batch_stays_one() -> None:
    """Many terms that fill the blocks of a batch become one batch of full blocks."""
    batch, n = 3, 4
    parts: list[Any] = []
    for row in range(n):
        for col in range(n):
            value = leaf((batch,), partial(counted, row * n + col))
            parts.append(make_term([Index(batch, n, n)], row, col, value))
    block = Block((batch * n, batch * n), tuple(parts))
    (term,) = consolidated(block).terms
    assert term.extents == (batch, n, n)
    np.testing.assert_array_equal(full(consolidated(block)), full(block))


def test_entries_are_scattered_into_a_vector_where_that_saves_a_copy() -> None:
    """XLA copies a matrix that gets an axis of one entry inside."""

    def scattered(f: Any) -> list[int]:
        made = equations(jax.make_jaxpr(jacobian(f))(x))
        return [aval_of(e.eqn.invars[0]).ndim for e in made if e.name == "scatter"]

    x = jnp.linspace(-1.0, 1.0, 6)
    assert scattered(jnp.sin) == scattered(lambda x: jnp.sin(x)[None]) == [2]
    thin = lambda x: (jnp.sin(x) + x * x[::-1])[:, None]  # noqa: E731
    assert scattered(lambda x: jnp.sin(x)[:, None]) == [1]
    np.testing.assert_allclose(jacobian(thin)(x), jax.jacfwd(thin)(x), rtol=1e-6)
    tiled = lambda x: jnp.stack([x[:2] * x[2:4], x[1:3] ** 2], axis=1)[:, :, None]  # noqa: E731
    np.testing.assert_allclose(jacobian(tiled)(x), jax.jacfwd(tiled)(x), rtol=1e-6)
