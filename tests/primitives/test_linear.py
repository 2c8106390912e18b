"""Products: any leading axes, precision of short floats, and the cost of plain JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ShapeError
from funcnet.primitives import affine, inner, linear, matmul


def plain_affine(x: Any, w: Any, b: Any) -> Any:
    y = x @ w
    return y + jnp.broadcast_to(b, y.shape)


LEADING = [(), (4,), (5, 6), (2, 1, 3), (0,), (2, 0)]
PAIRS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((7, 1, 2, 3), (5, 3, 4)),
    ((1, 1, 2, 3), (5, 3, 4)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((0, 2, 3), (3, 4)),
    ((5, 1, 1), (1, 1)),
    ((5, 2, 0), (0, 4)),
]
CASES: list[tuple[Any, Any, tuple[Any, ...]]] = [
    *((linear, jnp.matmul, ((*lead, 3), (3, 4))) for lead in LEADING),
    *((affine, plain_affine, ((*lead, 3), (3, 4), (4,))) for lead in LEADING),
    (linear, jnp.matmul, ((5, 6, 4), (4, 2))),
    *((matmul, jnp.matmul, pair) for pair in PAIRS),
    (inner, jnp.inner, ((3,), (3,))),
    (inner, jnp.inner, ((2, 3), (3,))),
    (inner, jnp.inner, ((2, 3), (5, 4, 3))),
    (inner, jnp.inner, ((0, 3), (5, 3))),
]
IDS = [f"{ours.name}-{'-'.join(map(str, shapes))}".replace(" ", "") for ours, _, shapes in CASES]


def samples(shapes: Any, dtype: Any = jnp.float32) -> list[jax.Array]:
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


def derivatives(f: Callable[..., Any]) -> Callable[..., Any]:
    """Value, all cotangents, and the tangents of each argument alone and of all."""

    def compute(*args: Any) -> Any:
        y, pull = jax.vjp(f, *args)
        ones = [jnp.sin(a + 1) for a in args]
        alone = [
            jax.jvp(lambda a, i=i: f(*args[:i], a, *args[i + 1 :]), (args[i],), (ones[i],))[1]
            for i in range(len(args))
        ]
        return y, pull(jnp.cos(y)), alone, jax.jvp(f, args, tuple(ones))[1]

    return compute


@pytest.mark.parametrize(("ours", "plain", "shapes"), CASES, ids=IDS)
def test_products_agree_with_plain_jax(ours: Any, plain: Any, shapes: Any) -> None:
    with jax.numpy_rank_promotion("allow"):
        both = jax.jit(lambda *args: [derivatives(f)(*args) for f in (ours, plain)])
        got, wanted = both(*samples(shapes))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_nothing_in_gives_a_gradient_of_zero() -> None:
    w, b = jnp.ones((3, 2)), jnp.ones(2)
    gradient = jax.grad(lambda w, b: affine(jnp.zeros((0, 3)), w, b).sum(), (0, 1))(w, b)
    for g in gradient:
        np.testing.assert_array_equal(g, jnp.zeros_like(g))


def test_a_single_vector_gives_an_outer_product() -> None:
    h, ct = jnp.array([1.0, 2.0, 3.0]), jnp.array([10.0, 20.0])
    _, pull = jax.vjp(lambda w: linear(h, w), jnp.zeros((3, 2)))
    np.testing.assert_array_equal(pull(ct)[0], np.outer(h, ct))


def test_the_jacobian_by_the_weights_is_a_block_row() -> None:
    h = jnp.array([1.0, 2.0, 3.0])
    jacobian = jax.jacobian(linear, argnums=1)(h, jnp.zeros((3, 2)))  # output, input, column
    for i in range(2):
        np.testing.assert_array_equal(jacobian[i, :, i], h)
        np.testing.assert_array_equal(jacobian[i, :, 1 - i], jnp.zeros(3))


# Short floats


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("f", [linear, matmul, lambda x, w: affine(x, w, w[0] * 0)])
def test_short_floats_are_added_up_in_float32(f: Any, dtype: Any) -> None:
    # 256 + 1 is 256 in bfloat16, 2048 + 1 is 2048 in float16: sums of 3000 ones would get stuck.
    x, w = jnp.ones((2, 2, 3000), dtype), jnp.ones((3000, 2), dtype)
    assert f(x, w).dtype == dtype
    assert f(x, w)[0, 0, 0].astype(float) == jnp.asarray(3000.0).astype(dtype).astype(float)
    batch = jnp.ones((1500, 2, 2), dtype)
    gradient = jax.grad(lambda w: f(batch, w).astype(jnp.float32).sum())(jnp.ones((2, 2), dtype))
    assert gradient.dtype == dtype
    assert gradient[0, 0].astype(float) == jnp.asarray(3000.0).astype(dtype).astype(float)


def test_the_bias_is_added_before_rounding() -> None:
    # 1 + 2^-8 is not a bfloat16, and 2^-8 more would make it one.
    x, w = jnp.ones((1, 2), jnp.bfloat16), jnp.array([[1.0], [2.0**-8]], jnp.bfloat16)
    b = jnp.array([2.0**-8], jnp.bfloat16)
    assert affine(x, w, b)[0, 0] == 1 + 2.0**-7


def test_mixed_dtypes_promote_as_in_jax_numpy() -> None:
    x, w, b = samples([(4, 3), (3, 2), (2,)])
    short = x.astype(jnp.bfloat16)
    with pytest.raises(Exception, match="no available implicit dtype promotion"):
        linear(short, w)
    with jax.numpy_dtype_promotion("standard"):
        for args in ((short, w, b), (x, w.astype(jnp.bfloat16), b), (x, w, b.astype(jnp.bfloat16))):
            y, pull = jax.vjp(affine, *args)
            assert y.dtype == jnp.float32
            assert [ct.dtype for ct in pull(y)] == [a.dtype for a in args]
            assert jax.jvp(affine, args, args)[1].dtype == jnp.float32


def test_integer_products() -> None:
    x, w = jnp.array([[1, 2]]), jnp.array([[3], [4]])
    for f in (linear, matmul):
        np.testing.assert_array_equal(f(x, w), [[11]])
    assert inner(x[0], w[:, 0]) == 11


# Shapes that do not fit


@pytest.mark.parametrize(
    ("f", "shapes", "match"),
    [
        (
            linear,
            [(5, 3), (2, 3)],
            r"linear: x of shape \(5, 3\) and w of shape \(2, 3\).*transpose",
        ),
        (linear, [(5, 3), (4, 2)], r"linear: .*\(inputs, outputs\)"),
        (linear, [(3,), (3,)], r"linear: x of shape \(3,\) and w of shape \(3,\)"),
        (linear, [(), (3, 2)], "linear"),
        (affine, [(5, 3), (4, 2), (2,)], "affine: x of shape"),
        (affine, [(5, 3), (3, 2), (3,)], r"affine: b of shape \(3,\) .*give b the shape \(2,\)"),
        (affine, [(5, 3), (3, 2), ()], r"affine: b of shape \(\)"),
        (affine, [(5, 3), (3, 2), (1, 2)], r"affine: b of shape \(1, 2\)"),
        (matmul, [(2, 3), (2, 3)], r"matmul: a of shape \(2, 3\) and b of shape \(2, 3\)"),
        (matmul, [(2, 2, 3), (3, 3, 4)], "matmul"),
        (matmul, [(3,), (2,)], "matmul"),
        (matmul, [(), (2,)], "matmul"),
        (inner, [(2, 3), (2, 2)], r"inner: a of shape \(2, 3\) and b of shape \(2, 2\)"),
        (inner, [(), (2,)], "inner: .*multiply"),
    ],
)
def test_shapes_that_do_not_fit_are_named(f: Any, shapes: Any, match: str) -> None:
    with pytest.raises(ShapeError, match=match):
        f(*(jnp.zeros(shape) for shape in shapes))


# Cost


def cost(f: Callable[..., Any], *args: Any) -> tuple[float, int]:
    """FLOPs and bytes of temporary memory of the compiled program."""
    compiled = jax.jit(f).lower(*args).compile()
    analysis: Any = compiled.cost_analysis()
    memory: Any = compiled.memory_analysis()
    return analysis.get("flops", 0.0), memory.temp_size_in_bytes


@pytest.mark.parametrize("argnums", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("lead", [(), (8,), (4, 6)], ids=str)
def test_derivatives_cost_what_those_of_plain_jax_cost(lead: Any, argnums: Any) -> None:
    args = samples([(*lead, 16), (16, 32), (32,)])
    ct = samples([(*lead, 32)])[0]

    def moving(f: Any, args: Any) -> Any:
        """As a function of some of its arguments."""

        def of_some(*some: Any) -> Any:
            full = list(args)
            for i, a in zip(argnums, some, strict=True):
                full[i] = a
            return f(*full)

        return of_some

    def gradient(f: Any) -> Any:
        def compute(args: Any, ct: Any) -> Any:
            return jax.vjp(moving(f, args), *(args[i] for i in argnums))[1](ct)

        return compute

    def tangent(f: Any) -> Any:
        def compute(args: Any, tangents: Any) -> Any:
            return jax.jvp(
                moving(f, args), [args[i] for i in argnums], [tangents[i] for i in argnums]
            )

        return compute

    for derivative, second in ((gradient, ct), (tangent, args)):
        flops, memory = cost(derivative(affine), args, second)
        plain_flops, plain_memory = cost(derivative(plain_affine), args, second)
        assert flops == plain_flops
        assert memory <= plain_memory


def test_the_gradient_by_the_weights_does_not_pay_for_the_inputs() -> None:
    x, w = samples([(64, 32), (32, 16)])
    ct = samples([(64, 16)])[0]
    flops, _ = cost(lambda x, w, ct: jax.vjp(lambda w: linear(x, w), w)[1](ct), x, w, ct)
    assert flops <= 2.1 * 64 * 32 * 16  # one product, and not two
