"""Checking a Jacobian, and the pattern it was computed with, against products that JAX makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.errors import ArgumentError
from funcnet.jacobian.planning.options import Options
from funcnet.jacobian.planning.planned import Planned
from funcnet.jacobian.planning.planner import JacobianMode

__all__ = ["JacobianCheck", "check_jacobian"]


@dataclass(frozen=True)
class JacobianCheck:
    """Whether a Jacobian agrees with automatic differentiation. True or false itself.

    Attributes:
        ok: Whether all products agree.
        error: The largest difference, in units of the summands of the entry.
        row: The flattened position in the output, or in the input where only reverse mode could be
            compared, at which the difference is largest.
        by: ``"jvp"`` or ``"vjp"``: what was compared.
    """

    ok: bool
    error: float
    row: int
    by: str

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        if self.ok:
            return f"ok: products by {self.by} differ by at most {self.error:.1e}"
        what = "output" if self.by == "jvp" else "input"
        return (
            f"wrong: products by {self.by} differ by {self.error:.1e}, most at entry {self.row} of "
            f"the flattened {what}; if a pattern was given, an entry of it is missing there"
        )


def check_jacobian(
    f: Callable[..., Any],
    *args: Any,
    argnums: int | Sequence[int] = 0,
    mode: JacobianMode = "auto",
    pattern: Any = None,
    directions: int = 3,
    tolerance: float | None = None,
    seed: int = 0,
) -> JacobianCheck:
    """Compare the Jacobian of a function with automatic differentiation in random directions.

    ::

        J v  =  jvp(f, x, v)        for random v

    An entry that a pattern leaves out, or that was computed wrongly, shows in almost every
    direction.

    Args:
        f: The function.
        *args: Its arguments: the point to compare at.
        argnums: As for :func:`~funcnet.jacobian.jacobian`.
        mode: The mode to check.
        pattern: The pattern to check, as for :func:`~funcnet.jacobian.jacobian`.
        directions: In how many directions to compare.
        tolerance: Products may differ by this, in units of the sum of the absolute values that they
            are sums of; by default by the square root of the dtype's precision.
        seed: Where the random directions start.

    Returns:
        A :class:`JacobianCheck`.

    Raises:
        ArgumentError: If `directions` is not positive, or as for
            :func:`~funcnet.jacobian.jacobian`.

    Example:
        >>> import jax.numpy as jnp
        >>> f = lambda x: x * jnp.roll(x, 1)
        >>> bool(check_jacobian(f, jnp.arange(5.0)))
        True
        >>> bool(check_jacobian(f, jnp.arange(5.0), pattern=np.eye(5, dtype=bool)))
        False
    """
    if directions < 1:
        raise ArgumentError(f"check_jacobian: directions={directions}; take at least 1.")
    planned = Planned("check_jacobian", f, argnums, Options(mode, "bcoo", pattern=pattern))
    call = planned.call(args)
    rows, cols, entries = planned.plan_of(call).entries(call)
    sizes = [[int(np.prod(a.shape)) for a in avals] for avals in (call.avals, call.out_avals)]

    def flat(*leaves: Any) -> Any:
        return call.flat(*leaves, *call.others)[0]

    precision = max([float(jnp.finfo(a.dtype).eps) for a in call.avals], default=0.0)
    draw = np.random.default_rng(seed)
    worst = (0.0, 0)
    by = "jvp"
    for _ in range(directions):
        v = [draw.normal(size=a.shape).astype(a.dtype) for a in call.avals]
        try:
            product = jax.jvp(flat, tuple(call.leaves), tuple(map(jnp.asarray, v)))[1]
            parts, where, size = entries * _ravelled(v)[cols], rows, sum(sizes[1])
        except TypeError:  # a function with a custom_vjp alone
            by = "vjp"
            v = [draw.normal(size=a.shape).astype(a.dtype) for a in call.out_avals]
            product = jax.vjp(flat, *call.leaves)[1]([jnp.asarray(x) for x in v])
            parts, where, size = entries * _ravelled(v)[rows], cols, sum(sizes[0])
        theirs = _ravelled(product)
        ours = np.bincount(where, parts, minlength=size)
        # Each entry is measured by its own summands, or by the rounding of the largest.
        scale = np.bincount(where, np.abs(parts), minlength=size) + np.abs(theirs)
        least = float(np.max(scale, initial=0.0)) * precision + np.finfo(np.float32).tiny
        apart = np.abs(ours - theirs) / np.maximum(scale, least)
        apart = np.where(np.isnan(apart), np.inf, apart)
        if len(apart) and apart.max() >= worst[0]:
            worst = (float(apart.max()), int(apart.argmax()))
    allowed = precision**0.5 if tolerance is None else tolerance
    return JacobianCheck(worst[0] <= allowed, worst[0], worst[1], by)


def _ravelled(leaves: Sequence[Any]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(np.asarray(x, np.float64).ravel() for x in leaves)])
