"""The value and the gradient of a loss in three modes, with one signature.

Reverse mode takes one pass, and keeps what it needs on the way. Forward mode takes a pass for each
parameter and keeps nothing. The forward gradient takes one pass in a random direction v, keeps
nothing, and is right on average only: (g . v) v has the mean g when v is standard normal, and the
variances of its n entries add up to ``(n + 1) |g|^2``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.cost.function import check_inputs, checked_argnums, restricted
from funcnet.errors import ArgumentError, DTypeError, MissingKeyError, ShapeError
from funcnet.typing import Key, PyTree

__all__ = ["GradientMode", "random_direction", "value_and_grad"]

GradientMode: TypeAlias = Literal["reverse", "forward", "forward_estimate"]
"""How a gradient is computed: one pass backwards; one pass forwards for each parameter; one pass
forwards in a random direction, as an estimate."""

_MODES = ("reverse", "forward", "forward_estimate")


def value_and_grad(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    mode: GradientMode = "reverse",
    directions: int = 1,
) -> Callable[..., Any]:
    """Return a function that computes the value and the gradient of f in a mode of choice.

    With ``mode="forward_estimate"`` the gradient g is estimated by the mean of (g . v) v over
    ``directions`` standard normal directions v. The estimate is unbiased; the variances of its n
    entries add up to ``(n + 1) |g|^2 / directions``.

    Args:
        f: A function that returns one number, or with ``has_aux`` a pair of it and anything else.
        argnums: The arguments to differentiate with respect to, as for ``jax.value_and_grad``.
        has_aux: Whether f returns a pair.
        mode: ``"reverse"``, ``"forward"`` or ``"forward_estimate"``.
        directions: How many directions the estimate takes the mean over.

    Returns:
        A function of the arguments of f and of ``key``, a random key that only the estimate needs.
        It returns what that of ``jax.value_and_grad`` does: ``(value, gradient)``, or
        ``((value, aux), gradient)``.

    Raises:
        ArgumentError: There is no such mode, or no direction; when the function is called, that
            ``argnums`` names an argument that is not there.
        DTypeError: An argument in ``argnums`` is not real, or f does not return a real number.
        MissingKeyError: The estimate was asked for without a key.
        ShapeError: f does not return one number.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> loss = lambda w: jnp.sum(w ** 2)
        >>> w = jnp.array([1.0, 2.0])
        >>> value, gradient = value_and_grad(loss, mode="forward")(w)
        >>> float(value), gradient.tolist()
        (5.0, [2.0, 4.0])
        >>> estimate = value_and_grad(loss, mode="forward_estimate", directions=100_000)
        >>> _, gradient = estimate(w, key=jax.random.key(0))
        >>> bool(jnp.allclose(gradient, 2 * w, atol=0.1))
        True

    References:
        A. G. Baydin, B. A. Pearlmutter, D. Syme, F. Wood and P. Torr, "Gradients without
        Backpropagation" (2022), arXiv 2202.08587.
    """
    if mode not in _MODES:
        raise ArgumentError(
            f"value_and_grad: mode={mode!r} is none of {', '.join(map(repr, _MODES))}."
        )
    if not isinstance(directions, int | np.integer) or directions < 1:
        raise ArgumentError(f"value_and_grad: directions={directions!r}; it takes at least 1.")
    paired = _checked(f, has_aux)
    compute = {"reverse": _reverse, "forward": _forward, "forward_estimate": _estimate}[mode]

    @wraps(f)
    def value_and_grad_of_f(*args: Any, key: Key | None = None) -> Any:
        positions = checked_argnums("value_and_grad", argnums, len(args))
        check_inputs("value_and_grad", f, args, positions)
        if mode == "forward_estimate" and key is None:
            raise MissingKeyError(
                'value_and_grad: mode="forward_estimate" draws a direction and needs a random key; '
                "pass key=jax.random.key(0), and another one at each step."
            )
        (value, aux), gradients = compute(paired, positions, args, key, int(directions))
        gradient = gradients if not isinstance(argnums, int | np.integer) else gradients[0]
        return ((value, aux) if has_aux else value), gradient

    return value_and_grad_of_f


def random_direction(key: Key, like: PyTree) -> PyTree:
    """Draw a standard normal number for each entry of a tree.

    Args:
        key: A random key.
        like: Arrays or ShapeDtypeStructs.

    Returns:
        A tree of arrays of the same shapes and dtypes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> random_direction(jax.random.key(0), {"w": jnp.ones((2, 3))})["w"].shape
        (2, 3)
    """
    leaves, tree = jax.tree.flatten(like)
    keys = jax.random.split(key, max(len(leaves), 1))
    return jax.tree.unflatten(tree, [_normal(k, x) for k, x in zip(keys, leaves, strict=False)])


def _normal(key: Key, like: Any) -> Any:
    dtype = jnp.result_type(like)
    # Below 32 bits the generator has too few values to choose from.
    drawn = dtype if jnp.finfo(dtype).bits >= 32 else np.float32
    return jax.random.normal(key, jnp.shape(like), drawn).astype(dtype)


def _reverse(f: Any, argnums: tuple[int, ...], args: Any, key: Any, directions: int) -> Any:
    return jax.value_and_grad(f, argnums, has_aux=True)(*args)


def _forward(f: Any, argnums: tuple[int, ...], args: Any, key: Any, directions: int) -> Any:
    def with_value(*args: Any) -> Any:
        value, aux = f(*args)
        return value, (value, aux)

    slopes, outcome = jax.jacfwd(with_value, argnums, has_aux=True)(*args)
    at = tuple(args[i] for i in argnums)  # slopes have the dtype of the value
    return outcome, jax.tree.map(lambda s, x: s.astype(jnp.result_type(x)), slopes, at)


def _estimate(f: Any, argnums: tuple[int, ...], args: Any, key: Any, directions: int) -> Any:
    f_of_chosen = restricted(f, args, argnums)
    at = tuple(jax.tree.map(jnp.asarray, args[i]) for i in argnums)

    def one(key: Key) -> Any:
        direction = random_direction(key, at)
        value, slope, aux = jax.jvp(f_of_chosen, at, direction, has_aux=True)
        return (value, aux), jax.tree.map(lambda v: slope.astype(v.dtype) * v, direction)

    if directions == 1:
        return one(key)
    outcome, estimates = jax.vmap(one, out_axes=(None, 0))(jax.random.split(key, directions))
    return outcome, jax.tree.map(lambda e: jnp.mean(e, axis=0), estimates)


def _checked(f: Callable[..., Any], has_aux: bool) -> Callable[..., Any]:
    """F as a pair of a real number and something else, whatever it returns."""

    @wraps(f)
    def checked(*args: Any) -> tuple[Any, Any]:
        result = f(*args)
        if has_aux and not (isinstance(result, tuple) and len(result) == 2):
            raise ArgumentError(
                f"value_and_grad: has_aux=True, but f returned a {type(result).__name__} instead "
                "of a pair of a number and something else."
            )
        value, aux = result if has_aux else (result, None)
        if not jax.tree_util.all_leaves([value]):
            raise ShapeError(
                f"value_and_grad: f returned a {type(value).__name__}, but a gradient is that of "
                "one number. Return it alone, or with has_aux=True as the first of a pair."
            )
        value = jnp.asarray(value)
        if value.shape:
            raise ShapeError(
                f"value_and_grad: f returned shape {value.shape}, but a gradient is that of one "
                "number. Reduce it, as by jnp.mean; or take a Jacobian."
            )
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise DTypeError(
                f"value_and_grad: f returned {value.dtype}, which has no real derivative. Return a "
                "floating-point number."
            )
        return value, aux

    return checked
