"""The same layer 100 times: `repeat` against a Python loop over a list of the same layers.

    python -m tests.benchmarks.depth [--rounds 31]

First the time to trace and compile a step of Adam, and its ratio to those of other programs. Then
time and memory of the gradient and of a step with a donated state, beside the layers of this
library also for hand-written `jnp.tanh(x @ w + b)` in a loop. Memory is what XLA reserves for
temporary values; the gradient itself is a result, but inside of a step it is one of them: a stack
of gradients has to be whole before the optimiser gets it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.progress import Progress

from funcnet import primitives as fn
from funcnet.layers import activation, dense, repeat, residual, serial
from tests.benchmarks.paired import paired, progress

KEY = jax.random.key(0)
DEPTH, WIDTH = 100, 64
ONE = serial(dense(WIDTH), activation(fn.tanh))
BLOCKS = {
    "dense, tanh": ONE,
    "residual of dense, gelu, dense, twice": serial(
        *[residual(serial(dense(4 * WIDTH), activation(fn.gelu), dense(WIDTH)))] * 2
    ),
}
OPTIMIZER = optax.adam(1e-4)


def looped(params: Any, x: Any) -> Any:
    return jnp.sum(jnp.square(repeat(ONE, len(params["dense_0"]["bias"])).apply(params, x)))


def listed(params: Any, x: Any) -> Any:
    for own in params:
        x = ONE.apply(own, x)
    return jnp.sum(jnp.square(x))


def plain(params: Any, x: Any) -> Any:
    for own in params:
        x = jnp.tanh(x @ own["dense_0"]["kernel"] + own["dense_0"]["bias"])
    return jnp.sum(jnp.square(x))


def step(loss: Any) -> Callable[[Any, Any], Any]:
    def one_step(state: Any, x: Any) -> Any:
        params, opt_state = state
        updates, opt_state = OPTIMIZER.update(jax.grad(loss)(params, x), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    return one_step


def gradient(loss: Any) -> Callable[[Any, Any], Any]:
    return lambda state, x: (jax.grad(loss)(state[0], x), state[1])


def compiled(function: Any, state: Any, x: Any, donate: bool) -> tuple[Any, int, float]:
    """The program, its temporary bytes, and the seconds to trace and compile it."""
    start = time.perf_counter()
    program = jax.jit(function, donate_argnums=(0,) if donate else ()).lower(state, x).compile()
    seconds = time.perf_counter() - start
    memory: Any = program.memory_analysis()
    return program, memory.temp_size_in_bytes, seconds


def states(depth: int, x: Any) -> dict[str, tuple[Any, Any]]:
    """The losses and the state of training that each starts from."""
    stacked = repeat(ONE, depth).init(KEY, x)
    separate = [jax.tree.map(lambda leaf: leaf[i], stacked) for i in range(depth)]  # noqa: B023
    return {
        "repeat": (looped, (stacked, OPTIMIZER.init(stacked))),
        "list": (listed, (separate, OPTIMIZER.init(separate))),
        "jnp": (plain, (separate, OPTIMIZER.init(separate))),
    }


def running(program: Any, state: Any, x: Any, donate: bool) -> Callable[[], Any]:
    box = [jax.tree.map(jnp.copy, state)]

    def call() -> Any:
        out = program(box[0], x)
        if donate:
            box[0] = out
        return out

    return call


def seconds_to_compile(layer: Any, depth: int, how: Any, x: Any) -> float:
    """For one step of a network of a layer `depth` times, by `repeat` or by `serial`."""
    net = repeat(layer, depth) if how is repeat else serial(*[layer] * depth)
    params = net.init(KEY, x)
    state = params, OPTIMIZER.init(params)
    jax.clear_caches()
    loss = lambda params, x: jnp.sum(jnp.square(net.apply(params, x)))  # noqa: E731
    return compiled(step(loss), state, x, True)[2]


def show_compilation(rounds: int, bar: Progress) -> None:
    x = jax.random.normal(KEY, (64, WIDTH))
    programs = ((DEPTH, repeat), (2, repeat), (1, serial), (DEPTH, serial))
    print("\n| layer | repeat, 100 times | twice | once, without a loop | 100 times, without |")
    print("|---|---|---|---|---|")
    for name, layer in BLOCKS.items():
        seconds = np.array(
            [
                [seconds_to_compile(layer, depth, how, x) for depth, how in programs]
                for _ in bar.track(range(rounds), description=f"compiling {name}")
            ]
        )
        print(f"| {name} | {np.median(seconds[:, 0]):.2f} s |", end="")
        for other in (1, 2, 3):
            ratio = seconds[:, 0] / seconds[:, other]
            low, middle, high = np.quantile(ratio, [0.25, 0.5, 0.75])
            print(f" {middle:.2f} (quartiles {low:.2f} to {high:.2f}) |", end="")
        print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=31)
    rounds = parser.parse_args().rounds
    print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}")
    with progress() as bar:
        show_compilation(rounds // 2, bar)
        print()
        print("| batch | what | repeat / list, time | repeat / jnp, time | repeat | list | jnp |")
        print("|---|---|---|---|---|---|---|")
        for batch in bar.track((16, 64, 256), description="running"):
            x = jax.random.normal(KEY, (batch, WIDTH))
            for what, make, donate in (("gradient", gradient, False), ("step", step, True)):
                programs = {
                    name: (compiled(make(loss), state, x, donate), state)
                    for name, (loss, state) in states(DEPTH, x).items()
                }
                calls = {
                    name: running(program, state, x, donate)
                    for name, ((program, _, _), state) in programs.items()
                }
                memory = " | ".join(f"{made[1] / 1e6:.2f} MB" for made, _ in programs.values())
                against = [
                    paired(calls["repeat"], calls[other], rounds, seconds=0.05)
                    for other in ("list", "jnp")
                ]
                print(f"| {batch} | {what} | {against[0]} | {against[1]} | {memory} |", flush=True)


if __name__ == "__main__":
    main()
