"""What a row of the table is: a rule, where to look at it, and what plain JAX says of it there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.rules import Rule

__all__ = ["Row"]


@dataclass(frozen=True, eq=False)
class Row:
    """One rule at one point.

    Attributes:
        name: The row, for the reader.
        rule: The rule.
        reference: The same function in plain JAX.
        args: Where; floating arrays are in float64, and random keys are keys.
        static: Static arguments.
        same_formula: JAX's derivative of the reference is the written one, so that both compile to
            programs of one cost.
        linear: The positions of the arguments that the function is linear in, one by one.
        empty: The positions of the arguments that may have a first axis of length 0, together; None
            for all.
        without: Laws, by the names of their tests, that do not apply.
    """

    name: str
    rule: Rule
    reference: Callable[..., Any]
    args: tuple[Any, ...]
    static: dict[str, Any] = field(default_factory=dict)
    same_formula: bool = False
    linear: tuple[int, ...] = ()
    empty: tuple[int, ...] | None = None
    without: tuple[str, ...] = ()

    def arguments(self, dtype: Any = jnp.float64) -> tuple[Any, ...]:
        """The arguments, with floating ones in a dtype."""

        def cast(leaf: Any) -> jax.Array:
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                return leaf
            kinds = {"f": dtype, "i": jnp.int32, "b": jnp.bool_}
            return jnp.asarray(leaf, kinds[leaf.dtype.kind])

        return jax.tree.map(cast, self.args)

    def apply(self, *args: Any) -> Any:
        """Call the rule."""
        named = dict(zip(self.rule.argument_names, args, strict=True))
        return self.rule(**named, **self.static)

    def apply_twin(self, *args: Any) -> Any:
        """Call the rule as a plain `jax.custom_vjp` function."""
        named = dict(zip(self.rule.argument_names, args, strict=True))
        return self.rule.custom_vjp(**named, **self.static)

    def apply_reference(self, *args: Any) -> Any:
        """Call the plain function."""
        return self.reference(*(a for a in args if a is not None), **self.static)

    @property
    def moving(self) -> tuple[int, ...]:
        """The positions of the arguments that have derivatives."""

        def moves(position: int) -> bool:
            leaves = jax.tree.leaves(self.args[position])
            stated = all(
                self.rule.is_joint(kind) or getattr(self.rule, kind)[position] is not None
                for kind in ("jvp", "vjp")
            )
            return stated and any(leaf.dtype == np.float64 for leaf in leaves)

        return tuple(filter(moves, range(len(self.args))))
