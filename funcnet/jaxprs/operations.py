"""How much arithmetic and how much memory traffic one operation is.

A table from primitives to counting rules, from the free to the costly. The rules are those of XLA's
own cost analysis wherever it has one, so that the two can be compared; :func:`funcnet.jaxprs.flops`
tells them in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jax.extend.core import JaxprEqn, Literal

__all__ = ["Operations", "count_operations", "is_cheap"]


class Operations(NamedTuple):
    """What one run of one equation takes.

    Attributes:
        flops: Additions, multiplications, comparisons and the like, a division being one.
        transcendentals: Evaluations of functions such as exp.
        bytes: Bytes read and written.
        known: False if there is no rule for the primitive.
    """

    flops: int
    transcendentals: int
    bytes: int
    known: bool = True


def count_operations(eqn: JaxprEqn) -> Operations:
    """Count what one run of one equation takes.

    Args:
        eqn: An equation without functions inside.

    Returns:
        The counts. An unknown primitive counts as one FLOP for each entry of its results.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> eqn = jax.make_jaxpr(jnp.matmul)(jnp.ones((2, 3)), jnp.ones((3, 5))).eqns[-1]
        >>> count_operations(eqn).flops
        60
    """
    name = eqn.primitive.name
    transcendentals = 0
    if name in _ELEMENTWISE:
        flops = _out_size(eqn) * _ELEMENTWISE[name]
    elif name in _TRANSCENDENTAL:
        flops, transcendentals = 0, _out_size(eqn) * _TRANSCENDENTAL[name]
    elif name in _MOVING or name in _VIEWS:
        flops = 0
    elif name in _COUNTED:
        flops = _COUNTED[name](eqn)
    else:
        return Operations(_out_size(eqn), 0, _traffic(eqn), known=False)
    return Operations(flops, transcendentals, _traffic(eqn))


def is_cheap(primitive: str) -> bool:
    """Whether computing again takes about as long as reading the result from memory.

    So it is for elementwise operations, reductions and moved data; not for products of matrices,
    random bits, communication between devices and primitives that are not known by name.
    """
    return primitive in _CHEAP


def _traffic(eqn: JaxprEqn) -> int:
    """Bytes read and written: every operand and result once, less what is not touched."""
    name = eqn.primitive.name
    if name in _VIEWS:
        return 0
    operands = [v.aval for v in dict.fromkeys(v for v in eqn.invars if not isinstance(v, Literal))]
    results = sum(_nbytes(v.aval) for v in eqn.outvars)
    if name in _PARTIAL_READS:
        return 2 * results + sum(map(_nbytes, operands[1:]))
    if name in _PARTIAL_WRITES:
        # Done in place: the entries under the update are read (if they count) and written.
        return 2 * sum(_nbytes(a) for a in operands[1:])
    return results + sum(map(_nbytes, operands))


def _size(aval: Any) -> int:
    return math.prod(getattr(aval, "shape", ()))


def _nbytes(aval: Any) -> int:
    return _size(aval) * aval.dtype.itemsize if hasattr(aval, "dtype") else 0


def _out_size(eqn: JaxprEqn) -> int:
    return sum(_size(v.aval) for v in eqn.outvars)


def _in_size(eqn: JaxprEqn) -> int:
    return _size(eqn.invars[0].aval)


def _in_shape(eqn: JaxprEqn, operand: int = 0) -> tuple[int, ...]:
    aval: Any = eqn.invars[operand].aval
    return aval.shape


def _reduction(eqn: JaxprEqn) -> int:
    # Each step takes one number out of the game.
    return max(0, _in_size(eqn) - _size(eqn.outvars[0].aval))


def _power(eqn: JaxprEqn) -> int:
    exponent = abs(eqn.params["y"])
    squarings, products = exponent.bit_length() - 1, exponent.bit_count() - 1
    return _out_size(eqn) * max(0, squarings + products + (eqn.params["y"] < 0))


def _dot(eqn: JaxprEqn) -> int:
    (contracting, _), _ = eqn.params["dimension_numbers"]
    return 2 * _out_size(eqn) * math.prod(_in_shape(eqn)[axis] for axis in contracting)


def _ragged_dot(eqn: JaxprEqn) -> int:
    # Each row of the left operand meets the one group that it belongs to.
    numbers = eqn.params["ragged_dot_dimension_numbers"].dot_dimension_numbers
    (contracting, _), _ = numbers
    return 2 * _out_size(eqn) * math.prod(_in_shape(eqn)[axis] for axis in contracting)


def _convolution(eqn: JaxprEqn) -> int:
    p, numbers = eqn.params, eqn.params["dimension_numbers"]
    out: Any = eqn.outvars[0].aval
    batch, features, *spatial = (out.shape[axis] for axis in numbers.out_spec)
    _, terms, *window = (_in_shape(eqn, 1)[axis] for axis in numbers.rhs_spec)
    _, _, *image = (_in_shape(eqn)[axis] for axis in numbers.lhs_spec)
    for axis, out_extent in enumerate(spatial):
        terms *= _window_hits(
            out_extent,
            window[axis],
            image[axis],
            p["window_strides"][axis],
            p["padding"][axis][0],
            p["lhs_dilation"][axis],
            p["rhs_dilation"][axis],
        )
    return 2 * batch * features * terms


def _window_hits(
    out: int, window: int, image: int, stride: int, pad: int, spread: int, gap: int
) -> int:
    """How often a window meets an entry of the image along one axis, not padding or a gap."""
    place = np.arange(out)[:, None] * stride + np.arange(window) * gap - pad
    inside = (place >= 0) & (place < image * spread) & (place % spread == 0)
    return int(inside.sum())


def _window_reduction(eqn: JaxprEqn) -> int:
    return _out_size(eqn) * (math.prod(eqn.params["window_dimensions"]) - 1)


def _window_scatter(eqn: JaxprEqn) -> int:
    # For each window: a search for the chosen entry, and one addition.
    return _in_size(eqn) * math.prod(eqn.params["window_dimensions"])


def _update(eqn: JaxprEqn) -> int:
    return _size(eqn.invars[2].aval)


def _sort(eqn: JaxprEqn) -> int:
    length = _in_shape(eqn)[eqn.params["dimension"]]
    return _in_size(eqn) * max(0, length - 1).bit_length()


def _top_k(eqn: JaxprEqn) -> int:
    return _in_size(eqn) * max(1, (eqn.params["k"] - 1).bit_length())


def _fourier(eqn: JaxprEqn) -> int:
    lengths = eqn.params["fft_lengths"]
    points = math.prod(lengths)
    transforms = math.prod(_in_shape(eqn)[: -len(lengths)])
    return round(5 * transforms * points * math.log2(points)) if points else 0


def _cholesky(eqn: JaxprEqn) -> int:
    return _in_size(eqn) * _in_shape(eqn)[-1] // 3


def _lu(eqn: JaxprEqn) -> int:
    *batch, m, n = _in_shape(eqn)
    k = min(m, n)
    return math.prod(batch) * (6 * m * n * k - 3 * (m + n) * k**2 + 2 * k**3) // 3


def _triangular_solve(eqn: JaxprEqn) -> int:
    return _size(eqn.invars[1].aval) * _in_shape(eqn)[-1]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_Rule: TypeAlias = Callable[[JaxprEqn], int]

_VIEWS = _words(
    """after_all axis_index bitcast_convert_type create_token debug_callback debug_print
    mesh_cast name optimization_barrier pcast pvary random_unwrap random_wrap reshape reshard
    sharding_constraint squeeze stop_gradient"""
)
"""The same numbers under another name: nothing is computed and nothing moves."""

_PARTIAL_READS = _words("dynamic_slice gather slice")
"""Only as much of the first operand is read as the result holds."""

_PARTIAL_WRITES = _words(
    """dynamic_update_slice scatter scatter-add scatter-max scatter-min scatter-mul
    scatter-sub"""
)
"""The first operand is changed in place where the last one says, and left alone elsewhere."""

_MOVING = _words(
    """all_gather all_gather_invariant all_to_all broadcast_in_dim complex concatenate conj
    convert_element_type copy copy_p device_put dynamic_slice dynamic_update_slice empty2 gather
    imag iota pad pbroadcast ppermute random_bits random_fold_in random_seed random_split real rev
    rng_bit_generator scatter slice split threefry2x32 transpose"""
)
"""Numbers are copied, converted or drawn, but not computed with."""

_ELEMENTWISE = {
    **dict.fromkeys(
        _words(
            """abs add add_any and ceil clamp clz div eq eq_to floor ge ge_to gt gt_to is_finite le
            le_to lt lt_to max min mul ne neg nextafter not or pmax pmin population_count psum
            psum_invariant reduce_precision reduce_scatter rem round select_n shift_left
            shift_right_arithmetic shift_right_logical sign square sub xor"""
        ),
        1,
    ),
    "one_minus_square": 2,
}
"""FLOPs for each entry of the result."""

_TRANSCENDENTAL = {
    **dict.fromkeys(
        _words(
            """acos acosh asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt cos cosh digamma
            erf erf_inv erfc exp exp2 expm1 igamma igammac lgamma log log1p log2 logistic pow rsqrt
            sin sinh sqrt tan tanh"""
        ),
        1,
    ),
    "cumlogsumexp": 2,
}
"""Evaluations for each entry of the result."""

_COUNTED: dict[str, _Rule] = {
    **dict.fromkeys(
        _words(
            """reduce reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum
            reduce_xor"""
        ),
        _reduction,
    ),
    **dict.fromkeys(_words("argmax argmin cummax cummin cumprod cumsum"), _in_size),
    **dict.fromkeys(
        _words("reduce_window reduce_window_max reduce_window_min reduce_window_sum"),
        _window_reduction,
    ),
    **dict.fromkeys(_words("scatter-add scatter-max scatter-min scatter-mul scatter-sub"), _update),
    "integer_pow": _power,
    "polynomial": lambda eqn: 2 * _out_size(eqn) * (len(eqn.invars) - 2),
    "select_and_gather_add": _window_reduction,
    "select_and_scatter_add": _window_scatter,
    "sort": _sort,
    "top_k": _top_k,
    "dot_general": _dot,
    "ragged_dot_general": _ragged_dot,
    "conv_general_dilated": _convolution,
    "fft": _fourier,
    "cholesky": _cholesky,
    "lu": _lu,
    "triangular_solve": _triangular_solve,
}
"""FLOPs that depend on more than the number of results."""

_CHEAP = (
    (_VIEWS | _MOVING | _ELEMENTWISE.keys() | _TRANSCENDENTAL.keys())
    | _words("argmax argmin integer_pow reduce_and reduce_max reduce_min reduce_or reduce_prod")
    | _words("reduce_sum reduce_xor")
) - _words(
    """all_gather all_gather_invariant all_to_all after_all create_token debug_callback debug_print
    device_put igamma igammac pbroadcast pmax pmin ppermute psum psum_invariant random_bits
    random_fold_in random_seed random_split reduce_scatter rng_bit_generator threefry2x32"""
)
"""What is cheaper to compute again than to keep."""
