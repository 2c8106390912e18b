"""The documentation can be believed: snippets and doctests run, and nothing public is left out."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import funcnet
from tests import snippets

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "extensions"))
rooms = importlib.import_module("rooms")

PAGES = sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))
MODULES = {module.__name__: module for module in rooms.public_modules(funcnet)}


ROOMS = [name for name in MODULES if name.count(".") == 1]


def examples(module: ModuleType) -> Iterator[doctest.DocTest]:
    """All doctests of a module, also those of rules and jitted functions, unseen by doctest."""
    seen = set()
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__):
        seen.add(test.name)
        if test.examples:
            yield test
    for name, value in public_names(module):
        path, doc = f"{module.__name__}.{name}", inspect.getdoc(value) or ""
        if path not in seen and ">>>" in doc:
            yield doctest.DocTestParser().get_doctest(doc, vars(module).copy(), path, path, None)


def public_names(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The functions and classes that a module itself defines and offers to others."""
    for name in module.__all__:
        value = getattr(module, name)
        if getattr(value, "__module__", None) == module.__name__:
            yield name, value


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_snippets_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    snippets.run(ROOT / page)


def test_pages_that_are_shown_are_drawn(tmp_path: Path) -> None:
    pictures = importlib.import_module("pictures")
    shown = [s for p in PAGES for s in re.findall(r'src="_static/(.*?)"', (ROOT / p).read_text())]
    assert sorted(shown) == sorted(pictures.PAGES)
    pictures.draw(tmp_path)
    assert set(shown) <= {path.name for path in tmp_path.iterdir()}


def test_the_picture_in_the_readme_is_the_one_that_is_drawn(tmp_path: Path) -> None:
    importlib.import_module("pictures").draw(tmp_path)
    assert (tmp_path / "lecture.svg").read_text() == (ROOT / "docs/_static/lecture.svg").read_text()


@pytest.mark.parametrize("name", MODULES)
def test_doctests_pass(name: str) -> None:
    for test in examples(MODULES[name]):
        snippets.check(test)


@pytest.mark.parametrize("name", [name for name in ROOMS if name != "funcnet.cli"])
def test_every_public_function_shows_an_example(name: str) -> None:
    room = MODULES[name]
    bare = [
        own
        for own, value in ((own, getattr(room, own)) for own in room.__all__)
        if inspect.isroutine(inspect.unwrap(value)) and ">>>" not in (value.__doc__ or "")
    ]
    assert not bare, f"no example in the docstrings of {bare}"


def test_a_doctest_of_a_rule_can_fail() -> None:
    """Rules are objects, not functions: their doctests must be found all the same."""
    module = types.ModuleType("made_up", "A module.")
    function = funcnet.rules.rule(
        lambda x: x, residuals=lambda y, x: (), jvp=lambda res, t: t, vjp=lambda res, ct: ct
    )
    function.__doc__, function.__module__ = ">>> 1 + 1\n3", "made_up"
    vars(module).update(__all__=["function"], function=function)
    tests = list(examples(module))
    assert len(tests) == 1
    with pytest.raises(AssertionError, match="Expected:"):
        snippets.check(tests[0])


def test_a_wrong_snippet_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 2\n```\ntext\n```python\n>>> x\n3\n```\n")
    with pytest.raises(AssertionError, match=r"page.md.*line 6"):
        snippets.run(page)
    page.write_text("text\n```python\nassert 1 == 2\n```\n")
    with pytest.raises(AssertionError) as caught:
        snippets.run(page)
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno) == (page, 2)


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """A package with one room of two names, and documentation for it that uses our extension."""
    package = tmp_path / "small" / "room"
    package.mkdir(parents=True)
    (tmp_path / "small" / "__init__.py").write_text('"""Small."""\n__all__ = ["room"]\n')
    (package / "__init__.py").write_text(
        '"""A room."""\nfrom small.room.inner import one\n__all__ = ["one"]\n'
    )
    (package / "inner.py").write_text(
        '"""Inner."""\n__all__ = ["one", "two"]\n'
        'def one():\n    """One."""\n\ndef two():\n    """Two."""\n'
    )
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path[:0] = [{str(ROOT / 'docs' / 'extensions')!r}, {str(tmp_path)!r}]\n"
        "extensions = ['sphinx.ext.autodoc', 'rooms']\nroom_package = 'small'\n"
        "import small\nfrom small import room\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("page", "missing"),
    [
        (".. room:: small.room", ""),
        (".. autofunction:: small.room.one\n\n.. autofunction:: small.room.inner.two", ""),
        (".. autofunction:: small.room.one", "small.room.inner.two"),
        (".. autofunction:: small.room.inner.two", "small.room.one, small.room.inner.one"),
    ],
)
def test_the_build_fails_when_a_public_name_is_missing(
    small_project: Path, page: str, missing: str
) -> None:
    (small_project / "index.rst").write_text(f"Index\n=====\n\n{page}\n")
    build = [sys.executable, "-m", "sphinx", "-q", "-b", "text", str(small_project)]
    done = subprocess.run(
        [*build, str(small_project / "built")], capture_output=True, text=True, check=False
    )
    assert (done.returncode != 0) == bool(missing), done.stderr
    assert missing in done.stderr
