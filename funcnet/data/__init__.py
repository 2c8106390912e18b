"""Labelled images: the digits that come with the package, and the reader for a user's own."""

from __future__ import annotations

from funcnet.data.dataset import Dataset, Split, split_by_class
from funcnet.data.digits import load_digits
from funcnet.data.files import load_npz

__all__ = ["Dataset", "Split", "load_digits", "load_npz", "split_by_class"]
