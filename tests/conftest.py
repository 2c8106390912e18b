"""Strict settings for every test, made before JAX starts.

What JAX forgives by default is an error here: mixed dtypes, mixed ranks, warnings (`pyproject.toml`
turns those into errors) and, in tests marked `leaks`, tracers that outlive their trace. Checking
leaks turns JAX's caches off, which is too slow for the whole suite.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    # Eight devices on one machine, for the tests of meshes. JAX reads this once, when it starts.
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    ).strip()

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 for one test; the default stays float32, as for users."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True)
def check_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Raise when a tracer leaks from a test that carries the mark `leaks`."""
    if request.node.get_closest_marker("leaks") is None:
        yield
    else:
        with jax.checking_leaks():
            yield
