"""ADBench's LSTM: the loss of a small recurrent network that predicts the next character.

A character is a vector x of b bits. Each of the l layers has a gate of every kind for each bit, so
that its weights w and biases c are vectors; with h and s the layer's output and cell so far, x its
input, and sigma the logistic function,

    s <- s sigma(x w_f + c_f) + sigma(h w_i + c_i) tanh(h w_s + c_s),
    h <- sigma(x w_o + c_o) tanh(s),

all bit by bit. The input is weighted before the first layer, and the output y after the last, with
a bias. The loss is minus the mean of next * (y - log(2 + sum exp(y))) over bits and characters.
It is ADBench's down to its oddities: no matrix anywhere, gates that see either x or h, and the 2.
Its code is at github.com/microsoft/ADBench; the paper is F. Srajer, Z. Kukelova and A. Fitzgibbon,
"A benchmark of selected algorithmic differentiation tools on some problems in computer vision and
machine learning" (2018), arXiv 1807.10129.

Run it with ``python examples/adbench_lstm.py --size medium``.
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.jacobian import jacobian
from funcnet.report import Table

# Layers, characters and bits. ADBench's sizes are 2 or 4 layers, 1024 or 4096 characters, 14 bits.
SIZES = {"small": (2, 8, 3), "medium": (2, 1024, 14), "large": (4, 4096, 14)}


def objective(main_params, extra_params, state, sequence):
    """The loss.

    Args:
        main_params: For each layer its weights, then its biases: (2 layers, 4 bits). The four are
            those of the gates f, i, o and of the change s.
        extra_params: Weights of the input, weights and biases of the output: (3, bits).
        state: For each layer its output, then its cell, at the start: (2 layers, bits).
        sequence: (characters, bits).
    """
    layers = main_params.reshape(-1, 2, 4, sequence.shape[1])
    in_weight, out_weight, out_bias = extra_params

    def predict(state, x):
        x, after = x * in_weight, []
        for (w, c), (hidden, cell) in zip(layers, state, strict=True):
            forget, out = (jax.nn.sigmoid(x * w[gate] + c[gate]) for gate in (0, 2))
            enter = jax.nn.sigmoid(hidden * w[1] + c[1])
            cell = cell * forget + enter * jnp.tanh(hidden * w[3] + c[3])
            x = out * jnp.tanh(cell)
            after.append(jnp.stack([x, cell]))
        y = x * out_weight + out_bias
        return jnp.stack(after), y - jnp.log(2 + jnp.sum(jnp.exp(y)))

    _, scores = jax.lax.scan(predict, state.reshape(len(layers), 2, -1), sequence[:-1])
    return -jnp.mean(sequence[1:] * scores)


def objective_by_loops(main_params, extra_params, state, sequence):
    """The same bit by bit, for complex numbers too."""
    characters, bits = sequence.shape
    state, total = np.array(state, main_params.dtype), 0

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    for t in range(characters - 1):
        x = [sequence[t, b] * extra_params[0, b] for b in range(bits)]
        for layer in range(len(main_params) // 2):
            for b in range(bits):
                (wf, wi, wo, ws), (cf, ci, co, cs) = main_params[2 * layer : 2 * layer + 2, b::bits]
                hidden, cell = state[2 * layer, b], state[2 * layer + 1, b]
                cell = cell * sigmoid(x[b] * wf + cf)
                cell += sigmoid(hidden * wi + ci) * np.tanh(hidden * ws + cs)
                x[b] = sigmoid(x[b] * wo + co) * np.tanh(cell)
                state[2 * layer, b], state[2 * layer + 1, b] = x[b], cell
        y = [x[b] * extra_params[1, b] + extra_params[2, b] for b in range(bits)]
        log_sum = np.log(2 + sum(np.exp(y)))
        total += sum(sequence[t + 1, b] * (y[b] - log_sum) for b in range(bits))
    return -total / (bits * (characters - 1))


def inputs(size, seed=0):
    """Parameters, a state to start from, and characters of random bits."""
    layers, characters, bits = SIZES[size]
    rng = np.random.default_rng(seed)
    shapes = (2 * layers, 4 * bits), (3, bits), (2 * layers, bits)
    params = tuple(rng.normal(size=shape) for shape in shapes)
    return *params, rng.integers(2, size=(characters, bits)).astype(float)


def main(size="small"):
    *params, state, sequence = inputs(size)
    value = objective(*params, state, sequence)
    gradient = jax.jit(jacobian(objective, argnums=(0, 1)))(*params, state, sequence)

    # Along any direction, the derivative of an analytic function is Im f(x + i h v) / h, and no
    # digit is lost for a tiny h.
    directions = [np.random.default_rng(1).normal(size=p.shape) for p in params]
    moved = [p + 1e-30j * v for p, v in zip(params, directions, strict=True)]
    by_loops = objective_by_loops(*moved, state, sequence)
    along = sum(np.vdot(g, v) for g, v in zip(gradient, directions, strict=True))
    differences = {
        "value": abs(float(value) / by_loops.real - 1),
        "gradient along a direction": abs(along / (by_loops.imag / 1e-30) - 1),
    }

    layers, characters, bits = SIZES[size]
    count = sum(p.size for p in params)
    print(f"{layers} layers, {characters} characters of {bits} bits: {count} parameters")
    print(f"loss {float(value):.6g}\n")
    norms = [float(jnp.linalg.norm(g)) for g in gradient]
    rows = [(n, str(p.shape), g) for n, p, g in zip(("main", "extra"), params, norms, strict=True)]
    print(Table(["parameters", "shape", "norm of the gradient"], rows), "\n")
    print(Table(["against loops and a complex step", "difference"], list(differences.items())))
    return differences


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    main(parser.parse_args().size)
