"""Compilation as users have it; the tests' own setting is a faster one that optimises nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

__all__ = ["optimised"]


def optimised(function: Callable[..., Any]) -> Any:
    """`jax.jit` with XLA's default level of optimisation."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": "3"})
