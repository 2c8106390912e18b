"""Labelled images from a NumPy archive, checked once, where they come in.

An archive is read with ``allow_pickle=False``: a file can hold wrong numbers, but never code.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np

from funcnet.data.dataset import TEST_EVERY, Dataset
from funcnet.errors import ArgumentError

__all__ = ["load_npz", "parse_npz"]


def load_npz(path: str | os.PathLike[str]) -> Dataset:
    """Read images and labels from a ``.npz`` file with the arrays ``images`` and ``labels``.

    Images of an integer dtype are divided by the largest value in the file, so that they lie in
    ``[0, 1]``; floating images are taken as they are.

    Args:
        path: The file. ``images`` has the shape ``(n, height, width)``, which becomes
            ``(n, height, width, 1)``, or ``(n, height, width, channels)`` or ``(n, features)``;
            ``labels`` has the shape ``(n,)`` and an integer dtype, with classes
            ``0 .. classes - 1`` of at least 5 images each.

    Returns:
        A :class:`Dataset` of float32 images and int32 labels, as NumPy arrays.

    Raises:
        OSError: When the file cannot be read.
        ArgumentError: When it is not such an archive; the message says in what.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        ...     np.savez(file, images=np.full((10, 2, 2), 255), labels=np.arange(10) % 2)
        ...     _ = file.seek(0)
        ...     data = load_npz(file.name)
        >>> data.images.shape, data.images.max(), data.labels[:4]
        ((10, 2, 2, 1), np.float32(1.0), array([0, 1, 0, 1], dtype=int32))
    """
    return parse_npz(Path(path).read_bytes(), name=os.fspath(path))


def parse_npz(content: bytes, name: str) -> Dataset:
    """Read the content of such a file; ``name`` is what errors call it."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise ArgumentError(f"{name} is not a .npz archive, as numpy.savez makes them")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except Exception as error:  # a damaged archive makes zipfile, zlib and NumPy raise many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArgumentError(f"{name} cannot be read as a .npz archive: {reason}") from error
    for key in ("images", "labels"):
        if key not in arrays:
            raise ArgumentError(
                f"{name} must have the arrays 'images' and 'labels', has {sorted(arrays)}"
            )
    images = _images(arrays["images"], name)
    return Dataset(images, _labels(arrays["labels"], len(images), name))


def _images(images: np.ndarray, name: str) -> np.ndarray:
    if images.ndim not in (2, 3, 4) or images.size == 0:
        raise ArgumentError(
            f"{name}: images must have the shape (n, height, width), (n, height, width, channels) "
            f"or (n, features) and not be empty, got {images.shape}"
        )
    if np.issubdtype(images.dtype, np.integer):
        scaled = images.astype(np.float32) / np.float32(max(images.max(), 1))
    elif np.issubdtype(images.dtype, np.floating):
        with np.errstate(over="ignore"):
            scaled = images.astype(np.float32)
    else:
        raise ArgumentError(f"{name}: images must be real numbers, got the dtype {images.dtype}")
    if not np.isfinite(scaled).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(scaled))[0])
        raise ArgumentError(
            f"{name}: images must be finite in float32, but images{list(place)} is {images[place]}"
        )
    return scaled[..., None] if scaled.ndim == 3 else scaled


def _labels(labels: np.ndarray, count: int, name: str) -> np.ndarray:
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise ArgumentError(
            f"{name}: labels must be integers of shape ({count},), one per image, "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2 or classes[0] != 0 or classes[-1] != len(classes) - 1:
        raise ArgumentError(
            f"{name}: labels must be the classes 0, 1, ... with none left out and at least two, "
            f"got {len(classes)} classes from {classes[0]} to {classes[-1]}"
        )
    if counts.min() < TEST_EVERY:
        raise ArgumentError(
            f"{name}: each class needs at least {TEST_EVERY} images, so that one is for the test; "
            f"class {counts.argmin()} has {counts.min()}"
        )
    return labels.astype(np.int32)
