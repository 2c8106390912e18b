"""The command that draws: any function of the user's, or one of the models, as a graph."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp

from funcnet.cli.subject import Subject, model_subject, named_subject
from funcnet.cli.terminal import Failure, Output, one_line
from funcnet.errors import FuncnetError
from funcnet.graph import Adjoints, Graph, Values, to_dot, to_html, to_svg, to_text, trace
from funcnet.graph.sweeps import unit_cotangent
from funcnet.training.saving import write_atomically

__all__ = ["Drawing", "draw"]

_FEW = 40
"""Graphs with no more nodes than this are shown in the terminal too."""
_FORMATS = (".html", ".svg", ".dot", ".txt")


@dataclass(frozen=True)
class Drawing:
    """The options of the command, with their defaults."""

    function: str | None = None
    model: str | None = None
    args: tuple[str, ...] = ()
    out: Path | None = None
    learning_rate: float = 0.1
    argnums: tuple[int, ...] = ()
    hidden: tuple[int, ...] | None = None
    unroll: bool = False
    open_rules: bool = False
    seed: int = 0
    quiet: bool = False


def draw(options: Drawing) -> int:
    """Do the job.

    Returns:
        The exit status, 0.

    Raises:
        FuncnetError: When the function cannot be found, called, traced or drawn.
        OSError: When the picture cannot be written.
    """
    output = Output(options.quiet)
    subject = _subject(options)
    target = _target(options, subject.name)
    graph, values, adjoints = _swept(subject, options)
    if target.suffix == ".html":
        moving = _moving(options, graph)
        rate = options.learning_rate if moving else None
        text = str(to_html(graph, values, adjoints, learning_rate=rate, argnums=moving))
    else:
        drawn = {".svg": to_svg, ".dot": to_dot, ".txt": to_text}[target.suffix]
        text = str(drawn(graph, values, adjoints))
    write_atomically(target, text.encode())
    if len(graph.nodes) <= _FEW:
        output.line(to_text(graph, values, adjoints))
    for note in _notes(graph):
        output.line(f"note: {note}")
    output.line(f"{target} shows {len(graph.nodes)} nodes", important=True)
    return 0


def _swept(subject: Subject, options: Drawing) -> tuple[Graph, Values, Adjoints]:
    try:
        graph = trace(
            subject.f, *subject.args, unroll=options.unroll, open_rules=options.open_rules
        )
        values = graph.forward(*subject.args)
        adjoints = graph.backward(values, unit_cotangent(values))
    except FuncnetError as error:
        raise Failure(str(error).replace("unroll=True", "--unroll")) from error
    except (Exception, SystemExit) as error:
        raise Failure(f"{subject.name} raised {type(error).__name__}: {one_line(error)}") from error
    return graph, values, adjoints


def _notes(graph: Graph) -> list[str]:
    """What a reader may not expect."""
    notes = []
    outputs = [graph.nodes[i] for i in graph.outputs]
    if sum(node.size for node in outputs) != 1:
        notes.append(
            "the output is not one number; the adjoints are those of the sum of its entries"
        )
    for node in (graph.nodes[i] for i in graph.inputs):
        if not node.shape and jnp.issubdtype(node.dtype, jnp.integer):
            notes.append(f"{node.name} is an integer and has no adjoint; write 2.0, not 2")
    return notes


def _moving(options: Drawing, graph: Graph) -> tuple[int, ...]:
    """The arguments that the update moves: those asked for, or all that are real numbers."""
    if options.argnums:
        return options.argnums
    if options.model is not None:
        return (0,)  # the parameters, and not the data
    index, moving = 0, []
    for i, part in enumerate(graph.in_tree.children()):
        leaves = [graph.nodes[k] for k in graph.inputs[index : index + part.num_leaves]]
        index += part.num_leaves
        if leaves and all(leaf.differentiable for leaf in leaves):
            moving.append(i)
    return tuple(moving)


def _target(options: Drawing, name: str) -> Path:
    """The file that was asked for, or the first free one that is called as the function."""
    if options.out is not None:
        if options.out.suffix not in _FORMATS:
            raise Failure(f"--out {options.out}: the ending must be one of {', '.join(_FORMATS)}")
        if options.argnums and options.out.suffix != ".html":
            raise Failure("--argnum goes with a page, that is with an --out that ends in .html")
        return options.out
    stem = re.sub(r"\W+", "_", name).strip("_") or "graph"
    for number in itertools.count(1):
        path = Path(f"{stem}.html" if number == 1 else f"{stem}-{number}.html")
        if not path.exists():
            return path
    raise AssertionError


def _subject(options: Drawing) -> Subject:
    if options.hidden is not None and options.model != "mlp":
        raise Failure("--hidden goes with --model mlp")
    if (options.function is None) == (options.model is None):
        raise Failure("give a function, as in module:function, or --model, and not both")
    if options.model is None:
        assert options.function is not None
        return named_subject(options.function, options.args, options.seed)
    if options.args:
        raise Failure("--arg goes with a function; a model has arguments of its own")
    return model_subject(options.model, options.hidden, options.seed)
