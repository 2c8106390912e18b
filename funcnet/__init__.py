"""Functional, differentiable programming in JAX, with every derivative in sight.

The rooms, from the ground up:

* `rules`: state a differentiable function with both of its derivative rules, and check them.
* `primitives`: the rules that networks are made of, as tables.
* `initializers`: starting values that follow from theory, and gains for any activation.
* `layers`: layers and combinators as pairs of pure functions.
* `models`, `data`, `training`: networks, the digits, and the steps that train them.
* `jaxprs`, `structure`, `report`, `tree`: what the others stand on.
"""

from importlib.metadata import PackageNotFoundError, version

from funcnet import (
    data,
    errors,
    initializers,
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
    "data",
    "errors",
    "initializers",
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
