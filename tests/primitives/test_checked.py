"""A checked rule sees values that are known, and is a rule otherwise."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError
from funcnet.primitives.checked import checked_rule, known


def check(x: Any, limit: Any, scale: float = 1.0) -> None:
    value = known(limit)
    if value is not None and value < 0:
        raise ArgumentError("limited: limit must not be below 0")


@checked_rule(
    check=check,
    residuals=lambda y, x, limit, scale: (),
    jvp=(lambda res, t, scale: t * scale, None),
    vjp=(lambda res, ct, scale: ct * scale, None),
    static_argnames="scale",
)
def limited(x: Any, limit: Any, scale: float = 1.0) -> Any:
    return x * scale


def test_known_values_are_checked() -> None:
    assert limited(2.0, 1, scale=3.0) == 6.0
    for call in (limited, jax.jit(lambda x, limit: limited(x, limit), static_argnums=1)):
        with pytest.raises(ArgumentError, match="limited"):
            call(2.0, -1)
    with pytest.raises(ArgumentError, match="limited"):
        jax.grad(lambda x: limited(x, limit=np.int32(-1)))(2.0)


def test_unknown_values_pass() -> None:
    assert jax.jit(limited)(2.0, -1) == 2.0
    np.testing.assert_array_equal(jax.vmap(limited)(jnp.ones(2), jnp.array([-1, -1])), [1, 1])
    assert jax.jit(jax.grad(limited))(2.0, -1) == 1.0


def test_what_is_known() -> None:
    assert known(3) == 3
    np.testing.assert_array_equal(known(jnp.arange(3)), [0, 1, 2])
    seen = []

    @jax.jit
    def look(x: Any) -> Any:
        seen.append(known(x))
        return x

    look(1.0)
    assert seen == [None]
