"""The handwritten digits that are embedded in the package.

They are 1797 images of 8x8 pixels from *Optical Recognition of Handwritten Digits* (E. Alpaydin and
C. Kaynak, 1998, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49), under the
licence CC BY 4.0; ``DIGITS.md`` beside this file tells more.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from funcnet.data.dataset import Split, split_by_class
from funcnet.data.files import parse_npz
from funcnet.errors import ArgumentError

__all__ = ["load_digits"]

_FILE = Path(__file__).with_name("digits.npz")
_SHA256 = "aa64e930663d6e9271e1566601d65e70236553f73ec6cb041a4ab37167cf1d04"


def load_digits() -> Split:
    """The embedded handwritten digits, in a fixed training part and a fixed test part.

    1442 images are for training and 355 for the test: within each class, every fifth image of the
    file (:func:`split_by_class`).

    Returns:
        A :class:`Split` of two :class:`Dataset`, as NumPy arrays: images of shape ``(n, 8, 8, 1)``,
        float32 in ``[0, 1]`` with 0 for paper and 1 for ink, and int32 labels 0 to 9 of shape
        ``(n,)``. ``.rows()`` makes the images ``(n, 64)``.

    Raises:
        OSError: When the file of the package cannot be read.
        ArgumentError: When the file is not the one that was shipped.

    Example:
        >>> train, test = load_digits()
        >>> train.images.shape, test.images.shape, test.labels[:5]
        ((1442, 8, 8, 1), (355, 8, 8, 1), array([5, 0, 9, 8, 7], dtype=int32))

    References:
        E. Alpaydin, C. Kaynak: Cascading Classifiers. Kybernetika 34 (4), 1998, 369-374.
    """
    content = _FILE.read_bytes()
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise ArgumentError(
            f"load_digits: {_FILE} is damaged (its SHA-256 is not the one that was shipped); "
            "install the package again"
        )
    return split_by_class(parse_npz(content, name=str(_FILE)))
