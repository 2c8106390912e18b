"""What the rule of a row and its reference compute: many derivatives in one compilation.

Laws compare these numbers. They are cached by row, so that each law is a test of its own and none
compiles twice.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.conformance.table import Row

__all__ = ["Point", "assert_close", "controlled", "first_order", "hessians", "transformed"]

FORWARD, REVERSE = "forward", "reverse"
NESTINGS = [f"{a} over {b}" for a, b in itertools.product((FORWARD, REVERSE), repeat=2)]
TOLERANCE = 1e-12


class Point:
    """A row's arguments, and functions of those that have derivatives."""

    def __init__(self, row: Row, dtype: Any = jnp.float64) -> None:
        self.row = row
        self.args = row.arguments(dtype)
        self.points = tuple(self.args[i] for i in row.moving)

    def of(self, function: Callable[..., Any], args: Any = None) -> Callable[..., Any]:
        """`function` of its moving arguments alone."""
        fixed = self.args if args is None else args

        def moved(*points: Any) -> Any:
            values = list(fixed)
            for position, point in zip(self.row.moving, points, strict=True):
                values[position] = point
            return function(*values)

        return moved

    def directions(self) -> tuple[Any, ...]:
        """Tangents without symmetry."""
        return waves(self.points, 0.3)

    def cotangent(self) -> Any:
        return waves(jax.eval_shape(self.row.apply_reference, *self.args), 1.1)


def waves(like: Any, phase: float) -> Any:
    """Numbers between -1 and 1 in the shapes and dtypes of a tree, all different."""

    def wave(leaf: Any) -> jax.Array:
        values = np.cos(phase + 1.7 * np.arange(int(np.prod(leaf.shape))))
        return jnp.asarray(values.reshape(leaf.shape), leaf.dtype)

    return jax.tree.map(wave, like)


def contracted(f: Callable[..., Any], cotangent: Any) -> Callable[..., Any]:
    """The number <cotangent, f>."""

    def phi(*points: Any) -> Any:
        pairs = zip(jax.tree.leaves(cotangent), jax.tree.leaves(f(*points)), strict=True)
        return sum(jnp.vdot(c, y) for c, y in pairs)

    return phi


@functools.cache
def first_order(row: Row) -> dict[str, tuple[Any, Any]]:
    """Value and both first derivatives: from the rule, from plain JAX."""
    with jax.enable_x64(True):
        at = Point(row)
        tangents, cotangent = at.directions(), at.cotangent()

        def measure(f: Callable[..., Any]) -> dict[str, Any]:
            y, pullback = jax.vjp(f, *at.points)
            y_forward, dy = jax.jvp(f, at.points, tangents)
            each = [
                jax.jvp(_alone(f, at.points, position), (point,), (tangent,))[1]
                for position, (point, tangent) in enumerate(zip(at.points, tangents, strict=True))
            ]
            return {
                "value": y,
                "value under jvp": y_forward,
                "vjp": pullback(cotangent),
                "jvp": dy,
                "jvp of each": each,
            }

        @jax.jit
        def compute() -> tuple[dict[str, Any], dict[str, Any]]:
            return measure(at.of(row.apply)), measure(at.of(row.apply_reference))

        got, wanted = jax.tree.map(np.asarray, compute())
        return {name: (got[name], wanted[name]) for name in got}


@functools.cache
def hessians(row: Row) -> dict[str, tuple[Any, Any]]:
    """The Hessian in four nestings from the rule, and from plain JAX."""
    with jax.enable_x64(True):
        at = Point(row)
        cotangent, every = at.cotangent(), tuple(range(len(at.points)))
        jacobian = {FORWARD: jax.jacfwd, REVERSE: jax.jacrev}

        def hessian(f: Callable[..., Any], nesting: str) -> Any:
            outer, inner = (jacobian[mode] for mode in nesting.split(" over "))
            return outer(inner(contracted(f, cotangent), every), every)(*at.points)

        @jax.jit
        def compute() -> tuple[dict[str, Any], Any]:
            found = {nesting: hessian(at.of(row.apply), nesting) for nesting in NESTINGS}
            return found, hessian(at.of(row.apply_reference), "forward over reverse")

        got, wanted = jax.tree.map(np.asarray, compute())
        return {nesting: (got[nesting], wanted) for nesting in NESTINGS}


def _alone(f: Callable[..., Any], points: Sequence[Any], position: int) -> Callable[[Any], Any]:
    return lambda point: f(*points[:position], point, *points[position + 1 :])


@functools.cache
def controlled(row: Row) -> dict[str, Any]:
    """Derivatives under jit, control flow and checkpoints; `first_order` has each plain."""
    with jax.enable_x64(True):
        at = Point(row)
        points, tangents, cotangent = at.points, at.directions(), at.cotangent()
        rule = at.of(row.apply)
        phi = contracted(rule, cotangent)
        every = tuple(range(len(points)))
        gradient = jax.grad(phi, every)
        two = jax.tree.map(lambda x: jnp.stack([x, 0.9 * x]), points)

        def scanned(stacked: Any) -> Any:
            def step(carry: Any, one: Any) -> Any:
                return carry + phi(*one), None

            return lax.scan(step, jnp.float64(0.0), stacked)[0]

        def branched(*points: Any) -> Any:
            return lax.cond(points_are_there, phi, lambda *points: 2 * phi(*points), *points)

        def looped(*points: Any) -> Any:
            def body(carry: Any) -> Any:
                return carry[0] + 1, rule(*points)

            zeros = jax.tree.map(jnp.zeros_like, cotangent)
            return lax.while_loop(lambda carry: carry[0] < 1, body, (0, zeros))[1]

        points_are_there = jnp.asarray(True)

        @jax.jit
        def compute() -> dict[str, Any]:
            saved = jax.checkpoint_policies.everything_saveable
            return {
                "jit": jax.jit(gradient)(*points),
                "scan": jax.tree.map(lambda g: g[0], jax.grad(scanned)(two)),
                "cond": jax.grad(branched, every)(*points),
                "while": jax.jvp(looped, points, tangents)[1],
                "checkpoint": jax.grad(jax.checkpoint(phi), every)(*points),
                "checkpoint, saving": jax.grad(jax.checkpoint(phi, policy=saved), every)(*points),
            }

        return jax.tree.map(np.asarray, compute())


@functools.cache
def transformed(row: Row) -> dict[str, Any]:
    """Derivatives by linearize, transpose and vmap; `first_order` has each plain."""
    with jax.enable_x64(True):
        at = Point(row)
        points, tangents, cotangent = at.points, at.directions(), at.cotangent()
        rule = at.of(row.apply)

        def vmapped(axes: Sequence[int | None], out_axis: int) -> Any:
            """Both modes with some arguments batched, for the first example, the plain one."""

            def both(args: Any) -> Any:
                f = at.of(row.apply, args)
                here = tuple(args[i] for i in row.moving)
                return jax.vjp(f, *here)[1](cotangent), jax.jvp(f, here, tangents)

            batched = [_batched(a, axis) for a, axis in zip(at.args, axes, strict=True)]
            out = jax.vmap(both, (list(axes),), out_axis)(batched)
            return jax.tree.map(lambda y: jnp.moveaxis(y, out_axis, 0)[0], out)

        @jax.jit
        def compute() -> dict[str, Any]:
            y, push = jax.linearize(rule, *points)
            mixes = list(_mixes(at.args))
            return {
                "linearize": (y, push(*tangents)),
                "linear_transpose": jax.linear_transpose(push, *points)(cotangent),
                "vmap": [vmapped(axes, out) for axes, out in mixes],
            }

        return jax.tree.map(np.asarray, compute())


def _mixes(args: Sequence[Any]) -> Any:
    """Which arguments to batch, along which axes; the outputs' axis."""
    there = [bool(jax.tree.leaves(a)) for a in args]
    scalar = [any(leaf.ndim == 0 for leaf in jax.tree.leaves(a)) for a in args]

    def axes(choice: Callable[[int], int | None]) -> list[int | None]:
        chosen = [choice(i) if there[i] else None for i in range(len(args))]
        return [0 if a is not None and scalar[i] else a for i, a in enumerate(chosen)]

    yield axes(lambda i: -1), 0
    if sum(there) > 1:
        for position in filter(lambda i: there[i], range(len(args))):
            yield axes(lambda i, p=position: 0 if i == p else None), 0  # type: ignore[misc]


def _batched(argument: Any, axis: int | None) -> Any:
    """The argument, and behind it a scaled one; integers and masks twice."""
    if axis is None:
        return argument

    def stack(leaf: Any) -> Any:
        other = 0.9 * leaf if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
        return jnp.stack([leaf, other], axis)

    return jax.tree.map(stack, argument)


def assert_close(got: Any, wanted: Any, tolerance: float = TOLERANCE) -> None:
    """Equal structures, shapes and dtypes; numbers are equal relative to the largest one, or 1."""
    chex.assert_trees_all_equal_structs(got, wanted)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        scale = max(1.0, float(np.max(np.abs(other), initial=0.0)))
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)
