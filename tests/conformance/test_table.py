"""The table is complete: every rule in the package has a row."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import funcnet
from funcnet import primitives
from funcnet.rules import Rule
from tests.conformance.table import ROWS


def rules_of_the_package() -> Iterator[tuple[str, Rule]]:
    """The rules that a module holds by a name, those without a public name too."""
    for module in pkgutil.walk_packages(funcnet.__path__, f"{funcnet.__name__}."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Rule):
                yield f"{module.name}.{name}", value


def test_every_rule_has_a_row() -> None:
    there = {id(row.rule) for row in ROWS}
    missing = [name for name, rule in rules_of_the_package() if id(rule) not in there]
    assert missing == []


def test_every_public_name_is_a_rule_with_a_row_of_its_name() -> None:
    names = {row.name for row in ROWS}
    for name in primitives.__all__:
        assert isinstance(getattr(primitives, name), Rule)
        assert any(n == name or n.startswith(f"{name}, ") for n in names), name


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_rows_that_leave_out_laws_are_few() -> None:
    assert sum(bool(row.without) for row in ROWS) <= len(ROWS) // 20


def test_every_rule_is_documented() -> None:
    for _, rule in rules_of_the_package():
        assert rule.formula
    for name in primitives.__all__:
        assert getattr(primitives, name).source and getattr(primitives, name).__doc__
