"""A Jacobian as a linear operator, which never forms the matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.errors import ShapeError

__all__ = ["JacobianOperator"]


class JacobianOperator:
    """The Jacobian of a function at one point, by its products with vectors.

    Vectors are pytrees: those of the input have the structure of the differentiated argument, or of
    a tuple of them, those of the output that of the function's output.

    Attributes:
        shape: The number of entries of the output and of the input.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        primals: Sequence[Any],
        single: bool,
        diagonal: Callable[[], Any],
        todense: Callable[[], Any],
    ) -> None:
        self._f, self._primals, self._single = f, tuple(primals), single
        self._diagonal, self._todense = diagonal, todense
        self._out = jax.eval_shape(f, *primals)
        self.shape = (_count(self._out), _count(self._primals))

    @cached_property
    def _push(self) -> Callable[..., Any]:
        return jax.linearize(self._f, *self._primals)[1]

    @cached_property
    def _pull(self) -> Callable[..., Any]:
        return jax.vjp(self._f, *self._primals)[1]

    def mv(self, tangent: Any) -> Any:
        """The product with a vector of the input, ``J v``: one forward pass.

        Args:
            tangent: A pytree like the differentiated argument.

        Returns:
            A pytree like the output.
        """
        given = (tangent,) if self._single else tuple(tangent)
        _check("mv", given, self._primals)
        return self._push(*given)

    def rmv(self, cotangent: Any) -> Any:
        """The product of the transpose with a vector of the output, ``J^T u``: one backward pass.

        Args:
            cotangent: A pytree like the output.

        Returns:
            A pytree like the differentiated argument.
        """
        _check("rmv", cotangent, self._out)
        pulled = self._pull(cotangent)
        return pulled[0] if self._single else pulled

    def diagonal(self) -> Any:
        """The diagonal of a square Jacobian, as an array of the shape of the input."""
        return self._diagonal()

    def todense(self) -> Any:
        """The full Jacobian, as ``jacobian(f)`` returns it."""
        return self._todense()

    def __repr__(self) -> str:
        return f"JacobianOperator(shape={self.shape})"


def _count(tree: Any) -> int:
    return sum(math.prod(jnp.shape(x)) for x in jax.tree.leaves(tree))


def _check(method: str, given: Any, wanted: Any) -> None:
    ours, theirs = (jax.tree.map(jnp.shape, tree) for tree in (given, wanted))
    trees: list[Any] = [jax.tree.structure(tree) for tree in (given, wanted)]
    if trees[0] != trees[1] or ours != theirs:
        raise ShapeError(
            f"JacobianOperator.{method}: the vector has shapes {ours}, but {theirs} are wanted."
        )
