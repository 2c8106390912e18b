"""The command that tells what derivatives cost: those of any function, or of one of the models."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.cli.subject import Subject, model_subject, named_subject
from funcnet.cli.terminal import Failure, Output, one_line
from funcnet.cost import (
    Comparison,
    Progress,
    Sweep,
    compare_modes,
    draw_comparison,
    draw_sweep,
    sweep,
)
from funcnet.errors import FuncnetError
from funcnet.training.saving import write_atomically

__all__ = ["Costing", "cost"]

_WIDTH = 16
"""The width of the hidden layers of a model whose depth is swept."""
_SHORT_TYPES = {"bf": "bfloat", "c": "complex", "f": "float", "i": "int", "u": "uint"}


@dataclass(frozen=True)
class Costing:
    """The options of the command, with their defaults."""

    function: str | None = None
    model: str | None = None
    args: tuple[str, ...] = ()
    argnums: tuple[int, ...] = ()
    hidden: tuple[int, ...] | None = None
    sizes: tuple[int, ...] = ()
    count: bool = False
    seconds: float = 5.0
    as_json: bool = False
    png: Path | None = None
    seed: int = 0


def cost(options: Costing) -> int:
    """Do the job.

    Returns:
        The exit status, 0.

    Raises:
        FuncnetError: When the function cannot be found, called, traced or differentiated.
        OSError: When the picture cannot be written.
    """
    _check(options)
    output = Output()
    with _bar() as progress:
        try:
            costs = _swept(options, progress) if options.sizes else _compared(options, progress)
        except Failure:
            raise
        except FuncnetError as error:
            raise Failure(str(error).replace("argnums", "--argnum")) from error
        except (Exception, SystemExit) as error:
            name = options.model or options.function
            raise Failure(f"{name} raised {type(error).__name__}: {one_line(error)}") from error
    if options.png is not None:
        picture = draw_comparison(costs) if isinstance(costs, Comparison) else draw_sweep(costs)
        write_atomically(options.png, picture)
    text = json.dumps(costs.to_dict(), indent=2) if options.as_json else str(costs)
    output.line(text, important=True)
    if options.png is not None and not options.as_json:
        output.line(f"{options.png} shows this")
    return 0


def _compared(options: Costing, progress: Progress) -> Comparison:
    subject = _subject(options)
    return compare_modes(
        subject.f,
        *subject.args,
        argnums=options.argnums or _moving(options, subject),
        measure=not options.count,
        seconds=options.seconds,
        progress=progress,
    )


def _swept(options: Costing, progress: Progress) -> Sweep:
    if options.model is not None:
        model, seed = options.model, options.seed
        ways: dict[str, Any] = {"ways": ("one JVP", "one VJP", "checkpointed VJP")}
        made: Callable[[int], Any] = lambda n: model_subject(model, (_WIDTH,) * n, seed)[:2]  # noqa: E731
        label = "hidden layers"
    else:
        assert options.function is not None
        made, label, ways = named_subject(options.function, (), options.seed).f, "size", {}
    return sweep(
        made,
        options.sizes,
        label=label,
        argnums=options.argnums or 0,
        measure=not options.count,
        seconds=options.seconds / len(options.sizes),
        progress=progress,
        **ways,
    )


def _check(options: Costing) -> None:
    """Raise where options do not go together, before anything takes time."""
    if options.hidden is not None and (options.model != "mlp" or options.sizes):
        raise Failure("--hidden goes with --model mlp, and not with --sizes")
    if (options.function is None) == (options.model is None):
        raise Failure("give a function, as in module:function, or --model, and not both")
    if options.args and options.model is not None:
        raise Failure("--arg goes with a function; a model has arguments of its own")
    if options.args and options.sizes:
        raise Failure("--arg and --sizes exclude each other: with sizes, the function makes them")
    if options.sizes and options.model not in (None, "mlp"):
        raise Failure("--sizes goes with a function or with --model mlp")
    if options.png is not None and options.png.suffix != ".png":
        raise Failure(f"--png {options.png}: the ending must be .png")


def _subject(options: Costing) -> Subject:
    if options.model is not None:
        return model_subject(options.model, options.hidden, options.seed)
    assert options.function is not None
    given = tuple(map(_spelled_out, options.args))
    return named_subject(options.function, given, options.seed)


def _spelled_out(text: str) -> str:
    """``f32[8]`` as ``float32[8]``; anything else as it is."""
    short = re.fullmatch(r"\s*(bf|[cfiu])(\d+\[.*)", text)
    return _SHORT_TYPES[short[1]] + short[2] if short else text


def _moving(options: Costing, subject: Subject) -> tuple[int, ...] | int:
    """The arguments that are differentiated: a model's parameters, or all that are real."""
    if options.model is not None:
        return 0
    real = [
        i
        for i, arg in enumerate(subject.args)
        if (leaves := jax.tree.leaves(arg))
        and all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves)
    ]
    return tuple(real) or 0


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar on the standard error, so that what is printed can be redirected."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = [BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn()]
    console = Console(stderr=True)
    shown: dict[str, Any] = {"transient": True, "disable": not console.is_terminal}
    with Bar(*columns, TextColumn("{task.description}"), console=console, **shown) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda done, text: bar.update(task, completed=done, description=text)
