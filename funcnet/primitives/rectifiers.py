"""Activation functions made of pieces, as a table of rules; each kink is decided here, once.

At a kink the slope is that of the side on which the function is flat or flatter: ``relu'(0) = 0``,
as in `jax.nn.relu`, and so for every function below. Second derivatives at kinks follow from that.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from funcnet.errors import ShapeError
from funcnet.primitives.broadcast import unbroadcast
from funcnet.primitives.elementwise import elementwise, in_float32
from funcnet.rules import rule
from funcnet.structure import Structure
from funcnet.typing import Array

__all__ = [
    "elu",
    "hard_sigmoid",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "prelu",
    "relu",
    "selu",
]


# relu passes the cotangent on or stops it; nothing is multiplied, so that an infinite one stays
# right.


@rule(
    residuals=lambda y, x: y,
    jvp=lambda y, t: jnp.where(y > 0, t, 0),
    vjp=lambda y, ct: jnp.where(y > 0, ct, 0),
    structure=Structure.DIAGONAL,
    formula="y = max(x, 0)",
    source="Nair & Hinton 2010; Glorot, Bordes & Bengio 2011",
)
@in_float32
def relu(x: Array) -> Array:
    """The rectifier, elementwise.

    ``y = max(x, 0)``: ``dy = t`` where ``x > 0``, else 0; ``x_bar = ct`` where ``x > 0``, else 0.
    At the kink the slope is 0. The backward pass keeps y, which the next layer keeps anyway.

    Args:
        x: Floating array of any shape.

    Returns:
        Array of the shape and dtype of x, never negative.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax
        >>> from funcnet.primitives import relu
        >>> float(relu(-2.0)), float(jax.grad(relu)(0.0)), float(jax.grad(relu)(3.0))
        (0.0, 0.0, 1.0)

    References:
        Glorot, Bordes & Bengio, Deep sparse rectifier neural networks, AISTATS 2011.
    """
    return jnp.maximum(x, 0)


@rule(
    residuals=lambda y, x, negative_slope: x,
    jvp=lambda x, t, negative_slope: jnp.where(x > 0, t, negative_slope * t),
    vjp=lambda x, ct, negative_slope: jnp.where(x > 0, ct, negative_slope * ct),
    structure=Structure.DIAGONAL,
    formula="y = x where x > 0, else negative_slope x",
    source="Maas, Hannun & Ng 2013",
    static_argnames="negative_slope",
)
@in_float32
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """The leaky rectifier, elementwise.

    ``y = x`` where ``x > 0``, else ``negative_slope x``: ``dy = t`` or ``negative_slope t``,
    ``x_bar = ct`` or ``negative_slope ct``. At the kink the slope is `negative_slope`, so that a
    slope of 0 gives `relu`. For ``negative_slope <= 1`` this is the lecture's
    ``max(negative_slope x, x)``; for a larger one that maximum would not leak but swap the two
    sides.

    Args:
        x: Floating array of any shape.
        negative_slope: The slope on the left.

    Returns:
        Array of the shape and dtype of x.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax
        >>> from funcnet.primitives import leaky_relu
        >>> float(leaky_relu(-2.0, 0.5)), float(jax.grad(leaky_relu)(3.0))
        (-1.0, 1.0)

    References:
        Maas, Hannun & Ng, Rectifier nonlinearities improve neural network acoustic models,
        ICML 2013.
    """
    return jnp.where(x > 0, x, negative_slope * x)


def _prelu_jvp_x(res: Any, t: Array) -> Array:
    x, slope = res
    return jnp.where(x > 0, t, _along(slope, x) * t)


def _prelu_jvp_slope(res: Any, t: Array) -> Array:
    x, _ = res
    return jnp.where(x > 0, 0, x) * _along(t, x)


def _prelu_vjp_x(res: Any, ct: Array) -> Array:
    x, slope = res
    return jnp.where(x > 0, ct, _along(slope, x) * ct)


def _prelu_vjp_slope(res: Any, ct: Array) -> Array:
    x, slope = res
    return unbroadcast(jnp.where(x > 0, 0, x) * ct, slope)


def _along(slope: Array, x: Array) -> Array:
    """The slope, repeated to the shape of x."""
    return jnp.broadcast_to(slope, x.shape)


@rule(
    residuals=lambda y, x, slope: (x, slope),
    jvp=(_prelu_jvp_x, _prelu_jvp_slope),
    vjp=(_prelu_vjp_x, _prelu_vjp_slope),
    structure=(Structure.DIAGONAL, Structure.DIAGONAL),
    formula="y = x where x > 0, else slope x",
    source="He, Zhang, Ren & Sun 2015, eq. 1",
)
def prelu(x: Array, slope: Array) -> Array:
    """The rectifier with a slope that is learnt, elementwise.

    ``y = x`` where ``x > 0``, else ``slope x``. For x: ``dy = t`` or ``slope t``, ``x_bar = ct`` or
    ``slope ct``. For the slope: ``dy = min(x, 0) t`` and ``slope_bar = sum of min(x, 0) ct`` over
    all entries that share it. At the kink the slope is that of the left side.

    Args:
        x: Floating array of any shape ``(..., channels)``.
        slope: One slope for all, of shape ``()`` or ``(1,)``, or one per channel, of shape
            ``(channels,)``; the dtype of x.

    Returns:
        Array of the shape and dtype of x.

    Raises:
        ShapeError: slope has another shape.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import prelu
        >>> x = jnp.array([-2.0, 3.0])
        >>> prelu(x, 0.25).tolist()
        [-0.5, 3.0]
        >>> float(jax.grad(lambda a: prelu(x, a).sum())(0.25))
        -2.0

    References:
        He, Zhang, Ren & Sun, Delving deep into rectifiers, ICCV 2015, eq. 1 and 9.
    """
    slope = jnp.asarray(slope)
    if slope.shape not in ((), (1,), x.shape[-1:]):
        raise ShapeError(
            f"prelu: slope must have shape () or {x.shape[-1:]} to go with x of shape {x.shape}, "
            f"got {slope.shape}"
        )
    return jnp.where(x > 0, x, _along(slope, x) * x)


# elu and selu


def _elu_slope(x: Array, alpha: float) -> Array:
    return jnp.where(x > 0, 1, alpha * jnp.exp(jnp.where(x > 0, 0, x)))


@elementwise(
    slope=_elu_slope,
    formula="y = x where x > 0, else alpha (exp(x) - 1)",
    source="Clevert, Unterthiner & Hochreiter 2016, eq. 15",
    static_argnames=("alpha",),
)
def elu(x: Array, alpha: float = 1.0) -> Array:
    """The exponential linear unit, elementwise.

    ``y = x`` where ``x > 0``, else ``alpha (exp(x) - 1)``, with slope ``s(x) = 1`` or
    ``alpha exp(x)``: ``dy = s(x) t`` and ``x_bar = ct s(x)``. At the kink (none, for ``alpha = 1``)
    the slope is alpha.

    Args:
        x: Floating array of any shape.
        alpha: Minus the value that it tends to on the left.

    Returns:
        Array of the shape and dtype of x, above ``-alpha``.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax
        >>> from funcnet.primitives import elu
        >>> float(elu(2.0)), float(jax.grad(elu)(0.0))
        (2.0, 1.0)

    References:
        Clevert, Unterthiner & Hochreiter, Fast and accurate deep network learning by exponential
        linear units, ICLR 2016, eq. 15.
    """
    return jnp.where(x > 0, x, alpha * jnp.expm1(jnp.where(x > 0, 0, x)))


SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def _selu_slope(x: Array) -> Array:
    left = SELU_SCALE * SELU_ALPHA * jnp.exp(jnp.where(x > 0, 0, x))
    return jnp.where(x > 0, SELU_SCALE, left)


@elementwise(
    slope=_selu_slope,
    formula="y = 1.0507 x where x > 0, else 1.7581 (exp(x) - 1)",
    source="Klambauer, Unterthiner, Mayr & Hochreiter 2017, eq. 2",
)
def selu(x: Array) -> Array:
    """The self-normalizing exponential linear unit, elementwise.

    ``y = scale elu(x, alpha)`` with scale = 1.0507... and alpha = 1.6733..., chosen so that N(0, 1)
    is a fixed point, with slope ``s(x) = scale`` or ``scale alpha exp(x)``: ``dy = s(x) t`` and
    ``x_bar = ct s(x)``. At the kink the slope is the left one, ``scale alpha``.

    Args:
        x: Floating array of any shape.

    Returns:
        Array of the shape and dtype of x, above -1.7581.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax
        >>> from funcnet.primitives import selu
        >>> round(float(selu(1.0)), 4), round(float(jax.grad(selu)(0.0)), 4)
        (1.0507, 1.7581)

    References:
        Klambauer, Unterthiner, Mayr & Hochreiter, Self-normalizing neural networks, NIPS 2017, eq.
        2.
    """
    left = SELU_SCALE * SELU_ALPHA * jnp.expm1(jnp.where(x > 0, 0, x))
    return jnp.where(x > 0, SELU_SCALE * x, left)


# The hard functions: straight lines between two flat ends


def _hard_tanh_slope(x: Array) -> Array:
    return jnp.where(jnp.abs(x) < 1, 1.0, 0.0).astype(x.dtype)


@elementwise(
    slope=_hard_tanh_slope,
    formula="y = min(max(x, -1), 1)",
    source="Collobert 2004",
)
def hard_tanh(x: Array) -> Array:
    """The hyperbolic tangent in three straight pieces, elementwise.

    ``y = min(max(x, -1), 1)``, with slope 1 where ``|x| < 1``, else 0: ``dy = t`` or 0,
    ``x_bar = ct`` or 0. At both kinks the slope is 0.

    Args:
        x: Floating array of any shape.

    Returns:
        Array of the shape and dtype of x, between -1 and 1.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax
        >>> from funcnet.primitives import hard_tanh
        >>> float(hard_tanh(3.0)), float(jax.grad(hard_tanh)(1.0)), float(jax.grad(hard_tanh)(0.5))
        (1.0, 0.0, 1.0)

    References:
        Collobert, Large scale machine learning, thesis, Universite Paris VI, 2004.
    """
    return jnp.clip(x, -1, 1)


def _hard_sigmoid_slope(x: Array) -> Array:
    return jnp.where(jnp.abs(x) < 3, 1 / 6, 0.0).astype(x.dtype)


@elementwise(
    slope=_hard_sigmoid_slope,
    formula="y = min(max((x + 3) / 6, 0), 1)",
    source="Howard et al. 2019, sec. 5.2",
)
def hard_sigmoid(x: Array) -> Array:
    """The sigmoid in three straight pieces, elementwise, as `jax.nn.hard_sigmoid`.

    ``y = min(max((x + 3) / 6, 0), 1)``, with slope 1/6 where ``|x| < 3``, else 0: ``dy = t / 6`` or
    0, ``x_bar = ct / 6`` or 0. At both kinks the slope is 0.

    Args:
        x: Floating array of any shape.

    Returns:
        Array of the shape and dtype of x, between 0 and 1.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax
        >>> from funcnet.primitives import hard_sigmoid
        >>> float(hard_sigmoid(0.0)), float(jax.grad(hard_sigmoid)(3.0))
        (0.5, 0.0)

    References:
        Howard et al., Searching for MobileNetV3, ICCV 2019, section 5.2.
    """
    return jnp.clip((jnp.clip(x, -3, 3) + 3) / 6, 0, 1)


def _hard_swish_slope(x: Array) -> Array:
    middle = (2 * jnp.clip(x, -3, 3) + 3) / 6
    return jnp.where(x <= -3, 0, jnp.where(x >= 3, 1, middle))


@elementwise(
    slope=_hard_swish_slope,
    formula="y = x hard_sigmoid(x)",
    source="Howard et al. 2019, sec. 5.2",
)
def hard_swish(x: Array) -> Array:
    """The silu in three pieces, elementwise, as `jax.nn.hard_swish`.

    ``y = x hard_sigmoid(x)``, with slope ``s(x) = 0`` for ``x <= -3``, ``(2x + 3) / 6`` in between,
    1 for ``x >= 3``: ``dy = s(x) t`` and ``x_bar = ct s(x)``. At the kinks the slope is that of the
    outer pieces, 0 and 1.

    Args:
        x: Floating array of any shape.

    Returns:
        Array of the shape and dtype of x, at least -0.375.

    Raises:
        DTypeError: x is not a real floating array.

    Example:
        >>> import jax
        >>> from funcnet.primitives import hard_swish
        >>> float(hard_swish(3.0)), float(jax.grad(hard_swish)(0.0))
        (3.0, 0.5)

    References:
        Howard et al., Searching for MobileNetV3, ICCV 2019, section 5.2.
    """
    x = jnp.maximum(x, -3)
    return x * (jnp.minimum(x, 3) + 3) / 6
