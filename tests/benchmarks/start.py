"""What ``import funcnet`` costs over ``import jax, optax``, in fresh processes.

python -m tests.benchmarks.start [--rounds 11]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import numpy as np

PROGRAMS = ("import jax, optax, funcnet", "import jax, optax")


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
    seconds(PROGRAMS[0])
    times = np.array([[seconds(program) for program in PROGRAMS] for _ in range(rounds)])
    ratios = times[:, 0] / times[:, 1]
    ours, plain = np.median(times, axis=0)
    print(f"import funcnet / import jax, optax: {np.median(ratios):.3f}", end=" ")
    print(
        f"(quartiles {np.quantile(ratios, 0.25):.3f} to {np.quantile(ratios, 0.75):.3f},", end=" "
    )
    print(f"{ours:.2f} s and {plain:.2f} s, {rounds} rounds)")


if __name__ == "__main__":
    main()
