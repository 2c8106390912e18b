from __future__ import annotations

import jax
import numpy as np
import pytest

from funcnet.data import Dataset, split_by_class
from funcnet.errors import ArgumentError


def numbered(labels: list[int]) -> Dataset:
    """Examples that are their own positions."""
    return Dataset(np.arange(len(labels)), np.array(labels))


def test_every_third_of_each_class_is_for_the_test() -> None:
    data = numbered([0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0])
    train, test = split_by_class(data, every=3)
    # Class 0 stands at 0 3 5 6 10 11, class 1 at 1 2 4 7 8 9.
    np.testing.assert_array_equal(test.images, [4, 5, 9, 11])
    np.testing.assert_array_equal(test.labels, [1, 0, 1, 0])
    np.testing.assert_array_equal(train.images, [0, 1, 2, 3, 6, 7, 8, 10])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("every", [2, 5, 7])
def test_the_parts_are_disjoint_complete_and_stratified(seed: int, every: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, 200)
    train, test = split_by_class(Dataset(np.arange(200), labels), every)
    assert sorted([*train.images, *test.images]) == list(range(200))
    for part in (train, test):
        np.testing.assert_array_equal(part.labels, labels[part.images])
        assert (np.diff(part.images) > 0).all()
    np.testing.assert_array_equal(np.bincount(test.labels), np.bincount(labels) // every)


def test_a_small_class_is_for_training_only() -> None:
    train, test = split_by_class(numbered([0, 0, 0, 0, 0, 1]))
    assert list(test.images) == [4]
    assert list(train.labels) == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("every", [1, 0, -3, 2.5, None])
def test_a_senseless_period_is_refused(every: object) -> None:
    with pytest.raises(ArgumentError, match="every must be an integer of at least 2"):
        split_by_class(numbered([0, 1]), every)  # type: ignore[arg-type]


def test_rows_flatten_each_image() -> None:
    data = Dataset(np.arange(24).reshape(2, 3, 4, 1), np.array([1, 0]))
    np.testing.assert_array_equal(data.rows().images, np.arange(24).reshape(2, 12))
    np.testing.assert_array_equal(data.rows().labels, [1, 0])


def test_a_dataset_is_a_pytree() -> None:
    halves = jax.tree.map(lambda a: a[:1], numbered([5, 6]))
    assert isinstance(halves, Dataset)
    assert list(halves.labels) == [5]
