"""Each primitive against its plain JAX equivalent: time, FLOPs and memory of value, grad and jvp.

    python -m tests.benchmarks.primitives [--rounds 31] [--only NAME ...]

prints one row per primitive as a Markdown table: the paired ratio of the time of the jitted
gradient and of the jitted jvp with its 95 % interval, and the ratios of FLOPs and of XLA's
temporary memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from funcnet import primitives as fn
from tests.benchmarks.paired import paired, progress

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (256, 1024))
A = jax.random.normal(jax.random.key(1), (256, 1024))
W = jax.random.normal(jax.random.key(2), (1024, 512)) / 32
B = jnp.zeros(512)
SLOPE = jnp.full(1024, 0.25)
LABELS = jax.random.randint(KEY, (256,), 0, 1024)
SIGNS = jnp.where(A > 0, 1.0, -1.0)

# name: (primitive, the same in plain JAX, arguments)
PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
    "add": (fn.add, jnp.add, (X, A)),
    "multiply": (fn.multiply, jnp.multiply, (X, A)),
    "divide": (fn.divide, jnp.divide, (X, A)),
    "maximum": (fn.maximum, jnp.maximum, (X, A)),
    "exp": (fn.exp, jnp.exp, (X,)),
    "log": (fn.log, jnp.log, (jnp.abs(X),)),
    "sqrt": (fn.sqrt, jnp.sqrt, (jnp.abs(X),)),
    "sin": (fn.sin, jnp.sin, (X,)),
    "sum": (lambda x: fn.sum(x, axis=0), lambda x: jnp.sum(x, axis=0), (X,)),
    "mean": (lambda x: fn.mean(x, axis=0), lambda x: jnp.mean(x, axis=0), (X,)),
    "matmul": (fn.matmul, jnp.matmul, (X, W)),
    "linear": (fn.linear, jnp.matmul, (X, W)),
    "affine": (fn.affine, lambda x, w, b: x @ w + b, (X, W, B)),
    "relu": (fn.relu, jax.nn.relu, (X,)),
    "leaky_relu": (fn.leaky_relu, jax.nn.leaky_relu, (X,)),
    "prelu": (fn.prelu, lambda x, s: jnp.where(x > 0, x, s * x), (X, SLOPE)),
    "elu": (fn.elu, jax.nn.elu, (X,)),
    "selu": (fn.selu, jax.nn.selu, (X,)),
    "hard_tanh": (fn.hard_tanh, jax.nn.hard_tanh, (X,)),
    "hard_sigmoid": (fn.hard_sigmoid, jax.nn.hard_sigmoid, (X,)),
    "hard_swish": (fn.hard_swish, jax.nn.hard_swish, (X,)),
    "sigmoid": (fn.sigmoid, jax.nn.sigmoid, (X,)),
    "sigmoid, keep output": (lambda x: fn.sigmoid(x, keep="output"), jax.nn.sigmoid, (X,)),
    "tanh": (fn.tanh, jnp.tanh, (X,)),
    "tanh, keep output": (lambda x: fn.tanh(x, keep="output"), jnp.tanh, (X,)),
    "softplus": (fn.softplus, jax.nn.softplus, (X,)),
    "log_sigmoid": (fn.log_sigmoid, jax.nn.log_sigmoid, (X,)),
    "silu": (fn.silu, jax.nn.silu, (X,)),
    "gelu, tanh form": (fn.gelu, jax.nn.gelu, (X,)),
    "gelu, exact": (
        lambda x: fn.gelu(x, approximate=False),
        lambda x: jax.nn.gelu(x, approximate=False),
        (X,),
    ),
    "softsign": (fn.softsign, jax.nn.soft_sign, (X,)),
    "mish": (fn.mish, jax.nn.mish, (X,)),
    "softmax": (fn.softmax, jax.nn.softmax, (X,)),
    "log_softmax": (fn.log_softmax, jax.nn.log_softmax, (X,)),
    "logsumexp": (
        lambda x: fn.logsumexp(x, axis=-1),
        lambda x: jax.nn.logsumexp(x, axis=-1),
        (X,),
    ),
    "softmax_cross_entropy": (
        lambda x: fn.softmax_cross_entropy(x, LABELS),
        lambda x: optax.softmax_cross_entropy_with_integer_labels(x, LABELS),
        (X,),
    ),
    "log_loss": (
        lambda x: fn.log_loss(x, SIGNS),
        lambda x: jax.nn.softplus(-SIGNS * x),
        (X,),
    ),
}


def gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """All cotangents, for a cotangent that is an argument, so that nothing folds away."""
    return jax.jit(lambda ct, *xs: jax.vjp(f, *xs)[1](ct))


def pushforward(f: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(lambda xs, ts: jax.jvp(f, xs, ts))


def compiled_numbers(f: Any, *args: Any) -> tuple[float, int]:
    compiled = f.lower(*args).compile()
    flops = (compiled.cost_analysis() or {}).get("flops", 0.0)
    return flops, compiled.memory_analysis().temp_size_in_bytes


def row(name: str, rounds: int) -> str:
    ours, plain, args = PAIRS[name]
    ct = jnp.ones_like(plain(*args))
    cells = [name]
    for make, given in ((gradient, (ct, *args)), (pushforward, (args, args))):
        f, g = make(ours), make(plain)
        ratio = paired(partial(f, *given), partial(g, *given), rounds)
        (flops, memory), (flops_plain, memory_plain) = (compiled_numbers(h, *given) for h in (f, g))
        cells += [
            str(ratio),
            f"{flops / flops_plain:.2f}" if flops_plain else "-",
            f"{(memory - memory_plain) / 2**20:+.2f}",
        ]
    eager = paired(lambda: ours(*args), lambda: plain(*args), max(5, rounds // 3))
    return "| " + " | ".join([*cells, str(eager)]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--only", nargs="*", default=list(PAIRS), metavar="NAME")
    options = parser.parse_args()
    print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}, float32, arrays of 256 x 1024")
    print()
    print(
        "| primitive | grad, time | FLOPs | memory, MiB | jvp, time | FLOPs | memory, MiB | value |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with progress() as bar:
        for name in bar.track(options.only, description="primitives"):
            print(row(name, options.rounds), flush=True)


if __name__ == "__main__":
    main()
