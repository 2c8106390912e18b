"""How much more than its function a derivative may take: Griewank's bounds.

A program of additions, products and functions such as sin is differentiated operation by operation,
so that no derivative can take more than a fixed multiple of the program, whatever it computes. With
memory moves counted too, the value with p tangents takes at most 1 + 1.5 p times the value alone,
and the value with q gradients 1.5 + 2.5 q times: 2.5 and 4 for one of each. In arithmetic alone,
which is what a jaxpr tells, a product and the addition after it take 2 operations, and 4 more for
each tangent; a product takes 1, and for each gradient 2 products and 2 additions more. So the upper
ends here are 1 + 2 p and 1 + 4 q: 3 and 5.

A derivative that takes more has something to tell: a rule that costs more than it should, an index
that is differentiated into an array of zeros, a product of two arrays that both move (4 operations
for 1, with its tangent) without an addition after it.

A. Griewank and A. Walther, Evaluating Derivatives, 2nd edition, SIAM 2008, chapter 4.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Bound", "gradient_bound", "tangent_bound"]

_SLACK = 1.05
"""Sums of lower order, such as those of two matrix products, do not count as a violation."""


class Bound(NamedTuple):
    """What a derivative with its value may take, in multiples of the value alone.

    Attributes:
        low: The bound where memory moves count.
        high: The bound for arithmetic alone.
    """

    low: float
    high: float

    def is_exceeded(self, multiple: float) -> bool:
        """Whether a multiple is above the bound by more than rounding."""
        return multiple > _SLACK * self.high

    def __add__(self, more: object) -> Bound:
        if not isinstance(more, int | float):
            return NotImplemented
        return Bound(self.low + more, self.high + more)

    def __str__(self) -> str:
        return f"{self.low:,g} to {self.high:,g}"


def tangent_bound(directions: int) -> Bound:
    """Bound the value of a function together with its derivative in several directions.

    Args:
        directions: How many tangents go through the function.

    Returns:
        The :class:`Bound`.

    Example:
        >>> print(tangent_bound(1))
        2.5 to 3
    """
    return Bound(1 + 1.5 * directions, 1 + 2 * directions)


def gradient_bound(weights: int) -> Bound:
    """Bound the value of a function together with the gradients of several sums of its outputs.

    Args:
        weights: How many cotangents go back through the function.

    Returns:
        The :class:`Bound`.

    Example:
        >>> print(gradient_bound(1))
        4 to 5
    """
    return Bound(1.5 + 2.5 * weights, 1 + 4 * weights)
