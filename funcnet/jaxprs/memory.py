"""What reverse mode keeps from the forward pass until the backward pass needs it.

A gradient is computed in two halves. The forward half runs the function and keeps some arrays,
the residuals; the backward half is linear and needs nothing else. Their bytes are the memory price
of reverse mode: they grow with the depth of a network and with the length of a loop, whose
residuals are stacked over all rounds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Var
from jax.extend.core import Literal as Constant
from jax.extend.source_info_util import summarize

from funcnet.errors import ArgumentError
from funcnet.jaxprs.arguments import argument_paths
from funcnet.jaxprs.nesting import look_inside
from funcnet.jaxprs.walk import inline
from funcnet.report import Column, Table, format_bytes

__all__ = ["Residual", "Residuals", "residuals"]

Kind = Literal["argument", "constant", "intermediate"]


@dataclass(frozen=True)
class Residual:
    """One array that is kept for the backward pass.

    Attributes:
        kind: ``"argument"`` if it is an argument of the function, which exists anyway;
            ``"constant"`` if it depends on no argument, so that a compiler may make it again;
            ``"intermediate"`` if it is memory that only the backward pass needs.
        shape: Its shape; that of a loop's residual has the rounds as first axis.
        dtype: Its dtype.
        nbytes: The memory that it takes.
        description: The path of the argument, or the operation that made the array with the loops
            around it.
        scope: The names around that operation, outermost first, with slashes between them; empty
            for arguments and constants.
        source: The line of the program that made it; empty for arguments and constants.
    """

    kind: Kind
    shape: tuple[int, ...]
    dtype: Any
    nbytes: int
    description: str
    scope: str
    source: str


@dataclass(frozen=True)
class Residuals(Sequence[Residual]):
    """All arrays that are kept for the backward pass, which print themselves as a table.

    Attributes:
        entries: The arrays, each once, in the order in which they are made.
    """

    entries: tuple[Residual, ...]

    @property
    def nbytes(self) -> int:
        """The memory of the intermediates: what reverse mode costs beyond the arguments."""
        return sum(entry.nbytes for entry in self.entries if entry.kind == "intermediate")

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: Any) -> Any:
        return self.entries[index]

    def table(self) -> Table:
        """Return the arrays as a table, with the memory of the intermediates below."""
        return Table(
            ["kept", "what", "scope", "array", Column("memory", format_bytes), "source"],
            [
                (r.kind, r.description, r.scope, _array(r), r.nbytes, _short(r.source))
                for r in self.entries
            ],
            footer=[("total", "intermediates only", "", "", self.nbytes, "")],
        )

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def residuals(f: Callable[..., Any], *args: Any, argnums: int | Sequence[int] = 0) -> Residuals:
    """List what reverse mode keeps of one call of a function until its backward pass.

    This is what JAX hands from the forward to the backward half. A compiler that sees both halves
    at once may do better: it may compute an array again, or keep two in one place.

    Args:
        f: Any function that JAX can trace and differentiate.
        *args: Its arguments: pytrees of arrays or ShapeDtypeStructs.
        argnums: The arguments to differentiate with respect to, as for ``jax.grad``.

    Returns:
        A :class:`Residuals`. Its ``nbytes`` leaves out arguments and constants.

    Raises:
        ArgumentError: If ``argnums`` names an argument that is not there.

    Example:
        >>> import jax.numpy as jnp
        >>> kept = residuals(lambda x: jnp.sin(jnp.exp(x)), jnp.ones(4))
        >>> [(r.description, r.nbytes) for r in kept], kept.nbytes
        ([('exp', 16), ('cos', 16)], 32)
    """
    wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for argnum in wanted:
        if not 0 <= argnum < len(args):
            raise ArgumentError(
                f"residuals: argnums={argnums}, but f was given {len(args)} arguments."
            )

    def forward_half(*args: Any) -> list[Any]:
        def restricted(*chosen: Any) -> Any:
            every = list(args)
            for argnum, value in zip(wanted, chosen, strict=True):
                every[argnum] = value
            return f(*every)

        return jax.tree.leaves(jax.vjp(restricted, *(args[i] for i in wanted))[1])

    jaxpr = inline(jax.make_jaxpr(forward_half)(*args))
    return Residuals(tuple(_describe(jaxpr, argument_paths(f, args))))


def _describe(jaxpr: ClosedJaxpr, names: Sequence[str]) -> Iterator[Residual]:
    top = jaxpr.jaxpr
    arguments = dict(zip(top.invars, names, strict=True))
    makers = {v: eqn for eqn in top.eqns for v in eqn.outvars}
    varying = _dependent(jaxpr)
    order = {v: i for i, v in enumerate([*arguments, *makers])}
    kept = {v for v in top.outvars if not isinstance(v, Constant)}
    for var in sorted(kept, key=lambda v: order.get(v, -1)):
        aval = var.aval
        if aval.dtype == jax.dtypes.float0 or not aval.size:
            continue
        kind: Kind = "intermediate"
        scope = source = ""
        if var in arguments:
            kind, what = "argument", arguments[var]
        elif var not in varying:
            kind, what = "constant", "constant"
        else:
            what, scope, source = _origin(*_maker(makers, var))
        nbytes = aval.size * aval.dtype.itemsize
        yield Residual(kind, aval.shape, aval.dtype, nbytes, what, scope, source)


def _dependent(jaxpr: ClosedJaxpr) -> set[Var]:
    """The variables that depend on an argument."""
    found = set(jaxpr.jaxpr.invars)
    for eqn in jaxpr.jaxpr.eqns:
        if eqn.effects or any(not isinstance(v, Constant) and v in found for v in eqn.invars):
            found.update(eqn.outvars)
    return found


def _maker(makers: dict[Var, JaxprEqn], var: Var) -> tuple[JaxprEqn, int]:
    """The equation that made a variable, and the position of the variable among its results."""
    eqn = makers[var]
    if eqn.primitive.name == "reduce_precision" and eqn.invars[0] in makers:
        # ``jax.checkpoint`` rounds what it saves, so that no compiler keeps it in more bits.
        return _maker(makers, eqn.invars[0])
    return eqn, eqn.outvars.index(var)


def _origin(eqn: JaxprEqn, position: int) -> tuple[str, str, str]:
    """Name the operation that makes one result of an equation, its scope and its line.

    A result of a loop or branch is traced to the operation inside.
    """
    # The forward half is traced as the primal side of a jvp, which the scopes need not repeat.
    scope = re.sub(r"jvp\(([^()]*)\)", r"\1", str(eqn.source_info.name_stack)).strip("/")
    for body in look_inside(eqn).bodies:
        if position in body.outputs:
            inner = inline(body.jaxpr).jaxpr
            var = inner.outvars[body.outputs.index(position)]
            what, inner_scope, source = "carry", "", ""
            makers = {v: made for made in inner.eqns for v in made.outvars}
            if not isinstance(var, Constant) and var in makers:
                what, inner_scope, source = _origin(*_maker(makers, var))
            whole = "/".join(filter(None, [scope, inner_scope]))
            times = f"{body.label} x {body.trips}" if body.role == "loop" else body.label
            return f"{what} [{times}]", whole, source or summarize(eqn.source_info)
    name = eqn.params["name"] if eqn.primitive.name == "name" else eqn.primitive.name
    return name, scope, summarize(eqn.source_info)


def _array(residual: Residual) -> str:
    return f"{residual.dtype}[{', '.join(map(str, residual.shape))}]"


def _short(source: str) -> str:
    """Leave out the folders of a source line."""
    return source.replace("\\", "/").rpartition("/")[2]
