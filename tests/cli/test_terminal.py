from __future__ import annotations

import io
import os
import signal
import sys
import threading

import pytest

from funcnet.cli.terminal import Interruption, Output, complain, one_line, progress


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.npz"), "a.npz: No such file"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("only a text"), "only a text"),
        (ValueError("two\n  lines"), "two lines"),
        (KeyError(), "KeyError"),
    ],
)
def test_errors_on_one_line(error: BaseException, text: str) -> None:
    assert one_line(error).startswith(text)
    assert "\n" not in one_line(error)


def test_quiet_output_keeps_what_is_important(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(quiet=True)
    output.line("chatter")
    output.line("result", important=True)
    assert capsys.readouterr().out == "result\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_broken_output_is_noted_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        output = Output()
        output.line("lost")
        assert output.failure is not None
        assert "No space left" in str(output.failure)
        output.line("not even tried")
        full.flush()  # as Python does at the end: it must not fail again


def test_complaints_survive_a_closed_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    complain("nobody hears this")


def test_plain_progress_shows_about_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(Output(), "seed 0", 60) as show:
        for done in range(1, 61):
            show(done, f"loss {1 / done:.2f}")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "seed 0  epoch  1/60  loss 1.00"
    assert lines[-1] == "seed 0  epoch 60/60  loss 0.02"
    assert len(lines) == 11


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with progress(Output(), "seed 0", 5) as show:
        for done in range(1, 6):
            show(done, f"loss {1 / done:.2f}")
    text = terminal.getvalue()
    assert "seed 0" in text
    assert "5/5" in text
    assert "loss 0.20" in text


def test_a_quiet_terminal_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert not Output(quiet=True).interactive
    assert Output().interactive


def test_the_first_interrupt_sets_a_flag_and_the_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        assert not interruption.pressed
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.pressed
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    seen = []

    def enter() -> None:
        with Interruption() as interruption:
            seen.append(interruption.pressed)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [False]
