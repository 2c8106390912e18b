"""Plans as files: what was decided, and for what, without the function itself.

A file is an ``.npz`` archive of NumPy's: a header in JSON with the shapes, the options and the
choice, and the arrays of the pattern and of its colouring. Nothing in it is code, and nothing is
unpickled. A fingerprint of the linearised function tells whether the plan is for that function.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from funcnet.errors import ArgumentError
from funcnet.jacobian.coloring.one_sided import Coloring, Substitution
from funcnet.jacobian.sparsity.patterns import Pattern

__all__ = ["SavedPlan", "fingerprint", "read_plan", "write_plan"]

_FORMAT = "funcnet plan"
_VERSION = 1


@dataclass(frozen=True, eq=False)
class SavedPlan:
    """What a file holds.

    Attributes:
        header: What is said in words and numbers.
        pattern: The pattern of a compressed Jacobian.
        coloring: Its colouring.
    """

    header: Mapping[str, Any]
    pattern: Pattern | None = None
    coloring: Coloring | None = None


def write_plan(path: str | os.PathLike[str], saved: SavedPlan) -> None:
    """Write a plan to a file."""
    header: dict[str, Any] = {"format": _FORMAT, "version": _VERSION, **saved.header}
    arrays: dict[str, np.ndarray] = {}
    if saved.pattern is not None:
        arrays |= {"rows": saved.pattern[0], "cols": saved.pattern[1]}
    if (c := saved.coloring) is not None:
        header["coloring"] = {"kind": c.kind, "shape": c.shape, "jvps": c.jvps, "vjps": c.vjps}
        arrays |= {"column_colors": c.column_colors, "row_colors": c.row_colors, "gather": c.gather}
        if c.substitution is not None:
            header["coloring"]["steps"] = len(c.substitution.steps)
            arrays["index"] = c.substitution.index
            for i, (source, target) in enumerate(c.substitution.steps):
                arrays |= {f"from_{i}": source, f"to_{i}": target}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with open(path, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_plan(function: str, path: str | os.PathLike[str]) -> SavedPlan:
    """Read a plan from a file.

    Args:
        function: Who asks, for the message.
        path: The file.

    Returns:
        What it holds.

    Raises:
        ArgumentError: If it is no plan, or one of another version.
    """
    no_plan = f"{function}: {os.fspath(path)!r} is not a saved plan, or is damaged; save it again."
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(arrays.pop("header").tobytes())
        if header["format"] != _FORMAT:
            raise ArgumentError(no_plan)
        if header["version"] != _VERSION:
            raise ArgumentError(
                f"{function}: {os.fspath(path)!r} is a plan of version {header['version']}, and "
                f"this funcnet reads version {_VERSION}; make the plan again."
            )
        pattern = (arrays["rows"], arrays["cols"]) if "rows" in arrays else None
        return SavedPlan(header, pattern, _coloring(header.get("coloring"), arrays))
    except (KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ArgumentError(no_plan) from error
    except ValueError as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(no_plan) from error


def _coloring(header: Any, arrays: Mapping[str, np.ndarray]) -> Coloring | None:
    if header is None:
        return None
    substitution = None
    if "steps" in header:
        steps = [(arrays[f"from_{i}"], arrays[f"to_{i}"]) for i in range(header["steps"])]
        substitution = Substitution(arrays["index"], tuple(steps))
    height, width = header["shape"]
    return Coloring(
        header["kind"],
        (height, width),
        arrays["column_colors"],
        arrays["row_colors"],
        header["jvps"],
        header["vjps"],
        arrays["gather"],
        substitution,
    )


def fingerprint(jaxpr: ClosedJaxpr) -> str:
    """A digest of a program: its operations, their shapes and wiring, and its integer constants.

    Real constants are left out: they are numbers of the Jacobian, and do not move its entries.
    """
    made = hashlib.blake2b(digest_size=16)
    _digest(made, jaxpr)
    return made.hexdigest()


def _digest(made: Any, jaxpr: ClosedJaxpr | Jaxpr) -> None:
    top, consts = (jaxpr.jaxpr, jaxpr.consts) if isinstance(jaxpr, ClosedJaxpr) else (jaxpr, ())
    numbers: dict[Any, int] = {}

    def name(atom: Any) -> str:
        if isinstance(atom, Literal):
            return repr(np.asarray(atom.val).tolist())
        shape = getattr(atom.aval, "shape", ""), getattr(atom.aval, "dtype", "")
        return f"{numbers.setdefault(atom, len(numbers))}:{shape}"

    made.update(" ".join(map(name, [*top.constvars, *top.invars])).encode())
    for const in consts:
        if hasattr(const, "dtype") and np.issubdtype(const.dtype, np.integer):
            made.update(np.asarray(const).tobytes())
    for eqn in top.eqns:
        made.update(f"{eqn.primitive.name}({' '.join(map(name, eqn.invars))})".encode())
        for key in sorted(eqn.params):
            made.update(key.encode())
            _digest_of_parameter(made, eqn.params[key])
        made.update(" ".join(map(name, eqn.outvars)).encode())
    made.update(" ".join(map(name, top.outvars)).encode())


def _digest_of_parameter(made: Any, value: Any) -> None:
    """What is not plain has addresses in its text, and counts by its type alone."""
    if isinstance(value, ClosedJaxpr | Jaxpr):
        _digest(made, value)
    elif isinstance(value, tuple | list):
        for part in value:
            _digest_of_parameter(made, part)
        made.update(b")")
    elif value is None or isinstance(value, bool | int | float | str | np.dtype):
        made.update(f"{value!r},".encode())
    else:
        made.update(type(value).__name__.encode())
