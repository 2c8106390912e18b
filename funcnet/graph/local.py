"""One operation alone: its value, its pullback and its pushforward.

Each is compiled once for all operations that are alike, so that a graph of thousands of nodes
needs only as many programs as it has different operations. JAX differentiates the operation: for a
rule of this library, and for any other function with custom derivatives, that runs the written
rule.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal

from funcnet.graph.node import Operation
from funcnet.jaxprs import function_of

__all__ = ["Local", "local_of"]


class Local:
    """The derivatives of one equation, compiled.

    Attributes:
        run: Values of the operands that are nodes, to the list of all results.
        live: Which of these operands have a derivative.
    """

    def __init__(self, eqn: JaxprEqn) -> None:
        call = function_of(eqn)
        places = [i for i, v in enumerate(eqn.invars) if not isinstance(v, Literal)]
        avals: list[Any] = [eqn.invars[i].aval for i in places]
        live = [i for i, a in enumerate(avals) if jnp.issubdtype(a.dtype, jnp.inexact)]

        def moving(values: Sequence[Any], result: int) -> tuple[Callable[..., Any], list[Any]]:
            """One result as a function of the operands that have a derivative."""

            def one(*given: Any) -> Any:
                filled = list(values)
                for i, x in zip(live, given, strict=True):
                    filled[i] = x
                return call(*filled)[result]

            return one, [values[i] for i in live]

        def pullback(values: Sequence[Any], cotangent: Any, result: int) -> tuple[Any, ...]:
            one, at = moving(values, result)
            return jax.vjp(one, *at)[1](cotangent)

        def pushforward(values: Sequence[Any], tangents: Sequence[Any], result: int) -> Any:
            one, at = moving(values, result)
            return jax.jvp(one, at, list(tangents))[1]

        self.live = tuple(live)
        self.run = jax.jit(call)
        self.pullback = jax.jit(pullback, static_argnums=2)
        """``(values, cotangent of one result, which result)`` to cotangents of live operands."""
        self.pulled_rows = jax.jit(
            lambda values, rows, result: jax.vmap(lambda row: pullback(values, row, result))(rows),
            static_argnums=2,
        )
        """The same for a stack of cotangents."""
        self.pushforward = jax.jit(pushforward, static_argnums=2)
        """``(values, tangents of live operands, which result)`` to the tangent of the result."""


def local_of(operation: Operation) -> Local:
    """The derivatives of an operation, shared by all that are like it."""
    return _cached(_Alike(operation.eqn))


class _Alike:
    """An equation as a key: equal to another that computes the same from equal shapes."""

    def __init__(self, eqn: JaxprEqn) -> None:
        self.eqn = eqn
        self.key = _key(eqn)
        self.hash = hash(self.key)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Alike) and self.key == other.key


@lru_cache(maxsize=4096)
def _cached(alike: _Alike) -> Local:
    return Local(alike.eqn)


def _key(eqn: JaxprEqn) -> Hashable:
    operands = tuple(
        (v.aval, repr(v.val)) if isinstance(v, Literal) else v.aval for v in eqn.invars
    )
    params = tuple(sorted(eqn.params.items(), key=lambda item: item[0]))
    key = (eqn.primitive, operands, params)
    try:
        hash(key)
    except TypeError:  # parameters that cannot be compared: alike is only the equation itself
        return id(eqn)
    return key
