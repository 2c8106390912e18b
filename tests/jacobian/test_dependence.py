"""Structure inside of operations that are applied as a whole."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.jacobian import jacobian, plan_jacobian
from funcnet.jacobian.sparsity import loops, supports
from funcnet.jaxprs import equations
from tests.jacobian.opaque_programs import PROGRAMS

OF_EACH = (
    "scan_shift_reverse",
    "scan_two_carries",
    "scan_constant",
    "scan_nested",
    "scan_no_steps",
    "while_constant",
    "while_under_vmap",
    "cond_two_results",
    "conv_padded",
    "conv_both_dilated",
    "conv_batch_groups",
    "conv_depthwise",
    "pool_overlapping",
    "sum_pool_dilated",
    "cumsum_middle",
    "cumsum_7",
    "solve_from_the_right_True_0",
    "solve_by_map",
    "fft_rows",
    "gather_rows",
    "dynamic_update",
)

pytestmark = pytest.mark.usefixtures("x64")


def matrix(tree: Any, outs: Any, args: Any) -> np.ndarray:
    """A Jacobian of all outputs by all arguments as one matrix."""
    width = len(args)
    leaves = jax.tree.leaves(tree)
    rows = [
        np.concatenate(
            [
                np.asarray(x).reshape(y.size, a.size)
                for x, a in zip(leaves[i * width :][:width], args, strict=True)
            ],
            1,
        )
        for i, y in enumerate(outs)
    ]
    return np.concatenate(rows)


def arguments(name: str, seed: int) -> list[Any]:
    draw = np.random.default_rng([seed, *name.encode()])
    return [jnp.asarray(draw.normal(size=shape)) for shape in PROGRAMS[name].shapes]


@pytest.mark.parametrize("name", OF_EACH)
def test_entries_and_patterns(name: str) -> None:
    check(name)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in OF_EACH])
def test_more_entries_and_patterns(name: str) -> None:
    check(name)


def check(name: str) -> None:
    """No entry is missing or wrong, and none is too many where all can be known."""
    f, _, exact, has_reverse = PROGRAMS[name]
    args = arguments(name, 0)
    argnums = tuple(range(len(args)))
    outs = jax.tree.leaves(jax.eval_shape(f, *args))
    reference = jax.jit((jax.jacrev if has_reverse else jax.jacfwd)(f, argnums))
    plan = plan_jacobian(f, *args, argnums=argnums)
    np.testing.assert_allclose(
        matrix(plan(*args), outs, args),
        matrix(reference(*args), outs, args),
        rtol=1e-12,
        atol=1e-12,
    )
    shape = sum(y.size for y in outs), sum(x.size for x in args)
    found, truth = np.zeros(shape, bool), np.zeros(shape, bool)
    found[plan.pattern()] = True
    for seed in range(24 if exact else 2):
        truth |= abs(matrix(reference(*arguments(name, seed)), outs, args)) > 1e-14
    assert np.all(found >= truth)
    if exact:
        np.testing.assert_array_equal(found, truth)


def test_long_loops_keep_every_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many steps, what comes later is taken for all that can come."""
    monkeypatch.setattr(loops, "MOST_STEPS", 3)
    f, *_ = PROGRAMS["scan_many_patterns"]
    (x,) = arguments("scan_many_patterns", 0)
    wanted = jax.jacrev(f)(x)
    plan = plan_jacobian(f, x)
    np.testing.assert_allclose(plan(x), wanted, rtol=1e-12)
    assert len(plan.pattern()[0]) > np.count_nonzero(wanted)


def test_what_is_too_large_is_taken_for_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supports, "LARGEST", 3)
    for name in ("scan_two_carries", "complex_moves"):
        f, *_ = PROGRAMS[name]
        args = arguments(name, 0)
        ours, wanted = jacobian(f)(*args), jax.jit(jax.jacrev(f))(*args)
        for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)


def test_few_passes_where_few_colors_are_enough() -> None:
    """A batch of loops takes as many passes as one of them."""

    def f(x: Any) -> Any:
        return jax.lax.map(lambda row: row / (1 + row[::-1] ** 2), x)

    x = jax.ShapeDtypeStruct((500, 6), np.float64)
    plan = plan_jacobian(f, x, output="bcoo")
    assert plan.nnz == 500 * 12
    assert plan.chosen.work.entries < 200 * 500 * 6


def test_an_operation_is_written_down_from_the_side_that_is_cheaper() -> None:
    """As many passes of rows as of columns: the transpose of picking adds to places of a list, and
    what comes column by column has to be turned over."""
    x = jnp.linspace(1.0, -1.0, 100)
    sorting = equations(jax.make_jaxpr(jacobian(jnp.sort))(x))
    assert not any(e.name.startswith("scatter") for e in sorting)

    def chosen(x: Any) -> Any:
        branches = [lambda x: x * x, jnp.cumsum, lambda x: jnp.roll(x, 1)]
        return jax.lax.switch(jnp.argmax(x), branches, x)

    choosing = equations(jax.make_jaxpr(jacobian(chosen))(x))
    assert [e.eqn.params["reverse"] for e in choosing if e.name == "cumsum"] == [True]


def test_cotangents_of_a_loss_go_through_a_convolution_as_they_are() -> None:
    """Written down, the convolution would be 250 times as large as what goes through it."""

    def loss(x: Any, w: Any) -> Any:
        y = jax.lax.conv(x, w, (1, 1), "SAME")
        return jnp.sum(jnp.sin(y) ** 2)

    shapes = [jax.ShapeDtypeStruct(s, np.float64) for s in ((1, 16, 32, 32), (16, 16, 3, 3))]
    assert plan_jacobian(loss, *shapes).chosen.work.entries < 40 * 16 * 32 * 32


def test_known_zeros_are_no_entries() -> None:
    x = jnp.arange(1.0, 25.0).reshape(4, 6)
    mask = np.ones((4, 6))
    mask[1] = mask[:, 2] = 0
    scattered = np.array([1.0, 0, 0, 1, 0, 1])
    step = np.eye(6, k=1) - np.eye(6)
    wide = 2.0 * np.eye(9, k=1)
    y = jnp.arange(1.0, 10.0)
    table: list[tuple[Any, Any, int]] = [
        (lambda x: mask * jnp.sin(x), x, 15),
        (lambda x: jnp.sin(x) * scattered[None], x, 12),
        (lambda x: jnp.where(np.tri(4, 6, dtype=bool), x * x, 0.0), x, 10),
        (lambda x: jnp.where(np.tri(4, 6, dtype=bool), 0.0, x * x), x, 14),
        (lambda x: jnp.zeros(24).reshape(4, 6) * x, x, 0),
        (lambda x: jnp.sum(x[None] * step[:, None], axis=2), x, 44),
        (lambda y: wide @ jnp.sin(y), y, 8),
        (lambda y: jnp.sin(jnp.outer(y, y)) @ wide.T, y, 136),
    ]
    for f, at, nnz in table:
        wanted = jax.jit(jax.jacrev(f))(at)
        plan = plan_jacobian(f, at)
        np.testing.assert_allclose(plan(at), wanted, rtol=1e-12, atol=1e-12)
        found = np.zeros((wanted.size // at.size, at.size), bool)
        found[plan.pattern()] = True
        assert np.all(found >= (np.asarray(wanted).reshape(found.shape) != 0))
        assert np.count_nonzero(found) == nnz
