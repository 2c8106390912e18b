"""Named points: seen by graphs and by policies, and nothing in compiled code."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError, DTypeError
from funcnet.graph import trace
from funcnet.names import name


def plain(x: Any) -> Any:
    return jnp.sum(jnp.tanh(x) ** 2)


def named(x: Any) -> Any:
    return jnp.sum(name(jnp.tanh(x), "h") ** 2)


def test_names_are_seen_by_graphs() -> None:
    assert trace(named, jnp.ones(3))["h"].op == "tanh"


def test_every_leaf_of_a_tree_has_its_path() -> None:
    def f(x: Any) -> Any:
        state: Any = name({"c": jnp.sin(x), "h": [jnp.cos(x), jnp.exp(x)]}, "cell")
        return state["c"] * state["h"][0] * state["h"][1]

    assert [n.name for n in trace(f, 1.0).nodes[1:4]] == ["cell/c", "cell/h/0", "cell/h/1"]


@pytest.mark.parametrize(
    "transform",
    [lambda f: f, jax.grad, jax.jacfwd, jax.hessian, jax.jit, jax.vmap],
    ids=["value", "grad", "jacfwd", "hessian", "jit", "vmap"],
)
def test_a_name_changes_no_number(transform: Any) -> None:
    x = jnp.array([0.5, -1.0, 2.0])
    np.testing.assert_array_equal(transform(named)(x), transform(plain)(x))


def test_compiled_code_does_not_hold_it() -> None:
    def text(f: Any) -> str:
        return jax.jit(f).lower(jnp.ones(3)).as_text().partition("{")[2]

    def jitted(f: Any) -> str:
        return text(lambda x: f(x))

    assert jitted(named) == jitted(plain)


def test_policies_save_by_name() -> None:
    def residuals(saved: str) -> list[Any]:
        policy = jax.checkpoint_policies.save_only_these_names(saved)
        f = jax.checkpoint(lambda x: jnp.sum(jnp.sin(name(jnp.tanh(x), "h"))), policy=policy)
        return jax.tree.leaves(jax.vjp(f, jnp.ones(3))[1])

    shapes = [[r.shape for r in residuals(which)] for which in ("h", "other")]
    assert len(shapes[0]) > len(shapes[1])


def test_only_arrays_have_names() -> None:
    for wrong in ("abc", object(), 2**70):
        with pytest.raises(DTypeError, match="name: h/x is no array"):
            name({"x": wrong}, "h")


def test_a_name_that_is_taken_gets_a_number() -> None:
    def f(x: Any) -> Any:
        return name(jnp.sin(x), "h") * name(jnp.cos(x), "h (2)") * name(jnp.exp(x), "h")

    found = [node.name for node in trace(f, 1.0).nodes]
    assert found == ["x", "h", "h (2)", "a1", "h (3)", "a2"]


@pytest.mark.parametrize("wrong", ["", None, 3])
def test_a_name_is_a_text(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="name: the name must be a text"):
        name(1.0, wrong)
