"""What a check of a rule finds: single comparisons, and a report that prints itself."""

from __future__ import annotations

from dataclasses import dataclass

from funcnet.report import Column, Table

__all__ = ["Check", "RuleReport"]


@dataclass(frozen=True)
class Check:
    """One comparison that `check_rule` made.

    Attributes:
        law: What was asked, such as ``"central differences"``.
        mode: What it was asked of: ``"value"``, ``"jvp"``, ``"vjp"``, or a nesting of modes.
        argument: With respect to which argument, or how they were taken together.
        deviation: The largest difference, relative to the largest entry.
        tolerance: What is let pass.
        why: What is wrong, where a number does not say it.
    """

    law: str
    mode: str
    argument: str
    deviation: float
    tolerance: float
    why: str = ""

    @property
    def ok(self) -> bool:
        """Whether the rule passed."""
        return self.deviation <= self.tolerance

    def __str__(self) -> str:
        found = self.why or f"off by {self.deviation:.2g} (tolerance {self.tolerance:.0e})"
        return f"{self.mode} for {self.argument}, {self.law}: {found}"


@dataclass(frozen=True)
class RuleReport:
    """What `check_rule` found: all comparisons, with their largest deviations. It prints itself.

    Attributes:
        name: The rule.
        checks: The comparisons, in the order in which they were made.
        notes: What could not be checked, and why.
    """

    name: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[Check, ...]:
        """The comparisons that went wrong."""
        return tuple(check for check in self.checks if not check.ok)

    @property
    def table(self) -> Table:
        """One row for each law and mode, with the argument that came out worst."""
        worst: dict[tuple[str, str], Check] = {}
        for check in self.checks:
            found = worst.setdefault((check.law, check.mode), check)
            if not check.deviation <= found.deviation:
                worst[check.law, check.mode] = check
        plain = Column("largest deviation", "{:.1e}".format), Column("tolerance", "{:.0e}".format)
        return Table(
            ["law", "mode", "argument", *plain],
            [(c.law, c.mode, c.argument, float(c.deviation), c.tolerance) for c in worst.values()],
            title=f"{self.name}: {len(self.checks)} checks, {len(self.failures)} failures",
            notes=self.notes,
        )

    def __str__(self) -> str:
        return str(self.table)

    def _repr_html_(self) -> str:
        """Return the report as HTML: notebooks look for this name."""
        return self.table._repr_html_()
