from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from funcnet.initializers import delta_orthogonal, identity, orthogonal

ALPHA = 1e-4  # the probability with which a right distribution would fail under a fresh seed
KEY = jax.random.key(11)
DIMENSION_NUMBERS = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC"), 3: None}


def gram_error(matrix: npt.NDArray[np.float64]) -> float:
    """How far the rows or columns, whichever are fewer, are from orthonormal."""
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    return float(np.abs(matrix @ matrix.T - np.eye(len(matrix))).max())


MATRICES = [(1, 1), (1, 7), (64, 64), (40, 100), (100, 40)]


@pytest.mark.parametrize("shape", MATRICES)
@pytest.mark.parametrize("scale", [1.0, -0.5, 1.7])
def test_rows_or_columns_are_orthonormal(shape: tuple[int, int], scale: float) -> None:
    drawn = np.asarray(orthogonal(scale)(KEY, shape), np.float64) / scale
    assert gram_error(drawn) < 10 * np.finfo(np.float32).eps


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("shape", MATRICES)
def test_float64_is_orthonormal_to_float64(shape: tuple[int, int]) -> None:
    drawn = np.asarray(orthogonal()(KEY, shape, jnp.float64))
    assert gram_error(drawn) < 10 * np.finfo(np.float64).eps


Parts = Callable[[npt.NDArray[np.float64]], list[npt.NDArray[np.float64]]]
AXES: dict[str, tuple[tuple[int, ...], dict[str, Any], Parts]] = {
    "wide kernel": ((3, 2, 4, 30), {}, lambda w: [w.reshape(24, 30)]),
    "tall kernel": ((3, 2, 5, 24), {}, lambda w: [w.reshape(30, 24)]),
    "outputs first": ((30, 4, 6), {"out_axis": 0}, lambda w: [w.reshape(30, 24)]),
    "outputs between": ((4, 30, 6), {"out_axis": 1}, lambda w: [w.swapaxes(0, 1).reshape(30, 24)]),
    "two output axes": ((30, 6, 4), {"out_axis": (2, 1)}, lambda w: [w.reshape(30, 24)]),
    "batch first": ((6, 5, 4), {"batch_axis": 0}, list),
    "batch last": (
        (4, 5, 6),
        {"batch_axis": -1, "out_axis": -2},
        lambda w: list(np.moveaxis(w, -1, 0)),
    ),
    "two batch axes": (
        (2, 5, 3, 4),
        {"batch_axis": (0, 2)},
        lambda w: list(np.moveaxis(w, 2, 1).reshape(6, 5, 4)),
    ),
}


@pytest.mark.parametrize("case", AXES)
def test_axes(case: str) -> None:
    shape, options, matrices = AXES[case]
    drawn = np.asarray(orthogonal(**options)(KEY, shape), np.float64)
    assert drawn.shape == shape
    parts = matrices(drawn)
    for part in parts:
        assert gram_error(part) < 1e-6
    for other in parts[1:]:
        assert not np.allclose(parts[0], other)


@pytest.fixture(scope="module")
def rotations() -> npt.NDArray[np.float64]:
    return np.asarray(orthogonal(batch_axis=0)(KEY, (20_000, 5, 5)), np.float64)


@pytest.mark.parametrize("row", range(5))
@pytest.mark.parametrize("column", range(5))
def test_entries_of_uniform_rotations(
    rotations: npt.NDArray[np.float64], row: int, column: int
) -> None:
    """Columns are uniform on the sphere: (1 + entry) / 2 ~ Beta((n - 1)/2, (n - 1)/2)."""
    halves = (1 + rotations[:, row, column]) / 2
    assert stats.kstest(halves, stats.beta(2, 2).cdf).pvalue > ALPHA / 25


def test_traces_and_determinants_of_uniform_rotations(
    rotations: npt.NDArray[np.float64],
) -> None:
    """E tr = 0, E tr^2 = 1 and E tr^4 = 3 in O(5); half of O(5) are reflections."""
    n = len(rotations)
    traces = np.trace(rotations, axis1=1, axis2=2)
    for power, expected in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        values = traces**power
        bound = stats.norm.isf(ALPHA / 2) * values.std() / math.sqrt(n)
        assert abs(values.mean() - expected) < bound
    reflections = int((np.linalg.det(rotations) < 0).sum())
    assert stats.binomtest(reflections, n, 0.5).pvalue > ALPHA


def test_frames_are_uniform() -> None:
    drawn = orthogonal(batch_axis=0)(KEY, (10_000, 2, 6))
    halves = (1 + np.asarray(drawn, np.float64).reshape(10_000, 12)) / 2
    for entry in halves.T:
        assert stats.kstest(entry, stats.beta(2.5, 2.5).cdf).pvalue > ALPHA / 12


def convolve(x: jax.Array, kernel: jax.Array, groups: int = 1) -> jax.Array:
    window = kernel.ndim - 2
    numbers = DIMENSION_NUMBERS[window] or ("NDHWC", "DHWIO", "NDHWC")
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (1,) * window,
        "SAME",
        dimension_numbers=numbers,
        feature_group_count=groups,
        precision="highest",
    )


WINDOWS = [(5,), (3, 4), (3, 2, 1)]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("n_in", "n_out", "groups"), [(4, 6, 1), (4, 6, 2)])
def test_delta_orthogonal_keeps_the_length_of_every_pixel(
    window: tuple[int, ...], n_in: int, n_out: int, groups: int
) -> None:
    kernel = delta_orthogonal(1.5, groups=groups)(KEY, (*window, n_in // groups, n_out))
    x = jax.random.normal(jax.random.key(1), (2, *(6,) * len(window), n_in))
    lengths = [jnp.linalg.norm(array, axis=-1) for array in (convolve(x, kernel, groups), x)]
    np.testing.assert_allclose(lengths[0], 1.5 * lengths[1], rtol=1e-5)


def test_delta_orthogonal_has_one_matrix_per_group_in_the_middle() -> None:
    drawn = delta_orthogonal(groups=2)(KEY, (3, 4, 2, 6))
    assert np.count_nonzero(drawn) == drawn[1, 1].size
    assert not np.allclose(drawn[1, 1, :, :3], drawn[1, 1, :, 3:])


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("groups", [1, 2])
def test_identity_passes_images_on(window: tuple[int, ...], groups: int) -> None:
    kernel = identity(-2.0, groups=groups)(KEY, (*window, 4 // groups, 4))
    x = jax.random.normal(jax.random.key(1), (2, *(6,) * len(window), 4))
    np.testing.assert_array_equal(convolve(x, kernel, groups), -2.0 * x)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
def test_identity_matrices(shape: tuple[int, int]) -> None:
    np.testing.assert_array_equal(identity(3.0)(KEY, shape), 3.0 * np.eye(*shape))
