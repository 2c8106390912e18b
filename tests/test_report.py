"""Tables: alignment, formats, HTML."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from funcnet.report import Column, Table, format_bytes, format_count, format_number, format_seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-1234567, "-1,234,567"),
        (np.int32(1234), "1,234"),
        (0.25, "0.25"),
        (1 / 3, "0.3333"),
        (1.5e-9, "1.5e-09"),
        (np.float32(2.5), "2.5"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1 k"),
        (1234, "1.23 k"),
        (-1234, "-1.23 k"),
        (999_400, "999 k"),
        (999_600, "1 M"),
        (724_406_816, "724 M"),
        (3e9, "3 G"),
        (1e15, "1 P"),
        (5e21, "5,000 E"),
    ],
)
def test_counts(value: float, text: str) -> None:
    assert format_count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.977 KiB"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1023 * 1024, "0.999 MiB"),
        (2**20, "1 MiB"),
        (3 * 2**30, "3 GiB"),
        (2**70, "1,024 EiB"),
    ],
)
def test_bytes(value: float, text: str) -> None:
    assert format_bytes(value) == text


def table() -> Table:
    return Table(
        ["layer", Column("size", format_count), "note"],
        [("hidden/kernel", 1200, "first\nsecond"), ("b", 7, None), ("c", None, True)],
        title="A <title>",
        footer=[("total", 1207, "")],
        notes=["a & b"],
    )


def test_plain_text() -> None:
    assert str(table()).splitlines() == [
        "A <title>",
        "layer            size  note",
        "-------------  ------  ------------",
        "hidden/kernel   1.2 k  first second",
        "b                   7",
        "c                      True",
        "-------------  ------  ------------",
        "total          1.21 k",
        "a & b",
    ]


def test_html_escapes_and_aligns() -> None:
    text = table()._repr_html_()
    assert "<caption>A &lt;title&gt;</caption>" in text
    assert "<p>a &amp; b</p>" in text
    assert '<td style="text-align: right">1.2 k</td>' in text
    assert '<td style="text-align: left">hidden/kernel</td>' in text
    assert text.count("<tr>") == 5


def test_an_empty_table_has_its_headings() -> None:
    assert str(Table(["a", "bc"], [])) == "a  bc\n-  --"


def test_scalars_of_numpy_are_numbers() -> None:
    rows: list[Any] = [(np.float32(0.5), np.int64(12345)), (np.float64(10.0), 1)]
    assert str(Table(["x", "n"], rows)).splitlines()[2:] == ["0.5  12,345", " 10       1"]


def test_a_row_of_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\('a',\) has 1 cells, but there are 2 columns"):
        Table(["x", "y"], [("a",)])
    with pytest.raises(ValueError, match="3 cells"):
        Table(["x", "y"], [], footer=[("a", 1, 2)])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (5e-10, "0.5 ns"),
        (2.5e-8, "25 ns"),
        (1.234e-6, "1.23 us"),
        (0.0456, "45.6 ms"),
        (1.0, "1 s"),
        (90.0, "90 s"),
        (3600.0, "3,600 s"),
    ],
)
def test_seconds_in_words(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
