"""Two JAX primitives carry every rule; this is the only file that touches JAX's registries.

``rule`` is a function as its author stated it, with its derivative kept beside it: differentiating
it binds ``linear_map``. ``linear_map`` is a function that is linear in some of its operands, given
together with its transpose: transposing it swaps the two. Both evaluate to ordinary JAX operations
and say how they are batched, differentiated and lowered; JAX's own transformations do all the rest.
The two halves of a linear map may differ in code but never in meaning; ``check_rule`` tests that.

What the primitives are bound with (`Application`, `LinearMap`) is traced to jaxprs at fixed shapes
and cached, so that a second use of a rule at the same shapes traces nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe

from funcnet.errors import RuleError
from funcnet.jaxprs import depends_on, look_inside, register_opener

__all__ = [
    "Application",
    "Batch",
    "BatchedApplication",
    "LinearMap",
    "apply_linear_map",
    "linear_map_p",
    "prune_outputs",
    "rule_p",
    "trace_flat",
    "used_inputs",
    "vary",
    "vary_alike",
    "varying_axes",
    "zeros",
]

Axes = tuple[int | None, ...]


# Jaxprs


def trace_flat(fun: Callable[..., Sequence[Any]], avals: Sequence[Any]) -> ClosedJaxpr:
    """Trace a function of flat arguments; shardings and varying axes of the avals count."""
    return jax.jit(lambda *args: tuple(fun(*args))).trace(*avals).jaxpr


def used_inputs(jaxpr: ClosedJaxpr) -> list[bool]:
    """Which inputs the outputs are computed from."""
    return list(pe.dce_jaxpr(jaxpr.jaxpr, [True] * len(jaxpr.out_avals))[1])


def prune_outputs(jaxpr: Any, kept: Sequence[bool]) -> ClosedJaxpr:
    """The same function with some outputs, and all that served them alone, left out."""
    pruned, _ = pe.dce_jaxpr(jaxpr.jaxpr, list(kept), instantiate=True)
    # Newer JAX has one class for open and closed jaxprs.
    closed: Any = jaxpr.replace(jaxpr=pruned) if jaxpr.jaxpr is not jaxpr else pruned
    return closed


# Mesh axes inside shard_map


def varying_axes(value: Any) -> frozenset[str]:
    """The manual mesh axes along which a value, or an aval, varies."""
    aval = value if not hasattr(value, "aval") else value.aval
    manual = getattr(aval, "mat", None)
    return manual.varying if manual is not None else getattr(aval, "vma", frozenset())


def vary(value: Any, axes: frozenset[str]) -> Any:
    """Cast `value` to vary along `axes` too; the transpose of the cast is the sum over them."""
    missing = tuple(sorted(axes - varying_axes(value)))
    return jax.lax.pcast(value, missing, to="varying") if missing else value


def vary_alike(values: Sequence[Any]) -> list[Any]:
    """Let all values vary along every axis that one of them varies along."""
    axes: frozenset[str] = frozenset().union(*map(varying_axes, values))
    return [vary(value, axes) for value in values] if axes else list(values)


def zeros(aval: Any) -> Any:
    """Zeros of the shape and dtype of `aval`, sharded and varying as it is."""
    sharding = aval.sharding if mesh_is_explicit() else None
    return vary(jnp.zeros(aval.shape, aval.dtype, out_sharding=sharding), varying_axes(aval))


def mesh_is_explicit() -> bool:
    """Whether shardings are part of the types of arrays."""
    return jax.sharding.AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types


# Linear maps


class LinearMap:
    """A function linear in its tangents, given residuals, together with its transpose.

    `forward` maps ``(*residuals, *tangents)`` to outputs; `transpose` maps ``(*residuals,
    *cotangents of the outputs)`` to cotangents of the tangents. Each is traced when first needed.
    Instances are made by cached functions and compare by identity.
    """

    def __init__(
        self,
        name: str,
        num_residuals: int,
        forward: Callable[[], ClosedJaxpr],
        transpose: Callable[[], ClosedJaxpr],
        origin: Any = None,
    ) -> None:
        self.name = name
        self.num_residuals = num_residuals
        self.origin = origin
        self._forward = forward
        self._transpose = transpose

    @cached_property
    def forward(self) -> ClosedJaxpr:
        """``(*residuals, *tangents)`` to outputs."""
        return self._forward()

    @cached_property
    def transpose(self) -> ClosedJaxpr:
        """``(*residuals, *cotangents)`` to the cotangents of the tangents."""
        return self._transpose()

    @cached_property
    def swapped(self) -> LinearMap:
        """The transposed map.

        Its own transpose is not this map but JAX's transpose of the code of the transposed map:
        reverse mode over reverse mode runs what was written for reverse mode, and nothing else.
        """
        name, n = f"{self.name}^T", self.num_residuals
        other = LinearMap(
            name, n, lambda: self.transpose, lambda: _transposed(self.transpose, n), self.origin
        )
        back = LinearMap(self.name, n, lambda: other.transpose, lambda: other.forward, self.origin)
        other.__dict__["swapped"], back.__dict__["swapped"] = back, other
        return other

    @cached_property
    def run(self) -> Callable[..., Sequence[Any]]:
        """The forward map, compiled, for use outside of any trace."""
        return jax.jit(jaxpr_as_fun(self.forward))

    def __repr__(self) -> str:
        return self.name


def _transposed(jaxpr: ClosedJaxpr, num_residuals: int) -> ClosedJaxpr:
    """JAX's own transpose of a function that is linear in all but its first arguments."""
    kept, tangents = jaxpr.in_avals[:num_residuals], jaxpr.in_avals[num_residuals:]

    def transpose(*args: Any) -> Any:
        residuals, cotangents = args[:num_residuals], args[num_residuals:]

        def linear(*given: Any) -> list[Any]:
            return list(jaxpr_as_fun(jaxpr)(*residuals, *given))

        # The pullback of a linear function is the same everywhere, at zero too.
        return jax.vjp(linear, *map(zeros, tangents))[1](list(cotangents))

    return trace_flat(transpose, [*kept, *(a.to_ct_aval() for a in jaxpr.out_avals)])


class Batch(NamedTuple):
    """One ``vmap``: its size, and what collectives and meshes call its axis."""

    size: int
    axis_name: Any
    spmd_axis_name: Any

    def map(self, jaxpr: ClosedJaxpr, avals: Any, in_axes: Axes, out_axes: Axes) -> ClosedJaxpr:
        """The mapped jaxpr."""
        one = jaxpr_as_fun(jaxpr)
        names = {} if self.axis_name is None else {"axis_name": self.axis_name}
        every = jax.vmap(
            lambda *xs: tuple(one(*xs)),
            in_axes=in_axes,
            out_axes=out_axes,
            axis_size=self.size,
            spmd_axis_name=self.spmd_axis_name,
            **names,
        )
        return trace_flat(every, avals)


@lru_cache(maxsize=4096)
def _batched_map(
    inner: LinearMap, batch: Batch, avals: tuple[Any, ...], in_axes: Axes
) -> LinearMap:
    """`inner` under one vmap, residuals and tangents mapped as `in_axes` says, outputs along 0."""
    n = inner.num_residuals
    out_axes: Axes = (0,) * len(inner.forward.out_avals)

    def forward() -> ClosedJaxpr:
        return batch.map(inner.forward, avals, in_axes, out_axes)

    def transpose() -> ClosedJaxpr:
        cotangents = [a.to_ct_aval() for a in outer.forward.out_avals]
        stacked = tuple(0 if axis is None else axis for axis in in_axes[n:])
        each = batch.map(
            inner.transpose, [*avals[:n], *cotangents], in_axes[:n] + out_axes, stacked
        )

        def summed(*args: Any) -> list[Any]:
            # A tangent that every example shares is a broadcast; its transpose is a sum.
            outs = jaxpr_as_fun(each)(*args)
            return [o.sum(0) if a is None else o for o, a in zip(outs, in_axes[n:], strict=True)]

        return trace_flat(summed, each.in_avals) if None in in_axes[n:] else each

    outer = LinearMap(inner.name, n, forward, transpose, inner.origin)
    return outer


# Applications of rules


class Application(Protocol):
    """One use of a rule at fixed shapes, over flat arguments: what ``rule`` is bound with."""

    name: str
    origin: Any

    @property
    def primal(self) -> ClosedJaxpr:
        """The function itself: ``(*args)`` to outputs."""

    def widen(self, live: Sequence[bool]) -> tuple[bool, ...]:
        """The arguments whose tangents a linear map will take, when it must take these."""

    def linearize(self, live: tuple[bool, ...]) -> tuple[ClosedJaxpr, LinearMap]:
        """Residuals as a function of ``(*outputs, *args)``, and the map of the live tangents."""

    @property
    def differentiable(self) -> Sequence[bool]:
        """Which outputs have tangents; the linear map yields these alone."""


class SelfBatched(Protocol):
    """An application that knows a better way under ``vmap`` than to map its code."""

    def batched(self, batch: Batch, args: Sequence[Any], axes: Axes) -> tuple[Any, Axes]:
        """Its outputs for arguments mapped along `axes`, and the axes of these."""


class SelfTransposed(Protocol):
    """An application that may be linear in some arguments without having been linearised."""

    def transposed(self, cotangents: Sequence[Any], args: Sequence[Any], unknown: Any) -> Any:
        """The cotangent of each argument, as far as they are unknown; None if it is not linear."""


class Recording(Protocol):
    """An application of which another, once it is differentiated, also returns what that needs."""

    def recording(self) -> Application:
        """The same with more outputs, none of them differentiable, behind its own."""


class BatchedApplication:
    """A rule under one vmap."""

    def __init__(
        self, inner: Application, batch: Batch, avals: tuple[Any, ...], axes: Axes
    ) -> None:
        self.inner, self.batch, self.avals, self.axes = inner, batch, avals, axes
        self.name, self.origin = inner.name, inner.origin
        self.differentiable = inner.differentiable
        self._linearized: dict[tuple[bool, ...], tuple[ClosedJaxpr, LinearMap]] = {}

    def __repr__(self) -> str:
        return self.name

    @cached_property
    def primal(self) -> ClosedJaxpr:
        """The function, mapped."""
        out_axes = (0,) * len(self.differentiable)
        return self.batch.map(self.inner.primal, self.avals, self.axes, out_axes)

    def widen(self, live: Sequence[bool]) -> tuple[bool, ...]:
        """As the rule itself."""
        return self.inner.widen(live)

    def linearize(self, live: tuple[bool, ...]) -> tuple[ClosedJaxpr, LinearMap]:
        """As the rule itself, mapped."""
        if live not in self._linearized:
            self._linearized[live] = self._linearize(live)
        return self._linearized[live]

    def _linearize(self, live: tuple[bool, ...]) -> tuple[ClosedJaxpr, LinearMap]:
        residuals, linear = self.inner.linearize(live)
        in_axes = (0,) * len(self.differentiable) + self.axes
        mapped = depends_on(residuals, [axis is not None for axis in in_axes])
        kept_axes = tuple(0 if m else None for m in mapped)
        avals = [*self.primal.out_avals, *self.avals]
        residuals = self.batch.map(residuals, avals, in_axes, kept_axes)
        moved = [(a, x) for a, x, flag in zip(self.avals, self.axes, live, strict=True) if flag]
        map_avals = (*residuals.out_avals, *(a.to_tangent_aval() for a, _ in moved))
        map_axes = kept_axes + tuple(x for _, x in moved)
        return residuals, _batched_map(linear, self.batch, map_avals, map_axes)


@lru_cache(maxsize=4096)
def _batched_application(
    inner: Application, batch: Batch, avals: tuple[Any, ...], axes: Axes
) -> BatchedApplication:
    return BatchedApplication(inner, batch, avals, axes)


# The primitives

rule_p = Primitive("rule")
rule_p.multiple_results = True
linear_map_p = Primitive("linear_map")
linear_map_p.multiple_results = True


def apply_linear_map(linear: LinearMap, residuals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Apply `linear` to flat residuals and tangents.

    Example:
        >>> from funcnet.jaxprs import inline
        >>> from funcnet.rules import rule
        >>> square = rule(
        ...     lambda x: x * x,
        ...     residuals=lambda y, x: x,
        ...     jvp=lambda x, t: 2 * x * t,
        ...     vjp=lambda x, ct: 2 * x * ct,
        ... )
        >>> gradient = inline(jax.make_jaxpr(jax.grad(square))(3.0), keep=("rule", "linear_map"))
        >>> pullback = gradient.eqns[-1].params["linear"]
        >>> [float(x) for x in apply_linear_map(pullback, [3.0], [10.0])]
        [60.0]
    """
    return linear_map_p.bind(*vary_alike([*residuals, *tangents]), linear=linear)


@rule_p.def_impl
def _rule_impl(*args: Any, application: Application) -> Any:
    return jaxpr_as_fun(application.primal)(*args)


@linear_map_p.def_impl
def _linear_impl(*args: Any, linear: LinearMap) -> Any:
    return linear.run(*args)


@rule_p.def_abstract_eval
def _rule_abstract(*_: Any, application: Application) -> Any:
    return application.primal.out_avals


@linear_map_p.def_abstract_eval
def _linear_abstract(*_: Any, linear: LinearMap) -> Any:
    return linear.forward.out_avals


def _rule_jvp(primals: Any, tangents: Any, *, application: Application) -> Any:
    own = len(application.primal.out_avals)
    if hasattr(application, "recording"):
        application = application.recording()
    outs = rule_p.bind(*primals, application=application)
    live = application.widen([_is_live(t) for t in tangents])
    residuals, linear = application.linearize(live)
    kept = jaxpr_as_fun(residuals)(*outs, *primals)
    given = [ad.instantiate_zeros(t) for t, flag in zip(tangents, live, strict=True) if flag]
    moved = iter(apply_linear_map(linear, kept, given))
    return outs[:own], [
        next(moved) if has_tangent else ad.Zero(jax.typeof(out).to_tangent_aval())
        for out, has_tangent in zip(outs, application.differentiable, strict=True)
    ][:own]


def _is_live(tangent: Any) -> bool:
    return type(tangent) is not ad.Zero and jax.typeof(tangent).dtype != jax.dtypes.float0


def _linear_jvp(primals: Any, tangents: Any, *, linear: LinearMap) -> Any:
    """Linear in its tangents; in its residuals, as the written code is."""
    n = linear.num_residuals
    outs = linear_map_p.bind(*primals, linear=linear)
    terms = []
    if any(_is_live(t) for t in tangents[n:]):
        moved = [ad.instantiate_zeros(t) for t in tangents[n:]]
        terms.append(linear_map_p.bind(*primals[:n], *moved, linear=linear))
    varied = [i for i in range(n) if _is_live(tangents[i])]
    if varied:

        def along(*values: Any) -> Any:
            args = list(primals)
            for i, value in zip(varied, values, strict=True):
                args[i] = value
            return jaxpr_as_fun(linear.forward)(*args)

        at, towards = [primals[i] for i in varied], [tangents[i] for i in varied]
        terms.append(jax.jvp(along, at, towards)[1])
    if not terms:
        return outs, [ad.Zero(jax.typeof(out).to_tangent_aval()) for out in outs]
    return outs, [sum(parts[1:], parts[0]) for parts in zip(*terms, strict=True)]


def _linear_transpose(cotangents: Any, *args: Any, linear: LinearMap) -> Any:
    n = linear.num_residuals
    if all(type(ct) is ad.Zero for ct in cotangents):
        return [None] * len(args)
    filled = [ad.instantiate_zeros(ct) for ct in cotangents]
    return [None] * n + list(apply_linear_map(linear.swapped, args[:n], filled))


def _rule_transpose(cotangents: Any, *args: Any, application: Application) -> Any:
    """For ``jax.linear_transpose`` of a rule that is linear in the arguments asked for."""
    unknown = [ad.is_undefined_primal(x) for x in args]
    if hasattr(application, "transposed"):
        given = [None if type(ct) is ad.Zero else ct for ct in cotangents]
        found = application.transposed(given, args, tuple(unknown))
        if found is not None:
            return [ct if missing else None for ct, missing in zip(found, unknown, strict=True)]
    live = application.widen(unknown)
    residuals, linear = application.linearize(live)
    if any(depends_on(residuals, [True] * len(cotangents) + unknown)):
        raise RuleError(
            f"{application.name}: cannot transpose it: it is not linear in the argument asked for"
        )
    stand_ins = [jnp.zeros(a.shape, a.dtype) for a in application.primal.out_avals]
    known = [
        jnp.zeros(x.aval.shape, x.aval.dtype) if missing else x
        for x, missing in zip(args, unknown, strict=True)
    ]
    kept = jaxpr_as_fun(residuals)(*stand_ins, *known)
    given = [
        ad.instantiate_zeros(ct)
        for ct, flag in zip(cotangents, application.differentiable, strict=True)
        if flag
    ]
    moved = iter(apply_linear_map(linear.swapped, kept, given))
    back = [next(moved) if flag else None for flag in live]
    return [ct if missing else None for ct, missing in zip(back, unknown, strict=True)]


def _rule_batch(axis: Any, args: Any, dims: Any, *, application: Application) -> Any:
    batch, axes = _batch_of(axis, dims)
    if batch is None:
        outs = rule_p.bind(*args, application=application)
        return outs, [None] * len(outs)
    if hasattr(application, "batched"):
        return application.batched(batch, args, axes)
    avals = tuple(jax.typeof(x) for x in args)
    mapped: Any = _batched_application(application, batch, avals, axes)  # type: ignore[arg-type]
    outs = rule_p.bind(*args, application=mapped)
    return outs, [0] * len(outs)


def _linear_batch(axis: Any, args: Any, dims: Any, *, linear: LinearMap) -> Any:
    batch, axes = _batch_of(axis, dims)
    if batch is None:
        outs = linear_map_p.bind(*args, linear=linear)
        return outs, [None] * len(outs)
    avals = tuple(jax.typeof(x) for x in args)
    outs = linear_map_p.bind(*args, linear=_batched_map(linear, batch, avals, axes))
    return outs, [0] * len(outs)


def _batch_of(axis: Any, dims: Sequence[Any]) -> tuple[Batch | None, Axes]:
    # JAX calls these rules also when nothing is batched; the answer must then be unbatched too.
    axes = tuple(d if isinstance(d, int) else None for d in dims)
    if all(a is None for a in axes):
        return None, axes
    name = axis.name if isinstance(axis.name, str) else None
    return Batch(axis.size, name, axis.spmd_name), axes


def _saved_like_its_parts(inner: Callable[[Any], ClosedJaxpr]) -> Callable[..., Any]:
    """Under ``jax.checkpoint``, a policy that saves an operation inside saves the outputs."""

    def partial_eval(saveable: Any, unknown: Any, known_inside: Any, eqn: Any) -> Any:
        n = len(eqn.outvars)
        wanted = [
            v
            for v, there in zip(eqn.invars, known_inside, strict=True)
            if not there and not hasattr(v, "val")
        ]
        if any(unknown):
            return None, eqn, [True] * n, [True] * n, wanted
        if any(_is_saved(saveable, part) for part in inner(eqn).jaxpr.eqns):
            return eqn, None, [False] * n, [False] * n, []
        return eqn, eqn, [False] * n, [True] * n, wanted

    return partial_eval


def _is_saved(saveable: Any, eqn: Any) -> bool:
    if bodies := look_inside(eqn).bodies:
        return any(_is_saved(saveable, part) for body in bodies for part in body.jaxpr.jaxpr.eqns)
    case = saveable(eqn.primitive, *[v.aval for v in eqn.invars], **eqn.params)
    return case if isinstance(case, bool) else type(case).__name__ != "RecomputeType"


def _open_rule(eqn: Any) -> ClosedJaxpr:
    return eqn.params["application"].primal


def _open_linear_map(eqn: Any) -> ClosedJaxpr:
    return eqn.params["linear"].forward


def _lower_rule(*args: Any, application: Application) -> Any:
    return jaxpr_as_fun(application.primal)(*args)


def _lower_linear(*args: Any, linear: LinearMap) -> Any:
    return jaxpr_as_fun(linear.forward)(*args)


for _primitive, _jvp, _transpose, _batch, _lower, _open in (
    (rule_p, _rule_jvp, _rule_transpose, _rule_batch, _lower_rule, _open_rule),
    (linear_map_p, _linear_jvp, _linear_transpose, _linear_batch, _lower_linear, _open_linear_map),
):
    ad.primitive_jvps[_primitive] = _jvp
    ad.primitive_transposes[_primitive] = _transpose
    batching.fancy_primitive_batchers[_primitive] = _batch
    mlir.register_lowering(_primitive, mlir.lower_fun(_lower, multiple_results=True))
    pe.partial_eval_jaxpr_custom_rules[_primitive] = _saved_like_its_parts(_open)

register_opener(rule_p.name, _open_rule, lambda eqn: eqn.params["application"].name)
register_opener(linear_map_p.name, _open_linear_map, lambda eqn: eqn.params["linear"].name)
# Source lines of operations are those of the code that uses a rule.
source_info_util.register_exclusion(str(Path(__file__).parent) + os.sep)
