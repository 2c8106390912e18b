"""Losses of regression at ties, kinks, infinities and NaN, and in every dtype."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.primitives import absolute_error, huber_loss, squared_error
from tests.primitives.exact import DTYPES, values_of

INF, NAN = np.inf, np.nan
LOSSES = [squared_error, absolute_error, huber_loss]
NAIVE: dict[Any, Any] = {
    squared_error: lambda d: d**2,
    absolute_error: np.abs,
    huber_loss: lambda d: np.where(np.abs(d) <= 1, d**2 / 2, np.abs(d) - 0.5),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_values_are_numpys_rounded_once(loss: Any, dtype: str) -> None:
    with jax.enable_x64(True), np.errstate(all="ignore"):
        specials = jnp.array([0.0, 1.0, -1.0, 0.25, 3.0, -200.0, INF, -INF, NAN], dtype)
        p, q = (x.ravel() for x in jnp.meshgrid(specials, specials))
        wanted = jnp.asarray(NAIVE[loss](values_of(p) - values_of(q))).astype(dtype)
        got = loss(p, q)
        assert got.dtype == dtype
        np.testing.assert_array_equal(values_of(got), values_of(wanted))


@pytest.mark.parametrize(
    ("loss", "difference", "slope", "curvature"),
    [
        (squared_error, 0.0, 0, 2),
        (squared_error, -3.0, -6, 2),
        (squared_error, INF, INF, 2),
        (absolute_error, 0.0, 0, 0),
        (absolute_error, -0.0, 0, 0),
        (absolute_error, 1e-30, 1, 0),
        (absolute_error, -INF, -1, 0),
        (absolute_error, NAN, NAN, 0),
        (huber_loss, 0.0, 0, 1),
        (huber_loss, 0.5, 0.5, 1),
        (huber_loss, 1.0, 1, 1),
        (huber_loss, -1.0, -1, 1),
        (huber_loss, 1.5, 1, 0),
        (huber_loss, 1e30, 1, 0),
        (huber_loss, -INF, -1, 0),
        (huber_loss, NAN, NAN, 0),
    ],
)
def test_slopes_at_ties_and_kinks(
    loss: Any, difference: float, slope: float, curvature: float
) -> None:
    p, q = jnp.float32(difference), jnp.float32(0)
    np.testing.assert_array_equal(jax.grad(loss, (0, 1))(p, q), (slope, -slope))
    np.testing.assert_array_equal(jax.jvp(lambda p: loss(p, q), (p,), (1.0,))[1], slope)
    np.testing.assert_array_equal(jax.jvp(lambda q: loss(p, q), (q,), (1.0,))[1], -slope)
    for second in (jax.grad(jax.grad(loss)), jax.jacfwd(jax.grad(loss))):
        np.testing.assert_array_equal(second(p, q), curvature)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_one_value_per_example(loss: Any) -> None:
    p = jnp.arange(24.0).reshape(2, 3, 4) / 10
    q = jnp.ones((2, 3, 4))
    assert loss(p, q).shape == (2,)
    assert loss(p[:, 0, 0], q[:, 0, 0]).shape == (2,)
    assert loss(p[0, 0, 0], q[0, 0, 0]).shape == ()
    np.testing.assert_allclose(loss(p, q), NAIVE[loss](np.asarray(p - q)).sum((1, 2)), rtol=1e-5)
    weights = jnp.array([1.0, 10.0])
    gradient = jax.vjp(loss, p, q)[1](weights)
    np.testing.assert_allclose(
        gradient[0][1], 10 * jax.vjp(loss, p[1:], q[1:])[1](weights[:1])[0][0]
    )
    np.testing.assert_array_equal(gradient[0], -gradient[1])
    assert loss(jnp.zeros((0, 3)), jnp.zeros((0, 3))).shape == (0,)
    np.testing.assert_array_equal(loss(jnp.zeros((2, 0)), jnp.zeros((2, 0))), [0, 0])


def test_the_end_of_the_parabola() -> None:
    assert huber_loss(3.0, 0.0, delta=2.0) == 4.0
    assert jax.grad(huber_loss)(3.0, 0.0, delta=2.0) == 2.0
    assert huber_loss(3.0, 0.0, delta=INF) == 4.5
    for delta in (0.0, -1.0, NAN):
        with pytest.raises(ArgumentError, match="huber_loss: delta must be above 0"):
            huber_loss(3.0, 0.0, delta=delta)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_targets_of_any_dtype(loss: Any) -> None:
    p = jnp.array([[1.5, 3.0]])
    for dtype in (jnp.int32, jnp.bfloat16, jnp.float16):
        q = jnp.array([[1, 2]], dtype)
        value, pull = jax.vjp(lambda p, q=q: loss(p, q), p)
        np.testing.assert_array_equal(value, loss(p, jnp.array([[1.0, 2.0]])))
        assert pull(value)[0].dtype == jnp.float32
    q = jnp.array([[1.0, 2.0]], jnp.bfloat16)
    assert jax.grad(lambda q: loss(p, q).sum())(q).dtype == jnp.bfloat16
    assert jax.jvp(lambda q: loss(p, q), (q,), (q,))[1].dtype == jnp.float32


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_what_does_not_fit(loss: Any) -> None:
    with pytest.raises(ShapeError, match=rf"{loss.name}: .*\(3,\) and \(3, 1\)"):
        loss(jnp.zeros(3), jnp.zeros((3, 1)))
    with pytest.raises(DTypeError, match=loss.name):
        loss(jnp.zeros(3, jnp.int32), jnp.zeros(3))
