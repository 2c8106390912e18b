"""One table of all rules: sample arguments, and the same function in plain JAX.

A row holds a primitive with static arguments bound, arguments in float64 away from kinks and ties, and a
reference written with `jnp` and `jax.nn` alone. The laws beside this file hold for every row; a new
primitive is a new row.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import primitives as fn
from funcnet.rules import Rule


class Row(NamedTuple):
    """One primitive at sample arguments."""

    id: str
    rule: Rule
    args: tuple[Any, ...]  # NumPy, float64 where floating
    reference: Callable[..., Any]
    static: dict[str, Any] = {}
    frozen: tuple[int, ...] = ()  # floating arguments that have no derivative, such as signs
    same_formula: bool = False  # the rule states what autodiff would: cost must be equal

    def call(self, *args: Any) -> Any:
        """The rule at other arguments of the same kind, in the order that its rules are stated in."""
        names = self.rule.argument_names
        return self.rule(**dict(zip(names, args, strict=False)), **self.static)

    @property
    def argnums(self) -> tuple[int, ...]:
        """The arguments that can be differentiated."""
        return tuple(
            i
            for i, arg in enumerate(self.args)
            if i not in self.frozen
            and all(np.issubdtype(np.asarray(leaf).dtype, np.floating) for leaf in jax.tree.leaves(arg))
            and jax.tree.leaves(arg)
        )


def normal(*shape: int, name: str = "x", scale: float = 1.5) -> Any:
    """Seeded samples that keep 0.05 away from 0 and from +-1 and +-3, where the kinks are."""
    generator = np.random.default_rng(zlib.crc32(repr((name, shape)).encode()))
    x = generator.standard_normal(shape) * scale
    for kink in (0.0, -1.0, 1.0, -3.0, 3.0):
        x = np.where(np.abs(x - kink) < 0.05, x + 0.11, x)
    return x


def positive(*shape: int, name: str = "x") -> Any:
    return np.abs(normal(*shape, name=name)) + 0.3


def distribution(*shape: int, name: str = "q") -> Any:
    e = np.exp(normal(*shape, name=name))
    return e / e.sum(-1, keepdims=True)


X, Y, ROW = normal(3, 4), normal(3, 4, name="y"), normal(1, 4, name="row")
POSITIVE = positive(3, 4)
SIGNS = np.sign(normal(3, name="signs"))
MASK = np.array([[True, True, False, True], [True, False, True, True], [False, True, True, True]])
CLASSES = np.array([0, 3, 1], dtype=np.int32)


def elementwise_rows() -> list[Row]:
    """Activations: one floating array in, one of its shape out."""
    table: list[tuple[Any, ...]] = [
        (fn.negate, jnp.negative),
        (fn.sin, jnp.sin),
        (fn.cos, jnp.cos),
        (fn.exp, jnp.exp),
        (fn.sigmoid, jax.nn.sigmoid),
        (fn.tanh, jnp.tanh),
        (fn.relu, jax.nn.relu),
        (fn.elu, jax.nn.elu),
        (fn.selu, jax.nn.selu),
        (fn.silu, jax.nn.silu),
        (fn.gelu, jax.nn.gelu),
        (fn.softplus, jax.nn.softplus),
        (fn.softsign, jax.nn.soft_sign),
        (fn.mish, jax.nn.mish),
        (fn.hard_tanh, jax.nn.hard_tanh),
        (fn.hard_sigmoid, jax.nn.hard_sigmoid),
        (fn.hard_swish, jax.nn.hard_swish),
        (fn.log_sigmoid, jax.nn.log_sigmoid),
        (fn.leaky_relu, jax.nn.leaky_relu),
    ]
    exact = (fn.negate, fn.sin, fn.exp, fn.relu)
    rows = [Row(f.name, f, (X,), g, same_formula=f in exact) for f, g in table]
    rows += [Row(f.name, f, (POSITIVE,), g) for f, g in (
        (fn.log, jnp.log), (fn.sqrt, jnp.sqrt), (fn.reciprocal, lambda x: 1 / x)
    )]
    return rows + [
        Row("sigmoid-output", fn.sigmoid, (X,), jax.nn.sigmoid, {"keep": "output"}),
        Row("tanh-output", fn.tanh, (X,), jnp.tanh, {"keep": "output"}),
        Row("gelu-exact", fn.gelu, (X,), partial(jax.nn.gelu, approximate=False), {"approximate": False}),
        Row("elu-alpha", fn.elu, (X,), partial(jax.nn.elu, alpha=0.7), {"alpha": 0.7}),
        Row("leaky_relu-slope", fn.leaky_relu, (X,), partial(jax.nn.leaky_relu, negative_slope=0.3),
            {"negative_slope": 0.3}),
        Row("prelu", fn.prelu, (X, np.float64(0.25)), lambda x, a: jnp.where(x > 0, x, a * x)),
        Row("prelu-channels", fn.prelu, (X, positive(4)), lambda x, a: jnp.where(x > 0, x, a[None] * x)),
    ]


def gate_rows() -> list[Row]:
    """Two arguments, with and without broadcasting."""
    table: list[tuple[Any, ...]] = [
        (fn.add, jnp.add),
        (fn.subtract, jnp.subtract),
        (fn.multiply, jnp.multiply),
        (fn.maximum, jnp.maximum),
        (fn.minimum, jnp.minimum),
    ]
    rows = []
    for f, g in table:
        same = f in (fn.add, fn.multiply)
        rows += [Row(f.name, f, (X, Y), g, same_formula=same), Row(f"{f.name}-row", f, (X, ROW), g)]
        rows += [Row(f"{f.name}-rank", f, (ROW[0], Y), lambda a, b, g=g: g(a[None], b))]
    return rows + [
        Row("divide", fn.divide, (X, POSITIVE), jnp.divide),
        Row("divide-row", fn.divide, (X, positive(1, 4)), jnp.divide),
        Row("power", fn.power, (POSITIVE, Y), jnp.power),
        Row("power-number", fn.power, (POSITIVE, np.float64(2.5)), jnp.power),
    ]


def shape_rows() -> list[Row]:
    """Reductions, and operations that only move entries."""
    cube = normal(2, 3, 4)
    return [
        Row("sum", fn.sum, (X,), jnp.sum, same_formula=True),
        Row("sum-axis", fn.sum, (cube,), lambda x: x.sum(1), {"axis": 1}),
        Row("sum-kept", fn.sum, (cube,), lambda x: x.sum((0, 2), keepdims=True),
            {"axis": (0, 2), "keepdims": True}),
        Row("mean", fn.mean, (X,), jnp.mean),
        Row("mean-axis", fn.mean, (cube,), lambda x: x.mean(-1), {"axis": -1}),
        Row("transpose", fn.transpose, (cube,), jnp.transpose, same_formula=True),
        Row("transpose-axes", fn.transpose, (cube,), lambda x: jnp.transpose(x, (1, 2, 0)),
            {"axes": (1, 2, 0)}),
        Row("reshape", fn.reshape, (X,), lambda x: x.reshape(2, 6), {"shape": (2, 6)}, same_formula=True),
        Row("concatenate", fn.concatenate, ((X, Y),), lambda xs: jnp.concatenate(xs)),
        Row("concatenate-axis", fn.concatenate, ((X, Y),), lambda xs: jnp.concatenate(xs, -1), {"axis": -1}),
        Row("gather", fn.gather, (X, np.array([2, 0, 2, 1])), lambda x, i: x[i]),
        Row("gather-axis", fn.gather, (X, np.array([[3, 3], [0, 1]])), lambda x, i: x[:, i], {"axis": 1}),
    ]


def linear_rows() -> list[Row]:
    """Products of matrices."""
    w, b, cube = normal(4, 2, name="w"), normal(2, name="b"), normal(2, 3, 4)
    return [
        Row("linear", fn.linear, (X, w), jnp.matmul, same_formula=True),
        Row("linear-vector", fn.linear, (X[0], w), jnp.matmul),
        Row("linear-batch", fn.linear, (cube, w), jnp.matmul),
        Row("affine", fn.affine, (X, w, b), lambda x, w, b: x @ w + b[None], same_formula=True),
        Row("affine-vector", fn.affine, (X[0], w, b), lambda x, w, b: x @ w + b),
        Row("affine-batch", fn.affine, (cube, w, b), lambda x, w, b: x @ w + b[None, None]),
        Row("matmul", fn.matmul, (X, w), jnp.matmul, same_formula=True),
        Row("matmul-batch", fn.matmul, (cube, normal(2, 4, 3)), jnp.matmul),
        Row("matmul-vectors", fn.matmul, (X[0], Y[0]), jnp.matmul),
        Row("inner", fn.inner, (X[0], Y[0]), jnp.inner),
    ]


def softmax_rows() -> list[Row]:
    """Softmax and its relatives."""
    full = (X, MASK)
    return [
        Row("softmax", fn.softmax, (X, None), lambda x, _: jax.nn.softmax(x)),
        Row("softmax-axis", fn.softmax, (X, None), lambda x, _: jax.nn.softmax(x, 0), {"axis": 0}),
        Row("softmax-all", fn.softmax, (X, None), lambda x, _: jax.nn.softmax(x, (0, 1)), {"axis": None}),
        Row("softmax-where", fn.softmax, full, lambda x, m: jax.nn.softmax(x, where=m)),
        Row("log_softmax", fn.log_softmax, (X, None), lambda x, _: jax.nn.log_softmax(x)),
        Row("log_softmax-axis", fn.log_softmax, (X, None), lambda x, _: jax.nn.log_softmax(x, 0), {"axis": 0}),
        Row("logsumexp", fn.logsumexp, (X, None), lambda x, _: jax.nn.logsumexp(x)),
        Row("logsumexp-kept", fn.logsumexp, (X, None),
            lambda x, _: jax.nn.logsumexp(x, -1, keepdims=True), {"axis": -1, "keepdims": True}),
        Row("logsumexp-where", fn.logsumexp, full,
            lambda x, m: jax.nn.logsumexp(x, -1, where=m), {"axis": -1}),
    ]


def _cross_entropy(x: Any, labels: Any, smoothing: float = 0.0) -> Any:
    q = labels if labels.ndim == x.ndim else jax.nn.one_hot(labels, x.shape[-1], dtype=x.dtype)
    q = (1 - smoothing) * q + smoothing / x.shape[-1] * q.sum(-1, keepdims=True)
    return -(q * jax.nn.log_softmax(x)).sum(-1)


def _huber(p: Any, q: Any, delta: float) -> Any:
    d = jnp.abs(p - q)
    return jnp.where(d <= delta, d**2 / 2, delta * (d - delta / 2)).sum(-1)


def loss_rows() -> list[Row]:
    """Losses, one value per example, and penalties."""
    u, q = normal(3, name="u"), distribution(3, 4)
    tree = {"kernel": X, "bias": ROW[0]}
    smooth = {"label_smoothing": 0.1}
    return [
        Row("log_loss", fn.log_loss, (u, SIGNS), lambda u, y: jax.nn.softplus(-y * u), frozen=(1,)),
        Row("binary_cross_entropy", fn.binary_cross_entropy, (u, distribution(3, name="p")),
            lambda u, p: -p * jax.nn.log_sigmoid(u) - (1 - p) * jax.nn.log_sigmoid(-u)),
        Row("hinge_loss", fn.hinge_loss, (u, SIGNS), lambda u, y: jnp.maximum(0, 1 - y * u), frozen=(1,)),
        Row("softmax_cross_entropy", fn.softmax_cross_entropy, (X, CLASSES), _cross_entropy),
        Row("softmax_cross_entropy-smooth", fn.softmax_cross_entropy, (X, CLASSES),
            partial(_cross_entropy, smoothing=0.1), smooth),
        Row("softmax_cross_entropy-distribution", fn.softmax_cross_entropy, (X, q), _cross_entropy),
        Row("softmax_cross_entropy-both", fn.softmax_cross_entropy, (X, q),
            partial(_cross_entropy, smoothing=0.1), smooth),
        Row("kl_divergence", fn.kl_divergence, (X, q), lambda p, q: (q * (jnp.log(q) - p)).sum(-1)),
        Row("squared_error", fn.squared_error, (X, Y), lambda p, q: ((p - q) ** 2).sum(-1)),
        Row("absolute_error", fn.absolute_error, (X, Y), lambda p, q: jnp.abs(p - q).sum(-1)),
        Row("huber_loss", fn.huber_loss, (X, Y), partial(_huber, delta=1.0)),
        Row("huber_loss-delta", fn.huber_loss, (X, Y), partial(_huber, delta=0.6), {"delta": 0.6}),
        Row("l2_penalty", fn.l2_penalty, (tree,),
            lambda t: sum((w**2).sum() / 2 for w in jax.tree.leaves(t))),
        Row("l1_penalty", fn.l1_penalty, (tree,),
            lambda t: sum(jnp.abs(w).sum() for w in jax.tree.leaves(t))),
    ]


ROWS: list[Row] = [
    *gate_rows(),
    *shape_rows(),
    *linear_rows(),
    *elementwise_rows(),
    *softmax_rows(),
    *loss_rows(),
]
IDS = [row.id for row in ROWS]
