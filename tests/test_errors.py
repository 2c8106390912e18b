"""The exceptions: one family, each also the built-in one that Python would have raised."""

from __future__ import annotations

import inspect

import pytest

import funcnet.errors
from funcnet.errors import FuncnetError

BUILT_IN = {
    "ArgumentError": ValueError,
    "DTypeError": TypeError,
    "MissingKeyError": ValueError,
    "RuleError": TypeError,
    "ShapeError": ValueError,
}


def test_every_exception_is_declared_and_listed_here() -> None:
    found = {name for name, _ in inspect.getmembers(funcnet.errors, inspect.isclass)}
    assert found == set(funcnet.errors.__all__) == {*BUILT_IN, "FuncnetError"}


@pytest.mark.parametrize("name", BUILT_IN)
def test_is_caught_as_its_family_and_as_the_built_in(name: str) -> None:
    error = getattr(funcnet.errors, name)
    for caught in (FuncnetError, BUILT_IN[name]):
        with pytest.raises(caught, match="because"):
            raise error("because")
