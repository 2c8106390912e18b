"""Walking through a jaxpr and everything nested in it.

:func:`equations` visits every operation that is needed for the outputs, inside loops, branches and
calls too, and says of each where it stands and how often it runs. :func:`inline` turns nested calls
into one straight list of equations, for those who want to rewrite or evaluate a function.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from jax.api_util import debug_info
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun
from jax.extend.source_info_util import summarize

from funcnet.jaxprs.nesting import Body, look_inside

__all__ = [
    "Equation",
    "depends_on",
    "equations",
    "function_of",
    "inline",
    "live_equations",
    "straight",
]


@dataclass(frozen=True)
class Equation:
    """One operation of a function, and where it stands.

    Attributes:
        eqn: JAX's own equation: ``eqn.primitive``, ``eqn.params``, ``eqn.invars``, ...
        scope: The names around it, outermost first, with slashes between them: those of
            ``jax.named_scope``, of nested jitted functions and of opened primitives, but for names
            that start with an underscore.
            Transformations show as in ``transpose(jvp(hidden))``.
        path: The loops, branches and device meshes around it, outermost first: ``("scan",
            "cond[1]")``.
        count: How often it runs: the product of the lengths of the loops around it. A loop whose
            length depends on values counts once.
        bounded: False if such a loop stands around it, so that ``count`` is too small.
        calls: The equations that it is nested in, outermost first.
    """

    eqn: JaxprEqn
    scope: str
    path: tuple[str, ...]
    count: int
    bounded: bool
    calls: tuple[JaxprEqn, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """The name of the primitive."""
        return self.eqn.primitive.name

    @property
    def in_avals(self) -> list[Any]:
        """The shapes and dtypes of the operands."""
        return [v.aval for v in self.eqn.invars]

    @property
    def out_avals(self) -> list[Any]:
        """The shapes and dtypes of the results."""
        return [v.aval for v in self.eqn.outvars]

    @property
    def source(self) -> str:
        """The line of the program that it comes from, ``file:line:column (function)``.

        Of an operation inside JAX's own functions, this is the line that called them.
        """
        lines = (summarize(eqn.source_info) for eqn in (self.eqn, *reversed(self.calls)))
        return next(filter(None, lines), "")


def equations(jaxpr: ClosedJaxpr) -> Iterator[Equation]:
    """Visit every operation of a function, nested ones included.

    Calls, loops and branches are not operations themselves: what they hold is visited in their
    place. All branches of a ``cond`` are visited, although only one of them runs. Operations that
    no output needs are left out, as a compiler leaves them out.

    Args:
        jaxpr: A function, as ``jax.make_jaxpr`` returns it.

    Yields:
        The operations, in the order in which they are written.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> step = lambda c, _: (jnp.tanh(c), None)
        >>> f = lambda x: jax.lax.scan(step, x, length=5)[0] + 1.0
        >>> [(e.name, e.path, e.count) for e in equations(jax.make_jaxpr(f)(0.0))]
        [('tanh', ('scan',), 5), ('add', (), 1)]
    """
    used = (True,) * len(jaxpr.jaxpr.outvars)
    yield from _visit(jaxpr.jaxpr, used, _Place())


@dataclass(frozen=True)
class _Place:
    """Where a body stands: what its equations have in common."""

    scope: str = ""
    path: tuple[str, ...] = ()
    count: int = 1
    bounded: bool = True
    calls: tuple[JaxprEqn, ...] = ()

    def scope_of(self, eqn: JaxprEqn) -> str:
        """The names around an equation that stands here."""
        return "/".join(filter(None, [self.scope, str(eqn.source_info.name_stack)]))

    def inside(self, eqn: JaxprEqn, body: Body) -> _Place:
        """The place of a body of an equation that stands here."""
        scope, calls = self.scope_of(eqn), (*self.calls, eqn)
        if body.role == "call":
            named = "/".join(filter(None, [scope, _new_name(scope, body)]))
            return replace(self, scope=named, calls=calls)
        return _Place(
            scope,
            (*self.path, body.label),
            self.count * (1 if body.trips is None else body.trips),
            self.bounded and body.trips is not None,
            calls,
        )


def _new_name(scope: str, body: Body) -> str:
    # A jitted function that only calls a primitive of its own name is one thing to the reader, and
    # functions whose names start with an underscore are nothing to her.
    hidden = body.label.startswith("_") or scope.rpartition("/")[2] == body.label
    return "" if hidden else body.label


def _visit(jaxpr: Jaxpr, used: Sequence[bool], place: _Place) -> Iterator[Equation]:
    for eqn, bodies in live_equations(jaxpr, used):
        if not bodies:
            scope = place.scope_of(eqn)
            yield Equation(eqn, scope, place.path, place.count, place.bounded, place.calls)
        for body, used_inside in bodies:
            yield from _visit(body.jaxpr.jaxpr, used_inside, place.inside(eqn, body))


LiveBodies: TypeAlias = list[tuple[Body, tuple[bool, ...]]]
"""The functions inside an equation, each with a mask of its outputs that are used."""


def live_equations(jaxpr: Jaxpr, used: Sequence[bool]) -> list[tuple[JaxprEqn, LiveBodies]]:
    """Drop the equations that no used output needs.

    Args:
        jaxpr: The function.
        used: Which of its outputs are used.

    Returns:
        The equations that are needed or have side effects, in order, each with what
        :func:`~funcnet.jaxprs.look_inside` finds in it and a mask of the outputs that are used
        there. What a loop carries is used if a later round of the loop uses it.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> jaxpr = jax.make_jaxpr(lambda x: (x + x, jnp.sin(x) * x))(1.0).jaxpr
        >>> [eqn.primitive.name for eqn, _ in live_equations(jaxpr, [False, True])]
        ['sin', 'mul']
    """
    return _analyse(jaxpr, used)[0]


def _analyse(
    jaxpr: Jaxpr, used: Sequence[bool]
) -> tuple[list[tuple[JaxprEqn, LiveBodies]], list[bool]]:
    """Return the live equations and a mask of the inputs that they read."""
    needed = {
        v for v, u in zip(jaxpr.outvars, used, strict=True) if u and not isinstance(v, Literal)
    }
    kept = []
    for eqn in reversed(jaxpr.eqns):
        used_results = [v in needed for v in eqn.outvars]
        if any(used_results) or eqn.effects:
            reads, bodies = _needs(eqn, used_results)
            kept.append((eqn, bodies))
            operands = zip(eqn.invars, reads, strict=True)
            needed |= {v for v, read in operands if read and not isinstance(v, Literal)}
    return kept[::-1], [v in needed for v in jaxpr.invars]


def _needs(eqn: JaxprEqn, results: list[bool]) -> tuple[list[bool], LiveBodies]:
    """Return which operands an equation reads for some of its results, and its bodies."""
    nest = look_inside(eqn)
    # An operand that no body gets is read by the equation itself, like the index of a cond.
    handed = {i for body in nest.bodies for i in body.inputs}
    while True:
        reads = [i not in handed for i in range(len(eqn.invars))]
        bodies = [
            (body, tuple(out is None or results[out] for out in body.outputs))
            for body in nest.bodies
        ]
        for body, used in bodies:
            for i, read in zip(body.inputs, _analyse(body.jaxpr.jaxpr, used)[1], strict=True):
                reads[i] = reads[i] or read
        late = [out for into, out in nest.carried if reads[into] and not results[out]]
        if not late:
            return reads, bodies
        results = [used or i in late for i, used in enumerate(results)]


def depends_on(jaxpr: ClosedJaxpr, marked: Sequence[bool]) -> list[bool]:
    """Tell which outputs of a function may depend on some of its inputs.

    Args:
        jaxpr: The function.
        marked: Which inputs.

    Returns:
        A boolean for each output; True for all that do depend on them, and perhaps for more.

    Example:
        >>> import jax
        >>> depends_on(jax.make_jaxpr(lambda x, y: (x * y, x))(1.0, 2.0), [False, True])
        [True, False]
    """
    reached = {v for v, mark in zip(jaxpr.jaxpr.invars, marked, strict=True) if mark}
    for eqn, bodies in live_equations(jaxpr.jaxpr, [True] * len(jaxpr.jaxpr.outvars)):
        flags = [not isinstance(v, Literal) and v in reached for v in eqn.invars]
        if not any(flags):
            continue
        if len(bodies) == 1 and bodies[0][0].role == "call":
            body = bodies[0][0]
            results = depends_on(body.jaxpr, [flags[i] for i in body.inputs])
            reached.update(v for v, flag in zip(eqn.outvars, results, strict=True) if flag)
        else:
            reached.update(eqn.outvars)
    return [not isinstance(v, Literal) and v in reached for v in jaxpr.jaxpr.outvars]


def function_of(eqn: JaxprEqn) -> Callable[..., Sequence[Any]]:
    """One equation as a function.

    Args:
        eqn: An equation of any jaxpr.

    Returns:
        A function of its operands, but for the numbers that are written in it, that returns the
        list of its results. JAX differentiates it as it does the equation, by custom rules too.

    Example:
        >>> import jax
        >>> eqn = jax.make_jaxpr(lambda x: 2.0 * x)(1.0).eqns[0]
        >>> [float(y) for y in function_of(eqn)(3.0)]
        [6.0]
    """
    fresh = [v if isinstance(v, Literal) else Var(v.aval) for v in eqn.invars]
    results = [Var(v.aval) for v in eqn.outvars]
    alone = eqn.replace(invars=fresh, outvars=results)
    operands = [v for v in fresh if not isinstance(v, Literal)]
    return jaxpr_as_fun(straight([alone], operands, results))


def straight(
    eqns: Sequence[JaxprEqn], inputs: Sequence[Var], outputs: Sequence[Any]
) -> ClosedJaxpr:
    """A list of equations as a jaxpr.

    Args:
        eqns: The equations, in order.
        inputs: The variables that they read and do not make.
        outputs: The variables or numbers to return.

    Returns:
        The jaxpr, without constants.

    Example:
        >>> import jax
        >>> jaxpr = jax.make_jaxpr(lambda x: 2.0 * x + 1.0)(1.0).jaxpr
        >>> first = jaxpr.eqns[0]
        >>> straight([first], jaxpr.invars, first.outvars).out_avals
        [ShapedArray(float32[], weak_type=True)]
    """
    names = [f"result {i}" for i in range(len(outputs))]
    about = debug_info("straight", straight, (list(inputs),), {}).set_result_paths(names)
    effects = frozenset().union(*(eqn.effects for eqn in eqns))
    return ClosedJaxpr(Jaxpr([], list(inputs), list(outputs), list(eqns), effects, about), [])


def inline(jaxpr: ClosedJaxpr, *, keep: Collection[str] = ()) -> ClosedJaxpr:
    """Write the functions that a function calls in place of the calls.

    Nested ``jit``, ``jax.checkpoint``, functions with custom derivatives and all primitives that
    have an opener disappear, at any depth. Loops and branches stay, and their bodies stay as they
    are. Scopes are kept: an inlined equation carries the names that stood around the call.

    Args:
        jaxpr: A function, as ``jax.make_jaxpr`` returns it.
        keep: Names of primitives to leave alone, such as ``("custom_jvp_call",)``.

    Returns:
        A function of the same inputs and outputs, of equal value. Differentiating it bypasses the
        custom rules that were inlined.

    Example:
        >>> import jax
        >>> f = lambda x: jax.nn.relu(jax.jit(lambda y: 2.0 * y)(x))
        >>> [eqn.primitive.name for eqn in inline(jax.make_jaxpr(f)(1.0)).jaxpr.eqns]
        ['mul', 'max']
    """
    flat = _Inliner(keep)
    env: dict[Var, Any] = {}
    flat.add(jaxpr, env)
    top = jaxpr.jaxpr
    made = Jaxpr(
        list(flat.consts),
        list(top.invars),
        [_read(env, v) for v in top.outvars],
        flat.eqns,
        top.effects,
        top.debug_info,
    )
    return ClosedJaxpr(made, list(flat.consts.values()))


class _Inliner:
    """The equations and constants of the straight function, while it is being written."""

    def __init__(self, keep: Collection[str]) -> None:
        self.keep = keep
        self.eqns: list[JaxprEqn] = []
        self.consts: dict[Var, Any] = {}

    def add(self, jaxpr: ClosedJaxpr, env: dict[Var, Any], around: Any = None) -> None:
        """Append a function called at a place; `env` knows its inputs, and learns its outputs."""
        self.consts.update(zip(jaxpr.jaxpr.constvars, jaxpr.consts, strict=True))
        for eqn in jaxpr.jaxpr.eqns:
            place = _placed(eqn.source_info, around)
            operands = [_read(env, v) for v in eqn.invars]
            bodies = look_inside(eqn).bodies if eqn.primitive.name not in self.keep else ()
            if bodies and bodies[0].role == "call":
                (body,) = bodies
                inputs, outputs = body.jaxpr.jaxpr.invars, body.jaxpr.jaxpr.outvars
                inner = {v: operands[i] for v, i in zip(inputs, body.inputs, strict=True)}
                if name := _new_name(str(place.name_stack), body):
                    place = place.replace(name_stack=place.name_stack.extend(name))
                self.add(body.jaxpr, inner, place)
                results = [_read(inner, v) for v in outputs]
                env.update(zip(eqn.outvars, results, strict=True))
            else:
                results = [Var(v.aval) for v in eqn.outvars]
                env.update(zip(eqn.outvars, results, strict=True))
                self.eqns.append(eqn.replace(invars=operands, outvars=results, source_info=place))


def _placed(info: Any, around: Any) -> Any:
    """The scope and line of an inlined equation, given those of the call around it."""
    if around is None:
        return info
    line = info if summarize(info) else around
    return line.replace(name_stack=around.name_stack + info.name_stack)


def _read(env: dict[Var, Any], atom: Any) -> Any:
    return atom if isinstance(atom, Literal) else env.get(atom, atom)
