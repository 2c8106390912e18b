"""What a network is made of and what each layer costs, as a table.

Nothing is computed: the network is traced once with the shapes of the inputs. Each operation
belongs to the layer in whose scope it stands, and each number to the innermost layer that it can
be told of, so that the rows of the table add up to its totals.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from funcnet.jaxprs import equations, residuals
from funcnet.jaxprs.operations import count_operations
from funcnet.layers._checks import require_layer, shapes_text
from funcnet.layers._children import kind_of
from funcnet.layers._scope import SEPARATOR, recording_outputs
from funcnet.layers.types import AnyLayer, as_stateful
from funcnet.report import Column, Table, format_bytes, format_count
from funcnet.tree import flatten
from funcnet.typing import Array, ShapeDtype

__all__ = ["LayerSummary", "Summary", "summary"]


@dataclass(frozen=True)
class LayerSummary:
    """One layer of a network, without the layers inside of it.

    Attributes:
        path: The names from the root to the layer, with slashes between them.
        output: The shape and dtype of its output; of a repeated layer, those of one repetition.
        parameters: How many numbers it learns.
        flops: The FLOPs of its forward pass, as :func:`funcnet.jaxprs.flops` counts them.
        kept_bytes: The memory of those of its results that the backward pass needs.
    """

    path: str
    output: str
    parameters: int
    flops: int
    kept_bytes: int


@dataclass(frozen=True)
class Summary:
    """The layers of a network in the order in which they run; prints itself as a table.

    Attributes:
        layers: One entry per layer. A combinator has one if something is its own.
    """

    layers: tuple[LayerSummary, ...]

    @property
    def parameters(self) -> int:
        """How many numbers the network learns."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def flops(self) -> int:
        """The FLOPs of the forward pass."""
        return sum(layer.flops for layer in self.layers)

    @property
    def kept_bytes(self) -> int:
        """The memory kept for the backward pass, besides parameters and inputs."""
        return sum(layer.kept_bytes for layer in self.layers)

    def table(self) -> Table:
        """Return the layers as a table, with the totals below."""
        columns: Sequence[Column | str] = (
            "layer",
            "output",
            "parameters",
            Column("FLOPs", format_count),
            Column("kept for backward", format_bytes),
        )
        rows = [(r.path, r.output, r.parameters, r.flops, r.kept_bytes) for r in self.layers]
        total = ("total", "", self.parameters, self.flops, self.kept_bytes)
        return Table(columns, rows, footer=[total])

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def summary(net: AnyLayer, *inputs: Array | ShapeDtype) -> Summary:
    """Tell of each layer its path, output shape, parameters, FLOPs and bytes kept.

    FLOPs are those of one forward pass in training on inputs of these shapes; operations in a
    ``repeat`` count as often as they run, and exp, tanh and their like are no FLOPs. The bytes
    kept are those of the results that gradients with respect to the parameters need, beside the
    parameters and the inputs themselves; they stand in the row of the layer that made them.

    Args:
        net: The network.
        *inputs: Example inputs, arrays or ``jax.ShapeDtypeStruct``.

    Returns:
        A :class:`Summary`; ``print`` shows the table.

    Raises:
        ArgumentError: When ``net`` is not a layer.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.layers import activation, dense, serial
        >>> from funcnet.primitives import relu
        >>> net = serial(hidden=dense(128), relu=activation(relu), output=dense(10))
        >>> print(summary(net, jax.ShapeDtypeStruct((32, 64), jnp.float32)))
        layer   output            parameters   FLOPs  kept for backward
        ------  ----------------  ----------  ------  -----------------
        hidden  float32[32, 128]       8,320   528 k                0 B
        relu    float32[32, 128]           0   4.1 k             16 KiB
        output  float32[32, 10]        1,290  82.2 k                0 B
        ------  ----------------  ----------  ------  -----------------
        total                          9,610   615 k             16 KiB
    """
    require_layer("summary", "net", net)
    stateful = as_stateful(net)
    key = jax.random.key(0)
    params, state = jax.eval_shape(stateful.init, key, *inputs)

    def forward(params: Any, state: Any, key: Any, *inputs: Any) -> tuple[Any, Any]:
        return stateful.apply(params, state, *inputs, key=key, train=True)

    def output(params: Any, *rest: Any) -> Any:
        return forward(params, *rest)[0]

    with recording_outputs() as outputs:
        traced, shapes = jax.make_jaxpr(forward, return_shape=True)(params, state, key, *inputs)
    outputs = {"": shapes[0], **outputs}

    sizes, flops, kept = Counter[str](), Counter[str](), Counter[str]()
    for path, leaf in flatten(params).items():
        sizes[_owner(path, outputs)] += leaf.size
    for equation in equations(traced):
        count = count_operations(equation.eqn).flops * equation.count
        flops[_owner(equation.scope, outputs)] += count
    for residual in residuals(output, params, state, key, *inputs):
        if residual.kind == "intermediate":
            kept[_owner(residual.scope, outputs)] += residual.nbytes

    return Summary(
        tuple(
            LayerSummary(path or kind_of(net), shapes_text(y), sizes[path], flops[path], kept[path])
            for path, y in outputs.items()
            if not _is_parent(path, outputs) or sizes[path] or flops[path] or kept[path]
        )
    )


def _owner(scope: str, paths: Collection[str]) -> str:
    """The innermost layer that a scope, or the path of a parameter, stands in.

    Between and below the names of layers a scope also has those of jitted functions and rules, and
    transformations around names, as in ``vmap(hidden)``.
    """
    owner = ""
    for name in re.sub(r"\w+\(|\)", "", scope).split(SEPARATOR):
        deeper = f"{owner}{SEPARATOR}{name}" if owner else name
        if deeper in paths:
            owner = deeper
    return owner


def _is_parent(path: str, paths: Collection[str]) -> bool:
    inside = f"{path}{SEPARATOR}" if path else ""
    return any(other != path and other.startswith(inside) for other in paths)
