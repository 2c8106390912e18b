"""What a case is: a function whose Jacobian is wanted, at two sizes, and where it is nonzero.

It is written as

    @case(small, full, truth)
    def name(size, fixed, draw): ...

where `fixed` draws what belongs to the function, and `draw` its arguments. So the function is the
same whatever the seed, and `jax.vmap` can look at one function at many points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

__all__ = [
    "Case",
    "Draw",
    "band",
    "blocks",
    "case",
    "cases_of",
    "dense",
    "diagonal",
    "flat",
    "full",
    "lower",
    "selection",
]

Size = Literal["small", "full"]
Pattern = Callable[..., np.ndarray]


class Draw:
    """Seeded arrays of one dtype."""

    def __init__(self, seed: int, dtype: Any) -> None:
        self.rng, self.dtype = np.random.default_rng(seed), dtype

    def __call__(self, *shape: int) -> Any:
        return np.asarray(self.rng.normal(size=shape), self.dtype)

    def positive(self, *shape: int) -> Any:
        return np.asarray(self.rng.uniform(0.5, 1.5, size=shape), self.dtype)

    def integers(self, high: int, *shape: int) -> Any:
        return np.asarray(self.rng.integers(high, size=shape), np.int32)

    def network(self, *widths: int) -> list[tuple[Any, Any]]:
        return [(self(m, n) / self.dtype(m**0.5), self(n)) for m, n in pairwise(widths)]


@dataclass(frozen=True, eq=False)
class Case:
    """A function whose Jacobian is wanted.

    Attributes:
        name: What it is called.
        build: `build(size, fixed, draw)` gives the function and its arguments.
        sizes: The size for tests, and the one of measurements.
        truth: `truth(size)` says where an entry of the Jacobian is nonzero at some point, known
            without reading the program; rows are outputs and columns are inputs, their leaves one
            after another. None where it is not written down.
        exact_pattern: Whether whoever reads the program, operation by operation, can find `truth`
            and nothing besides; otherwise a superset is all that may be asked.
        argnums: The arguments that it is differentiated with respect to.
        has_forward: Whether `jax.jvp` can differentiate it.
        has_reverse: Whether `jax.vjp` can.
    """

    name: str
    build: Callable[..., tuple[Callable[..., Any], tuple[Any, ...]]]
    sizes: dict[str, Any]
    truth: Pattern | None = None
    exact_pattern: bool = False
    argnums: int | tuple[int, ...] = 0
    has_forward: bool = True
    has_reverse: bool = True

    def make(
        self, size: Size = "small", seed: int = 0, dtype: Any = np.float64
    ) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The function, which does not depend on the seed, and its arguments."""
        return self.build(self.sizes[size], Draw(20_000, dtype), Draw(seed, dtype))

    def pattern(self, size: Size = "small") -> np.ndarray | None:
        """Where the Jacobian can be nonzero, outputs by inputs."""
        return None if self.truth is None else np.asarray(self.truth(self.sizes[size]), bool)


def flat(
    f: Callable[..., Any], args: tuple[Any, ...], argnums: int | tuple[int, ...]
) -> tuple[Callable[..., Any], jax.Array]:
    """The same as a function of one vector that returns one vector, and that vector."""
    chosen = (argnums,) if isinstance(argnums, int) else argnums
    x, restore = ravel_pytree(tuple(args[i] for i in chosen))

    def of_vector(x: Any) -> Any:
        full = list(args)
        for i, value in zip(chosen, restore(x), strict=True):
            full[i] = value
        return ravel_pytree(f(*full))[0]

    return of_vector, x


def case(
    small: Any, full: Any, truth: Pattern | None = None, **options: Any
) -> Callable[..., Case]:
    """Make a case of its builder; a pattern that is given is exact unless said otherwise."""

    def make(build: Callable[..., Any]) -> Case:
        settings = {"exact_pattern": truth is not None, **options}
        return Case(build.__name__, build, {"small": small, "full": full}, truth, **settings)

    return make


def cases_of(namespace: dict[str, Any]) -> dict[str, Case]:
    """The cases that a module defines, by their names."""
    return {one.name: one for one in namespace.values() if isinstance(one, Case)}


# Patterns, from sizes.


def diagonal(n: Any) -> Any:
    return np.eye(n)


def full(*shape: int) -> Any:
    return lambda n: np.ones([n if m == -1 else m for m in shape])


def dense(n: Any) -> Any:
    return np.ones((n, n))


def lower(n: Any) -> Any:
    return np.tri(n)


def band(n: int, reach: int) -> Any:
    return np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= reach


def blocks(size: Any) -> Any:
    """Rows of a batch that do not see one another."""
    return np.kron(np.eye(size[0]), np.ones((size[-1], size[1])))


def selection(rows: Any, n: int) -> Any:
    return np.asarray(rows)[:, None] == np.arange(n)
