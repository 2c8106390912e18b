"""What a labelled set of images is, and how it is divided into a training and a test part.

The division draws no random numbers: within each class every fifth image, in the order of the
file, is for the test. It is stratified by construction, and the same on every machine and with
every version of every library.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from funcnet.errors import ArgumentError

__all__ = ["TEST_EVERY", "Dataset", "Split", "split_by_class"]

TEST_EVERY = 5
"""Of each class, one image in so many is for the test."""


class Dataset(NamedTuple):
    """Images with their labels; also a batch of them, as it is a pytree.

    Attributes:
        images: Floating array of shape ``(n, height, width, channels)``, or ``(n, ...)``.
        labels: Integer array of shape ``(n,)``, with the classes ``0 .. classes - 1``.
    """

    images: Any
    labels: Any

    def rows(self) -> Dataset:
        """The same examples with each image as one row: images of shape ``(n, features)``."""
        return self._replace(images=self.images.reshape(len(self.images), -1))


class Split(NamedTuple):
    """A training part and a test part with no example in common."""

    train: Dataset
    test: Dataset


def split_by_class(data: Dataset, every: int = TEST_EVERY) -> Split:
    """Put one example in ``every`` of each class into the test part.

    The example of rank ``r = 0, 1, ...`` within its class, in the order of the data, is for the
    test if ``r % every == every - 1``. Both parts keep the order of the data.

    Args:
        data: Examples, with labels of shape ``(n,)``, as NumPy arrays.
        every: At least 2. A class with fewer examples has none in the test part.

    Returns:
        A :class:`Split`. Split the training part once more for a validation part.

    Raises:
        ArgumentError: When ``every`` is not an integer of at least 2.

    Example:
        >>> import numpy as np
        >>> data = Dataset(images=np.arange(6.0), labels=np.array([0, 1, 0, 1, 0, 1]))
        >>> split_by_class(data, every=3).test
        Dataset(images=array([4., 5.]), labels=array([0, 1]))
    """
    try:
        period = operator.index(every)
    except TypeError:
        period = 0
    if period < 2:
        raise ArgumentError(
            f"split_by_class: every must be an integer of at least 2, got {every!r}"
        )
    labels = np.asarray(data.labels)
    for_test = np.zeros(labels.shape, bool)
    for label in np.unique(labels):
        (members,) = np.nonzero(labels == label)
        for_test[members[period - 1 :: period]] = True
    return Split(
        Dataset(data.images[~for_test], data.labels[~for_test]),
        Dataset(data.images[for_test], data.labels[for_test]),
    )
