"""Which rows a law looks at by default; it looks at all others under the marker `long`.

A law is as wide as what it can catch. Numbers differ from row to row. Higher orders and vmap run
the written rules, which are the same in all rows of a rule. And what only the machinery behind all
rules can break shows at one rule of each family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.conformance.table import FAMILIES, ROWS, Row

__all__ = ["every_family", "every_row", "every_rule", "first_of_its_rule"]

_FIRST = {id(row.rule): row for row in reversed(ROWS)}


def first_of_its_rule(row: Row) -> bool:
    """Whether no row before it has its rule."""
    return _FIRST[id(row.rule)] is row


def every_row(law: Callable[..., None]) -> Any:
    """Run a law for every row that it applies to."""
    return _rows(law, by_default=ROWS)


def every_rule(law: Callable[..., None]) -> Any:
    """Run a law for the first row of every rule by default."""
    return _rows(law, by_default=filter(first_of_its_rule, ROWS))


def every_family(law: Callable[..., None]) -> Any:
    """Run a law for the first row of every family by default."""
    return _rows(law, by_default=(family[0] for family in FAMILIES))


def _rows(law: Callable[..., None], by_default: Iterable[Row]) -> Any:
    chosen = {row.name for row in by_default}
    rows = [
        pytest.param(row, id=row.name, marks=() if row.name in chosen else pytest.mark.long)
        for row in ROWS
        if law.__name__ not in row.without
    ]
    return pytest.mark.parametrize("row", rows)(law)
