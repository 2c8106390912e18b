"""Law: `check_rule` finds nothing, to second order."""

from __future__ import annotations

from funcnet.rules import check_rule
from tests.conformance.choice import every_family
from tests.conformance.table import Row


@every_family
def test_check_rule(row: Row) -> None:
    named = dict(zip(row.rule.argument_names, row.args, strict=True))
    report = check_rule(row.rule, **named, **row.static)
    assert {check.argument.strip("'") for check in report.checks} >= {
        row.rule.argument_names[i] for i in row.moving
    }
