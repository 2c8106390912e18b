"""Rules on many devices: shard_map, and meshes with Auto and with Explicit axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from funcnet.rules.primitive import varying_axes
from tests.rules.examples import linear, sigmoid, unit, unit_plain

Function = Callable[..., Any]


def network(activation: Function, layer: Function, normalize: Function) -> Function:
    def loss(w: Any, x: Any) -> Any:
        hidden = activation(layer(x, w))
        scale = jnp.broadcast_to(w[0], hidden.shape)
        return jnp.sum(normalize(hidden, scale, hidden) ** 2)

    return loss


written = network(sigmoid, linear, unit)
plain = network(jax.nn.sigmoid, lambda x, w: x @ w, unit_plain)

W = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(16, 4)).astype(np.float32)

TRANSFORMS: dict[str, Callable[[Function], Function]] = {
    "value": lambda f: f,
    "grad": lambda f: jax.grad(f, (0, 1)),
    "jvp": lambda f: lambda w, x: jax.jvp(f, (w, x), (jnp.cos(w), jnp.cos(x)))[1],
    "forward over reverse": lambda f: (
        lambda w, x: jax.jvp(jax.grad(f), (w, x), (jnp.cos(w), jnp.cos(x)))[1]
    ),
    "reverse over forward": lambda f: jax.grad(
        lambda w, x: jax.jvp(f, (w, x), (jnp.cos(w), jnp.cos(x)))[1]
    ),
    "reverse over reverse": lambda f: jax.grad(
        lambda w, x: jnp.sum(jax.grad(f)(w, x) * jnp.cos(w))
    ),
    "vmap of grad": lambda f: (
        lambda w, x: jax.vmap(jax.grad(lambda w, row: f(w, row[None])), (None, 0))(w, x)
    ),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(f)),
    "linearize": lambda f: lambda w, x: jax.linearize(f, w, x)[1](w, x),
}
NAMES = list(TRANSFORMS)


def close(got: Any, wanted: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), got, wanted)


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """What plain JAX gives on one device."""
    every = jax.jit(lambda w, x: {name: t(plain)(w, x) for name, t in TRANSFORMS.items()})
    return dict(every(jnp.asarray(W), jnp.asarray(X)))


SPECS = [
    (P(None, None), P("data", None)),
    (P(None, "model"), P("data", None)),
    (P(None, "model"), P()),
]


@pytest.mark.parametrize("specs", SPECS, ids=str)
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=lambda k: k.name)
def test_meshes(kind: AxisType, specs: tuple[P, P], expected: dict[str, Any]) -> None:
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind, kind))
    with jax.set_mesh(mesh):
        w, x = (
            jax.device_put(a, NamedSharding(mesh, spec))
            for a, spec in zip((W, X), specs, strict=True)
        )
        f = _explicit_network() if kind is AxisType.Explicit else written
        names = [n for n in NAMES if n != "vmap of grad" or kind is AxisType.Auto]
        got = jax.jit(lambda w, x: {name: TRANSFORMS[name](f)(w, x) for name in names})(w, x)
        if kind is AxisType.Explicit:
            gradient = jax.jit(jax.grad(lambda w, x: jnp.sum(sigmoid(linear(x, w)))))(w, x)
            assert gradient.sharding.spec == w.sharding.spec
    wanted = expected if kind is AxisType.Auto else _explicit_expected(names)
    close(got, {name: wanted[name] for name in names})


def _explicit_network() -> Function:
    return lambda w, x: jnp.sum(sigmoid(linear(x, w)) ** 2)


def _explicit_expected(names: list[str]) -> dict[str, Any]:
    def f(w: Any, x: Any) -> Any:
        return jnp.sum(jax.nn.sigmoid(x @ w) ** 2)

    every = jax.jit(lambda w, x: {name: TRANSFORMS[name](f)(w, x) for name in names})
    return dict(every(jnp.asarray(W), jnp.asarray(X)))


@pytest.mark.parametrize("check", [True, False], ids=["checked", "unchecked"])
def test_shard_map(check: bool, expected: dict[str, Any]) -> None:
    """Derivatives outside of a shard_map, with the batch on 8 devices and the weights on each."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.shard_map(
        lambda w, x: lax.psum(written(w, x), "data"),
        mesh=mesh,
        in_specs=(P(), P("data")),
        out_specs=P(),
        check_vma=check,
    )
    names = [n for n in NAMES if n != "vmap of grad"]
    got = jax.jit(lambda w, x: {name: TRANSFORMS[name](sharded)(w, x) for name in names})(W, X)
    close(got, {name: expected[name] for name in names})


def test_derivatives_inside_of_shard_map(expected: dict[str, Any]) -> None:
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def inside(w: Any, x: Any) -> Any:
        def total(w: Any) -> Any:
            return lax.psum(written(w, x), "data")

        tangent = jax.jvp(total, (w,), (jnp.cos(w),))[1]
        twice = jax.jvp(jax.grad(total), (w,), (jnp.cos(w),))[1]
        return jax.grad(total)(w), tangent, twice

    run = jax.shard_map(inside, mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
    gradient, tangent, twice = jax.jit(run)(W, X)
    plain_run = jax.jit(
        lambda w: (
            jax.jvp(lambda w: plain(w, X), (w,), (jnp.cos(w),))[1],
            jax.jvp(jax.grad(lambda w: plain(w, X)), (w,), (jnp.cos(w),))[1],
        )
    )
    close(gradient, expected["grad"][0])
    close((tangent, twice), plain_run(jnp.asarray(W)))


def test_per_device_results_vary() -> None:
    """What comes out of a rule varies along the axes that its arguments vary along, and no more."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def inside(w: Any, x: Any) -> Any:
        same = sigmoid(w)
        each = linear(x, w)
        assert not varying_axes(jax.typeof(same)) and varying_axes(jax.typeof(each)) == {"data"}
        assert varying_axes(jax.typeof(jax.jvp(sigmoid, (x,), (x,))[1])) == {"data"}
        return same, each

    out = jax.shard_map(inside, mesh=mesh, in_specs=(P(), P("data")), out_specs=(P(), P("data")))
    same, each = jax.jit(out)(W, X)
    close((same, each), (jax.nn.sigmoid(W), X @ W))


def test_vmap_with_spmd_axis_name() -> None:
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    with jax.set_mesh(mesh):
        each = jax.vmap(jax.grad(written), (None, 0), spmd_axis_name="data")
        wanted = jax.vmap(jax.grad(plain), (None, 0))
        batch = np.stack([X, 2 * X] * 4)
        close(jax.jit(each)(W, batch), jax.jit(wanted)(W, batch))
