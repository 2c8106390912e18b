"""The exceptions of this library.

Every error that a user can cause derives from :class:`FuncnetError` and also from the built-in
exception that Python or JAX would have raised, so that both ``except FuncnetError`` and
``except ValueError`` work. Errors are raised while a function is traced, never from inside a
compiled program, and their message names the function, the argument, the value and the way out.
"""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "DTypeError",
    "FuncnetError",
    "MissingKeyError",
    "RuleError",
    "ShapeError",
]


class FuncnetError(Exception):
    """The base of all errors that this library raises on purpose."""


class ShapeError(FuncnetError, ValueError):
    """Shapes, or the structures of two pytrees, do not fit together."""


class DTypeError(FuncnetError, TypeError):
    """An array has a dtype that the function cannot work with."""


class ArgumentError(FuncnetError, ValueError):
    """An argument has a value outside of what the function accepts."""


class MissingKeyError(FuncnetError, ValueError):
    """A random key was needed and none was given."""


class RuleError(FuncnetError, TypeError):
    """A derivative rule is malformed, or does not agree with its primitive."""
