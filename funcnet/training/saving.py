"""Parameters in files: safetensors, written whole or not at all.

A safetensors file holds named arrays and nothing that could run when it is read. The name of an
array is its path in the nested dict, ``"hidden/kernel"``. A file appears under its name only when
it is complete, so a full disk or a crash never leaves half a file, nor takes away the one that
was there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.errors import ArgumentError, DTypeError
from funcnet.typing import Params

__all__ = ["load_params", "save_params", "write_atomically"]

SEPARATOR = "/"

_STORABLE = ("bool", "int", "uint", "bfloat16", "float16", "float32", "float64", "complex64")


def save_params(path: str | os.PathLike[str], params: Params) -> None:
    """Write parameters to a safetensors file, atomically.

    Args:
        path: The file. One that is there is replaced once the new one is complete.
        params: Nested dicts of arrays, with texts without ``/`` as names. Empty dicts are left out:
            layers without parameters have no entry.

    Raises:
        ArgumentError: When the parameters are anything else.
        DTypeError: When an array has a dtype that the format, or its reader, does not know.
        OSError: When the file cannot be written. No partial file is left.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_params(f"{folder}/net.safetensors", {"output": {"bias": jnp.ones(2)}})
        ...     load_params(f"{folder}/net.safetensors")
        {'output': {'bias': Array([1., 1.], dtype=float32)}}
    """
    from safetensors.numpy import save  # `import funcnet` does not pay for it

    write_atomically(path, save(_flatten(params)))


def load_params(path: str | os.PathLike[str]) -> Params:
    """Read parameters from a safetensors file.

    Args:
        path: The file, from :func:`save_params` or from any other program.

    Returns:
        Nested dicts of arrays.

    Raises:
        OSError: When the file cannot be read.
        ArgumentError: When it is not a safetensors file, or its names are not paths.
        DTypeError: When an array has a dtype that JAX has not, such as float64 without
            ``jax_enable_x64``.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_params(f"{folder}/net.safetensors", {"a": {"w": jnp.ones(2)}})
        ...     load_params(f"{folder}/net.safetensors")["a"]["w"]
        Array([1., 1.], dtype=float32)
    """
    from safetensors import SafetensorError, safe_open

    name = os.fspath(path)
    with open(name, "rb"):  # the operating system's own error, if there is one
        pass
    params: Params = {}
    try:
        with safe_open(name, framework="np") as file:
            for key in file.keys():  # noqa: SIM118 - the handle is no dict
                _insert(params, key, _to_jax(name, key, file.get_tensor(key)), name)
    except (SafetensorError, AttributeError) as error:  # AttributeError: a dtype NumPy has not
        raise ArgumentError(
            f"load_params: {name} cannot be read as safetensors: {error}"
        ) from error
    return params


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all.

    The content goes to a temporary file in the same folder, then to the disk, and takes the name
    last.

    Args:
        path: The file. One that is there is replaced.
        content: What to write.

    Raises:
        OSError: When it cannot be written. Nothing is left behind then.

    Example:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(f"{folder}/notes.txt", b"all of it")
        ...     os.listdir(folder)
        ['notes.txt']
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _flatten(params: Params, prefix: str = "") -> dict[str, np.ndarray]:
    if not isinstance(params, dict):
        raise ArgumentError(
            f"save_params: params must be nested dicts, got {type(params).__name__}"
        )
    flat: dict[str, np.ndarray] = {}
    for name, value in params.items():
        if not isinstance(name, str) or not name or SEPARATOR in name:
            raise ArgumentError(
                f"save_params: a name must be a text without {SEPARATOR!r}, "
                f"got {name!r} under {prefix!r}"
            )
        path = f"{prefix}{name}"
        if isinstance(value, dict):
            flat |= _flatten(value, path + SEPARATOR)
        else:
            flat[path] = _to_numpy(path, value)
    return flat


def _to_numpy(path: str, value: Any) -> np.ndarray:
    if not isinstance(value, jax.Array | np.ndarray | np.generic):
        raise ArgumentError(f"save_params: {path} must be an array, got {type(value).__name__}")
    if not value.dtype.name.startswith(_STORABLE):
        raise DTypeError(f"save_params: {path} has the dtype {value.dtype}, which cannot be stored")
    return np.asarray(value, order="C")


def _to_jax(file: str, key: str, value: np.ndarray) -> jax.Array:
    if jax.dtypes.canonicalize_dtype(value.dtype) != value.dtype:
        raise DTypeError(
            f"load_params: {key} in {file} is {value.dtype}; "
            'call jax.config.update("jax_enable_x64", True) first'
        )
    return jnp.asarray(value)


def _insert(params: Params, key: str, value: jax.Array, file: str) -> None:
    *parents, name = key.split(SEPARATOR)
    place = params
    for parent in parents:
        place = place.setdefault(parent, {}) if isinstance(place, dict) else {}
    if not isinstance(place, dict) or name in place or not all((*parents, name)):
        raise ArgumentError(f"load_params: {key!r} in {file} is not a path of names")
    place[name] = value
