"""ADBench's objectives in `examples/` are what they are defined to be, as are their Jacobians."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from tests.test_examples import load

pytestmark = pytest.mark.usefixtures("x64")

gmm = load("adbench_gmm")
bundle = load("adbench_bundle_adjustment")
hand_tracking = load("adbench_hand_tracking")
lstm = load("adbench_lstm")


def complex_step(f: Any, x: np.ndarray) -> np.ndarray:
    """The Jacobian of an analytic function, column by column, without differences."""
    return np.stack([f(x + 1e-30j * unit).imag / 1e-30 for unit in np.eye(len(x))], axis=-1)


def test_mixture_is_a_likelihood_times_a_prior() -> None:
    *params, points = gmm.inputs("small")
    alphas, means, factors = params
    d = points.shape[1]
    density, prior = np.zeros(len(points)), 0.0
    for share, mean, packed in zip(np.exp(alphas), means, factors, strict=True):
        lower = np.diag(np.exp(packed[:d]))
        lower.T[np.triu_indices(d, 1)] = packed[d:]
        precision = lower.T @ lower
        normal = scipy.stats.multivariate_normal(mean, np.linalg.inv(precision))
        density += share / np.exp(alphas).sum() * normal.pdf(points)
        wishart = scipy.stats.wishart(d + gmm.M + 1, np.eye(d) / gmm.GAMMA**2)
        prior += wishart.logpdf(precision)
    expected = np.log(density).sum() + prior
    np.testing.assert_allclose(jax.jit(gmm.objective)(*params, points), expected, rtol=1e-12)
    np.testing.assert_allclose(gmm.objective_by_loops(*params, points), expected, rtol=1e-12)


def test_mixture_gradient() -> None:
    *params, points = gmm.inputs("small")
    gradient = jax.jit(jax.grad(gmm.objective, argnums=(0, 1, 2)))(*params, points)
    for i, (param, partial) in enumerate(zip(params, gradient, strict=True)):

        def f(x: Any, i: int = i, shape: Any = param.shape) -> Any:
            return gmm.objective_by_loops(*params[:i], x.reshape(shape), *params[i + 1 :], points)

        np.testing.assert_allclose(partial.ravel(), complex_step(f, param.ravel()), rtol=1e-10)


def test_bundle_adjustment() -> None:
    params, observations, features = bundle.inputs("small")
    f = jax.jit(bundle.make_residuals("small", observations, features))

    def by_loops(params: Any) -> Any:
        return bundle.residuals_by_loops(params, "small", observations, features)

    np.testing.assert_allclose(f(params), by_loops(params), rtol=1e-12, atol=1e-12)
    expected = complex_step(by_loops, params)
    np.testing.assert_allclose(jax.jit(jax.jacrev(f))(params), expected, rtol=1e-10, atol=1e-12)
    assert np.count_nonzero(expected) == 29 * len(observations)


def test_bundle_adjustment_at_no_rotation() -> None:
    vector = np.array([1.0, 2.0, 3.0])
    jacobian = jax.jit(jax.jacrev(lambda r: bundle.rotate(r, vector)))(np.zeros(3))
    np.testing.assert_array_equal(jacobian, np.cross(np.eye(3), vector).T)


def hand_by_loops(params: Any, hand: Any, chosen: Any, points: Any) -> np.ndarray:
    """The complicated residuals, one corner and one bone at a time."""
    theta, absolute = params[-26:], {-1: np.eye(4)}
    a, b, c = theta[:3]
    turn = scipy.linalg.expm(np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]]))
    for bone, parent in enumerate(hand_tracking.PARENTS):
        about_x, about_z = np.eye(4, dtype=params.dtype), np.eye(4, dtype=params.dtype)
        finger, joint = divmod(bone - 1, 4)
        if 0 <= finger < 5 and joint > 0:
            x, z, second, third = theta[6 + 4 * finger : 10 + 4 * finger]
            x = (x, second, third)[joint - 1]
            about_x[1:3, 1:3] = [[np.cos(x), -np.sin(x)], [np.sin(x), np.cos(x)]]
            if joint == 1:
                about_z[:2, :2] = [[np.cos(z), -np.sin(z)], [np.sin(z), np.cos(z)]]
        absolute[bone] = absolute[parent] @ hand.places[bone] @ about_z @ about_x
    residuals: list[Any] = []
    for k, (u, v) in enumerate(params[:-26].reshape(-1, 2)):
        on_skin = np.zeros(3, params.dtype)
        for share, corner in zip((u, v, 1 - u - v), hand.triangles[chosen[k]], strict=True):
            for bone, weights in enumerate(hand.weights):
                place = absolute[bone] @ hand.at_rest[bone] @ hand.vertices[corner]
                on_skin += share * weights[corner] * (turn @ place[:3])
        residuals.extend(points[k] - on_skin - theta[3:6])
    return np.array(residuals)


def test_hand_tracking() -> None:
    params, hand, chosen, points = hand_tracking.inputs("small")
    params, chosen, points = params[-34:], chosen[:4], points[:4]

    @jax.jit
    def f(params: Any) -> Any:
        return hand_tracking.complicated(params, hand, chosen, points)

    def by_loops(params: Any) -> Any:
        return hand_by_loops(params, hand, chosen, points)

    np.testing.assert_allclose(f(params), by_loops(params), rtol=1e-12, atol=1e-12)
    expected = complex_step(by_loops, params)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(f))(params), expected, rtol=1e-10, atol=1e-12)
    # Of the coordinates in triangles, each measured point sees its own two.
    own = np.kron(np.eye(len(points)), np.ones((3, 2)))
    np.testing.assert_array_equal(expected[:, :-26] != 0, own)


def test_hand_tracking_simple_is_complicated_at_a_corner() -> None:
    params, hand, chosen, points = hand_tracking.inputs("small")
    theta, first = params[-26:], hand.triangles[chosen, 0]
    simple, complicated = jax.jit(hand_tracking.simple), jax.jit(hand_tracking.complicated)
    at_corner = np.concatenate([np.tile([1.0, 0.0], len(points)), theta])
    np.testing.assert_allclose(
        simple(theta, hand, first, points),
        complicated(at_corner, hand, chosen, points),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        simple(np.zeros(26), hand, first, points),
        (points - hand.vertices[first, :3]).ravel(),
        atol=1e-12,
    )


def test_lstm() -> None:
    *params, state, sequence = lstm.inputs("small")
    value, gradient = jax.jit(jax.value_and_grad(lstm.objective, argnums=(0, 1)))(
        *params, state, sequence
    )
    main, extra = params
    np.testing.assert_allclose(
        value, lstm.objective_by_loops(main, extra, state, sequence), rtol=1e-12
    )

    def of_main(x: Any) -> Any:
        return lstm.objective_by_loops(x.reshape(main.shape), extra, state, sequence)

    def of_extra(x: Any) -> Any:
        return lstm.objective_by_loops(
            main.astype(complex), x.reshape(extra.shape), state, sequence
        )

    for partial, f, param in zip(gradient, (of_main, of_extra), params, strict=True):
        expected = complex_step(f, param.ravel())
        np.testing.assert_allclose(jnp.ravel(partial), expected, rtol=1e-9, atol=1e-15)
