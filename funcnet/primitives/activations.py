"""Smooth activation functions as a table of rules, from obvious to tricky.

Each is elementwise: its Jacobian is diagonal, and both rules multiply by the slope,
``dy = phi'(x) t`` and ``x_bar = ct phi'(x)``. Every function below stands with its slope. Values
and first two derivatives d hold ``|error| <= 8 eps (|d| + |x d'|)`` over the whole range of
float64, float32, bfloat16 and float16 (the last two computed in float32), far into the tails, where
the textbook formulas cancel to 0.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from funcnet.errors import ArgumentError
from funcnet.primitives.elementwise import elementwise, in_float32
from funcnet.primitives.products import times_bell
from funcnet.rules import rule
from funcnet.structure import Structure
from funcnet.typing import Array

__all__ = ["log_sigmoid", "sigmoid", "softplus", "softsign", "tanh"]


def _check_keep(name: str, keep: str) -> None:
    if keep not in ("input", "output"):
        raise ArgumentError(f"{name}: keep must be 'input' or 'output', got {keep!r}")


# sigmoid and tanh: the slope from the input, or from the output. A slope is a rule itself where its
# own derivative, left to the chain rule, would underflow early.


@elementwise(
    slope=lambda x: times_bell(-jnp.tanh(x / 2), x),
    formula="y = sigma(x) sigma(-x)",
)
def _sigmoid_slope(x: Array) -> Array:
    return times_bell(jnp.ones_like(x), x)


@elementwise(
    slope=lambda x: times_bell(-8 * jnp.tanh(x), 2 * x),
    formula="y = 4 sigma(2x) sigma(-2x)",
)
def _tanh_slope(x: Array) -> Array:
    return times_bell(jnp.full_like(x, 4.0), 2 * x)


def _sigmoid_slope_of(kept: Array, keep: str) -> Array:
    return _sigmoid_slope(kept) if keep == "input" else kept * (1 - kept)


def _tanh_slope_of(kept: Array, keep: str) -> Array:
    return _tanh_slope(kept) if keep == "input" else 1 - kept * kept


def _input_or_output(y: Array, x: Array, keep: str) -> Array:
    return x if keep == "input" else y


@rule(
    residuals=_input_or_output,
    jvp=lambda kept, t, keep: _sigmoid_slope_of(kept, keep) * t,
    vjp=lambda kept, ct, keep: ct * _sigmoid_slope_of(kept, keep),
    structure=Structure.DIAGONAL,
    formula="y = 1 / (1 + exp(-x))",
    source="Rumelhart, Hinton & Williams 1986, eq. 2",
    static_argnames="keep",
)
@in_float32
def sigmoid(x: Array, keep: str = "input") -> Array:
    """The logistic function, elementwise.

    ``y = 1 / (1 + exp(-x))``, with slope ``sigma(x) sigma(-x)``:
    ``dy = sigma(x) sigma(-x) t`` and ``x_bar = ct sigma(x) sigma(-x)``.

    The textbook slope ``y (1 - y)`` is exactly 0 in float32 from x = 17 on, where the truth is
    4e-8; from the input no digit is lost. ``keep="output"`` uses the textbook slope and keeps y
    instead of x, which saves an array where y is kept anyway, at the price of the upper tail.

    Args:
        x: Floating array of any shape.
        keep: What the backward pass keeps, ``"input"`` or ``"output"``.

    Returns:
        Array of the shape and dtype of x, between 0 and 1.

    Raises:
        DTypeError: x is not a real floating array.
        ArgumentError: keep is neither of the two.

    Example:
        >>> import jax
        >>> from funcnet.primitives import sigmoid
        >>> float(sigmoid(0.0)), float(jax.grad(sigmoid)(0.0))
        (0.5, 0.25)
        >>> float(jax.grad(sigmoid)(40.0)) > 0
        True

    References:
        Rumelhart, Hinton & Williams, Learning representations by back-propagating errors,
        Nature 323 (1986), eq. 2.
    """
    _check_keep("sigmoid", keep)
    return lax.logistic(x)


@rule(
    residuals=_input_or_output,
    jvp=lambda kept, t, keep: _tanh_slope_of(kept, keep) * t,
    vjp=lambda kept, ct, keep: ct * _tanh_slope_of(kept, keep),
    structure=Structure.DIAGONAL,
    formula="y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))",
    source="LeCun, Bottou, Orr & Mueller 1998, sec. 4.4",
    static_argnames="keep",
)
@in_float32
def tanh(x: Array, keep: str = "input") -> Array:
    """The hyperbolic tangent, elementwise.

    ``y = tanh(x)``, with slope ``1 - y^2 = 4 sigma(2x) sigma(-2x)``:
    ``dy = 4 sigma(2x) sigma(-2x) t`` and ``x_bar = 4 ct sigma(2x) sigma(-2x)``.

    ``1 - y^2`` is exactly 0 in float32 from x = 9 on, where the truth is 6e-8; from the input no
    digit is lost. ``keep="output"`` uses it and keeps y instead of x.

    Args:
        x: Floating array of any shape.
        keep: What the backward pass keeps, ``"input"`` or ``"output"``.

    Returns:
        Array of the shape and dtype of x, between -1 and 1.

    Raises:
        DTypeError: x is not a real floating array.
        ArgumentError: keep is neither of the two.

    Example:
        >>> import jax
        >>> from funcnet.primitives import tanh
        >>> float(tanh(0.0)), float(jax.grad(tanh)(0.0))
        (0.0, 1.0)

    References:
        LeCun, Bottou, Orr & Mueller, Efficient BackProp (1998), section 4.4.
    """
    _check_keep("tanh", keep)
    return lax.tanh(x)


# The softplus family: integrals of the sigmoid


@elementwise(
    slope=lambda x: sigmoid(x),
    formula="y = log(1 + exp(x))",
    source="Dugas et al. 2000, eq. 4",
)
def softplus(x: Array) -> Array:
    """The smooth ramp, elementwise.

    ``y = log(1 + exp(x))``, with slope ``sigma(x)``: ``dy = sigma(x) t`` and
    ``x_bar = ct sigma(x)``.

    Args:
        x: Floating array of any shape.

    Returns:
        Array of the shape and dtype of x, never negative.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax
        >>> from funcnet.primitives import softplus
        >>> float(softplus(1e4)), float(jax.grad(softplus)(0.0))
        (10000.0, 0.5)

    References:
        Dugas, Bengio, Belisle, Nadeau & Garcia, Incorporating second-order functional knowledge
        for better option pricing, NIPS 2000, eq. 4.
    """
    return jnp.maximum(x, 0.0) + lax.log1p(jnp.exp(-jnp.abs(x)))


@elementwise(
    slope=lambda x: sigmoid(-x),
    formula="y = -log(1 + exp(-x))",
    source="the logarithm of sigmoid",
)
def log_sigmoid(x: Array) -> Array:
    """The logarithm of the logistic function, elementwise.

    ``y = log sigma(x) = -softplus(-x)``, with slope ``sigma(-x)``: ``dy = sigma(-x) t`` and
    ``x_bar = ct sigma(-x)``.

    Args:
        x: Floating array of any shape.

    Returns:
        Array of the shape and dtype of x, never positive.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax
        >>> from funcnet.primitives import log_sigmoid
        >>> float(log_sigmoid(-1e4)), float(jax.grad(log_sigmoid)(0.0))
        (-10000.0, 0.5)
    """
    return jnp.minimum(x, 0.0) - lax.log1p(jnp.exp(-jnp.abs(x)))


# Quotients


def _softsign_curvature(x: Array) -> Array:
    shrunk = 1 / (1 + jnp.abs(x))
    return -2 * jnp.sign(x) * shrunk * shrunk * shrunk


@elementwise(slope=_softsign_curvature, formula="y = 1 / (1 + |x|)^2")
def _softsign_slope(x: Array) -> Array:
    return jnp.square(1 / (1 + jnp.abs(x)))


@elementwise(
    slope=_softsign_slope,
    formula="y = x / (1 + |x|)",
    source="Glorot & Bengio 2010, sec. 3",
)
def softsign(x: Array) -> Array:
    """The softsign, elementwise: saturates like 1/x where tanh does exponentially.

    ``y = x / (1 + |x|)``, with slope ``s(x) = 1 / (1 + |x|)^2``: ``dy = s(x) t`` and
    ``x_bar = ct s(x)``. The second derivative jumps from 2 to -2 at 0, where it is taken to be 0.

    Args:
        x: Floating array of any shape.

    Returns:
        Array of the shape and dtype of x, between -1 and 1.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax
        >>> from funcnet.primitives import softsign
        >>> float(softsign(1.0)), float(jax.grad(softsign)(1.0))
        (0.5, 0.25)

    References:
        Glorot & Bengio, Understanding the difficulty of training deep feedforward neural
        networks, AISTATS 2010, section 3.
    """
    largest = jnp.finfo(x.dtype).max
    x = jnp.clip(x, -largest, largest)
    return x / (1 + jnp.abs(x))
