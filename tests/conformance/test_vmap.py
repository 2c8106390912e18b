"""Law: vmap with any mix of batched arguments gives for each example what it alone gives."""

from __future__ import annotations

from tests.conformance.choice import every_rule
from tests.conformance.measured import assert_close, first_order, transformed
from tests.conformance.table import Row


@every_rule
def test_vmap(row: Row) -> None:
    """Both modes with all arguments batched along their last axes, and with each one alone."""
    found = first_order(row)
    wanted = found["vjp"][1], (found["value"][1], found["jvp"][1])
    for got in transformed(row)["vmap"]:
        assert_close(got, wanted)
