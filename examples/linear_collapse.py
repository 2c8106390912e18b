"""Layers without an activation between them are one linear layer, however many there are.

With ``h_k = h_{k-1} @ W_k + b_k``, the stack computes ``y = x @ W + b`` with

    W = W_1 W_2 ... W_n,        b = b_1 W_2 ... W_n + b_2 W_3 ... W_n + ... + b_n.

So it can represent nothing that one layer cannot. Its gradients are those of the one layer, passed
through the other kernels: with ``G = dL/dW`` of the one layer,

    dL/dW_k = (W_1 ... W_{k-1})^T G (W_{k+1} ... W_n)^T    (plus a term from b, for k > 1).

Run it with ``python examples/linear_collapse.py``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.initializers import normal
from funcnet.layers import activation, dense, serial
from funcnet.primitives import relu, squared_error
from funcnet.report import Table

FEATURES, WIDTHS, CLASSES = 6, (32, 16, 24), 3


def collapse(params):
    """The kernel and the bias of the one dense layer that computes the same."""
    kernel, bias = jnp.eye(FEATURES), jnp.zeros(FEATURES)
    for name in sorted(params):  # dense_0, dense_1, ..., output
        layer = params[name]
        kernel = kernel @ layer["kernel"]
        bias = bias @ layer["kernel"] + layer["bias"]
    return {"kernel": kernel, "bias": bias}


def difference(left, right):
    """The largest difference between two pytrees, relative to the largest entry."""
    pairs = list(zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True))
    largest = max(np.abs(b).max() for _, b in pairs)
    return float(max(np.abs(np.subtract(a, b)).max() for a, b in pairs) / largest)


def main():
    biases = normal(0.3)  # by default they start at zero; random ones make the example say more
    output = dense(CLASSES, bias_init=biases)
    linear = serial(*[dense(width, bias_init=biases) for width in WIDTHS], output=output)
    bent = serial(
        *[layer for width in WIDTHS for layer in (dense(width), activation(relu))], output=output
    )
    one_layer = dense(CLASSES)

    key_params, key_x, key_y = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(key_x, (100, FEATURES))
    y = jax.random.normal(key_y, (100, CLASSES))
    params = linear.init(key_params, x)
    collapsed = collapse(params)

    def loss_of(net):
        return lambda params, x: jnp.mean(squared_error(net.apply(params, x), y))

    grads, grad_x = jax.jit(jax.grad(loss_of(linear), argnums=(0, 1)))(params, x)
    one_grads, one_grad_x = jax.jit(jax.grad(loss_of(one_layer), argnums=(0, 1)))(collapsed, x)
    # The chain rule through W = W_1 ... W_n gives each layer's gradient from that of the one layer.
    _, pullback = jax.vjp(collapse, params)
    (expected,) = pullback(one_grads)

    def count(params):
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    print(f"{len(WIDTHS) + 1} linear layers with {count(params):,} parameters")
    print(f"against one with {count(collapsed)}:\n")
    rows = [
        ("outputs", difference(linear.apply(params, x), one_layer.apply(collapsed, x))),
        ("gradient of the inputs", difference(grad_x, one_grad_x)),
        ("gradients of all parameters, by the chain rule", difference(grads, expected)),
        (
            "outputs with a ReLU between the layers",
            difference(bent.apply(params, x), one_layer.apply(collapsed, x)),
        ),
    ]
    print(Table(["compared", "relative difference"], rows))
    print("\nOnly the last row is more than rounding: the activation is what makes depth count.")
    return dict(rows)


if __name__ == "__main__":
    main()
