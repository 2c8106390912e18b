"""Strict settings for every test, made before JAX starts.

What JAX forgives by default is an error here: mixed dtypes, mixed ranks, warnings (`pyproject.toml`
turns those into errors) and, in tests marked `leaks`, tracers that outlive their trace. Checking
leaks turns JAX's caches off, which is too slow for the whole suite.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

from tests.compiled import fast_flags

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# JAX reads these once, when it starts; of a flag that is there twice, the last counts. Where
# rounding and cost count, tests compile as users do. Tests of meshes need several devices.
os.environ["XLA_FLAGS"] = " ".join(
    [
        *fast_flags,
        "--xla_cpu_parallel_codegen_split_count=1",  # the processes are in parallel already
        "--xla_force_host_platform_device_count=8",
        os.environ.get("XLA_FLAGS", ""),
    ]
)

import jax
import pytest
from xdist.scheduler import LoadScopeScheduling

# Tracing makes many small objects that live on; to look through them as often as Python does by
# default takes a fifteenth of all the time.
gc.set_threshold(200_000, 20, 20)

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


_SHARING_BY_CASE = ("tests/conformance/", "tests/graph/pictures/test_browser.py")
_SHARING_BY_FILE = ("tests/initializers/", "tests/layers/", "tests/primitives/")


class _BySharing(LoadScopeScheduling):
    """Each test goes to the process that is free, but those that share what was compiled to one."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(_SHARING_BY_CASE) and "[" in nodeid:
            return nodeid.partition("[")[2]  # all laws of one row, or all looks at one page
        if nodeid.startswith(_SHARING_BY_FILE):
            return nodeid.partition("::")[0]  # the same operations on the same shapes, and fixtures
        return nodeid.partition("[")[0] if "random_programs" in nodeid else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """What tests share is computed once, in one process."""
    return _BySharing(config, log)
