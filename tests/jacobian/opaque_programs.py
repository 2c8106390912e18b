"""Programs with loops, branches, windows, solves and complex numbers, which have structure inside.

Each gives a function and its arguments, and says whether whoever goes through its operations finds
the pattern exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["PROGRAMS", "Program"]


class Program(NamedTuple):
    """A function, the shapes of its arguments, and how well its pattern can be known."""

    f: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    exact: bool = True
    has_reverse: bool = True


PROGRAMS: dict[str, Program] = {}


def _add(name: str, f: Callable[..., Any], *shapes: tuple[int, ...], **options: bool) -> None:
    PROGRAMS[name] = Program(f, shapes, **options)


# Loops.


def _filter(h: Any, x: Any) -> Any:
    h = jnp.tanh(0.5 * h + x)
    return h, h * h


def _shift(h: Any, x: Any) -> Any:
    """A register: what comes in goes out some steps later."""
    return jnp.concatenate([x[None], h[:-1]]), jnp.sin(h[-1])


def _two_carries(state: Any, x: Any) -> Any:
    """A sum of all that came, and the last thing that did."""
    a, b = state
    return (a + jnp.sin(x), x * x), a * b


_add("scan_reverse", lambda x: lax.scan(_filter, jnp.zeros(2), x, reverse=True)[1], (4, 2))
_add("scan_carry", lambda h, x: lax.scan(_filter, h, x), (2,), (3, 2))
_add("scan_shift", lambda x: lax.scan(_shift, jnp.zeros(3), x), (6,))
_add(
    "scan_shift_reverse",
    lambda h, x: lax.scan(_shift, h, x, reverse=True),
    (3,),
    (6,),
)
_add(
    "scan_two_carries",
    lambda x: lax.scan(_two_carries, (jnp.zeros(2), jnp.ones(2)), x)[1],
    (4, 2),
)
_add(
    "scan_unused_carry",
    lambda h, x: lax.scan(lambda c, v: ((c[0] * v, c[1]), c[1]), (h, h * h), x)[1],
    (2,),
    (3, 2),
)
_add("scan_no_steps", lambda h, x: lax.scan(_filter, h, x), (2,), (0, 2))
_add("scan_one_step", lambda h, x: lax.scan(_filter, h, x), (2,), (1, 2))
_add(
    "scan_constant",
    lambda w, x: lax.scan(lambda h, v: (h * w + v, h[:1] * w[1:]), jnp.ones(2), x),
    (2,),
    (3, 2),
)
_add(
    "scan_nested",
    lambda x: lax.scan(
        lambda h, row: (h + row[0] ** 2, lax.scan(_filter, h, row[:, None])[1]),
        jnp.zeros(1),
        x,
    )[1],
    (3, 2),
)
_add("scan_map", lambda x: lax.map(lambda row: row / (1 + row[::-1] ** 2), x), (3, 4))
_add(
    "scan_fixed_gather",
    lambda x: lax.fori_loop(0, 2, lambda _, u: jnp.sin(u[np.array([1, 2, 3, 4, 0])]), x),
    (5,),
)
_add(
    "scan_update",
    lambda x: lax.fori_loop(0, 3, lambda i, u: u.at[i].set(u[i] ** 2 + u[i + 1]), x),
    (5,),
    exact=False,
)
_add(
    "scan_many_patterns",
    lambda x: lax.scan(lambda h, v: (jnp.roll(h, 1).at[0].add(v), h[:1]), jnp.zeros(5), x)[1],
    (8,),
)
_add("scan_under_vmap", jax.vmap(lambda x: lax.scan(_filter, jnp.zeros(()), x)[1]), (2, 3))


def _doubling(x: Any) -> Any:
    return lax.while_loop(
        lambda s: jnp.sum(s[0] ** 2) < 50, lambda s: (2 * s[0], s[1] + s[0] * s[1]), (x, x * x)
    )[1]


def _spreading(x: Any) -> Any:
    def around(s: Any) -> Any:
        return s[0] + 1, jnp.sin(s[1]).at[1:].add(s[1][:-1] ** 2)

    return lax.while_loop(lambda s: s[0] < 7, around, (0, x))[1]


_add("while_two_carries", _doubling, (3,), has_reverse=False)
_add("while_under_vmap", jax.vmap(_doubling), (3, 2), has_reverse=False)
_add(
    "while_constant",
    lambda x, w: lax.while_loop(lambda s: jnp.max(s) < 10, lambda s: s + w * w + 1, x),
    (3,),
    (3,),
    has_reverse=False,
)
_add("fori_spreading", lambda x: lax.fori_loop(0, x.shape[0], lambda i, s: s + jnp.sin(s), x), (3,))
_add("while_spreading", _spreading, (5,), has_reverse=False)

# Branches.


def _branches(x: Any) -> Any:
    return lax.cond(jnp.sum(x) > 0, lambda x: (x * x, x[:1]), lambda x: (x[::-1], x[1:2]), x)


_add("cond_two_results", _branches, (4,))
_add("cond_under_vmap", jax.vmap(_branches), (3, 3))
_add(
    "cond_in_scan",
    lambda x: lax.scan(lambda h, v: (lax.cond(v[0] > 0, jnp.sin, jnp.cos, h + v),) * 2, x[0], x)[1],
    (3, 2),
)
_add(
    "switch_zero_branch",
    lambda x: lax.switch(jnp.int32(jnp.sum(x) > 0), [lambda x: jnp.zeros_like(x), jnp.sin], x),
    (3,),
)

# Windows.


def _conv(
    strides: Any,
    padding: Any,
    lhs: Any = (1, 1),
    rhs: Any = (1, 1),
    features: int = 1,
    batch: int = 1,
) -> Callable[..., Any]:
    def f(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            jnp.sin(x),
            w * w,
            strides,
            padding,
            lhs,
            rhs,
            ("NHWC", "HWIO", "NHWC"),
            feature_group_count=features,
            batch_group_count=batch,
        )

    return f


_add("conv_valid", _conv((1, 1), "VALID"), (2, 4, 5, 2), (3, 2, 2, 3))
_add("conv_same", _conv((1, 1), "SAME"), (1, 4, 3, 1), (3, 3, 1, 2))
_add("conv_strided", _conv((2, 3), "SAME"), (1, 5, 7, 1), (3, 2, 1, 1))
_add("conv_padded", _conv((2, 1), [(2, 0), (-1, 3)]), (1, 4, 5, 1), (2, 3, 1, 1))
_add("conv_atrous", _conv((1, 2), "SAME", rhs=(2, 3)), (1, 6, 7, 1), (3, 2, 1, 1))
_add("conv_dilated_input", _conv((1, 2), [(0, 1), (2, 0)], lhs=(2, 3)), (1, 4, 4, 1), (3, 2, 1, 1))
_add(
    "conv_both_dilated", _conv((3, 2), [(1, 2), (2, 1)], (2, 3), (2, 2)), (1, 4, 4, 1), (3, 2, 1, 1)
)
_add("conv_features", _conv((1, 1), "SAME", features=2), (1, 3, 3, 4), (2, 2, 2, 6))
_add("conv_depthwise", _conv((1, 1), "VALID", features=3), (2, 3, 4, 3), (2, 2, 1, 3))
_add("conv_batch_groups", _conv((1, 1), "VALID", batch=2), (4, 3, 3, 2), (2, 2, 2, 4))
_add("conv_large", _conv((1, 1), "SAME"), (1, 7, 7, 1), (7, 7, 1, 1))
_add("conv_layout", lambda x, w: lax.conv(x, w, (2, 1), "SAME"), (2, 2, 4, 3), (3, 2, 2, 2))
_add(
    "conv_gradient",
    lambda x, w: jax.grad(lambda x: jnp.sum(_conv((2, 2), "SAME")(x, w) ** 3))(x),
    (1, 4, 4, 1),
    (2, 2, 1, 1),
)
_add(
    "conv_stack",
    lambda x, w: jnp.tanh(lax.conv(jnp.tanh(lax.conv(x, w, (1,), "SAME")), w, (2,), "SAME")),
    (1, 1, 8),
    (1, 1, 3),
)
_add("transposed_conv", lambda x, w: lax.conv_transpose(x, w, (2,), "SAME"), (1, 4, 2), (3, 2, 2))


def _pool(window: Any, strides: Any, padding: Any) -> Callable[..., Any]:
    return lambda x: lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding)


def _sum_pool(window: Any, strides: Any, padding: Any, **dilation: Any) -> Callable[..., Any]:
    return lambda x: lax.reduce_window(
        jnp.sin(x), np.array(0.0), lax.add, window, strides, padding, **dilation
    )


_add("pool_overlapping", _pool((3, 2), (2, 1), "VALID"), (7, 4))
_add("pool_same", _pool((3,), (1,), "SAME"), (6,))
_add(
    "pool_gradient",
    jax.grad(lambda x: jnp.sum(_pool((2,), (2,), "VALID")(x) ** 3)),
    (6,),
    exact=False,
)
_add("sum_pool", _sum_pool((2, 3), (2, 1), "SAME"), (5, 5))
_add("sum_pool_wide", _sum_pool((9,), (1,), "SAME"), (12,))
_add(
    "sum_pool_dilated",
    _sum_pool((2, 2), (1, 2), "VALID", base_dilation=(2, 1), window_dilation=(1, 2)),
    (4, 5),
)

# Cumulative sums.

for n in (0, 1, 2, 3, 5, 7, 8):
    _add(f"cumsum_{n}", lambda x: jnp.cumsum(x * x), (n,))
_add("cumsum_middle", lambda x: jnp.cumsum(jnp.sin(x), axis=1), (2, 5, 2))
_add("cumsum_reverse", lambda x: lax.cumsum(jnp.sin(x), axis=0, reverse=True), (6, 2))
_add("cumsum_twice", lambda x: jnp.cumsum(jnp.sin(lax.cumsum(x, reverse=True))[:3]), (6,))
_add("cumsum_loss", lambda x: jnp.sum(jnp.cumsum(x) ** 2), (9,))

# Solves, transforms, complex numbers, indices that are not known.

_L = np.tril(np.arange(1.0, 10.0).reshape(3, 3)) + 3 * np.eye(3)
for lower in (True, False):
    for trans in (0, 1):
        _add(
            f"solve_triangular_{lower}_{trans}",
            lambda b, lower=lower, trans=trans: jax.scipy.linalg.solve_triangular(
                _L if lower else _L.T, jnp.sin(b), trans=trans, lower=lower
            ),
            (3, 2),
        )
        _add(
            f"solve_from_the_right_{lower}_{trans}",
            lambda b, lower=lower, trans=trans: lax.linalg.triangular_solve(
                _L if lower else _L.T, b, left_side=False, lower=lower, transpose_a=bool(trans)
            ),
            (2, 3),
        )
_add("solve_columns", lambda b: jnp.linalg.solve(_L + _L.T, jnp.sin(b)), (3, 2))
_add(
    "solve_batch",
    jax.vmap(lambda a, b: jnp.linalg.solve(a + 4 * np.eye(2), b)),
    (3, 2, 2),
    (3, 2),
)
_add(
    "solve_by_map",
    lambda x, b: lax.custom_linear_solve(
        lambda v: v * (2 + x * x), b, lambda _, r: r / (2 + x * x), symmetric=True
    ),
    (4,),
    (4,),
)
_add("fft_rows", lambda x: jnp.abs(jnp.fft.rfft(x)) ** 2, (3, 4))
_add("fft_columns", lambda x: jnp.fft.irfft(jnp.exp(jnp.fft.rfft(x, axis=0)), 4, axis=0), (4, 2))
_add(
    "complex_moves",
    lambda x, y: (lambda z: jnp.real(jnp.conj(z) * z[::-1]) + jnp.imag(2j * z))(lax.complex(x, y)),
    (4,),
    (4,),
)
_add(
    "complex_scan",
    lambda x: jnp.real(
        lax.scan(lambda h, v: (0.5j * h + v,) * 2, jnp.zeros(2, complex), lax.complex(x, x))[1]
    ),
    (3, 2),
    exact=False,
)
_add(
    "gather_rows",
    lambda x, k: jnp.take_along_axis(x, jnp.argsort(k, axis=1), axis=1),
    (3, 4),
    (3, 4),
)
_add("gather_columns", lambda x, k: x[jnp.argmax(k)], (3, 4), (3,))
_add("sort_rows", lambda x: jnp.sort(x, axis=-1), (3, 3))
_add(
    "dynamic_rows",
    lambda x, k: lax.dynamic_slice(x, (jnp.argmax(k), 0), (2, 3)),
    (4, 3),
    (3,),
)
_add(
    "dynamic_update",
    lambda x, u, k: lax.dynamic_update_slice(x, u, (jnp.argmax(k), 0)),
    (4, 3),
    (2, 3),
    (3,),
)
_add(
    "scatter_rows",
    lambda u, k: jnp.zeros((3, 3)).at[jnp.argmax(k)].add(jnp.sin(u)),
    (3,),
    (3,),
)
