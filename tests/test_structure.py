"""The kinds of Jacobian block: the lecture's examples hold, and every bent matrix does not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ShapeError
from funcnet.structure import Structure, holds

S = Structure


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return rng().normal(size=shape)


W = normal(4, 3)

# A function of one argument, the argument, and every structure that its Jacobian has.
EXAMPLES: dict[str, tuple[Callable[[Any], Any], np.ndarray, set[Structure]]] = {
    "sign": (jnp.sign, normal(2, 3), {S.ZERO, S.DIAGONAL, S.SELECTION, S.SCALED_IDENTITY,
                                      S.REDUCTION, S.BLOCK_DIAGONAL, S.KRONECKER}),
    "add gate": (lambda x: x + 2.0, normal(2, 3), {S.IDENTITY, S.SCALED_IDENTITY, S.DIAGONAL,
                 S.SELECTION, S.BROADCAST, S.REDUCTION, S.BLOCK_DIAGONAL, S.KRONECKER}),
    "negate": (lambda x: -x, normal(2, 3), {S.SCALED_IDENTITY, S.DIAGONAL, S.REDUCTION,
                                            S.BLOCK_DIAGONAL, S.KRONECKER}),
    "sigmoid": (jax.nn.sigmoid, normal(2, 3), {S.DIAGONAL, S.BLOCK_DIAGONAL}),
    "multiply gate, broadcast": (lambda b: jnp.broadcast_to(b, (2, 3)) * normal(2, 3), normal(3),
                                 {S.DIAGONAL, S.BLOCK_DIAGONAL}),
    "bias": (lambda b: normal(2, 3) + jnp.broadcast_to(b, (2, 3)), normal(3),
             {S.IDENTITY, S.SCALED_IDENTITY, S.DIAGONAL, S.SELECTION, S.BROADCAST,
              S.BLOCK_DIAGONAL, S.KRONECKER}),
    "gather": (lambda x: x[np.array([2, 0, 2])], normal(4), {S.SELECTION, S.BROADCAST,
               S.BLOCK_DIAGONAL, S.KRONECKER}),
    "max": (jnp.max, normal(2, 3), {S.SELECTION, S.BROADCAST, S.REDUCTION, S.BLOCK_DIAGONAL,
                                    S.KRONECKER}),
    "transpose": (jnp.transpose, normal(2, 3), {S.SELECTION, S.BROADCAST, S.REDUCTION,
                                                S.BLOCK_DIAGONAL, S.KRONECKER}),
    "concatenate": (lambda x: jnp.concatenate([x, normal(1, 3)]), normal(2, 3),
                    {S.SELECTION, S.REDUCTION, S.BLOCK_DIAGONAL, S.KRONECKER}),
    "sum": (lambda x: x.sum(1), normal(2, 3), {S.REDUCTION, S.BLOCK_DIAGONAL, S.KRONECKER}),
    "mean": (lambda x: x.mean(), normal(2, 3), {S.REDUCTION, S.BLOCK_DIAGONAL, S.KRONECKER}),
    "softmax": (jax.nn.softmax, normal(2, 3), {S.BLOCK_DIAGONAL}),
    "softmax over the first axis": (lambda x: jax.nn.softmax(x, 0), normal(2, 3),
                                    {S.BLOCK_DIAGONAL}),
    "logsumexp": (lambda x: jax.nn.logsumexp(x, axis=-1), normal(2, 3), {S.BLOCK_DIAGONAL}),
    "linear, for x": (lambda x: x @ W, normal(2, 5, 4), {S.BLOCK_DIAGONAL, S.KRONECKER}),
    "linear, for w": (lambda w: normal(2, 5, 4) @ w, W, {S.BLOCK_DIAGONAL, S.KRONECKER}),
    "linear, one vector": (lambda x: x @ W, normal(4), {S.BLOCK_DIAGONAL, S.KRONECKER}),
    "product of all": (lambda x: x * jnp.prod(x), normal(2, 3), set()),
}  # fmt: skip


def jacobian(f: Callable[[Any], Any], x: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    dense = np.asarray(jax.jacrev(f)(x))
    out_shape = dense.shape[: dense.ndim - x.ndim]
    return dense.reshape(int(np.prod(out_shape)), x.size), out_shape


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(x64: None, name: str) -> None:
    f, x, expected = EXAMPLES[name]
    matrix, out_shape = jacobian(f, x)
    verdicts = {kind: holds(kind, matrix, out_shape, x.shape, tolerance=1e-12) for kind in S}
    assert {kind for kind, verdict in verdicts.items() if verdict} == {*expected, S.DENSE}
    for verdict in verdicts.values():
        assert verdict.ok == (not verdict.why)


# A matrix that has the structure, its shapes, and an entry that breaks it by its new value.
BENT: list[tuple[Any, ...]] = [
    (S.ZERO, np.zeros((2, 3)), (2,), (3,), (1, 2), 1e-30, "not 0"),
    (S.IDENTITY, np.eye(3), (3,), (3,), (1, 1), 1.001, "should be 1"),
    (S.IDENTITY, np.eye(3), (3,), (3,), (1, 2), 0.001, "not on the diagonal"),
    (S.SCALED_IDENTITY, -np.eye(3), (3,), (3,), (2, 2), -1.001, "elsewhere on the diagonal is -1"),
    (S.DIAGONAL, np.diag([1.0, 2, 3]), (3,), (3,), (0, 1), 1e-9, "not on the diagonal"),
    (S.DIAGONAL, np.eye(2)[[0, 1, 0, 1]], (2, 2), (2,), (2, 1), 1e-9, "not on the diagonal"),
    (S.SELECTION, np.eye(3)[[0, 0]], (2,), (3,), (1, 0), 0.999, "neither 0 nor 1"),
    (S.SELECTION, np.eye(3)[[0, 0]], (2,), (3,), (1, 2), 1.0, "not alone in its row"),
    (S.BROADCAST, np.eye(3)[[0, 0]], (2,), (3,), (1, 0), 0.0, "so is the whole row"),
    (S.REDUCTION, np.full((1, 3), 0.5), (), (3,), (0, 1), 0.501, "another weight is 0.5"),
    (S.REDUCTION, np.kron(np.eye(2), np.ones((1, 2))), (2,), (4,), (1, 0), 1.0, "in its column"),
    (S.BLOCK_DIAGONAL, np.kron(np.eye(2), normal(3, 3)), (2, 3), (2, 3), (0, 5), 0.1, "no axis"),
    (S.KRONECKER, np.kron(np.eye(2), normal(3, 3)), (2, 3), (2, 3), (4, 5), 0.1, "blocks differ"),
    (S.KRONECKER, np.kron(normal(3, 3), np.eye(2)), (3, 2), (3, 2), (0, 2), 0.1, "blocks differ"),
    (S.KRONECKER, np.kron(normal(3, 3), np.eye(2)), (3, 2), (3, 2), (0, 3), 0.1, "no axis"),
]


@pytest.mark.parametrize(("kind", "matrix", "out", "into", "entry", "value", "why"), BENT)
def test_a_bent_matrix_is_refused(
    kind: Structure,
    matrix: np.ndarray,
    out: tuple[int, ...],
    into: tuple[int, ...],
    entry: tuple[int, int],
    value: float,
    why: str,
) -> None:
    assert holds(kind, matrix, out, into)
    bent = matrix.copy()
    bent[entry] = value
    verdict = holds(kind, bent, out, into)
    assert not verdict
    assert why in verdict.why


def test_the_evidence_is_in_coordinates_of_both_shapes() -> None:
    matrix = np.zeros((4, 6))
    matrix[2, 5] = 7.0
    assert holds(S.ZERO, matrix, (2, 2), (2, 3)).why == "J[(1, 0), (1, 2)] is 7.0, not 0"
    assert holds(S.ZERO, np.array([[7.0]]), (), ()).why == "J[(), ()] is 7.0, not 0"


@pytest.mark.parametrize("kind", S)
def test_tolerance_forgives_rounding(kind: Structure) -> None:
    examples = {bent[0]: bent[1:4] for bent in BENT} | {S.DENSE: (np.eye(3), (3,), (3,))}
    matrix, out, into = examples[kind]
    noise = 1e-13 * rng().normal(size=matrix.shape) * (kind is not S.ZERO)
    assert holds(kind, matrix + noise, out, into, tolerance=1e-11)


def test_tolerance_is_relative_to_the_largest_entry() -> None:
    matrix = np.diag([1e6, 1.0])
    matrix[0, 1] = 1e-4
    assert holds(S.DIAGONAL, matrix, (2,), (2,), tolerance=1e-9)
    assert not holds(S.DIAGONAL, 1e-6 * matrix, (2,), (2,), tolerance=1e-11)


@pytest.mark.parametrize("kind", S)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_structure_holds_where_an_entry_is_not_finite(kind: Structure, value: float) -> None:
    matrix = np.eye(2)
    matrix[0, 0] = value
    assert "not a finite number" in holds(kind, matrix, (2,), (2,)).why


def test_a_shape_that_does_not_broadcast_has_no_diagonal() -> None:
    assert "does not broadcast" in holds(S.DIAGONAL, np.zeros((2, 6)), (2,), (2, 3)).why


@pytest.mark.parametrize("kind", S)
def test_an_empty_block_has_every_structure(kind: Structure) -> None:
    assert holds(kind, np.zeros((0, 0)), (0, 3), (0, 3))


def test_the_matrix_must_fit_the_shapes() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(4, 6\)"):
        holds(S.DENSE, np.zeros((2, 3)), (2, 2), (2, 3))


def test_every_kind_is_described() -> None:
    source = inspect.getsource(Structure)
    for kind in S:
        assert f'{kind.name} = "{kind.value}"\n    """' in source
