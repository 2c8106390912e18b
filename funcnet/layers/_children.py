"""How a combinator names its children, and what type of layer it becomes."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from funcnet.errors import ArgumentError
from funcnet.layers._checks import is_layer, require_layer
from funcnet.layers._scope import SEPARATOR
from funcnet.layers.types import AnyLayer, Entry, Layer, StatefulLayer
from funcnet.typing import Array, Key, Params, ShapeDtype

__all__ = ["enter", "kind_of", "name_all", "plain_if_all_are"]


def name_all(
    kind: str, entries: Sequence[Entry], named: dict[str, AnyLayer]
) -> dict[str, AnyLayer]:
    """Check the arguments of a combinator and give every layer its name."""
    numbers: Counter[str] = Counter()
    layers: dict[str, AnyLayer] = {}
    for position, entry in enumerate([*entries, *named.items()]):
        name, layer = _split(entry)
        require_layer(kind, f"argument {position}" if name is None else f"{name!r}", layer)
        if name is None:
            name = f"{kind_of(layer)}_{numbers[kind_of(layer)]}"
            numbers[kind_of(layer)] += 1
        if not isinstance(name, str) or not name or SEPARATOR in name:
            raise ArgumentError(
                f"{kind}: the name of a layer must be a text without {SEPARATOR!r}, got {name!r}"
            )
        if name in layers:
            raise ArgumentError(f"{kind}: two layers have the name {name!r}; names must differ")
        layers[name] = layer
    return layers


def _split(entry: Any) -> tuple[Any, Any]:
    # A layer is a tuple of two as well: it must be recognised first.
    if not is_layer(entry) and isinstance(entry, tuple) and len(entry) == 2:
        return entry
    return None, entry


def enter(into: dict[str, Any], name: str, own: dict[str, Any]) -> None:
    """Give a child its entry in params or state, if it has anything to put there."""
    if own:
        into[name] = own


def kind_of(layer: AnyLayer) -> str:
    """The name of the function that made the layer: ``"dense"`` for what ``dense(64)`` returns."""
    makers = getattr(layer.init, "__qualname__", "").split(".<locals>")[:-1]
    kind = makers[-1].rpartition(".")[2] if makers else ""
    return kind if kind.isidentifier() else "layer"


def plain_if_all_are(layer: StatefulLayer, children: Iterable[AnyLayer]) -> Any:
    """A combination, written for the stateful case, as a plain layer if all its children are."""
    if not all(isinstance(child, Layer) for child in children):
        return layer

    @functools.wraps(layer.init, assigned=("__qualname__",))
    def init(key: Key, *inputs: Array | ShapeDtype) -> Params:
        return layer.init(key, *inputs)[0]

    def apply(params: Params, *inputs: Array) -> Any:
        return layer.apply(params, {}, *inputs, train=False)[0]

    return Layer(init, apply)
