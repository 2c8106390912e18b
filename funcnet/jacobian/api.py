"""Jacobians and Hessians of any JAX function, and products with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import jax

from funcnet.errors import ArgumentError
from funcnet.jacobian.at_value import AtValue
from funcnet.jacobian.compression import Colorist
from funcnet.jacobian.linearization import linearized
from funcnet.jacobian.operator import JacobianOperator
from funcnet.jacobian.orders import NAMES
from funcnet.jacobian.outputs import Output, refuse_tracers
from funcnet.jacobian.plan import Mode, Plan, make_plan
from funcnet.jacobian.signature import Call
from funcnet.jacobian.symmetry import has_symmetric_hessian

__all__ = [
    "hessian",
    "hvp",
    "jacobian",
    "jacobian_diagonal",
    "plan_hessian",
    "plan_jacobian",
    "value_and_jacobian",
]

MAX_BYTES = 1 << 32
"""The largest full Jacobian that is made unless asked for: 4 GiB."""

_MOST_PLANS = 64
"""The oldest plan of a function goes when there are more."""

AnyOutput: TypeAlias = "Output | Literal['operator']"


def jacobian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    mode: Mode = "auto",
    output: AnyOutput = "dense",
    order: str = "auto",
    pattern: Any = None,
    check_pattern: bool = False,
    at_value: bool = False,
    has_aux: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Callable[..., Any]:
    """The Jacobian of a function, computed in the cheapest way that its structure allows.

    ::

        J[i, j] = d f(x)[i] / d x[j]

    It is called as ``jax.jacrev(f)`` is, and returns what that returns. In between is a plan,
    made once for each combination of shapes: the function is linearised, each linear operation
    states its own local Jacobian (diagonal, selection, Kronecker product, dense matrix, ...), and
    these are multiplied in a cheap order. A diagonal Jacobian costs a vector, a sparse one its
    entries, and a network with a bottleneck is multiplied from the bottleneck outwards.

    Since what is read is JAX's own linearisation, custom rules and the choices of JAX at kinks hold
    as in ``jax.jacfwd`` and ``jax.jacrev``. ``jit``, ``vmap``, ``grad`` and ``jacobian`` itself can
    be applied to the result. As under ``jit``, f is traced once for each combination of shapes and
    of Python numbers among its other arguments.

    Args:
        f: Any function that JAX can trace and differentiate.
        argnums: The argument to differentiate with respect to, or several.
        mode: ``"auto"``; ``"forward"`` pushes a tangent for each input entry, ``"reverse"`` pulls
            back a cotangent for each output entry, ``"compressed"`` one of these for each colour
            of the pattern, ``"eliminate"`` multiplies local Jacobians.
        output: ``"dense"`` for full arrays; ``"bcoo"`` for ``jax.experimental.sparse.BCOO``;
            ``"csr"`` and ``"coo"`` for SciPy's sparse arrays of the flattened input and output;
            ``"diagonal"`` for that of a square Jacobian, in the shape of the input;
            ``"operator"`` for a :class:`JacobianOperator`.
        order: The order of elimination: ``"forward"``, ``"reverse"``, ``"markowitz"``,
            ``"markowitz_reverse"``, ``"chain"`` or ``"search"``; ``"auto"`` takes the cheapest.
        pattern: Which entries can differ from 0, if you know better than the program tells: a
            pair of index arrays, a sparse array, or a full array, of the flattened output and
            input. Then ``"auto"`` compresses. It is trusted unless it is checked.
        check_pattern: Whether to compare, at each call, the product with one random vector with
            that of JAX: one product more. A pattern that leaves out an entry is an error then;
            under a transformation, all entries become NaN instead.
        at_value: Whether to drop the entries that are 0 at these numbers, such as those of the
            inactive half of a ReLU layer or of a branch not taken, from the pattern and from what
            is computed. There is a plan then for each combination of zeros, and each call
            evaluates f once more to see which one it is.
        has_aux: Whether f returns a pair, of which only the first is differentiated.
        max_bytes: Full arrays larger than this are refused.

    Returns:
        A function of the arguments of f that returns the Jacobian: for each leaf of the output, the
        structure of the differentiated argument (a tuple of them for several), with arrays of the
        shape of that output followed by that of the input, in the dtype of the input. With
        `has_aux`, a pair of that and the rest of what f returned.

    Raises:
        ArgumentError: If an option is unknown, `argnums` names no argument, the result would be
            larger than `max_bytes`, a mode is named that f does not have, a checked pattern
            leaves out an entry, or SciPy's formats or a pattern at a value are asked for under a
            transformation. From the returned function.
        DTypeError: If an input or output is not of a real floating-point dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> f = lambda x: x**2 * jnp.sum(x)
        >>> jacobian(f)(jnp.array([1.0, 2.0]))
        Array([[ 7.,  1.],
               [ 4., 16.]], dtype=float32)
        >>> jacobian(jnp.sin, output="bcoo")(jnp.zeros(1000)).nse
        1000

    References:
        A. Griewank, A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, chapters 7 to 10.
    """
    planned = Planned(
        "jacobian",
        f,
        argnums,
        mode,
        output,
        order,
        has_aux,
        max_bytes,
        pattern,
        check_pattern=check_pattern,
        at_value=at_value,
    )

    def jacobian_of_f(*args: Any, **named: Any) -> Any:
        _, result, aux = planned(args, named)
        return (result, aux) if has_aux else result

    return jacobian_of_f


def value_and_jacobian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    mode: Mode = "auto",
    output: AnyOutput = "dense",
    order: str = "auto",
    pattern: Any = None,
    check_pattern: bool = False,
    at_value: bool = False,
    has_aux: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Callable[..., Any]:
    """The value of a function and its Jacobian, sharing the forward pass.

    Args:
        f: Any function that JAX can trace and differentiate.
        argnums: As for :func:`jacobian`.
        mode: As for :func:`jacobian`.
        output: As for :func:`jacobian`.
        order: As for :func:`jacobian`.
        pattern: As for :func:`jacobian`.
        check_pattern: As for :func:`jacobian`.
        at_value: As for :func:`jacobian`.
        has_aux: As for :func:`jacobian`.
        max_bytes: As for :func:`jacobian`.

    Returns:
        A function of the arguments of f that returns ``f(*args)`` and the Jacobian.

    Raises:
        ArgumentError: As for :func:`jacobian`.
        DTypeError: As for :func:`jacobian`.

    Example:
        >>> import jax.numpy as jnp
        >>> y, J = value_and_jacobian(lambda x: 3.0 * x)(jnp.ones(2))
        >>> y.tolist(), J.tolist()
        ([3.0, 3.0], [[3.0, 0.0], [0.0, 3.0]])
    """
    planned = Planned(
        "value_and_jacobian",
        f,
        argnums,
        mode,
        output,
        order,
        has_aux,
        max_bytes,
        pattern,
        check_pattern=check_pattern,
        at_value=at_value,
    )

    def value_and_jacobian_of_f(*args: Any, **named: Any) -> Any:
        y, result, aux = planned(args, named)
        return ((y, aux) if has_aux else y), result

    return value_and_jacobian_of_f


def jacobian_diagonal(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """The diagonal of a square Jacobian, without the rest where the structure allows it.

    ::

        d[i] = d f(x)[i] / d x[i]

    Args:
        f: A function of one array, or of several of which one is named, to an array of the same
            size.
        argnums: The argument to differentiate with respect to.

    Returns:
        A function of the arguments of f that returns the diagonal, in the shape of the input.

    Raises:
        ShapeError: If the input or output is not one array, or their sizes differ. From the
            returned function.

    Example:
        >>> import jax.numpy as jnp
        >>> jacobian_diagonal(lambda x: x**2 + jnp.sum(x))(jnp.array([1.0, 2.0])).tolist()
        [3.0, 5.0]
    """
    planned = Planned("jacobian_diagonal", f, argnums, "auto", "diagonal", "auto", False, MAX_BYTES)

    def diagonal_of_f(*args: Any, **named: Any) -> Any:
        return jax.tree.leaves(planned(args, named)[1])[0]

    return diagonal_of_f


def hessian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    mode: Mode = "auto",
    output: AnyOutput = "dense",
    order: str = "auto",
    pattern: Any = None,
    check_pattern: bool = False,
    at_value: bool = False,
    has_aux: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Callable[..., Any]:
    """The matrix of second derivatives of a scalar function.

    ::

        H[i, j] = d^2 f(x) / (d x[i] d x[j])

    The Jacobian of the gradient: as sparse as the function is separable. Where it is compressed,
    its symmetry saves products; not where f has custom rules, for what they say of the gradient
    need not be the derivative of anything.

    Args:
        f: A function to a scalar.
        argnums: As for :func:`jacobian`.
        mode: As for :func:`jacobian`.
        output: As for :func:`jacobian`.
        order: As for :func:`jacobian`.
        pattern: As for :func:`jacobian`.
        check_pattern: As for :func:`jacobian`.
        at_value: As for :func:`jacobian`.
        has_aux: As for :func:`jacobian`.
        max_bytes: As for :func:`jacobian`.

    Returns:
        A function of the arguments of f that returns the Hessian, in the form in which
        ``jax.hessian`` does.

    Raises:
        ArgumentError: As for :func:`jacobian`.
        DTypeError: As for :func:`jacobian`.

    Example:
        >>> import jax.numpy as jnp
        >>> hessian(lambda x: x[0] ** 2 * x[1])(jnp.array([3.0, 5.0]))
        Array([[10.,  6.],
               [ 6.,  0.]], dtype=float32)
    """
    planned = Planned(
        "hessian",
        jax.grad(f, argnums, has_aux=has_aux),
        argnums,
        mode,
        output,
        order,
        has_aux,
        max_bytes,
        pattern,
        check_pattern=check_pattern,
        at_value=at_value,
        potential=f,
    )

    def hessian_of_f(*args: Any, **named: Any) -> Any:
        _, result, aux = planned(args, named)
        return (result, aux) if has_aux else result

    return hessian_of_f


def hvp(f: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """The product of a Hessian with a vector, without the Hessian.

    ::

        H v = d/dt grad f(x + t v) at t = 0

    Args:
        f: A function of one pytree to a scalar.

    Returns:
        A function of the point and the vector, two pytrees of one structure, that returns the
        product. It takes a tangent through the gradient: about as much as two gradients.

    Example:
        >>> import jax.numpy as jnp
        >>> hvp(lambda x: jnp.sum(x**3))(jnp.array([1.0, 2.0]), jnp.array([1.0, 10.0])).tolist()
        [6.0, 120.0]

    References:
        B. Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6 (1994).
    """
    return lambda x, v: jax.jvp(jax.grad(f), (x,), (v,))[1]


def plan_jacobian(
    f: Callable[..., Any],
    *args: Any,
    argnums: int | Sequence[int] = 0,
    mode: Mode = "auto",
    output: Output = "dense",
    order: str = "auto",
    pattern: Any = None,
    check_pattern: bool = False,
    at_value: bool = False,
    has_aux: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Plan:
    """Tell how a Jacobian will be computed, and what each way is expected to cost.

    Args:
        f: Any function that JAX can trace and differentiate.
        *args: Its arguments: arrays, or ShapeDtypeStructs, for only shapes matter.
        argnums: As for :func:`jacobian`.
        mode: As for :func:`jacobian`.
        output: As for :func:`jacobian`.
        order: As for :func:`jacobian`.
        pattern: As for :func:`jacobian`.
        check_pattern: As for :func:`jacobian`.
        at_value: As for :func:`jacobian`.
        has_aux: As for :func:`jacobian`.
        max_bytes: As for :func:`jacobian`.

    Returns:
        A :class:`Plan`, which prints itself and computes the Jacobian when called.

    Raises:
        ArgumentError: As for :func:`jacobian`.
        DTypeError: As for :func:`jacobian`.

    Example:
        >>> import jax.numpy as jnp
        >>> plan = plan_jacobian(jnp.tanh, jax.ShapeDtypeStruct((1000,), jnp.float32))
        >>> plan.nnz, plan.mode
        (1000, 'eliminate')
    """
    return Planned(
        "plan_jacobian",
        f,
        argnums,
        mode,
        output,
        order,
        has_aux,
        max_bytes,
        pattern,
        check_pattern=check_pattern,
        at_value=at_value,
    ).plan(args)


def plan_hessian(
    f: Callable[..., Any],
    *args: Any,
    argnums: int | Sequence[int] = 0,
    mode: Mode = "auto",
    output: Output = "dense",
    order: str = "auto",
    pattern: Any = None,
    check_pattern: bool = False,
    at_value: bool = False,
    has_aux: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Plan:
    """Tell how a Hessian will be computed, and what each way is expected to cost.

    Args:
        f: A function to a scalar.
        *args: Its arguments: arrays, or ShapeDtypeStructs, for only shapes matter.
        argnums: As for :func:`jacobian`.
        mode: As for :func:`jacobian`.
        output: As for :func:`jacobian`.
        order: As for :func:`jacobian`.
        pattern: As for :func:`jacobian`.
        check_pattern: As for :func:`jacobian`.
        at_value: As for :func:`jacobian`.
        has_aux: As for :func:`jacobian`.
        max_bytes: As for :func:`jacobian`.

    Returns:
        A :class:`Plan`, which prints itself and computes the Hessian when called.

    Raises:
        ArgumentError: As for :func:`jacobian`.
        DTypeError: As for :func:`jacobian`.

    Example:
        >>> import jax.numpy as jnp
        >>> f = lambda x: x[0] * jnp.sum(x**2)
        >>> plan_hessian(f, jnp.ones(100), mode="compressed").chosen.passes
        2
    """
    return Planned(
        "plan_hessian",
        jax.grad(f, argnums, has_aux=has_aux),
        argnums,
        mode,
        output,
        order,
        has_aux,
        max_bytes,
        pattern,
        check_pattern=check_pattern,
        at_value=at_value,
        potential=f,
    ).plan(args)


class Planned:
    """A function and options, with a plan for each signature that it was called with."""

    def __init__(
        self,
        function: str,
        f: Callable[..., Any],
        argnums: int | Sequence[int],
        mode: Mode,
        output: Any,
        order: str,
        has_aux: bool,
        max_bytes: int,
        pattern: Any = None,
        *,
        check_pattern: bool = False,
        at_value: bool = False,
        potential: Callable[..., Any] | None = None,
        colorist: Colorist | None = None,
    ) -> None:
        _check_option(function, "mode", mode, get_args(Mode))
        _check_option(function, "output", output, (*get_args(Output), "operator"))
        _check_option(function, "order", order, ("auto", *NAMES))
        if pattern is not None and mode not in ("auto", "compressed"):
            raise ArgumentError(
                f"{function}: a pattern is for mode='compressed', not for mode={mode!r}."
            )
        if order != "auto" and (mode not in ("auto", "eliminate") or pattern is not None):
            raise ArgumentError(
                f"{function}: order={order!r} is for mode='eliminate', and goes with no pattern."
            )
        if check_pattern and pattern is None:
            raise ArgumentError(
                f"{function}: check_pattern=True checks a pattern, and none was given; that of the "
                "structure needs no check."
            )
        for name, value in (("check_pattern", check_pattern), ("at_value", at_value)):
            if value and output == "operator":
                raise ArgumentError(
                    f"{function}: {name}=True is about entries, and output='operator' has none. "
                    "Take another output."
                )
        if at_value and mode in ("forward", "reverse"):
            raise ArgumentError(
                f"{function}: at_value=True leaves entries out, and mode={mode!r} computes all of "
                "them. Take another mode."
            )
        self._function, self._f, self._argnums, self._has_aux = function, f, argnums, has_aux
        self._output, self._at_value, self._potential = output, at_value, potential
        self._options = {
            "mode": mode,
            "output": output,
            "order": order,
            "pattern": pattern,
            "max_bytes": max_bytes,
            "check_pattern": check_pattern,
            "options": {"has_aux": has_aux, "hessian": potential is not None},
            "colorist": colorist or Colorist(),
        }
        self._plans: dict[Any, Plan] = {}
        self._points: dict[Any, tuple[AtValue, Call]] = {}

    def __call__(self, args: Sequence[Any], named: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """The value, the Jacobian and the rest of what the function returned."""
        call = self.call(args, named)
        if self._output in ("csr", "coo"):
            refuse_tracers(self._function, f"output={self._output!r}", call.leaves + call.others)
        if self._output == "operator":
            return self._operator(call, args)
        return self.plan_of(call).evaluated(call)

    def plan(self, args: Sequence[Any]) -> Plan:
        """The plan for some arguments."""
        return self.plan_of(self.call(args))

    def call(self, args: Sequence[Any], named: Mapping[str, Any] | None = None) -> Call:
        """A call of the function."""
        return Call(self._function, self._f, self._argnums, args, named, self._has_aux)

    def plan_of(self, call: Call) -> Plan:
        """The plan for a call, made where there is none yet."""
        if self._at_value:
            return self._plan_at(call)
        plan = self._plans.get(call.key)
        if plan is None:
            plan, may_stay = make_plan(
                self._function, call, **self._options, symmetric=self._symmetry(call)
            )
            if may_stay:
                _keep(self._plans, call.key, plan)
        return plan

    def _plan_at(self, call: Call) -> Plan:
        """The plan for the numbers of a call, and for all others with the same zeros."""
        arrays = [*call.leaves, *call.others]
        refuse_tracers(self._function, "at_value=True", arrays)
        if any(isinstance(x, jax.ShapeDtypeStruct) for x in arrays):
            raise ArgumentError(
                f"{self._function}: at_value=True needs numbers, but was given shapes. Give arrays."
            )
        if call.key not in self._points:
            program = linearized(call.flat, call.avals, call.other_avals)
            # A function may close over tracers even where all arguments are numbers.
            refuse_tracers(self._function, "at_value=True", program.jaxpr.consts)
            _keep(self._points, call.key, (AtValue(program), call))
        at_value, first = self._points[call.key]
        digest, program = at_value.at(arrays)
        key = call.key, digest
        plan = self._plans.get(key)
        if plan is None:
            options = {**self._options, "symmetric": self._symmetry(first), "program": program}
            plan, _ = make_plan(self._function, first, **options, point=(at_value, digest))
            _keep(self._plans, key, plan)
        return plan

    def _symmetry(self, call: Call) -> Callable[[], bool]:
        potential = self._potential
        return lambda: potential is not None and has_symmetric_hessian(potential, call)

    def _operator(self, call: Call, args: Sequence[Any]) -> tuple[Any, Any, Any]:
        def restricted(*chosen: Any) -> Any:
            outs, _ = call.flat(*jax.tree.leaves(list(chosen)), *call.others)
            return call.out_tree.unflatten(outs)

        def other(output: str) -> Any:
            options = {**self._options, "output": output, "symmetric": self._symmetry(call)}
            return make_plan(self._function, call, **options)[0].evaluated(call)[1]

        primals: Any = call.in_tree.unflatten(call.leaves)
        outs, aux = call.flat(*call.leaves, *call.others)
        operator = JacobianOperator(
            restricted,
            primals,
            call.single,
            lambda: jax.tree.leaves(other("diagonal"))[0],
            lambda: other("dense"),
        )
        return call.out_tree.unflatten(outs), operator, call.aux_of(aux)


def _keep(kept: dict[Any, Any], key: Any, value: Any) -> None:
    if len(kept) == _MOST_PLANS:
        del kept[next(iter(kept))]
    kept[key] = value


def _check_option(function: str, name: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        raise ArgumentError(
            f"{function}: {name}={value!r} is not known. "
            f"It is one of {', '.join(map(repr, known))}."
        )
