from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import funcnet.data
from funcnet.data import digits, load_digits
from funcnet.errors import ArgumentError

FOLDER = Path(funcnet.data.__file__).parent


def test_shapes_dtypes_and_range() -> None:
    for part, count in zip(load_digits(), (1442, 355), strict=True):
        assert part.images.shape == (count, 8, 8, 1)
        assert part.labels.shape == (count,)
        assert (part.images.dtype, part.labels.dtype) == (np.float32, np.int32)
        assert (part.images.min(), part.images.max()) == (0.0, 1.0)
        np.testing.assert_array_equal(np.unique(part.labels), np.arange(10))
        np.testing.assert_array_equal(part.images * 16 % 1, 0)


def test_the_counts_of_the_classes() -> None:
    train, test = load_digits()
    counts = np.bincount(np.concatenate([train.labels, test.labels]))
    # As the UCI repository lists them for the test part of the data set.
    np.testing.assert_array_equal(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    np.testing.assert_array_equal(np.bincount(test.labels), counts // 5)


def test_the_split_never_changes() -> None:
    """Accuracies are comparable only on the same images."""
    train, test = load_digits()
    for part, expected in (
        (train, "684063edd0e9a8903fa03fd0d78b5ae7f677b8ea776320b7d8a7b9b51d0e9443"),
        (test, "9ab6f0b91c252bd57a7b0f06e3d3ae2147496151aa74617bcb1b720ce16a05a9"),
    ):
        assert hashlib.sha256(part.images.tobytes() + part.labels.tobytes()).hexdigest() == expected


def test_no_image_is_in_both_parts() -> None:
    train, test = load_digits()
    seen = {image.tobytes() for image in train.images}
    assert not [image for image in test.images if image.tobytes() in seen]


def test_the_first_image_is_a_zero() -> None:
    """As a reader sees it, with rows and columns where they belong."""
    rows = [
        "".join(" .+#"[int(3 * v)] for v in row) for row in load_digits().train.images[0, ..., 0]
    ]
    assert rows == PICTURE


PICTURE = [
    "   +.   ",
    "  ++.+  ",
    "  +  +. ",
    "  +  .. ",
    "  .  .. ",
    "  +  +. ",
    "  + .+  ",
    "  .+.   ",
]


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray((FOLDER / "digits.npz").read_bytes())
    content[-1] ^= 1  # inside the archive's comment length: the arrays are unharmed
    path = tmp_path / "digits.npz"
    path.write_bytes(content)
    monkeypatch.setattr(digits, "_FILE", path)
    with pytest.raises(ArgumentError, match=r"digits\.npz is damaged.*install"):
        load_digits()


def test_a_missing_file_is_an_os_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "_FILE", tmp_path / "digits.npz")
    with pytest.raises(FileNotFoundError, match=r"digits\.npz"):
        load_digits()


def test_licence_and_source_stand_beside_the_data() -> None:
    text = (FOLDER / "DIGITS.md").read_text()
    for words in ("CC BY 4.0", "10.24432/C50P49", "Alpaydin", "Kaynak"):
        assert words in text
