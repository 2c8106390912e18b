"""Fans, against a count of the terms in the sums they stand for."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.initializers import fans


class Row(NamedTuple):
    shape: tuple[int, ...]
    expected: tuple[int, int]
    options: dict[str, Any] = {}  # noqa: RUF012


TABLE = {
    "dense": Row((300, 100), (300, 100)),
    "dense, transposed": Row((100, 300), (300, 100), {"in_axis": -1, "out_axis": -2}),
    "dense, heads out": Row((64, 8, 16), (64, 128), {"in_axis": 0, "out_axis": (1, 2)}),
    "dense, heads in": Row((8, 16, 64), (128, 64), {"in_axis": (0, 1), "out_axis": -1}),
    "sequence": Row((5, 16, 32), (80, 160)),
    "image": Row((3, 5, 16, 32), (240, 480)),
    "volume": Row((2, 3, 4, 5, 6), (120, 144)),
    "image, OIHW": Row((32, 16, 3, 5), (240, 480), {"in_axis": 1, "out_axis": 0}),
    "image, one pixel": Row((1, 1, 16, 32), (16, 32)),
    "grouped": Row((3, 3, 4, 32), (36, 72), {"groups": 4}),
    "grouped, groups not told": Row((3, 3, 4, 32), (36, 288)),
    "depthwise": Row((3, 3, 1, 32), (9, 9), {"groups": 32}),
    "depthwise, two each": Row((3, 3, 1, 32), (9, 18), {"groups": 16}),
    "batched dense": Row((10, 300, 100), (300, 100), {"batch_axis": 0}),
    "batched twice": Row((10, 300, 7, 100), (300, 100), {"in_axis": 1, "batch_axis": (0, 2)}),
    "batched image": Row((10, 3, 5, 16, 32), (240, 480), {"batch_axis": 0}),
    "batched, from the end": Row(
        (300, 100, 10), (300, 100), {"in_axis": 0, "out_axis": 1, "batch_axis": -1}
    ),
    "batched and grouped": Row((10, 3, 3, 4, 32), (36, 72), {"batch_axis": 0, "groups": 4}),
    "vector of inputs": Row((5,), (5, 1), {"in_axis": 0, "out_axis": ()}),
    "vector of outputs": Row((5,), (1, 5), {"in_axis": (), "out_axis": 0}),
    "no inputs": Row((0, 5), (0, 5)),
    "empty window": Row((0, 4, 5), (0, 0)),
    "empty batch": Row((0, 4, 5), (4, 5), {"batch_axis": 0}),
}


@pytest.mark.parametrize("case", TABLE)
def test_table(case: str) -> None:
    shape, expected, options = TABLE[case]
    assert fans(shape, **options) == expected
    assert fans(list(shape), **options) == expected


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
@pytest.mark.parametrize("multiplier", [1, 3])
def test_convolution_counts_the_same(groups: int, multiplier: int) -> None:
    """The Jacobian of a convolution has fan_in entries per output and fan_out per inner input."""
    n_in, n_out, size = 8, 8 * multiplier, 7
    shape = (3, 3, n_in // groups, n_out)

    def convolve(x: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x[None],
            jnp.ones(shape),
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )[0]

    x = jnp.zeros((size, size, n_in))
    row = jax.grad(lambda x: convolve(x)[3, 3, 0])(x)
    column = jax.jvp(convolve, (x,), (x.at[3, 3, 0].set(1.0),))[1]
    counted = int(np.count_nonzero(row)), int(np.count_nonzero(column))
    assert fans(shape, groups=groups) == counted
