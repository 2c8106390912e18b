"""Differentiable functions with both derivatives written down, from obvious to tricky."""

from funcnet.primitives.activations import log_sigmoid, sigmoid, softplus, softsign, tanh
from funcnet.primitives.cross_entropy import (
    kl_divergence,
    softmax_cross_entropy,
)
from funcnet.primitives.distances import (
    absolute_error,
    huber_loss,
    squared_error,
)
from funcnet.primitives.elementary import (
    cos,
    exp,
    log,
    power,
    sin,
    sqrt,
)
from funcnet.primitives.gated import gelu, mish, silu
from funcnet.primitives.gates import (
    add,
    divide,
    maximum,
    minimum,
    multiply,
    negate,
    reciprocal,
    subtract,
)
from funcnet.primitives.linear import (
    affine,
    inner,
    linear,
    matmul,
)
from funcnet.primitives.losses import (
    binary_cross_entropy,
    hinge_loss,
    log_loss,
)
from funcnet.primitives.penalties import (
    l1_penalty,
    l2_penalty,
)
from funcnet.primitives.rectifiers import (
    elu,
    hard_sigmoid,
    hard_swish,
    hard_tanh,
    leaky_relu,
    prelu,
    relu,
    selu,
)
from funcnet.primitives.shapes import (
    concatenate,
    gather,
    mean,
    reshape,
    sum,
    transpose,
)
from funcnet.primitives.softmax import (
    log_softmax,
    logsumexp,
    softmax,
)

__all__ = [
    "absolute_error",
    "add",
    "affine",
    "binary_cross_entropy",
    "concatenate",
    "cos",
    "divide",
    "elu",
    "exp",
    "gather",
    "gelu",
    "hard_sigmoid",
    "hard_swish",
    "hard_tanh",
    "hinge_loss",
    "huber_loss",
    "inner",
    "kl_divergence",
    "l1_penalty",
    "l2_penalty",
    "leaky_relu",
    "linear",
    "log",
    "log_loss",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "matmul",
    "maximum",
    "mean",
    "minimum",
    "mish",
    "multiply",
    "negate",
    "power",
    "prelu",
    "reciprocal",
    "relu",
    "reshape",
    "selu",
    "sigmoid",
    "silu",
    "sin",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "softsign",
    "sqrt",
    "squared_error",
    "subtract",
    "sum",
    "tanh",
    "transpose",
]
