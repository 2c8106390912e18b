"""Compilation for tests, where a function runs once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def quick_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.jit`, without the optimisations that would cost more than they gain."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": "0"})
