"""Law: jit, loops, branches and checkpoints change how a rule runs, and never what it gives."""

from __future__ import annotations

from tests.conformance.measured import assert_close, first_order, transformed
from tests.conformance.table import Row, every_rule


@every_rule
def test_jit(row: Row) -> None:
    assert_close(transformed(row)["jit"], first_order(row)["vjp"][1])


@every_rule
def test_scan(row: Row) -> None:
    assert_close(transformed(row)["scan"], first_order(row)["vjp"][1])


@every_rule
def test_cond(row: Row) -> None:
    assert_close(transformed(row)["cond"], first_order(row)["vjp"][1])


@every_rule
def test_while_loop_in_forward_mode(row: Row) -> None:
    assert_close(transformed(row)["while"], first_order(row)["jvp"][1])


@every_rule
def test_checkpoint(row: Row) -> None:
    assert_close(transformed(row)["checkpoint"], first_order(row)["vjp"][1])


@every_rule
def test_checkpoint_with_a_policy(row: Row) -> None:
    assert_close(transformed(row)["checkpoint, saving"], first_order(row)["vjp"][1])
