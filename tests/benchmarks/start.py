"""What ``import funcnet``, and all its rooms, cost over ``import jax, optax``, in fresh processes.

python -m tests.benchmarks.start [--rounds 11]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import numpy as np

PLAIN = "import jax, optax"
PROGRAMS = (
    "import jax, optax, funcnet",
    "import jax, optax; from funcnet import primitives, layers, training",
)


def seconds(program: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    for program in PROGRAMS:
        seconds(program)
        times = np.array([[seconds(program), seconds(PLAIN)] for _ in range(rounds)])
        low, middle, high = np.quantile(times[:, 0] / times[:, 1], [0.25, 0.5, 0.75])
        ours, plain = np.median(times, axis=0)
        print(f"{program} / {PLAIN}: {middle:.3f} (quartiles {low:.3f} to {high:.3f},", end=" ")
        print(f"{ours:.2f} s and {plain:.2f} s, {rounds} rounds)")


if __name__ == "__main__":
    main()
