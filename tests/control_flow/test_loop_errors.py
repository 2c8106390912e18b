"""What a loop says to states that change, conditions that are none, and exceeded limits."""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp
import pytest

from funcnet.control_flow import fori_loop, while_loop
from funcnet.errors import ArgumentError, DTypeError, FuncnetError, ShapeError

FAULTS: dict[str, tuple[type[FuncnetError], str, Any]] = {
    "another structure": (
        ShapeError,
        r"while_loop: body_fun returns a state of another structure",
        lambda: while_loop(lambda s: s[0] < 3, lambda s: [s[0]], cast(Any, (1.0, 2.0))),
    ),
    "another shape": (
        ShapeError,
        r"while_loop: body_fun turns the leaf 'x' of the state of shape \(2,\) into one of shape "
        r"\(4,\)",
        lambda: while_loop(
            lambda s: True, lambda s: {"x": jnp.concatenate([s["x"]] * 2)}, {"x": jnp.ones(2)}
        ),
    ),
    "another shape of all": (
        ShapeError,
        r"body_fun turns the state of shape \(\) into one of shape \(1,\)",
        lambda: while_loop(lambda x: x < 3, lambda x: x[None], jnp.ones(())),
    ),
    "another dtype": (
        DTypeError,
        r"body_fun turns the leaf .1. of the state from int32 into float32. A state keeps",
        lambda: while_loop(
            lambda s: s[0] < 3,
            lambda s: (s[0], s[1].astype(jnp.float32)),
            (1.0, jnp.zeros((), jnp.int32)),
        ),
    ),
    "no bool": (
        DTypeError,
        r"while_loop: cond_fun returns float32\[\]; it has to return one bool",
        lambda: while_loop(lambda x: x, lambda x: x, 1.0),
    ),
    "several bools": (
        DTypeError,
        r"cond_fun returns bool\[3\]; it has to return one bool",
        lambda: while_loop(lambda x: x < 3, lambda x: x, jnp.ones(3)),
    ),
    "nothing": (
        DTypeError,
        "cond_fun returns nothing",
        lambda: while_loop(lambda x: None, lambda x: x, 1.0),
    ),
    "too small a budget": (
        ArgumentError,
        r"while_loop: budget_bytes=7 is too little: one state takes 4 bytes.*Give 8 or more",
        lambda: while_loop(lambda x: x < 3, lambda x: x + 1, 1.0, budget_bytes=7),
    ),
    "a negative limit": (
        ArgumentError,
        "max_steps is -1",
        lambda: while_loop(lambda x: x < 3, lambda x: x + 1, 1.0, max_steps=-1),
    ),
    "too many steps": (
        ArgumentError,
        "the condition still held after max_steps=5 steps",
        lambda: while_loop(lambda x: x < 7, lambda x: x + 1, 1.0, max_steps=5),
    ),
    "a bound that is no integer": (
        DTypeError,
        r"fori_loop: upper is float32\[\]; it has to be one integer",
        lambda: fori_loop(0, 3.0, lambda i, x: x, 1.0),
    ),
    "another dtype, counted": (
        DTypeError,
        "fori_loop: body_fun turns the state from float32 into int32",
        lambda: fori_loop(0, 3, lambda i, x: i, jnp.ones(())),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(fault: str) -> None:
    kind, message, call = FAULTS[fault]
    with pytest.raises(kind, match=message):
        call()


def limited(x: Any, bound: Any, max_steps: int) -> Any:
    return while_loop(lambda y: y < bound, lambda y: 2 * y, x, max_steps=max_steps)


def test_as_many_steps_as_allowed() -> None:
    assert limited(1.0, 32.0, 5) == 32.0
    assert limited(40.0, 32.0, 0) == 40.0
    assert jax.grad(limited)(1.0, 32.0, 5) == 32.0
    bounds = jnp.asarray([1.0, 7.0, 32.0])
    assert jax.vmap(lambda b: limited(1.0, b, 5))(bounds).tolist() == [1.0, 8.0, 32.0]


@pytest.mark.parametrize("transformed", [jax.jit, jax.grad])
def test_too_many_steps_are_found_while_it_runs(transformed: Any) -> None:
    with pytest.raises(Exception, match="still held after max_steps=4"):
        f = jax.jit(transformed(lambda x: limited(x, 32.0, 4)))
        jax.block_until_ready(f(1.0))
        jax.effects_barrier()


def test_numbers_of_python_take_the_dtype_of_the_step() -> None:
    with jax.numpy_dtype_promotion("standard"):
        found = while_loop(lambda x: x < 3, lambda x: x + jnp.bfloat16(0.5), cast(Any, 1.0))
    assert found.dtype == jnp.bfloat16
    assert found == 3.0
