from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from funcnet.errors import ArgumentError
from funcnet.jaxprs import flops, residuals
from funcnet.layers import (
    AnyLayer,
    LayerSummary,
    StatefulLayer,
    activation,
    as_stateful,
    dense,
    dropout,
    flatten,
    parallel,
    prelu,
    repeat,
    residual,
    running_mean,
    serial,
    summary,
)
from funcnet.primitives import relu
from tests.layers.cases import Case, all_cases

X = jax.ShapeDtypeStruct((32, 64), jnp.float32)


def rows(net: AnyLayer, *inputs: Any) -> dict[str, LayerSummary]:
    return {layer.path: layer for layer in summary(net, *inputs).layers}


def test_an_mlp_by_hand() -> None:
    net = serial(hidden=dense(128), relu=activation(relu), output=dense(10, use_bias=False))
    found = summary(net, X)
    product, bias = 2 * 32 * 64 * 128, 32 * 128
    assert [(r.path, r.output, r.parameters, r.flops) for r in found.layers] == [
        ("hidden", "float32[32, 128]", 64 * 128 + 128, product + bias),
        ("relu", "float32[32, 128]", 0, 32 * 128),
        ("output", "float32[32, 10]", 128 * 10, 2 * 32 * 128 * 10),
    ]
    assert found.parameters == 8320 + 1280
    assert found.flops == product + bias + 32 * 128 + 2 * 32 * 128 * 10


def test_bytes_kept_by_hand() -> None:
    """The second product keeps its input, which the sine makes; the sine keeps its slope."""
    net = serial(dense(128), activation(jnp.sin), dense(10))
    kept = {path: row.kept_bytes for path, row in rows(net, X).items()}
    assert kept == {"dense_0": 0, "sin_0": 2 * 4 * 32 * 128, "dense_1": 0}


@pytest.mark.parametrize("n", [0, 1, 7])
def test_a_repeated_layer_counts_n_times(n: int) -> None:
    found = rows(serial(r=repeat(serial(d=dense(64), s=activation(jnp.sin)), n)), X)
    assert found["r/d"].parameters == n * (64 * 64 + 64)
    assert found["r/d"].flops == n * (2 * 32 * 64 * 64 + 32 * 64)
    assert found["r/d"].output == "float32[32, 64]"
    # Per round what goes into the sine, which the loop carries; after it the slope of the last one.
    own = found["r"].kept_bytes if "r" in found else 0
    assert own + found["r/s"].kept_bytes == (n + (n > 0)) * 4 * 32 * 64


def test_nested_and_stateful_layers_in_order() -> None:
    block = serial(dense(64), activation(relu), dropout(0.5), running_mean())
    net = serial(
        first=residual(block), both=parallel(left=dense(3), right=serial(flatten(), prelu()))
    )
    paths = [
        "first",  # the addition is its own
        "first/dense_0",
        "first/relu_0",
        "first/dropout_0",
        "first/running_mean_0",
        "both/left",
        "both/right/flatten_0",
        "both/right/prelu_0",
    ]
    found = rows(net, X)
    assert list(found) == paths
    assert found["first"].flops == 32 * 64
    assert found["both/left"].output == "float32[32, 3]"
    assert found["both/right/prelu_0"].parameters == 64


def test_a_single_layer_is_named_by_its_kind() -> None:
    (row,) = summary(dense(3), X).layers
    assert row.path == "dense" and row.parameters == 64 * 3 + 3
    (row,) = summary(parallel(), X).layers
    assert row.path == "parallel" and row.output == "()"


def test_layers_whose_trace_is_cached_are_seen() -> None:
    inner = serial(a=dense(64), b=activation(relu))
    jitted = type(inner)(inner.init, jax.jit(inner.apply))
    net = serial(r=repeat(serial(c=dense(64)), 2), j=jitted)
    params = net.init(jax.random.key(0), X)
    net.apply(params, jnp.ones(X.shape))
    for _ in range(2):
        found = rows(net, X)
        assert list(found) == ["r", "r/c", "j/a", "j/b"]
        assert found["j/a"].flops == 2 * 32 * 64 * 64 + 32 * 64


def test_what_only_the_state_depends_on_is_not_kept() -> None:
    def init(key: Any, x: Any) -> Any:
        return {"w": jnp.zeros(x.shape)}, {"seen": jnp.zeros(x.shape)}

    def apply(params: Any, state: Any, x: Any, key: Any = None, *, train: bool) -> Any:
        return x + params["w"], {"seen": jnp.sin(params["w"])}

    assert summary(StatefulLayer(init, apply), X).kept_bytes == 0


@all_cases
def test_the_rows_add_up(case: Case) -> None:
    found = summary(case.layer, *case.inputs)
    params, state = case.made
    apply = as_stateful(case.layer).apply

    def forward(params: Any, *inputs: Any) -> Any:
        return apply(params, state, *inputs, key=jax.random.key(0), train=True)

    assert found.parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert found.flops == flops(forward, params, *case.inputs).flops
    kept = residuals(lambda *args: forward(*args)[0], params, *case.inputs).nbytes
    # The key is a constant of this function; a summary has it as an argument, and keeps it.
    assert found.kept_bytes == kept or "dropout" in str(found)
    assert len({row.path for row in found.layers}) == len(found.layers)


def test_it_prints_itself() -> None:
    found = summary(serial(hidden=dense(128), relu=activation(relu)), X)
    lines = str(found).splitlines()
    assert lines[0].split()[:3] == ["layer", "output", "parameters"]
    assert lines[2].split()[:3] == ["hidden", "float32[32,", "128]"]
    assert lines[-1].split()[:2] == ["total", "8,320"]
    assert "<table" in found._repr_html_()


def test_nothing_is_computed() -> None:
    big = jax.ShapeDtypeStruct((10**6, 10**6), jnp.float32)
    assert summary(dense(10**6), big).flops > 10**18


def test_not_a_layer() -> None:
    with pytest.raises(ArgumentError, match="summary: net must be a layer"):
        summary(relu, X)
