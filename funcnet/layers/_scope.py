"""Where in a network a computation stands: the path of names from the root to a layer.

Combinators call their children through a :class:`Child`, which for the time of the call

* folds the child's name into the key, so a child's random numbers depend on its path alone;
* hands it the entry of that name in ``params`` and ``state``;
* opens a ``jax.named_scope``, so that jaxprs and profiles tell whose equation is whose;
* puts the name in front of errors, so that they tell the path;
* tells the recorder of :func:`recording_outputs`, if there is one, what came out.

A child without parameters, or without state, has no entry in those dicts: what is saved and loaded
again has the same structure, and adding such a layer leaves saved parameters valid.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax

from funcnet.errors import FuncnetError
from funcnet.layers.types import StatefulLayer
from funcnet.typing import Array, Key, Params, PyTree, ShapeDtype, State

__all__ = ["SEPARATOR", "Child", "fold_in_name", "output_shapes", "recording_outputs"]

SEPARATOR = "/"

_path: ContextVar[tuple[str, ...]] = ContextVar("path", default=())


class _Recorder:
    def __init__(self) -> None:
        self.outputs: dict[str, PyTree] = {}


# JAX's caches look at this: a recorder sees all layers, also those whose trace is in a cache.
_recorder = jax.make_user_context(None)


class Child(NamedTuple):
    """A layer under the name that its combinator gives it."""

    name: str
    layer: StatefulLayer

    def init(self, key: Key, *inputs: Array | ShapeDtype) -> tuple[Params, State, PyTree]:
        """The child's parameters, its state and the shapes of its output."""
        with _layer_scope(self.name):
            params, state = self.layer.init(fold_in_name(key, self.name), *inputs)
            return params, state, output_shapes(self.layer, params, state, *inputs)

    def apply(
        self, params: Params, state: State, *inputs: Array, key: Key | None, train: bool
    ) -> tuple[Any, State]:
        """The child's output and new state, from the params and state of the combinator."""
        own_params, own_state = params.get(self.name, {}), state.get(self.name, {})
        with _layer_scope(self.name):
            _record(None)  # Before the notes of its own children, so that it stands in front.
            own_key = None if key is None else fold_in_name(key, self.name)
            y, own_state = self.layer.apply(
                own_params, own_state, *inputs, key=own_key, train=train
            )
            _record(y)
        return y, own_state


def fold_in_name(key: Key, name: str) -> Key:
    """The key of the child with this name: the same in every process and Python version."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


@contextmanager
def _layer_scope(name: str) -> Iterator[None]:
    """Name what happens inside, in jaxprs and in errors, as part of the layer `name`."""
    token = _path.set((*_path.get(), name))
    try:
        with jax.named_scope(name):
            yield
    except Exception as error:
        _tell_path(error, SEPARATOR.join(_path.get()))
        raise
    finally:
        _path.reset(token)


def _tell_path(error: Exception, path: str) -> None:
    """Say in which layer the error was raised; the innermost scope comes first and knows best.

    The errors of this library tell the path in their message. Others, from JAX or from a user's
    function, keep their message and get a note.
    """
    if getattr(error, "_tells_path", False):
        return
    if isinstance(error, FuncnetError):
        error.args = (f"{path}: {error}",)
    else:
        error.add_note(f"(in the layer {path!r})")
    error._tells_path = True  # type: ignore[attr-defined]


def output_shapes(
    layer: StatefulLayer, params: Params, state: State, *inputs: Array | ShapeDtype
) -> PyTree:
    """The output of a layer as `jax.ShapeDtypeStruct`, without computing it."""
    evaluate = functools.partial(layer.apply, train=False)
    return jax.eval_shape(evaluate, params, state, *inputs)[0]


@contextmanager
def recording_outputs() -> Iterator[dict[str, PyTree]]:
    """Record the output of every child that is applied inside, by path, in order of the calls.

    Yields:
        A dict from the path to the shapes of the output, filled while the block runs.
    """
    recorder = _Recorder()
    with _recorder(recorder):
        yield recorder.outputs


def _record(y: PyTree) -> None:
    """Note the output of the layer in whose scope this is called."""
    if _recorder.value is not None:
        _recorder.value.outputs[SEPARATOR.join(_path.get())] = jax.tree.map(_shape_dtype, y)


def _shape_dtype(x: Array) -> ShapeDtype:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)
