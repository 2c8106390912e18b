"""The commands, their options, and how their errors are told.

Whatever a user can cause ends in one line on the standard error and an exit status: 2 for a wrong
option, 1 for everything else that cannot be done, 130 after Ctrl-C.
"""

from __future__ import annotations

import importlib.metadata
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import jax
import typer

from funcnet.cli.calibrate import Calibrating
from funcnet.cli.calibrate import calibrate as do_calibrate
from funcnet.cli.cost import Costing
from funcnet.cli.cost import cost as do_cost
from funcnet.cli.draw import Drawing
from funcnet.cli.draw import draw as do_draw
from funcnet.cli.subject import MODELS
from funcnet.cli.terminal import complain, one_line
from funcnet.cli.train import MOST_SEEDS, Options
from funcnet.cli.train import train as do_train
from funcnet.errors import FuncnetError

__all__ = ["app", "main"]

_LARGEST_SIZE = 10**7
_LARGEST_WIDTH = 65_536
_LARGEST_SEED = 2**31 - 1

T = TypeVar("T")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The words after the name of the program; None takes those of the process.

    Returns:
        The exit status.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = app(args=words, prog_name="funcnet", standalone_mode=False)
    except typer.TyperException as error:
        complain(f"error: {' '.join(error.format_message().split())}")
        return error.exit_code
    except (FuncnetError, OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        complain(f"error: {one_line(error)}")
        return 1
    return status if isinstance(status, int) else 0


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            version = importlib.metadata.version("funcnet")
        except importlib.metadata.PackageNotFoundError:
            version = "(not installed, run from its source)"
        typer.echo(f"funcnet {version}")
        raise typer.Exit


def _positive(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value} is not a positive number.")
    return value


def _below_one(value: float) -> float:
    if not 0 <= value < 1:
        raise typer.BadParameter(f"{value} is not in the range 0<=x<1.")
    return value


def _known_model(value: str | None) -> str | None:
    if value is not None and value not in MODELS:
        raise typer.BadParameter(f"{value!r} is none of {', '.join(sorted(MODELS))}.")
    return value


def _parse_widths(text: str) -> tuple[int, ...]:
    """``"128,64"`` as ``(128, 64)``."""
    return _parse_numbers(text, "widths", _LARGEST_WIDTH, "128,64", "'--hidden'")


def _parse_numbers(
    text: str, what: str, largest: int, example: str, option: str
) -> tuple[int, ...]:
    try:
        numbers = tuple(int(word) for word in text.split(","))
    except ValueError:
        numbers = (0,)
    if not all(0 < number <= largest for number in numbers):
        raise typer.BadParameter(
            f"{text!r} must be {what} from 1 to {largest}, as in {example}.", param_hint=option
        )
    return numbers


def _or_interrupted(job: Callable[[T], int], options: T, done: str) -> int:
    try:
        return job(options)
    except KeyboardInterrupt:  # which typer would take without a word
        complain(f"interrupted; nothing is {done}")
        return 130


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> int:
    """Neural networks as pure functions, with every derivative in sight.

    Without a command, `train` runs with its defaults.
    """
    return train() if context.invoked_subcommand is None else 0


@app.command()
def train(
    epochs: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Passes over the training images.")
    ] = Options.epochs,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step.")] = Options.batch_size,
    learning_rate: Annotated[
        float,
        typer.Option(callback=_positive, help="Adam's first step size; it falls to 0 as a cosine."),
    ] = Options.learning_rate,
    hidden: Annotated[
        str, typer.Option(metavar="WIDTHS", help="Widths of the hidden layers, as in 128,64.")
    ] = ",".join(map(str, Options.hidden)),
    label_smoothing: Annotated[
        float,
        typer.Option(callback=_below_one, help="Share of each label spread over all classes."),
    ] = Options.label_smoothing,
    seed: Annotated[
        int, typer.Option(min=0, max=_LARGEST_SEED, help="Seed of all random numbers.")
    ] = Options.seed,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            max=MOST_SEEDS,
            help="Train with so many seeds, from --seed on, and report the mean accuracy.",
        ),
    ] = Options.seeds,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Train on the arrays `images` and `labels` of this file "
            "instead of the embedded digits.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="Where to save. If it holds a run already, FOLDER-2, FOLDER-3, ... is taken.",
        ),
    ] = Options.out,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the accuracy and the folder.")
    ] = False,
) -> int:
    """Train a multilayer perceptron to read handwritten digits.

    The output folder gets the parameters (params.safetensors),
    the metrics of each epoch (metrics.jsonl), the result with all options
    (result.json) and a picture (learning_curve.png).

    Ctrl-C ends the training and saves what there is.
    """
    options = Options(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        hidden=_parse_widths(hidden),
        label_smoothing=label_smoothing,
        seed=seed,
        seeds=seeds,
        data=data,
        out=out,
        quiet=quiet,
    )
    return _or_interrupted(do_train, options, "saved")


@app.command()
def graph(
    function: Annotated[
        str | None,
        typer.Argument(
            metavar="FUNCTION", help="What to draw: module:function, or file.py:function."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            callback=_known_model,
            help=f"Draw the loss of a model on a few digits instead: {', '.join(sorted(MODELS))}.",
        ),
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VALUE",
            help="An argument of the function; one --arg for each: 0.5, [[1.0, 2.0]], "
            '{"w": 1.0}, float32[8,3] for random numbers, or a .npy file.',
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to write: a page (.html), a picture (.svg), Graphviz (.dot) or text "
            "(.txt). An existing file is replaced. By default a new page, called as the function.",
        ),
    ] = None,
    learning_rate: Annotated[
        float, typer.Option(callback=_positive, help="Step size of the update that the page shows.")
    ] = Drawing.learning_rate,
    argnum: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            help="Which argument the update moves, from 0; by default all real ones, of a "
            "model the parameters.",
        ),
    ] = None,
    hidden: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHS", help="Widths of the hidden layers of --model mlp, by default 16,16."
        ),
    ] = None,
    unroll: Annotated[
        bool, typer.Option("--unroll", help="Follow loops and branches for these arguments.")
    ] = False,
    open_rules: Annotated[
        bool, typer.Option("--open-rules", help="Show the operations inside of rules.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=_LARGEST_SEED, help="Seed of all random numbers.")
    ] = Drawing.seed,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only where the picture is.")
    ] = False,
) -> int:
    """Draw a function as a graph, with all values and adjoints.

    The page steps through backpropagation with the arrow keys: forwards, backwards, update.

    funcnet graph lecture.py:f --arg 2.0 --arg 0.5

    funcnet graph --model mlp
    """
    options = Drawing(
        function=function,
        model=model,
        args=tuple(arg or ()),
        out=out,
        learning_rate=learning_rate,
        argnums=tuple(argnum or ()),
        hidden=None if hidden is None else _parse_widths(hidden),
        unroll=unroll,
        open_rules=open_rules,
        seed=seed,
        quiet=quiet,
    )
    return _or_interrupted(do_draw, options, "drawn")


@app.command()
def cost(
    function: Annotated[
        str | None,
        typer.Argument(
            metavar="FUNCTION", help="What to compare: module:function, or file.py:function."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            callback=_known_model,
            help=f"Compare for the loss of a model on digits instead: {', '.join(sorted(MODELS))}.",
        ),
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VALUE",
            help="An argument of the function; one --arg for each: 0.5, [[1.0, 2.0]], "
            '{"w": 1.0}, f32[8,3] for random numbers, or a .npy file.',
        ),
    ] = None,
    argnum: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            help="Which argument to differentiate, from 0; by default all real ones, of a model "
            "the parameters.",
        ),
    ] = None,
    hidden: Annotated[
        str | None,
        typer.Option(metavar="WIDTHS", help="Widths of the hidden layers of --model mlp."),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar="SIZES",
            help="Compare at several sizes, as in 10,100,1000: the function makes a function and "
            "its arguments of a size, and of --model mlp the size is the depth.",
        ),
    ] = None,
    count: Annotated[
        bool, typer.Option("--count", help="Count operations; run and time nothing.")
    ] = False,
    seconds: Annotated[
        float, typer.Option(callback=_positive, help="About how long to measure.")
    ] = Costing.seconds,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw a picture too, as PNG.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=_LARGEST_SEED, help="Seed of all random numbers.")
    ] = Costing.seed,
) -> int:
    """Tell what derivatives cost in forward and reverse mode, counted and measured.

    funcnet cost module:function --arg f32[1000]

    funcnet cost --model mlp
    """
    options = Costing(
        function=function,
        model=model,
        args=tuple(arg or ()),
        argnums=tuple(argnum or ()),
        hidden=None if hidden is None else _parse_widths(hidden),
        sizes=()
        if sizes is None
        else _parse_numbers(sizes, "sizes", _LARGEST_SIZE, "10,100", "'--sizes'"),
        count=count,
        seconds=seconds,
        as_json=as_json,
        png=png,
        seed=seed,
    )
    return _or_interrupted(do_cost, options, "drawn")


@app.command()
def calibrate(
    seconds: Annotated[
        float, typer.Option(callback=_positive, help="About how long to measure.")
    ] = Calibrating.seconds,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Also write the constants to a file."),
    ] = None,
) -> int:
    """Measure the constants by which Jacobians are planned, on this machine.

    Plans go by constants that come with the library, and choose the same everywhere. They go by
    those of a file instead if the environment variable FUNCNET_MACHINE names it.
    """
    return _or_interrupted(do_calibrate, Calibrating(seconds=seconds, out=out), "written")
