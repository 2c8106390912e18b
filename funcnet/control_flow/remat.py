"""Functions whose gradient computes again what it did not keep."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import ClosedJaxpr, Literal, Var

from funcnet.control_flow.loop import bytes_of
from funcnet.errors import ArgumentError
from funcnet.jaxprs import cost_of, function_of, inline, straight

__all__ = ["checkpointed"]

P = ParamSpec("P")
T = TypeVar("T")

_KEPT = "funcnet.checkpointed"
_RULES = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "rule", "linear_map")
_TRANSCENDENTAL = 10
"""How many operations one of these counts for."""


def checkpointed(f: Callable[P, T], *, budget_bytes: int = 0) -> Callable[P, T]:
    """A function whose gradient keeps its arguments, and only so many bytes of what it computes.

    The function itself, and both its rules, stay as they are. On the way back its intermediate
    values are computed once more, from the arguments and from those that were kept: the ones that
    take the most operations for a byte, as many as fit. Those of a matrix product or a loop come
    first, and what is added to them last.

    Args:
        f: Any function that JAX can trace and differentiate.
        budget_bytes: How many bytes of intermediate values may be kept; none by default, which is
            :func:`jax.checkpoint`. Under ``vmap`` that is for one example.

    Returns:
        A function with the same arguments and results.

    Raises:
        ArgumentError: If the budget is negative.

    Example:
        >>> def network(w, x):
        ...     for _ in range(4):
        ...         x = jnp.tanh(w @ x)
        ...     return x.sum()
        >>> from funcnet.jaxprs import residuals
        >>> w, x = jnp.ones((8, 8)) / 8, jnp.ones(8)
        >>> residuals(network, w, x).nbytes >= 224
        True
        >>> [residuals(checkpointed(network, budget_bytes=b), w, x).nbytes for b in (0, 64)]
        [0, 64]

    References:
        Chen et al., Training deep nets with sublinear memory cost, 2016,
        https://arxiv.org/abs/1604.06174.
    """
    if budget_bytes < 0:
        raise ArgumentError(f"checkpointed: budget_bytes={budget_bytes} has to be 0 or more.")
    if not budget_bytes:
        return jax.checkpoint(f)

    @wraps(f)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        tree: Any
        leaves, tree = jax.tree.flatten((args, kwargs))
        outs: list[Any] = []

        def flat(*values: Any) -> list[Any]:
            given, named = tree.unflatten(values)
            results, structure = jax.tree.flatten(f(*given, **named))
            outs.append(structure)
            return results

        jaxpr = inline(jax.make_jaxpr(flat)(*leaves), keep=_RULES)
        keep = _worth_keeping(jaxpr, budget_bytes)
        policy = jax.checkpoint_policies.save_only_these_names(_KEPT)
        named = jax.checkpoint(lambda *values: _run(jaxpr, keep, values), policy=policy)
        return outs[0].unflatten(named(*map(jnp.asarray, leaves)))

    return wrapped


def _worth_keeping(jaxpr: ClosedJaxpr, budget: int) -> set[Var]:
    """The values of the operations that take the most for a byte of their results."""
    found = []
    for eqn in jaxpr.jaxpr.eqns:
        results = [v for v in eqn.outvars if jnp.issubdtype(v.aval.dtype, jnp.inexact)]
        size = bytes_of([v.aval for v in results])
        if not size or size > budget:
            continue
        operands = list(dict.fromkeys(v for v in eqn.invars if isinstance(v, Var)))
        alone = straight([eqn], operands, eqn.outvars)
        cost = cost_of(alone.jaxpr, [True] * len(eqn.outvars))
        operations = cost.flops + _TRANSCENDENTAL * cost.transcendentals
        found.append((operations / size, size, results))
    keep: set[Var] = set()
    for _, size, results in sorted(found, key=lambda entry: -entry[0]):
        if size <= budget:
            budget -= size
            keep.update(results)
    return keep


def _run(jaxpr: ClosedJaxpr, keep: set[Var], values: Any) -> list[Any]:
    """A jaxpr, with a mark on what is to be kept."""
    top = jaxpr.jaxpr
    known = dict(zip([*top.constvars, *top.invars], [*jaxpr.consts, *values], strict=True))

    def read(v: Any) -> Any:
        return v.val if isinstance(v, Literal) else known[v]

    for eqn in top.eqns:
        operands = [known[v] for v in eqn.invars if not isinstance(v, Literal)]
        for v, y in zip(eqn.outvars, function_of(eqn)(*operands), strict=True):
            known[v] = checkpoint_name(y, _KEPT) if v in keep else y
    return [read(v) for v in top.outvars]
