"""Plans that were saved do what they did, decide nothing again, and serve no other function."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.jacobian import jacobian, load_plan, plan_hessian, plan_jacobian
from funcnet.jacobian.elimination import compression
from funcnet.jacobian.planning import planner
from tests.jacobian.test_at_value import long_but_for
from tests.jacobian.test_symmetric_compression import FUNCTIONS

X = np.linspace(-1.0, 2.0, 12, dtype=np.float32)
TABLE = np.array([3, 1, 2, 0, 5, 4, 7, 8, 6, 9, 10, 11])


def f(x: Any) -> Any:
    return jax.nn.relu(x) * x[TABLE]


def refuse_to_decide(patch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **named: Any) -> Any:
        raise AssertionError("this was decided before")

    patch.setattr(compression, "best_coloring", refused)
    patch.setattr(planner, "pattern_of", refused)
    patch.setattr(planner.Planner, "compressed_if_cheap", refused)


WAYS: dict[str, dict[str, Any]] = {
    "pattern": {
        "pattern": (np.tile(np.arange(12), 2), np.append(np.arange(12), TABLE)),
        "check_pattern": True,
    },
    "at value": {"at_value": True, "mode": "compressed", "output": "csr"},
    "auto": {},
    "forward": {"mode": "forward"},
    "own pattern": {"mode": "compressed", "output": "bcoo"},
    "order": {"order": "markowitz", "output": "diagonal"},
}


@pytest.mark.parametrize("name", long_but_for(WAYS, ("pattern", "at value")))
def test_what_is_loaded_is_what_was_saved(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, options = tmp_path / "plan", WAYS[name]
    made = plan_jacobian(f, X, **options)
    made.save(path)
    refuse_to_decide(monkeypatch)
    loaded = load_plan(path, f, X)
    monkeypatch.undo()
    for ours, theirs in zip(loaded.pattern(), made.pattern(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(loaded.alternatives) == 1
    assert loaded.record() == made.record()
    assert loaded.chosen.passes == made.chosen.passes
    ours, theirs = loaded(X), made(X)
    if hasattr(ours, "todense"):
        ours, theirs = ours.todense(), theirs.todense()
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", long_but_for(["arrowhead", "random"], ["arrowhead"]))
def test_symmetric_colourings_are_kept(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a star colouring, and with a substitution."""
    h, x = FUNCTIONS[name], np.linspace(0.5, 2.0, 40, dtype=np.float32)
    made = plan_hessian(h, x, mode="compressed")
    made.save(tmp_path / "plan.npz")
    refuse_to_decide(monkeypatch)
    loaded = load_plan(tmp_path / "plan.npz", h, x)
    assert made.chosen.colored is not None and loaded.chosen.colored is not None
    kind = loaded.chosen.colored[1].kind
    assert kind == made.chosen.colored[1].kind == {"arrowhead": "star", "random": "acyclic"}[name]
    np.testing.assert_array_equal(loaded(x), made(x))


@pytest.mark.long
def test_shapes_are_enough(tmp_path: Path) -> None:
    path, shape = tmp_path / "plan", jax.ShapeDtypeStruct(X.shape, X.dtype)
    plan_jacobian(f, shape).save(path)
    np.testing.assert_array_equal(load_plan(path, f, shape)(X), jacobian(f)(X))


@pytest.mark.long
def test_several_arguments_and_aux(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    g = lambda p, n, y: (p["a"] ** n * y[::-1], y)  # noqa: E731
    args = {"a": X}, 2, X + 1
    made = plan_jacobian(g, *args, argnums=(2, 0), has_aux=True)
    made.save(path)
    ours = load_plan(path, g, *args)(*args)
    jax.tree.map(np.testing.assert_array_equal, ours, made(*args))
    with pytest.raises(ValueError, match=r"arguments with others \['2'\], and these have \['3'\]"):
        load_plan(path, g, {"a": X}, 3, X + 1)
    with pytest.raises(ValueError, match="arguments with"):
        load_plan(path, g, {"b": X}, 2, X + 1)


def other(x: Any) -> Any:
    return jax.nn.relu(x) * x[::-1]


def with_another_table(x: Any) -> Any:
    return jax.nn.relu(x) * x[np.roll(TABLE, 1)]


@pytest.mark.parametrize(
    ("g", "x", "message"),
    [
        (f, X[:6], r"made for arguments with arrays \[\['float32', \[12\], False\]\]"),
        (f, X.astype(np.float16), r"these have \[\['float16'"),
        (f, np.abs(X), "zeros at other places"),
        (other, X, "for another function"),
        (with_another_table, X, "for another function"),
    ],
)
def test_other_uses_are_refused(g: Any, x: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "plan"
    plan_jacobian(f, X, mode="compressed", at_value="zeros" in message).save(path)
    with pytest.raises(ValueError, match=message):
        load_plan(path, g, x)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    plan_jacobian(f, X, mode="compressed").save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    whole = path.read_bytes()
    text = arrays.pop("header").tobytes()
    later = {**json.loads(text), "version": 99}
    bad: list[tuple[Any, str]] = [
        (whole[: len(whole) // 2], "is not a saved plan, or is damaged"),
        (b"", "is not a saved plan"),
        (b"text", "is not a saved plan"),
        ({"x": X}, "is not a saved plan"),
        ({**arrays, "header": np.zeros(3, np.uint8)}, "is not a saved plan"),
        ({**arrays, "header": np.frombuffer(b'{"format": 1}', np.uint8)}, "is not a saved plan"),
        ({**arrays, "header": np.frombuffer(json.dumps(later).encode(), np.uint8)}, "version 99"),
        ({"header": np.frombuffer(text, np.uint8)}, "is not a saved plan"),
    ]
    for content, message in bad:
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            with open(path, "wb") as file:
                np.savez(file, **content)
        with pytest.raises(ValueError, match=message):
            load_plan(path, f, X)
    with pytest.raises(FileNotFoundError):
        load_plan(tmp_path / "nothing", f, X)


def test_nothing_in_a_file_is_code(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    plan_jacobian(f, X, mode="compressed").save(path)
    with zipfile.ZipFile(path) as archive:
        assert all(name.endswith(".npy") for name in archive.namelist())
    with np.load(path, allow_pickle=False) as archive:
        assert all(archive[name].dtype.kind in "iu" for name in archive.files)


def test_a_pattern_is_coloured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made, best = [0], compression.best_coloring

    def counted(*args: Any, **named: Any) -> Any:
        made[0] += 1
        return best(*args, **named)

    g = lambda x, scale: x * x[::-1] * scale  # noqa: E731
    pattern = plan_jacobian(g, X, 1.0).pattern()
    monkeypatch.setattr(compression, "best_coloring", counted)
    of_g = jacobian(g, pattern=pattern)
    wanted = jax.jacrev(g)(X, 2.0)
    for scale in (2.0, np.float32(2.0), jnp.full(12, 2.0)):
        np.testing.assert_allclose(of_g(X, scale), wanted, rtol=1e-6)
        np.testing.assert_allclose(jax.jit(lambda s: of_g(X, s))(scale), wanted, rtol=1e-6)
    assert made == [1]
