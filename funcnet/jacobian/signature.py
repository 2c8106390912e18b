"""A call of a function, taken apart into arrays and put together again.

Plans are about lists of arrays; functions take and return pytrees. What is in between is here:
which arguments are differentiated, what their leaves are called, and the checks that a Jacobian
needs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.errors import ArgumentError, DTypeError
from funcnet.jaxprs import argument_paths

__all__ = ["Call"]


class Call:
    """One call of a function, with arrays or anything that has a shape and a dtype.

    Attributes:
        leaves: The arrays to differentiate with respect to.
        others: The other arrays.
        key: What tells calls apart that need different plans.
    """

    def __init__(
        self,
        function: str,
        f: Callable[..., Any],
        argnums: int | Sequence[int],
        args: Sequence[Any],
        named: Mapping[str, Any] | None = None,
        has_aux: bool = False,
    ) -> None:
        self._function, self._f, self._has_aux = function, f, has_aux
        self.out_tree: Any = None
        self.aux_tree: Any = None
        self.out_avals: list[Any] = []
        self._aux_is_array: list[bool] = []
        self._aux_fixed: list[Any] = []
        self.single = isinstance(argnums, int | np.integer)
        self._argnums = _normalized(function, argnums, len(args))
        self._count = len(args)
        chosen = [args[i] for i in self._argnums]
        rest = [x for i, x in enumerate(args) if i not in self._argnums], dict(named or {})
        self._args = args
        self.in_tree: Any
        self.leaves, self.in_tree = jax.tree.flatten(chosen)
        self._rest_tree: Any
        rest_leaves, self._rest_tree = jax.tree.flatten(rest)
        # Python's own numbers stay what they are, as shapes and exponents need them.
        self._is_array = [_is_array(x) and not _is_number(x) for x in rest_leaves]
        sorted_out = list(zip(rest_leaves, self._is_array, strict=True))
        self.others = [x for x, is_array in sorted_out if is_array]
        self._fixed = [x for x, is_array in sorted_out if not is_array]
        if not all(map(_is_array, self.leaves)):
            self.check()
        self.avals = [_aval(x) for x in self.leaves]
        self.other_avals = [_aval(x) for x in self.others]
        shapes = [(a.shape, a.dtype, a.weak_type) for a in (*self.avals, *self.other_avals)]
        trees = self.in_tree, self._rest_tree
        self.key = (trees, tuple(shapes), tuple(map(_identity, self._fixed)))

    @cached_property
    def names(self) -> list[str]:
        """A readable name for each of the arrays to differentiate with respect to."""
        paths = _paths(self._f, self._args)
        return [name for i in self._argnums for name in paths[i]]

    def again(self, args: Sequence[Any], named: Mapping[str, Any]) -> Call:
        """Another call of the same function."""
        argnums = self._argnums[0] if self.single else self._argnums
        return Call(self._function, self._f, argnums, args, named, self._has_aux)

    def of(self, f: Callable[..., Any]) -> Call:
        """The same call of a function that returns something besides where this one does."""
        other = copy.copy(self)
        other._f = f
        return other

    def recorded(self) -> dict[str, Any]:
        """What a saved plan says of its arguments; equal for calls that one plan serves."""
        shapes = [
            [str(a.dtype), list(a.shape), bool(a.weak_type)] for a in self.avals + self.other_avals
        ]
        plain = bool, int, float, str, type(None)
        return {
            "names": self.names,
            "arrays": shapes,
            "trees": [str(self.in_tree), str(self._rest_tree)],
            "others": [repr(x) if isinstance(x, plain) else type(x).__name__ for x in self._fixed],
        }

    @property
    def argnums(self) -> int | list[int]:
        """The arguments to differentiate with respect to, as they were named."""
        return self._argnums[0] if self.single else list(self._argnums)

    @property
    def itemsize(self) -> int:
        """The bytes of an entry of the Jacobian."""
        return max([a.dtype.itemsize for a in self.avals], default=4)

    @property
    def dtype(self) -> Any:
        """The widest dtype among inputs and outputs."""
        dtypes = [a.dtype for a in [*self.avals, *self.out_avals]]
        return max(dtypes, key=lambda d: jnp.finfo(d).bits, default=np.dtype(np.float32))

    def described(self) -> str:
        """The shapes and dtypes of what is differentiated."""
        return ", ".join(
            f"{name} {a.dtype}{list(a.shape)}"
            for name, a in zip(self.names, self.avals, strict=True)
        )

    def flat(self, *arrays: Any) -> tuple[list[Any], list[Any]]:
        """The function from arrays to arrays: what is differentiated, and what comes besides."""
        n = len(self.leaves)
        given = iter(arrays[n:])
        fixed = iter(self._fixed)
        rest = [next(given) if is_array else next(fixed) for is_array in self._is_array]
        chosen = self.in_tree.unflatten(arrays[:n])
        unchosen, named = self._rest_tree.unflatten(rest)
        others = iter(unchosen)
        args = [
            chosen[self._argnums.index(i)] if i in self._argnums else next(others)
            for i in range(self._count)
        ]
        y = self._f(*args, **named)
        aux = None
        if self._has_aux:
            if not (isinstance(y, tuple) and len(y) == 2):
                raise ArgumentError(
                    f"{self._function}: has_aux=True, but f returned {type(y).__name__} instead of "
                    "a pair of an output and something else."
                )
            y, aux = y
        outs, self.out_tree = jax.tree.flatten(y)
        aux_leaves, self.aux_tree = jax.tree.flatten(aux)
        outs = [jnp.asarray(x) for x in outs]
        self._check_outputs(y, outs)
        self.out_avals = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in outs]
        self._aux_is_array = [_is_array(x) for x in aux_leaves]
        self._aux_fixed = [x for x in aux_leaves if not _is_array(x)]
        return outs, [x for x in aux_leaves if _is_array(x)]

    def aux_of(self, arrays: Sequence[Any]) -> Any:
        """What the function returned besides, from the arrays in it."""
        given, fixed = iter(arrays), iter(self._aux_fixed)
        leaves = [next(given) if is_array else next(fixed) for is_array in self._aux_is_array]
        return self.aux_tree.unflatten(leaves)

    def tree_of(self, rows: Sequence[Sequence[Any]]) -> Any:
        """The pytree of a Jacobian, of a row for each output and a column for each input."""
        made = []
        for row in rows:
            inputs = self.in_tree.unflatten(row)
            made.append(inputs[0] if self.single else tuple(inputs))
        return self.out_tree.unflatten(made)

    def check(self) -> None:
        """Raise where there is nothing to differentiate, or something without a derivative."""
        if not self._argnums:
            raise ArgumentError(f"{self._function}: argnums is empty; name at least one argument.")
        for name, x in zip(self.names, self.leaves, strict=True):
            if not _is_array(x):
                raise DTypeError(
                    f"{self._function}: {name} is {type(x).__name__}, which is not an array. Name "
                    "the arguments to differentiate in argnums."
                )
            dtype = _aval(x).dtype
            if jnp.issubdtype(dtype, jnp.complexfloating):
                raise DTypeError(
                    f"{self._function}: {name} is {dtype}. Jacobians here are those of real "
                    "functions: pass real and imaginary part as two arguments."
                )
            if not jnp.issubdtype(dtype, jnp.floating):
                raise DTypeError(
                    f"{self._function}: {name} is {dtype}, and only floating-point arguments have "
                    "derivatives. Convert it, or leave it out of argnums."
                )

    def _check_outputs(self, y: Any, outs: Sequence[Any]) -> None:
        paths = [p for p, _ in jax.tree_util.tree_leaves_with_path(y)]
        for path, x in zip(paths, outs, strict=True):
            if not jnp.issubdtype(x.dtype, jnp.floating):
                what = "output" + jax.tree_util.keystr(path)
                way = (
                    "Return its real and imaginary part."
                    if jnp.issubdtype(x.dtype, jnp.complexfloating)
                    else "Return it besides, with has_aux=True."
                )
                raise DTypeError(
                    f"{self._function}: the {what} of f is {x.dtype}, which has no real "
                    f"derivative. {way}"
                )


def _normalized(function: str, argnums: int | Sequence[int], count: int) -> tuple[int, ...]:
    wanted = (argnums,) if isinstance(argnums, int | np.integer) else tuple(argnums)
    for i in wanted:
        if not isinstance(i, int | np.integer) or not -count <= i < count:
            raise ArgumentError(
                f"{function}: argnums={argnums!r}, but f was given {count} "
                f"argument{'s' if count != 1 else ''}."
            )
    positions = tuple(int(i) % count for i in wanted)
    if len(set(positions)) < len(positions):
        raise ArgumentError(f"{function}: argnums={argnums!r} names an argument twice.")
    return positions


def _paths(f: Callable[..., Any], args: Sequence[Any]) -> list[list[str]]:
    """The names of the leaves of each argument."""
    flat = iter(argument_paths(f, args))
    return [[next(flat) for _ in jax.tree.leaves(x)] for x in args]


def _is_array(x: Any) -> bool:
    return _is_number(x) or (hasattr(x, "dtype") and hasattr(x, "shape"))


def _is_number(x: Any) -> bool:
    return type(x) in (bool, int, float, complex)


def _aval(x: Any) -> Any:
    if isinstance(x, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, weak_type=x.weak_type)
    return jax.typeof(x)


def _identity(x: Any) -> Any:
    """Equal objects of one type, where that can be told, else the object itself."""
    try:
        hash(x)
    except TypeError:
        return id(x)
    return type(x), x
