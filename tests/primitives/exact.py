"""The law of exact digits, ``|error| <= 8 eps (|d| + sum |x d'|)``; references are in mpmath."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

DTYPES = ("float64", "float32", "bfloat16", "float16")

# For costly laws. What is lost in float64 and bfloat16 is lost in these two as well, but for a
# constant with too few digits, which the laws of conformance see; float16 overflows before others.
narrow_dtypes_first = pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "float16",
        *(pytest.param(dtype, marks=pytest.mark.long) for dtype in ("float64", "bfloat16")),
    ],
)


def values_of(array: Any) -> np.ndarray:
    """Any floating array as float64, exactly."""
    return np.asarray(array).astype(np.float64)


def exact(value: Any) -> Any:
    """A number as mpmath has it, with nothing rounded."""
    return mpmath.mpf(float(value))


def points(dtype: str, *, positive: bool = False, per_side: int = 40) -> jax.Array:
    """Powers of ten over the whole normal range of a dtype, and some in the middle."""
    info = jnp.finfo(dtype)
    low, high = np.log10(float(info.smallest_normal)) + 0.01, np.log10(float(info.max)) - 0.01
    x = np.concatenate([np.logspace(low, high, per_side), np.linspace(0.1, 10, per_side)])
    return jnp.asarray(x if positive else np.concatenate([-x, x]), dtype)


def derivative(f: Callable[..., Any], argnum: int, mode: str) -> Callable[..., Any]:
    """The derivative of an elementwise function by one argument, in one mode."""

    def at(*args: Any) -> Any:
        def one(x: Any) -> Any:
            return f(*args[:argnum], x, *args[argnum + 1 :])

        seed = jnp.ones_like(args[argnum])
        if mode == "forward":
            return jax.jvp(one, (args[argnum],), (seed,))[1]
        return jax.vjp(one, args[argnum])[1](seed)[0]

    return at


def assert_exact(
    dtype: str,
    computed: Any,
    wanted: Sequence[Any],
    scales: Sequence[Any],
    what: str,
    at: Any,
) -> None:
    """Hold each computed value to ``8 eps scale``, where the value is in the range of the dtype.

    Of what is below the smallest normal number, twice that may be lost: the halves of a sum are
    flushed to zero one by one.
    """
    info = jnp.finfo(dtype)
    eps, tiny, huge = (exact(v) for v in (info.eps, info.smallest_normal, info.max))
    for got, want, scale, where in zip(values_of(computed), wanted, scales, at, strict=True):
        if abs(want) > huge * (1 - eps):
            assert not abs(got) < 0.9 * float(huge), f"{what} at {where}: {got}, not {want}"
            continue
        allowed = 8 * eps * scale + 2 * tiny
        error = abs(exact(got) - want) if np.isfinite(got) else mpmath.inf
        assert error <= allowed, (
            f"{what} in {dtype} at {where}: {got}, not {mpmath.nstr(want, 12)}, "
            f"off by {mpmath.nstr(error / allowed, 3)} of what is allowed"
        )
