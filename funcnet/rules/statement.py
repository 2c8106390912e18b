"""How a derivative rule is stated: a function, what its derivative keeps, and both rules.

A primitive is a differentiable function ``y = f(x1, ..., xn)`` whose derivative somebody has
written down. `rule` takes the function and its two derivative rules: `jvp`, the pushforward, which
maps tangents of the arguments to a tangent of the output, and `vjp`, the pullback, which maps a
cotangent of the output to cotangents of the arguments. Forward mode runs the first, reverse mode
runs the second, at every order of differentiation.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.errors import RuleError
from funcnet.rules.application import application_of, plain_custom_vjp
from funcnet.rules.primitive import rule_p, vary_alike
from funcnet.structure import Structure

__all__ = ["Rule", "rule"]

Pushforward = Callable[..., Any]
Pullback = Callable[..., Any]


class Rule:
    """A function with both derivative rules; made by `rule`.

    Call it as the function that it was made from. ``name``, ``formula``, ``structure`` and
    ``source`` say what it is; ``argument_names`` lists the arguments that rules are stated for;
    ``custom_vjp`` is the same rule as a plain ``jax.custom_vjp`` function.
    """

    def __init__(
        self,
        primal: Callable[..., Any],
        *,
        residuals: Callable[..., Any],
        jvp: Pushforward | Sequence[Pushforward | None],
        vjp: Pullback | Sequence[Pullback | None],
        structure: Structure | Sequence[Structure | None] | None = None,
        formula: str = "",
        source: str = "",
        static_argnames: str | Sequence[str] = (),
    ) -> None:
        functools.update_wrapper(self, primal)
        self.name: str = getattr(primal, "__name__", type(primal).__name__)
        self.primal = primal
        self.residuals = residuals
        self.formula = formula
        self.source = source
        names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
        self._signature = inspect.signature(primal)
        self.static_argnames = names
        self.argument_names = _dynamic_names(self.name, self._signature, names)
        self.jvp = _per_argument(self.name, "jvp", jvp, self.argument_names)
        self.vjp = _per_argument(self.name, "vjp", vjp, self.argument_names)
        self.structure = _structures(self.name, structure, self.argument_names)

        @functools.wraps(primal)
        def bind(*args: Any, **kwargs: Any) -> Any:
            return self._bind(*args, **kwargs)

        self._call = jax.jit(bind, static_argnames=names or None, inline=True)
        self._stage = jax.jit(self._evaluate, static_argnums=0)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the function, compiled, with its rules beside it."""
        return self._call(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<rule {self.name}{self._signature}>"

    def is_joint(self, kind: str) -> bool:
        """Whether one callable states the rule of this kind for all arguments at once."""
        return callable(getattr(self, kind))

    def split(self, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Bind a call's arguments: the values that rules are stated for, and the static ones."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        dynamic = tuple(bound.arguments[name] for name in self.argument_names)
        return dynamic, {name: bound.arguments[name] for name in self.static_argnames}

    def apply(self, static: Any, dynamic: Sequence[Any]) -> Any:
        """The primal function itself, on split arguments."""
        values = dict(zip(self.argument_names, dynamic, strict=True)) | dict(static)
        bound = inspect.BoundArguments(
            self._signature, {name: values[name] for name in self._signature.parameters}
        )
        return self.primal(*bound.args, **bound.kwargs)

    def _evaluate(self, static: Any, dynamic: Any) -> Any:
        return self.apply(static, dynamic)

    def _bind(self, *args: Any, **kwargs: Any) -> Any:
        dynamic, static = self.split(args, kwargs)
        leaves, in_tree = jax.tree.flatten(dynamic)
        leaves = vary_alike([jnp.asarray(leaf) for leaf in leaves])
        avals = jax.tree.unflatten(in_tree, map(jax.typeof, leaves))
        traced = self._stage.trace(tuple(static.items()), avals)
        jaxpr = traced.jaxpr
        # JAX hands a traced value that a function closes over to its jaxpr as one more input.
        if len(jaxpr.in_avals) != len(leaves):
            raise RuleError(
                f"{self.name}: its function closes over a traced value, whose derivative no rule "
                "states; pass that value as an argument"
            )
        out_tree = jax.tree.structure(traced.out_info)
        application = application_of(self, tuple(static.items()), in_tree, out_tree, jaxpr)
        return jax.tree.unflatten(out_tree, rule_p.bind(*leaves, application=application))

    @cached_property
    def custom_vjp(self) -> Callable[..., Any]:
        """The same rule as a plain ``jax.custom_vjp`` function (reverse mode alone)."""

        @functools.wraps(self.primal)
        def twin(*args: Any, **kwargs: Any) -> Any:
            dynamic, static = self.split(args, kwargs)
            return plain_custom_vjp(self, tuple(static.items()))(*dynamic)

        return twin


def rule(
    primal: Callable[..., Any] | None = None,
    *,
    residuals: Callable[..., Any],
    jvp: Pushforward | Sequence[Pushforward | None],
    vjp: Pullback | Sequence[Pullback | None],
    structure: Structure | Sequence[Structure | None] | None = None,
    formula: str = "",
    source: str = "",
    static_argnames: str | Sequence[str] = (),
) -> Any:
    """State a differentiable function with both of its derivative rules.

    For ``y = f(x1, ..., xn)`` with Jacobian blocks ``J_i = dy/dx_i``, the rules are
    ``jvp[i](res, t_i) = J_i t_i`` and ``vjp[i](res, ct) = J_i^T ct``, where
    ``res = residuals(y, x1, ..., xn)``. Forward mode (``jax.jvp``, ``jax.jacfwd``,
    ``jax.linearize``) runs the first, reverse mode (``jax.grad``, ``jax.vjp``, ``jax.jacrev``) the
    second, at every order. Sums over arguments, arguments that need no derivative, batching and
    everything else are JAX's and this library's business. What the rules do not use of the
    residuals is not kept.

    Rules that share work between arguments are one joint callable each instead:
    ``jvp(res, tangents, live) -> tangent of y`` and ``vjp(res, ct, live) -> cotangents``, where
    `live` is a tuple of booleans, one per argument, and the tangents and cotangents of arguments
    that are not live are None. A function of one argument may state its rules as bare callables
    ``jvp(res, t)``, ``vjp(res, ct)``.

    At higher orders JAX differentiates the code of the rules and of `residuals`. Written in terms
    of the public function and its output `y`, that code runs written rules again.

    Args:
        primal: The function, from arrays (or pytrees of them) to an array or pytree. Left out,
            `rule` returns a decorator.
        residuals: ``residuals(y, *args, **static)``: what both rules need; any pytree.
        jvp: The pushforwards, one per argument in order (None for one that has no derivative, such
            as integer labels), or one joint callable.
        vjp: The pullbacks, likewise.
        structure: The kind of each Jacobian block, for analyses to name; one for all arguments or
            one per argument. `check_rule` holds it against the Jacobian.
        formula: The function as a formula in plain text.
        source: Where the rule comes from.
        static_argnames: Arguments that are not arrays but hashable settings; every callable
            receives them by keyword.

    Returns:
        A `Rule`, to be called like `primal`.

    Raises:
        RuleError: The rules do not fit the function's arguments, at once; or, when traced, a rule
            fails or gives a wrong number, shape or dtype of values.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.rules import rule
        >>> cube = rule(
        ...     lambda x: x * x * x,
        ...     residuals=lambda y, x: x,
        ...     jvp=lambda x, t: 3 * x * x * t,
        ...     vjp=lambda x, ct: ct * 3 * x * x,
        ...     formula="y = x^3",
        ... )
        >>> float(jax.grad(cube)(2.0)), float(jax.jvp(cube, (2.0,), (1.0,))[1])
        (12.0, 12.0)
        >>> float(jax.grad(jax.grad(cube))(2.0))
        12.0
    """
    settings: dict[str, Any] = dict(
        residuals=residuals,
        jvp=jvp,
        vjp=vjp,
        structure=structure,
        formula=formula,
        source=source,
        static_argnames=static_argnames,
    )
    if primal is None:
        return lambda function: Rule(function, **settings)
    return Rule(primal, **settings)


# Checks when a rule is stated


def _dynamic_names(
    name: str, signature: inspect.Signature, static: tuple[str, ...]
) -> tuple[str, ...]:
    parameters = signature.parameters
    unknown = [s for s in static if s not in parameters]
    if unknown:
        raise RuleError(
            f"{name}: static_argnames has {unknown[0]!r}, but {name}{signature} has not"
        )
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        raise RuleError(f"{name}: a rule cannot take **{list(parameters)[-1]}; name its arguments")
    return tuple(p for p in parameters if p not in static)


def _per_argument(name: str, kind: str, given: Any, arguments: tuple[str, ...]) -> Any:
    """A tuple with one callable or None per argument, or one joint callable."""
    if callable(given):
        return (given,) if len(arguments) == 1 else given
    if not isinstance(given, Sequence) or not all(g is None or callable(g) for g in given):
        raise RuleError(f"{name}: {kind} must be a callable, or one callable or None per argument")
    if len(given) != len(arguments):
        raise RuleError(
            f"{name}: {kind} has {len(given)} rules, but there are {len(arguments)} arguments "
            f"({', '.join(arguments)}); give None for one without derivative"
        )
    return tuple(given)


def _structures(name: str, given: Any, arguments: tuple[str, ...]) -> tuple[Structure | None, ...]:
    if given is None or isinstance(given, Structure):
        return (given,) * len(arguments)
    if len(given) != len(arguments):
        raise RuleError(
            f"{name}: structure has {len(given)} entries, but there are {len(arguments)} arguments "
            f"({', '.join(arguments)})"
        )
    return tuple(given)
