"""One operation alone: its value, its pullback and its pushforward.

Each is compiled once for all operations that are alike, so that a graph of thousands of nodes
needs only as many programs as it has different operations. JAX differentiates the operation: for a
rule of this library, and for any other function with custom derivatives, that runs the written
rule.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn, Literal

from funcnet.graph.node import Operation
from funcnet.jaxprs import depends_on, function_of

__all__ = ["Local", "Places", "local_of"]

Places: TypeAlias = tuple[int, ...]
"""Positions among the operands that are nodes."""


class Local:
    """The derivatives of one equation, compiled.

    Attributes:
        run: Values of the operands that are nodes, to the list of all results.
        pullback: ``(values, cotangent of one result, which result, places)`` to the cotangents of
            the operands at these places.
        pulled_rows: The same for a stack of cotangents.
        pushforward: ``(values, tangents of operands, which result, their places)`` to the tangent
            of the result.
    """

    def __init__(self, eqn: JaxprEqn) -> None:
        call = function_of(eqn)
        self._avals = [v.aval for v in eqn.invars if not isinstance(v, Literal)]
        self._out_avals = [v.aval for v in eqn.outvars]

        def moving(values: Sequence[Any], result: int, places: Places) -> tuple[Any, list[Any]]:
            """One result as a function of some operands."""

            def one(*given: Any) -> Any:
                filled = list(values)
                for i, x in zip(places, given, strict=True):
                    filled[i] = x
                return call(*filled)[result]

            return one, [values[i] for i in places]

        def pullback(values: Any, cotangent: Any, result: int, places: Places) -> Any:
            one, at = moving(values, result, places)
            return jax.vjp(one, *at)[1](cotangent)

        def pulled_rows(values: Any, rows: Any, result: int, places: Places) -> Any:
            return jax.vmap(lambda row: pullback(values, row, result, places))(rows)

        def pushforward(values: Any, tangents: Any, result: int, places: Places) -> Any:
            one, at = moving(values, result, places)
            return jax.jvp(one, at, list(tangents))[1]

        self.run = jax.jit(call)
        self.pullback = jax.jit(pullback, static_argnums=(2, 3))
        self.pulled_rows = jax.jit(pulled_rows, static_argnums=(2, 3))
        self.pushforward = jax.jit(pushforward, static_argnums=(2, 3))
        self._carriers: dict[int, Places] = {}

    def carriers(self, result: int) -> Places:
        """The operands through which derivatives of a result pass.

        Not through integers, and not where the derivative is 0 whatever the values are, as of
        ``sign`` and ``stop_gradient``: there 0 must not meet an infinite slope further back.
        """
        if result not in self._carriers:
            self._carriers[result] = self._find_carriers(result)
        return self._carriers[result]

    def _find_carriers(self, result: int) -> Places:
        out: Any = self._out_avals[result]
        live = tuple(i for i, a in enumerate(self._avals) if _is_inexact(a))
        if not _is_inexact(out):
            return ()
        try:
            pulled = jax.make_jaxpr(self.pullback, static_argnums=(2, 3))(
                self._avals, out, result, live
            )
        except Exception:  # no reverse mode: whoever asks for it will be told why
            return live
        flags = depends_on(pulled, [False] * len(self._avals) + [True])
        return tuple(i for i, flag in zip(live, flags, strict=True) if flag)


def _is_inexact(aval: Any) -> bool:
    return bool(jnp.issubdtype(aval.dtype, jnp.inexact))


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
        (v.aval, np.asarray(v.val).tobytes()) if isinstance(v, Literal) else v.aval
        for v in eqn.invars
    )
    params = tuple(sorted(eqn.params.items(), key=lambda item: item[0]))
    key = (eqn.primitive, operands, params)
    try:
        hash(key)
    except TypeError:  # parameters that cannot be compared: alike is only the equation itself
        return id(eqn)
    return key
