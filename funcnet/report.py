"""Tables made of plain text, which summaries, plans and cost reports are built from.

A report is data first: a :class:`Table` keeps the numbers it was given, and only turns them into
text when it is printed. ``str(table)`` is aligned plain text; in a notebook the same table shows
itself as HTML. Numbers stand on the right of their column, everything else on the left.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeGuard

import numpy as np

__all__ = [
    "Cell",
    "Column",
    "Table",
    "format_bytes",
    "format_count",
    "format_number",
    "format_seconds",
]

Cell: TypeAlias = str | float | None
"""What may stand in a table: a text, a number, or nothing."""


def format_number(value: float) -> str:
    """Write a number for a reader: whole numbers in full, others with four significant digits.

    Args:
        value: The number.

    Returns:
        Its text.

    Example:
        >>> format_number(60965224), format_number(1 / 3)
        ('60,965,224', '0.3333')
    """
    return f"{value:,}" if isinstance(value, int | np.integer) else f"{value:.4g}"


def format_count(value: float) -> str:
    """Write a count with three significant digits and a decimal prefix.

    The prefixes are k, M, G, T, P and E for the powers of 1000, as is usual for FLOPs.

    Args:
        value: The count.

    Returns:
        Its text. Counts below 1000 are written in full.

    Example:
        >>> format_count(12), format_count(1_428_376_960)
        ('12', '1.43 G')
    """
    return _with_prefix(value, 1000, ("", " k", " M", " G", " T", " P", " E"))


def format_bytes(value: float) -> str:
    """Write an amount of memory with three significant digits and a binary prefix.

    The prefixes are KiB, MiB, GiB, TiB, PiB and EiB for the powers of 1024.

    Args:
        value: The number of bytes.

    Returns:
        Its text.

    Example:
        >>> format_bytes(512), format_bytes(40_000)
        ('512 B', '39.1 KiB')
    """
    return _with_prefix(value, 1024, (" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"))


def format_seconds(value: float) -> str:
    """Write a time with three significant digits, in the unit that suits it.

    Args:
        value: The time in seconds.

    Returns:
        Its text.

    Example:
        >>> format_seconds(0.00125), format_seconds(90.0)
        ('1.25 ms', '90 s')
    """
    if value == 0:
        return "0 s"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 999.5 else f"{value:,.0f} s"
    return f"{value / 1e-9:.3g} ns"


def _with_prefix(value: float, base: int, prefixes: Sequence[str]) -> str:
    size, power = float(value), 0
    while round(abs(size)) >= 1000 and power < len(prefixes) - 1:
        size, power = size / base, power + 1
    return f"{size:.3g}{prefixes[power]}" if abs(size) < 999.5 else f"{size:,.0f}{prefixes[power]}"


@dataclass(frozen=True)
class Column:
    """One column of a table: its heading, and how its numbers are written.

    Attributes:
        heading: The text above the column.
        format: Turns a number of this column into text.
    """

    heading: str
    format: Callable[[float], str] = format_number

    def text(self, cell: Cell) -> str:
        """Write one cell of this column, on one line.

        Args:
            cell: What stands in the cell.

        Returns:
            Its text, which is empty for None.
        """
        if cell is None:
            return ""
        return self.format(cell) if _is_number(cell) else " ".join(str(cell).split())


@dataclass(frozen=True)
class Table:
    """Rows under headings, which print themselves.

    Attributes:
        columns: The columns; a text stands for a column with that heading.
        rows: The rows, each with one cell per column.
        title: A line above the table.
        footer: Rows below a second rule, usually one row of totals.
        notes: Lines below the table.

    Raises:
        ValueError: If a row has more or fewer cells than there are columns.

    Example:
        >>> print(Table(["layer", Column("memory", format_bytes)],
        ...             [("hidden", 401_408), ("output", 5_120)], footer=[("total", 406_528)]))
        layer    memory
        ------  -------
        hidden  392 KiB
        output    5 KiB
        ------  -------
        total   397 KiB
    """

    columns: Sequence[Column | str]
    rows: Sequence[Sequence[Cell]]
    title: str = field(default="", kw_only=True)
    footer: Sequence[Sequence[Cell]] = field(default=(), kw_only=True)
    notes: Sequence[str] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        for row in (*self.rows, *self.footer):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"Table: the row {tuple(row)!r} has {len(row)} cells, but there are "
                    f"{len(self.columns)} columns: {self._headings()}."
                )

    def __str__(self) -> str:
        headings, body, footer = self._headings(), self._texts(self.rows), self._texts(self.footer)
        widths = [max(map(len, column)) for column in zip(headings, *body, *footer, strict=True)]
        rule = ["-" * width for width in widths]
        lines = [headings, rule, *body, *([rule, *footer] if footer else [])]
        title = [self.title] if self.title else []
        return "\n".join([*title, *(self._line(line, widths) for line in lines), *self.notes])

    def _repr_html_(self) -> str:
        """Return the table as HTML: notebooks look for this name."""
        title = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        head = self._html_row(self._headings(), "th")
        body = "".join(self._html_row(texts, "td") for texts in self._texts(self.rows))
        foot = "".join(self._html_row(texts, "td") for texts in self._texts(self.footer))
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return (
            f"<table>{title}<thead>{head}</thead><tbody>{body}</tbody>"
            f"<tfoot>{foot}</tfoot></table>{notes}"
        )

    def _headings(self) -> list[str]:
        return [c if isinstance(c, str) else c.heading for c in self.columns]

    def _texts(self, rows: Sequence[Sequence[Cell]]) -> list[list[str]]:
        columns = [Column(c) if isinstance(c, str) else c for c in self.columns]
        return [[c.text(cell) for c, cell in zip(columns, row, strict=True)] for row in rows]

    def _is_right(self, index: int) -> bool:
        return any(_is_number(row[index]) for row in (*self.rows, *self.footer))

    def _line(self, texts: Sequence[str], widths: Sequence[int]) -> str:
        cells = [
            text.rjust(width) if self._is_right(index) else text.ljust(width)
            for index, (text, width) in enumerate(zip(texts, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    def _html_row(self, texts: Sequence[str], tag: str) -> str:
        cells = [
            f'<{tag} style="text-align: {"right" if self._is_right(index) else "left"}">'
            f"{html.escape(text)}</{tag}>"
            for index, text in enumerate(texts)
        ]
        return f"<tr>{''.join(cells)}</tr>"


def _is_number(cell: Cell) -> TypeGuard[float]:
    # A boolean is a word, though Python takes it for an int.
    return isinstance(cell, int | float | np.number) and not isinstance(cell, bool)
