"""The reference, generated from `__all__`, and the check that nothing public is missing in it.

``.. room:: funcnet.primitives`` documents a module: its docstring, then every public name. In a
room that is a package, the names that it exports stand under the module that defines them, in
that module's own order; what only the modules of the room offer to one another comes last. Rules
are shown as functions, followed by their twin for ``jax.custom_vjp``.

When a build ends, every `__all__` of the package is compared with what was documented, and a
missing name fails the build.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, ClassVar, TypeVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective


class MissingNames(SphinxError):
    """The reference leaves out what the package declares public."""

    category = "Incomplete reference"


def public_modules(package: ModuleType) -> Iterator[ModuleType]:
    """The package and every module below it that declares public names."""
    yield package
    for info in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{package.__name__}."):
        if not info.name.rpartition(".")[2].startswith("_"):
            module = importlib.import_module(info.name)
            if hasattr(module, "__all__"):
                yield module


def missing_names(package: ModuleType, documented: set[str]) -> list[str]:
    """The public names, as `module.name`, of which no documented name means the same object.

    A name counts as documented when it is documented in its own module or in any package above, as
    long as both give the same object.
    """
    missing = []
    for module in public_modules(package):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.ismodule(value):
                continue
            homes = [home for home in documented if home.rpartition(".")[2] == name]
            if not any(_find(home) is value for home in homes):
                missing.append(f"{module.__name__}.{name}")
    return missing


def _find(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except (
        ImportError,
        ValueError,
    ):  # the name of a method, or a bare name
        return None


def entry(home: ModuleType, module: ModuleType, name: str) -> str:
    """The directive for a name that `module` defines and that users import from `home`."""
    value, path = getattr(module, name), f"{home.__name__}.{name}"
    if inspect.isclass(value) and value.__module__.startswith(module.__name__.partition(".")[0]):
        kind = "exception" if issubclass(value, BaseException) else "class"
        bases = "   :show-inheritance:\n" if value.__bases__ != (object,) else ""
        return f".. auto{kind}:: {path}\n   :members:\n{bases}"
    if inspect.isroutine(inspect.unwrap(value)):
        return f".. autofunction:: {path}\n"
    # An alias or a constant: autodoc would look for the text below it in `home`.
    doc = ModuleAnalyzer.for_module(module.__name__).find_attr_docs().get(("", name), [])
    head = f".. py:data:: {name}\n   :module: {home.__name__}\n\n"
    return head + textwrap.indent("\n".join(doc), "   ")


def section(title: str, *parts: str) -> list[str]:
    """A section of a page, in reStructuredText."""
    return [f"{title}\n{'-' * len(title)}\n", *parts]


class Room(SphinxDirective):
    """``.. room:: package`` with the option ``:order:``, the modules that stand first."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Callable[[str], Any]]] = {"order": str.split}

    def run(self) -> list[nodes.Node]:
        """Document a room: its concept, what it exports module by module, and the rest."""
        room = importlib.import_module(self.arguments[0])
        modules = [module for module in public_modules(room) if module is not room]
        order = [f"{room.__name__}.{name}" for name in self.options.get("order", [])]
        rank = {name: place for place, name in enumerate(order)}
        modules.sort(key=lambda module: (rank.get(module.__name__, len(rank)), module.__name__))
        exported, inner, told = [], [], []
        for module in modules:
            here = []
            for name in sorted(module.__all__, key=list(vars(module)).index):
                value = getattr(module, name)
                if any(name == other and value is known for other, known in told):
                    continue
                told.append((name, value))
                if getattr(room, name, None) is value and name in room.__all__:
                    here.append(entry(room, module, name))
                else:
                    inner.append(entry(module, module, name))
            if here:
                title = module.__name__.rpartition(".")[2].replace("_", " ").capitalize()
                # Some modules have the name of a function that the room exports: index that one.
                concept = f".. automodule:: {module.__name__}\n   :no-members:\n   :no-index:\n"
                exported += section(title, concept, *here)
        names = [name for name, _ in told]
        own = [entry(room, room, name) for name in room.__all__ if name not in names]
        parts = [f".. automodule:: {room.__name__}\n   :no-members:\n", *own, *exported]
        if inner:
            parts += section("Inside the room", INSIDE, *inner)
        return self.parse_text_to_nodes("\n\n".join(parts), allow_section_headings=True)


INSIDE = """
What the modules of this room offer to one another. It is not public and may change in any version.
"""

TWIN = """
.. rubric:: As a plain ``jax.custom_vjp``

``{path}.custom_vjp`` is the same rule as a ``jax.custom_vjp`` function, with the same residuals and
the same backward rule, for reverse mode alone.

.. rubric:: As written

.. code-block:: python

{source}
"""


def show_rule(
    app: Sphinx, kind: str, path: str, value: Any, options: Any, lines: list[str]
) -> None:
    """After the docstring of a rule, show its twin and the text of both its rules."""
    if hasattr(value, "custom_vjp") and not inspect.isclass(value):
        source = textwrap.indent(rule_source(value), "   ")
        lines += TWIN.format(path=path.rpartition(".")[2], source=source).splitlines()


def rule_source(rule: Any) -> str:
    """The statement that makes a rule, without its docstring, and the local functions it names."""
    text = inspect.getsource(importlib.import_module(rule.__module__))
    found = {name: node for node in ast.parse(text).body for name in _bound_names(node)}
    names = [rule.__name__]
    for name in names:  # grows while it is read
        for node in ast.walk(found[name]):
            used = node.id if isinstance(node, ast.Name) else ""
            is_helper = used.startswith("_") and isinstance(found.get(used), ast.FunctionDef)
            if is_helper and used not in names:
                names.append(used)
    parts = [_without_docstring(text, found[name]) for name in names]
    return "\n\n".join(reversed(parts))


def _bound_names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [node.name] if isinstance(node, ast.FunctionDef) else []


def _without_docstring(text: str, node: ast.stmt) -> str:
    decorators = getattr(node, "decorator_list", [])
    start = min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
    lines = text.splitlines()
    if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
        doc = node.body[0]
        return "\n".join(lines[start : doc.lineno - 1] + lines[doc.end_lineno : node.end_lineno])
    return "\n".join(lines[start : node.end_lineno])


def hide_signature(
    app: Sphinx, kind: str, name: str, value: Any, *_: Any
) -> tuple[str, None] | None:
    """Show a Protocol without the arguments of its constructor: there is nothing to construct."""
    return ("", None) if kind == "class" and getattr(value, "_is_protocol", False) else None


def skip_fields(
    app: Sphinx, kind: str, name: str, value: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out the fields of NamedTuples: the class's own docstring describes them."""
    return True if type(value).__name__ == "_tuplegetter" else None


def resolve_alias(app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """Find a type of a signature that is documented as data, as aliases are; TypeVars are not."""
    if node.get("refdomain") != "py" or node.get("reftype") != "class":
        return None
    domain, page, target = env.domains.python_domain, node["refdoc"], node["reftarget"]
    if isinstance(_find(target), TypeVar):
        return content
    return domain.resolve_xref(env, page, app.builder, "obj", target, node, content)


def check_reference(app: Sphinx, exception: Exception | None) -> None:
    """Fail the build when a public name is missing in the reference."""
    if exception is None:
        package = importlib.import_module(app.config.room_package)
        missing = missing_names(package, set(app.env.domains.python_domain.objects))
        if missing:
            raise MissingNames(f"public names missing in the reference: {', '.join(missing)}")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive and the check with Sphinx."""
    app.add_config_value("room_package", "funcnet", "env")
    app.add_directive("room", Room)
    app.connect("autodoc-process-docstring", show_rule, priority=900)  # after napoleon
    app.connect("autodoc-process-signature", hide_signature)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("missing-reference", resolve_alias)
    app.connect("build-finished", check_reference)
    return {"parallel_read_safe": True}
