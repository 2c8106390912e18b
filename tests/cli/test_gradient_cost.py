from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from funcnet.cli.gradient_cost import gradient_cost_table


def test_the_table() -> None:
    params = {"w": jnp.ones((30, 20)), "b": jnp.ones(20)}
    x = jnp.ones((8, 30))

    def loss(params: Any, batch: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(batch @ params["w"]), axis=-1) + jnp.sum(params["b"])

    table = gradient_cost_table(loss, params, x)
    names, seconds, ratios, flops = zip(*table.rows, strict=True)
    assert [str(name).split()[0] for name in names] == ["loss", "gradient", "one", "gradient"]
    assert "620 parameters" in table.title
    assert ratios[0] == 1.0
    assert all(isinstance(value, float) and value > 0 for value in seconds)
    # Projected from one direction, exactly.
    assert seconds[3] == seconds[2] * 620
    assert flops[3] == flops[2] * 620
    # One product forwards, one more backwards for w, one more for the tangent of the product.
    assert 2 * 8 * 30 * 20 < flops[0] < flops[1] < 2.2 * flops[0]
    assert flops[0] < flops[2] < 2.2 * flops[0]
    assert "Projected" in str(table)
