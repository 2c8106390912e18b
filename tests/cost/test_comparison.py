"""The comparison of ways: counts by hand, what is skipped and why, what is refused and shown."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet.cost import WAYS, Comparison, ModeCost, compare_modes, residuals
from funcnet.cost.comparison import _predicted
from funcnet.cost.function import Function
from funcnet.cost.ways import build_way
from funcnet.errors import ArgumentError, DTypeError, FuncnetError

EXACT = [name for name in WAYS if name != "forward gradient"]
PRESENT = ["primal", "one JVP", "one VJP", "forward Jacobian", "reverse Jacobian"]


def count(f: Any, *args: Any, **options: Any) -> Comparison:
    return compare_modes(f, *args, measure=False, **options)


def sines(x: Any) -> Any:
    return jnp.sum(jnp.sin(x))


def test_counts_by_hand() -> None:
    n = 10
    costs = count(sines, jnp.ones(n))
    # n sines, n - 1 additions; then n cosines, n products and another sum.
    for name, transcendentals, additions_and_products in (
        ("primal", n, n - 1),
        ("one JVP", 2 * n, 3 * n - 2),
        ("one VJP", 2 * n, 2 * n - 1),
    ):
        cost = costs[name].cost
        assert (cost.transcendentals, cost.flops) == (transcendentals, additions_and_products)
    assert costs["primal"].operations == 3 * n - 1
    assert costs["one JVP"].multiple == (7 * n - 2) / (3 * n - 1)
    assert costs["one VJP"].kept_bytes == 4 * n
    assert costs["checkpointed VJP"].kept_bytes == 0
    assert costs["one JVP"].kept_bytes is None
    passes = [costs[name].passes for name in PRESENT]
    assert passes == [None, 1, 1, n, 1]
    assert (costs.inputs, costs.outputs, costs.function) == (n, 1, "sines")


def test_making_unit_directions_is_no_part_of_the_multiple() -> None:
    """Of n tangents each takes a running sum of n, and nothing else."""
    costs = count(lambda x: jnp.cumsum(x), jnp.ones(50))
    assert costs["forward Jacobian"].multiple == costs["reverse Jacobian"].multiple == 50
    assert costs["forward Jacobian"].cost.flops > 50 * costs["primal"].cost.flops


def test_counts_need_no_numbers() -> None:
    w, x = jax.ShapeDtypeStruct((3, 4), jnp.float32), np.ones(4, np.float32)

    def f(w: Any, x: Any) -> Any:
        return w @ x

    assert count(f, w, x).to_dict() == count(f, np.ones((3, 4), np.float32), x).to_dict()


def test_arguments_are_chosen() -> None:
    def f(x: Any, k: Any, y: Any) -> Any:
        return x[k] * y["a"]

    args = (jnp.ones(6), 2, {"a": jnp.ones((2, 2))})
    assert [count(f, *args, argnums=i).inputs for i in (0, 2, -1, (0, 2))] == [6, 4, 4, 10]
    assert all(name in count(f, *args, argnums=(2, 0)) for name in PRESENT)


def test_the_ways_compute_derivatives() -> None:
    w, x = jnp.linspace(-1.0, 1.0, 12).reshape(3, 4), jnp.linspace(0.0, 1.0, 4)

    def f(w: Any, x: Any) -> Any:
        return jnp.tanh(w @ x)

    function = Function("test", f, (w, x), (0, 1))
    tangents, weights = (jnp.ones((3, 4)), -jnp.ones(4)), jnp.arange(3.0)
    extras = {"one JVP": tangents, "one VJP": weights, "checkpointed VJP": weights}
    results = {
        name: jax.jit(build_way(name, function).run)((w, x), extras.get(name, ()))
        for name in (*PRESENT, "checkpointed VJP")
    }
    jacobians = jax.jit(jax.jacrev(f, (0, 1)))(w, x)
    tangent = sum(jnp.tensordot(j, t, t.ndim) for j, t in zip(jacobians, tangents, strict=True))
    cotangents = [jnp.tensordot(weights, j, 1) for j in jacobians]
    np.testing.assert_allclose(results["primal"], f(w, x), rtol=1e-6)
    np.testing.assert_allclose(results["one JVP"][1], tangent, rtol=1e-5)
    for name in ("one VJP", "checkpointed VJP"):
        for ours, theirs in zip(results[name][1], cotangents, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    for name in ("forward Jacobian", "reverse Jacobian"):
        for ours, theirs in zip(results[name], jacobians, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_a_derivative_above_griewanks_bound_is_flagged() -> None:
    """Each x[i] goes backwards as an array of n entries, and all of these are added."""
    costs = count(lambda x: sum(x[i] ** 2 for i in range(20)), jnp.ones(20))
    assert costs["one VJP"].is_exceeded and costs["reverse Jacobian"].is_exceeded
    assert not costs["one JVP"].is_exceeded
    assert "4 to 5, exceeded" in str(costs)
    assert re.search(r"one VJP: 11\.\d times the operations of the function, more than", str(costs))
    row = next(row for row in costs.to_dict()["rows"] if row["name"] == "one VJP")
    assert row["exceeded"] and row["bound"] == [4.0, 5]


def test_ways_that_there_are_not_are_told() -> None:
    def halved(x: Any) -> Any:
        return lax.while_loop(lambda c: jnp.sum(c) > 1.0, lambda c: 0.5 * c, x)

    costs = count(halved, jnp.ones(3), ways=[*PRESENT, "checkpointed VJP"])
    assert set(costs) == {"primal", "one JVP", "forward Jacobian"}
    assert "Reverse-mode differentiation does not work" in costs.skipped["one VJP"]
    assert "a loop of unknown length, taken once" in str(costs)
    with pytest.raises(KeyError, match="Reverse-mode"):
        costs["one VJP"]
    with pytest.raises(KeyError, match="there are primal, one JVP"):
        costs["two VJPs"]

    @jax.custom_vjp
    def backwards_only(x: Any) -> Any:
        return jnp.sum(x**2)

    backwards_only.defvjp(lambda x: (backwards_only(x), x), lambda x, ct: (2.0 * ct * x,))
    costs = count(backwards_only, jnp.ones(3))
    assert costs.skipped["one JVP"] == "a jax.custom_vjp inside has no forward mode"
    assert {"one VJP", "reverse Jacobian", "checkpointed VJP"} < set(costs)
    assert not {"one JVP", "forward Jacobian", "forward gradient"} & set(costs)
    assert "single number" in count(jnp.sin, jnp.ones(3)).skipped["forward gradient"]


def test_structure_is_exploited() -> None:
    """Three neighbours are read, so that three or four colours are enough for any size."""
    costs = count(lambda u: u * (jnp.roll(u, 1) - jnp.roll(u, -1)), jnp.ones(60))
    assert costs["compressed Jacobian"].passes in (3, 4)
    for name in ("compressed Jacobian", "eliminated Jacobian"):
        assert 5 * costs[name].operations < costs["forward Jacobian"].operations


def test_a_checkpoint_policy_says_what_is_kept() -> None:
    def f(x: Any) -> Any:
        return jnp.sum(jnp.sin(jnp.sin(x) @ jnp.ones((5, 5))))

    policy = jax.checkpoint_policies.dots_saveable
    way, x = "checkpointed VJP", jnp.ones((5, 5))
    kept = [
        count(f, x, ways=[way], policy=p)[way].kept_bytes
        for p in (None, policy, jax.checkpoint_policies.everything_saveable)
    ]
    assert kept == [0, 100, residuals(f, jnp.ones((5, 5))).nbytes]


def test_a_function_that_does_nothing() -> None:
    costs = count(lambda x: x, jnp.ones(3), ways=EXACT)
    assert {row.multiple for row in costs.values()} == {None}
    assert not any(row.is_exceeded for row in costs.values())
    assert "one VJP" in str(costs)


def test_measured() -> None:
    done: list[float] = []
    costs = compare_modes(
        sines,
        jnp.ones(30),
        rounds=3,
        seconds=0.2,
        progress=lambda part, text: done.append(part),
    )
    assert done == sorted(done) and done[0] == 0.0 and done[-1] == 1.0
    for row in costs.values():
        assert row.measured is not None and row.measured.seconds is not None
        assert row.measured.multiple is not None and row.measured.predicted_seconds is not None
        assert 0 < row.measured.seconds.low <= row.measured.seconds.median
        assert row.measured.seconds.median <= row.measured.seconds.high
        assert row.measured.compile_seconds > 0 and row.measured.trace_seconds > 0
    primal = costs["primal"].measured
    assert primal is not None and primal.multiple is not None and primal.seconds is not None
    assert primal.multiple.median == 1.0
    assert primal.predicted_seconds == pytest.approx(primal.seconds.median)
    assert costs.variance == pytest.approx(31 * 30 * np.cos(1.0) ** 2, rel=1e-5)
    assert "add up to 31 |gradient|^2 = 271" in str(costs)
    text = str(costs)
    assert text.count("one VJP") == 2 and "half of the rounds" in text
    html = costs._repr_html_()
    assert html.count("<table") == 2 and html.count("</table>") == 2
    told = json.loads(json.dumps(costs.to_dict(), allow_nan=False))
    assert [row["name"] for row in told["rows"]] == list(costs)
    assert told["rows"][0]["measured"]["seconds"]["median"] == primal.seconds.median


def test_what_takes_too_much_is_counted_and_not_run() -> None:
    w = jnp.ones((40, 2000))
    costs = compare_modes(
        lambda x: w @ x, jnp.ones(2000), ways=["forward Jacobian"], rounds=3, max_bytes=100_000
    )
    row = costs["forward Jacobian"]
    assert row.cost.flops > 2000 * costs["primal"].cost.flops
    assert row.measured is not None and row.measured.seconds is None
    assert "which is more than max_bytes=100,000" in costs.skipped["forward Jacobian"]
    assert "forward Jacobian: not run; it takes" in str(costs)
    costs = compare_modes(
        lambda x: w @ x, jnp.ones(2000), ways=["forward Jacobian"], rounds=3, seconds=1e-9
    )
    assert costs["forward Jacobian"].measured is None
    assert "a call is predicted to take" in costs.skipped["forward Jacobian"]


def test_the_prediction_is_in_proportion_beyond_an_empty_call() -> None:
    row = count(sines, jnp.ones(3), ways=["one JVP"])["one JVP"]
    assert row.predicted is not None
    assert _predicted(5.0, 1.0, row) == pytest.approx(1 + 4 * row.predicted)
    assert _predicted(5.0, 9.0, row) == 5.0
    assert _predicted(0.0, 0.0, row) is None


def test_it_works_under_another_dtype() -> None:
    with jax.enable_x64(True):
        costs = count(sines, np.ones(4))
        assert costs["one VJP"].kept_bytes == 8 * 4
    half = count(lambda x: jnp.sum(x * x), jnp.ones(4, jnp.bfloat16))
    assert {*PRESENT, "forward gradient"} < set(half)


def test_names_of_functions() -> None:
    assert count(functools.partial(jnp.sum, axis=0), jnp.ones(3)).function == "sum"
    assert count(lambda x: jnp.sum(x), 1.0).title == "f, 1 input and 1 output"


def broken(x: Any) -> Any:
    raise RuntimeError("out of order")


SHAPE = jax.ShapeDtypeStruct((3,), jnp.float32)
WRONG: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], type[Exception], str]] = {
    "no arguments": (jnp.sin, (), {}, ArgumentError, r"no arguments.*compare_modes\(f, x\)"),
    "no function": ("sin", (1.0,), {}, ArgumentError, "'sin', which is no function"),
    "integer": (jnp.sin, (3,), {}, DTypeError, "x is int32.*as 2.0 for 2, or leave it out"),
    "boolean": (jnp.sin, (True,), {}, DTypeError, "x is bool"),
    "complex": (jnp.sin, (1j,), {}, DTypeError, "x is complex64.*real and imaginary"),
    "integer in a tree": (lambda p: p["a"], ({"a": 1.0, "b": 2},), {}, DTypeError, "p/b is int32"),
    "text": (lambda x, how: x, (1.0, "sum"), {}, DTypeError, "how is a str.*lambda x: f"),
    "integer output": (jnp.argmax, (jnp.ones(3),), {}, DTypeError, "output of argmax is int32"),
    "output in a tree": (lambda x: {"k": x, "n": 3}, (1.0,), {}, DTypeError, r"output\['n'\] of f"),
    "empty": (jnp.sin, (jnp.ones(0),), {}, ArgumentError, "argnums hold no number"),
    "no output": (lambda x: (), (1.0,), {}, ArgumentError, "outputs of f hold no number"),
    "argnums too large": (jnp.sin, (1.0,), {"argnums": 1}, ArgumentError, "argnums=1, but f was"),
    "argnums twice": (jnp.add, (1.0, 1.0), {"argnums": (0, -2)}, ArgumentError, "twice"),
    "argnums empty": (jnp.sin, (1.0,), {"argnums": ()}, ArgumentError, "argnums is empty"),
    "a way misspelt": (jnp.sin, (1.0,), {"ways": ["JVP"]}, ArgumentError, "'JVP', which is none"),
    "shapes measured": (jnp.sin, (SHAPE,), {}, ArgumentError, "measure=False"),
    "no rounds": (jnp.sin, (1.0,), {"rounds": 0}, ArgumentError, "rounds=0"),
    "no time": (jnp.sin, (1.0,), {"seconds": float("nan")}, ArgumentError, "seconds=nan"),
    "broken": (broken, (1.0,), {}, RuntimeError, "out of order"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input(name: str) -> None:
    f, args, options, kind, message = WRONG[name]
    with pytest.raises(kind, match=message) as caught:
        compare_modes(f, *args, **options)
    assert name == "broken" or isinstance(caught.value, FuncnetError)


def test_rows_print_nothing_unknown() -> None:
    costs = count(sines, jnp.ones(3), ways=["one VJP"])
    assert isinstance(costs["one VJP"], ModeCost)
    assert "None" not in str(costs) and "nan" not in str(costs)
    assert len(costs) == 2 and repr(costs) == str(costs)
