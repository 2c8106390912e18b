"""Operations and bytes: against XLA's own count, against counts by hand, and through loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet.jaxprs import Cost, Tally, flops
from funcnet.jaxprs.operations import count_operations


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def xla(f: Callable[..., Any], *args: Any) -> tuple[float, float]:
    """FLOPs and transcendentals as XLA counts them in the function as it was written."""
    counts: Any = jax.jit(f).lower(*args).cost_analysis()
    return counts.get("flops", 0.0), counts.get("transcendentals", 0.0)


def conv(padding: Any, strides: tuple[int, int] = (1, 1), **options: Any) -> Callable[..., Any]:
    layout = ("NHWC", "HWIO", "NHWC")
    return lambda x, w: lax.conv_general_dilated(
        x, w, strides, padding, dimension_numbers=layout, **options
    )


def gradients(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: jax.vjp(f, *args)[1](jnp.ones_like(f(*args)))


IMAGE, KERNEL = ones(2, 9, 8, 4), ones(3, 3, 4, 6)

AS_XLA: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "matmul": (jnp.matmul, (ones(4, 5), ones(5, 6))),
    "batched matmul": (jnp.matmul, (ones(3, 4, 5), ones(3, 5, 6))),
    "vector product": (jnp.vdot, (ones(7), ones(7))),
    "two contracted axes": (lambda a, b: lax.dot_general(a, b, (((0, 2), (1, 0)), ((), ()))),
                            (ones(2, 5, 3), ones(3, 2, 4))),
    "convolution, valid": (conv("VALID"), (IMAGE, KERNEL)),
    "convolution, same": (conv("SAME"), (IMAGE, KERNEL)),
    "convolution, strided": (conv("SAME", (2, 3)), (IMAGE, KERNEL)),
    "convolution, odd padding": (conv([(2, 0), (-1, 4)], (2, 1)), (IMAGE, KERNEL)),
    "convolution, dilated kernel": (conv("VALID", rhs_dilation=(2, 1)), (IMAGE, KERNEL)),
    "convolution, dilated image": (conv([(1, 1), (2, 2)], lhs_dilation=(2, 3)), (IMAGE, KERNEL)),
    "convolution, grouped": (conv("SAME", feature_group_count=2), (IMAGE, ones(3, 3, 2, 6))),
    "convolution, batch groups": (conv("SAME", batch_group_count=2), (IMAGE, KERNEL)),
    "convolution, both gradients": (gradients(conv("SAME", (2, 2))), (IMAGE, KERNEL)),
    "arithmetic": (lambda x, y: x * y - x / y + abs(x), (ones(3, 4), ones(3, 4))),
    "comparison and choice": (lambda x: jnp.where(x > 0.0, x, 2.0 * x), (ones(9),)),
    "clamp": (lambda x: lax.clamp(0.0, x, 1.0), (ones(9),)),
    "logic": (lambda x: (x > 0.0) & (x < 1.0) | ~(x == 2.0), (ones(9),)),
    "transcendental": (lambda x: jnp.exp(x) + jnp.log1p(x) * lax.rsqrt(x) - lax.erf(x), (ones(9),)),
    "two arguments": (jnp.power, (ones(9), ones(9))),
    "sum": (lambda x: x.sum(0), (ones(5, 6),)),
    "max": (jnp.max, (ones(5, 6),)),
    "window": (lambda x: lax.reduce_window(x, -np.inf, lax.max, (2, 3), (1, 2), "SAME"),
               (ones(6, 7),)),
    "sort": (jnp.sort, (ones(16),)),
    "scattered sum": (lambda x, u: x.at[np.array([2, 0])].add(u, mode="promise_in_bounds",
                      wrap_negative_indices=False), (ones(5, 3), ones(2, 3))),
    "moving": (lambda x: jnp.concatenate([x.T, x[::-1, :4].T], 1)[:, 1:], (ones(5, 4),)),
    "matrix chain in calls": (lambda x, w: jax.checkpoint(jnp.matmul)(jax.nn.relu(x @ w), w),
                              (ones(3, 4), ones(4, 4))),
}  # fmt: skip


@pytest.mark.parametrize("name", AS_XLA)
def test_counts_as_xla(name: str) -> None:
    f, args = AS_XLA[name]
    cost = flops(f, *args)
    assert (cost.flops, cost.transcendentals) == xla(f, *args)
    assert not cost.unknown
    assert not cost.unbounded


BY_HAND: dict[str, tuple[Callable[..., Any], tuple[Any, ...], int, int]] = {
    "square": (lambda x: x**2, (ones(3),), 3, 0),
    "ninth power": (lambda x: x**9, (ones(3),), 12, 0),
    "x^-3": (lambda x: lax.integer_pow(x, -3), (ones(3),), 9, 0),
    "x^0": (lambda x: lax.integer_pow(x, 0), (ones(3),), 0, 0),
    "running sum": (lambda x: jnp.cumsum(x, 1), (ones(2, 8),), 16, 0),
    "argmax": (lambda x: jnp.argmax(x, 1), (ones(2, 8),), 16, 0),
    "top 4 of 8": (lambda x: lax.top_k(x, 4), (ones(2, 8),), 32, 0),
    "one sort per row": (lambda x: jnp.sort(x, 0), (ones(16, 3),), 3 * 16 * 4, 0),
    "conversion": (lambda x: x.astype(jnp.int32).reshape(3, 2), (ones(2, 3),), 0, 0),
    "lu": (lambda a: lax.linalg.lu(a)[0], (np.eye(6, dtype=np.float32),), 144, 0),
    "triangular solve": (lambda a, b: lax.linalg.triangular_solve(a, b, left_side=True),
                         (np.eye(6, dtype=np.float32), ones(6, 2)), 72, 0),
    "fft": (lambda x: jnp.fft.fft(x), (np.ones((3, 8), np.complex64),), 3 * 5 * 8 * 3, 0),
    "ragged product": (lambda x, w: lax.ragged_dot(x, w, jnp.array([1, 4])),
                       (ones(5, 3), ones(2, 3, 7)), 2 * 5 * 3 * 7, 0),
    "relu": (jax.nn.relu, (ones(4),), 4, 0),
    "sigmoid": (jax.nn.sigmoid, (ones(4),), 0, 4),
    "random bits": (lambda seed: jax.random.bits(jax.random.key(seed), (4,)), (7,), 0, 0),
    "nothing": (lambda x: (x, 1.0), (ones(4),), 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_counts_by_hand(name: str) -> None:
    f, args, expected_flops, expected_transcendentals = BY_HAND[name]
    cost = flops(f, *args)
    assert (cost.flops, cost.transcendentals) == (expected_flops, expected_transcendentals)
    assert not cost.unknown


BYTES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], int]] = {
    "two operands, one result": (lambda x, y: x + y, (ones(5), ones(5)), 60),
    "one operand twice": (lambda x: x * x, (ones(5),), 40),
    "a number in the code": (lambda x: 2.0 * x, (ones(5),), 40),
    "half precision": (lambda x: -x, (jax.ShapeDtypeStruct((5,), jnp.bfloat16),), 20),
    "a verdict": (lambda x, y: x < y, (ones(5), ones(5)), 45),
    "reshape": (lambda x: x.reshape(2, 5), (ones(10),), 0),
    "transpose": (lambda x: x.T, (ones(2, 5),), 80),
    "slice": (lambda x: x[:2], (ones(1000),), 16),
    "update": (lambda x, y: lax.dynamic_update_slice_p.bind(x, y, np.int32(3)),
               (ones(1000), ones(2)), 16),
    "product": (jnp.matmul, (ones(4, 5), ones(5, 6)), 4 * (20 + 30 + 24)),
}  # fmt: skip


@pytest.mark.parametrize("name", BYTES)
def test_bytes(name: str) -> None:
    f, args, expected = BYTES[name]
    assert flops(f, *args).bytes == expected


def matmul_chain(w: Any, x: Any, length: int) -> Any:
    return lax.scan(lambda c, _: (jnp.tanh(c @ w), None), x, None, length=length)[0]


def test_loops_multiply_where_xla_counts_once() -> None:
    w, x, one = ones(8, 8), ones(4, 8), 2 * 4 * 8 * 8
    assert flops(lambda w, x: matmul_chain(w, x, 100), w, x).flops == 100 * one
    assert xla(lambda w, x: matmul_chain(w, x, 100), w, x)[0] < 2 * one
    assert flops(lambda w, x: matmul_chain(w, x, 0), w, x).flops == 0
    unrolled = flops(lambda w, x: jnp.tanh(jnp.tanh(x @ w) @ w), w, x)
    assert flops(lambda w, x: matmul_chain(w, x, 2), w, x) == unrolled


def test_nested_loops_multiply() -> None:
    def f(w: Any, x: Any) -> Any:
        return lax.scan(lambda c, _: (matmul_chain(w, c, 7), c.sum()), x, None, length=5)

    cost = flops(f, ones(8, 8), ones(4, 8))
    assert cost.flops == 35 * 2 * 4 * 8 * 8 + 5 * 31
    assert cost.transcendentals == 35 * 32
    assert cost.by_primitive["tanh"].runs == 35


def test_the_gradient_of_a_loop_costs_three_times_the_loop() -> None:
    def loss(w: Any, x: Any) -> Any:
        return matmul_chain(w, x, 50).sum()

    w, x = ones(64, 64), ones(16, 64)
    forward = flops(loss, w, x).by_primitive["dot_general"]
    both = flops(jax.grad(loss, (0, 1)), w, x).by_primitive["dot_general"]
    assert both.flops == 3 * forward.flops
    # Without a gradient for x, the first round needs no cotangent, but a scan does not know.
    assert flops(jax.grad(loss), w, x).by_primitive["dot_general"].flops == 3 * forward.flops


def test_a_gradient_that_is_not_asked_for_costs_nothing() -> None:
    w, x = ones(8, 5), ones(4, 8)
    product = 2 * 4 * 8 * 5

    def loss(w: Any, x: Any) -> Any:
        return jnp.sum((x @ w) ** 2)

    def cost(argnums: Any) -> int:
        return flops(jax.grad(loss, argnums), w, x).by_primitive["dot_general"].flops

    assert cost(0) == cost(1) == 2 * product
    assert cost((0, 1)) == 3 * product
    assert (
        flops(lambda w, x: jax.vjp(loss, w, x)[1](jnp.float32(1.0))[0], w, x).flops
        == flops(jax.grad(loss), w, x).flops
    )


def test_a_cond_costs_its_costliest_branch() -> None:
    def f(flag: Any, x: Any) -> Any:
        return lax.cond(flag, lambda x: x + 1.0, lambda x: matmul_chain(x, x, 3), x)

    cost = flops(f, True, ones(4, 4))
    assert cost.by_primitive["dot_general"].flops == 3 * 2 * 64
    assert "add" not in cost.by_primitive


def test_a_while_loop_is_listed_and_counted_once() -> None:
    def f(n: Any, x: Any) -> Any:
        return lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] @ x), (0, x))[1]

    cost = flops(f, 3, ones(4, 4))
    assert cost.by_primitive["dot_general"].flops == 2 * 64
    (where,) = cost.unbounded
    assert "test_jaxprs_cost.py" in where
    assert f"{where}: a loop of unknown length, taken once" in str(cost)
    inner = flops(lambda n, x: lax.map(lambda y: f(n, y), x), 3, ones(5, 4, 4))
    assert inner.by_primitive["dot_general"].flops == 5 * 2 * 64
    assert inner.unbounded


def test_a_loop_with_a_fixed_number_of_rounds_is_not_listed() -> None:
    cost = flops(lambda x: lax.fori_loop(0, 6, lambda i, c: c * x, x), ones(4))
    assert (cost.by_primitive["mul"].flops, cost.unbounded) == (24, frozenset())


def test_unknown_primitives_are_listed() -> None:
    cost = flops(lambda a: jnp.linalg.eigh(a), np.eye(4, dtype=np.float32))
    assert "eigh" in cost.unknown
    assert cost.by_primitive["eigh"].flops == 4 * 4 + 4
    assert "eigh: no rule, taken as one FLOP per result" in str(cost)


def test_custom_rules_are_entered() -> None:
    cost = flops(jax.jit(lambda x: jax.jit(jax.nn.relu)(x)), ones(4))
    assert cost == Cost({"max": Tally(1, 4, 0, 32)})


def test_arguments_may_be_shapes_and_trees() -> None:
    shapes = (
        {"w": jax.ShapeDtypeStruct((4, 5), jnp.float32)},
        jax.ShapeDtypeStruct((3, 4), "float32"),
    )
    assert flops(lambda p, x: x @ p["w"], *shapes).flops == 120


def test_costs_add_up() -> None:
    one, two = flops(jnp.sin, ones(3)), flops(lambda x: jnp.sin(x) + x, ones(3))
    total = one + two * 2
    assert (total.flops, total.transcendentals, total.bytes) == (6, 9, 24 + 2 * (24 + 36))
    assert total.by_primitive["sin"] == Tally(3, 0, 9, 72)


def test_the_table_lists_the_costliest_first() -> None:
    lines = str(flops(lambda x: jnp.sin(x @ x), ones(4, 4))).splitlines()
    assert [line.split()[0] for line in lines if line[0] != "-"] == [
        "primitive",
        "dot_general",
        "sin",
        "total",
    ]
    assert "<td" in flops(jnp.sin, ones(3))._repr_html_()


def test_every_count_is_an_exact_integer() -> None:
    def f(x: Any, w: Any) -> Any:
        return lax.scan(lambda c, _: (conv("SAME")(c, w), jnp.sort(c)), x, None, length=10**6)

    cost = flops(f, ones(2, 9, 8, 4), ones(3, 3, 4, 4))
    for number in (cost.flops, cost.transcendentals, cost.bytes):
        assert type(number) is int
    assert cost.flops % 10**6 == 0


def test_cholesky() -> None:
    cost = flops(lax.linalg.cholesky, np.eye(6, dtype=np.float32))
    assert cost.by_primitive["cholesky"].flops == 72


def test_operations_name_what_they_do_not_know() -> None:
    (eqn,) = jax.make_jaxpr(lax.linalg.svd)(ones(3, 3)).jaxpr.eqns
    assert not count_operations(eqn).known
