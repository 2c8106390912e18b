"""Functional, differentiable programming in JAX, with every derivative in sight.

The rooms, from the ground up:

* `rules`: state a differentiable function with both of its derivative rules, and check them.
* `graph`: any function as a graph: values, adjoints, paths, and where a gradient went.
* `jacobian`: Jacobians and Hessians that exploit the structure of a function.
* `primitives`: the rules that networks are made of, as tables.
* `cost`: what each mode of differentiation costs, counted and measured.
* `initializers`: starting values that follow from theory, and gains for any activation.
* `layers`: layers and combinators as pairs of pure functions.
* `models`, `data`, `training`: networks, the digits, and the steps that train them.
* `jaxprs`, `structure`, `report`, `clock`, `tree`: what the others stand on.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from funcnet import (
        clock,
        cost,
        data,
        errors,
        graph,
        initializers,
        jacobian,
        jaxprs,
        layers,
        models,
        primitives,
        report,
        rules,
        structure,
        training,
        tree,
        typing,
    )

__all__ = [
    "clock",
    "cost",
    "data",
    "errors",
    "graph",
    "initializers",
    "jacobian",
    "jaxprs",
    "layers",
    "models",
    "primitives",
    "report",
    "rules",
    "structure",
    "training",
    "tree",
    "typing",
]

try:
    __version__ = version("funcnet")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "unknown"


def __getattr__(name: str) -> Any:
    """A room is loaded when it is first used, so that importing the package costs nothing."""
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
