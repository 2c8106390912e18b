"""A loop's condition and step, traced, checked, and freed of what they close over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from funcnet.errors import DTypeError, ShapeError
from funcnet.jaxprs import straight
from funcnet.rules.primitive import trace_flat

__all__ = ["Traced", "traced"]


class Traced(NamedTuple):
    """A loop as jaxprs, and what they are to be given.

    Attributes:
        cond: ``(*consts, *state)`` to one bool.
        body: ``(*consts, *state)`` to the next state.
        inverse: ``(*consts, *state)`` to the state before, if there is one.
        consts: What these functions close over.
        state: The leaves of the initial state.
        tree: Its structure.
    """

    cond: ClosedJaxpr
    body: ClosedJaxpr
    inverse: ClosedJaxpr | None
    consts: list[Any]
    state: list[Any]
    tree: Any


def traced(
    function: str,
    cond_fun: Callable[[Any], Any],
    body_fun: Callable[[Any], Any],
    init_val: Any,
    *,
    inverse: Callable[[Any], Any] | None = None,
    name: Callable[[str], str] = str,
) -> Traced:
    """Trace a loop.

    Args:
        function: Who asks, for messages.
        cond_fun: From the state to one bool.
        body_fun: From the state to the next.
        init_val: The state to start from. Python's numbers in it take the dtype that the step
            gives them, as in :func:`jax.lax.while_loop`.
        inverse: From a state to the one before, if the step can be undone.
        name: What a leaf is called, from its path in `init_val`.
    """
    paths, leaves, tree = _leaves(init_val)
    state = [x if _is_number(x) else jnp.asarray(x) for x in leaves]
    body, out_tree = _trace(body_fun, tree, state)
    names = [name(path) for path in paths]
    _check_structure(f"{function}: body_fun", out_tree, tree)
    widened = [_widened(x, y) for x, y in zip(state, body.out_avals, strict=True)]
    if any(x is not y for x, y in zip(state, widened, strict=True)):
        state = widened
        body, _ = _trace(body_fun, tree, state)
    _check_same(f"{function}: body_fun", names, state, body.out_avals)
    state = [jax.lax.convert_element_type(x, jax.typeof(x).dtype) for x in state]
    body, _ = _trace(body_fun, tree, state)
    _check_same(f"{function}: body_fun", names, state, body.out_avals)
    cond, _ = _trace(cond_fun, tree, state)
    _check_bool(function, cond.out_avals)
    if inverse is None:
        (cond, body), consts = _closed([cond, body], state)
        return Traced(cond, body, None, consts, state, tree)
    undo, out_tree = _trace(inverse, tree, state)
    _check_structure(f"{function}: inverse", out_tree, tree)
    _check_same(f"{function}: inverse", names, state, undo.out_avals)
    (cond, body, undo), consts = _closed([cond, body, undo], state)
    return Traced(cond, body, undo, consts, state, tree)


def _leaves(tree: Any) -> tuple[list[str], list[Any], Any]:
    with_paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    paths = [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in with_paths]
    return paths, [leaf for _, leaf in with_paths], structure


def _trace(fun: Callable[[Any], Any], tree: Any, state: Sequence[Any]) -> tuple[ClosedJaxpr, Any]:
    found = []

    def flat(*leaves: Any) -> list[Any]:
        results, structure = jax.tree.flatten(fun(tree.unflatten(leaves)))
        found.append(structure)
        return results

    return jax.make_jaxpr(flat)(*state), found[-1]


def _is_number(x: Any) -> bool:
    """Whether it is one of Python's own, which take any dtype."""
    return isinstance(x, bool | int | float | complex) and not isinstance(x, np.generic)


def _widened(x: Any, after: Any) -> Any:
    """Python's number in the dtype that the step gives it; anything else as it is."""
    before = jax.typeof(x)
    if not before.weak_type or before.dtype == after.dtype or before.shape != after.shape:
        return x
    number = np.zeros((), before.dtype).item()
    fits = jnp.result_type(number, after.dtype) == after.dtype
    return jax.lax.convert_element_type(x, after.dtype) if fits else x


def _check_structure(whose: str, found: Any, tree: Any) -> None:
    if found != tree:
        raise ShapeError(
            f"{whose} returns a state of another structure than init_val: {found} after {tree}. "
            "Let both have the same."
        )


def _check_same(whose: str, names: Sequence[str], state: Sequence[Any], after: Any) -> None:
    for name, x, y in zip(names, map(jax.typeof, state), after, strict=True):
        leaf = f"the leaf {name!r} of the state" if name else "the state"
        if x.shape != y.shape:
            raise ShapeError(
                f"{whose} turns {leaf} of shape {x.shape} into one of shape "
                f"{y.shape}. A state keeps its shape."
            )
        if x.dtype != y.dtype:
            raise DTypeError(
                f"{whose} turns {leaf} from {x.dtype} into {y.dtype}. A state keeps "
                f"its dtype: cast the initial state, or what is returned."
            )


def _check_bool(function: str, results: Sequence[Any]) -> None:
    if len(results) != 1 or results[0].shape or results[0].dtype != jnp.bool_:
        found = ", ".join(f"{a.dtype}{list(a.shape)}" for a in results) or "nothing"
        raise DTypeError(f"{function}: cond_fun returns {found}; it has to return one bool.")


def _closed(
    jaxprs: Sequence[ClosedJaxpr], state: Sequence[Any]
) -> tuple[list[ClosedJaxpr], list[Any]]:
    """The same functions, which are given what they close over as first arguments."""
    consts = [c for jaxpr in jaxprs for c in jaxpr.consts]
    avals = [jax.typeof(x) for x in (*consts, *state)]
    made, start = [], 0
    for jaxpr in jaxprs:
        top, end = jaxpr.jaxpr, start + len(jaxpr.consts)
        open_one = straight(top.eqns, [*top.constvars, *top.invars], top.outvars)
        made.append(trace_flat(_given(open_one, start, end, len(consts)), avals))
        start = end
    return made, [jnp.asarray(c) for c in consts]


def _given(jaxpr: ClosedJaxpr, start: int, end: int, n: int) -> Callable[..., Any]:
    return lambda *args: jaxpr_as_fun(jaxpr)(*args[start:end], *args[n:])
