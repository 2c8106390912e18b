"""Laws run row by row, so that what they share is computed once; the number of cases is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.table import ROWS

HERE = Path(__file__).parent


def _is_here(item: pytest.Item) -> bool:
    return HERE in item.path.parents


def _row(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return callspec.params["row"].name if callspec and "row" in callspec.params else ""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All laws of one row behind each other."""
    here = [item for item in items if _is_here(item)]
    if not here:
        return
    order: dict[str, int] = {}
    for item in here:
        order.setdefault(_row(item), len(order))
    first = items.index(here[0])
    rest = [item for item in items if not _is_here(item)]
    before = [item for item in items[:first] if not _is_here(item)]
    here.sort(key=lambda item: order[_row(item)])
    items[:] = before + here + rest[len(before) :]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many pairs of a rule and a law there were."""
    outcomes = [
        report
        for status in ("passed", "failed")
        for report in terminalreporter.stats.get(status, [])
        if report.nodeid.startswith("tests/conformance/") and "[" in report.nodeid
    ]
    if outcomes:
        passed = sum(report.outcome == "passed" for report in outcomes)
        names = {report.nodeid.split("[", 1)[1].removesuffix("]") for report in outcomes}
        rows = len(names & {row.name for row in ROWS})
        terminalreporter.write_line(
            f"conformance: {passed} of {len(outcomes)} cases hold, {rows} rows"
        )
