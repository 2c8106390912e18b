"""A function and the options of its Jacobian, with the plans that were made so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax

from funcnet.errors import ArgumentError
from funcnet.jacobian.elimination.compression import Colorist
from funcnet.jacobian.linearization import linearized
from funcnet.jacobian.operator import JacobianOperator
from funcnet.jacobian.planning.at_value import AtValue
from funcnet.jacobian.planning.options import Options
from funcnet.jacobian.planning.outputs import refuse_tracers
from funcnet.jacobian.planning.plan import Plan, make_plan
from funcnet.jacobian.planning.symmetry import has_symmetric_hessian
from funcnet.jacobian.planning.tuning import tuned
from funcnet.jacobian.signature import Call

__all__ = ["Planned"]

_MOST_PLANS = 64
"""The oldest plan of a function goes when there are more."""


class Planned:
    """A function and options, with a plan for each signature that it was called with."""

    def __init__(
        self,
        function: str,
        f: Callable[..., Any],
        argnums: int | Sequence[int],
        options: Options,
        *,
        potential: Callable[..., Any] | None = None,
        colorist: Colorist | None = None,
    ) -> None:
        options.check(function)
        self._function, self._f, self._argnums, self._options = function, f, argnums, options
        self._potential, self._colorist = potential, colorist or Colorist()
        self._plans: dict[Any, Plan] = {}
        self._points: dict[Any, tuple[AtValue, Call]] = {}
        self._others: dict[str, Planned] = {}

    def __call__(self, args: Sequence[Any], named: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """The value, the Jacobian and the rest of what the function returned."""
        call = self.call(args, named)
        output = self._options.output
        if output in ("csr", "coo"):
            refuse_tracers(self._function, f"output={output!r}", call.leaves + call.others)
        if output == "operator":
            return self._operator(call, args)
        return self.plan_of(call).evaluated(call)

    def plan(self, args: Sequence[Any]) -> Plan:
        """The plan for some arguments."""
        return self.plan_of(self.call(args))

    def call(self, args: Sequence[Any], named: Mapping[str, Any] | None = None) -> Call:
        """A call of the function."""
        return Call(self._function, self._f, self._argnums, args, named, self._options.has_aux)

    def plan_of(self, call: Call) -> Plan:
        """The plan for a call, made where there is none yet."""
        if self._options.at_value:
            return self._plan_at(call)
        plan = self._plans.get(call.key)
        if plan is None:
            if self._options.autotune:
                self._refuse_shapes("autotune=True", call)
            plan = self._made(call, call)
            if plan.is_closed:
                _keep(self._plans, call.key, plan)
        return plan

    def _plan_at(self, call: Call) -> Plan:
        """The plan for the numbers of a call, and for all others with the same zeros."""
        self._refuse_shapes("at_value=True", call)
        if call.key not in self._points:
            call.check()
            program = linearized(call.flat, call.avals, call.other_avals)
            # A function may close over tracers even where all arguments are numbers.
            refuse_tracers(self._function, "at_value=True", program.jaxpr.consts)
            _keep(self._points, call.key, (AtValue(program), call))
        at_value, first = self._points[call.key]
        digest, program = at_value.at([*call.leaves, *call.others])
        key = call.key, digest
        plan = self._plans.get(key)
        if plan is None:
            plan = self._made(first, call, program=program, point=(at_value, digest))
            _keep(self._plans, key, plan)
        return plan

    def _made(self, traced: Call, call: Call, **at_value: Any) -> Plan:
        """A new plan, of the function as it was traced in one call, for another like it."""
        plan = make_plan(
            self._function,
            traced,
            self._options,
            potential=self._potential,
            colorist=self._colorist,
            symmetric=self._symmetry(traced),
            **at_value,
        )
        return tuned(plan, [*call.leaves, *call.others]) if self._options.autotune else plan

    def _refuse_shapes(self, option: str, call: Call) -> None:
        """Raise where an option needs numbers and there are none."""
        arrays = [*call.leaves, *call.others]
        refuse_tracers(self._function, option, arrays)
        if any(isinstance(x, jax.ShapeDtypeStruct) for x in arrays):
            raise ArgumentError(
                f"{self._function}: {option} needs numbers, but was given shapes. Give arrays."
            )

    def _symmetry(self, call: Call) -> Callable[[], bool]:
        potential = self._potential
        return lambda: potential is not None and has_symmetric_hessian(potential, call)

    def _operator(self, call: Call, args: Sequence[Any]) -> tuple[Any, Any, Any]:
        def restricted(*chosen: Any) -> Any:
            outs, _ = call.flat(*jax.tree.leaves(list(chosen)), *call.others)
            return call.out_tree.unflatten(outs)

        def other(output: Any) -> Any:
            if output not in self._others:
                self._others[output] = Planned(
                    self._function,
                    self._f,
                    self._argnums,
                    replace(self._options, output=output),
                    potential=self._potential,
                    colorist=self._colorist,
                )
            return self._others[output].plan_of(call).evaluated(call)[1]

        primals: Any = call.in_tree.unflatten(call.leaves)
        outs, aux = call.flat(*call.leaves, *call.others)
        operator = JacobianOperator(
            restricted,
            primals,
            call.single,
            lambda: jax.tree.leaves(other("diagonal"))[0],
            lambda: other("dense"),
        )
        return call.out_tree.unflatten(outs), operator, call.aux_of(aux)


def _keep(kept: dict[Any, Any], key: Any, value: Any) -> None:
    if len(kept) == _MOST_PLANS:
        del kept[next(iter(kept))]
    kept[key] = value
