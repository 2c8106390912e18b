"""Cases of every kind of operation: shapes, moves, sums, transforms and linear algebra."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.jacobian.cases import Draw, blocks, case, dense, full, lower, selection

# Shapes: tall, wide, scalar, empty, trees.


@case(3, 8, lambda n: np.kron(np.ones((40, 1)), np.eye(n)))
def tall_powers(n: int, fixed: Draw, draw: Draw) -> Any:
    return lambda x: jnp.sin(np.arange(1, 41, dtype=draw.dtype)[:, None] * x[None]), (draw(n),)


@case((2, 9), (8, 4000), lambda s: np.ones(s))
def wide_means(size: Any, fixed: Draw, draw: Draw) -> Any:
    return lambda x, w: jnp.log(w @ (x * x)), (draw(size[1]), draw.positive(*size))


@case((), (), lambda _: np.ones((1, 1)))
def scalar(_: Any, fixed: Draw, draw: Draw) -> Any:
    return lambda x: jnp.sin(x) * x, (draw(),)


@case(5, 2000, full(-1, 1))
def scalar_to_vector(n: int, fixed: Draw, draw: Draw) -> Any:
    times = fixed(n)
    return lambda x: jnp.exp(-x * x * times), (draw(),)


@case(5, 20_000, full(1, -1))
def vector_to_scalar(n: int, fixed: Draw, draw: Draw) -> Any:
    return lambda x: jnp.sqrt(1 + jnp.vdot(x, x)), (draw(n),)


@case((0, 3), (0, 3), lambda _: np.zeros((3, 0)))
def empty(shape: Any, fixed: Draw, draw: Draw) -> Any:
    return lambda x: (2 * x, jnp.sum(x, axis=0)), (draw(*shape),)


@case(4, 1000, lambda n: np.zeros((n, n)))
def zero(n: int, fixed: Draw, draw: Draw) -> Any:
    return lambda x: jnp.floor(x) + lax.stop_gradient(x), (draw(n),)


def _tree_truth(size: Any) -> Any:
    m, n = size
    scores = np.hstack([np.eye(n), np.tile(np.eye(n), m)])  # of b, then of w
    return np.vstack([np.hstack([np.zeros(n), np.ones(m * n)]), scores])


@case((3, 2), (64, 32), _tree_truth)
def trees(size: Any, fixed: Draw, draw: Draw) -> Any:
    """Dictionaries in and out, with a leaf of rank 0."""

    def f(params: Any, x: Any) -> Any:
        return {
            "scores": jnp.tanh(x @ params["w"] + params["b"]),
            "decay": jnp.sum(params["w"] ** 2),
        }

    return f, ({"w": draw(*size), "b": draw(size[1])}, draw(size[0]))


@case(
    (2, 3),
    (50, 60),
    lambda s: np.hstack(
        [np.kron(np.eye(s[0]), np.ones((s[1], 1))), np.kron(np.ones((s[0], 1)), np.eye(s[1]))]
    ),
    argnums=(0, 1),
)
def outer_product(size: Any, fixed: Draw, draw: Draw) -> Any:
    return lambda x, y: x[:, None] * y[None, :], (draw(size[0]), draw(size[1]))


# Moving entries about.


@case(6, 2000, lambda n: selection(np.roll(np.arange(n)[::-1], 2), n))
def reverse_and_roll(n: int, fixed: Draw, draw: Draw) -> Any:
    return lambda x: jnp.roll(x[::-1], 2), (draw(n),)


@case(
    (2, 3), (40, 50), lambda s: selection(np.arange(s[0] * s[1]).reshape(s).T.ravel(), s[0] * s[1])
)
def transpose(size: Any, fixed: Draw, draw: Draw) -> Any:
    return lambda x: jnp.sin(x).T, (draw(*size),)


@case(6, 2000, lambda n: selection((7 * np.arange(n) + 1) % n, n))
def permutation(n: int, fixed: Draw, draw: Draw) -> Any:
    order = (7 * np.arange(n) + 1) % n
    return lambda x: x[order] * 2, (draw(n),)


@case(
    6,
    1000,
    lambda n: np.vstack([np.eye(n)[2:], np.eye(n), np.ones(n), np.eye(n)[:1]]),
)
def concatenation(n: int, fixed: Draw, draw: Draw) -> Any:
    return lambda x: jnp.concatenate([x[2:], x * x, jnp.sum(x * x)[None], x[:1]]), (draw(n),)


@case(6, 2000, lambda n: selection(np.arange(2 * n) ** 2 % n, n))
def gather_fixed(n: int, fixed: Draw, draw: Draw) -> Any:
    index = np.arange(2 * n) ** 2 % n
    return lambda x: jnp.sin(x[index]), (draw(n),)


@case(4, 500, full(3, -1))
def gather_argument(n: int, fixed: Draw, draw: Draw) -> Any:
    return lambda x, index: jnp.sin(x[index]), (draw(n), draw.integers(n, 3))


@case(6, 2000, lambda n: selection(np.arange(n) ** 2 % n, n).T)
def scatter_add(n: int, fixed: Draw, draw: Draw) -> Any:
    index = np.arange(n) ** 2 % n
    return lambda x: jnp.zeros_like(x).at[index].add(x**3), (draw(n),)


@case(4, 300, dense)
def sort(n: int, fixed: Draw, draw: Draw) -> Any:
    return jnp.sort, (draw(n),)


@case(6, 2000, lambda n: np.eye(n) + np.eye(n)[::-1])
def select(n: int, fixed: Draw, draw: Draw) -> Any:
    return lambda x: jnp.where(x > 0.1, x * x, x[::-1]), (draw(n),)


def _windows(n: int) -> Any:
    row, column = np.divmod(np.arange(n * n), n)
    owner = row // 2 * (n // 2) + column // 2
    return owner == np.arange(n * n // 4)[:, None]


@case(4, 48, _windows)
def max_pool(n: int, fixed: Draw, draw: Draw) -> Any:
    def f(x: Any) -> Any:
        return lax.reduce_window(x, -np.inf, lax.max, (2, 2), (2, 2), "VALID")

    return f, (draw(n, n),)


# Sums and products.


@case(6, 1000, lower)
def cumulative_sum(n: int, fixed: Draw, draw: Draw) -> Any:
    return lambda x: jnp.cumsum(jnp.sin(x)), (draw(n),)


@case(5, 300, lower)
def cumulative_product(n: int, fixed: Draw, draw: Draw) -> Any:
    return jnp.cumprod, (draw.positive(n),)


@case(5, 512, dense)
def softmax(n: int, fixed: Draw, draw: Draw) -> Any:
    return jax.nn.softmax, (draw(n),)


@case((3, 4), (64, 32), blocks)
def softmax_rows(size: Any, fixed: Draw, draw: Draw) -> Any:
    return jax.nn.softmax, (draw(*size),)


@case((3, 4), (64, 32), blocks)
def layer_norm(size: Any, fixed: Draw, draw: Draw) -> Any:
    def f(x: Any, gain: Any, shift: Any) -> Any:
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        scale = lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
        return centred * scale * gain[None] + shift[None]

    return f, (draw(*size), draw.positive(size[1]), draw(size[1]))


@case((3, 2, 4), (64, 16, 16), blocks)
def dense_batch(size: Any, fixed: Draw, draw: Draw) -> Any:
    """One layer for each row of a batch: the Jacobian is I x W^T, scaled."""
    b, m, n = size
    return lambda x, w: jnp.tanh(x @ w), (draw(b, m), draw(m, n))


@case((3, 2), (500, 4), blocks)
def small_systems(size: Any, fixed: Draw, draw: Draw) -> Any:
    return jax.vmap(lambda x: x * jnp.prod(jnp.cos(x)) + jnp.sum(x)), (draw(*size),)


@case((3, 2), (16, 32), lambda s: np.ones((s[0] * s[1], s[0] * s[1])))
def attention(size: Any, fixed: Draw, draw: Draw) -> Any:
    d = size[1]

    def f(x: Any, weights: Any) -> Any:
        query, key, value = (x @ w for w in weights)
        return jax.nn.softmax(query @ key.T / d**0.5) @ value

    return f, (draw(*size), tuple(draw(d, d) / draw.dtype(d**0.5) for _ in range(3)))


def _product_truth(n: int) -> Any:
    i, j = np.divmod(np.arange(n * n), n)
    return (i[:, None] == i) | (j[:, None] == j)


@case(3, 32, _product_truth)
def matrix_square(n: int, fixed: Draw, draw: Draw) -> Any:
    return lambda x: x @ x, (draw(n, n),)


def _image_truth(n: int) -> Any:
    place = np.arange(n * n)
    near = np.abs(np.subtract.outer(place // n, place // n)) <= 1
    near &= np.abs(np.subtract.outer(place % n, place % n)) <= 1
    return np.kron(near, np.ones((3, 2)))


def _convolve(images: Any, kernel: Any) -> Any:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=layout)


@case(4, 20, _image_truth)
def convolution(n: int, fixed: Draw, draw: Draw) -> Any:
    return _convolve, (draw(1, n, n, 2), draw(3, 3, 2, 3))


@case(
    3,
    20,
    lambda n: np.kron(np.ones((n * n, 18)), np.eye(3)),
    argnums=1,
)
def convolution_kernel(n: int, fixed: Draw, draw: Draw) -> Any:
    """Of a kernel on the torus, since at a wall the outermost weights see nothing."""

    def f(images: Any, kernel: Any) -> Any:
        around = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap")
        return _convolve(around, kernel)[:, 1:-1, 1:-1]

    return f, (draw(1, n, n, 2), draw(3, 3, 2, 3))


# Transforms and linear algebra.


@case(6, 512, dense)
def low_pass(n: int, fixed: Draw, draw: Draw) -> Any:
    gains = fixed.positive(n // 2 + 1)
    return lambda x: jnp.fft.irfft(jnp.fft.rfft(x) * gains.astype(complex_of(x)), n), (draw(n),)


@case(5, 512, lambda n: np.ones((n // 2 + 1, n)))
def power_spectrum(n: int, fixed: Draw, draw: Draw) -> Any:
    def f(x: Any) -> Any:
        spectrum = jnp.fft.rfft(x)
        return jnp.real(spectrum * jnp.conj(spectrum))

    return f, (draw(n),)


@case(4, 1000, lambda n: np.hstack([np.eye(n), np.eye(n)]))
def complex_square(n: int, fixed: Draw, draw: Draw) -> Any:
    def f(x: Any) -> Any:
        z = lax.complex(x[:n], x[n:])
        return jnp.real(z * z)

    return f, (draw(2 * n),)


def complex_of(x: Any) -> Any:
    return np.result_type(x.dtype, np.complex64)


@case(4, 128, dense)
def linear_solve(n: int, fixed: Draw, draw: Draw) -> Any:
    """(A + diag(x))^-1 x."""
    a = 3 * np.eye(n, dtype=fixed.dtype) + fixed(n, n) / fixed.dtype(n**0.5)
    return lambda x: jnp.linalg.solve(a + jnp.diag(jnp.tanh(x)), x), (draw(n),)


@case(4, 128, lower, exact_pattern=False)
def triangular_solve(n: int, fixed: Draw, draw: Draw) -> Any:
    a = np.tril(fixed(n, n) / fixed.dtype(n**0.5)) + 2 * np.eye(n, dtype=fixed.dtype)
    return lambda x: jax.scipy.linalg.solve_triangular(a, x, lower=True), (draw(n),)


@case(3, 24, lambda n: np.ones((1, n * n)))
def determinant(n: int, fixed: Draw, draw: Draw) -> Any:
    return jnp.linalg.det, (draw(n, n) / draw.dtype(n**0.5),)


def _cholesky_truth(n: int) -> Any:
    i, j, k = np.ogrid[:n, :n, :n]  # entry (i, j) of the factor, row k of the argument
    return np.repeat(((j <= i) & ((k <= j) | (k == i))).reshape(n * n, n), n, axis=1)


@case(3, 16, _cholesky_truth, exact_pattern=False)
def cholesky(n: int, fixed: Draw, draw: Draw) -> Any:
    """The factor of x x^T + I."""
    identity = np.eye(n, dtype=fixed.dtype)
    return lambda x: jnp.linalg.cholesky(x @ x.T + identity), (draw(n, n),)
