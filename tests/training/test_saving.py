from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from funcnet.errors import ArgumentError, DTypeError
from funcnet.training import load_params, save_params
from funcnet.training.saving import write_atomically

PARAMS = {
    "hidden": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.zeros(3)},
    "norm": {"deep": {"scale": jnp.float32(2.5), "empty": jnp.zeros((0, 4))}},
    "half": jnp.arange(3, dtype=jnp.bfloat16),
    "other": {"f": jnp.ones(2, jnp.float16), "i": jnp.arange(3), "b": jnp.array([True, False])},
}


def assert_same(left: Any, right: Any) -> None:
    chex.assert_trees_all_equal(left, right)
    chex.assert_trees_all_equal_shapes_and_dtypes(left, right)


def test_round_trip(tmp_path: Path) -> None:
    save_params(tmp_path / "net.safetensors", PARAMS)
    loaded = load_params(tmp_path / "net.safetensors")
    assert_same(loaded, PARAMS)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded))


def test_names_are_paths_that_others_can_read(tmp_path: Path) -> None:
    save_params(tmp_path / "net.safetensors", {"hidden": PARAMS["hidden"]})
    arrays = safetensors.numpy.load_file(tmp_path / "net.safetensors")
    assert sorted(arrays) == ["hidden/bias", "hidden/kernel"]
    np.testing.assert_array_equal(arrays["hidden/kernel"], [[0, 1, 2], [3, 4, 5]])


def test_arrays_in_any_memory_order(tmp_path: Path) -> None:
    kernel = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    save_params(
        tmp_path / "net", {"t": kernel.T, "s": kernel[:, ::2], "f": np.asfortranarray(kernel)}
    )
    loaded = load_params(tmp_path / "net")
    np.testing.assert_array_equal(loaded["t"], kernel.T)
    np.testing.assert_array_equal(loaded["s"], kernel[:, ::2])
    np.testing.assert_array_equal(loaded["f"], kernel)


def test_empty_dicts_are_left_out(tmp_path: Path) -> None:
    save_params(tmp_path / "net", {"a": {"w": jnp.ones(1)}, "relu": {}})
    assert sorted(load_params(tmp_path / "net")) == ["a"]
    save_params(tmp_path / "net", {})
    assert load_params(tmp_path / "net") == {}


@pytest.mark.usefixtures("x64")
def test_float64(tmp_path: Path) -> None:
    save_params(tmp_path / "net", {"w": jnp.array([1 / 3], jnp.float64)})
    assert_same(load_params(tmp_path / "net"), {"w": jnp.array([1 / 3], jnp.float64)})


def test_float64_is_not_cut_silently(tmp_path: Path) -> None:
    save_params(tmp_path / "net", {"a": {"w": np.array([1 / 3])}})
    with pytest.raises(DTypeError, match=r"a/w in .*net is float64.*jax_enable_x64"):
        load_params(tmp_path / "net")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"a/b": np.ones(1)}, "without '/'"),
        ({"": np.ones(1)}, "without '/'"),
        ({1: np.ones(1)}, "got 1 under ''"),
        ({"a": {"b": [np.ones(1)]}}, "a/b must be an array, got list"),
        ({"a": None}, "a must be an array"),
        ({"a": 1.0}, "a must be an array, got float"),
        ([np.ones(1)], "params must be nested dicts, got list"),
    ],
)
def test_what_is_not_parameters(tmp_path: Path, params: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        save_params(tmp_path / "net", params)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value", [jax.random.key(0), np.array(["a"]), np.ones(1, np.complex128), np.ones(1, "f16")]
)
def test_dtypes_that_cannot_be_stored(tmp_path: Path, value: Any) -> None:
    with pytest.raises(DTypeError, match="which cannot be stored"):
        save_params(tmp_path / "net", {"a": value})


def test_an_old_file_survives_until_the_new_one_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_params(tmp_path / "net", {"a": jnp.ones(1)})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_params(tmp_path / "net", {"a": jnp.zeros(1)})
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    np.testing.assert_array_equal(load_params(tmp_path / "net")["a"], [1.0])
    monkeypatch.undo()
    save_params(tmp_path / "net", {"a": jnp.zeros(1)})
    np.testing.assert_array_equal(load_params(tmp_path / "net")["a"], [0.0])


def test_written_files_have_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    write_atomically(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save_params(tmp_path / "no" / "net", {})
    with pytest.raises(FileNotFoundError):
        load_params(tmp_path / "net")


def valid() -> bytes:
    return safetensors.numpy.save({"a": np.ones(3, np.float32)})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 100,
        valid()[:-1],
        valid()[:20],
        valid() + b"x",
        pickle.dumps({"a": np.ones(3)}),
        valid().replace(b'"F32"', b'"F99"'),
    ],
)
def test_files_that_are_not_safetensors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net").write_bytes(content)
    with pytest.raises(ArgumentError, match="net cannot be read as safetensors"):
        load_params(tmp_path / "net")


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b/c", "a/b"], ["a//b"], ["/a"], ["a/"]])
def test_names_that_are_no_paths(tmp_path: Path, names: list[str]) -> None:
    content = safetensors.numpy.save({name: np.ones(1, np.float32) for name in names})
    (tmp_path / "net").write_bytes(content)
    with pytest.raises(ArgumentError, match="is not a path of names"):
        load_params(tmp_path / "net")
