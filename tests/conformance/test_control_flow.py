"""Law: jit, loops, branches and checkpoints change how a rule runs, and never what it gives."""

from __future__ import annotations

from tests.conformance.choice import every_family
from tests.conformance.measured import assert_close, controlled, first_order
from tests.conformance.table import Row


@every_family
def test_jit(row: Row) -> None:
    assert_close(controlled(row)["jit"], first_order(row)["vjp"][1])


@every_family
def test_scan(row: Row) -> None:
    assert_close(controlled(row)["scan"], first_order(row)["vjp"][1])


@every_family
def test_cond(row: Row) -> None:
    assert_close(controlled(row)["cond"], first_order(row)["vjp"][1])


@every_family
def test_while_loop_in_forward_mode(row: Row) -> None:
    assert_close(controlled(row)["while"], first_order(row)["jvp"][1])


@every_family
def test_checkpoint(row: Row) -> None:
    assert_close(controlled(row)["checkpoint"], first_order(row)["vjp"][1])


@every_family
def test_checkpoint_with_a_policy(row: Row) -> None:
    assert_close(controlled(row)["checkpoint, saving"], first_order(row)["vjp"][1])
