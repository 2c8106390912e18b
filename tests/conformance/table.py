"""The table of all rules: adding a rule means adding a row, and every law here then holds it.

A row says where to look at a rule, and what plain JAX says of the same function, written as naively
as it can be. The points are ordinary ones: smooth, away from kinks. Laws are functions of a row.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import funcnet.primitives as fn
from funcnet.layers.dropout import drop
from funcnet.primitives import activations, elementary, gated, gates, products
from funcnet.primitives.cross_entropy import _other_probability
from tests.conformance.references import (
    bernoulli,
    cross_entropy,
    divergence,
    huber,
    masked,
    signed,
    slope,
    total,
    wide,
)
from tests.conformance.row import Row

__all__ = ["FAMILIES", "ROWS", "Row"]


# Points

X = np.array([[-3.7, -1.6, -0.4], [0.3, 1.4, 3.5]])
SMALL = np.array([[-0.9, 0.6, -0.2], [1.1, 0.4, -0.7]])
POSITIVE = np.array([[0.2, 0.7, 1.3], [2.1, 3.4, 5.0]])
OTHER = np.array([[0.9, -2.1, 0.6], [-1.3, 2.2, 0.8]])
ROW, COLUMN = np.array([1.7, -0.6, 0.9]), np.array([[0.8], [-1.9]])
MASK = np.array([[True, False, True], [True, True, False]])
SIGNS = np.array([[1, -1, 1], [1, -1, -1]])
PROBABILITIES = np.array([[0.2, 0.7, 0.4], [0.9, 0.1, 0.5]])
DISTRIBUTIONS = np.array([[0.2, 0.7, 0.1], [0.5, 0.1, 0.4]])


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=shape)


PARAMS = {"bias": ROW, "kernel": X}

GATES = [
    Row("add", fn.add, jnp.add, (X, OTHER), same_formula=True),
    Row("add, broadcast", fn.add, wide(jnp.add), (COLUMN, ROW), same_formula=True, empty=(0,)),
    Row("add, number", fn.add, wide(jnp.add), (np.array(0.7), X), empty=()),
    Row("subtract", fn.subtract, jnp.subtract, (X, OTHER)),
    Row("subtract, broadcast", fn.subtract, wide(jnp.subtract), (X, ROW), empty=(0,)),
    Row("negate", fn.negate, jnp.negative, (X,), same_formula=True, linear=(0,)),
    Row("multiply", fn.multiply, jnp.multiply, (X, OTHER), same_formula=True, linear=(0, 1)),
    Row("multiply, broadcast", fn.multiply, wide(jnp.multiply), (X, COLUMN), linear=(0, 1)),
    Row("reciprocal", fn.reciprocal, jnp.reciprocal, (OTHER,)),
    Row("divide", fn.divide, jnp.divide, (X, OTHER), linear=(0,)),
    Row("times reciprocal", gates._times_reciprocal, jnp.divide, (X, OTHER), linear=(0,)),
    Row("divide, broadcast", fn.divide, wide(jnp.divide), (COLUMN, ROW), linear=(0,), empty=(0,)),
    Row("maximum", fn.maximum, jnp.maximum, (X, OTHER)),
    Row("maximum, broadcast", fn.maximum, wide(jnp.maximum), (COLUMN, ROW), empty=(0,)),
    Row("minimum", fn.minimum, jnp.minimum, (X, OTHER)),
    Row("minimum, broadcast", fn.minimum, wide(jnp.minimum), (ROW, COLUMN), empty=(1,)),
]

ELEMENTARY = [
    Row("exp", fn.exp, jnp.exp, (SMALL,), same_formula=True),
    Row("log", fn.log, jnp.log, (POSITIVE,)),
    Row("sqrt", fn.sqrt, jnp.sqrt, (POSITIVE,)),
    Row("power", fn.power, jnp.power, (POSITIVE, OTHER)),
    Row("power, number", fn.power, wide(jnp.power), (POSITIVE, np.array(2.5)), empty=()),
    Row("power, broadcast", fn.power, wide(jnp.power), (POSITIVE, ROW), empty=(0,)),
    Row("sin", fn.sin, jnp.sin, (X,), same_formula=True),
    Row("cos", fn.cos, jnp.cos, (X,), same_formula=True),
    Row(
        "x to the power of y - less, times a",
        elementary._times_power,
        lambda a, x, y, less: a * jnp.power(x, y - less),
        (OTHER, POSITIVE, SMALL),
        {"less": 1},
        linear=(0,),
    ),
]

SUMS_AND_MOVES = [
    Row("sum", fn.sum, jnp.sum, (X,), same_formula=True, linear=(0,)),
    Row("sum, axis", fn.sum, jnp.sum, (X,), {"axis": 1, "keepdims": True}, linear=(0,)),
    Row("mean", fn.mean, jnp.mean, (X,), same_formula=True, linear=(0,), empty=()),
    Row(
        "mean, axes",
        fn.mean,
        jnp.mean,
        (normal(2, 3, 2),),
        {"axis": (0, 2)},
        linear=(0,),
        empty=(),
    ),
    Row("reshape", fn.reshape, jnp.reshape, (X,), {"shape": (3, -1)}, linear=(0,), empty=()),
    Row("transpose", fn.transpose, jnp.transpose, (X,), same_formula=True, linear=(0,)),
    Row(
        "transpose, axes",
        fn.transpose,
        jnp.transpose,
        (normal(2, 3, 4),),
        {"axes": (2, 0, -2)},
        linear=(0,),
    ),
    Row(
        "concatenate",
        fn.concatenate,
        jnp.concatenate,
        ([X, OTHER],),
        same_formula=True,
        linear=(0,),
    ),
    Row(
        "concatenate, axis",
        fn.concatenate,
        jnp.concatenate,
        ((X, COLUMN, OTHER),),
        {"axis": -1},
        linear=(0,),
    ),
    Row(
        "gather",
        fn.gather,
        jnp.take,
        (normal(4, 3), np.array([[2, 0], [2, -1]])),
        {"axis": 0},
        linear=(0,),
        empty=(),
    ),
    Row(
        "gather, axis",
        fn.gather,
        jnp.take,
        (X, np.array([1, 1, 2])),
        {"axis": 1},
        linear=(0,),
        empty=(0,),
    ),
]

LINEAR = [
    Row(
        "linear",
        fn.linear,
        jnp.matmul,
        (X, normal(3, 4)),
        same_formula=True,
        linear=(0, 1),
        empty=(0,),
    ),
    Row("linear, vector", fn.linear, jnp.matmul, (ROW, normal(3, 4)), linear=(0, 1), empty=()),
    Row(
        "linear, batches",
        fn.linear,
        jnp.matmul,
        (normal(2, 2, 3), normal(3, 2)),
        linear=(0, 1),
        empty=(0,),
    ),
    Row(
        "affine",
        fn.affine,
        lambda x, w, b: x @ w + jnp.broadcast_to(b, (*x.shape[:-1], *b.shape)),
        (X, normal(3, 4), normal(4)),
        same_formula=True,
        empty=(0,),
    ),
    Row(
        "affine, batches",
        fn.affine,
        lambda x, w, b: x @ w + jnp.broadcast_to(b, (*x.shape[:-1], *b.shape)),
        (normal(2, 2, 3), normal(3, 2), normal(2)),
        empty=(0,),
    ),
    Row("inner", fn.inner, jnp.inner, (ROW, normal(3)), same_formula=True, linear=(0, 1), empty=()),
    Row("inner, matrices", fn.inner, jnp.inner, (X, normal(4, 3)), linear=(0, 1), empty=(0,)),
    Row(
        "matmul",
        fn.matmul,
        jnp.matmul,
        (X, normal(3, 4)),
        same_formula=True,
        linear=(0, 1),
        empty=(0,),
    ),
    Row("matmul, vectors", fn.matmul, jnp.matmul, (ROW, normal(3)), linear=(0, 1), empty=()),
    Row(
        "matmul, vector and matrix",
        fn.matmul,
        jnp.matmul,
        (ROW, normal(3, 2)),
        linear=(0, 1),
        empty=(),
    ),
    Row(
        "matmul, stack",
        fn.matmul,
        jnp.matmul,
        (normal(3, 2, 3), normal(3, 2)),
        linear=(0, 1),
        empty=(0,),
    ),
    Row(
        "matmul, stacks that broadcast",
        fn.matmul,
        jnp.matmul,
        (normal(2, 1, 2, 3), normal(3, 3, 2)),
        linear=(0, 1),
        empty=(),
    ),
]

ACTIVATIONS = [
    Row("sigmoid", fn.sigmoid, jax.nn.sigmoid, (X,)),
    Row(
        "sigmoid, keep output",
        fn.sigmoid,
        lambda x, keep: jax.nn.sigmoid(x),
        (X,),
        {"keep": "output"},
    ),
    Row("tanh", fn.tanh, jnp.tanh, (X,)),
    Row("tanh, keep output", fn.tanh, lambda x, keep: jnp.tanh(x), (X,), {"keep": "output"}),
    Row("softplus", fn.softplus, jax.nn.softplus, (X,)),
    Row("log_sigmoid", fn.log_sigmoid, jax.nn.log_sigmoid, (X,)),
    Row("silu", fn.silu, jax.nn.silu, (X,)),
    Row("gelu", fn.gelu, jax.nn.gelu, (X,)),
    Row("gelu, exact", fn.gelu, jax.nn.gelu, (X,), {"approximate": False}),
    Row("softsign", fn.softsign, jax.nn.soft_sign, (X,)),
    Row("mish", fn.mish, jax.nn.mish, (X,)),
    Row("relu", fn.relu, jax.nn.relu, (X,), same_formula=True),
    Row("leaky_relu", fn.leaky_relu, jax.nn.leaky_relu, (X,), {"negative_slope": 0.2}),
    Row(
        "prelu",
        fn.prelu,
        wide(lambda x, a: jnp.where(x > 0, x, a * x)),
        (X, np.abs(ROW)),
        empty=(0,),
    ),
    Row(
        "prelu, shared",
        fn.prelu,
        wide(lambda x, a: jnp.where(x > 0, x, a * x)),
        (X, np.array(0.3)),
        empty=(),
    ),
    Row("elu", fn.elu, jax.nn.elu, (X,), {"alpha": 0.7}),
    Row("selu", fn.selu, jax.nn.selu, (X,)),
    Row("hard_tanh", fn.hard_tanh, jax.nn.hard_tanh, (X,)),
    Row("hard_sigmoid", fn.hard_sigmoid, jax.nn.hard_sigmoid, (X,)),
    Row("hard_swish", fn.hard_swish, jax.nn.hard_swish, (X,)),
    Row("softmax", fn.softmax, jax.nn.softmax, (X, None)),
    Row("softmax, axis", fn.softmax, jax.nn.softmax, (X, None), {"axis": 0}, empty=()),
    Row(
        "softmax, where",
        fn.softmax,
        lambda x, where: jax.nn.softmax(x, where=where),
        (X, MASK),
    ),
    Row("log_softmax", fn.log_softmax, jax.nn.log_softmax, (X, None)),
    Row(
        "log_softmax, axes",
        fn.log_softmax,
        jax.nn.log_softmax,
        (X, None),
        {"axis": (0, 1)},
        empty=(),
        without=("test_check_rule", "test_declared_structure"),  # one block, nothing beside it
    ),
    Row("logsumexp", fn.logsumexp, jax.nn.logsumexp, (X, None), empty=()),
    Row(
        "logsumexp, axis",
        fn.logsumexp,
        jax.nn.logsumexp,
        (X, None),
        {"axis": -1, "keepdims": True},
    ),
    Row(
        "logsumexp, where",
        fn.logsumexp,
        lambda x, where, axis: jax.nn.logsumexp(x, axis, where=where),
        (X, MASK),
        {"axis": 1},
    ),
]

SLOPES = [
    Row("slope of sigmoid", activations._sigmoid_slope, slope(jax.nn.sigmoid), (X,)),
    Row("slope of tanh", activations._tanh_slope, slope(jnp.tanh), (X,)),
    Row("slope of silu", gated._silu_slope, slope(jax.nn.silu), (X,)),
    Row("slope of gelu", gated._gelu_slope, slope(jax.nn.gelu), (X,), {"approximate": True}),
    Row(
        "slope of exact gelu",
        gated._gelu_slope,
        slope(jax.nn.gelu),
        (X,),
        {"approximate": False},
    ),
    Row("slope of softsign", activations._softsign_slope, slope(jax.nn.soft_sign), (X,)),
    Row("slope of mish", gated._mish_slope, slope(jax.nn.mish), (X,)),
    Row(
        "times_sigmoid",
        products.times_sigmoid,
        lambda a, z: a * jax.nn.sigmoid(z),
        (OTHER, X),
        linear=(0,),
    ),
    Row(
        "times_bell",
        products.times_bell,
        lambda a, z: a * jax.nn.sigmoid(z) * jax.nn.sigmoid(-z),
        (OTHER, X),
        linear=(0,),
    ),
    Row(
        "times_gauss",
        products.times_gauss,
        lambda a, x: a * jax.scipy.stats.norm.pdf(x),
        (OTHER, X),
        linear=(0,),
    ),
    Row(
        "times_cdf",
        products.times_cdf,
        lambda a, x: a * jax.scipy.stats.norm.cdf(x),
        (OTHER, X),
        linear=(0,),
        without=("test_dtypes_are_kept", "test_sixteen_bits_are_near_to_thirty_two"),
    ),
]

LOSSES = [
    Row("log_loss", fn.log_loss, signed(lambda u: -jax.nn.log_sigmoid(u)), (X, SIGNS)),
    Row("hinge_loss", fn.hinge_loss, signed(lambda u: jnp.maximum(1 - u, 0)), (X, SIGNS)),
    Row("binary_cross_entropy", fn.binary_cross_entropy, bernoulli, (X, PROBABILITIES)),
    Row("softmax_cross_entropy", fn.softmax_cross_entropy, cross_entropy, (X, np.array([2, 0]))),
    Row("1 - exp(-x)", _other_probability, lambda x: -jnp.expm1(-x), (POSITIVE,)),
    Row(
        "softmax_cross_entropy, smoothed",
        fn.softmax_cross_entropy,
        cross_entropy,
        (X, np.array([2, 0])),
        {"label_smoothing": 0.1},
    ),
    Row(
        "softmax_cross_entropy, distributions",
        fn.softmax_cross_entropy,
        cross_entropy,
        (X, DISTRIBUTIONS),
        {"label_smoothing": 0.1},
    ),
    Row("kl_divergence", fn.kl_divergence, divergence, (SMALL - 2, DISTRIBUTIONS)),
    Row(
        "squared_error",
        fn.squared_error,
        lambda p, q: jnp.sum((p - q) ** 2, -1),
        (X, OTHER),
    ),
    Row("absolute_error", fn.absolute_error, lambda p, q: jnp.sum(jnp.abs(p - q), -1), (X, OTHER)),
    Row("huber_loss", fn.huber_loss, huber, (X, X + SMALL), {"delta": 0.8}),
    Row("l2_penalty", fn.l2_penalty, total(lambda w: w**2 / 2), (PARAMS,)),
    Row("l1_penalty", fn.l1_penalty, total(jnp.abs), (PARAMS,)),
]

LAYERS = [
    Row("drop", drop, masked, (X, jax.random.key(0)), {"dropped": 20_000}, linear=(0,), empty=(0,)),
]

FAMILIES = (GATES, ELEMENTARY, SUMS_AND_MOVES, LINEAR, ACTIVATIONS, SLOPES, LOSSES, LAYERS)
ROWS = [row for family in FAMILIES for row in family]
