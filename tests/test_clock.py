"""Timing in turns, and the words for times."""

from __future__ import annotations

from funcnet.clock import interleaved, ratio, spread


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
