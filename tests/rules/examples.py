"""A few rules of every shape, which the tests of this folder are about."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet.rules import Rule, rule
from funcnet.structure import Structure


@rule(
    residuals=lambda y, x: x,
    jvp=lambda x, t: t * sigmoid(x) * sigmoid(-x),
    vjp=lambda x, ct: ct * sigmoid(x) * sigmoid(-x),
    structure=Structure.DIAGONAL,
)
def sigmoid(x: Any) -> Any:
    return lax.logistic(x)


@rule(
    residuals=lambda y, x, w: (x, w),
    jvp=(lambda kept, t: t @ kept[1], lambda kept, t: kept[0] @ t),
    vjp=(lambda kept, ct: ct @ kept[1].T, lambda kept, ct: kept[0].T @ ct),
    structure=Structure.KRONECKER,
)
def linear(x: Any, w: Any) -> Any:
    return x @ w


# y = scale * x / |x| + shift, one vector at a time; both rules are stated for all arguments at
# once.


def _unit_jvp(kept: Any, tangents: Any, live: Any, power: int) -> Any:
    x, scale, norm = kept
    tx, tscale, tshift = tangents
    dy = jnp.zeros_like(x)
    if live[0]:
        along = jnp.sum(x * tx, -1, keepdims=True)
        dy = dy + scale * (tx / norm**power - power * x * along / norm ** (power + 2))
    if live[1]:
        dy = dy + tscale * x / norm**power
    return dy + tshift if live[2] else dy


def _unit_vjp(kept: Any, ct: Any, live: Any, power: int) -> Any:
    x, scale, norm = kept
    back_x = back_scale = None
    if live[0]:
        given = ct * scale
        along = jnp.sum(x * given, -1, keepdims=True)
        back_x = given / norm**power - power * x * along / norm ** (power + 2)
    if live[1]:
        back_scale = ct * x / norm**power
    return back_x, back_scale, ct if live[2] else None


def _unit_residuals(y: Any, x: Any, scale: Any, shift: Any, power: int) -> Any:
    return x, scale, jnp.sqrt(jnp.sum(x * x, -1, keepdims=True))


@rule(
    residuals=_unit_residuals,
    jvp=_unit_jvp,
    vjp=_unit_vjp,
    structure=(Structure.BLOCK_DIAGONAL, Structure.DIAGONAL, Structure.IDENTITY),
    static_argnames="power",
)
def unit(x: Any, scale: Any, shift: Any, power: int = 1) -> Any:
    return scale * x / jnp.sqrt(jnp.sum(x * x, -1, keepdims=True)) ** power + shift


def unit_plain(x: Any, scale: Any, shift: Any, power: int = 1) -> Any:
    return scale * x / jnp.sqrt(jnp.sum(x * x, -1, keepdims=True)) ** power + shift


# Pytrees in, pytrees out, with an integer inside and outside.


class Pair(NamedTuple):
    first: Any
    second: Any


@rule(
    residuals=lambda y, p, factor: (p, factor),
    jvp=(
        lambda kept, t: {
            "product": t.first * kept[0].second + kept[0].first * t.second,
            "scaled": (kept[1] * t.first, None),
        },
        lambda kept, t: {
            "product": jnp.zeros_like(kept[0].first),
            "scaled": (kept[0].first * t, None),
        },
    ),
    vjp=(
        lambda kept, ct: Pair(
            ct["product"] * kept[0].second + kept[1] * ct["scaled"][0],
            ct["product"] * kept[0].first,
        ),
        lambda kept, ct: jnp.sum(kept[0].first * ct["scaled"][0]),
    ),
)
def pair(p: Pair, factor: Any) -> Any:
    """A product and a scaled copy, with the number of entries."""
    count = jnp.asarray(p.first.size, jnp.int32)
    return {"product": p.first * p.second, "scaled": (factor * p.first, count)}


# Integer labels: no derivative, so their rules are None.


@rule(
    residuals=lambda y, logits, labels: (logits, labels),
    jvp=(lambda kept, t: _take(t, kept[1]), None),
    vjp=(lambda kept, ct: _put(ct, kept[1], kept[0]), None),
    structure=Structure.SELECTION,
)
def pick(logits: Any, labels: Any) -> Any:
    return jnp.take_along_axis(logits, labels[:, None], 1)[:, 0]


def _take(x: Any, labels: Any) -> Any:
    return jnp.take_along_axis(x, labels[:, None], 1)[:, 0]


def _put(ct: Any, labels: Any, like: Any) -> Any:
    rows = jnp.arange(labels.shape[0], dtype=labels.dtype)
    return jnp.zeros_like(like).at[rows, labels].set(ct)


# A typed random key, a keyword-only array, an optional one.


@rule(
    residuals=lambda y, x, key, scale, mask: (x, key, scale, mask),
    jvp=(
        lambda kept, t: _noisy(t, kept[1], kept[2], kept[3]),
        None,
        lambda kept, t: _noisy(kept[0], kept[1], t, kept[3]),
        None,
    ),
    vjp=(
        lambda kept, ct: _noisy(ct, kept[1], kept[2], kept[3]),
        None,
        lambda kept, ct: jnp.sum(_noisy(ct, kept[1], jnp.ones_like(kept[2]), kept[3]) * kept[0]),
        None,
    ),
)
def noisy(x: Any, key: Any, *, scale: Any = 2.0, mask: Any = None) -> Any:
    return _noisy(x, key, scale, mask)


def noise(key: Any, like: Any) -> Any:
    """Numbers from a random key; not very random, but quickly compiled."""
    start = jax.random.key_data(key).astype(jnp.uint32).sum(dtype=jnp.uint32) % 1000
    return 1.5 + jnp.cos(start.astype(like.dtype) + jnp.arange(like.size, dtype=like.dtype))


def _noisy(x: Any, key: Any, scale: Any, mask: Any) -> Any:
    y = scale * noise(key, x) * x
    return y if mask is None else jnp.where(mask, y, 0)


class Example(NamedTuple):
    """A rule with arguments to call it with."""

    rule: Rule
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = {}  # noqa: RUF012 (never changed)


def examples() -> dict[str, Example]:
    random = np.random.default_rng(0)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(random.normal(size=shape), jnp.result_type(float))

    return {
        "sigmoid": Example(sigmoid, (normal(2, 3),)),
        "linear": Example(linear, (normal(3, 2), normal(2, 4))),
        "unit": Example(unit, (normal(2, 3), normal(2, 3), normal(2, 3))),
        "unit, static": Example(unit, (normal(2, 3), normal(2, 3), normal(2, 3)), {"power": 2}),
        "pair": Example(pair, (Pair(normal(3), normal(3)), normal())),
        "pick": Example(pick, (normal(3, 4), jnp.array([1, 0, 3]))),
        "noisy": Example(noisy, (normal(3), jax.random.key(1)), {"scale": normal()}),
        "noisy, masked": Example(
            noisy, (normal(3), jax.random.key(1)), {"mask": jnp.array([True, False, True])}
        ),
    }
