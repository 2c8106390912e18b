"""Rules that look at the values of an argument before they are traced.

An index or a label may be out of range, and a compiled program cannot raise. Where the values are
known, outside of `jax.jit` or as constants in it, the mistake is an error at once; where they are
not, each such function says what it returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from funcnet.rules import Rule

__all__ = ["checked_rule", "known"]


class _CheckedRule(Rule):
    def __init__(self, primal: Callable[..., Any], check: Callable[..., None], **settings: Any):
        super().__init__(primal, **settings)
        self._check = check

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._check(*args, **kwargs)
        return super().__call__(*args, **kwargs)


def checked_rule(*, check: Callable[..., None], **settings: Any) -> Callable[..., Rule]:
    """State a rule, as `rule` does, of which every call goes through `check` first."""
    return lambda function: _CheckedRule(function, check, **settings)


def known(value: Any) -> np.ndarray | None:
    """The value as a NumPy array, if it is known here and now."""
    if isinstance(value, jax.core.Tracer):
        return None
    if isinstance(value, jax.Array) and not value.is_fully_addressable:
        return None
    return np.asarray(value)
