"""The folder that a run is saved in.

A folder that already holds a run is never touched: the next free of ``NAME``, ``NAME-2``,
``NAME-3``, ... is taken. That it can be written is tried before the training, with as many bytes
as will be needed. If saving fails all the same, because the disk has filled up since, the run
goes to the folder for temporary files, or to the home folder.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from funcnet.cli.terminal import Failure, one_line
from funcnet.training.saving import save_params, write_atomically
from funcnet.typing import Params

__all__ = ["Run", "Saved", "check_writable", "free_folder", "save_run"]

METRICS, RESULT, PICTURE = "metrics.jsonl", "result.json", "learning_curve.png"


class Run(NamedTuple):
    """What one seed gave.

    Attributes:
        seed: The seed.
        params: The parameters after the last epoch.
        history: The metrics of each epoch.
    """

    seed: int
    params: Params
    history: list[dict[str, float]]


class Saved(NamedTuple):
    """Where a run was saved, and what went wrong on the way.

    Attributes:
        folder: The folder that holds it.
        files: The names of the files in it.
        problems: One line for everything that failed; empty when all went well.
    """

    folder: Path
    files: list[str]
    problems: list[str]


def free_folder(wanted: Path) -> Path:
    """The first of ``wanted``, ``wanted-2``, ``wanted-3``, ... that holds no run."""
    for number in itertools.count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        if not any(_is_of_a_run(name) for name in _names_in(folder)):
            return folder
    raise AssertionError


def check_writable(wanted: Path, size: int) -> None:
    """Raise :class:`Failure` unless a run of about ``size`` bytes can be saved in the folder.

    The folder is not left behind: it is made when there is something to put into it.
    """
    folder = free_folder(wanted)
    if folder.exists() and not folder.is_dir():
        raise Failure(f"the output folder {folder} is a file")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    probe = folder / f".funcnet-probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(probe, bytes(size))
        probe.unlink()
    except OSError as error:
        raise Failure(f"cannot write to the output folder {folder}: {one_line(error)}") from error
    finally:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()


def save_run(
    wanted: Path,
    runs: Sequence[Run],
    result: dict[str, Any],
    draw: Callable[[], bytes],
) -> Saved:
    """Save the runs in the folder, or where else it is possible.

    Args:
        wanted: The folder that was asked for.
        runs: The run of each seed.
        result: What goes into the file of the result.
        draw: Makes the picture, as the bytes of a PNG file. It comes last, and if it fails only the
            picture is missing.

    Returns:
        Where it was saved, and what went wrong.

    Raises:
        Failure: When it could be saved nowhere.
    """
    problems: list[str] = []
    for place in _places(wanted):
        try:
            folder = place()
            folder.mkdir(parents=True, exist_ok=True)
            files = _save_numbers(folder, runs, result)
        except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
            problems.append(f"could not save the run: {one_line(error)}")
            continue
        try:
            write_atomically(folder / PICTURE, draw())
            files.append(PICTURE)
        except Exception as error:  # whatever is wrong with the picture, the run is saved
            problems.append(f"could not save the learning curve: {one_line(error)}")
        return Saved(folder, files, problems)
    raise Failure("; ".join(dict.fromkeys(problems)) + "; the run is lost")


def _save_numbers(folder: Path, runs: Sequence[Run], result: dict[str, Any]) -> list[str]:
    files = []
    for run in runs:
        files.append(
            f"params-seed{run.seed}.safetensors" if len(runs) > 1 else "params.safetensors"
        )
        save_params(folder / files[-1], run.params)
    lines = [
        json.dumps(_finite({"seed": run.seed, "epoch": epoch} | metrics))
        for run in runs
        for epoch, metrics in enumerate(run.history, start=1)
    ]
    write_atomically(folder / METRICS, "".join(f"{line}\n" for line in lines).encode())
    write_atomically(folder / RESULT, (json.dumps(_finite(result), indent=2) + "\n").encode())
    return [*files, METRICS, RESULT]


def _finite(value: Any) -> Any:
    """The same with None for infinities and NaN, which JSON has not."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _places(wanted: Path) -> Iterator[Callable[[], Path]]:
    yield lambda: free_folder(wanted)
    yield lambda: Path(tempfile.mkdtemp(prefix="funcnet-run-"))
    yield lambda: free_folder(Path.home() / "funcnet-run")


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # it does not exist, or writing to it will tell what is wrong with it
        return []


def _is_of_a_run(name: str) -> bool:
    return name in (METRICS, RESULT, PICTURE) or (
        name.startswith("params") and name.endswith(".safetensors")
    )
