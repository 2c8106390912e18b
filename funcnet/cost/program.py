"""One compiled program, and what it took to get it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax

__all__ = ["Program", "build"]


@dataclass(frozen=True)
class Program:
    """A compiled program with its arguments.

    Attributes:
        trace_seconds: The time to write the function down as a jaxpr.
        compile_seconds: The time to compile that.
        temp_bytes: The memory that it takes besides arguments and results; None where the back end
            does not say.
        held_bytes: The same with the results.
    """

    trace_seconds: float
    compile_seconds: float
    temp_bytes: int | None
    held_bytes: int
    _call: Callable[[], Any] = field(repr=False)

    def __call__(self) -> Any:
        """Run it."""
        return self._call()


def build(f: Callable[..., Any], *args: Any) -> Program:
    """Compile a function for arguments.

    Args:
        f: Any function that JAX can trace.
        *args: Its arguments, as arrays.

    Returns:
        The :class:`Program`.

    Example:
        >>> import jax.numpy as jnp
        >>> float(build(jnp.sum, jnp.ones(3))())
        3.0
    """
    start = time.perf_counter()
    traced = jax.jit(f).trace(*args)
    traced_at = time.perf_counter()
    compiled = traced.lower().compile()
    compiled_at = time.perf_counter()
    memory: Any = compiled.memory_analysis()
    temporary = None if memory is None else int(memory.temp_size_in_bytes)
    results = sum(out.size * out.dtype.itemsize for out in jax.tree.leaves(traced.out_info))
    return Program(
        traced_at - start,
        compiled_at - traced_at,
        temporary,
        results + (temporary or 0),
        lambda: compiled(*args),
    )
