"""A rule of one's own, in both modes: the solution of Kepler's equation.

A planet on an ellipse of eccentricity e stands, at the mean anomaly M, at the eccentric anomaly E
with

    E - e sin E = M.

E has no formula; Newton's iteration finds it in a ``while_loop``, through which JAX has no
reverse mode. The derivatives follow from the equation itself, whatever way it was solved:

    dE/dM = 1 / (1 - e cos E),        dE/de = sin E / (1 - e cos E).

Stated as a rule, they serve ``jax.jvp`` and ``jax.grad`` at every order.

Run it with ``python examples/own_rule.py``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from funcnet.errors import RuleError
from funcnet.report import Table
from funcnet.rules import check_rule, rule


def solve_kepler(mean, eccentricity):
    """Newton's iteration on E - e sin E - M = 0, until no element moves any more."""

    def residual(anomaly):
        return anomaly - eccentricity * jnp.sin(anomaly) - mean

    def moving(carry):
        _, step, count = carry
        return (jnp.abs(step).max() > 4 * jnp.finfo(step.dtype).eps) & (count < 50)

    def newton(carry):
        anomaly, _, count = carry
        step = residual(anomaly) / (1 - eccentricity * jnp.cos(anomaly))
        return anomaly - step, step, count + 1

    start = mean + eccentricity * jnp.sin(mean)
    return jax.lax.while_loop(moving, newton, (start, jnp.ones_like(start), 0))[0]


def slope(anomaly, mean, eccentricity):
    """What both rules need: dE/dM, and E itself."""
    return 1 / (1 - eccentricity * jnp.cos(anomaly)), anomaly


kepler = rule(
    solve_kepler,
    residuals=slope,
    jvp=[
        lambda res, t_mean: res[0] * t_mean,
        lambda res, t_eccentricity: jnp.sin(res[1]) * res[0] * t_eccentricity,
    ],
    vjp=[
        lambda res, ct: res[0] * ct,
        lambda res, ct: jnp.sin(res[1]) * res[0] * ct,
    ],
    formula="E - e sin E = M",
)

wrong_kepler = rule(
    solve_kepler,
    residuals=slope,
    jvp=kepler.jvp,
    vjp=[
        lambda res, ct: res[0] * ct,
        lambda res, ct: 1.001 * jnp.sin(res[1]) * res[0] * ct,  # 0.1 % off, in this mode only
    ],
)


def main():
    mean, eccentricity = jnp.array(1.0), jnp.array(0.2)
    anomaly = kepler(mean, eccentricity)
    print(
        f"M = {mean:.2f}, e = {eccentricity:.2f}:  E = {anomaly:.6f},  "
        f"E - e sin E = {anomaly - eccentricity * jnp.sin(anomaly):.6f}\n"
    )

    step = 1e-3

    def central(function):
        """The central difference in the mean anomaly."""
        ahead, behind = (function(mean + s, eccentricity) for s in (step, -step))
        return float((ahead - behind) / (2 * step))

    tangents = jnp.ones(()), jnp.zeros(())
    first = jax.grad(kepler)
    rows = [
        ("dE/dM, reverse mode", float(first(mean, eccentricity)), central(kepler)),
        (
            "dE/dM, forward mode",
            float(jax.jvp(kepler, (mean, eccentricity), tangents)[1]),
            central(kepler),
        ),
        (
            "d2E/dM2, forward over reverse",
            float(jax.jvp(first, (mean, eccentricity), tangents)[1]),
            central(first),
        ),
        (
            "d3E/dM3, reverse three times",
            float(jax.grad(jax.grad(first))(mean, eccentricity)),
            central(jax.grad(first)),
        ),
    ]
    print(Table(["derivative", "by the rule", "central difference"], rows))

    orbit = jnp.linspace(0.0, 3.0, 5)
    slopes = jax.vmap(jax.grad(kepler), (0, None))(orbit, eccentricity)
    print("\ndE/dM along the orbit:", " ".join(f"{value:.3f}" for value in slopes))

    print(f"\n{check_rule(kepler, 1.0, 0.2)}\n")
    print("The same rule with 0.1 % too much in one argument of one mode:")
    try:
        check_rule(wrong_kepler, 1.0, 0.2)
    except RuleError as error:
        print("\n".join(str(error).splitlines()[:3]))
    return rows


if __name__ == "__main__":
    main()
