"""What may be asked of a Jacobian, and what goes together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from funcnet.errors import ArgumentError
from funcnet.jacobian.elimination.orders import NAMES
from funcnet.jacobian.planning.outputs import Output
from funcnet.jacobian.planning.planner import JacobianMode

__all__ = ["MAX_BYTES", "AnyOutput", "Options"]

MAX_BYTES = 1 << 32
"""The largest full Jacobian that is made unless asked for: 4 GiB."""

AnyOutput: TypeAlias = "Output | Literal['operator']"
"""A form of the Jacobian, or products with it."""


@dataclass(frozen=True, eq=False)
class Options:
    """The options of :func:`~funcnet.jacobian.jacobian`, which says what they mean."""

    mode: JacobianMode = "auto"
    output: AnyOutput = "dense"
    order: str = "auto"
    pattern: Any = None
    check_pattern: bool = False
    at_value: bool = False
    autotune: bool = False
    has_aux: bool = False
    max_bytes: int = MAX_BYTES

    def check(self, function: str) -> None:
        """Raise for values that are not known, and for options that exclude each other.

        Args:
            function: Who was asked, for the message.

        Raises:
            ArgumentError: If there is no such value, or nothing that has both.
        """
        _check_known(function, "mode", self.mode, get_args(JacobianMode))
        _check_known(function, "output", self.output, (*get_args(Output), "operator"))
        _check_known(function, "order", self.order, ("auto", *NAMES))
        if self.pattern is not None and self.mode not in ("auto", "compressed"):
            raise ArgumentError(
                f"{function}: a pattern is for mode='compressed', not for mode={self.mode!r}."
            )
        eliminates = self.mode in ("auto", "eliminate") and self.pattern is None
        if self.order != "auto" and not eliminates:
            raise ArgumentError(
                f"{function}: order={self.order!r} is for mode='eliminate', and goes with no "
                "pattern."
            )
        if self.check_pattern and self.pattern is None:
            raise ArgumentError(
                f"{function}: check_pattern=True checks a pattern, and none was given; that of the "
                "structure needs no check."
            )
        for name in ("check_pattern", "at_value", "autotune"):
            if getattr(self, name) and self.output == "operator":
                raise ArgumentError(
                    f"{function}: {name}=True is about entries, and output='operator' has none. "
                    "Take another output."
                )
        if self.at_value and self.mode in ("forward", "reverse"):
            raise ArgumentError(
                f"{function}: at_value=True leaves entries out, and mode={self.mode!r} computes "
                "all of them. Take another mode."
            )


def _check_known(function: str, name: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        raise ArgumentError(
            f"{function}: {name}={value!r} is not known. "
            f"It is one of {', '.join(map(repr, known))}."
        )
