"""The gates of arithmetic: what happens to a cotangent at a sum, a product, a maximum, a quotient.

The names are the lecture's. An *add* gate distributes: it hands its cotangent to both arguments. A
*multiply* gate switches: each argument gets the cotangent times the other one. A *max* gate routes:
the argument that won gets everything. Arguments broadcast as in NumPy, whatever
``jax_numpy_rank_promotion`` says; the backward rules sum over what was repeated. Dtypes combine as
in `jax.numpy`; integers have values here but, as everywhere in JAX, no derivatives.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from funcnet.primitives.broadcast import Operands, align, spread, unbroadcast
from funcnet.rules import rule
from funcnet.structure import Structure
from funcnet.typing import Array

__all__ = [
    "add",
    "divide",
    "maximum",
    "minimum",
    "multiply",
    "negate",
    "reciprocal",
    "subtract",
]


# Linear gates


@rule(
    residuals=Operands,
    jvp=(lambda v, t: spread(t, v.y), lambda v, t: spread(t, v.y)),
    vjp=(lambda v, ct: unbroadcast(ct, v.a), lambda v, ct: unbroadcast(ct, v.b)),
    structure=Structure.IDENTITY,
    formula="y = a + b",
    source="CS231n notes, Backpropagation: patterns in backward flow",
)
def add(a: Array, b: Array) -> Array:
    """The add gate: distributes its cotangent to both arguments.

    ``y = a + b``: ``dy = t_a + t_b`` and ``a_bar = ct``, ``b_bar = ct``, summed over what was
    repeated.

    Args:
        a: Array of any shape.
        b: Array of a shape that broadcasts with that of a.

    Returns:
        Array of the broadcast shape.

    Raises:
        ShapeError: The shapes do not broadcast.

    Example:
        >>> import jax
        >>> from funcnet.primitives import add
        >>> gradient = jax.grad(add, argnums=(0, 1))(2.0, 3.0)
        >>> [float(g) for g in gradient]
        [1.0, 1.0]

    References:
        Stanford CS231n, notes on backpropagation, "Patterns in backward flow".
    """
    return jnp.add(*align("add", a, b))


@rule(
    residuals=Operands,
    jvp=(lambda v, t: spread(t, v.y), lambda v, t: spread(-t, v.y)),
    vjp=(lambda v, ct: unbroadcast(ct, v.a), lambda v, ct: unbroadcast(-ct, v.b)),
    structure=(Structure.IDENTITY, Structure.SCALED_IDENTITY),
    formula="y = a - b",
    source="add of a and negate of b",
)
def subtract(a: Array, b: Array) -> Array:
    """The difference of two arrays.

    ``y = a - b``: ``dy = t_a - t_b`` and ``a_bar = ct``, ``b_bar = -ct``, summed over what was
    repeated.

    Args:
        a: Array of any shape.
        b: Array of a shape that broadcasts with that of a.

    Returns:
        Array of the broadcast shape.

    Raises:
        ShapeError: The shapes do not broadcast.

    Example:
        >>> import jax
        >>> from funcnet.primitives import subtract
        >>> gradient = jax.grad(subtract, argnums=(0, 1))(2.0, 3.0)
        >>> [float(g) for g in gradient]
        [1.0, -1.0]

    References:
        `add` of a and `negate` of b.
    """
    return jnp.subtract(*align("subtract", a, b))


@rule(
    residuals=lambda y, x: (),
    jvp=lambda _, t: negate(t),
    vjp=lambda _, ct: negate(ct),
    structure=Structure.SCALED_IDENTITY,
    formula="y = -x",
    source="linear: its own derivative",
)
def negate(x: Array) -> Array:
    """The negative of an array.

    ``y = -x``: ``dy = -t`` and ``x_bar = -ct``. Nothing is kept for the backward pass.

    Args:
        x: Array of any shape.

    Returns:
        Array of the shape and dtype of x.

    Example:
        >>> import jax
        >>> from funcnet.primitives import negate
        >>> float(jax.grad(negate)(2.0))
        -1.0

    References:
        Linear, and so its own derivative.
    """
    return jnp.negative(x)


# Products and quotients


@rule(
    residuals=Operands,
    jvp=(lambda v, t: multiply(t, v.b), lambda v, t: multiply(v.a, t)),
    vjp=(
        lambda v, ct: unbroadcast(multiply(ct, v.b), v.a),
        lambda v, ct: unbroadcast(multiply(ct, v.a), v.b),
    ),
    structure=Structure.DIAGONAL,
    formula="y = a b",
    source="CS231n notes, Backpropagation: patterns in backward flow",
)
def multiply(a: Array, b: Array) -> Array:
    """The multiply gate: switches, each argument gets the cotangent times the other.

    ``y = a b``, elementwise: ``dy = t_a b + a t_b`` and ``a_bar = ct b``, ``b_bar = ct a``, summed
    over what was repeated.

    Args:
        a: Array of any shape.
        b: Array of a shape that broadcasts with that of a.

    Returns:
        Array of the broadcast shape.

    Raises:
        ShapeError: The shapes do not broadcast.

    Example:
        >>> import jax
        >>> from funcnet.primitives import multiply
        >>> gradient = jax.grad(multiply, argnums=(0, 1))(2.0, 3.0)
        >>> [float(g) for g in gradient]
        [3.0, 2.0]

    References:
        Stanford CS231n, notes on backpropagation, "Patterns in backward flow".
    """
    return jnp.multiply(*align("multiply", a, b))


@rule(
    residuals=lambda y, x: y,
    jvp=lambda y, t: -jnp.square(y) * t,
    vjp=lambda y, ct: ct * -jnp.square(y),
    structure=Structure.DIAGONAL,
    formula="y = 1 / x",
    source="the quotient rule",
)
def reciprocal(x: Array) -> Array:
    """One divided by an array.

    ``y = 1 / x``: ``dy = -y^2 t`` and ``x_bar = -y^2 ct``, both from the output. At 0, y is
    infinite with the sign of the zero and the slope is -inf.

    Args:
        x: Array of any shape.

    Returns:
        Array of the shape of x, of floating dtype.

    Example:
        >>> import jax
        >>> from funcnet.primitives import reciprocal
        >>> float(reciprocal(2.0)), float(jax.grad(reciprocal)(2.0))
        (0.5, -0.25)

    References:
        The quotient rule, written from the output.
    """
    return jnp.reciprocal(x)


def _divide_jvp_b(v: Operands, t: Array) -> Array:
    return multiply(t, -_times_reciprocal(v.y, v.b))


def _divide_vjp_b(v: Operands, ct: Array) -> Array:
    return unbroadcast(multiply(ct, -_times_reciprocal(v.y, v.b)), v.b)


@rule(
    residuals=Operands,
    jvp=(lambda v, t: divide(t, v.b), _divide_jvp_b),
    vjp=(lambda v, ct: unbroadcast(divide(ct, v.b), v.a), _divide_vjp_b),
    structure=Structure.DIAGONAL,
    formula="y = a / b",
    source="the quotient rule",
)
def divide(a: Array, b: Array) -> Array:
    """The quotient of two arrays.

    ``y = a / b``: ``dy = t_a / b - (y / b) t_b`` and ``a_bar = ct / b``, ``b_bar = -ct (y / b)``,
    summed over what was repeated. With ``y / b`` in place of ``a / b^2`` nothing overflows before
    the derivative itself does. At ``b = 0`` the derivatives are infinite, or NaN for ``a = 0``, as
    y is.

    Args:
        a: Array of any shape.
        b: Array of a shape that broadcasts with that of a.

    Returns:
        Array of the broadcast shape, of floating dtype.

    Raises:
        ShapeError: The shapes do not broadcast.

    Example:
        >>> import jax
        >>> from funcnet.primitives import divide
        >>> gradient = jax.grad(divide, argnums=(0, 1))(6.0, 2.0)
        >>> [float(g) for g in gradient]
        [0.5, -1.5]

    References:
        The quotient rule, written from the output.
    """
    return jnp.divide(*align("divide", a, b))


# y / b is a quotient of a quotient. XLA would make a / (b * b) of it, and b * b overflows or
# underflows where y / b does not; it leaves y times 1 / b alone.
@rule(
    residuals=Operands,
    jvp=(lambda v, t: _times_reciprocal(t, v.b), _divide_jvp_b),
    vjp=(lambda v, ct: unbroadcast(_times_reciprocal(ct, v.b), v.a), _divide_vjp_b),
    structure=Structure.DIAGONAL,
    formula="y = a (1 / b)",
)
def _times_reciprocal(a: Array, b: Array) -> Array:
    return multiply(a, 1 / b)


# Routing gates. The forward pass records which argument won; both rules obey the record.


class _Routed(NamedTuple):
    """The residuals of a routing gate: whether the first argument won, and the shapes."""

    first: Array
    y: Array
    a: Array
    b: Array


def _larger(y: Array, a: Array, b: Array) -> _Routed:
    left, right = align("maximum", a, b)
    return _Routed((left >= right) | (left != left), y, a, b)


def _smaller(y: Array, a: Array, b: Array) -> _Routed:
    left, right = align("minimum", a, b)
    return _Routed((left <= right) | (left != left), y, a, b)


def _route_jvp_a(v: _Routed, t: Array) -> Array:
    return jnp.where(v.first, spread(t, v.y), 0)


def _route_jvp_b(v: _Routed, t: Array) -> Array:
    return jnp.where(v.first, 0, spread(t, v.y))


def _route_vjp_a(v: _Routed, ct: Array) -> Array:
    return unbroadcast(jnp.where(v.first, ct, 0), v.a)


def _route_vjp_b(v: _Routed, ct: Array) -> Array:
    return unbroadcast(jnp.where(v.first, 0, ct), v.b)


@rule(
    residuals=_larger,
    jvp=(_route_jvp_a, _route_jvp_b),
    vjp=(_route_vjp_a, _route_vjp_b),
    structure=Structure.SELECTION,
    formula="y = max(a, b)",
    source="CS231n notes, Backpropagation: patterns in backward flow",
)
def maximum(a: Array, b: Array) -> Array:
    """The max gate: routes the whole cotangent to the argument that won.

    ``y = max(a, b)``, elementwise, with ``m = [a >= b]`` recorded in the forward pass: ``dy = t_a``
    where m, else ``t_b``; ``a_bar = ct`` where m, else 0, and ``b_bar`` the other way round, summed
    over what was repeated.

    On a tie the first argument wins and gets all (`jax.numpy.maximum` gives each a half). A NaN
    wins against any number, and the first NaN against the second.

    Args:
        a: Array of any shape.
        b: Array of a shape that broadcasts with that of a.

    Returns:
        Array of the broadcast shape.

    Raises:
        ShapeError: The shapes do not broadcast.

    Example:
        >>> import jax
        >>> from funcnet.primitives import maximum
        >>> gradient = jax.grad(maximum, argnums=(0, 1))(1.0, 1.0)
        >>> [float(g) for g in gradient]
        [1.0, 0.0]

    References:
        Stanford CS231n, notes on backpropagation, "Patterns in backward flow".
    """
    return jnp.maximum(*align("maximum", a, b))


@rule(
    residuals=_smaller,
    jvp=(_route_jvp_a, _route_jvp_b),
    vjp=(_route_vjp_a, _route_vjp_b),
    structure=Structure.SELECTION,
    formula="y = min(a, b)",
    source="the max gate upside down",
)
def minimum(a: Array, b: Array) -> Array:
    """The min gate: routes the whole cotangent to the argument that won.

    ``y = min(a, b)``, elementwise, with ``m = [a <= b]`` recorded in the forward pass: ``dy = t_a``
    where m, else ``t_b``; ``a_bar = ct`` where m, else 0, and ``b_bar`` the other way round, summed
    over what was repeated.

    On a tie the first argument wins and gets all. A NaN wins against any number, and the first NaN
    against the second.

    Args:
        a: Array of any shape.
        b: Array of a shape that broadcasts with that of a.

    Returns:
        Array of the broadcast shape.

    Raises:
        ShapeError: The shapes do not broadcast.

    Example:
        >>> import jax
        >>> from funcnet.primitives import minimum
        >>> gradient = jax.grad(minimum, argnums=(0, 1))(2.0, 1.0)
        >>> [float(g) for g in gradient]
        [0.0, 1.0]

    References:
        The max gate upside down.
    """
    return jnp.minimum(*align("minimum", a, b))
