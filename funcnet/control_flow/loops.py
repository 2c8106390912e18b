"""Loops that can be differentiated in both modes, however long they turn out to be."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.control_flow.counting import logged
from funcnet.control_flow.loop import Loop
from funcnet.control_flow.tracing import Traced, traced
from funcnet.errors import ArgumentError, DTypeError
from funcnet.rules.primitive import rule_p

__all__ = ["DEFAULT_BUDGET", "fori_loop", "while_loop"]

T = TypeVar("T")

DEFAULT_BUDGET = 1 << 22
"""The bytes of states that a loop keeps for its gradient unless told otherwise: 4 MiB."""


def while_loop(
    cond_fun: Callable[[T], Any],
    body_fun: Callable[[T], T],
    init_val: T,
    *,
    budget_bytes: int | None = None,
    max_steps: int | None = None,
    inverse: Callable[[T], T] | None = None,
    tolerance: float | None = None,
) -> T:
    """Repeat a step while a condition holds; forward and reverse mode, at every order.

    As :func:`jax.lax.while_loop`, which has no reverse mode: ``x_0 = init_val``,
    ``x_(k+1) = body_fun(x_k)`` while ``cond_fun(x_k)``, and the result is the first ``x_n`` for
    which that is false. The number of steps `n` may depend on the numbers, and needs no bound.
    With ``A_k`` the Jacobian of the step at ``x_k``:

    * forward rule: ``dx_(k+1) = A_k dx_k``, in a loop that moves state and tangent together;
    * reverse rule: ``ct_k = A_k^T ct_(k+1)``, from the last step to the first.

    The second needs the states in the opposite order. As many are kept as `budget_bytes` allows;
    where the loop is longer than that, steps are run again, by a binomial schedule
    (:func:`~funcnet.control_flow.replays` counts how often). What `cond_fun` and `body_fun` close
    over is differentiated as well. The number of steps, as any integer, has no derivative: the
    gradient is that of the steps that were taken.

    Args:
        cond_fun: From the state to one bool.
        body_fun: From the state to the next, of the same structure, shapes and dtypes.
        init_val: The state to start from: a pytree of arrays.
        budget_bytes: How many bytes of states reverse mode may keep, by default 4 MiB; under
            ``vmap``, of those of all examples together. Forward mode keeps none.
        max_steps: A number of steps that must be enough: the loop stops there, with an error if it
            would have gone on.
        inverse: The inverse of `body_fun`, from a state to the one before. A loop that does not fit
            into `budget_bytes` is then undone on the way back, and no step is run again. It is
            checked: on the way forward, that it leads back to each state, and on the way back,
            that it leads to those that were kept. Where it does not, steps are run again as
            without it, as they are under a ``vmap`` over examples that may stop apart.
        tolerance: How far off the inverse may lead, relative to the largest number in an array or
            to 1; by default the square root of the dtype's precision.

    Returns:
        The last state.

    Raises:
        ShapeError: If the step changes the structure or a shape of the state.
        DTypeError: If it changes a dtype, or the condition is no single bool.
        ArgumentError: If the budget is too small for two states, or `max_steps` is exceeded. Under
            ``jit`` that is found while it runs, and JAX raises what carries this message.

    Example:
        Newton's square root, and its derivative ``1 / (2 sqrt(a))``:

        >>> def sqrt(a):
        ...     def far(x):
        ...         return abs(x * x - a) > 1e-5 * a
        ...
        ...     return while_loop(far, lambda x: (x + a / x) / 2, a)
        >>> [round(float(f(2.0)), 4) for f in (sqrt, jax.grad(sqrt), jax.jacfwd(sqrt))]
        [1.4142, 0.3536, 0.3536]

    References:
        Griewank & Walther, Evaluating Derivatives, 2nd ed., 2008, chapter 12.
    """
    if max_steps is None:
        loop = traced("while_loop", cond_fun, body_fun, init_val, inverse=inverse)
        return _run("while_loop", loop, budget_bytes, tolerance, body_fun)
    if max_steps < 0:
        raise ArgumentError(f"while_loop: max_steps is {max_steps}; it has to be 0 or more.")

    def goes(state: Any) -> Any:
        count, x = state
        return (count < max_steps) & cond_fun(x)

    def step(state: Any) -> Any:
        count, x = state
        return count + 1, body_fun(x)

    def undo(state: Any) -> Any:
        count, x = state
        return count - 1, cast(Any, inverse)(x)

    counted: Any = (jnp.zeros((), jnp.int32), init_val)
    back = inverse and undo
    loop = traced("while_loop", goes, step, counted, inverse=back, name=_behind_count)
    _, x = _run("while_loop", loop, budget_bytes, tolerance, body_fun)
    _refuse(cond_fun(x), max_steps)
    return x


def fori_loop(
    lower: Any,
    upper: Any,
    body_fun: Callable[[Any, T], T],
    init_val: T,
    *,
    budget_bytes: int | None = None,
    inverse: Callable[[Any, T], T] | None = None,
    tolerance: float | None = None,
) -> T:
    """Take a step for each integer from `lower` up to `upper`, that one excluded.

    As :func:`jax.lax.fori_loop`, which has reverse mode only where both bounds are known when it
    is traced; here they may be computed. Both rules are those of :func:`while_loop`.

    Args:
        lower: The first integer.
        upper: The one behind the last.
        body_fun: From the integer and the state to the next state.
        init_val: The state to start from: a pytree of arrays.
        budget_bytes: As of :func:`while_loop`.
        inverse: From the integer of a step and the state after it to the state before it; otherwise
            as of :func:`while_loop`.
        tolerance: As of :func:`while_loop`.

    Returns:
        The last state.

    Raises:
        ShapeError: If the step changes the structure or a shape of the state.
        DTypeError: If it changes a dtype, or a bound is no integer.
        ArgumentError: If the budget is too small for two states.

    Example:
        >>> def power(x, n):
        ...     return fori_loop(0, n, lambda _, y: y * x, 1.0)
        >>> [float(f(3.0, 4)) for f in (power, jax.jit(jax.grad(power)))]
        [81.0, 108.0]
    """
    first, last = (_bound(name, b) for name, b in (("lower", lower), ("upper", upper)))
    counts = jnp.result_type(lower, upper)  # Python's numbers take the dtype of the other
    last = jax.lax.convert_element_type(last, counts)

    def step(state: Any) -> Any:
        i, x = state
        return i + np.ones((), counts), body_fun(i, x)

    def undo(state: Any) -> Any:
        i, x = state
        i = i - np.ones((), counts)
        return i, cast(Any, inverse)(i, x)

    start: Any = (jax.lax.convert_element_type(first, counts), init_val)
    loop = traced(
        "fori_loop",
        lambda s: s[0] < last,
        step,
        start,
        inverse=inverse and undo,
        name=_behind_count,
    )
    return _run("fori_loop", loop, budget_bytes, tolerance, body_fun)[1]


def _bound(name: str, bound: Any) -> Any:
    bound = jnp.asarray(bound)
    if bound.shape or not jnp.issubdtype(bound.dtype, jnp.integer):
        raise DTypeError(
            f"fori_loop: {name} is {bound.dtype}{list(bound.shape)}; it has to be one integer."
        )
    return bound


def _behind_count(path: str) -> str:
    """The path of a leaf in the state that the user knows, of which ours is the second part."""
    return path[2:]


def _run(
    function: str,
    loop: Traced,
    budget_bytes: int | None,
    tolerance: float | None,
    body_fun: Callable[..., Any],
) -> Any:
    """Run a loop; its state as a tree."""
    made = Loop(
        loop.cond,
        loop.body,
        len(loop.consts),
        DEFAULT_BUDGET if budget_bytes is None else budget_bytes,
        inverse=loop.inverse,
        tolerance=tolerance,
        log=logged(body_fun),
    )
    least = made.fewest_slots * made.state_bytes
    if budget_bytes is not None and budget_bytes < least:
        raise ArgumentError(
            f"{function}: budget_bytes={budget_bytes:,} is too little: one state takes "
            f"{made.state_bytes:,} bytes, and {made.fewest_slots} have to be kept at least. Give "
            f"{least:,} or more."
        )
    if tolerance is not None and not tolerance >= 0:
        raise ArgumentError(f"{function}: tolerance is {tolerance}; it has to be 0 or more.")
    return loop.tree.unflatten(rule_p.bind(*loop.consts, *loop.state, application=made))


def _refuse(goes_on: Any, max_steps: int) -> None:
    """Raise if a loop would have gone on; while JAX traces, once that is known."""
    if isinstance(goes_on, jax.core.Tracer):
        jax.debug.callback(partial(_raise_if, max_steps=max_steps), goes_on)
    else:
        _raise_if(goes_on, max_steps)


def _raise_if(goes_on: Any, max_steps: int) -> None:
    if np.any(goes_on):
        raise ArgumentError(
            f"while_loop: the condition still held after max_steps={max_steps:,} steps. Allow "
            "more, or let the loop end earlier."
        )
