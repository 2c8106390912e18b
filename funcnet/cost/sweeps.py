"""How the cost of each mode grows with the size of a problem, and where one overtakes the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from funcnet.cost.comparison import Progress, compare_modes
from funcnet.cost.report import Comparison, ModeCost
from funcnet.cost.ways import WAYS, check_ways
from funcnet.errors import ArgumentError
from funcnet.report import Column, Table, format_bytes, format_count, format_seconds

__all__ = ["Quantity", "Sweep", "SweepPoint", "crossover", "sweep"]

Quantity: TypeAlias = Literal["operations", "bytes", "seconds", "kept_bytes", "temp_bytes"]
"""What grows: counted operations, memory traffic, the measured time, what reverse mode keeps, or
the temporary memory of the compiled program."""

_FORMATS: dict[str, Callable[[float], str]] = {
    "operations": format_count,
    "bytes": format_bytes,
    "seconds": format_seconds,
    "kept_bytes": format_bytes,
    "temp_bytes": format_bytes,
}
_JACOBIANS = ("forward Jacobian", "reverse Jacobian")


@dataclass(frozen=True)
class SweepPoint:
    """The costs at one size.

    Attributes:
        size: The size.
        costs: What each way costs there.
    """

    size: float
    costs: Comparison


@dataclass(frozen=True)
class Sweep:
    """What the ways to differentiate a function cost at several sizes. It prints itself as a table.

    Attributes:
        label: What the size is, such as ``"inputs"``.
        points: The sizes, in ascending order, with the costs.
        ways: What was compared besides the function alone.
    """

    label: str
    points: tuple[SweepPoint, ...]
    ways: tuple[str, ...]

    @property
    def sizes(self) -> list[float]:
        """The sizes."""
        return [point.size for point in self.points]

    @property
    def is_measured(self) -> bool:
        """Whether there are times."""
        return any(value is not None for way in self.ways for value in self.values(way, "seconds"))

    def values(self, way: str, quantity: Quantity) -> list[float | None]:
        """One quantity of one way, at each size.

        Args:
            way: The way.
            quantity: What to look at.

        Returns:
            The numbers, None where there is none.
        """
        if quantity not in _FORMATS:
            raise ArgumentError(f"Sweep: {quantity!r} is none of {', '.join(map(repr, _FORMATS))}.")
        if way not in (*self.ways, "primal"):
            raise ArgumentError(
                f"Sweep: {way!r} was not compared; there are {', '.join(map(repr, self.ways))}."
            )
        rows = [point.costs.get(way) for point in self.points]
        return [None if row is None else _value(row, quantity) for row in rows]

    def table(self, by: Quantity | None = None) -> Table:
        """One quantity of all ways, and what reverse mode keeps, at each size.

        Args:
            by: The quantity; None for the time, or the operations if nothing was measured.

        Returns:
            The table.
        """
        quantity: Quantity = by or ("seconds" if self.is_measured else "operations")
        kept = [way for way in self.ways if any(self.values(way, "kept_bytes"))]
        if quantity == "kept_bytes":
            kept = []
        shown = [self.values(way, quantity) for way in self.ways]
        shown += [self.values(way, "kept_bytes") for way in kept]
        form = _FORMATS[quantity]
        columns = [
            Column(self.label),
            *(Column(w) for w in ("inputs", "outputs") if w != self.label),
            *(Column(way, form) for way in self.ways),
            *(Column(f"kept by {way}", format_bytes) for way in kept),
        ]
        rows = []
        for point, *numbers in zip(self.points, *shown, strict=True):
            counts = {"inputs": point.costs.inputs, "outputs": point.costs.outputs}
            counts.pop(self.label, None)
            rows.append((_whole(point.size), *counts.values(), *numbers))
        return Table(columns, rows, title=f"{quantity.replace('_', ' ')} by {self.label}",
                     notes=list(self._notes(quantity)))  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        points = [{"size": p.size, **p.costs.to_dict()} for p in self.points]
        return {"label": self.label, "ways": list(self.ways), "points": points}

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def _notes(self, quantity: Quantity) -> Iterator[str]:
        if all(way in self.ways for way in _JACOBIANS):
            at = crossover(self, by=quantity)
            if at is not None:
                yield f"forward and reverse cost the same at {self.label} = {at:,.4g}"


def sweep(
    f_of_size: Callable[[Any], tuple[Callable[..., Any], tuple[Any, ...]]],
    sizes: Sequence[float],
    *,
    label: str = "size",
    argnums: int | Sequence[int] = 0,
    ways: Sequence[str] = _JACOBIANS,
    measure: bool = True,
    rounds: int = 11,
    seconds: float = 1.0,
    max_bytes: int = 1 << 30,
    policy: Callable[..., bool] | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Compare the ways to differentiate a function at several sizes.

    Args:
        f_of_size: Takes a size, and returns a function and the tuple of its arguments.
        sizes: The sizes: positive numbers, such as the inputs, the outputs or the depth.
        label: What the size is.
        argnums: The arguments to differentiate with respect to, as for ``jax.grad``.
        ways: What to compare, of `WAYS`.
        measure: Whether to compile and run the ways, or only count.
        rounds: The most rounds to take times in, at each size.
        seconds: About how long taking times may take, at each size.
        max_bytes: The most memory that a way may take.
        policy: What the checkpointed VJP keeps, as for ``jax.checkpoint``.
        progress: Is told how far it is.

    Returns:
        A :class:`Sweep`, in ascending order of the sizes.

    Raises:
        ArgumentError: There are no sizes, or one is not positive or is there twice; `f_of_size`
            returns something else; and what :func:`compare_modes` refuses.

    Example:
        >>> import jax.numpy as jnp
        >>> def twenty_outputs(n):
        ...     w = jnp.ones((20, n))
        ...     return (lambda x: jnp.sin(w @ x)), (jnp.ones(n),)
        >>> found = sweep(twenty_outputs, [5, 10, 20, 40], label="inputs", measure=False)
        >>> print(found)
        operations by inputs
        inputs  outputs  forward Jacobian  reverse Jacobian  kept by reverse Jacobian
        ------  -------  ----------------  ----------------  ------------------------
             5       20            1.39 k             5.44 k                     80 B
            10       20            4.84 k             9.64 k                     80 B
            20       20              18 k               18 k                     80 B
            40       20            69.6 k             34.8 k                     80 B
        forward and reverse cost the same at inputs = 20
    """
    check_ways("sweep", ways)
    ordered = sorted(sizes)
    if not ordered:
        raise ArgumentError("sweep: there are no sizes; give some, as in [10, 100, 1000].")
    for i, size in enumerate(ordered):
        if not (math.isfinite(size) and size > 0) or size in ordered[:i]:
            raise ArgumentError(
                f"sweep: sizes has {size!r}; they must be positive, and each there once."
            )
    points = []
    for i, size in enumerate(ordered):
        f, args = _made(f_of_size, size)
        costs = compare_modes(
            f,
            *args,
            argnums=argnums,
            ways=ways,
            measure=measure,
            rounds=rounds,
            seconds=seconds,
            max_bytes=max_bytes,
            policy=policy,
            progress=None if progress is None else _part(progress, i, ordered, label),
        )
        points.append(SweepPoint(size, costs))
    return Sweep(label, tuple(points), tuple(way for way in WAYS if way in ways))


def crossover(
    costs: Sweep,
    first: str = "forward Jacobian",
    second: str = "reverse Jacobian",
    *,
    by: Quantity = "operations",
) -> float | None:
    """The size from which on one way is cheaper than another that was cheaper before.

    Between two sizes, costs are taken to grow as a power of the size.

    Args:
        costs: The costs at several sizes.
        first: One way.
        second: The other.
        by: The quantity to compare.

    Returns:
        The smallest size at which both cost the same; None if the cheaper one stays so.

    Raises:
        ArgumentError: One of the ways, or such a quantity, is not there.

    Example:
        >>> import jax.numpy as jnp
        >>> square = lambda n: ((lambda x: jnp.ones((50, n)) @ x), (jnp.ones(n),))
        >>> found = sweep(square, [10, 30, 100], label="inputs", measure=False)
        >>> round(crossover(found))
        50
    """
    pairs = [
        (size, math.log(a / b))
        for size, a, b in zip(
            costs.sizes, costs.values(first, by), costs.values(second, by), strict=True
        )
        if a and b
    ]
    for (size, before), (next_size, after) in pairwise(pairs):
        if before == 0:
            return float(size)
        if before * after < 0:
            return float(size * (next_size / size) ** (before / (before - after)))
    return float(pairs[-1][0]) if pairs and pairs[-1][1] == 0 else None


def _made(f_of_size: Callable[[Any], Any], size: float) -> tuple[Callable[..., Any], Any]:
    made = f_of_size(size)
    if not (isinstance(made, tuple) and len(made) == 2 and callable(made[0])
            and isinstance(made[1], tuple)):  # fmt: skip
        raise ArgumentError(
            f"sweep: f_of_size({size!r}) returned a {type(made).__name__}; it must return a "
            "function and the tuple of its arguments, as in (f, (x,))."
        )
    return made


def _part(progress: Progress, i: int, sizes: Sequence[float], label: str) -> Progress:
    def tell(done: float, text: str) -> None:
        progress((i + done) / len(sizes), f"{label} {sizes[i]:,}: {text}")

    return tell


def _value(row: ModeCost, quantity: Quantity) -> float | None:
    if quantity == "operations":
        return row.operations
    if quantity == "bytes":
        return row.cost.bytes
    if quantity == "kept_bytes":
        return row.kept_bytes
    if row.measured is None:
        return None
    if quantity == "temp_bytes":
        return row.measured.temp_bytes
    return None if row.measured.seconds is None else row.measured.seconds.median


def _whole(size: float) -> float:
    return int(size) if size == int(size) else size
