"""Random programs from a seed, over arrays of many shapes, to have Jacobians taken of.

`program(seed)` gives a function of one to three arrays and its arguments; it is to be
differentiated with respect to all of them, and both modes can. Half of the programs move entries
about and work on them one by one, which leaves sparse Jacobians; the others also mix them. Values
stay of the order of 1, and arguments stay away from kinks almost surely.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet.rules import rule

__all__ = ["program"]

Shape = tuple[int, ...]
Function = Callable[..., Any]
# Of a generator and the shapes of its operands: an operation, or None where they do not fit it.
Maker = Callable[..., Function | None]

# Rules of one's own: one that agrees with its function, and one that does not.


@jax.custom_jvp
def _rounded(x: Any) -> Any:
    return jnp.round(8 * x) / 8


_rounded.defjvp(lambda primals, tangents: (_rounded(*primals), *tangents))

_written_tanh = rule(
    lambda x: jnp.tanh(x),
    residuals=lambda y, x: y,
    jvp=lambda y, t: (1 - y * y) * t,
    vjp=lambda y, ct: (1 - y * y) * ct,
)

# Bodies of loops and branches stand here once, so that what is compiled for one serves all.


def _filter_step(h: Any, x: Any) -> Any:
    h = jnp.tanh(0.5 * h + x)
    return h, h


def _mix_step(h: Any, x: Any) -> Any:
    h = jnp.sin(h + jnp.flip(x) * jnp.mean(h))
    return h, h + x


def _turn(i: Any, x: Any) -> Any:
    return jnp.sin(x + 0.3 * jnp.roll(x, 1))


def _bounded(x: Any) -> Any:
    return x / (1 + x * x)


def _chosen(choices: list[Function]) -> Maker:
    return lambda rng, *shapes: choices[rng.integers(len(choices))]


# One operand, entry by entry.

_pointwise = _chosen(
    [
        jnp.sin,
        jnp.tanh,
        _bounded,
        _rounded,
        _written_tanh,
        jax.nn.relu,
        jax.jit(lambda x: jnp.cos(x) * x),
        jax.checkpoint(lambda x: jnp.exp(-x * x)),
        lambda x: 0.5 * x,
        lambda x: 1 - x,
        lambda x: jnp.sqrt(1 + x * x),
        lambda x: jnp.where(x > 0.05, x, 0.1 * x),
        lambda x: lax.stop_gradient(x) * x,
        lambda x: lax.cond(jnp.sum(x) > 0.3, jnp.sin, _bounded, x),
    ]
)


def _weighted(rng: Any, shape: Shape) -> Function:
    weights = rng.normal(size=shape)
    return lambda x: x * weights.astype(x.dtype)


# One operand, entries moved, dropped or repeated.


def _reordered(rng: Any, shape: Shape) -> Function | None:
    choices: list[Function] = [jnp.ravel, jnp.transpose, jnp.flip, lambda x: x[None]]
    if shape:
        choices += [lambda x: jnp.roll(x, 1, axis=0), lambda x: x[-1], lambda x: x[..., None]]
    if shape and shape[0] > 1:
        choices += [lambda x: x[1:], lambda x: x[::2], lambda x: jnp.pad(x, [(1, 1)] * x.ndim)]
    size = math.prod(shape)
    if size % 2 == 0 and size > 2:
        choices.append(lambda x: x.reshape(2, -1))
    return choices[rng.integers(len(choices))]


def _gathered(rng: Any, shape: Shape) -> Function | None:
    if not shape:
        return None
    index = rng.integers(shape[0], size=rng.integers(1, shape[0] + 2))
    return lambda x: x[index]


def _scattered(rng: Any, shape: Shape) -> Function | None:
    if not shape:
        return None
    index = rng.integers(shape[0], size=shape[0])
    return lambda x: jnp.zeros_like(x).at[index].add(x / 2)


def _filtered(rng: Any, shape: Shape) -> Function | None:
    if len(shape) != 2:
        return None
    return lambda x: lax.scan(_filter_step, jnp.zeros_like(x[0]), x)[1]


def _stencil(rng: Any, shape: Shape) -> Function | None:
    return (lambda x: lax.fori_loop(0, 2, _turn, x)) if len(shape) == 1 else None


# One operand, entries mixed.


def _reduced(rng: Any, shape: Shape) -> Function | None:
    if not shape:
        return None
    axis = int(rng.integers(len(shape)))
    reductions: list[Function] = [jnp.mean, jnp.max, jax.nn.logsumexp]
    reduce = reductions[rng.integers(3)]
    return lambda x: reduce(x, axis=axis)


def _mixed(rng: Any, shape: Shape) -> Function | None:
    if not shape:
        return None
    choices: list[Function] = [
        jax.nn.softmax,
        lambda x: jnp.sort(x, axis=-1),
        lambda x: jnp.cumsum(x, axis=0) / x.shape[0],
        lambda x: x - jnp.mean(x),
        lambda x: jnp.fft.irfft(jnp.fft.rfft(x)[..., :2], x.shape[-1]),
    ]
    if len(shape) == 2:
        choices += [
            lambda x: lax.scan(_mix_step, x[0], x)[1],
            lambda x: jnp.einsum("ij,kj->ik", x, x) / x.size,
            lambda x: jax.vmap(lambda row: row * jnp.vdot(row, row) / row.size)(x),
        ]
    return choices[rng.integers(len(choices))]


def _dense(rng: Any, shape: Shape) -> Function | None:
    if not shape:
        return None
    weights = rng.normal(size=(shape[-1], rng.integers(1, 5))) / shape[-1] ** 0.5
    return lambda x: jnp.tanh(x @ weights.astype(x.dtype))


# Two operands.

_COMBINATIONS: list[Function] = [
    lambda x, y: x + y,
    lambda x, y: x - y,
    lambda x, y: x * y,
    lambda x, y: x / (1 + y * y),
    lambda x, y: jnp.where(x > y, jnp.sin(x), y),
    jnp.maximum,
]


def _combined(rng: Any, left: Shape, right: Shape) -> Function | None:
    if left != right and left and right:
        return None
    operation = _COMBINATIONS[rng.integers(len(_COMBINATIONS))]
    return lambda x, y: operation(*jnp.broadcast_arrays(x, y))


def _joined(rng: Any, left: Shape, right: Shape) -> Function | None:
    if not left or not right or left[1:] != right[1:]:
        return None
    return lambda x, y: jnp.concatenate([x, jnp.sin(y)])


def _spread(rng: Any, left: Shape, right: Shape) -> Function | None:
    if len(left) != 1 or len(right) != 1:
        return None
    return lambda x, y: x[:, None] * y[None, :]


def _multiplied(rng: Any, left: Shape, right: Shape) -> Function | None:
    if not left or not right or left[-1] != right[0]:
        return None
    return lambda x, y: jnp.tensordot(x, y, axes=1) / x.shape[-1]


# An operation, how many operands it takes, and how often it is taken.
_SPARSE: list[tuple[Maker, int, float]] = [
    (_pointwise, 1, 5),
    (_weighted, 1, 1),
    (_reordered, 1, 4),
    (_gathered, 1, 1),
    (_scattered, 1, 1),
    (_filtered, 1, 1),
    (_stencil, 1, 1),
    (_combined, 2, 5),
    (_joined, 2, 2),
    (_spread, 2, 1),
]
_MIXING: list[tuple[Maker, int, float]] = [
    (_reduced, 1, 2),
    (_mixed, 1, 3),
    (_dense, 1, 3),
    (_multiplied, 2, 2),
]


def program(
    seed: int, *, scale: int = 1, dtype: Any = np.float64
) -> tuple[Callable[..., Any], tuple[np.ndarray, ...]]:
    """A function of up to three arrays, and its arguments.

    Args:
        seed: Which one.
        scale: What the lengths of axes are multiplied with, for measurements.
        dtype: Of the arguments; the function works in the dtype that it is given.
    """
    rng = np.random.default_rng([seed, 4])
    table = _SPARSE + _MIXING * int(rng.integers(2))
    chances = np.array([chance for *_, chance in table])
    lengths = scale * rng.integers(2, 5, size=2)
    shapes: list[Shape] = []
    for _ in range(rng.integers(1, 4)):
        rank = rng.choice(3, p=[0.1, 0.5, 0.4])
        shapes.append(tuple(int(n) for n in rng.choice(lengths, size=rank)))
    args = tuple(np.asarray(rng.normal(size=shape), dtype) for shape in shapes)

    lines: list[tuple[Function, tuple[int, ...]]] = []
    wanted = len(shapes) + int(rng.integers(3, 13))
    while len(shapes) < wanted:
        maker, arity, _ = table[rng.choice(len(table), p=chances / chances.sum())]
        operands = tuple(_operand(rng, len(shapes)) for _ in range(arity))
        if len(set(operands)) < arity < len(shapes):
            continue  # x - x, which is 0, too often
        made = maker(rng, *(shapes[i] for i in operands))
        if made is None:
            continue
        values = [jax.ShapeDtypeStruct(shapes[i], np.float32) for i in operands]
        shape = jax.eval_shape(made, *values).shape
        if len(shape) < 4 and math.prod(shape) <= 40 * scale**2:
            shapes.append(shape)
            lines.append((made, operands))
    as_dictionary = bool(rng.random() < 0.3)

    def f(*args: Any) -> Any:
        values = list(args)
        for operation, operands in lines:
            values.append(operation(*(values[i] for i in operands)))
        return {"last": values[-1], "before": values[-2]} if as_dictionary else values[-1]

    return f, args


def _operand(rng: np.random.Generator, made: int) -> int:
    """Mostly a recent value, sometimes any."""
    return int(rng.integers(max(0, made - 3), made) if rng.random() < 0.7 else rng.integers(made))
