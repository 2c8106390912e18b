"""Linearising a function: what follows from its arguments, and what is linear in their tangents.

The derivative of a program is a program too, made of linear operations alone: that is what
:class:`LinearProgram` holds, with the arrays that it needs of the forward pass as constants. Its
operations are few, and each states its own Jacobian. Because it is JAX that linearises, by custom
rules where there are any, what is read off cannot disagree with ``jax.jvp`` and ``jax.vjp``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

from funcnet.jaxprs import function_of, inline, straight

__all__ = ["CLOSED", "LinearProgram", "aval_of", "linearized", "run", "with_branches"]

_LARGEST_CONSTANT = 1 << 22
"""Arrays with more entries are not looked at while planning, even if they are known by then."""


class LinearProgram:
    """A linear function, given arrays that another function computes.

    Args:
        jaxpr: A function of known arrays and then of tangents.
        n_known: The number of its known arrays.
        n_values: The number of its first results, which depend on no tangent.
        static: The known arrays that are the same whatever the arguments, by their position.

    Attributes:
        inputs: The variables of the tangents.
        outputs: The variables of the results; None for one that is always 0.
        jaxpr: The whole program, known part and all.
        equations: The linear operations, in order.
        values: The variables of what the function itself returns.
    """

    def __init__(
        self,
        jaxpr: ClosedJaxpr,
        n_known: int,
        n_values: int,
        static: Mapping[int, np.ndarray] | None = None,
    ) -> None:
        self.jaxpr, top = jaxpr, jaxpr.jaxpr
        self._known_inputs = top.invars[:n_known]
        self.inputs = list(top.invars[n_known:])
        self._consts = dict(zip(top.constvars, jaxpr.consts, strict=True))
        linear = set(self.inputs)
        self.equations: list[JaxprEqn] = []
        self._known: list[JaxprEqn] = []
        for eqn in top.eqns:
            if any(self._in(v, linear) for v in eqn.invars):
                self.equations.append(eqn)
                linear.update(eqn.outvars)
            else:
                self._known.append(eqn)
        self.values = list(top.outvars[:n_values])
        self.outputs = [v if self._in(v, linear) else None for v in top.outvars[n_values:]]
        self._linear = linear
        self._makers = {v: eqn for eqn in self._known for v in eqn.outvars}
        self._static: dict[Var, np.ndarray | None] = {
            self._known_inputs[i]: array for i, array in (static or {}).items()
        }
        self._nonzero: Mapping[Var, np.ndarray] = {}
        self._equations_needed()

    @staticmethod
    def _in(atom: Any, known: set[Var]) -> bool:
        return not isinstance(atom, Literal) and atom in known

    def _equations_needed(self) -> None:
        """Drop the operations that no output needs."""
        needed = {v for v in self.outputs if v is not None}
        kept = []
        for eqn in reversed(self.equations):
            if any(v in needed for v in eqn.outvars):
                kept.append(eqn)
                needed.update(self.operands(eqn))
        self.equations = kept[::-1]

    @property
    def is_closed(self) -> bool:
        """Whether it holds numbers alone, so that it may outlive the trace it was made in."""
        return not any(isinstance(c, jax.core.Tracer) for c in self._consts.values())

    def is_linear(self, atom: Any) -> bool:
        """Whether a variable depends on the tangents."""
        return self._in(atom, self._linear)

    def operands(self, eqn: JaxprEqn) -> list[Var]:
        """The variables that an operation is linear in, each once."""
        found: list[Any] = [v for v in eqn.invars if self.is_linear(v)]
        return list(dict.fromkeys(found))

    def maker(self, atom: Any) -> JaxprEqn | None:
        """The operation that made a variable, if it is not linear."""
        return None if isinstance(atom, Literal) else self._makers.get(atom)

    def static(self, atom: Any) -> np.ndarray | None:
        """The array of a variable, if it depends on no argument and is not too large."""
        if isinstance(atom, Literal):
            return np.asarray(atom.val)
        if atom not in self._static:
            self._static[atom] = self._static_value(atom)
        return self._static[atom]

    def _static_value(self, var: Var) -> np.ndarray | None:
        if aval_of(var).size > _LARGEST_CONSTANT:
            return None
        if var in self._consts:
            value = self._consts[var]
            return None if isinstance(value, jax.core.Tracer) else np.asarray(value)
        eqn = self._makers.get(var)
        if eqn is None or eqn.effects:
            return None
        operands = [self.static(v) for v in eqn.invars]
        if any(x is None for x in operands):
            return None
        with jax.ensure_compile_time_eval():
            results = run(eqn, operands)
        for v, result in zip(eqn.outvars, results, strict=True):
            self._static[v] = np.asarray(result)
        return self._static[var]

    def nonzero(self, atom: Any) -> np.ndarray | None:
        """Where a known array is not 0, at the numbers that this program is for; None for all."""
        return None if isinstance(atom, Literal) else self._nonzero.get(atom)

    def at(
        self, static: Mapping[Var, np.ndarray], nonzero: Mapping[Var, np.ndarray]
    ) -> LinearProgram:
        """The same program for some numbers alone.

        Args:
            static: The arrays of variables that are the same at all of these.
            nonzero: Where variables are not 0 at any of these.
        """
        other = copy.copy(self)
        found = {v: x for v, x in self._static.items() if x is not None}
        other._static, other._nonzero = {**found, **static}, nonzero
        return other

    def environment(self, args: Sequence[Any]) -> Callable[[Any], Any]:
        """Compute what does not depend on the tangents, from the arguments.

        Under ``jit``, what is not read is not computed.
        """
        made = [v for eqn in self._known for v in eqn.outvars]
        jaxpr = straight(self._known, [*self._consts, *self._known_inputs], made)
        arrays = jaxpr_as_fun(jaxpr)(*self._consts.values(), *args)
        known = dict(zip(made, arrays, strict=True))
        known |= dict(zip(self._known_inputs, args, strict=True)) | self._consts
        return lambda atom: jnp.asarray(atom.val) if isinstance(atom, Literal) else known[atom]


def linearized(
    f: Callable[..., tuple[list[Any], list[Any]]], args: Sequence[Any], others: Sequence[Any] = ()
) -> LinearProgram:
    """Linearise a function of arrays.

    Args:
        f: A function that returns a list of arrays to differentiate and a list of others.
        args: The arguments to differentiate with respect to: arrays, or anything with a shape and
            a dtype.
        others: Its further arguments.

    Returns:
        Its linear program at any arguments of these shapes and dtypes. Its `values` are all
        arrays that the function returns.
    """
    count = []

    def derivative(known: Sequence[Any], rest: Sequence[Any], tangents: Sequence[Any]) -> Any:
        y, push, aux = jax.linearize(lambda *xs: f(*xs, *rest), *known, has_aux=True)
        count.append(len(y) + len(aux))
        return [*y, *aux], push(*tangents)

    jaxpr = jax.make_jaxpr(derivative)(list(args), list(others), list(args))
    flat = inline(jaxpr, keep=CLOSED)
    return LinearProgram(flat, len(args) + len(others), count[-1])


CLOSED = ("custom_jvp_call", "custom_vjp_call", "rule", "custom_linear_solve")
"""Operations that are not opened: a custom rule that stands in the known part has to stay one, for
derivatives of Jacobians, and the inside of a solver need not be linear."""


def with_branches(program: LinearProgram, taken: Mapping[int, int]) -> LinearProgram:
    """The same program with branches in place of choices.

    Args:
        program: The program.
        taken: For the ``id`` of equations that choose between branches, the branch to take.
    """
    top = program.jaxpr.jaxpr

    def straightened(*args: Any) -> list[Any]:
        env: dict[Any, Any] = dict(zip(top.constvars, program.jaxpr.consts, strict=True))
        env.update(zip(top.invars, args, strict=True))

        def read(atom: Any) -> Any:
            return atom.val if isinstance(atom, Literal) else env[atom]

        for eqn in top.eqns:
            operands = [read(v) for v in eqn.invars]
            if id(eqn) in taken:
                results = jaxpr_as_fun(eqn.params["branches"][taken[id(eqn)]])(*operands[1:])
            else:
                results = run(eqn, operands)
            env.update(zip(eqn.outvars, results, strict=True))
        return [read(v) for v in top.outvars]

    jaxpr = jax.make_jaxpr(straightened)(*(_like(v) for v in top.invars))
    n_known = len(top.invars) - len(program.inputs)
    return LinearProgram(inline(jaxpr, keep=CLOSED), n_known, len(program.values))


def _like(var: Var) -> jax.ShapeDtypeStruct:
    aval = aval_of(var)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


def aval_of(atom: Any) -> Any:
    """Shape and dtype of a variable."""
    return atom.aval


def run(eqn: JaxprEqn, operands: Sequence[Any]) -> Sequence[Any]:
    """The results of one equation."""
    given = [x for x, v in zip(operands, eqn.invars, strict=True) if not isinstance(v, Literal)]
    return function_of(eqn)(*given)
