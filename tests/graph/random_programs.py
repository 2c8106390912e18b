"""Random programs from a seed: straight lines of operations, with sharing, loops and branches.

Values stay of the order of 1, and arguments of kinks stay away from them almost surely.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import funcnet.primitives as fn

__all__ = ["random_program"]

N = 3

# Bodies of loops and branches stand here once, so that what is compiled for one serves all.


def _bounded(x: Any) -> Any:
    return x * x / (1 + x * x)


def _turn(i: Any, x: Any) -> Any:
    return jnp.sin(x + i)


def _step(c: Any, x: Any) -> Any:
    return jnp.tanh(c + x), c * x


# Vectors of N numbers to a vector of N numbers.
_UNARY: list[Callable[..., Any]] = [
    jnp.sin,
    jnp.tanh,
    fn.tanh,
    fn.gelu,
    fn.softmax,
    jax.nn.sigmoid,
    jax.nn.relu,
    lambda x: jnp.exp(-x * x),
    lambda x: jnp.sqrt(1 + x * x),
    lambda x: x[::-1],
    lambda x: jnp.cumsum(x) / N,
    lambda x: jnp.sort(x),
    lambda x: x[np.array([2, 0, 2])],
    lambda x: x - jnp.mean(x),
    lambda x: jnp.concatenate([x[1:], x[:1]]),
    lambda x: jnp.where(x > 0.05, x, 0.1 * x),
    lambda x: 0.5 * x,
    lambda x: lax.stop_gradient(x) * x,
    lambda x: lax.cond(x[0] > 0.3, jnp.sin, _bounded, x),
    lambda x: lax.fori_loop(0, 2, _turn, x),
    lambda x: lax.scan(_step, x, jnp.outer(x, x))[1][1],
    jax.jit(lambda x: jnp.cos(x) * x),
]

_BINARY: list[Callable[..., Any]] = [
    lambda x, y: x + y,
    lambda x, y: x - y,
    lambda x, y: x * y,
    fn.multiply,
    lambda x, y: x / (1 + y * y),
    jnp.maximum,
    fn.maximum,
    lambda x, y: jnp.outer(x, y) @ y / N,
    lambda x, y: jnp.where(x > y, x * y, y),
    lambda x, y: jnp.vdot(x, y) * x / N,
    lambda x, y: x.at[np.array([0, 0, 1])].add(y) / 2,
]


def random_program(seed: int) -> tuple[Callable[..., Any], tuple[np.ndarray, ...]]:
    """A function of two vectors that returns a vector and a number, and its arguments."""
    rng = np.random.default_rng(seed)
    lines: list[tuple[Callable[..., Any], tuple[int, ...]]] = []
    for made in range(2, 2 + int(rng.integers(3, 12))):
        if rng.random() < 0.5:
            lines.append((_UNARY[rng.integers(len(_UNARY))], (_operand(rng, made),)))
        else:
            operands = (_operand(rng, made), _operand(rng, made))
            lines.append((_BINARY[rng.integers(len(_BINARY))], operands))

    def program(x: Any, y: Any) -> Any:
        values = [x, y]
        for operation, operands in lines:
            values.append(operation(*(values[i] for i in operands)))
        return values[-1], jnp.sum(values[-1] * values[-2])

    return program, (rng.normal(size=N), rng.normal(size=N))


def _operand(rng: np.random.Generator, made: int) -> int:
    """Mostly a recent value, sometimes any."""
    return int(rng.integers(max(0, made - 3), made) if rng.random() < 0.7 else rng.integers(made))
