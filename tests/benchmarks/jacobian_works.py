"""The functions whose Jacobians are measured, each made when it is its turn."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from tests.jacobian.battery import BATTERY, mlp
from tests.jacobian.cases import Case
from tests.jacobian.elimination_cases import ELIMINATION, EliminationCase
from tests.jacobian.random_programs import program

__all__ = ["Work", "works"]

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True, eq=False)
class Work:
    """A function whose Jacobian is wanted in one form, and how one would write that by hand."""

    f: Callable[..., Any]
    args: tuple[Any, ...]
    argnums: int | tuple[int, ...] = 0
    output: Literal["dense", "bcoo"] = "dense"
    by_hand: Callable[..., Any] | None = None


def works(random: int) -> Iterator[tuple[str, Callable[[], Work]]]:
    """Names and makers: the battery, the elimination cases, ADBench and random programs."""
    for name, case in BATTERY.items():
        yield name, partial(of_case, case)
    for name, one in ELIMINATION.items():
        yield name, partial(of_scalars, one)
    yield "gmm", mixture
    yield "bundle_adjustment", adjustment
    for objective in ("simple", "complicated"):
        yield f"hand_{objective}", partial(tracking, objective)
    yield "lstm", network
    for seed in range(random):
        yield f"random_{seed}", partial(of_random, seed)


def of_case(case: Case) -> Work:
    by_hand = arrow if case.name == "arrowhead" else chain if case.build is mlp else None
    return Work(*case.make("full", dtype=np.float32), case.argnums, by_hand=by_hand)


def chain(x: Any, layers: Any) -> Any:
    """The Jacobian of a network, multiplied from its narrowest place outwards."""
    factors = []
    for w, b in layers[:-1]:
        x = jnp.tanh(x @ w + b)
        factors.append(w * (1 - x * x))
    factors.append(layers[-1][0])
    widths = [f.shape[0] for f in factors] + [factors[-1].shape[1]]
    waist = widths.index(min(widths))
    before, after = factors[:waist], factors[waist:]
    inner = [reduce(lambda made, f: f @ made, before[::-1])] if before else []
    outer = [reduce(lambda made, f: made @ f, after)] if after else []
    return reduce(lambda made, f: made @ f, [f.T for f in (*outer, *inner)])


def arrow(x: Any) -> Any:
    """The Jacobian of the arrowhead: its diagonal, its column and its row."""
    return jnp.diag(2 * x[0] * x).at[:, 0].set(x * x).at[0].set(jnp.cos(x))


def of_scalars(case: EliminationCase) -> Work:
    return Work(*case.make(np.float32), tuple(range(len(case.point))))


def mixture() -> Work:
    """ADBench's Gaussian mixture, as are the next three its others."""
    gmm = example("adbench_gmm")
    return Work(gmm.objective, single(gmm.inputs("medium")), (0, 1, 2))


def adjustment() -> Work:
    bundle = example("adbench_bundle_adjustment")
    params, seen, features = bundle.inputs("ba1")
    residuals = bundle.make_residuals("ba1", seen, features.astype(np.float32))
    return Work(residuals, single([params]), output="bcoo")


def tracking(objective: str) -> Work:
    example_of = example("adbench_hand_tracking")
    unknowns, hand, chosen, points = example_of.inputs("big")
    f = getattr(example_of, objective)
    args = single([unknowns if objective == "complicated" else unknowns[-26:]])
    return Work(lambda x: f(x, hand, chosen, points), args)


def network() -> Work:
    lstm = example("adbench_lstm")
    return Work(lstm.objective, single(lstm.inputs("medium")), (0, 1))


def of_random(seed: int) -> Work:
    f, args = program(seed, scale=16, dtype=np.float32)
    return Work(f, args, tuple(range(len(args))))


def example(name: str) -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"{name}.py")))


def single(args: Any) -> tuple[Any, ...]:
    """The same arguments with numbers of single precision."""
    return tuple(
        x.astype(np.float32) if getattr(x, "dtype", None) == np.float64 else x for x in args
    )
