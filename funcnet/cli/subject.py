"""What `funcnet graph` is told to draw: a function found by its name, its arguments, or a model."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.cli.terminal import Failure, one_line
from funcnet.data import load_digits
from funcnet.models import logistic_loss, mlp
from funcnet.primitives import softmax_cross_entropy

__all__ = ["MODELS", "Subject", "model_subject", "named_subject"]

_EXAMPLES = 8
"""Digits in the batch of a model."""
_HIDDEN = (16, 16)


class Subject(NamedTuple):
    """What is drawn: a function, its arguments, and what the picture is called."""

    f: Callable[..., Any]
    args: tuple[Any, ...]
    name: str


def named_subject(function: str, args: Sequence[str], seed: int) -> Subject:
    """A function of the user's, ``module:function`` or ``file.py:function``, with its arguments.

    Args:
        function: Where it is.
        args: Its arguments as texts.
        seed: Seed of random arguments.

    Returns:
        The subject.

    Raises:
        Failure: It cannot be found, or an argument says nothing.
    """
    f = _find(function)
    key = jax.random.key(seed)
    given = tuple(_argument(text, jax.random.fold_in(key, i)) for i, text in enumerate(args))
    return Subject(f, given, getattr(f, "__name__", "graph"))


def model_subject(model: str, hidden: tuple[int, ...] | None, seed: int) -> Subject:
    """The loss of a model on a few of the embedded digits.

    Args:
        model: One of `MODELS`.
        hidden: The widths of its hidden layers; None for the default.
        seed: Seed of its parameters.

    Returns:
        The subject; its first argument are the parameters.
    """
    return MODELS[model](hidden or _HIDDEN, seed)


def _mlp(hidden: tuple[int, ...], seed: int) -> Subject:
    digits = load_digits()[0].rows()
    images, labels = jnp.asarray(digits.images[:_EXAMPLES]), jnp.asarray(digits.labels[:_EXAMPLES])
    net = mlp(hidden, 10)
    params = net.init(jax.random.key(seed), images)

    def mlp_loss(params: Any, images: Any, labels: Any) -> Any:
        return jnp.mean(softmax_cross_entropy(net.apply(params, images), labels))

    return Subject(mlp_loss, (params, images, labels), "mlp")


def _logistic(hidden: tuple[int, ...], seed: int) -> Subject:
    digits = load_digits()[0].rows()
    two = np.flatnonzero(digits.labels < 2)[:_EXAMPLES]
    images = jnp.asarray(digits.images[two])
    signs = jnp.asarray(2 * digits.labels[two] - 1)
    w = 0.1 * jax.random.normal(jax.random.key(seed), images.shape[1:], images.dtype)

    def logistic(w: Any, images: Any, signs: Any) -> Any:
        return jnp.mean(logistic_loss(w, images, signs))

    return Subject(logistic, (w, images, signs), "logistic")


MODELS: dict[str, Callable[[tuple[int, ...], int], Subject]] = {"logistic": _logistic, "mlp": _mlp}
"""The models that have a loss to draw, on a few of the embedded digits."""


def _find(text: str) -> Callable[..., Any]:
    """The function that ``module:function`` or ``file.py:function`` names."""
    place, colon, name = text.rpartition(":")
    if not (colon and place and name):
        raise Failure(f"{text!r} must be module:function or file.py:function")
    try:
        found: Any = _load(place)
    except (Exception, SystemExit) as error:
        raise Failure(
            f"cannot import {place}: {type(error).__name__}: {one_line(error)}"
        ) from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except Exception as error:
            names = [
                name
                for name, value in getattr(found, "__dict__", {}).items()
                if callable(value) and not name.startswith("_")
            ]
            raise Failure(
                f"{place} has no {name!r}; it has {', '.join(names[:8]) or 'nothing'}"
            ) from error
    if not callable(found):
        raise Failure(f"{text} is no function but a {type(found).__name__}")
    return found


def _load(place: str) -> Any:
    path = Path(place)
    # Last, so that no file there stands in for a module of Python's.
    for folder in (Path.cwd(), path.parent.resolve() if place.endswith(".py") else Path.cwd()):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    if not place.endswith(".py"):
        return importlib.import_module(place)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {place}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses look their module up
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
        except (ValueError, TypeError, EOFError) as error:
            raise Failure(f"--arg {text}: {one_line(error)}") from error
    try:
        return _arrays(json.loads(text))
    except OverflowError as error:
        raise Failure(f"--arg {text}: {one_line(error)}") from error
    except (ValueError, TypeError, RecursionError) as error:
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
        if not (jnp.issubdtype(kind, jnp.number) or kind == jnp.bool_):
            raise TypeError(f"{dtype} is no type of numbers")
        shape = tuple(int(part) for part in shape_text.split(",") if part.strip())
    except (TypeError, ValueError) as error:
        raise Failure(f"--arg {text}: {one_line(error)}") from error
    if jnp.issubdtype(kind, jnp.inexact):
        return jax.random.normal(key, shape, kind)
    if kind == jnp.bool_:
        return jax.random.bernoulli(key, shape=shape)
    return jax.random.randint(key, shape, 0, 10, kind)
