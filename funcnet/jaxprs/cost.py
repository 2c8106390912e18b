"""What one call of a function costs, counted in its jaxpr.

XLA's own analysis counts the body of a loop once, however often it runs, and reports what is left
after its optimizations. Here every operation counts as often as it runs, before any
optimization, so that the numbers depend on the function alone and not on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
from jax.extend.core import Jaxpr, JaxprEqn
from jax.extend.source_info_util import summarize

from funcnet.jaxprs.operations import count_operations
from funcnet.jaxprs.walk import live_equations
from funcnet.report import Column, Table, format_bytes, format_count

__all__ = ["Cost", "Tally", "cost_of", "flops"]


@dataclass(frozen=True)
class Tally:
    """What all equations of one primitive take together.

    Attributes:
        runs: How often the primitive runs.
        flops: Its FLOPs.
        transcendentals: Its evaluations of functions such as exp.
        bytes: The bytes that it reads and writes.
    """

    runs: int = 0
    flops: int = 0
    transcendentals: int = 0
    bytes: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.runs + other.runs,
            self.flops + other.flops,
            self.transcendentals + other.transcendentals,
            self.bytes + other.bytes,
        )

    def __mul__(self, times: int) -> Tally:
        return Tally(
            self.runs * times,
            self.flops * times,
            self.transcendentals * times,
            self.bytes * times,
        )


@dataclass(frozen=True)
class Cost:
    """What one call of a function takes. Costs add up, and print themselves as a table.

    Attributes:
        by_primitive: The counts for each primitive.
        unknown: The primitives that no rule is known for; each entry of their results counts as
            one FLOP.
        unbounded: Where the loops stand whose length depends on values. They count as one round,
            so that the true cost is higher.
    """

    by_primitive: dict[str, Tally] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    unbounded: frozenset[str] = frozenset()

    @property
    def flops(self) -> int:
        """Additions, multiplications, comparisons and the like."""
        return self._total.flops

    @property
    def transcendentals(self) -> int:
        """Evaluations of functions such as exp, which are not among the FLOPs."""
        return self._total.transcendentals

    @property
    def bytes(self) -> int:
        """Bytes read and written if every operation fetches its operands from memory."""
        return self._total.bytes

    @property
    def _total(self) -> Tally:
        return sum(self.by_primitive.values(), Tally())

    def __add__(self, other: Cost) -> Cost:
        return _merged((self, other))

    def __mul__(self, times: int) -> Cost:
        scaled = {name: tally * times for name, tally in self.by_primitive.items()}
        return Cost(scaled, self.unknown, self.unbounded)

    def table(self) -> Table:
        """Return the counts as a table, one row for each primitive, the costliest first."""

        def row(name: str, tally: Tally) -> tuple[str | int, ...]:
            return (name, tally.runs, tally.flops, tally.transcendentals, tally.bytes)

        columns = [
            Column("primitive"),
            Column("runs", format_count),
            Column("FLOPs", format_count),
            Column("transcendentals", format_count),
            Column("memory traffic", format_bytes),
        ]
        ranked = sorted(
            self.by_primitive.items(), key=lambda item: (-item[1].flops, -item[1].bytes, item[0])
        )
        notes = [f"{name}: no rule, taken as one FLOP per result" for name in sorted(self.unknown)]
        notes += [
            f"{loop}: a loop of unknown length, taken once" for loop in sorted(self.unbounded)
        ]
        return Table(
            columns,
            [row(*item) for item in ranked],
            footer=[row("total", self._total)],
            notes=notes,
        )

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def flops(f: Callable[..., Any], *args: Any) -> Cost:
    """Count the operations of one call of a function, and the bytes that they move.

    Every operation that the outputs need counts as often as it runs. The rules:

    * A matrix product of ``m x k`` by ``k x n`` takes ``2 m n k`` FLOPs, a convolution 2 for each
      pair of a kernel entry and an image entry that meet (padding and the gaps of a dilated image
      do not count).
    * An elementwise operation takes one FLOP per entry of its result, whatever the dtype: add,
      divide, compare, select, a logical and. ``x ** n`` for a fixed integer n takes the products
      of repeated squaring.
    * exp, log, tanh, sqrt, pow and their like are counted apart, as ``transcendentals``.
    * A reduction of n numbers to one takes n - 1 FLOPs, a running sum and an argmax n, a window of
      k entries k - 1, adding n updates into an array n.
    * A sort of n numbers takes ``n ceil(log2 n)``, a Fourier transform ``5 n log2 n``, a triangular
      solve ``n ** 2`` per right-hand side, Cholesky ``n ** 3 / 3``, LU ``2 n ** 3 / 3``.
    * Copies, conversions, slices, transposes, gathers, concatenations and random bits take none.
    * Bytes are those of all array operands and results of each operation, as if nothing were fused:
      an upper bound. Slices and gathers read only what they return, updates write only
      what they change, and reshapes move nothing.
    * A scan takes the cost of its body times its length, a ``cond`` that of its costliest branch, a
      ``shard_map`` that of all devices together. The rounds of a ``while_loop`` cannot be known: it
      counts as one, and is listed in ``unbounded``.
    * Other primitives take one FLOP per entry of their results and are listed in ``unknown``.

    Args:
        f: Any function that JAX can trace.
        *args: Its arguments: pytrees of arrays or ShapeDtypeStructs.

    Returns:
        A :class:`Cost`.

    Example:
        >>> import jax.numpy as jnp
        >>> cost = flops(lambda w, x: jnp.tanh(x @ w), jnp.ones((4, 3)), jnp.ones((2, 4)))
        >>> cost.flops, cost.transcendentals
        (48, 6)
        >>> print(cost)
        primitive    runs  FLOPs  transcendentals  memory traffic
        -----------  ----  -----  ---------------  --------------
        dot_general     1     48                0           104 B
        tanh            1      0                6            48 B
        -----------  ----  -----  ---------------  --------------
        total           2     48                6           152 B
    """
    jaxpr = jax.make_jaxpr(f)(*args).jaxpr
    return cost_of(jaxpr, (True,) * len(jaxpr.outvars))


def cost_of(jaxpr: Jaxpr, used: Sequence[bool]) -> Cost:
    """Count what a jaxpr takes to compute some of its outputs.

    Args:
        jaxpr: The function.
        used: Which of its outputs are wanted.

    Returns:
        A :class:`Cost`, by the rules of :func:`flops`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> jaxpr = jax.make_jaxpr(lambda x: (x + x, jnp.sin(x) * x))(jnp.ones(10)).jaxpr
        >>> cost_of(jaxpr, [True, False]).flops
        10
    """
    parts: list[Cost] = []
    for eqn, bodies in live_equations(jaxpr, used):
        costs = [
            cost_of(body.jaxpr.jaxpr, mask) * (1 if body.trips is None else body.trips)
            for body, mask in bodies
        ]
        if not bodies:
            costs = [_cost_of_operation(eqn)]
        elif bodies[0][0].role == "branch":
            costs = [max(costs, key=lambda cost: (cost.flops, cost.transcendentals, cost.bytes))]
        parts += costs
        if any(body.trips is None for body, _ in bodies):
            parts.append(Cost(unbounded=frozenset([summarize(eqn.source_info)])))
    return _merged(parts)


def _merged(costs: Sequence[Cost]) -> Cost:
    by_primitive: dict[str, Tally] = {}
    for cost in costs:
        for name, tally in cost.by_primitive.items():
            by_primitive[name] = by_primitive.get(name, Tally()) + tally
    return Cost(
        by_primitive,
        frozenset().union(*(cost.unknown for cost in costs)),
        frozenset().union(*(cost.unbounded for cost in costs)),
    )


def _cost_of_operation(eqn: JaxprEqn) -> Cost:
    name, counts = eqn.primitive.name, count_operations(eqn)
    tally = Tally(1, counts.flops, counts.transcendentals, counts.bytes)
    return Cost({name: tally}, frozenset() if counts.known else frozenset([name]))
