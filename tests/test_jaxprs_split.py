"""A body is cut where the fewest bytes pass, and head and tail together are the body."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxpr_as_fun

from funcnet import primitives as fn
from funcnet.jaxprs import inline
from funcnet.jaxprs.operations import is_cheap
from funcnet.jaxprs.split import is_cheap_equation, split_tail

W = jnp.asarray(np.linspace(-1.0, 1.0, 16).reshape(4, 4), jnp.float32)
B = jnp.asarray([[0.1, 0.2, 0.3, 0.4]], jnp.float32)
X = jnp.asarray(np.linspace(0.5, 2.0, 12).reshape(3, 4), jnp.float32)
SHIFT = jnp.asarray([[1.0, 2.0, 3.0, 4.0]], jnp.float32)


def affine(w: Any, b: Any, x: Any) -> Any:
    return x @ w + jnp.broadcast_to(b, x.shape)


def narrowing(w: Any, x: Any) -> Any:
    return jnp.sin(jax.lax.broadcast_in_dim(jnp.sum(x @ w, 1), x.shape, (0,)))


def noisy(key: Any, x: Any) -> Any:
    return x * jax.random.uniform(key, x.shape)


def summing(w: Any, x: Any) -> Any:
    y = jnp.tanh(x @ w)
    return y + 1.0, y.sum()


# Of each body: what it gets of its own and of the turn before, its tail, the bytes that pass.
CASES: dict[str, tuple[Any, Any, Any, list[str], int]] = {
    "activation": (lambda w, b, x: jnp.tanh(affine(w, b, x)), (W, B), (X,), ["tanh"], 48),
    "rule": (lambda w, b, x: fn.gelu(fn.affine(x, w, b[0])), (W, B), (X,), ["rule"], 48),
    "nothing own": (lambda x: jnp.cos(jnp.sin(x)), (), (X,), ["cos", "sin"], 48),
    "ends with a product": (lambda w, x: jnp.tanh(x) @ w, (W,), (X,), [], 48),
    "ends with an own slope": (lambda b, x: jnp.tanh(x) + affine(W, b, x), (B,), (X,), [], 48),
    "ends with closed-over numbers": (
        lambda x: jnp.tanh(x) * jnp.broadcast_to(SHIFT, x.shape),
        (),
        (X,),
        [],
        48,
    ),
    "wider in between": (lambda w, x: x + jnp.tanh(x @ w), (W,), (X,), [], 48),
    "narrower in between": (narrowing, (W,), (X,), ["broadcast_in_dim", "sin"], 12),
    "other outputs": (lambda w, x: (jnp.tanh(x @ w), x.sum()), (W,), (X,), ["tanh"], 48),
    "another output needs it": (summing, (W,), (X,), ["add"], 48),
    "several": (lambda w, x, y: (jnp.sin(y), jnp.cos(x @ w)), (W,), (X, X), ["cos", "sin"], 96),
    "one twice": (lambda x, y: (y, y), (), (X, X), [], 48),
    "constant": (lambda x: jnp.ones_like(x), (), (X,), ["broadcast_in_dim"], 0),
    "random": (noisy, (jax.random.key(0),), (X,), [], 48),
    "loop": (lambda x: jax.lax.fori_loop(0, 3, lambda i, y: jnp.sin(y), x), (), (X,), [], 48),
}


@pytest.mark.parametrize("name", CASES)
def test_the_parts_are_the_whole(name: str) -> None:
    body, own, inputs, names, nbytes = CASES[name]
    whole = inline(jax.make_jaxpr(body)(*own, *inputs), keep=("rule",))
    carried_in = [False] * len(own) + [True] * len(inputs)
    carried_out = [True] * len(inputs) + [False] * (len(whole.out_avals) - len(inputs))
    head, tail = split_tail(whole, carried_in, carried_out)
    assert sorted(eqn.primitive.name for eqn in tail.jaxpr.eqns) == names
    assert sum(aval.size * 4 for aval in tail.in_avals) == nbytes

    made = jaxpr_as_fun(head)(*own, *inputs)
    width = len(tail.in_avals)
    got = [*jaxpr_as_fun(tail)(*made[:width]), *made[width:]]
    for one, other in zip(got, jaxpr_as_fun(whole)(*own, *inputs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_names_of_layers_stay() -> None:
    def body(w: Any, x: Any) -> Any:
        with jax.named_scope("layer"):
            return jnp.tanh(x @ w)

    for part in split_tail(jax.make_jaxpr(body)(W, X), [False, True], [True]):
        again = jax.make_jaxpr(jaxpr_as_fun(part))(*part.in_avals)
        assert "layer" in str(again.jaxpr.eqns[0].source_info.name_stack)


def test_what_is_cheap() -> None:
    def one_equation(f: Any, *args: Any) -> bool:
        (eqn,) = jax.make_jaxpr(f)(*args).jaxpr.eqns
        return is_cheap_equation(eqn)

    assert all(map(is_cheap, ("tanh", "reduce_sum", "reshape", "select_n")))
    assert not any(map(is_cheap, ("dot_general", "threefry2x32", "psum", "scan", "unheard of")))
    assert one_equation(fn.softmax, X)
    assert one_equation(jax.jit(jnp.sin), X)
    assert not one_equation(fn.linear, X, W)
    assert not one_equation(jax.jit(jnp.matmul), X, W)
    assert not one_equation(lambda x: jax.lax.while_loop(jnp.all, jnp.logical_not, x), X > 0)
    assert not one_equation(lambda x: jax.debug.callback(print, x), X)
