"""Law: values, tangents, cotangents and Hessians are those of plain JAX, to 1e-12 in float64."""

from __future__ import annotations

from tests.conformance.choice import every_row, every_rule
from tests.conformance.measured import assert_close, first_order, hessians
from tests.conformance.table import Row


@every_row
def test_value(row: Row) -> None:
    assert_close(*first_order(row)["value"])
    assert_close(*first_order(row)["value under jvp"])


@every_row
def test_jvp(row: Row) -> None:
    assert_close(*first_order(row)["jvp"])


@every_row
def test_jvp_of_each_argument(row: Row) -> None:
    assert_close(*first_order(row)["jvp of each"])


@every_row
def test_vjp(row: Row) -> None:
    assert_close(*first_order(row)["vjp"])


@every_rule
def test_forward_over_forward(row: Row) -> None:
    assert_close(*hessians(row)["forward over forward"])


@every_rule
def test_forward_over_reverse(row: Row) -> None:
    assert_close(*hessians(row)["forward over reverse"])


@every_rule
def test_reverse_over_forward(row: Row) -> None:
    assert_close(*hessians(row)["reverse over forward"])


@every_rule
def test_reverse_over_reverse(row: Row) -> None:
    assert_close(*hessians(row)["reverse over reverse"])
