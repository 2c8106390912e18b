"""What the commands write to the terminal, and how they take Ctrl-C.

Nothing here may cost a finished run: when the standard output is closed or its disk is full, the
rest of the output is dropped and the command goes on. The first Ctrl-C only sets a flag, which
the training loop reads between epochs; the second one interrupts at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Protocol

from funcnet.errors import FuncnetError

__all__ = ["Failure", "Interruption", "Output", "Progress", "complain", "one_line", "progress"]


class Failure(FuncnetError):
    """What the command was asked for cannot be done; the message is all that the user needs."""


def one_line(error: BaseException) -> str:
    """The message of an exception on one line; an OSError's with the file first."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fspath(error.filename)!s}: " if error.filename is not None else ""
        return f"{where}{error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def complain(message: str) -> None:
    """Write one line to the standard error; if even that is closed, there is nobody to tell."""
    with suppress(OSError):
        print(f"funcnet: {message}", file=sys.stderr, flush=True)


class Output:
    """Lines on the standard output.

    Attributes:
        quiet: Whether to write only what is marked as important.
        failure: The error that ended the output, if one did.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.failure: OSError | None = None

    @property
    def interactive(self) -> bool:
        """Whether a progress bar makes sense."""
        return not self.quiet and sys.stdout is not None and sys.stdout.isatty()

    def line(self, text: str = "", *, important: bool = False) -> None:
        """Write a line, unless the output is quiet or broken."""
        if self.failure is not None or (self.quiet and not important):
            return
        try:
            print(text, flush=True)
        except OSError as error:
            self.failure = error
            # Python flushes the standard output once more when it ends, and would fail again.
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Progress(Protocol):
    """Tells how far the training is: ``show(epoch, "loss 0.5")`` after each epoch."""

    def __call__(self, done: int, text: str) -> None:
        """Show that so many epochs are done, with a text about the last one."""
        ...


@contextmanager
def progress(output: Output, title: str, total: int) -> Iterator[Progress]:
    """A progress bar on a terminal, about ten plain lines elsewhere, nothing when quiet."""
    if not output.interactive:
        stride = max(1, total // 10)

        def show_line(done: int, text: str) -> None:
            if done == 1 or done % stride == 0 or done == total:
                output.line(f"{title}  epoch {done:{len(str(total))}}/{total}  {text}")

        yield show_line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    with Bar(*columns, TimeRemainingColumn(), TextColumn("{task.fields[text]}")) as bar:
        task = bar.add_task(title, total=total, text="compiling")
        yield lambda done, text: bar.update(task, completed=done, text=text)


class Interruption:
    """Whether Ctrl-C was pressed, while it is active as a context manager."""

    def __init__(self) -> None:
        self.pressed = False
        self._before: Any = None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():  # signals reach no other
            self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
