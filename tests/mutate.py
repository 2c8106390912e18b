"""Bend each rule of the package in turn, and report which conformance test saw it.

    python tests/mutate.py                  all rules, about ten minutes
    python tests/mutate.py --only softmax   the rules whose names contain a text

A rule is bent by one tenth of a percent at one place: in its function, or in its `jvp` or `vjp` for
one argument. The command fails if a bent rule passes all laws.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parents[1]))

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

import tests.conftest  # noqa: F401  (its strict settings, before JAX starts)
from funcnet.rules import Rule
from tests.bending import Place, bend, places
from tests.conformance import test_check_rule, test_linear, test_reference
from tests.conformance.table import ROWS, Row

LAWS: Sequence[Callable[[Row], None]] = (
    test_reference.test_value,
    test_reference.test_jvp,
    test_reference.test_jvp_of_each_argument,
    test_reference.test_vjp,
    test_linear.test_transposes,
    test_check_rule.test_check_rule,
)
"""The laws that compare numbers at first order, and the checker."""


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A rule, where it is to be bent, and the row to look at it."""

    rule: Rule
    place: Place
    row: Row

    def seen_by(self, laws: Sequence[Callable[[Row], None]] = LAWS) -> list[str]:
        """The laws that fail for the bent rule."""
        bent = dataclasses.replace(self.row, rule=bend(self.rule, self.place))
        return [law.__name__ for law in laws if _fails(law, bent)]


def _fails(law: Callable[[Row], None], row: Row) -> bool:
    try:
        law(row)
    except (AssertionError, TypeError):  # RuleError is a TypeError
        return True
    return False


def mutants(only: str = "") -> Iterator[Mutant]:
    """Every rule of the table, bent at every place, at a row where that place is used."""
    seen = set()
    for first in ROWS:
        rule = first.rule
        if id(rule) in seen or only not in rule.name:
            continue
        seen.add(id(rule))
        rows = [row for row in ROWS if row.rule is rule]
        for place in places(rule):
            yield Mutant(rule, place, next(row for row in rows if _uses(row, place)))


def _uses(row: Row, place: Place) -> bool:
    return place.kind == "primal" or row.rule.argument_names.index(place.argument) in row.moving


def main(only: Annotated[str, typer.Option(help="Bend only rules named like this.")] = "") -> None:
    """Bend each rule in turn, and report which test saw it."""
    console = Console()
    table = Table("rule", "bent", "row", "seen by")
    survivors = 0
    every = list(mutants(only))
    for mutant in track(every, "Bending", console=console):
        laws = mutant.seen_by()
        survivors += not laws
        names = ", ".join(name.removeprefix("test_") for name in laws) or "[red]nothing"
        table.add_row(mutant.rule.name, str(mutant.place), mutant.row.name, names)
    console.print(table)
    console.print(f"{len(every) - survivors} of {len(every)} bent rules were seen")
    raise typer.Exit(int(survivors > 0 or not every))


if __name__ == "__main__":
    typer.run(main)
