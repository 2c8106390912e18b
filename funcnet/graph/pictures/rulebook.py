"""The rules behind a graph's operations, each told once: as formula, as source, as a program."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
from jax.extend.core import Literal

from funcnet.graph.local import Local, local_of
from funcnet.graph.node import Node, Operation
from funcnet.graph.pictures.rails import draw, to_text
from funcnet.graph.tracing import inside_of, trace

__all__ = ["Rulebook", "code_of"]

LONGEST = 60
"""Of longer programs only so many lines are told."""


class Rulebook:
    """Rules with numbers.

    Attributes:
        entries: For each rule its name, formula, reference, code, and programs by heading.
    """

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._known: dict[tuple[Local, int], int] = {}

    def number_of(self, node: Node) -> int | None:
        """The number of a node's rule, which is entered if it is new; None for inputs."""
        operation = node.operation
        if operation is None:
            return None
        key = local_of(operation), operation.result
        if key not in self._known:
            self._known[key] = len(self.entries)
            rule = operation.rule
            # Operands without names: the rule is told once for all that are alike.
            parts = inside_of(operation, [""] * len(operation.operands))
            programs = {f"Inside: {name}": _cut(to_text(part)) for name, part in parts.items()}
            programs["Pullback, step by step"] = _cut(_pullback_text(operation))
            self.entries.append(
                {
                    "name": node.op,
                    "formula": getattr(rule, "formula", ""),
                    "reference": getattr(rule, "source", ""),
                    "code": "" if rule is None else code_of(rule.primal),
                    "programs": {name: text for name, text in programs.items() if text},
                }
            )
        return self._known[key]


def _pullback_text(operation: Operation) -> str:
    """The pullback as a graph of its own: from operands x and the cotangent ct to cotangents."""
    local, read = local_of(operation), [v for v in operation.eqn.invars if not _is_number(v)]
    places = local.carriers(operation.result)
    ct: Any = operation.eqn.outvars[operation.result].aval
    x: Any = [v.aval for v in read]

    def pullback(x: Any, ct: Any) -> Any:
        values = x if isinstance(x, list) else [x]
        return local.pullback(values, ct, operation.result, places)

    if not places:
        return ""
    try:
        shapes = _shapes([x[0] if len(x) == 1 else x, ct])
        graph = trace(pullback, *shapes, open_rules=True)
    except Exception:  # it has no reverse mode: whoever asks for it is told why
        return ""
    needed = set(graph.outputs)
    for node in reversed(graph.nodes):
        needed |= set(node.parents) if node.index in needed else set()
    named = replace(graph, nodes=tuple(map(_renamed, graph.nodes)))
    drawn = [node for node in named.nodes if node.index in needed]
    return draw(named, drawn) if any(node.operation for node in drawn) else ""


def _renamed(node: Node) -> Node:
    """Operands are x1, x2, ..., and what comes between t1, t2, ..., as no node of the graph is."""
    if node.operation is not None:
        return replace(node, name=f"t{node.name.removeprefix('a')}")
    path, slash, place = node.name.partition("/")
    return replace(node, name=f"{path}{int(place) + 1}" if slash else node.name)


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda aval: jax.ShapeDtypeStruct(aval.shape, aval.dtype), tree)


def _is_number(operand: Any) -> bool:
    return isinstance(operand, Literal)


def code_of(function: Callable[..., Any]) -> str:
    """The source of a function with decorators, without its docstring; empty if there is none."""
    try:
        lines = textwrap.dedent(inspect.getsource(inspect.unwrap(function))).splitlines()
        tree = ast.parse("\n".join(lines))
    except (OSError, TypeError, SyntaxError):
        return ""
    for definition in tree.body[:1]:
        if isinstance(definition, ast.FunctionDef) and ast.get_docstring(definition):
            doc = definition.body[0]
            del lines[doc.lineno - 1 : doc.end_lineno]
    return _cut("\n".join(lines).strip())


def _cut(text: str) -> str:
    lines = text.splitlines()
    if len(lines) <= LONGEST:
        return text
    return "\n".join([*lines[:LONGEST], f"... and {len(lines) - LONGEST} lines"])
