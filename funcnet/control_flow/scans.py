"""Scans whose gradient takes no more memory than it is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import jaxpr_as_fun

from funcnet.control_flow.loop import bytes_of
from funcnet.control_flow.loops import DEFAULT_BUDGET
from funcnet.errors import ArgumentError, ShapeError
from funcnet.jaxprs import residuals

__all__ = ["scan"]

C = TypeVar("C")
X = TypeVar("X")
Y = TypeVar("Y")


def scan(
    f: Callable[[C, X], tuple[C, Y]],
    init: C,
    xs: X | None = None,
    length: int | None = None,
    *,
    reverse: bool = False,
    unroll: int | bool = 1,
    budget_bytes: int | None = None,
) -> tuple[C, Y]:
    """Take a step along each element of some arrays; the gradient fits into a number of bytes.

    As :func:`jax.lax.scan`: ``carry_(k+1), y_k = f(carry_k, x_k)``, with its rules in both modes.
    Its gradient keeps for every step what the pullback of that step needs. Where that is more than
    `budget_bytes`, the scan is cut into pieces of equal length, of which only the carry at the
    beginning is kept, and each is run again before it is pulled back: with pieces of the square
    root of the length, once more. Where that is still too much, the pieces are cut in their turn.

    Args:
        f: From the carry and one element to the next carry and one result.
        init: The carry to start from.
        xs: Arrays whose first axis is walked along, or None.
        length: The number of steps, where `xs` does not tell.
        reverse: Whether to walk from the last element to the first.
        unroll: How many steps are written out one after another, as of :func:`jax.lax.scan`.
        budget_bytes: How many bytes the gradient may keep of the steps, by default 4 MiB. Under
            ``vmap`` that is for one example. The arrays that come in and go out do not count.

    Returns:
        The last carry, and the results, stacked.

    Raises:
        ArgumentError: If no cutting takes as little as `budget_bytes`.
        ShapeError: If the leading axes of `xs` differ, or are not `length` long.

    Example:
        >>> def product(x):
        ...     return scan(lambda p, a: (p * a, None), 1.0, x, budget_bytes=64)[0]
        >>> jax.grad(product)(jnp.arange(1.0, 9.0))[:3]
        Array([40320., 20160., 13440.], dtype=float32)

    References:
        Chen et al., Training deep nets with sublinear memory cost, 2016, section 4.2,
        https://arxiv.org/abs/1604.06174.
    """
    steps = _length(xs, length)
    plain = partial(lax.scan, f, init, xs, length, reverse=reverse, unroll=unroll)
    budget = DEFAULT_BUDGET if budget_bytes is None else budget_bytes
    if steps < 2:
        return plain()
    carry, kept = _bytes_of_step(f, init, xs)
    pieces = _pieces(steps, carry, kept, budget)
    if not pieces:
        return plain()
    how = partial(_scan, f, reverse=reverse, unroll=unroll)
    return how(init, xs, steps=steps, pieces=pieces)


def _length(xs: Any, length: int | None) -> int:
    found = {x.shape[0] for x in map(jnp.asarray, jax.tree.leaves(xs)) if x.ndim}
    found |= set() if length is None else {int(length)}
    if len(found) != 1:
        raise ShapeError(
            f"scan: xs and length have to say together how many steps there are, and say "
            f"{sorted(found) or 'nothing'}. Give arrays of one length, or `length`."
        )
    return found.pop()


def _bytes_of_step(f: Callable[..., Any], init: Any, xs: Any) -> tuple[int, int]:
    """The bytes of a carry, and of what a step's pullback needs: new arrays, and the carry."""
    x = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), _typed(xs))
    carry = _typed(init)
    traced = jax.make_jaxpr(f)(carry, x)

    def step(consts: Any, carry: Any, x: Any) -> Any:
        jaxpr = traced.jaxpr
        whole = type(traced)(jaxpr, consts)
        return jaxpr_as_fun(whole)(*jax.tree.leaves(carry), *jax.tree.leaves(x))

    consts = [jax.typeof(c) for c in traced.consts]
    found = residuals(step, consts, carry, x, argnums=(0, 1, 2))
    of_carry = sum(r.nbytes for r in found if r.kind == "argument" and _is_carry(r.description))
    return bytes_of(jax.tree.leaves(carry)), found.nbytes + of_carry


def _is_carry(path: str) -> bool:
    return path.startswith("carry")


def _typed(tree: Any) -> Any:
    return jax.tree.map(jax.typeof, jax.tree.map(jnp.asarray, tree))


def _pieces(steps: int, carry: int, kept: int, budget: int) -> tuple[int, ...]:
    """The lengths of the pieces, the longest first; nothing where all steps fit."""
    least = math.inf
    for levels in range(1, steps.bit_length() + 1):
        pieces = _cut(steps, carry, kept, levels)
        taken = _taken(steps, carry, kept, pieces)
        if taken <= budget:
            return pieces
        least = min(least, taken)
    raise ArgumentError(
        f"scan: budget_bytes={budget:,} is too little for {steps:,} steps, whose carry takes "
        f"{carry:,} bytes and whose pullback needs {kept:,}. Give {least:,} or more."
    )


def _cut(steps: int, carry: int, kept: int, levels: int) -> tuple[int, ...]:
    """Pieces on so many levels that take about the least memory there."""
    if levels == 1 or steps < 2:
        return ()
    count = (steps * max(kept, 1) / max(carry, 1)) ** (1 / levels)
    best = min(max(round(steps / max(count, 1)), 1), steps - 1)
    piece = _near_divisor(steps, best)
    return (piece, *_cut(piece, carry, kept, levels - 1))


def _near_divisor(steps: int, piece: int) -> int:
    """A divisor of the number of steps near a length, if there is one: then no piece is shorter."""
    around = range(max(piece // 2, 1), min(2 * piece, steps - 1) + 1)
    divisors = [d for d in around if steps % d == 0]
    return min(divisors, key=lambda d: abs(math.log(d / piece)), default=piece)


def _taken(steps: int, carry: int, kept: int, pieces: Sequence[int]) -> int:
    """The bytes that are kept at a time."""
    if not pieces:
        return steps * kept
    return -(-steps // pieces[0]) * carry + _taken(pieces[0], carry, kept, pieces[1:])


def _scan(
    f: Any, carry: Any, xs: Any, *, steps: int, pieces: Sequence[int], reverse: bool, unroll: Any
) -> Any:
    """A scan in pieces; what is left over is the shortest piece, and the last."""
    pieces = [p for p in pieces if p < steps]
    if not pieces:
        return lax.scan(f, carry, xs, steps, reverse=reverse, unroll=unroll)
    piece, deeper = pieces[0], pieces[1:]
    how = partial(_scan, f, pieces=deeper, reverse=reverse, unroll=unroll)
    count, rest = divmod(steps, piece)
    start = rest if reverse else 0
    cut = jax.tree.map(lambda a: _part(a, start, count * piece, (count, piece)), xs)
    inner = jax.checkpoint(partial(how, steps=piece), prevent_cse=False)
    carry, ys = lax.scan(inner, carry, cut, count, reverse=reverse)
    ys = jax.tree.map(lambda a: a.reshape(count * piece, *a.shape[2:]), ys)
    if not rest:
        return carry, ys
    over = jax.tree.map(lambda a: _part(a, 0 if reverse else count * piece, rest, (rest,)), xs)
    carry, others = jax.checkpoint(partial(how, steps=rest))(carry, over)
    both = (others, ys) if reverse else (ys, others)
    return carry, jax.tree.map(lambda *parts: jnp.concatenate(parts), *both)


def _part(a: Any, start: int, size: int, shape: tuple[int, ...]) -> Any:
    a = jnp.asarray(a)
    return lax.slice_in_dim(a, start, start + size).reshape(*shape, *a.shape[1:])
