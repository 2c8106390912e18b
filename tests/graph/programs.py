"""Functions of every kind that a graph has to get right, with arguments in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import funcnet.primitives as fn
from funcnet.layers import activation, dense, serial
from funcnet.rules import rule

__all__ = ["PROGRAMS", "Program"]


@dataclass(frozen=True)
class Program:
    """A function and its arguments.

    Attributes:
        has_reverse: Whether JAX can differentiate it in reverse mode without unrolling.
        has_forward: Whether JAX can differentiate it in forward mode.
    """

    name: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    has_reverse: bool = True
    has_forward: bool = True


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng((7, *shape)).normal(size=shape)


X, W, B, V = normal(2, 3), normal(3, 4), normal(4), normal(3)
SPD = normal(3, 3) @ normal(3, 3).T + 3 * np.eye(3)
INDEX = np.array([2, 0, 2])


@jax.custom_jvp
def cube(x: Any) -> Any:
    return x * x * x


@cube.defjvp
def _cube_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return cube(x), 3 * x * x * t


@jax.custom_vjp
def clipped_gradient(x: Any) -> Any:
    return jnp.sin(x)


clipped_gradient.defvjp(
    lambda x: (jnp.sin(x), x), lambda x, ct: (jnp.clip(ct * jnp.cos(x), -1, 1),)
)

straight_through = rule(
    lambda x: jnp.round(x), residuals=lambda y, x: None, jvp=lambda _, t: t, vjp=lambda _, ct: ct
)


def rnn(c: Any, xs: Any, w: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = jnp.tanh(h @ w + x)
        return h, jnp.sum(h)

    return lax.scan(step, c, xs)


def newton(x: Any) -> Any:
    """The square root of x by Newton's method, until it no longer moves."""
    return lax.while_loop(
        lambda y: jnp.abs(y * y - x) > 1e-9, lambda y: 0.5 * (y + x / y), jnp.ones_like(x)
    )


def repeated(x: Any, n: int) -> Any:
    return lax.fori_loop(0, n, lambda i, c: jnp.sin(c) * (1 + 0.1 * i), x)


def by_sign(x: Any) -> Any:
    return lax.cond(x > 0, lambda x: x * x, lambda x: jnp.sin(x) - 1, x)


def chosen(i: Any, x: Any) -> Any:
    return lax.switch(i, [jnp.sin, jnp.exp, lambda x: x * x], x)


def cross_entropy(w: Any, b: Any, x: Any, labels: Any) -> Any:
    return jnp.mean(fn.softmax_cross_entropy(fn.affine(x, w, b), labels))


def plain_softmax_loss(w: Any, x: Any) -> Any:
    return -jnp.sum(jax.nn.log_softmax(x @ w)[:, 0])


NET = serial(dense(4), activation(fn.tanh), dense(1))
PARAMS = {
    "dense_0": {"kernel": normal(3, 4), "bias": normal(4)},
    "dense_1": {"kernel": normal(4, 1), "bias": normal(1)},
}


def mlp(params: Any, x: Any) -> Any:
    h = jnp.tanh(x @ params["dense_0"]["kernel"] + params["dense_0"]["bias"][None])
    return jnp.sum((h @ params["dense_1"]["kernel"] + params["dense_1"]["bias"][None]) ** 2)


def image_loss(kernel: Any, image: Any) -> Any:
    y = lax.conv_general_dilated(
        image, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    y = lax.reduce_window(y, -np.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return jnp.sum(jax.nn.relu(y))


def nothing_scanned(c: Any, xs: Any) -> Any:
    return lax.scan(lambda c, x: (c * x, c + x), c, xs)


def weighted(n: Any, x: Any) -> Any:
    return n * 2, jnp.sum(x * n.astype(x.dtype))


def hessian_times_itself(x: Any) -> Any:
    return jax.jvp(jax.grad(lambda y: jnp.sum(jnp.sin(y) * y)), (x,), (x,))[1]


@jax.custom_vjp
def scaled(x: Any) -> Any:
    return x * jnp.asarray(V)


scaled.defvjp(lambda x: (x * jnp.asarray(V), None), lambda _, ct: (ct * jnp.asarray(V),))


def at_a_root(x: Any) -> Any:
    return x + lax.stop_gradient(jnp.sqrt(x)) + jnp.sign(jnp.sqrt(x)) + jnp.floor(jnp.sqrt(x))


def truncated(key: Any, x: Any) -> Any:
    return x * jax.random.truncated_normal(key, -1.0, 1.0, dtype=x.dtype)


def halved(x: Any) -> Any:
    return lax.while_loop(lambda s: s > 1.0, lambda s: s * 0.5 + 0.1 * jnp.sin(s), x)


def newton_twice(x: Any) -> Any:
    return lax.scan(lambda c, _: (newton(c), c), x, None, 2)


def nested_jit(x: Any) -> Any:
    inner = jax.jit(lambda y: jax.jit(jnp.sin)(y) * y)
    return jax.jit(lambda y: inner(y) + inner(2 * y))(x)


def nested_loops(x: Any) -> Any:
    def outer(c: Any, t: Any) -> Any:
        c = lax.fori_loop(0, 2, lambda i, d: jnp.cos(d) + t, c)
        return lax.cond(c > 0.5, lambda c: c * c, jnp.sin, c), c

    return lax.scan(outer, x, jnp.array([0.1, 0.2, 0.3]), reverse=True)


PROGRAMS = [
    Program("lecture", lambda x1, x2: jnp.sin(x2) + x1 * x2, (2.0, 0.5)),
    Program("chain", lambda x: jnp.log1p(jnp.exp(jnp.sin(x) * 2.0)), (X,)),
    Program("one variable twice", lambda x: x * x, (X,)),
    Program("one variable twice in a sum", lambda x: (x + x) * (x - x + 1.0), (X,)),
    Program("fan-out", lambda x: (jnp.sin(x) + jnp.cos(x)) * jnp.exp(x) / (1 + x * x), (0.3,)),
    Program("diamonds", lambda x: [x := jnp.sin(x) * x + x for _ in range(5)][-1], (0.7,)),
    Program("quotients and powers", lambda x, y: x**3 / y + y**x + jnp.sqrt(y), (1.3, 2.1)),
    Program("kinks", lambda x: jnp.sum(jnp.maximum(x, 0.1) + jnp.abs(x) + jax.nn.relu(x)), (X,)),
    Program("broadcasting", lambda x, b: jnp.sum((x + b) * b[:1], axis=0), (X, V[None])),
    Program("matrix product", lambda x, w: x @ w, (X, W)),
    Program("einsum", lambda x, w: jnp.einsum("bi,ij->jb", x, w), (X, W)),
    Program("gates", lambda x, y: fn.add(fn.multiply(x, y), fn.maximum(x, y)), (X, X[::-1] + 0.1)),
    Program("activations", lambda x: fn.gelu(fn.tanh(x)) + fn.silu(x) + fn.relu(x), (X,)),
    Program("mlp", mlp, (PARAMS, X)),
    Program("layers", lambda p, x: jnp.sum(NET.apply(p, x)), (PARAMS, X)),
    Program("softmax loss", cross_entropy, (W, B, X, np.array([1, 3]))),
    Program("softmax loss, plain", plain_softmax_loss, (W, X)),
    Program("convolution", image_loss, (normal(3, 3, 2, 2), normal(1, 4, 4, 2))),
    Program("rnn", rnn, (normal(3), normal(4, 3), normal(3, 3))),
    Program("scan, no rounds", nothing_scanned, (1.5, normal(0))),
    Program("cumulative", lambda x: jnp.cumsum(x, axis=1) * jnp.cumprod(x, axis=0), (X,)),
    Program("while", newton, (2.0,), has_reverse=False),
    Program("fori", lambda x: repeated(x, 3), (0.4,)),
    Program("cond, true", by_sign, (0.8,)),
    Program("cond, false", by_sign, (-0.8,)),
    Program("switch", chosen, (np.int32(1), 0.6)),
    Program("nested loops", nested_loops, (0.6,)),
    Program("nested jit", nested_jit, (X,)),
    Program("checkpoint", jax.checkpoint(lambda x: jnp.sin(jnp.sin(x))), (X,)),
    Program("custom jvp", lambda x: cube(x) + jax.nn.silu(x), (X,)),
    Program("custom vjp", lambda x: 3 * clipped_gradient(x), (X,), has_forward=False),
    Program("straight-through", lambda x: jnp.sum(straight_through(x) ** 2), (X,)),
    Program("linear algebra", lambda a, b: jnp.linalg.solve(a, b) @ b, (SPD, V)),
    Program("cholesky", lambda a: jnp.sum(jnp.log(jnp.diag(jnp.linalg.cholesky(a + a.T)))), (SPD,)),
    Program("determinant", lambda a: jnp.linalg.slogdet(a)[1], (SPD,)),
    Program("gather", lambda x, i: jnp.sin(x[:, i]), (X, INDEX)),
    Program("scatter", lambda x, v: x.at[0, INDEX].add(v) * x.at[1].set(v), (X, V)),
    Program("dynamic slice", lambda x, i: lax.dynamic_slice_in_dim(x, i, 2, 1), (X, np.int32(1))),
    Program("sort", lambda x, y: lax.sort((x, y), num_keys=1), (V, V[::-1] * 2)),
    Program("top k", lambda x: lax.top_k(x, 2)[0] ** 2, (V,)),
    Program("several outputs", lambda x: {"a": jnp.sin(x), "b": (x, x * x)}, (X,)),
    Program("one output twice", lambda x: (y := jnp.sin(x), y), (X,)),
    Program("output is an input", lambda x, y: (x, x * y), (X, 2.0)),
    Program("output is a constant", lambda x: (jnp.ones(2), 3.0, x), (X,)),
    Program("unused input", lambda x, y: jnp.sin(x), (X, V)),
    Program("integer inputs", weighted, (np.array([1, 2, 3]), V)),
    Program("integer outputs", lambda x: (jnp.argmax(x), jnp.sum(x)), (V,)),
    Program("an infinite slope behind a stop", at_a_root, (np.zeros(2),)),
    Program("array in a custom rule", lambda x: scaled(x) * 2, (V,), has_forward=False),
    Program("a loop behind a stop", lambda x: x * lax.stop_gradient(newton(x)), (2.0,)),
    Program("draws without a derivative", truncated, (jax.random.key(1), V)),
    Program("clamped", lambda x: lax.clamp(lax.stop_gradient(jnp.min(x)), x, 0.5), (V,)),
    Program("stopped", lambda x: x * lax.stop_gradient(x), (X,)),
    Program("constants closed over", lambda x: jnp.sum(x @ W), (X,)),
    Program("random numbers", lambda k, x: x * jax.random.normal(k, (3,)), (jax.random.key(0), V)),
    Program("empty", lambda x: (jnp.sum(x), x * 2), (normal(0, 3),)),
    Program("complex", lambda x: jnp.abs(jnp.fft.fft(x)) ** 2, (V,)),
    Program("gradient of a function", jax.grad(lambda x: jnp.sum(fn.tanh(x) ** 2)), (V,)),
    Program("hessian times vector", hessian_times_itself, (V,)),
    Program("mapped while", jax.vmap(halved), (np.array([3.0, 7.0, 0.2]),), has_reverse=False),
    Program("while in a scan", newton_twice, (2.0,), has_reverse=False),
    Program("ties", lambda x: jnp.max(x, axis=0), (np.ones((2, 3)),)),
    Program("no outputs", lambda x: None, (X,)),
    Program("mapped", jax.vmap(lambda x: fn.softmax(x) @ x), (X,)),
]  # fmt: skip
