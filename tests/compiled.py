"""Compilation as users have it; the tests' own setting is a faster one that optimises nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxlib.version import __version_info__ as jaxlib_version

# Most functions run once in the tests, and to optimise them would take half of all the time. What
# the compiler does by default, and what it does instead.
_DEFAULT: dict[str, Any] = {"xla_backend_optimization_level": 3}
_FAST: dict[str, Any] = {"xla_backend_optimization_level": 0}
if jaxlib_version < (0, 11):  # later versions have no such switch, and less to gain
    _DEFAULT["xla_cpu_use_fusion_emitters"] = True
    _FAST["xla_cpu_use_fusion_emitters"] = False

fast_flags = [f"--{name}={str(value).lower()}" for name, value in _FAST.items()]


def optimised(function: Callable[..., Any]) -> Any:
    """`jax.jit` with what XLA does by default."""
    import jax

    return jax.jit(function, compiler_options=dict(_DEFAULT))
