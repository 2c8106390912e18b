"""A rule at fixed shapes: its author's callables, traced, checked and pruned.

This is where the residuals that no derivative uses are dropped, where sums over arguments are
taken, where dead arguments cost nothing, and where a malformed rule is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from funcnet.errors import FuncnetError, RuleError
from funcnet.rules.primitive import (
    LinearMap,
    mesh_is_explicit,
    prune_outputs,
    trace_flat,
    used_inputs,
    vary,
    varying_axes,
    zeros,
)

if TYPE_CHECKING:
    from funcnet.rules.statement import Rule

__all__ = ["RuleApplication", "application_of", "plain_custom_vjp"]

Static = tuple[tuple[str, Any], ...]


class RuleApplication:
    """One rule with its static arguments, at fixed shapes, over the leaves of its arguments."""

    def __init__(
        self, rule: Rule, static: Static, in_tree: Any, out_tree: Any, primal: ClosedJaxpr
    ) -> None:
        self.origin, self.name = rule, rule.name
        self.static = dict(static)
        self.in_tree, self.out_tree, self.primal = in_tree, out_tree, primal
        # The tree of each argument; an argument may be a pytree of several leaves.
        self.arg_trees = in_tree.children()
        self.arg_avals = _split(primal.in_avals, self.arg_trees)
        self.differentiable = tuple(_has_tangent(a) for a in primal.out_avals)
        self._linearized: dict[tuple[bool, ...], tuple[ClosedJaxpr, LinearMap]] = {}

    def __repr__(self) -> str:
        return self.name

    def widen(self, live: Sequence[bool]) -> tuple[bool, ...]:
        """A rule is stated for whole arguments: one live leaf makes all of its argument's live."""
        return tuple(
            any(flags) and _has_tangent(aval)
            for flags, avals in zip(_split(live, self.arg_trees), self.arg_avals, strict=True)
            for aval in avals
        )

    def linearize(self, live: tuple[bool, ...]) -> tuple[ClosedJaxpr, LinearMap]:
        """Residuals as a function of outputs and arguments, and the map of the live tangents."""
        if live not in self._linearized:
            self._linearized[live] = self._linearize(live)
        return self._linearized[live]

    def _linearize(self, live: tuple[bool, ...]) -> tuple[ClosedJaxpr, LinearMap]:
        arguments = tuple(any(flags) for flags in _split(live, self.arg_trees))
        cotangents = [a.to_ct_aval() for a in self._moving_outputs]

        residuals, res_tree = self._trace_residuals()
        kept_avals = residuals.out_avals
        live_avals = [a for a, f in zip(self.primal.in_avals, live, strict=True) if f]
        push = _sharded_like(self._moving_outputs, partial(self._push, arguments, res_tree))
        pull = _sharded_like(live_avals, partial(self._pull, arguments, res_tree))
        n = len(kept_avals)
        tangents = [a.to_tangent_aval() for a in live_avals]
        forward = self._trace("jvp", push, [*kept_avals, *tangents])
        transpose = self._trace("vjp", pull, [*kept_avals, *cotangents])
        used = [
            a or b
            for a, b in zip(used_inputs(forward)[:n], used_inputs(transpose)[:n], strict=True)
        ]
        linear = LinearMap(
            self.name,
            sum(used),
            lambda: _without_unused(forward, used),
            lambda: _without_unused(transpose, used),
            self.origin,
        )
        return prune_outputs(residuals, used), linear

    @property
    def _moving_outputs(self) -> list[Any]:
        return [
            a for a, moves in zip(self.primal.out_avals, self.differentiable, strict=True) if moves
        ]

    def _trace_residuals(self) -> tuple[ClosedJaxpr, Any]:
        trees = []

        def compute(*leaves: Any) -> list[Any]:
            y = self.out_tree.unflatten(leaves[: self.out_tree.num_leaves])
            args = self.in_tree.unflatten(leaves[self.out_tree.num_leaves :])
            kept = self._call("residuals", None, self.origin.residuals, y, *args)
            flat, tree = jax.tree.flatten(kept)
            trees.append(tree)
            return [jnp.asarray(leaf) for leaf in flat]

        avals = [*self.primal.out_avals, *self.primal.in_avals]
        return self._trace("residuals", compute, avals), trees[0]

    def _trace(self, kind: str, fun: Callable[..., list[Any]], avals: list[Any]) -> ClosedJaxpr:
        jaxpr = trace_flat(fun, avals)
        # JAX hands a traced value that a function closes over to its jaxpr as one more input.
        if len(jaxpr.in_avals) != len(avals):
            raise RuleError(
                f"{self.name}: its {kind} closes over a traced value, whose derivative no "
                "rule states; make it an argument, and return it from residuals"
            )
        return jaxpr

    # The two maps over flat values, as `LinearMap` has them.

    def _push(self, live: tuple[bool, ...], res_tree: Any, *flat: Any) -> list[Any]:
        kept, rest = _unpack(res_tree, flat)
        moved = iter(rest)
        tangents = []
        for tree, avals, flag in zip(self.arg_trees, self.arg_avals, live, strict=True):
            leaves = [next(moved) if flag and _has_tangent(a) else _no_tangent(a) for a in avals]
            tangents.append(tree.unflatten(leaves) if flag else None)
        if self.origin.is_joint("jvp"):
            dy = self._call("jvp", None, self.origin.jvp, kept, tuple(tangents), live)
            return self._output_tangent(dy, None)
        parts = []
        for name, one, tangent, flag in zip(
            self.origin.argument_names, self.origin.jvp, tangents, live, strict=True
        ):
            if flag:
                dy = self._call("jvp", name, one, kept, tangent)
                parts.append(self._output_tangent(dy, name))
        return [sum(terms[1:], terms[0]) for terms in zip(*parts, strict=True)]

    def _pull(self, live: tuple[bool, ...], res_tree: Any, *flat: Any) -> list[Any]:
        kept, rest = _unpack(res_tree, flat)
        given = iter(rest)
        ct = self.out_tree.unflatten(
            next(given) if moves else _no_tangent(a)
            for a, moves in zip(self.primal.out_avals, self.differentiable, strict=True)
        )
        names = self.origin.argument_names
        if self.origin.is_joint("vjp"):
            back = self._call("vjp", None, self.origin.vjp, kept, ct, live)
            if not isinstance(back, tuple | list) or len(back) != len(names):
                raise RuleError(
                    f"{self.name}: its vjp must return {len(names)} cotangents "
                    f"({', '.join(names)}; None for one not live), it returned {_describe(back)}"
                )
        else:
            back = [
                self._call("vjp", name, one, kept, ct) if flag else None
                for name, one, flag in zip(names, self.origin.vjp, live, strict=True)
            ]
        return [
            leaf
            for index, flag in enumerate(live)
            if flag
            for leaf in self._argument_cotangent(back[index], index)
        ]

    # Checks of what the author's callables return.

    def _call(self, kind: str, argument: str | None, rule: Any, *args: Any) -> Any:
        where = f"{self.name}: its {kind}" + (f" for {argument!r}" if argument else "")
        if rule is None:
            raise RuleError(
                f"{where} was asked for, but is None: {argument!r} has no derivative; "
                "wrap it in jax.lax.stop_gradient or do not differentiate with respect to it"
            )
        try:
            return rule(*args, **self.static)
        except FuncnetError:
            raise
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise RuleError(f"{where} failed with {type(error).__name__}: {error}") from error

    def _output_tangent(self, dy: Any, argument: str | None) -> list[Any]:
        what = f"{self.name}: its jvp" + (f" for {argument!r}" if argument else "")
        leaves = _flatten_like(self.out_tree, dy, f"{what} must return a tangent like its output")
        return [
            _conform(leaf, aval, f"{what} must return")
            for leaf, aval in zip(leaves, self.primal.out_avals, strict=True)
            if _has_tangent(aval)
        ]

    def _argument_cotangent(self, ct: Any, index: int) -> list[Any]:
        name = self.origin.argument_names[index]
        what = f"{self.name}: its vjp for {name!r}"
        tree = self.arg_trees[index]
        leaves = _flatten_like(tree, ct, f"{what} must return a cotangent like {name!r}")
        return [
            _conform(leaf, aval, f"{what} must return")
            for leaf, aval in zip(leaves, self.arg_avals[index], strict=True)
            if _has_tangent(aval)
        ]


@lru_cache(maxsize=4096)
def application_of(
    rule: Rule, static: Static, in_tree: Any, out_tree: Any, primal: ClosedJaxpr
) -> RuleApplication:
    """The application, the same object for the same arguments."""
    return RuleApplication(rule, static, in_tree, out_tree, primal)


@lru_cache(maxsize=4096)
def plain_custom_vjp(rule: Rule, static: Static) -> Callable[..., Any]:
    """The rule with its static arguments bound, stated through ``jax.custom_vjp``."""
    settings = dict(static)

    def call(*args: Any) -> Any:
        return rule.apply(static, args)

    def forward(*args: Any) -> Any:
        y = call(*args)
        live = tuple(
            any(_has_tangent(jax.typeof(jnp.asarray(leaf))) for leaf in jax.tree.leaves(arg))
            and (rule.is_joint("vjp") or rule.vjp[i] is not None)
            for i, arg in enumerate(args)
        )
        return y, (rule.residuals(y, *args, **settings), _Live(live))

    def backward(saved: Any, ct: Any) -> tuple[Any, ...]:
        kept, live = saved
        if rule.is_joint("vjp"):
            return tuple(rule.vjp(kept, ct, live.flags, **settings))
        return tuple(
            one(kept, ct, **settings) if flag else None
            for one, flag in zip(rule.vjp, live.flags, strict=True)
        )

    function = jax.custom_vjp(call)
    function.defvjp(forward, backward)
    return function


@jax.tree_util.register_static
class _Live:
    """Which arguments have a cotangent: known when tracing, so no array."""

    def __init__(self, flags: tuple[bool, ...]) -> None:
        self.flags = flags

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Live) and self.flags == other.flags

    def __hash__(self) -> int:
        return hash(self.flags)


# Helpers


def _has_tangent(aval: Any) -> bool:
    return bool(aval.to_tangent_aval().dtype != jax.dtypes.float0)


def _no_tangent(aval: Any) -> Any:
    """JAX's own stand-in for the tangent of an integer."""
    return np.zeros(aval.shape, jax.dtypes.float0) if not _has_tangent(aval) else None


def _split(values: Sequence[Any], trees: Sequence[Any]) -> list[list[Any]]:
    """Leaves, grouped by argument."""
    rest = iter(values)
    return [[next(rest) for _ in range(tree.num_leaves)] for tree in trees]


def _unpack(res_tree: Any, flat: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    n = res_tree.num_leaves
    return res_tree.unflatten(flat[:n]), flat[n:]


def _without_unused(jaxpr: ClosedJaxpr, used: Sequence[bool]) -> ClosedJaxpr:
    """Drop the operands in front that nothing uses (their shapes may still have been read)."""
    if all(used):
        return jaxpr
    avals = jaxpr.in_avals
    rest = avals[len(used) :]
    kept = [a for a, u in zip(avals, used, strict=False) if u]
    whole = jaxpr_as_fun(jaxpr)

    def fewer(*args: Any) -> Any:
        given = iter(args)
        front = [next(given) if u else _stand_in(a) for a, u in zip(avals, used, strict=False)]
        return whole(*front, *given)

    return prune_outputs(trace_flat(fewer, [*kept, *rest]), [True] * len(jaxpr.out_avals))


def _stand_in(aval: Any) -> Any:
    if jnp.issubdtype(aval.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(
            jnp.zeros_like(jax.eval_shape(jax.random.key_data, aval)), impl=aval.dtype._impl
        )
    return zeros(aval)


def _sharded_like(avals: Sequence[Any], fun: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Under explicit mesh axes, let the compiler shard the inside of a rule; pin its outputs."""
    if not mesh_is_explicit():
        return fun
    return jax.sharding.auto_axes(fun, out_sharding=[a.sharding for a in avals])


def _flatten_like(tree: Any, value: Any, what: str) -> list[Any]:
    try:
        return list(tree.flatten_up_to(value))
    except ValueError:
        raise RuleError(f"{what}, a {tree}; it returned {_describe(value)}") from None


def _conform(value: Any, aval: Any, what: str) -> Any:
    """`value` itself, if it has the shape and dtype of `aval`."""
    got = jax.typeof(value) if hasattr(value, "dtype") else None
    if got is None or got.shape != aval.shape or got.dtype != aval.dtype:
        raise RuleError(f"{what} {_describe(aval)}; it returned {_describe(value)}")
    return vary(value, varying_axes(aval))


def _describe(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {len(value)} ({', '.join(map(_describe, value))})"
    return repr(value)
