"""Cases of loops and branches, and of rules that differ from the derivative of their function."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet.rules import rule
from tests.jacobian.cases import Draw, band, case, diagonal, selection


@case((3, 2), (64, 16), lambda s: np.kron(np.tri(s[0]), np.eye(s[1])))
def scan_filter(size: Any, fixed: Draw, draw: Draw) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = jnp.tanh(0.5 * h + x)
        return h, h * h

    return lambda x: lax.scan(step, jnp.zeros_like(x[0]), x)[1], (draw(*size),)


@case((3, 2), (32, 16), lambda s: np.kron(np.tri(s[0]), np.ones((s[1], s[1]))))
def scan_recurrent(size: Any, fixed: Draw, draw: Draw) -> Any:
    def f(xs: Any, w: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = jnp.tanh(h @ w + x @ w.T)
            return h, h

        return lax.scan(step, jnp.zeros_like(xs[0]), xs)[1]

    return f, (draw(*size), draw(size[1], size[1]) / draw.dtype(size[1] ** 0.5))


@case((8, 2), (1000, 5), lambda s: band(*s))
def fori_heat(size: Any, fixed: Draw, draw: Draw) -> Any:
    """Some steps of the heat equation: a step widens the band by one."""

    def step(_: Any, u: Any) -> Any:
        around = jnp.pad(u, 1)
        return u + 0.2 * (around[2:] - 2 * u + around[:-2])

    return lambda u: lax.fori_loop(0, size[1], step, u), (draw(size[0]),)


@case(4, 1000, diagonal, exact_pattern=False, has_reverse=False)
def while_newton(n: int, fixed: Draw, draw: Draw) -> Any:
    """Square roots, until none moves."""

    def f(x: Any) -> Any:
        def moving(s: Any) -> Any:
            return jnp.max(jnp.abs(s * s - x)) > 1e-5

        return lax.while_loop(moving, lambda s: (s + x / s) / 2, jnp.ones_like(x))

    return f, (draw.positive(n),)


@case(6, 1000, lambda n: np.eye(n) + np.eye(n)[::-1])
def cond_branch(n: int, fixed: Draw, draw: Draw) -> Any:
    return lambda x: lax.cond(x[0] > 0, jnp.sin, lambda x: jnp.cos(x[::-1]), x), (draw(n),)


@case(5, 500, lambda n: np.tri(n) + selection(np.roll(np.arange(n), 1), n))
def switch_branch(n: int, fixed: Draw, draw: Draw) -> Any:
    branches = [lambda x: x * x, jnp.cumsum, lambda x: jnp.roll(x, 1)]
    return lambda x, index: lax.switch(index, branches, x), (draw(n), draw.integers(3))


@case((3, 4), (64, 64), lambda s: np.kron(np.eye(s[0]), np.ones((s[1], s[1]))))
def mapped_checkpoint(size: Any, fixed: Draw, draw: Draw) -> Any:
    """`lax.map` of a row at a time, through `jax.checkpoint` and `jax.jit`."""
    row = jax.checkpoint(jax.jit(lambda x: jnp.sin(x) / (1 + jnp.sum(x * x))))
    return lambda x: lax.map(row, x), (draw(*size),)


# Rules that disagree with the function.


@jax.custom_jvp
def _rounded(x: Any) -> Any:
    return jnp.round(x)


_rounded.defjvp(lambda primals, tangents: (_rounded(*primals), *tangents))


@jax.custom_vjp
def _spike(x: Any) -> Any:
    return (x > 0).astype(x.dtype)


_spike.defvjp(lambda x: (_spike(x), x), lambda x, ct: (ct / (1 + jnp.abs(x)) ** 2,))


@jax.custom_jvp
def _forward_spike(x: Any) -> Any:
    return (x > 0).astype(x.dtype)


_forward_spike.defjvp(
    lambda primals, tangents: (
        _forward_spike(*primals),
        tangents[0] / (1 + jnp.abs(primals[0])) ** 2,
    )
)

_written_tanh = rule(
    lambda x: jnp.tanh(x),
    residuals=lambda y, x: y,
    jvp=lambda y, t: (1 - y * y) * t,
    vjp=lambda y, ct: (1 - y * y) * ct,
)


@case(6, 2000, diagonal)
def straight_through_rule(n: int, fixed: Draw, draw: Draw) -> Any:
    return lambda x: jnp.sin(_rounded(3 * x) + 1), (draw(n),)


@case(6, 2000, diagonal)
def straight_through_stop(n: int, fixed: Draw, draw: Draw) -> Any:
    return lambda x: x + lax.stop_gradient(jnp.round(x) - x), (draw(n),)


@case((3, 2), (64, 32), lambda s: np.ones((s[0], s[1])), has_forward=False)
def spike_reverse_rule(size: Any, fixed: Draw, draw: Draw) -> Any:
    """A surrogate gradient that only reverse mode has."""
    return lambda x, w: _spike(w @ x), (draw(size[1]), draw(*size))


@case((3, 2), (64, 32), lambda s: np.ones((s[0], s[1])))
def spike_forward_rule(size: Any, fixed: Draw, draw: Draw) -> Any:
    return lambda x, w: _forward_spike(w @ x), (draw(size[1]), draw(*size))


@case(6, 2000, diagonal)
def written_rule(n: int, fixed: Draw, draw: Draw) -> Any:
    return _written_tanh, (draw(n),)
