"""Solutions of equations, differentiated without going back through the search for them.

Where ``F(x, theta) = 0``, the solution moves with the parameters as ``F_x dx = -F_theta dtheta``
says (the implicit function theorem): the derivative needs the solution and one linear system, not
the steps that led there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from funcnet.control_flow import krylov
from funcnet.control_flow.krylov import norm, precision
from funcnet.control_flow.loops import while_loop
from funcnet.control_flow.runtime import refuse
from funcnet.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["fixed_point", "minimize", "root"]


_PATIENCE = 16
"""After so many steps none of which was the shortest, rounding is all that moves."""


class _Search(NamedTuple):
    """An iteration: where it is, how far it last moved, and how that compares with before.

    Attributes:
        x: The point.
        steps: How many steps led to it.
        moved: The length of the last.
        rate: How much shorter steps get; a better value is believed by and by only.
        least: The length of the shortest step.
        stuck: How many steps ago that was.
    """

    x: Any
    steps: Any
    moved: Any
    rate: Any
    least: Any
    stuck: Any


def fixed_point(
    f: Callable[[Any], Any],
    init: Any,
    *,
    tolerance: float | None = None,
    max_steps: int = 1000,
    adjoint: str = "implicit",
) -> Any:
    """The point that a contraction leaves where it is: ``x = f(x)``.

    Applied again and again until it no longer moves. With ``A = df/dx`` at the solution and
    ``theta`` whatever `f` closes over:

    * forward rule: ``dx = (I - A)^-1 f_theta dtheta``;
    * reverse rule: ``theta_bar = f_theta^T (I - A)^-T x_bar``,

    by :func:`~funcnet.control_flow.krylov.solve`, without the matrix; so at every order. `init`
    gets no derivative: a contraction forgets where it came from.

    Args:
        f: From a point to the next, a pytree of floating arrays of the same shapes.
        init: Where to start.
        tolerance: How far the rest of the way may be, relative to the norm of `x` or to 1, if
            each step is as much shorter than the one before as the last one was. By default the
            dtype's precision, or as near as steps get before they no longer shrink.
        max_steps: How many steps must be enough.
        adjoint: ``"implicit"`` as above, or ``"replay"``: back through the steps that were taken,
            by :func:`while_loop`, where `f` is no contraction near the solution.

    Returns:
        The fixed point.

    Raises:
        ArgumentError: If after `max_steps` it still moves, as it does where `f` is no contraction.
            Under ``jit`` that is found while it runs, and JAX raises what carries this message.
        ShapeError: If `f` changes the structure or a shape.
        DTypeError: If it changes a dtype, or a leaf is not of a real floating dtype.

    Example:
        Kepler's equation, whose solution moves by ``sin(E) / (1 - e cos(E))`` with ``e``:

        >>> def anomaly(e):
        ...     return fixed_point(lambda E: 1.0 + e * jnp.sin(E), 1.0)
        >>> [round(float(g(0.5)), 4) for g in (anomaly, jax.grad(anomaly), jax.jacfwd(anomaly))]
        [1.4987, 1.0347, 1.0347]

    References:
        Christianson, Reverse accumulation and attractive fixed points, 1994,
        https://doi.org/10.1080/10556789408805572; Blondel et al., Efficient and modular implicit
        differentiation, 2022, https://arxiv.org/abs/2105.15183.
    """
    init = _checked("fixed_point", f, init, "f")
    _check_limits("fixed_point", tolerance, max_steps)
    if adjoint not in ("implicit", "replay"):
        raise ArgumentError(f"fixed_point: adjoint={adjoint!r} is neither 'implicit' nor 'replay'.")
    near = precision(init) if tolerance is None else tolerance
    stalls = math.sqrt(precision(init)) if tolerance is None else 0.0

    def arrived(at: _Search) -> Any:
        """Whether the rest of the way is short: that of a geometric series."""
        size = 1 + norm(at.x)
        left = at.moved * jnp.where(at.rate < 1, at.rate / (1 - at.rate), jnp.inf)
        stalled = (at.stuck >= _PATIENCE) & (at.moved <= stalls * size)
        near_enough = (left <= near * size) | stalled | (at.moved == 0)
        return near_enough & jnp.isfinite(size)

    def goes(at: _Search) -> Any:
        return ~arrived(at) & jnp.isfinite(at.moved) & (at.steps < max_steps)

    def step(at: _Search) -> _Search:
        x = f(at.x)
        moved = norm(jax.tree.map(jnp.subtract, x, at.x))
        rate = jnp.maximum(moved / at.moved, 0.9 * at.rate)
        rate = jnp.where((at.steps > 0) & jnp.isfinite(rate), rate, at.rate)
        stuck = jnp.where(moved < at.least, 0, at.stuck + 1)
        return _Search(x, at.steps + 1, moved, rate, jnp.minimum(moved, at.least), stuck)

    zero = jnp.zeros((), jnp.int32)
    far = jnp.full_like(norm(init), jnp.finfo(norm(init).dtype).max)
    start = _Search(init, zero, far, jnp.ones_like(far), far, zero)

    def told(end: _Search) -> Any:
        return end.x, (_float(end.steps), end.moved, end.rate, _float(arrived(end)))

    if adjoint == "replay":
        x, (steps, moved, rate, good) = told(while_loop(goes, step, start))
    else:
        x, (steps, moved, rate, good) = lax.custom_root(
            lambda x: jax.tree.map(jnp.subtract, x, f(x)),
            init,
            lambda _, init: told(lax.while_loop(goes, step, start._replace(x=init))),
            lambda matvec, b: krylov.solve(matvec, b, near_identity=True, whose="fixed_point"),
            has_aux=True,
        )
    refuse(
        good == 0,
        lambda steps, moved, rate: (
            f"fixed_point: after {steps:,.0f} steps x still moves by {moved:.2g}, {rate:.3g} times "
            "as far as by the step before. Where that factor is 1 or more, f is no contraction: "
            "damp it, as in x + (f(x) - x) / 2, or use root; else allow more steps, or give a "
            "larger tolerance."
        ),
        steps,
        moved,
        rate,
    )
    return x


def root(
    f: Callable[[Any], Any], init: Any, *, tolerance: float | None = None, max_steps: int = 100
) -> Any:
    """A point where a function of as many numbers as it returns is zero: ``f(x) = 0``.

    By Newton's method, whose linear systems are solved without the matrix, and whose steps are
    halved until they lead nearer to zero. With ``J = df/dx`` at the solution and ``theta`` whatever
    `f` closes over:

    * forward rule: ``dx = -J^-1 f_theta dtheta``;
    * reverse rule: ``theta_bar = -f_theta^T J^-T x_bar``.

    Args:
        f: From a point to residuals, a pytree of floating arrays of the same shapes.
        init: Where to start.
        tolerance: How large the norm of the residuals may be, relative to that at `init` or to 1.
            By default as small as the dtype allows: until it no longer shrinks.
        max_steps: How many steps must be enough.

    Returns:
        The root. `init` gets no derivative.

    Raises:
        ArgumentError: If no root is found. Under ``jit`` that is found while it runs.
        ShapeError: If `f` returns another structure or shape.
        DTypeError: If it returns another dtype, or a leaf is not of a real floating dtype.

    Example:
        >>> def cube_root(a):
        ...     return root(lambda x: x**3 - a, 1.0)
        >>> [round(float(g(8.0)), 4) for g in (cube_root, jax.grad(cube_root))]
        [2.0, 0.0833]

    References:
        Dembo, Eisenstat & Steihaug, Inexact Newton methods, 1982,
        https://doi.org/10.1137/0719025.
    """
    init = _checked("root", f, init, "f")
    _check_limits("root", tolerance, max_steps)
    near = 4 * precision(init) if tolerance is None else tolerance
    good_enough = math.sqrt(precision(init)) if tolerance is None else tolerance

    def newton(at: Any) -> Any:
        x, y, steps, _ = at
        _, along = jax.linearize(f, x)
        towards = krylov.newton_step(along, y)

        def shorter(state: Any) -> Any:
            share, *_ = state
            trial = jax.tree.map(lambda a, d: a - (share / 2).astype(a.dtype) * d, x, towards)
            return share / 2, trial, f(trial)

        def too_far(state: Any) -> Any:
            share, _, z = state
            return ~(norm(z) < norm(y)) & (share > 1e-4)

        _, trial, z = lax.while_loop(too_far, shorter, shorter((jnp.full_like(norm(y), 2.0), x, y)))
        nearer = norm(z) < norm(y)
        x, y = (
            jax.tree.map(lambda a, b: jnp.where(nearer, a, b), new, old)
            for new, old in ((trial, x), (z, y))
        )
        return x, y, steps + 1, nearer

    def search(_: Any, init: Any) -> Any:
        y = f(init)
        first = 1 + norm(y)

        def goes(at: Any) -> Any:
            _, y, steps, nearer = at
            return nearer & (norm(y) > near * first) & (steps < max_steps)

        start = (init, y, jnp.zeros((), jnp.int32), jnp.asarray(True))
        x, y, steps, _ = lax.while_loop(goes, newton, start)
        return x, (_float(steps), norm(y), first)

    x, (steps, rest, first) = lax.custom_root(
        f, init, search, lambda along, b: krylov.solve(along, b, whose="root"), has_aux=True
    )
    refuse(
        ~(rest <= good_enough * first),
        lambda steps, rest: (
            f"root: after {steps:,.0f} steps the residual is still {rest:.2g}. Start nearer, allow "
            "more steps, or give a larger tolerance; there may be no root."
        ),
        steps,
        rest,
    )
    return x


def minimize(
    f: Callable[[Any], Any], init: Any, *, tolerance: float | None = None, max_steps: int = 500
) -> Any:
    """A point where a function is least, as far as can be seen from there.

    By L-BFGS (optax's), until the gradient vanishes. With ``H`` the Hessian of `f` at the solution
    and ``theta`` whatever `f` closes over, ``f_x = 0`` there, and so

    * forward rule: ``dx = -H^-1 f_(x theta) dtheta``;
    * reverse rule: ``theta_bar = -f_(x theta)^T H^-1 x_bar``.

    Args:
        f: From a point, a pytree of real floating arrays, to one number.
        init: Where to start.
        tolerance: How large the norm of the gradient may be, relative to that at `init` or to 1;
            by default the square root of the dtype's precision.
        max_steps: How many steps must be enough.

    Returns:
        The minimum's place. `init` gets no derivative.

    Raises:
        ArgumentError: If the gradient does not vanish. Under ``jit`` that is found while it runs.
        ShapeError: If `f` does not return one number.
        DTypeError: If a leaf of `init` is not of a real floating dtype.

    Example:
        Ridge regression, and how its weight moves with the penalty:

        >>> x, y = jnp.array([1.0, 2.0, 3.0]), jnp.array([1.1, 1.9, 3.2])
        >>> def weight(penalty):
        ...     return minimize(lambda w: jnp.sum((x * w - y) ** 2) + penalty * w**2, 0.0)
        >>> [round(float(g(1.0)), 4) for g in (weight, jax.grad(weight))]
        [0.9667, -0.0644]

    References:
        Bengio, Gradient-based optimization of hyperparameters, 2000,
        https://doi.org/10.1162/089976600300015187.
    """
    init = _floating("minimize", "init", init)
    _check_limits("minimize", tolerance, max_steps)
    shape = jax.eval_shape(f, init)
    if not hasattr(shape, "shape") or shape.shape:
        raise ShapeError(f"minimize: f returns {shape}; it has to return one number.")
    enough = math.sqrt(precision(init)) if tolerance is None else tolerance
    method = optax.lbfgs()
    slope = jax.grad(f)
    look = optax.value_and_grad_from_state(f)

    def search(_: Any, init: Any) -> Any:
        first = 1 + norm(slope(init))

        def goes(at: Any) -> Any:
            _, _, steps, rest = at
            return (rest > enough * first) & (steps < max_steps)

        def step(at: Any) -> Any:
            x, state, steps, _ = at
            value, gradient = look(x, state=state)
            with jax.numpy_dtype_promotion("standard"):  # optax mixes integers
                updates, state = method.update(
                    gradient, state, x, value=value, grad=gradient, value_fn=f
                )
            x = optax.apply_updates(x, updates)
            return x, state, steps + 1, norm(optax.tree.get(state, "grad"))

        start = (init, method.init(init), jnp.zeros((), jnp.int32), norm(slope(init)))
        x, _, steps, rest = lax.while_loop(goes, step, start)
        return x, (_float(steps), rest, first)

    x, (steps, rest, first) = lax.custom_root(
        slope,
        init,
        search,
        lambda along, b: krylov.solve(along, b, symmetric=True, whose="minimize"),
        has_aux=True,
    )
    refuse(
        ~(rest <= enough * first),
        lambda steps, rest: (
            f"minimize: after {steps:,.0f} steps the gradient's norm is still {rest:.2g}. Allow "
            "more steps, scale the parameters, or give a larger tolerance; there may be no minimum."
        ),
        steps,
        rest,
    )
    return x


def _float(steps: Any) -> Any:
    """As a number that may have a tangent, which JAX asks of all that a search returns."""
    return lax.convert_element_type(steps, jnp.float32)


def _floating(function: str, argument: str, tree: Any) -> Any:
    def leaf(x: Any) -> Any:
        x = jnp.asarray(x)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise DTypeError(
                f"{function}: {argument} has a leaf of dtype {x.dtype}; all have to be of real "
                "floating dtypes. Split a complex number into its parts."
            )
        return lax.convert_element_type(x, x.dtype)  # no longer weakly typed

    if not jax.tree.leaves(tree):
        raise ShapeError(f"{function}: {argument} has no leaves.")
    return jax.tree.map(leaf, tree)


def _checked(function: str, f: Callable[[Any], Any], init: Any, name: str) -> Any:
    init = _floating(function, "init", init)
    before, after = jax.tree.map(jax.typeof, init), jax.eval_shape(f, init)
    tree: Any = jax.tree.structure(before)
    found: Any = jax.tree.structure(after)
    if tree != found:
        raise ShapeError(
            f"{function}: {name} returns another structure than init: {found} after {tree}."
        )
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        if a.shape != b.shape:
            raise ShapeError(
                f"{function}: {name} turns a leaf of shape {a.shape} into one of shape {b.shape}."
            )
        if a.dtype != b.dtype:
            raise DTypeError(
                f"{function}: {name} turns a leaf from {a.dtype} into {b.dtype}. Cast init, or "
                f"what {name} returns."
            )
    return init


def _check_limits(function: str, tolerance: float | None, max_steps: int) -> None:
    if tolerance is not None and not tolerance > 0:
        raise ArgumentError(f"{function}: tolerance is {tolerance}; it has to be more than 0.")
    if max_steps < 1:
        raise ArgumentError(f"{function}: max_steps is {max_steps}; it has to be 1 or more.")
