"""A function and the options of its Jacobian, with the plans that were made so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import jax

from funcnet.errors import ArgumentError
from funcnet.jacobian.at_value import AtValue
from funcnet.jacobian.compression import Colorist
from funcnet.jacobian.linearization import linearized
from funcnet.jacobian.operator import JacobianOperator
from funcnet.jacobian.orders import NAMES
from funcnet.jacobian.outputs import Output, refuse_tracers
from funcnet.jacobian.plan import Plan, make_plan
from funcnet.jacobian.planner import Mode
from funcnet.jacobian.signature import Call
from funcnet.jacobian.symmetry import has_symmetric_hessian

__all__ = ["MAX_BYTES", "AnyOutput", "Planned"]

MAX_BYTES = 1 << 32
"""The largest full Jacobian that is made unless asked for: 4 GiB."""

_MOST_PLANS = 64
"""The oldest plan of a function goes when there are more."""

AnyOutput: TypeAlias = "Output | Literal['operator']"


class Planned:
    """A function and options, with a plan for each signature that it was called with."""

    def __init__(
        self,
        function: str,
        f: Callable[..., Any],
        argnums: int | Sequence[int],
        mode: Mode,
        output: Any,
        order: str,
        has_aux: bool,
        max_bytes: int,
        pattern: Any = None,
        *,
        check_pattern: bool = False,
        at_value: bool = False,
        potential: Callable[..., Any] | None = None,
        colorist: Colorist | None = None,
    ) -> None:
        _check_option(function, "mode", mode, get_args(Mode))
        _check_option(function, "output", output, (*get_args(Output), "operator"))
        _check_option(function, "order", order, ("auto", *NAMES))
        if pattern is not None and mode not in ("auto", "compressed"):
            raise ArgumentError(
                f"{function}: a pattern is for mode='compressed', not for mode={mode!r}."
            )
        if order != "auto" and (mode not in ("auto", "eliminate") or pattern is not None):
            raise ArgumentError(
                f"{function}: order={order!r} is for mode='eliminate', and goes with no pattern."
            )
        if check_pattern and pattern is None:
            raise ArgumentError(
                f"{function}: check_pattern=True checks a pattern, and none was given; that of the "
                "structure needs no check."
            )
        for name, value in (("check_pattern", check_pattern), ("at_value", at_value)):
            if value and output == "operator":
                raise ArgumentError(
                    f"{function}: {name}=True is about entries, and output='operator' has none. "
                    "Take another output."
                )
        if at_value and mode in ("forward", "reverse"):
            raise ArgumentError(
                f"{function}: at_value=True leaves entries out, and mode={mode!r} computes all of "
                "them. Take another mode."
            )
        self._function, self._f, self._argnums, self._has_aux = function, f, argnums, has_aux
        self._output, self._at_value, self._potential = output, at_value, potential
        self._options = {
            "mode": mode,
            "output": output,
            "order": order,
            "pattern": pattern,
            "max_bytes": max_bytes,
            "check_pattern": check_pattern,
            "options": {"has_aux": has_aux, "hessian": potential is not None},
            "colorist": colorist or Colorist(),
        }
        self._plans: dict[Any, Plan] = {}
        self._points: dict[Any, tuple[AtValue, Call]] = {}

    def __call__(self, args: Sequence[Any], named: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """The value, the Jacobian and the rest of what the function returned."""
        call = self.call(args, named)
        if self._output in ("csr", "coo"):
            refuse_tracers(self._function, f"output={self._output!r}", call.leaves + call.others)
        if self._output == "operator":
            return self._operator(call, args)
        return self.plan_of(call).evaluated(call)

    def plan(self, args: Sequence[Any]) -> Plan:
        """The plan for some arguments."""
        return self.plan_of(self.call(args))

    def call(self, args: Sequence[Any], named: Mapping[str, Any] | None = None) -> Call:
        """A call of the function."""
        return Call(self._function, self._f, self._argnums, args, named, self._has_aux)

    def plan_of(self, call: Call) -> Plan:
        """The plan for a call, made where there is none yet."""
        if self._at_value:
            return self._plan_at(call)
        plan = self._plans.get(call.key)
        if plan is None:
            plan, may_stay = make_plan(
                self._function, call, **self._options, symmetric=self._symmetry(call)
            )
            if may_stay:
                _keep(self._plans, call.key, plan)
        return plan

    def _plan_at(self, call: Call) -> Plan:
        """The plan for the numbers of a call, and for all others with the same zeros."""
        arrays = [*call.leaves, *call.others]
        refuse_tracers(self._function, "at_value=True", arrays)
        if any(isinstance(x, jax.ShapeDtypeStruct) for x in arrays):
            raise ArgumentError(
                f"{self._function}: at_value=True needs numbers, but was given shapes. Give arrays."
            )
        if call.key not in self._points:
            call.check()
            program = linearized(call.flat, call.avals, call.other_avals)
            # A function may close over tracers even where all arguments are numbers.
            refuse_tracers(self._function, "at_value=True", program.jaxpr.consts)
            _keep(self._points, call.key, (AtValue(program), call))
        at_value, first = self._points[call.key]
        digest, program = at_value.at(arrays)
        key = call.key, digest
        plan = self._plans.get(key)
        if plan is None:
            options = {**self._options, "symmetric": self._symmetry(first), "program": program}
            plan, _ = make_plan(self._function, first, **options, point=(at_value, digest))
            _keep(self._plans, key, plan)
        return plan

    def _symmetry(self, call: Call) -> Callable[[], bool]:
        potential = self._potential
        return lambda: potential is not None and has_symmetric_hessian(potential, call)

    def _operator(self, call: Call, args: Sequence[Any]) -> tuple[Any, Any, Any]:
        def restricted(*chosen: Any) -> Any:
            outs, _ = call.flat(*jax.tree.leaves(list(chosen)), *call.others)
            return call.out_tree.unflatten(outs)

        def other(output: str) -> Any:
            options = {**self._options, "output": output, "symmetric": self._symmetry(call)}
            return make_plan(self._function, call, **options)[0].evaluated(call)[1]

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


def _check_option(function: str, name: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        raise ArgumentError(
            f"{function}: {name}={value!r} is not known. "
            f"It is one of {', '.join(map(repr, known))}."
        )
