"""What is found out only while a program runs: errors, and warnings."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from funcnet.errors import ArgumentError

__all__ = ["refuse", "warn"]


def refuse(failed: Any, message: Callable[..., str], *values: Any) -> None:
    """Raise an error if something failed; while JAX traces, once that is known.

    Args:
        failed: Whether it did; of several examples, each.
        message: What to say, from the values.
        *values: Numbers that the message is made of; of several examples, those of the first that
            failed.
    """
    _once_known(partial(_raise, message), failed, *values)


def warn(failed: Any, message: Callable[..., str], *values: Any) -> None:
    """Warn if something failed, as :func:`refuse` raises."""
    _once_known(partial(_warn, message), failed, *values)


def _once_known(act: Callable[..., None], failed: Any, *values: Any) -> None:
    if not any(isinstance(x, jax.core.Tracer) for x in (failed, *values)):
        act(failed, *values)
        return
    # A call to the host takes longer than many a program: only where there is something to say.
    jax.lax.cond(
        failed, lambda *given: jax.debug.callback(act, *given), lambda *_: None, failed, *values
    )


def _first(failed: Any, values: Any) -> list[Any] | None:
    found = np.flatnonzero(failed)
    if not found.size:
        return None
    return [np.broadcast_to(v, np.shape(failed)).ravel()[found[0]] for v in values]


def _raise(message: Callable[..., str], failed: Any, *values: Any) -> None:
    if (found := _first(failed, values)) is not None:
        raise ArgumentError(message(*found))


def _warn(message: Callable[..., str], failed: Any, *values: Any) -> None:
    if (found := _first(failed, values)) is not None:
        warnings.warn(message(*found), RuntimeWarning, stacklevel=2)
