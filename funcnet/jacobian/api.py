"""Jacobians of any JAX function, and the plans that they follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from funcnet.jacobian.planning.options import MAX_BYTES, AnyOutput, Options
from funcnet.jacobian.planning.outputs import Output
from funcnet.jacobian.planning.plan import Plan
from funcnet.jacobian.planning.planned import Planned
from funcnet.jacobian.planning.planner import JacobianMode

__all__ = ["jacobian", "jacobian_diagonal", "plan_jacobian", "value_and_jacobian"]


def jacobian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    mode: JacobianMode = "auto",
    output: AnyOutput = "dense",
    order: str = "auto",
    pattern: Any = None,
    check_pattern: bool = False,
    at_value: bool = False,
    autotune: bool = False,
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
        autotune: Whether to try, at the first call for each combination of shapes, the ways that
            are expected to be about equally fast, and to take the fastest. That compiles a few
            programs instead of one.
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
            leaves out an entry, or SciPy's formats, a pattern at a value or
            `autotune` are asked for under a transformation. From the returned function.
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
        Options(
            mode=mode,
            output=output,
            order=order,
            pattern=pattern,
            check_pattern=check_pattern,
            at_value=at_value,
            autotune=autotune,
            has_aux=has_aux,
            max_bytes=max_bytes,
        ),
    )

    def jacobian_of_f(*args: Any, **named: Any) -> Any:
        _, result, aux = planned(args, named)
        return (result, aux) if has_aux else result

    return jacobian_of_f


def value_and_jacobian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    mode: JacobianMode = "auto",
    output: AnyOutput = "dense",
    order: str = "auto",
    pattern: Any = None,
    check_pattern: bool = False,
    at_value: bool = False,
    autotune: bool = False,
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
        autotune: As for :func:`jacobian`.
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
        Options(
            mode=mode,
            output=output,
            order=order,
            pattern=pattern,
            check_pattern=check_pattern,
            at_value=at_value,
            autotune=autotune,
            has_aux=has_aux,
            max_bytes=max_bytes,
        ),
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
    planned = Planned("jacobian_diagonal", f, argnums, Options(output="diagonal"))

    def diagonal_of_f(*args: Any, **named: Any) -> Any:
        return jax.tree.leaves(planned(args, named)[1])[0]

    return diagonal_of_f


def plan_jacobian(
    f: Callable[..., Any],
    *args: Any,
    argnums: int | Sequence[int] = 0,
    mode: JacobianMode = "auto",
    output: Output = "dense",
    order: str = "auto",
    pattern: Any = None,
    check_pattern: bool = False,
    at_value: bool = False,
    autotune: bool = False,
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
        autotune: As for :func:`jacobian`.
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
        Options(
            mode=mode,
            output=output,
            order=order,
            pattern=pattern,
            check_pattern=check_pattern,
            at_value=at_value,
            autotune=autotune,
            has_aux=has_aux,
            max_bytes=max_bytes,
        ),
    ).plan(args)
