"""Define by run: a graph that grows while an ordinary Python program computes.

Operations on `Variable` objects happen at once and are recorded, so that ``if``, ``for`` and
``while`` work on the numbers at hand. Gradients can be taken at any time, the program can go on,
and gradients can be taken again. The tape is the only thing in this room that changes.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import source_info_util

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.graph.builder import Builder, Place
from funcnet.graph.graph import Graph
from funcnet.graph.sweeps import carriers, pullback
from funcnet.graph.tracing import traced
from funcnet.typing import ArrayLike, PyTree

__all__ = ["Tape", "Variable"]


def _operator(function: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """An operator with the variable on its left, and on its right."""
    return (
        lambda self, other: self.tape(function, self, other),
        lambda self, other: self.tape(function, other, self),
    )


class Variable:
    """A value on a tape; made by `Tape`, and by operations on other variables.

    Operators and the functions of ``jax.numpy`` as methods, ``x.tanh()``, ``x.sum(axis=0)``, record
    themselves; ``float(x)``, ``bool(x)`` and comparisons in an ``if`` use the value at hand.
    """

    __array_ufunc__ = None  # NumPy's operators leave theirs to these, its functions refuse

    def __init__(self, tape: Tape, index: int) -> None:
        self.tape = tape
        self._index, self._builder = index, tape._builder

    @property
    def index(self) -> int:
        """Which node of the tape it is."""
        if self._builder is not self.tape._builder:
            raise ArgumentError(
                "Tape: this variable was released; keep those that are needed later, "
                "tape.release(h, w)"
            )
        return self._index

    @property
    def value(self) -> Any:
        """Its value, an array."""
        return self.tape._builder.values[self.index]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        return self.value.ndim

    @property
    def size(self) -> int:
        """The number of its entries."""
        return self.value.size

    @property
    def dtype(self) -> Any:
        """Its dtype."""
        return self.value.dtype

    @property
    def T(self) -> Any:
        """It, transposed."""
        return self.tape(jnp.transpose, self)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def named(self, name: str) -> Variable:
        """Call the node by a name, in graphs of the tape."""
        self.tape._builder.renamed[self.index] = name
        return self

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_") or not (hasattr(jax.Array, name) or hasattr(jnp, name)):
            raise AttributeError(f"Variable has no {name!r}, and jax.numpy has no such function")

        def method(x: Any, *args: Any, **kwargs: Any) -> Any:
            # Where both exist, the array's own takes what a reader of arrays expects.
            own = getattr(x, name, None)
            return (
                own(*args, **kwargs) if own is not None else getattr(jnp, name)(x, *args, **kwargs)
            )

        return lambda *args, **kwargs: self.tape(method, self, *args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return self.tape(lambda x, k: x[k], self, key)

    def __repr__(self) -> str:
        return f"Variable({self.value})"

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __neg__(self) -> Any:
        return self.tape(operator.neg, self)

    def __abs__(self) -> Any:
        return self.tape(operator.abs, self)

    __add__, __radd__ = _operator(operator.add)
    __sub__, __rsub__ = _operator(operator.sub)
    __mul__, __rmul__ = _operator(operator.mul)
    __truediv__, __rtruediv__ = _operator(operator.truediv)
    __pow__, __rpow__ = _operator(operator.pow)
    __matmul__, __rmatmul__ = _operator(operator.matmul)
    __mod__, __rmod__ = _operator(operator.mod)
    __lt__, __gt__ = _operator(operator.lt)
    __le__, __ge__ = _operator(operator.le)
    # A comparison gives a variable, as with arrays, so that variables have no hash.
    __eq__, _ = _operator(operator.eq)
    __ne__, _ = _operator(operator.ne)
    __hash__ = None  # type: ignore[assignment]


@dataclass
class _Sweep:
    """The adjoints of one backward sweep.

    It stops at targets of earlier sweeps, and keeps their adjoints instead.
    """

    adjoint: dict[int, Any] = field(default_factory=dict)
    through: dict[int, Any] = field(default_factory=dict)


class Tape:
    """A graph that is recorded while a program runs.

    Attributes:
        visited: How many operations backward sweeps have visited so far.

    Example:
        >>> from funcnet.graph import Tape
        >>> tape = Tape()
        >>> x = tape.input(2.0, "x")
        >>> y = x
        >>> while y < 50.0:  # an ordinary loop: the graph is what was run
        ...     y = y * x
        >>> float(y), float(tape.gradient(y, x))
        (64.0, 192.0)
        >>> z = y.log() + x  # go on, and ask again
        >>> float(tape.gradient(z, x))
        4.0
    """

    def __init__(self) -> None:
        self._builder = Builder("tape", unroll=True)
        self._sweeps: dict[int, _Sweep] = {}
        self._active: set[int] = set()
        self._seen = 0
        self._is_tracing = False
        self.visited = 0

    def __len__(self) -> int:
        """The number of nodes."""
        return len(self._builder.nodes)

    def input(self, value: ArrayLike, name: str = "") -> Variable:
        """Put a value on the tape that no operation computed.

        Args:
            value: An array or a number.
            name: What graphs call it; x1, x2, ... by default.

        Returns:
            The variable.
        """
        array = jnp.asarray(value)
        name = name or f"x{sum(n.kind == 'input' for n in self._builder.nodes) + 1}"
        return Variable(self, self._builder.given("input", name, array, array))

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a function of arrays on variables, and record what it does.

        Args:
            function: Any function that JAX can trace; loops and branches in it are followed.
            *args: Variables, or pytrees of them; everything else is a constant.
            **kwargs: Likewise.

        Returns:
            What the function returns, with variables in the places of arrays.
        """
        leaves: list[Any]
        tree: Any
        leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=_is_variable)
        variables = [leaf for leaf in leaves if isinstance(leaf, Variable)]
        if self._is_tracing:
            raise ArgumentError(
                "Tape: a function on the tape used a variable that is none of its arguments; "
                "pass it as one: tape(f, x, w)"
            )
        if any(v.tape is not self for v in variables):
            raise ArgumentError("Tape: a variable of another tape cannot be used on this one")

        def closed(*values: Any) -> Any:
            given = iter(values)
            filled = [next(given) if isinstance(x, Variable) else x for x in leaves]
            positional, named = tree.unflatten(filled)
            return function(*positional, **named)

        self._is_tracing = True
        try:
            name = getattr(function, "__name__", "function")
            jaxpr, shapes = traced(name, closed, [v.value for v in variables])
        finally:
            self._is_tracing = False
        place = Place(source=source_info_util.summarize(source_info_util.current()))
        atoms = self._builder.add(jaxpr, [v.index for v in variables], place)
        made = [Variable(self, self._builder.node_of(atom)) for atom in atoms]
        out_tree: Any = jax.tree.structure(shapes)
        return out_tree.unflatten(made)

    def gradient(self, target: Variable, sources: PyTree) -> PyTree:
        """The gradient of one number by variables.

        Only what was recorded since an earlier gradient is visited where the way back leads
        through the target of that gradient: its adjoints are known, and are scaled.

        Args:
            target: A single number.
            sources: Variables, in any pytree.

        Returns:
            The gradients, in the same pytree; zeros for what the target does not depend on.

        Raises:
            ShapeError: The target is no single number.
            DTypeError: It is an integer.
            ArgumentError: A variable was released, or is none of this tape.
        """
        every = [target, *jax.tree.leaves(sources, is_leaf=_is_variable)]
        if any(not _is_variable(v) or v.tape is not self for v in every):
            raise ArgumentError("Tape.gradient: target and sources must be variables of this tape")
        if not jnp.issubdtype(target.dtype, jnp.inexact):
            raise DTypeError(f"Tape.gradient: the target must be floating, got {target.dtype}")
        if target.shape:
            raise ShapeError(
                f"Tape.gradient: the target must be one number, got shape {target.shape}; sum it up"
            )
        if target.index not in self._sweeps:
            self._sweeps[target.index] = self._swept(target)
        return jax.tree.map(
            lambda source: self._adjoint(target.index, source),
            sources,
            is_leaf=_is_variable,
        )

    def _swept(self, target: Variable) -> _Sweep:
        """Go back from a target, up to inputs and to targets whose adjoints are known."""
        sweep = _Sweep({target.index: jnp.ones_like(target.value)})
        active = self._active_nodes()
        for index in range(target.index, -1, -1):
            if index not in sweep.adjoint:
                continue
            if index in self._sweeps:
                sweep.through[index] = sweep.adjoint.pop(index)
                continue
            node, values = self._builder.nodes[index], self._builder.values
            self.visited += node.operation is not None
            for parent, part in pullback(node, values, sweep.adjoint[index], active).items():
                sweep.adjoint[parent] = sweep.adjoint.get(parent, 0) + part
        return sweep

    def _active_nodes(self) -> set[int]:
        """The nodes that depend on an input in a way that has a derivative; grows with the tape."""
        for node in self._builder.nodes[self._seen :]:
            is_source = node.kind == "input" and node.differentiable
            if is_source or any(parent in self._active for parent in carriers(node)):
                self._active.add(node.index)
        self._seen = len(self._builder.nodes)
        return self._active

    def _adjoint(self, target: int, source: Variable) -> Any:
        """Add up what reaches a source in this sweep, and through the targets of earlier ones."""
        total, factors = jnp.zeros_like(source.value), {target: jnp.ones(())}
        while factors:
            last = max(factors)
            sweep, factor = self._sweeps[last], factors.pop(last)
            if source.index in sweep.adjoint:
                total = total + (factor * sweep.adjoint[source.index]).astype(total.dtype)
            for earlier, adjoint in sweep.through.items():
                factors[earlier] = factors.get(earlier, 0) + factor * adjoint
        return total

    def release(self, *kept: Variable) -> None:
        """Forget everything but the values of some variables, which become inputs.

        Gradients then end at them: this is how backpropagation through time is truncated, and
        how a long program stays within memory. Other variables can no longer be used.

        Args:
            *kept: The variables that are needed later.
        """
        if any(not _is_variable(v) or v.tape is not self for v in kept):
            raise ArgumentError("Tape.release: what is kept must be variables of this tape")
        names, places = self._builder.names_so_far(), [v.index for v in kept]
        values = {index: self._builder.values[index] for index in places}
        self._builder, self._sweeps = Builder("tape", unroll=True), {}
        self._active, self._seen = set(), 0
        moved = {i: self.input(value, names.get(i, ""))._index for i, value in values.items()}
        for variable, place in zip(kept, places, strict=True):
            variable._index, variable._builder = moved[place], self._builder

    def graph(self, *outputs: Variable) -> Graph:
        """What is recorded so far, as a graph that does not change.

        Args:
            *outputs: Its outputs.

        Returns:
            A graph whose arguments are the inputs of the tape, in order.
        """
        inputs = [node.index for node in self._builder.nodes if node.kind == "input"]
        in_tree = jax.tree.structure(tuple(0 for _ in inputs))
        out_tree = jax.tree.structure(0 if len(outputs) == 1 else tuple(0 for _ in outputs))
        return self._builder.graph(inputs, [v.index for v in outputs], in_tree, out_tree)


def _is_variable(x: Any) -> bool:
    return isinstance(x, Variable)


# The line of an operation on variables is the line of the program.
source_info_util.register_exclusion(str(Path(__file__).parent) + os.sep)
