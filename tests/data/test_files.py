from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from funcnet.data import load_npz
from funcnet.errors import ArgumentError

LABELS = np.arange(10) % 2
IMAGES = np.arange(90).reshape(10, 3, 3)


def write(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_integers_are_divided_by_the_largest(tmp_path: Path) -> None:
    data = load_npz(write(tmp_path / "a.npz", images=IMAGES.astype(np.uint8), labels=LABELS))
    assert (data.images.dtype, data.labels.dtype) == (np.float32, np.int32)
    np.testing.assert_allclose(data.images, IMAGES[..., None] / 89, rtol=1e-6)
    np.testing.assert_array_equal(data.labels, LABELS)


def test_black_images_stay_zero(tmp_path: Path) -> None:
    data = load_npz(write(tmp_path / "a.npz", images=np.zeros((10, 4), int), labels=LABELS))
    assert not data.images.any()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_taken_as_they_are(tmp_path: Path, dtype: type) -> None:
    data = load_npz(write(tmp_path / "a.npz", images=IMAGES.astype(dtype), labels=LABELS))
    np.testing.assert_array_equal(data.images, IMAGES[..., None])
    assert data.images.dtype == np.float32


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((10, 7), (10, 7)), ((10, 2, 3), (10, 2, 3, 1)), ((10, 2, 3, 4), (10, 2, 3, 4))],
)
def test_shapes(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    data = load_npz(write(tmp_path / "a.npz", images=np.ones(shape), labels=LABELS))
    assert data.images.shape == expected


NAN = np.where(IMAGES == 40, np.nan, IMAGES)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES, "labels": LABELS}, r"must have the arrays .*has \['labels', 'x'\]"),
        ({"images": IMAGES}, "must have the arrays"),
        ({"images": IMAGES[0, 0], "labels": LABELS}, r"images must have the shape .*got \(3,\)"),
        ({"images": np.ones((10, 2, 2, 1, 1)), "labels": LABELS}, "images must have the shape"),
        ({"images": np.ones((0, 4)), "labels": np.ones(0, int)}, "not be empty"),
        ({"images": np.ones((10, 0)), "labels": LABELS}, "not be empty"),
        ({"images": NAN, "labels": LABELS}, r"finite .*images\[4, 1, 1\] is nan"),
        ({"images": np.full((10, 2), 1e300), "labels": LABELS}, r"images\[0, 0\] is 1e\+300"),
        ({"images": np.full((10, 2), "a"), "labels": LABELS}, "must be real numbers"),
        ({"images": np.full((10, 2), 1j), "labels": LABELS}, "must be real numbers"),
        ({"images": IMAGES, "labels": LABELS[:9]}, r"labels must be integers of shape \(10,\)"),
        ({"images": IMAGES, "labels": LABELS[:, None]}, "labels must be integers of shape"),
        ({"images": IMAGES, "labels": LABELS / 1.0}, "labels must be integers.*got float64"),
        ({"images": IMAGES, "labels": LABELS - 1}, "classes from -1 to 0"),
        ({"images": IMAGES, "labels": LABELS * 10**12}, "classes from 0 to 1000000000000"),
        ({"images": IMAGES, "labels": LABELS * 0}, "at least two, got 1 classes"),
        ({"images": IMAGES, "labels": (np.arange(10) > 5) * 1}, "class 1 has 4"),
        ({"images": np.array([None] * 10), "labels": LABELS}, "cannot be read"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(ArgumentError, match=rf"wrong\.npz.*{message}") as caught:
        load_npz(path)
    assert "\n" not in str(caught.value)


def truncated() -> bytes:
    content = good()
    return content[: len(content) // 2]


def good() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, images=IMAGES, labels=LABELS)
    return file.getvalue()


def with_a_wrong_byte() -> bytes:
    content = bytearray(good())
    content[60] ^= 0xFF
    return bytes(content)


def member(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.npy", content)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        truncated(),
        with_a_wrong_byte(),
        member(b""),
        member(b"\x93NUMPY\x01\x00\xff\xff"),
        member(b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (10**9"),
        pickle.dumps({"images": IMAGES, "labels": LABELS}),
    ],
)
def test_damaged_files_give_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.npz"
    path.write_bytes(content)
    with pytest.raises(ArgumentError, match=r"damaged\.npz"):
        load_npz(path)


class Trap:
    """Unpickling this would leave a mark."""

    sprung = False

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Trap, "sprung", True)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    images = np.empty(10, object)
    images[:] = [Trap() for _ in range(10)]
    path = write(tmp_path / "a.npz", images=images, labels=LABELS)
    with pytest.raises(ArgumentError, match=r"cannot be read as a \.npz archive"):
        load_npz(path)
    assert not Trap.sprung


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_npz(tmp_path / "nowhere.npz")
    with pytest.raises(IsADirectoryError):
        load_npz(tmp_path)
