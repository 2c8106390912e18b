from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ShapeError
from funcnet.layers import (
    AnyLayer,
    Layer,
    StatefulLayer,
    activation,
    as_stateful,
    dense,
    dropout,
    parallel,
    repeat,
    residual,
    running_mean,
    serial,
)

X = jnp.ones((5, 4))


def scale(factor: float) -> Layer:
    """A layer as a user writes one."""

    def init(key: Any, x: Any) -> dict[str, Any]:
        return {"scale": jnp.full(x.shape[-1:], factor)}

    def apply(params: Any, x: Any) -> Any:
        if x.shape[-1] != params["scale"].shape[0]:
            raise ShapeError(f"scale: {params['scale'].shape} against {x.shape}")
        return x * jnp.broadcast_to(params["scale"], x.shape)

    return Layer(init, apply)


class Shop:
    @staticmethod
    def shift() -> Layer:
        def init(key: Any, x: Any) -> dict[str, Any]:
            return {"shift": jnp.zeros(x.shape[-1:])}

        return Layer(init, lambda params, x: x)


def scale_init(key: Any, x: Any) -> dict[str, Any]:
    return {"scale": jnp.ones(x.shape[-1:])}


def test_a_layer_is_a_plain_pair() -> None:
    init, apply = dense(3)
    assert apply(init(jax.random.key(0), X), X).shape == (5, 3)
    assert Layer._fields == StatefulLayer._fields == ("init", "apply")


def test_a_users_own_layer_composes() -> None:
    net = serial(scale(2.0), repeat(residual(scale(3.0)), 2))
    params = net.init(jax.random.key(0), X)
    np.testing.assert_array_equal(net.apply(params, X), 2.0 * 4.0 * 4.0 * X)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (scale(2.0), "scale_0"),
        (Shop.shift(), "shift_0"),
        (Layer(scale_init, scale(1.0).apply), "layer_0"),
        (Layer(functools.partial(scale_init), scale(1.0).apply), "layer_0"),
        (Layer(lambda key, x: scale_init(key, x), scale(1.0).apply), "layer_0"),
        (dense(2), "dense_0"),
        (serial(dense(2)), "serial_0"),
        (serial(dense(2), dropout(0.5)), "serial_0"),
        (parallel(dense(2)), "parallel_0"),
        (residual(dense(4)), "residual_0"),
        (repeat(dense(4), 3), "repeat_0"),
        (as_stateful(dense(2)), "dense_0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_default_name_is_that_of_the_maker(layer: AnyLayer, name: str) -> None:
    params, _ = as_stateful(serial(layer)).init(jax.random.key(0), X)
    assert list(params) == [name]


@pytest.mark.parametrize(
    ("children", "expected"),
    [
        ([], Layer),
        ([dense(4)], Layer),
        ([dense(4), dropout(0.5)], StatefulLayer),
        ([running_mean()], StatefulLayer),
        ([serial(dropout(0.5))], StatefulLayer),
    ],
)
def test_a_combination_is_stateful_if_a_child_is(
    children: list[AnyLayer], expected: type[Any]
) -> None:
    assert type(serial(*children)) is expected
    assert type(parallel(*children)) is expected
    for child in children:
        assert type(residual(child)) is type(repeat(child, 2)) is type(child)


def test_a_stateful_view_hands_the_state_on() -> None:
    layer = as_stateful(activation(jnp.negative))
    y, state = layer.apply({}, {}, X, key=jax.random.key(0), train=True)
    np.testing.assert_array_equal(y, -X)
    assert state == {}
