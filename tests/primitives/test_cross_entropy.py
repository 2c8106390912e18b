"""Losses of many classes: exact for confident examples, and no silent answer to a wrong label."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.primitives import kl_divergence, log_softmax, softmax_cross_entropy
from tests.primitives.exact import (
    assert_exact,
    exact,
    narrow_dtypes_first,
    values_of,
)

INF, NAN = np.inf, np.nan


def exact_rows(array: Any) -> list[list[Any]]:
    return [[exact(v) for v in row] for row in values_of(array)]


class Truth:
    """The loss of one example and its derivatives by the logits, to all digits."""

    def __init__(self, z: list[Any], q: list[Any], smoothing: float) -> None:
        e, total = mpmath.mpf(smoothing), mpmath.fsum(q)
        q = [(1 - e) * v + e * total / len(z) for v in q]
        top = max(z)
        log_total = top + mpmath.log(mpmath.fsum(mpmath.exp(v - top) for v in z))
        p = [mpmath.exp(v - log_total) for v in z]
        n, all_q = range(len(z)), mpmath.fsum(q)
        self.value = mpmath.fsum(w * (log_total - v) for w, v in zip(q, z, strict=True))
        self.slope = [all_q * p[i] - q[i] for i in n]
        self.curvature = [[all_q * p[i] * ((i == j) - p[j]) for j in n] for i in n]
        third = [
            [
                [
                    all_q
                    * p[i]
                    * (((i == j) - p[j]) * ((i == k) - p[k]) - p[j] * ((j == k) - p[k]))
                    for k in n
                ]
                for j in n
            ]
            for i in n
        ]

        def along_z(derivatives: list[Any]) -> Any:
            return sum(abs(v * d) for v, d in zip(z, derivatives, strict=True))

        # Of the labels, which are arguments too: q_k d/dq_k.
        by_labels = [sum(abs(q[k] * (p[i] - (i == k))) for k in n) for i in n]
        self.scale = (
            abs(self.value) + along_z(self.slope) + sum(q[i] * (log_total - z[i]) for i in n)
        )
        self.slope_scale = [
            abs(self.slope[i]) + along_z(self.curvature[i]) + by_labels[i] for i in n
        ]
        self.curvature_scale = [
            [2 * abs(self.curvature[i][j]) + along_z(third[i][j]) for j in n] for i in n
        ]


def confident_logits(dtype: str) -> tuple[jax.Array, np.ndarray, np.ndarray]:
    """Logits from undecided to utterly confident, labels right and wrong, and distributions."""
    rng = np.random.default_rng(0)
    n, classes = 24, 4
    scales = np.repeat([0.5, 8.0, 40.0], n // 3)[:, None]
    z = rng.standard_normal((n, classes)) * scales
    labels = np.where(rng.random(n) < 0.6, z.argmax(-1), rng.integers(0, classes, n))
    hard = np.eye(classes)[labels]
    soft = rng.dirichlet([0.4] * classes, n)
    nearly = 1e-6 / (classes - 1) + hard * (1 - 1e-6 - 1e-6 / (classes - 1))
    kind = np.arange(n)[:, None] % 3
    return (
        jnp.asarray(z, dtype),
        labels,
        np.where(kind == 0, hard, np.where(kind == 1, soft, nearly)),
    )


@narrow_dtypes_first
@pytest.mark.parametrize("kind", ["classes", "distributions"])
@pytest.mark.parametrize("smoothing", [0.0, 0.125])
def test_no_digit_is_lost(kind: str, smoothing: float, dtype: str) -> None:
    with jax.enable_x64(True), mpmath.workdps(80):
        z, labels, q = confident_logits(dtype)
        target = jnp.asarray(labels) if kind == "classes" else jnp.asarray(q, dtype)
        rows = np.eye(4)[labels] if kind == "classes" else values_of(target)

        def loss(z: Any) -> Any:
            return softmax_cross_entropy(z, target, label_smoothing=smoothing)

        def everything(z: Any) -> Any:
            def gradient(z: Any) -> Any:
                return jax.vjp(loss, z)[1](jnp.ones(z.shape[0], dtype))[0]

            units = [jnp.zeros_like(z).at[:, k].set(1) for k in range(4)]
            forward = [jax.jvp(loss, (z,), (unit,))[1] for unit in units]
            hessian = [jax.jvp(gradient, (z,), (unit,))[1] for unit in units]
            return loss(z), gradient(z), jnp.stack(forward, -1), jnp.stack(hessian, -1)

        value, backward, forward, hessian = jax.jit(everything)(z)
        truths = [
            Truth(a, b, smoothing) for a, b in zip(exact_rows(z), exact_rows(rows), strict=True)
        ]
        where = values_of(z)
        assert_exact(
            dtype, value, [t.value for t in truths], [t.scale for t in truths], "loss", where
        )
        for i in range(4):
            slopes = [t.slope[i] for t in truths]
            scales = [t.slope_scale[i] for t in truths]
            assert_exact(dtype, backward[:, i], slopes, scales, f"gradient {i}", where)
            assert_exact(dtype, forward[:, i], slopes, scales, f"tangent {i}", where)
            for j in range(4):
                curvatures = [t.curvature[i][j] for t in truths]
                scales = [t.curvature_scale[i][j] for t in truths]
                got = hessian[:, i, j]
                assert_exact(dtype, got, curvatures, scales, f"hessian {i} {j}", where)


@pytest.mark.parametrize(
    ("logits", "label", "loss", "gradient"),
    [
        ([INF, 0, 1], 0, 0, [0, 0, 0]),
        ([INF, 0, 1], 1, INF, [1, -1, 0]),
        ([INF, INF, 0], 0, np.log(2), [-0.5, 0.5, 0]),
        ([-INF, 0, 0], 1, np.log(2), [0, -0.5, 0.5]),
        ([-INF, 0, 0], 0, INF, [-1, 0.5, 0.5]),
        ([1e4, -1e4, 0], 0, 0, [0, 0, 0]),
        ([1e4, -1e4, 0], 1, 2e4, [1, -1, 0]),
        ([3e38, -3e38, 0], 2, 3e38, [1, 0, -1]),
        ([5.0], 0, 0, [0]),
        ([NAN, 0, 0], 1, NAN, [NAN, NAN, NAN]),
    ],
)
def test_edges(logits: Any, label: int, loss: float, gradient: Any) -> None:
    z = jnp.array(logits, jnp.float32)
    hot = jax.nn.one_hot(label, len(logits))
    for labels in (np.array(label), hot):
        value, slope = jax.value_and_grad(softmax_cross_entropy)(z, labels)
        np.testing.assert_allclose(value, loss, rtol=1e-6)
        np.testing.assert_allclose(slope, gradient, rtol=1e-6)
        assert len(logits) == 1 or not (value == 0 and np.signbit(value))  # not -0.0
    for i, unit in enumerate(jnp.eye(len(logits))):
        tangent = jax.jvp(lambda z: softmax_cross_entropy(z, label), (z,), (unit,))[1]
        np.testing.assert_allclose(tangent, gradient[i], rtol=1e-6)


def test_a_known_label_out_of_range_is_an_error() -> None:
    z = jnp.zeros((2, 3))
    for labels in ([0, 3], [-1, 0]):
        for array in (np.array(labels), jnp.array(labels)):
            with pytest.raises(ArgumentError, match=r"label (3|-1) is no class: .* 3 classes"):
                softmax_cross_entropy(z, array)
            with pytest.raises(ArgumentError, match="no class"):
                jax.grad(lambda z, a=array: softmax_cross_entropy(z, a).sum())(z)
        with pytest.raises(ArgumentError, match="no class"):
            jax.jit(functools.partial(softmax_cross_entropy, labels=np.array(labels)))(z)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_unknown_label_out_of_range_costs_infinitely_much_and_moves_nothing(
    smoothing: float,
) -> None:
    def loss(z: Any, labels: Any) -> Any:
        return softmax_cross_entropy(z, labels, label_smoothing=smoothing)

    @jax.jit
    def both_modes(z: Any, labels: Any) -> Any:
        y, pull = jax.vjp(lambda z: loss(z, labels), z)
        tangent = jax.jvp(lambda z: loss(z, labels), (z,), (jnp.sin(z),))[1]
        return y, pull(jnp.ones_like(y))[0], tangent

    z = jnp.array([[1.0, 2.0, -1.0]] * 4)
    y, gradient, tangent = both_modes(z, jnp.array([3, -1, 2**30, 1]))
    np.testing.assert_array_equal(y[:3], INF)
    np.testing.assert_array_equal(gradient[:3], 0)
    np.testing.assert_array_equal(tangent[:3], 0)
    assert np.isfinite(y[3])
    assert np.abs(gradient[3]).max() > 0.1


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8, jnp.int16, jnp.uint32])
def test_labels_of_few_bits_and_many_classes(dtype: Any) -> None:
    z = jnp.sin(jnp.arange(600.0)).reshape(2, 300)
    labels = jnp.array([5, 44])
    wanted = -log_softmax(z)[jnp.arange(2), labels]
    for call in (softmax_cross_entropy, jax.jit(softmax_cross_entropy)):
        np.testing.assert_allclose(call(z, labels.astype(dtype)), wanted, rtol=1e-6)


def test_leading_axes_are_a_batch() -> None:
    z = jnp.sin(jnp.arange(24.0)).reshape(2, 3, 4)
    labels = jnp.array([[0, 1, 2], [3, 0, 1]])
    loss = softmax_cross_entropy(z, labels)
    assert loss.shape == (2, 3)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(softmax_cross_entropy(z[index], labels[index]), loss[index])
    np.testing.assert_allclose(softmax_cross_entropy(z, jax.nn.one_hot(labels, 4)), loss, rtol=1e-6)
    assert softmax_cross_entropy(jnp.zeros((0, 3)), jnp.zeros(0, jnp.int32)).shape == (0,)


def test_smoothing_is_a_mixture_with_the_uniform_distribution() -> None:
    z, labels = jnp.sin(jnp.arange(12.0)).reshape(3, 4), jnp.array([0, 3, 1])
    hot = jax.nn.one_hot(labels, 4)
    wanted = softmax_cross_entropy(z, 0.7 * hot + 0.3 / 4)
    for q in (labels, hot):
        np.testing.assert_allclose(softmax_cross_entropy(z, q, 0.3), wanted, rtol=1e-6)
    uniform = softmax_cross_entropy(z, labels, label_smoothing=1.0)
    np.testing.assert_allclose(uniform, -log_softmax(z).mean(-1), rtol=1e-6)


def test_the_derivative_by_distributions() -> None:
    z = jnp.array([1.0, -INF, 0.0])
    q = jnp.array([0.5, 0.0, 0.5])
    log_p = log_softmax(z)
    value, gradient = jax.value_and_grad(softmax_cross_entropy, argnums=1)(z, q)
    np.testing.assert_allclose(value, -(log_p[0] + log_p[2]) / 2, rtol=1e-6)
    np.testing.assert_allclose(gradient, -log_p)
    push = jnp.array([1.0, 0.0, -1.0])
    tangent = jax.jvp(lambda q: softmax_cross_entropy(z, q), (q,), (push,))[1]
    np.testing.assert_allclose(tangent, log_p[2] - log_p[0], rtol=1e-6)
    short = jax.grad(lambda q: softmax_cross_entropy(z, q))(q.astype(jnp.bfloat16))
    assert short.dtype == jnp.bfloat16


def test_what_does_not_fit() -> None:
    z = jnp.zeros((2, 3))
    with pytest.raises(ShapeError, match=r"int32 labels must be one per example: \(2,\), got"):
        softmax_cross_entropy(z, jnp.zeros((2, 3), jnp.int32))
    with pytest.raises(ShapeError, match="float32 labels must be distributions"):
        softmax_cross_entropy(z, jnp.zeros(2))
    with pytest.raises(ShapeError, match="no classes"):
        softmax_cross_entropy(jnp.zeros((2, 0)), jnp.zeros((2, 0)))
    with pytest.raises(ShapeError, match="softmax_cross_entropy"):
        softmax_cross_entropy(jnp.zeros(()), jnp.zeros((), jnp.int32))
    with pytest.raises(DTypeError, match=r"labels must be integers .* got bool"):
        softmax_cross_entropy(z, jnp.array([True, False]))
    with pytest.raises(DTypeError, match="softmax_cross_entropy"):
        softmax_cross_entropy(jnp.zeros((2, 3), jnp.int32), jnp.zeros(2, jnp.int32))
    for smoothing in (-0.1, 1.5, NAN):
        with pytest.raises(ArgumentError, match="label_smoothing must be between 0 and 1"):
            softmax_cross_entropy(z, jnp.zeros(2, jnp.int32), smoothing)


# kl_divergence


@pytest.mark.parametrize(
    ("log_p", "q", "loss", "by_log_p", "by_q"),
    [
        ([0.0, -INF], [1.0, 0.0], 0, [-1, 0], [1, -INF]),
        ([0.0, -INF], [0.5, 0.5], INF, [-0.5, -0.5], [1 - np.log(2), INF]),
        ([np.log(0.5)] * 2, [1.0, 0.0], np.log(2), [-1, 0], [1 + np.log(2), -INF]),
        ([np.log(0.5)] * 2, [0.5, 0.5], 0, [-0.5, -0.5], [1, 1]),
        ([NAN, 0.0], [0.5, 0.5], NAN, [-0.5, -0.5], [NAN, 1 - np.log(2)]),
    ],
)
def test_divergence_at_the_edges(log_p: Any, q: Any, loss: float, by_log_p: Any, by_q: Any) -> None:
    args = jnp.array(log_p, jnp.float32), jnp.array(q, jnp.float32)
    value, gradient = jax.value_and_grad(kl_divergence, (0, 1))(*args)
    np.testing.assert_allclose(value, loss, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(gradient[0], by_log_p)
    np.testing.assert_allclose(gradient[1], by_q, rtol=1e-6)
    still = jnp.zeros(2)
    assert jax.jvp(lambda q: kl_divergence(args[0], q), args[1:], (still,))[1] == 0
    push = jnp.array([1.0, -1.0])
    tangent = jax.jvp(lambda p: kl_divergence(p, args[1]), args[:1], (push,))[1]
    np.testing.assert_allclose(tangent, by_log_p[0] - by_log_p[1])


def test_divergence_is_cross_entropy_without_entropy() -> None:
    z = jnp.sin(jnp.arange(12.0)).reshape(3, 4)
    q = jnp.abs(jnp.cos(jnp.arange(12.0))).reshape(3, 4)
    q = q / jnp.broadcast_to(q.sum(-1, keepdims=True), q.shape)
    wanted = softmax_cross_entropy(z, q) + (q * jnp.log(q)).sum(-1)
    np.testing.assert_allclose(kl_divergence(log_softmax(z), q), wanted, rtol=1e-5)


def test_divergence_of_other_dtypes_and_shapes() -> None:
    q = jnp.array([1, 0])
    assert kl_divergence(jnp.zeros(2), q) == 0
    half = jnp.full(2, 0.5, jnp.bfloat16)
    gradient = jax.grad(kl_divergence, (0, 1))(jnp.zeros(2), half)
    assert [g.dtype for g in gradient] == [jnp.float32, jnp.bfloat16]
    with pytest.raises(ShapeError, match=r"kl_divergence: .*\(2,\) and \(1, 2\)"):
        kl_divergence(jnp.zeros(2), jnp.zeros((1, 2)))
    with pytest.raises(ShapeError, match="kl_divergence"):
        kl_divergence(0.0, 1.0)
    np.testing.assert_array_equal(kl_divergence(jnp.zeros((2, 0)), jnp.zeros((2, 0))), [0, 0])
