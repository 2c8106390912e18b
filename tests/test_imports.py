"""Who may import whom: the rooms stand on levels, and arrows point strictly downwards.

The imports are read from the source, wherever they stand in it, also inside functions.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "funcnet"
REGISTRIES = Path("rules/primitive.py")  # the one file that uses JAX's interpreter registries

LEVELS = {
    "typing": 0,
    "errors": 0,
    "clock": 0,
    "report": 0,  # tables stand on nothing, and jaxprs prints them
    "tree": 1,
    "jaxprs": 1,
    "structure": 1,
    "names": 1,
    "rules": 2,
    "graph": 3,
    "initializers": 3,
    "primitives": 4,
    "jacobian": 4,
    "control_flow": 4,
    "cost": 5,
    "layers": 6,
    "models": 7,
    "data": 7,
    "diagnostics": 7,
    "training": 8,
    "cli": 9,
    "__main__": 10,
    "__init__": 10,
}


def room_of(path: Path) -> str:
    """The room of a file, given relative to the package: `rules` of `rules/api.py`."""
    return path.parts[0].removesuffix(".py")


def imported_modules(tree: ast.AST, path: Path) -> Iterator[str]:
    """Every module, and `module.name` of every name, that a file at `path` imports, absolutely."""
    package = ("funcnet", *path.parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def level_faults(source: str, path: Path) -> list[str]:
    """What is wrong with the arrows out of one file, in words."""
    room = room_of(path)
    if room not in LEVELS:
        return [f"{path}: the room {room!r} is not in LEVELS"]
    faults = []
    for module in imported_modules(ast.parse(source), path):
        package, _, rest = module.partition(".")
        if package != "funcnet":
            continue
        target = rest.partition(".")[0]
        if room == "__init__" and target == "__version__":
            continue
        if target not in LEVELS:
            faults.append(f"{path}: {module} comes from the package root, or from no declared room")
        elif target != room and LEVELS[target] >= LEVELS[room]:
            faults.append(
                f"{path}: {room} (level {LEVELS[room]}) imports {target} (level {LEVELS[target]})"
            )
    return faults


def local_names(tree: ast.AST) -> dict[str, str]:
    """What imported names stand for: `from jax import extend as e` gives {"e": "jax.extend"}."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                if alias.asname or prefix:
                    names[alias.asname or alias.name] = prefix + alias.name
    return names


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """The absolute text of a chain of attributes, `jax.extend.core`; empty for anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (left := dotted(node.value, names)):
        return f"{left}.{node.attr}"
    return ""


def registry_uses(source: str, path: Path) -> set[str]:
    """The names through which a file reaches JAX's registries or private modules."""
    tree = ast.parse(source)
    names = local_names(tree)
    used = {*imported_modules(tree, path), *(dotted(node, names) for node in ast.walk(tree))}
    registries = ("jax.interpreters.", "jax._src.", "jax.extend.core.Primitive.")
    return {name for name in used if f"{name}.".startswith(registries)}


def sources() -> list[Path]:
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def test_there_are_sources() -> None:
    assert Path("errors.py") in sources()


@pytest.mark.parametrize("path", sources(), ids=str)
def test_imports_point_downwards(path: Path) -> None:
    faults = level_faults((PACKAGE / path).read_text(), path)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("path", sources(), ids=str)
def test_registries_are_used_in_one_file_only(path: Path) -> None:
    uses = registry_uses((PACKAGE / path).read_text(), path)
    assert not {use for use in uses if use.startswith("jax._src")}, f"{path} uses JAX's internals"
    if path != REGISTRIES:
        assert not uses, f"{path} uses {uses}; that belongs in {REGISTRIES}"


def test_the_one_file_is_there_and_uses_them() -> None:
    assert registry_uses((PACKAGE / REGISTRIES).read_text(), REGISTRIES)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("rules/api.py", "from funcnet.primitives import relu"),  # upwards
        ("rules/api.py", "def f():\n    import funcnet.primitives.gates"),  # upwards, inside
        ("rules/api.py", "from ..layers import dense"),  # upwards, relative
        ("data/digits.py", "from funcnet.models import mlp"),  # sideways
        ("tree.py", "import funcnet.names"),  # sideways
        ("models/mlp.py", "import funcnet"),  # the root
        ("models/mlp.py", "from funcnet import layers, zeros"),  # the root
        ("models/mlp.py", "from .. import zeros"),  # the root, relative
        ("models/mlp.py", "from funcnet.kitchen import sink"),  # an undeclared room as target
        ("kitchen/sink.py", "import jax"),  # an undeclared room as source
        ("layers/core.py", "from funcnet.cli import main"),
    ],
)
def test_bad_arrows_are_seen(path: str, source: str) -> None:
    assert len(level_faults(source, Path(path))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("layers/core.py", "from funcnet.primitives import relu\nimport funcnet.rules as r"),
        ("layers/core.py", "from .combine import serial\nfrom ..tree import add\nfrom . import x"),
        ("tree.py", "from funcnet.errors import ShapeError\nimport jax"),
        ("__main__.py", "from funcnet.cli import main"),
        ("__init__.py", "from funcnet import layers\nfrom . import rules"),
    ],
)
def test_good_arrows_pass(path: str, source: str) -> None:
    assert level_faults(source, Path(path)) == []


@pytest.mark.parametrize(
    "source",
    [
        "from jax.interpreters import ad",
        "import jax.interpreters.mlir as m",
        "import jax\njax.interpreters.ad.primitive_jvps",
        "from jax._src import core",
        "import jax\ndef f(): return jax._src.core",
        "from jax.extend.core import Primitive",
        "from jax.extend import core as c\nc.Primitive('p')",
        "import jax.extend as jex\njex.core.Primitive('p')",
        "import jax\njax.extend.core.Primitive('p')",
    ],
)
def test_uses_of_registries_are_seen(source: str) -> None:
    assert registry_uses(source, Path("graph/trace.py"))


def test_types_of_jaxprs_are_no_registry() -> None:
    assert not registry_uses("from jax.extend.core import Jaxpr, Literal", Path("jaxprs.py"))


def packages_loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint('\\n'.join(m.partition('.')[0] for m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return set(done.stdout.split()) - set(sys.stdlib_module_names)


def test_importing_funcnet_loads_little_beyond_jax_and_optax() -> None:
    """All rooms together; the package alone loads none of them, nor JAX."""
    every_room = "[getattr(funcnet, room) for room in funcnet.__all__]"
    loaded = packages_loaded_by(f"import funcnet; {every_room}")
    extra = loaded - packages_loaded_by("import jax, optax") - {"funcnet"}
    assert not extra, f"funcnet also loads {sorted(extra)}"
    assert not loaded & {"matplotlib", "typer", "rich", "click", "safetensors"}
    assert not packages_loaded_by("import funcnet") & {"jax", "optax", "numpy"}
