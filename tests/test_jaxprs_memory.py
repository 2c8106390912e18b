"""What reverse mode keeps: against counts by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from funcnet.errors import ArgumentError
from funcnet.jaxprs import Residuals, residuals


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@jax.custom_vjp
def tanh(x: Any) -> Any:
    """Keeps its output and nothing else, whatever version of JAX runs it."""
    return jnp.tanh(x)


tanh.defvjp(lambda x: (tanh(x),) * 2, lambda y, ct: (ct * (1 - y * y),))


def facts(kept: Residuals) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(r.kind, r.description, r.shape) for r in kept]


def test_a_chain_keeps_one_array_for_each_link() -> None:
    kept = residuals(lambda x: tanh(tanh(tanh(x))), ones(5, 4))
    assert facts(kept) == [("intermediate", "tanh", (5, 4))] * 3
    assert kept.nbytes == 3 * 80
    assert residuals(lambda x: jnp.sin(jnp.exp(x)), ones(5)).nbytes == 2 * 20


def test_a_product_keeps_its_arguments_which_cost_nothing() -> None:
    kept = residuals(lambda w, x: x @ w, ones(4, 3), ones(2, 4), argnums=(0, 1))
    assert facts(kept) == [("argument", "w", (4, 3)), ("argument", "x", (2, 4))]
    assert kept.nbytes == 0


@pytest.mark.parametrize(("argnums", "names"), [(0, ["x"]), (1, ["w"]), ((0, 1), ["w", "x"])])
def test_only_what_the_wanted_gradients_need(argnums: Any, names: list[str]) -> None:
    kept = residuals(lambda w, x: x @ w, ones(4, 3), ones(2, 4), argnums=argnums)
    assert [r.description for r in kept] == names


def test_a_linear_function_keeps_nothing() -> None:
    kept = residuals(lambda x: 3.0 * x.sum(0) - jnp.ones(4), ones(2, 4))
    assert (kept.nbytes, len(kept)) == (0, 0)


def test_an_array_kept_twice_counts_once() -> None:
    # exp(x) is kept for its own derivative and for that of the product.
    kept = residuals(lambda x: jnp.exp(x) * jnp.sin(x), ones(6))
    assert sorted(r.description for r in kept) == ["cos", "exp", "sin"]


def test_a_network_names_its_parameters_and_layers() -> None:
    def network(params: Any, x: Any) -> Any:
        with jax.named_scope("hidden"):
            h = tanh(x @ params["hidden"])
        return h @ params["output"]

    params = {"hidden": ones(4, 8), "output": ones(8, 3)}
    kept = residuals(network, params, ones(2, 4))
    assert facts(kept) == [
        ("argument", "params/output", (8, 3)),
        ("argument", "x", (2, 4)),
        ("intermediate", "tanh", (2, 8)),
    ]
    assert [r.scope for r in kept] == ["", "", "hidden"]
    assert "test_jaxprs_memory.py" in kept[2].source
    assert kept.nbytes == 64


def test_masks_are_booleans() -> None:
    (mask,) = [r for r in residuals(jax.nn.relu, ones(10)) if r.kind == "intermediate"]
    assert (mask.dtype, mask.nbytes) == (np.dtype(bool), 10)


def test_what_depends_on_no_argument_is_a_constant() -> None:
    table = jnp.arange(4.0)

    def f(x: Any) -> Any:
        return x * table + x * (jnp.arange(4.0) + 1)

    kept = residuals(f, ones(4))
    assert {r.kind for r in kept} == {"constant"}
    assert kept.nbytes == 0


def test_a_scan_stacks_its_residuals_over_all_rounds() -> None:
    def step(c: Any, _: Any) -> Any:
        with jax.named_scope("step"):
            return tanh(c), None

    def f(x: Any) -> Any:
        with jax.named_scope("loop"):
            return jax.lax.scan(step, x, None, length=50)[0]

    kept = residuals(f, ones(4))
    assert facts(kept) == [("intermediate", "tanh [scan x 50]", (50, 4))]
    assert kept[0].scope == "loop/step"
    assert kept.nbytes == 50 * 16
    assert "test_jaxprs_memory.py" in kept[0].source

    twice = residuals(lambda x: jax.lax.map(f, x), ones(3, 4))
    assert facts(twice) == [("intermediate", "tanh [scan x 50] [scan x 3]", (3, 50, 4))]


def test_a_scan_over_shared_weights_keeps_them_once() -> None:
    def f(w: Any, x: Any) -> Any:
        return jax.lax.scan(lambda c, _: (c @ w, None), x, None, length=50)[0]

    kept = residuals(f, ones(4, 4), ones(2, 4), argnums=(0, 1))
    assert facts(kept) == [
        ("argument", "w", (4, 4)),
        ("intermediate", "carry [scan x 50]", (50, 2, 4)),
    ]


def test_checkpointing_keeps_the_input_alone() -> None:
    def f(x: Any) -> Any:
        return tanh(tanh(x))

    assert residuals(jax.checkpoint(f), ones(5)).nbytes == 0
    assert residuals(lambda x: jax.checkpoint(f)(jnp.exp(x)), ones(5)).nbytes == 20
    named = jax.checkpoint(
        lambda x: jnp.sin(checkpoint_name(jnp.sin(x), "middle")),
        policy=jax.checkpoint_policies.save_only_these_names("middle"),
    )
    kept = residuals(named, ones(5))
    assert ("intermediate", "middle", (5,)) in facts(kept)
    assert kept.nbytes == 20


def test_jit_hides_nothing() -> None:
    def f(x: Any) -> Any:
        return tanh(jnp.exp(x))

    plain, jitted = residuals(f, ones(5)), residuals(jax.jit(f), ones(5))
    assert [(r.kind, r.shape) for r in plain] == [(r.kind, r.shape) for r in jitted]
    assert plain.nbytes == jitted.nbytes == 40


def test_arguments_may_be_shapes_integers_and_trees() -> None:
    def f(params: Any, index: Any) -> Any:
        return jnp.exp(params["w"][index])

    shapes = {"w": jax.ShapeDtypeStruct((7, 3), jnp.float32)}, jax.ShapeDtypeStruct((2,), jnp.int32)
    kept = residuals(f, *shapes)
    assert ("intermediate", "exp", (2, 3)) in facts(kept)


def test_arguments_are_called_what_the_function_calls_them() -> None:
    kept = residuals(lambda *xs: xs[0] * xs[1], ones(2), ones(2), argnums=(0, 1))
    assert [r.description for r in kept] == ["xs[0]", "xs[1]"]


def test_functions_without_a_signature_number_their_arguments() -> None:
    def product(x: Any, y: Any) -> Any:
        return x * y

    product.__signature__ = "unknown"  # type: ignore[attr-defined]
    kept = residuals(product, ones(2), ones(2), argnums=(0, 1))
    assert [r.description for r in kept] == ["argument 0", "argument 1"]


def test_the_table() -> None:
    kept = residuals(lambda x: tanh(tanh(x)), ones(512))
    lines = str(kept).splitlines()
    assert lines[2].split()[:5] == ["intermediate", "tanh", "float32[512]", "2", "KiB"]
    assert lines[-1].split() == ["total", "intermediates", "only", "4", "KiB"]
    assert kept._repr_html_().startswith("<table>")


@pytest.mark.parametrize("argnums", [1, -1, (0, 2)])
def test_an_argument_that_is_not_there(argnums: Any) -> None:
    with pytest.raises(ArgumentError, match="argnums="):
        residuals(jnp.sin, ones(2), argnums=argnums)
