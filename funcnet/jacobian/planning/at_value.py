"""Patterns at given numbers, instead of patterns for all numbers.

Half of the diagonal of a ReLU layer is 0, and of two branches one is not taken: which, only the
numbers tell. What they decide is little: where the factors of the linear program are 0, what its
choices and indices are, and which branches it takes. This much is read at the numbers, and the
structure of every operation follows from it as always; the digest of what was read tells for which
other numbers the same structure holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from funcnet.jacobian.linearization import LinearProgram, with_branches
from funcnet.jacobian.operations.table import deciding

__all__ = ["AtValue"]


class AtValue:
    """A linear program, and what becomes of it at given numbers."""

    def __init__(self, program: LinearProgram) -> None:
        self._program = program
        self._branching = [
            eqn
            for eqn in program.equations
            if eqn.primitive.name == "cond" and not program.is_linear(eqn.invars[0])
        ]
        self._branches: dict[tuple[int, ...], AtValue] = {}
        # Branches come first: which factors there are depends on them.
        self._asked: list[Any] = [eqn.invars[0] for eqn in self._branching] or deciding(program)
        self._read = jax.jit(self._numbers)

    def _numbers(self, *arrays: Any) -> list[Any]:
        read = self._program.environment(arrays)
        return [read(v) for v in self._asked]

    def at(self, arrays: Sequence[Any]) -> tuple[bytes, LinearProgram]:
        """The program at some arguments, and a digest that equal programs have in common."""
        # They are compared with 0 here, where numbers close to 0 are not taken for it.
        numbers = [np.asarray(x) for x in self._read(*arrays)]
        if self._branching:
            taken = tuple(int(i) for i in numbers)
            if taken not in self._branches:
                chosen = dict(zip(map(id, self._branching), taken, strict=True))
                self._branches[taken] = AtValue(with_branches(self._program, chosen))
            digest, program = self._branches[taken].at(arrays)
            return hashlib.blake2b(repr(taken).encode() + digest, digest_size=32).digest(), program
        exact = [x if x.dtype.kind in "biu" else None for x in numbers]
        nonzero = [x != 0 for x in numbers]
        made = hashlib.blake2b(digest_size=32)
        for x, mask in zip(exact, nonzero, strict=True):
            known = np.packbits(mask) if x is None or x.dtype == bool else x
            made.update(np.ascontiguousarray(known).tobytes())
        pairs = list(zip(self._asked, exact, strict=True))
        return made.digest(), self._program.at(
            {v: x for v, x in pairs if x is not None},
            dict(zip(self._asked, nonzero, strict=True)),
        )
