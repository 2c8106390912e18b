"""The lecture's logistic regression, against JAX's own gradient and against NumPy."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import DTypeError, ShapeError
from funcnet.initializers import ones
from funcnet.models import logistic_backward, logistic_loss, logistic_regression

TIGHT: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}


def example(*batch: int, seed: int = 0, features: int = 5) -> tuple[jax.Array, ...]:
    """Weights, inputs and labels in float64."""
    rng = np.random.default_rng(seed)
    w, x = rng.normal(size=features), rng.normal(size=(*batch, features))
    y = rng.choice([-1.0, 1.0], batch)
    return jnp.asarray(w), jnp.asarray(x), jnp.asarray(y)


def sigma(u: Any) -> Any:
    return 1 / (1 + jnp.exp(-u))


def plain_loss(w: Any, x: Any, y: Any, weight: float = 1.0) -> Any:
    """The formula of the lecture, letter by letter, for one example."""
    return 0.5 * jnp.sum(w**2) - weight * jnp.log(sigma(y * jnp.dot(w, x)))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("seed", range(5))
def test_the_lectures_gradient_of_one_positive_example(seed: int) -> None:
    """-(1 - sigma) x^T is the gradient of -log p(y = +1 | x)."""
    w, x, _ = example(seed=seed)
    lecture = -(1 - sigma(w @ x)) * x
    gradient = jax.grad(lambda w: -jnp.log(sigma(w @ x)))(w)
    np.testing.assert_allclose(lecture, gradient, **TIGHT)
    by_hand = logistic_backward(w, x, 1, penalty=False)
    np.testing.assert_allclose(by_hand.w_bar, lecture, **TIGHT)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("weight", [1.0, 0.3, 20.0])
@pytest.mark.parametrize("y", [1, -1])
def test_the_full_gradient_for_both_labels(y: int, weight: float) -> None:
    """w - lambda (1 - sigma(y w.x)) y x is the gradient of L."""
    w, x, _ = example(seed=3)
    formula = w - weight * (1 - sigma(y * (w @ x))) * y * x
    for loss in (plain_loss, lambda *args: logistic_loss(*args[:3], likelihood_weight=args[3])):
        np.testing.assert_allclose(jax.grad(loss)(w, x, y, weight), formula, **TIGHT)
    by_hand = logistic_backward(w, x, y, likelihood_weight=weight)
    np.testing.assert_allclose(by_hand.w_bar, formula, **TIGHT)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("batch", [(), (1,), (7,), (0,), (3, 4)])
def test_batches_are_examples_one_by_one(batch: tuple[int, ...]) -> None:
    w, x, y = example(*batch)
    steps = logistic_backward(w, x, y, likelihood_weight=0.7)
    losses = logistic_loss(w, x, y, likelihood_weight=0.7)
    assert losses.shape == steps.u.shape == steps.p_bar.shape == steps.u_bar.shape == batch
    assert steps.w_bar.shape == (*batch, 5)
    np.testing.assert_allclose(steps.loss, losses, **TIGHT)
    for index in np.ndindex(batch):
        one = plain_loss(w, x[index], y[index], 0.7)
        gradient = jax.grad(plain_loss)(w, x[index], y[index], 0.7)
        np.testing.assert_allclose(losses[index], one, **TIGHT)
        np.testing.assert_allclose(steps.w_bar[index], gradient, **TIGHT)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("y", [1, -1])
def test_every_step_is_the_derivative_of_what_follows_it(y: int) -> None:
    w, x, _ = example(seed=1)
    weight = 0.4
    steps = logistic_backward(w, x, y, likelihood_weight=weight)
    np.testing.assert_allclose(steps.u, w @ x, **TIGHT)
    np.testing.assert_allclose(steps.p, sigma(y * steps.u), **TIGHT)
    p_bar = jax.grad(lambda p: -weight * jnp.log(p))(steps.p)
    np.testing.assert_allclose(steps.p_bar, p_bar, **TIGHT)
    (u_bar,) = jax.vjp(lambda u: sigma(y * u), steps.u)[1](p_bar)
    np.testing.assert_allclose(steps.u_bar, u_bar, **TIGHT)
    (w_bar,) = jax.vjp(lambda w: w @ x, w)[1](u_bar)
    np.testing.assert_allclose(steps.w_bar, w + w_bar, **TIGHT)


@pytest.mark.usefixtures("x64")
def test_forward_mode_and_hessian_of_the_mean_loss() -> None:
    w, x, y = example(20, seed=4)
    t = jnp.asarray(np.random.default_rng(9).normal(size=5))

    def ours(w: Any) -> Any:
        return jnp.mean(logistic_loss(w, x, y, likelihood_weight=2.0))

    def plain(w: Any) -> Any:
        return jnp.mean(jax.vmap(plain_loss, (None, 0, 0, None))(w, x, y, 2.0))

    @functools.partial(jax.jit, static_argnums=0)
    def derivatives(loss: Any, w: Any) -> tuple[Any, ...]:
        return *jax.jvp(loss, (w,), (t,)), jax.grad(loss)(w), jax.hessian(loss)(w)

    for a, b in zip(derivatives(ours, w), derivatives(plain, w), strict=True):
        np.testing.assert_allclose(a, b, **TIGHT)
    p = sigma(x @ w)
    hessian = jnp.eye(5) + 2.0 * (x.T * (p * (1 - p))[None, :]) @ x / 20
    np.testing.assert_allclose(derivatives(ours, w)[-1], hessian, **TIGHT)


@pytest.mark.parametrize("u", [-200.0, 200.0])
def test_certain_mistakes_have_finite_gradients(u: float) -> None:
    """sigma(-200) is 0 in float32 and p-bar infinite, but the gradient is -lambda y x."""
    w, x = jnp.array([u]), jnp.array([1.0])
    y = -int(np.sign(u))
    steps = logistic_backward(w, x, y, penalty=False)
    np.testing.assert_allclose([steps.loss, steps.u_bar, steps.w_bar[0]], [200.0, -y, -y])
    np.testing.assert_allclose(jax.grad(logistic_loss)(w, x, y), w - y)


def test_labels_may_be_floats() -> None:
    w, x = jnp.array([1.0, 2.0]), jnp.array([0.5, 0.1])
    np.testing.assert_array_equal(logistic_loss(w, x, -1), logistic_loss(w, x, -1.0))


def test_the_layer() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 3, 4))
    net = logistic_regression(weight_init=ones())
    params = net.init(jax.random.key(1), x)
    assert jax.tree.map(jnp.shape, params) == {"w": (4,)}
    np.testing.assert_allclose(net.apply(params, x), x.sum(-1), rtol=1e-5)
    shape = jax.ShapeDtypeStruct((5,), jnp.float32)
    np.testing.assert_array_equal(logistic_regression().init(jax.random.key(1), shape)["w"], 0)


@pytest.mark.parametrize("function", [logistic_loss, logistic_backward])
def test_what_does_not_fit_is_told(function: Any) -> None:
    w, x, y = jnp.ones(3), jnp.ones((4, 3)), jnp.ones(4)
    with pytest.raises(ShapeError, match=rf"{function.__name__}: w must .*\(2,\) and \(4, 3\)"):
        function(w[:2], x, y)
    with pytest.raises(ShapeError, match="w must have the shape"):
        function(w[None], x, y)
    with pytest.raises(ShapeError, match=r"one label per example, of shape \(4,\), got \(\)"):
        function(w, x, 1)
    with pytest.raises(DTypeError, match="one dtype, got float32 and bfloat16"):
        function(w, x.astype(jnp.bfloat16), y)
    with pytest.raises(ShapeError, match=r"\(\.\.\., features\), got a scalar"):
        logistic_regression().init(jax.random.key(0), jnp.float32(1))
