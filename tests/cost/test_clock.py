"""Timing in turns, and the words for times."""

from __future__ import annotations

import pytest

from funcnet.cost.clock import format_seconds, interleaved, ratio, spread


def test_functions_take_turns() -> None:
    calls: list[str] = []
    rounds: list[tuple[int, int]] = []
    samples = interleaved(
        [lambda: calls.append("a"), lambda: calls.append("b")],
        rounds=4,
        seconds=10.0,
        on_round=lambda done, of: rounds.append((done, of)),
    )
    assert [len(s) for s in samples] == [4, 4]
    assert all(t > 0 for s in samples for t in s)
    assert rounds == [(1, 4), (2, 4), (3, 4), (4, 4)]
    turns = [name for name, before in zip(calls, [None, *calls], strict=False) if name != before]
    # Warmed up and tried once each; then from the back, from the front, and so on.
    assert turns == ["a", "b", "a", "b", "a", "b", "a", "b"]


def test_little_time_means_few_rounds() -> None:
    assert len(interleaved([lambda: None], rounds=50, seconds=1e-9)[0]) == 3


def test_spread_and_ratio() -> None:
    assert spread([7.0]) == (7.0, 7.0, 7.0)
    assert spread([4.0, 1.0, 2.0, 3.0, 5.0]) == (3.0, 2.0, 4.0)
    # The machine is half as fast in the last round, which the ratios do not see.
    assert ratio([2.0, 2.0, 4.0], [1.0, 1.0, 2.0]) == (2.0, 2.0, 2.0)


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
