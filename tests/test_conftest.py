"""The strict settings of conftest.py are in force: each is seen to bite."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import pytest

leaked: list[jax.Array] = []


@pytest.fixture
def no_tracer_stays() -> Iterator[None]:
    yield
    leaked.clear()


def leak_a_tracer() -> None:
    @jax.jit
    def keep(x: jax.Array) -> jax.Array:
        leaked.append(x)
        return x

    keep(1.0)


def test_mixed_dtypes_raise() -> None:
    with pytest.raises(jax.dtypes.TypePromotionError):
        jnp.ones(2, jnp.float32) + jnp.ones(2, jnp.int32)


def test_mixed_ranks_raise() -> None:
    with pytest.raises(ValueError, match="rank"):
        jnp.ones((2, 2)) + jnp.ones(2)


def test_warnings_raise() -> None:
    with pytest.raises(UserWarning, match="a warning"):
        warnings.warn("a warning", stacklevel=1)


@pytest.mark.leaks
@pytest.mark.usefixtures("no_tracer_stays")
def test_a_leaked_tracer_raises_where_marked() -> None:
    with pytest.raises(Exception, match="Leaked"):
        leak_a_tracer()


@pytest.mark.usefixtures("no_tracer_stays")
def test_leaks_are_not_looked_for_elsewhere() -> None:
    leak_a_tracer()


def test_default_is_float32() -> None:
    assert jnp.ones(2).dtype == jnp.float32


@pytest.mark.usefixtures("x64")
def test_x64_fixture_gives_float64() -> None:
    assert jnp.ones(2).dtype == jnp.float64


def test_there_are_eight_devices() -> None:
    assert len(jax.devices()) == 8
