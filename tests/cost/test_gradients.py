"""Gradients in three modes: they agree, the estimate on average and with the stated variance."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet.cost import GradientMode, value_and_grad
from funcnet.errors import ArgumentError, DTypeError, MissingKeyError, ShapeError

MODES: tuple[GradientMode, ...] = ("reverse", "forward", "forward_estimate")
PARAMS = {"w": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), "b": jnp.array([0.1, -0.2, 0.3])}
X = jnp.array([[0.5, -1.0], [2.0, 0.3]])


def loss(params: Any, x: Any) -> Any:
    return jnp.sum(jnp.tanh(x @ params["w"] + params["b"][None]) ** 2)


def with_aux(params: Any, x: Any) -> Any:
    return loss(params, x), {"doubled": 2.0 * x, "word": 3}


@pytest.mark.parametrize("argnums", [0, -1, (1, 0)], ids=str)
def test_forward_is_reverse(argnums: Any) -> None:
    value, gradient = jax.jit(jax.value_and_grad(loss, argnums))(PARAMS, X)
    modes: tuple[GradientMode, ...] = ("reverse", "forward")
    for mode in modes:
        ours, gradient_of_ours = jax.jit(value_and_grad(loss, argnums, mode=mode))(PARAMS, X)
        np.testing.assert_allclose(ours, value, rtol=1e-6)
        jax.tree.map(  # which also says that the structures are the same
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            gradient_of_ours,
            gradient,
        )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("directions", [1, 3])
def test_one_signature(mode: Any, directions: int) -> None:
    key = jax.random.key(0)
    compute = value_and_grad(with_aux, (0, 1), True, mode=mode, directions=directions)
    (value, aux), gradient = jax.jit(compute)(PARAMS, X, key=key)
    np.testing.assert_allclose(value, loss(PARAMS, X), rtol=1e-6)
    np.testing.assert_array_equal(aux["doubled"], 2.0 * X)
    assert aux["word"] == 3
    assert jax.tree.map(jnp.shape, gradient) == jax.tree.map(jnp.shape, (PARAMS, X))
    # A key is taken in every mode, so that modes can be exchanged.
    alone = value_and_grad(loss, mode=mode, directions=directions)
    assert set(jax.eval_shape(lambda: alone(PARAMS, X, key=key))[1]) == {"w", "b"}


def test_the_estimate_is_right_on_average_and_varies_as_said() -> None:
    n, samples, directions = 9, 4000, 2
    gradient = jax.grad(loss)(PARAMS, X)
    estimate = value_and_grad(loss, mode="forward_estimate", directions=directions)
    keys = jax.random.split(jax.random.key(0), samples)
    draws = jax.jit(jax.vmap(lambda key: estimate(PARAMS, X, key=key)[1]))(keys)
    flat, true = (
        np.concatenate([np.asarray(t[k]).reshape(*lead, -1) for k in ("w", "b")], axis=-1)
        for t, lead in ((draws, (samples,)), (gradient, ()))
    )
    variance = (n + 1) * np.sum(true**2) / directions
    error = np.linalg.norm(flat.mean(axis=0) - true)
    assert error < 3 * np.sqrt(variance / samples)
    assert flat.var(axis=0).sum() == pytest.approx(variance, rel=0.1)


def test_forward_modes_pass_where_reverse_does_not() -> None:
    def f(x: Any) -> Any:
        return jnp.sum(lax.while_loop(lambda c: jnp.sum(c) > 1.0, lambda c: 0.5 * c, x))

    value, gradient = value_and_grad(f, mode="forward")(jnp.ones(3))
    assert value == 0.75 and gradient.tolist() == [0.25] * 3
    value_and_grad(f, mode="forward_estimate")(jnp.ones(3), key=jax.random.key(0))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_gradients_have_the_dtype_of_the_argument(dtype: str) -> None:
    for mode in MODES:
        compute = value_and_grad(lambda x: jnp.sum(x * x).astype(jnp.float32), mode=mode)
        made = jax.eval_shape(lambda f=compute: f(jnp.ones(3, dtype), key=jax.random.key(0)))
        assert made[1].dtype == dtype


def test_python_numbers() -> None:
    for mode in MODES:
        value, gradient = value_and_grad(lambda x: x * x, mode=mode)(3.0, key=jax.random.key(0))
        assert float(value) == 9.0 and gradient.shape == ()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("f", "args", "error", "message"),
    [
        (jnp.sin, (jnp.ones(3),), ShapeError, r"shape \(3,\).*jnp.mean"),
        (jnp.sin, (jnp.ones(1),), ShapeError, r"shape \(1,\)"),
        (lambda x: (x, x), (1.0,), ShapeError, "returned a tuple.*has_aux=True"),
        (lambda x: {"loss": x}, (1.0,), ShapeError, "returned a dict"),
        (lambda x: None, (1.0,), ShapeError, "returned a NoneType"),
        (lambda x: 3, (1.0,), DTypeError, "returned int32"),
        (lambda x: x * 1j, (1.0,), DTypeError, "returned complex64"),
        (jnp.sin, (3,), DTypeError, "x is int32"),
        (jnp.sin, (3j,), DTypeError, "x is complex64"),
        (lambda x: 1.0, ("a",), DTypeError, "x is a str"),
        (jnp.sin, (), ArgumentError, "given 0 arguments"),
    ],
)
def test_bad_input(mode: Any, f: Any, args: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        value_and_grad(f, mode=mode)(*args, key=jax.random.key(0))


def test_bad_options() -> None:
    with pytest.raises(ArgumentError, match="mode='backward' is none of 'reverse', 'forward'"):
        value_and_grad(loss, mode="backward")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="directions=0"):
        value_and_grad(loss, mode="forward_estimate", directions=0)
    with pytest.raises(MissingKeyError, match=r"pass key=jax.random.key\(0\)"):
        value_and_grad(loss, mode="forward_estimate")(PARAMS, X)
    with pytest.raises(ArgumentError, match="has_aux=True, but f returned"):
        value_and_grad(loss, has_aux=True)(PARAMS, X)
    with pytest.raises(ArgumentError, match="argnums=2, but f was given 2 arguments"):
        value_and_grad(loss, 2)(PARAMS, X)
