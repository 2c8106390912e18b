"""A few bent rules are seen: a quick part of what `tests/mutate.py` does for every rule."""

from __future__ import annotations

import dataclasses

import pytest

from tests.bending import Place
from tests.conformance.table import ROWS
from tests.conformance.test_reference import test_value
from tests.mutate import LAWS, Mutant, mutants

EVERY = list(mutants())
QUICK = {
    ("sigmoid", "primal"): "test_value",
    ("affine", "jvp for b"): "test_jvp",
    ("maximum", "vjp for b"): "test_vjp",
    ("softmax_cross_entropy", "jvp for labels"): "test_jvp",
    ("l2_penalty", "vjp for params"): "test_vjp",
}


def test_every_rule_is_bent_at_every_place() -> None:
    rules = {id(row.rule) for row in ROWS}
    assert {id(mutant.rule) for mutant in EVERY} == rules
    assert len(EVERY) > 3 * len(rules)


@pytest.mark.parametrize(("name", "place"), QUICK)
def test_a_bent_rule_is_seen(name: str, place: str) -> None:
    mutant = next(m for m in EVERY if (m.rule.name, str(m.place)) == (name, place))
    seen = mutant.seen_by()
    assert {QUICK[name, place], "test_check_rule"} <= set(seen)
    assert len(seen) < len(LAWS)


def test_a_straight_rule_is_not() -> None:
    row = next(row for row in ROWS if row.name == "sigmoid")
    straight = dataclasses.replace(row)
    assert Mutant(row.rule, Place("primal"), straight).seen_by([test_value]) != []
    test_value(straight)
