"""Every program in `examples/` runs, and what it prints is true."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_linear_collapse(capsys: pytest.CaptureFixture[str]) -> None:
    *same, other = load("linear_collapse").main().items()
    assert len(same) == 3
    for name, difference in same:
        assert difference < 1e-5, name
    assert other[1] > 0.1
    assert "1,235 parameters" in capsys.readouterr().out


@pytest.mark.usefixtures("x64")
def test_linear_collapse_is_exact() -> None:
    """Sum and product of the docstring's formulas, for two layers, in float64."""
    example = load("linear_collapse")
    rng = np.random.default_rng(0)
    (w1, b1), (w2, b2) = (
        (jnp.asarray(rng.normal(size=shape)), jnp.asarray(rng.normal(size=shape[1])))
        for shape in ((6, 4), (4, 3))
    )
    one = example.collapse(
        {"dense_0": {"kernel": w1, "bias": b1}, "output": {"kernel": w2, "bias": b2}}
    )
    np.testing.assert_allclose(one["kernel"], w1 @ w2, rtol=1e-12)
    np.testing.assert_allclose(one["bias"], b1 @ w2 + b2, rtol=1e-12)


def test_backpropagation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    total, gradient, written = load("backpropagation").main(tmp_path)
    assert total == pytest.approx(gradient, rel=1e-6) == pytest.approx(2 + np.cos(0.5), rel=1e-6)
    assert all(path.read_text().startswith(("<svg", "<!DOCTYPE html>")) for path in written)
    assert "x2_bar   P1 + P2          2.878" in capsys.readouterr().out


def test_logistic_regression(capsys: pytest.CaptureFixture[str]) -> None:
    result = load("logistic_regression").main()
    assert result["accuracy"] > 0.97
    assert result["difference"] < 1e-4
    assert result["losses"][-1] < 0.5 * result["losses"][0]
    out = capsys.readouterr().out
    assert "Step by step, y = 1" in out
    assert "Step by step, y = -1" in out


def test_own_rule(capsys: pytest.CaptureFixture[str]) -> None:
    for name, by_rule, by_difference in load("own_rule").main():
        assert by_rule == pytest.approx(by_difference, rel=1e-2), name
    out = capsys.readouterr().out
    assert "0 failures" in out
    assert "checks failed" in out
    assert "'eccentricity'" in out.split("checks failed")[1]


@pytest.mark.usefixtures("x64")
def test_own_rule_has_the_derivatives_of_the_equation() -> None:
    """Through M(E) = E - e sin E, which needs no iteration."""
    kepler: Callable[..., jax.Array] = load("own_rule").kepler
    anomaly, e = 1.2, 0.3
    mean = anomaly - e * jnp.sin(anomaly)
    np.testing.assert_allclose(kepler(mean, e), anomaly, rtol=1e-14)
    slope = 1 / (1 - e * np.cos(anomaly))
    np.testing.assert_allclose(jax.grad(kepler)(mean, e), slope, rtol=1e-14)
    np.testing.assert_allclose(
        jax.grad(kepler, argnums=1)(mean, e), np.sin(anomaly) * slope, rtol=1e-14
    )
    second = -e * np.sin(anomaly) * slope**3
    np.testing.assert_allclose(jax.grad(jax.grad(kepler))(mean, e), second, rtol=1e-13)


def test_digits(capsys: pytest.CaptureFixture[str]) -> None:
    assert load("digits").main() > 0.95
    out = capsys.readouterr().out
    assert "epoch 20" in out
    assert "dense_1" in out


def test_adbench_gmm() -> None:
    assert max(load("adbench_gmm").main().values()) < 1e-4


def test_adbench_bundle_adjustment() -> None:
    result = load("adbench_bundle_adjustment").main()
    assert result.pop("nonzeros") == 29 * 20
    assert max(result.values()) < 1e-4


def test_adbench_hand_tracking() -> None:
    assert max(load("adbench_hand_tracking").main().values()) < 1e-6


def test_adbench_lstm() -> None:
    assert max(load("adbench_lstm").main().values()) < 1e-4


def test_each_example_has_a_test_and_is_short() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names
    for name in names:
        assert f"test_{name}" in globals(), f"examples/{name}.py has no test of its name"
        source = (EXAMPLES / f"{name}.py").read_text()
        assert len(source.splitlines()) < 150
        assert f"python examples/{name}.py" in source
