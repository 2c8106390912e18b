from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ShapeError
from funcnet.layers import flatten


@pytest.mark.parametrize(
    ("start_axis", "shape", "expected"),
    [
        (1, (5, 8, 8, 3), (5, 192)),
        (1, (5, 4), (5, 4)),
        (1, (5,), (5, 1)),
        (1, (0, 8, 8), (0, 64)),
        (1, (5, 0, 8), (5, 0)),
        (0, (8, 8), (64,)),
        (0, (), (1,)),
        (2, (5, 6, 2, 3), (5, 6, 6)),
        (-2, (5, 6, 2, 3), (5, 6, 6)),
        (-3, (8, 8, 3), (192,)),
    ],
)
def test_shapes(start_axis: int, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    y = flatten(start_axis).apply({}, jnp.asarray(x))
    np.testing.assert_array_equal(y, x.reshape(expected))
    assert y.dtype == x.dtype


@pytest.mark.parametrize(("start_axis", "shape"), [(1, ()), (3, (2, 2)), (-3, (2, 2))])
def test_axes_that_do_not_exist(start_axis: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError) as caught:
        flatten(start_axis).apply({}, jnp.ones(shape))
    assert f"start_axis={start_axis}" in str(caught.value) and str(shape) in str(caught.value)
