"""Broadcasting is undone as JAX undoes it, whatever the flags say."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ShapeError
from funcnet.primitives import add, divide, maximum, minimum, multiply, power, subtract
from funcnet.primitives.broadcast import align, spread, unbroadcast

GATES: dict[Any, Any] = {
    add: jnp.add,
    subtract: jnp.subtract,
    multiply: jnp.multiply,
    divide: jnp.divide,
    power: jnp.power,
    maximum: jnp.maximum,
    minimum: jnp.minimum,
}
SHAPES = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (4, 2, 3)),
    ((2, 1), (1, 3)),
    ((4, 1, 3), (2, 1)),
    ((), (2, 3)),
    ((1,), (2, 3)),
    ((1, 1), (2, 3)),
    ((0, 3), (3,)),
    ((0, 1), (1, 3)),
    ((), ()),
]
MIXED = [((2, 3), (3,)), ((3,), (4, 2, 3)), ((4, 1, 3), (2, 1)), ((), (2, 3))]


def sample(shape: tuple[int, ...], seed: int) -> jax.Array:
    return jax.random.uniform(jax.random.key(seed), shape, minval=0.5, maxval=2.0)


def test_unbroadcast_is_the_transpose_of_broadcasting() -> None:
    for small, large in [*SHAPES, *((b, a) for a, b in SHAPES)]:
        full = np.broadcast_shapes(small, large)
        ct = np.random.default_rng(0).uniform(0.5, 2.0, full).astype(np.float32)
        axes = tuple(range(len(full) - len(small)))
        stretched = tuple(i for i, n in enumerate(small) if n == 1 and full[len(axes) + i] != 1)
        wanted = ct.sum(axes).sum(stretched, keepdims=True).reshape(small)
        np.testing.assert_allclose(
            unbroadcast(jnp.asarray(ct), jnp.zeros(small)), wanted, rtol=1e-6, err_msg=f"{small}"
        )


def both_modes(gate: Any, samples: Any) -> Any:
    """Value, cotangents and tangent of a gate at all samples."""

    def compute() -> Any:
        out = []
        for a, b in samples:
            y, pull = jax.vjp(gate, a, b)
            out.append((y, *pull(jnp.cos(y)), jax.jvp(gate, (a, b), (2 * a, 3 * b))[1]))
        return out

    return jax.jit(compute)()


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
def test_gates_broadcast_as_numpy_does(gate: Any) -> None:
    samples = [(sample(a, i), sample(b, i + 100)) for i, (a, b) in enumerate(MIXED)]
    with jax.numpy_rank_promotion("allow"):
        wanted = both_modes(GATES[gate], samples)
    for promotion in ("allow", "raise"):
        with jax.numpy_rank_promotion(promotion):
            got = both_modes(gate, samples)
        for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
def test_shapes_that_do_not_fit_are_named(gate: Any) -> None:
    with pytest.raises(ShapeError, match=rf"{gate.name}: shapes \(2, 3\) and \(2,\)"):
        gate(jnp.zeros((2, 3)), jnp.zeros(2))


def test_align_adds_axes_in_front_alone() -> None:
    a, b = align("gate", jnp.zeros((2, 3)), 1.0)
    assert a.shape == (2, 3)
    assert b.shape == (1, 1)


def test_a_cotangent_takes_the_dtype_of_its_argument() -> None:
    wide, narrow = jnp.float32, jnp.bfloat16
    assert unbroadcast(jnp.ones(3, narrow), jnp.zeros((), wide)).dtype == wide
    assert unbroadcast(jnp.ones(3, wide), jnp.zeros((), narrow)).dtype == narrow
    assert spread(jnp.ones((), narrow), jnp.zeros(3, wide)).dtype == wide


def test_uses_are_added_up_in_the_wider_dtype() -> None:
    # In bfloat16, 256 + 1 is 256. Added up in it, the sum would stop there.
    ones = jnp.ones(1000, jnp.bfloat16)
    assert unbroadcast(ones, jnp.zeros((), jnp.float32)) == 1000
    assert unbroadcast(ones, jnp.zeros((), jnp.bfloat16)) == 1000


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
def test_python_numbers_do_not_widen(gate: Any) -> None:
    x = jnp.full(3, 1.5, jnp.bfloat16)
    assert gate(x, 2.0).dtype == jnp.bfloat16
    assert gate(2.0, x).dtype == jnp.bfloat16
    ct_x, ct_number = jax.grad(lambda x, a: gate(x, a).sum().astype(jnp.float32), (0, 1))(x, 2.0)
    assert (ct_x.dtype, ct_number.dtype) == (jnp.bfloat16, jnp.float32)


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
def test_mixed_dtypes_promote_as_in_jax_numpy(gate: Any) -> None:
    a, b = sample((2, 3), 0).astype(jnp.bfloat16), sample((2, 3), 1)
    with pytest.raises(Exception, match="no available implicit dtype promotion"):
        gate(a, b)  # strict, as all tests are
    with jax.numpy_dtype_promotion("standard"):
        got, wanted = both_modes(gate, [(a, b)]), both_modes(GATES[gate], [(a, b)])
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours.astype(float), theirs.astype(float), rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
def test_integers_have_values_and_no_derivative(gate: Any) -> None:
    a, b = jnp.array([2, 3]), jnp.array([2, 1])
    np.testing.assert_array_equal(gate(a, b), GATES[gate](a, b))
    with jax.numpy_dtype_promotion("standard"):
        y, pull = jax.vjp(gate, jnp.array([2.0, 3.0]), b)
        ct_a, ct_b = pull(jnp.ones_like(y))
    assert ct_a.dtype == jnp.float32
    assert ct_b.dtype == jax.dtypes.float0
