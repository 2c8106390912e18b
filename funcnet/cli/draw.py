"""The command that draws: any function of the user's, or one of the models, as a graph."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.cli.terminal import Failure, Output, one_line
from funcnet.data import load_digits
from funcnet.errors import FuncnetError
from funcnet.graph import Adjoints, Graph, Values, to_dot, to_html, to_svg, to_text, trace
from funcnet.models import logistic_loss, mlp
from funcnet.primitives import softmax_cross_entropy
from funcnet.training.saving import write_atomically

__all__ = ["MODELS", "Drawing", "draw"]

_FEW = 40
"""Graphs with no more nodes than this are shown in the terminal too."""
_FORMATS = (".html", ".svg", ".dot", ".txt")
_EXAMPLES = 8
"""Digits in the batch of a model."""


@dataclass(frozen=True)
class Drawing:
    """The options of the command, with their defaults."""

    function: str | None = None
    model: str | None = None
    args: tuple[str, ...] = ()
    out: Path | None = None
    learning_rate: float = 0.1
    argnums: tuple[int, ...] = ()
    hidden: tuple[int, ...] = (16, 16)
    unroll: bool = False
    open_rules: bool = False
    seed: int = 0
    quiet: bool = False


class _Subject(NamedTuple):
    """What is drawn."""

    f: Callable[..., Any]
    args: tuple[Any, ...]
    name: str


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


def _swept(subject: _Subject, options: Drawing) -> tuple[Graph, Values, Adjoints]:
    try:
        graph = trace(
            subject.f, *subject.args, unroll=options.unroll, open_rules=options.open_rules
        )
        values = graph.forward(*subject.args)
        adjoints = graph.backward(values, _ones(graph))
    except FuncnetError as error:
        raise Failure(str(error).replace("unroll=True", "--unroll")) from error
    except Exception as error:
        raise Failure(f"{subject.name} raised {type(error).__name__}: {one_line(error)}") from error
    return graph, values, adjoints


def _ones(graph: Graph) -> Any:
    """1 for every entry of the outputs; None for integers."""
    ones = [
        jnp.ones(node.shape, node.dtype) if node.differentiable else None
        for node in (graph.nodes[i] for i in graph.outputs)
    ]
    return graph.out_tree.unflatten(ones)


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
        return options.out
    stem = re.sub(r"\W+", "_", name).strip("_") or "graph"
    for number in itertools.count(1):
        path = Path(f"{stem}.html" if number == 1 else f"{stem}-{number}.html")
        if not path.exists():
            return path
    raise AssertionError


# What is drawn


def _subject(options: Drawing) -> _Subject:
    if (options.function is None) == (options.model is None):
        raise Failure("give a function, as in module:function, or --model, and not both")
    if options.model is not None:
        if options.args:
            raise Failure("--arg goes with a function; a model has arguments of its own")
        return MODELS[options.model](options)
    assert options.function is not None
    f = _find(options.function)
    key = jax.random.key(options.seed)
    args = tuple(_argument(text, jax.random.fold_in(key, i)) for i, text in enumerate(options.args))
    return _Subject(f, args, getattr(f, "__name__", "graph"))


def _mlp(options: Drawing) -> _Subject:
    digits = load_digits()[0].rows()
    images, labels = jnp.asarray(digits.images[:_EXAMPLES]), jnp.asarray(digits.labels[:_EXAMPLES])
    net = mlp(options.hidden, 10)
    params = net.init(jax.random.key(options.seed), images)

    def mlp_loss(params: Any, images: Any, labels: Any) -> Any:
        return jnp.mean(softmax_cross_entropy(net.apply(params, images), labels))

    return _Subject(mlp_loss, (params, images, labels), "mlp")


def _logistic(options: Drawing) -> _Subject:
    digits = load_digits()[0].rows()
    two = np.flatnonzero(digits.labels < 2)[:_EXAMPLES]
    images = jnp.asarray(digits.images[two])
    signs = jnp.asarray(2 * digits.labels[two] - 1)
    w = 0.1 * jax.random.normal(jax.random.key(options.seed), images.shape[1:], images.dtype)

    def logistic(w: Any, images: Any, signs: Any) -> Any:
        return jnp.mean(logistic_loss(w, images, signs))

    return _Subject(logistic, (w, images, signs), "logistic")


MODELS: dict[str, Callable[[Drawing], _Subject]] = {"logistic": _logistic, "mlp": _mlp}
"""The models that have a loss to draw, on a few of the embedded digits."""


def _find(text: str) -> Callable[..., Any]:
    """The function that ``module:function`` or ``file.py:function`` names."""
    place, colon, name = text.rpartition(":")
    if not (colon and place and name):
        raise Failure(f"{text!r} must be module:function or file.py:function")
    try:
        found: Any = _load(place)
    except Exception as error:
        raise Failure(
            f"cannot import {place}: {type(error).__name__}: {one_line(error)}"
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            names = [n for n, v in vars(found).items() if callable(v) and not n.startswith("_")]
            raise Failure(
                f"{place} has no {name!r}; it has {', '.join(names[:8]) or 'no functions'}"
            )
        found = getattr(found, part)
    if not callable(found):
        raise Failure(f"{text} is no function but a {type(found).__name__}")
    return found


def _load(place: str) -> Any:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if not place.endswith(".py"):
        return importlib.import_module(place)
    path = Path(place)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {place}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Arguments

_DRAWN = re.compile(r"(?P<dtype>[a-z]+\d*)\[(?P<shape>[\d, ]*)\]")


def _argument(text: str, key: Any) -> Any:
    """A number, nested lists of numbers, a dict of these, ``float32[8, 3]`` or a .npy file."""
    if drawn := _DRAWN.fullmatch(text.strip()):
        return _random(text, drawn["dtype"], drawn["shape"], key)
    if text.endswith(".npy"):
        try:
            return jnp.asarray(np.load(text, allow_pickle=False))
        except ValueError as error:
            raise Failure(f"--arg {text}: {one_line(error)}") from error
    try:
        return _arrays(json.loads(text))
    except (ValueError, TypeError) as error:
        raise Failure(
            f"--arg {text}: expected a number, lists of numbers as in [[1.0, 2.0]], a dict "
            'as in {"w": 1.0}, a type as in float32[8,3] for random numbers, or a .npy file'
        ) from error


def _arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _arrays(part) for name, part in value.items()}
    if isinstance(value, str) or value is None:
        raise TypeError("no number")
    return value if isinstance(value, int | float) else jnp.asarray(value)


def _random(text: str, dtype: str, shape_text: str, key: Any) -> Any:
    """Standard normal numbers; integers from 0 to 9; fair coins."""
    try:
        kind = jnp.dtype(dtype)
        shape = tuple(int(part) for part in shape_text.split(",") if part.strip())
    except (TypeError, ValueError) as error:
        raise Failure(f"--arg {text}: {one_line(error)}") from error
    if jnp.issubdtype(kind, jnp.inexact):
        return jax.random.normal(key, shape, kind)
    if kind == jnp.bool_:
        return jax.random.bernoulli(key, shape=shape)
    return jax.random.randint(key, shape, 0, 10, kind)
