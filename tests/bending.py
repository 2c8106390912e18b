"""Rules made wrong on purpose, by 0.1 % in one place: every test of rules must see it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.rules import Rule

FACTOR = 1.001


@dataclass(frozen=True)
class Place:
    """Where a rule is bent: ``primal``, or the ``jvp`` or ``vjp`` for one argument."""

    kind: str
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.kind} for {self.argument}" if self.argument else self.kind


def places(rule: Rule) -> list[Place]:
    """Everywhere that a rule can be bent."""
    found = [Place("primal")]
    for kind in ("jvp", "vjp"):
        stated = getattr(rule, kind)
        for index, name in enumerate(rule.argument_names):
            if rule.is_joint(kind) or stated[index] is not None:
                found.append(Place(kind, name))
    return found


def bend(rule: Rule, place: Place, factor: float = FACTOR) -> Rule:
    """A new rule, which is `rule` but for a factor at one place."""
    parts = {"jvp": rule.jvp, "vjp": rule.vjp}
    primal = rule.primal
    if place.kind == "primal":
        primal = _scaled_output(primal, factor)
    else:
        index = rule.argument_names.index(place.argument)
        stated = parts[place.kind]
        if not rule.is_joint(place.kind):
            bent = _scaled_output(stated[index], factor)
            parts[place.kind] = (*stated[:index], bent, *stated[index + 1 :])
        elif place.kind == "jvp":
            parts["jvp"] = _scaled_tangent(stated, index, factor)
        else:
            parts["vjp"] = _scaled_cotangent(stated, index, factor)
    return Rule(
        primal,
        residuals=rule.residuals,
        structure=rule.structure,
        formula=rule.formula,
        source=rule.source,
        static_argnames=rule.static_argnames,
        **parts,
    )


def _scaled(value: Any, factor: float) -> Any:
    def scale(leaf: Any) -> Any:
        moves = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)
        return leaf * jnp.asarray(factor, leaf.dtype) if moves else leaf

    return jax.tree.map(scale, value)


def _scaled_output(function: Callable[..., Any], factor: float) -> Callable[..., Any]:
    @functools.wraps(function)
    def bent(*args: Any, **kwargs: Any) -> Any:
        return _scaled(function(*args, **kwargs), factor)

    return bent


def _scaled_tangent(jvp: Callable[..., Any], index: int, factor: float) -> Callable[..., Any]:
    def bent(kept: Any, tangents: Any, live: Any, **static: Any) -> Any:
        moved = [_scaled(t, factor) if i == index else t for i, t in enumerate(tangents)]
        return jvp(kept, tuple(moved), live, **static)

    return bent


def _scaled_cotangent(vjp: Callable[..., Any], index: int, factor: float) -> Callable[..., Any]:
    def bent(kept: Any, ct: Any, live: Any, **static: Any) -> Any:
        back = vjp(kept, ct, live, **static)
        return tuple(_scaled(b, factor) if i == index else b for i, b in enumerate(back))

    return bent
