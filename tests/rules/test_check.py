"""The checker itself: it passes what is right, and says where the rest is wrong."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet.errors import ArgumentError, RuleError
from funcnet.rules import Rule, check_rule, rule
from funcnet.structure import Structure
from tests.bending import Place, bend, places
from tests.rules.examples import Example, examples, linear, sigmoid, unit

BENT = [
    (name, place)
    for name, example in examples().items()
    for place in places(example.rule)
    if place.kind != "primal" and name not in ("unit, static", "noisy, masked")
]
X = np.array([0.3, -1.2, 2.0])


def failures(checked: Rule, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(RuleError) as caught:
        check_rule(checked, *args, **kwargs)
    return str(caught.value)


def cube(**bent: Any) -> Rule:
    stated: dict[str, Any] = dict(
        residuals=lambda y, x: x,
        jvp=lambda x, t: 3 * x * x * t,
        vjp=lambda x, ct: 3 * x * x * ct,
        structure=Structure.DIAGONAL,
    )
    return Rule(bent.pop("primal", lambda x: x * x * x), **(stated | bent))


@pytest.mark.parametrize("name", examples())
def test_a_right_rule_passes(name: str) -> None:
    example = examples()[name]
    report = check_rule(example.rule, *example.args, **example.kwargs)
    assert report.name == example.rule.name and not report.failures
    assert max(check.deviation for check in report.checks) < 1e-8


def test_third_order() -> None:
    modes = {check.mode for check in check_rule(sigmoid, X, order=3).checks}
    assert "reverse over forward over reverse" in modes and len(modes) >= 4 + 8


def test_first_order_alone() -> None:
    assert not any(" over " in check.mode for check in check_rule(sigmoid, X, order=1).checks)


@pytest.mark.parametrize(("name", "place"), BENT, ids=[f"{n}, {p}" for n, p in BENT])
def test_an_error_of_a_tenth_of_a_percent_is_seen(name: str, place: Place) -> None:
    """In one argument of one mode: it is named, with its size, and the other mode is not blamed."""
    example: Example = examples()[name]
    bent = bend(example.rule, place)
    message = failures(bent, *example.args, order=1, **example.kwargs)
    assert message.startswith(f"{bent.name}: ")
    assert f"{place.kind} for '{place.argument}', central differences: off by 0.001" in message
    assert f"for '{place.argument}', <ct, J t> = <J^T ct, t>: off by" in message
    other = {"jvp": "vjp", "vjp": "jvp"}[place.kind]
    blamed = [line.split(",")[0].strip() for line in message.splitlines()[1:]]
    assert f"{other} for '{place.argument}'" not in blamed
    assert all(f"'{place.argument}'" in line or "all arguments" in line for line in blamed), message


@pytest.mark.parametrize("name", ["sigmoid", "linear", "unit", "pick"])
def test_a_bent_function_contradicts_both_modes(name: str) -> None:
    example = examples()[name]
    message = failures(bend(example.rule, Place("primal")), *example.args, order=1)
    assert "jvp for" in message and "vjp for" in message


def test_wrong_residuals_spoil_both_modes() -> None:
    message = failures(cube(residuals=lambda y, x: 1.001 * x), X, order=1)
    assert "jvp for 'x', central differences: off by 0.002" in message
    assert "vjp for 'x', central differences: off by 0.002" in message


def test_a_wrong_structure_is_shown_with_an_entry() -> None:
    message = failures(cube(structure=Structure.IDENTITY), X, order=1)
    assert "jvp for 'x', structure identity: J[(0,), (0,)] is" in message
    assert "vjp for 'x', structure identity: J[(0,), (0,)] is" in message


def test_a_wrong_structure_of_one_mode_alone() -> None:
    leaky = cube(vjp=lambda x, ct: 3 * x * x * ct + 0.001 * jnp.sum(ct))
    message = failures(leaky, X, order=1)
    assert "vjp for 'x', structure diagonal" in message
    assert "jvp for 'x', structure diagonal" not in message


def test_a_large_jacobian_is_left_alone_and_said() -> None:
    report = check_rule(sigmoid, np.linspace(-1, 1, 5000), order=1)
    assert "the structure for 'x' was not checked" in str(report)


def test_a_rule_that_is_not_linear() -> None:
    message = failures(cube(jvp=lambda x, t: 3 * x * x * t + 0.001 * t * t), X, order=1)
    assert "jvp for 'x', linear: off by" in message
    message = failures(cube(vjp=lambda x, ct: 3 * x * x * ct + 0.001 * ct * ct), X, order=1)
    assert "vjp for 'x', linear: off by" in message


def test_something_for_nothing() -> None:
    for mode, constant in (("jvp", 1e-14), ("vjp", jnp.nan)):
        bent = {mode: lambda x, t, constant=constant: 3 * x * x * t + constant}
        assert f"{mode} for 'x', zero in, zero out: off by" in failures(cube(**bent), X, order=1)


def test_second_order_alone() -> None:
    """The residuals hide a dependence, which first order cannot see."""
    frozen = cube(residuals=lambda y, x: lax.stop_gradient(x))
    assert not check_rule(frozen, X, order=1).failures
    message = failures(frozen, X, order=2)
    for mode in ("forward over forward", "forward over reverse", "reverse over reverse"):
        assert f"{mode} for 'x', central differences: off by 1 " in message


def test_modes_that_disagree_at_second_order() -> None:
    frozen = cube(vjp=lambda x, ct: 3 * lax.stop_gradient(x) * x * ct)
    message = failures(frozen, X)
    assert "order 2 for 'x', all nestings alike: they differ:" in message
    assert "forward over reverse for 'x', central differences: off by 0.5" in message
    assert "forward over forward for 'x', central" not in message


def test_joint_rules_that_forget_who_is_live() -> None:
    def jvp(kept: Any, tangents: Any, live: Any, power: int) -> Any:
        # Right with all tangents, wrong with the first alone.
        dy = unit.jvp(kept, tangents, live, power=power)
        return dy if all(live) else 1.001 * dy

    forgetful = rule(
        unit.primal,
        residuals=unit.residuals,
        jvp=jvp,
        vjp=lambda kept, ct, live, power: tuple(
            b if b is None or all(live) else 1.001 * b
            for b in unit.vjp(kept, ct, live, power=power)
        ),
        static_argnames="power",
    )
    message = failures(forgetful, *examples()["unit"].args, order=1)
    assert "jvp for all arguments, the sum over arguments: off by" in message
    assert "vjp for 'scale', alone as with others: off by 0.001" in message


def test_a_function_that_batches_wrongly() -> None:
    @jax.custom_batching.custom_vmap
    def cubed(x: Any) -> Any:
        return x * x * x

    cubed.def_vmap(lambda size, batched, x: (1.001 * x * x * x, True))
    message = failures(cube(primal=lambda x: cubed(x)), X, order=1)
    assert "value for 'x' batched, vmap against a loop: off by 0.001" in message


class _Odd(Rule):
    """A rule that is another function when it is traced, or under another name."""

    def __init__(self, *, traced: float = 1.0, twin: float = 1.0) -> None:
        super().__init__(
            sigmoid.primal, residuals=sigmoid.residuals, jvp=sigmoid.jvp, vjp=sigmoid.vjp
        )
        self.traced, self.twin = traced, twin

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        is_traced = isinstance(args[0], jax.core.Tracer)
        return super().__call__(*args, **kwargs) * (self.traced if is_traced else 1.0)

    @property
    def custom_vjp(self) -> Any:
        return lambda x: super(_Odd, self).custom_vjp(x) * self.twin


def test_jit_that_differs_from_eager() -> None:
    message = failures(_Odd(traced=1.001), X, order=1)
    assert "value for all arguments, jit against eager: off by 0.001" in message
    assert "value under jvp for all arguments, the function itself: off by 0.001" in message


def test_a_twin_that_differs() -> None:
    message = failures(_Odd(twin=1.001), X, order=1)
    assert "value for all arguments, custom_vjp: off by 0.001" in message
    assert "vjp for 'x', custom_vjp: off by 0.001" in message


def test_a_kink_is_not_blamed_on_the_rule() -> None:
    ramp = rule(
        lambda x: jnp.maximum(x, 0),
        residuals=lambda y, x: x > 0,
        jvp=lambda on, t: jnp.where(on, t, 0),
        vjp=lambda on, ct: jnp.where(on, ct, 0),
    )
    assert not check_rule(ramp, X).failures
    assert "do not settle" in failures(ramp, np.array([1.0, 1e-5]), order=1)


def test_all_failures_are_collected() -> None:
    bent = bend(bend(linear, Place("jvp", "x")), Place("vjp", "w"))
    message = failures(bent, *examples()["linear"].args)
    assert "jvp for 'x'" in message and "vjp for 'w'" in message
    assert "order 2 for" in message and message.count("\n") >= 4


def test_arguments_without_rules_are_named() -> None:
    example = examples()["pick"]
    assert "not differentiated: 'labels'" in str(check_rule(*example[:1], *example.args, order=1))


def test_the_report_prints_itself() -> None:
    report = check_rule(sigmoid, X)
    lines = str(report).splitlines()
    assert lines[0] == f"sigmoid: {len(report.checks)} checks, 0 failures"
    assert any(line.startswith("central differences") and "1e-06" in line for line in lines)
    assert "<table>" in report._repr_html_()


def test_the_answer_is_the_same_each_time_and_the_seed_matters() -> None:
    first, second, other = (check_rule(sigmoid, X, seed=seed) for seed in (0, 0, 1))
    assert first == second != other


def test_float32_arguments_are_checked_in_float64() -> None:
    report = check_rule(sigmoid, jnp.asarray(X, jnp.bfloat16))
    assert max(check.deviation for check in report.checks) < 1e-9
    assert sigmoid(jnp.ones(1, jnp.bfloat16)).dtype == jnp.bfloat16


def test_the_tolerance_is_that_of_the_differences() -> None:
    slightly = bend(sigmoid, Place("vjp", "x"), 1 + 1e-8)
    slightly = bend(slightly, Place("jvp", "x"), 1 + 1e-8)
    assert not check_rule(slightly, X, order=1).failures
    assert "central differences" in failures(slightly, X, order=1, tolerance=1e-9)


def test_wrong_calls() -> None:
    with pytest.raises(
        RuleError, match=r"expected a rule made by funcnet\.rules\.rule, got <function"
    ):
        check_rule(lambda x: x, X)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="order must be at least 1, got 0"):
        check_rule(sigmoid, X, order=0)
    with pytest.raises(TypeError, match="missing a required argument: 'w'"):
        check_rule(linear, X)
