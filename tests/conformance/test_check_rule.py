"""Law: `check_rule` finds nothing, to second order.

The default run takes the first row of every rule; the marker `long` runs the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from funcnet.rules import check_rule
from tests.conformance.table import ROWS, Row

FIRST = {id(row.rule): row for row in reversed(ROWS)}.values()


def each_row() -> Iterator[Any]:
    for row in ROWS:
        if "test_check_rule" in row.without:
            continue
        yield pytest.param(row, id=row.name, marks=() if row in FIRST else pytest.mark.long)


@pytest.mark.parametrize("row", list(each_row()))
def test_check_rule(row: Row) -> None:
    named = dict(zip(row.rule.argument_names, row.args, strict=True))
    report = check_rule(row.rule, **named, **row.static)
    assert {check.argument.strip("'") for check in report.checks} >= {
        row.rule.argument_names[i] for i in row.moving
    }
