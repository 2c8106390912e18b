from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet.errors import ArgumentError, DTypeError, MissingKeyError, ShapeError
from funcnet.initializers import lecun_normal
from funcnet.jaxprs import equations
from funcnet.layers import (
    activation,
    as_stateful,
    dense,
    dropout,
    flatten,
    parallel,
    prelu,
    repeat,
    residual,
    running_mean,
    serial,
)
from funcnet.primitives import relu
from tests.layers.test_laws import assert_equal

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(9), (5, 4))
double, negate = activation(lambda x: 2.0 * x), activation(jnp.negative)
swap = activation(lambda a, b: (b, a))


# Values


def test_serial_by_hand() -> None:
    net = serial(hidden=dense(8), relu=activation(relu), output=dense(2))
    params = net.init(KEY, X)
    hidden, output = jax.tree.map(np.asarray, (params["hidden"], params["output"]))
    h = np.maximum(np.asarray(X) @ hidden["kernel"] + hidden["bias"], 0)
    expected = h @ output["kernel"] + output["bias"]
    np.testing.assert_allclose(net.apply(params, X), expected, rtol=1e-5, atol=1e-6)


def test_parallel_by_hand() -> None:
    outputs = parallel(double, negate).apply({}, X)
    assert isinstance(outputs, tuple)
    assert_equal(outputs, (2 * X, -X))
    combined = parallel(double, negate, combine=lambda a, b: a - b)
    np.testing.assert_array_equal(combined.apply({}, X), 3 * X)


def test_several_inputs_and_outputs() -> None:
    one, two = jnp.ones(3), jnp.zeros(3)
    assert serial().apply({}, one) is one
    assert_equal(serial().apply({}, one, two), (one, two))
    assert_equal(serial(swap).apply({}, one, two), (two, one))
    assert_equal(serial(swap, activation(jnp.subtract)).apply({}, one, two), two - one)
    assert_equal(parallel(swap, activation(jnp.add)).apply({}, one, two), ((two, one), one))


def test_residual_by_hand() -> None:
    np.testing.assert_array_equal(residual(double).apply({}, X), 3 * X)
    net = residual(serial(dense(4)))
    assert_equal(net.init(KEY, X), serial(dense(4)).init(KEY, X))


def test_state_goes_to_its_owner() -> None:
    net = as_stateful(
        serial(first=running_mean(), both=parallel(left=dense(2), right=running_mean()), last=swap)
    )
    params, state = net.init(KEY, X)
    assert list(params) == ["both"] and list(params["both"]) == ["left"]
    assert list(state) == ["first", "both"] and list(state["both"]) == ["right"]
    (right, _), state = net.apply(params, state, X, train=True)
    np.testing.assert_allclose(state["first"]["mean"], X.mean(0), rtol=1e-6)
    np.testing.assert_allclose(state["both"]["right"]["mean"], np.zeros(4), atol=1e-6)
    np.testing.assert_allclose(right, X - X.mean(0)[None], rtol=1e-5, atol=1e-6)


def test_children_without_parameters_have_no_entry() -> None:
    net = serial(serial(activation(relu)), dense(2), parallel(flatten(), flatten()))
    assert list(net.init(KEY, X)) == ["dense_0"]


# Names


def test_default_names_count_by_kind() -> None:
    net = serial(dense(2), activation(relu), prelu(), dense(3), ("own", dense(4)), dense(5))
    assert list(net.init(KEY, X)) == ["dense_0", "prelu_0", "dense_1", "own", "dense_2"]


def test_keywords_come_after_the_rest() -> None:
    net = serial(dense(2), b=dense(3), a=dense(4))
    params = net.init(KEY, X)
    assert {name: below["bias"].shape for name, below in params.items()} == {
        "dense_0": (2,),
        "b": (3,),
        "a": (4,),
    }


anything: Any = {
    "relu": relu,
    "dense": dense,
    "two": (dense(2), dense(2)),
    "list": [double],
    "pair": (3, double),
}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: serial(anything["dense"]), r"serial: argument 0 must .*activation\(fn\)"),
        (lambda: serial(double, *[anything]), "serial: argument 1 must be a layer, got {"),
        (lambda: serial(hidden=anything["relu"]), "serial: 'hidden' must be a layer"),
        (lambda: serial(anything["list"]), "serial: argument 0 must be a layer"),
        (lambda: serial(("a", anything["relu"])), "serial: 'a' must be a layer"),
        (lambda: serial(anything["pair"]), "serial: the name of a layer must be a text .* got 3"),
        (lambda: serial(("", double)), "serial: the name .* got ''"),
        (lambda: serial(("a/b", double)), "serial: the name .* without '/', got 'a/b'"),
        (lambda: serial(("a", double), a=double), "serial: two layers have the name 'a'"),
        (lambda: serial(dense(2), dense_0=dense(3)), "serial: two .* name 'dense_0'"),
        (lambda: parallel(double, combin=anything["relu"]), "parallel: 'combin' must be a layer"),
        (lambda: parallel(double, combine=anything), "parallel: combine must be a function"),
        (lambda: parallel(anything["relu"]), "parallel: argument 0 must be a layer"),
        (lambda: residual(anything["relu"]), "residual: the argument must be a layer"),
        (lambda: residual(anything["two"]), "residual: the argument must be a layer"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


# Keys


def test_an_inserted_layer_changes_no_other_initial_value() -> None:
    before = serial(dense(4), activation(relu), ("out", dense(2))).init(KEY, X)
    after, _ = serial(
        flatten(), dense(4), dropout(0.5), prelu(), activation(relu), extra=dense(4), out=dense(2)
    ).init(KEY, X)
    assert_equal({name: after[name] for name in before}, before)
    assert set(after) - set(before) == {"prelu_0", "extra"}


def test_an_inserted_layer_changes_no_other_mask() -> None:
    x = jnp.ones((5, 64))

    def mask(net: Any) -> Any:
        params, state = net.init(KEY, x)
        return net.apply(params, state, x, key=jax.random.key(3), train=True)[0]

    def dropping(*before: Any, **after: Any) -> Any:
        return serial(block=serial(*before, drop=dropout(0.5), **after))

    # Nothing else changes the input of ones, so that the mask can be seen.
    alone = mask(dropping())
    assert 0 < float((alone == 0).mean()) < 1
    np.testing.assert_array_equal(mask(dropping(serial(), dropout(0.0))), alone)
    np.testing.assert_array_equal(mask(dropping(flatten(), other=dropout(0.0))), alone)
    named_otherwise = mask(serial(block=serial(drip=dropout(0.5))))
    assert (named_otherwise != alone).any()


def test_layers_of_one_kind_draw_differently() -> None:
    params = serial(dense(4), dense(4), serial(dense(4))).init(KEY, X)
    first, second = params["dense_0"]["kernel"], params["dense_1"]["kernel"]
    nested = params["serial_0"]["dense_0"]["kernel"]
    assert len({str(np.asarray(kernel)) for kernel in (first, second, nested)}) == 3
    net = parallel(dropout(0.5), dropout(0.5))
    left, right = net.apply({}, {}, jnp.ones(64), key=KEY, train=True)[0]
    assert (left != right).any()


def test_how_names_are_folded_never_changes() -> None:
    """Published results depend on it; the numbers are CRC-32 sums of the names."""
    key = jax.random.fold_in(jax.random.fold_in(KEY, 0x885DE9BD), 0x5DD29AAB)
    params = serial(hidden=dense(2)).init(KEY, jnp.ones(2))
    np.testing.assert_array_equal(params["hidden"]["kernel"], lecun_normal()(key, (2, 2)))


# Errors


@pytest.mark.parametrize(
    ("net", "error", "message"),
    [
        (serial(a=dense(3)), ShapeError, r"^a: dense: .*\(4, 3\).*\(5, 7\)"),
        (serial(a=serial(double, b=dense(3))), ShapeError, r"^a/b: dense: .*\(4, 3\).*\(5, 7\)"),
        (serial(parallel(double, x=dense(3))), ShapeError, "^parallel_0/x: dense: "),
        (serial(residual(serial(dense(4)))), ShapeError, "^residual_0/dense_0: dense: "),
        (serial(r=repeat(serial(d=dense(4)), 2)), ShapeError, "^r/d: dense: "),
        (serial(drop=dropout(0.5), a=dense(3)), ShapeError, "^a: dense: "),
        (serial(r=repeat(serial(m=running_mean()), 2)), ShapeError, "^r/m: running_mean: "),
    ],
)
def test_a_mismatch_in_apply_tells_the_path(net: Any, error: Any, message: str) -> None:
    net = as_stateful(net)
    params, state = net.init(KEY, X)
    wrong = jnp.ones((5, 7))
    apply = jax.jit(net.apply, static_argnames="train")
    with pytest.raises(error, match=message):
        apply(params, state, wrong, key=KEY, train=True)
    with pytest.raises(error, match=message):
        jax.grad(lambda p: net.apply(p, state, wrong, key=KEY, train=True)[0].sum())(params)


@pytest.mark.parametrize(
    ("net", "error", "message"),
    [
        (
            serial(a=residual(dense(3))),
            ShapeError,
            r"^a: residual: .*float32\[5, 4\] into float32\[5, 3\]",
        ),
        (
            serial(a=residual(activation(lambda x: x.astype(jnp.bfloat16)))),
            ShapeError,
            r"^a: residual: .*float32\[5, 4\] into bfloat16\[5, 4\]",
        ),
        (
            serial(a=residual(parallel(double, double))),
            ShapeError,
            r"^a: residual: .* into \(float32\[5, 4\], float32\[5, 4\]\)",
        ),
        (
            serial(a=serial(b=repeat(dense(3), 2))),
            ShapeError,
            r"^a/b: repeat: .*float32\[5, 4\] into float32\[5, 3\]",
        ),
        (serial(a=activation(lambda x: x > 0), b=dense(2)), DTypeError, "^b: dense: .*bool"),
        (serial(a=serial(f=flatten(5))), ShapeError, "^a/f: flatten: start_axis=5"),
    ],
)
def test_a_mismatch_in_init_tells_the_path(net: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        net.init(KEY, X)


def test_a_forgotten_key_tells_the_path() -> None:
    net = serial(a=repeat(serial(b=dropout(0.5)), 2))
    with pytest.raises(MissingKeyError, match=r"^a/b: dropout: .*key"):
        net.apply({}, {}, X, train=True)


def test_missing_parameters_tell_the_path() -> None:
    net = serial(a=serial(b=dense(3)))
    with pytest.raises(ArgumentError, match=r"^a/b: dense: params has no entry 'kernel'"):
        net.apply({}, X)


def test_errors_of_others_get_a_note() -> None:
    net = serial(a=serial(b=activation(lambda x: x @ x)))
    with pytest.raises(TypeError, match="dot_general") as caught:
        net.init(KEY, X)
    assert caught.value.__notes__.count("(in the layer 'a/b')") == 1


def test_after_an_error_the_path_starts_anew() -> None:
    net = serial(a=dense(3))
    params = net.init(KEY, X)
    for _ in range(2):
        with pytest.raises(ShapeError, match=r"^a: dense: "):
            net.apply(params, jnp.ones((5, 7)))


# Scopes


def test_equations_carry_the_path() -> None:
    net = serial(a=serial(b=activation(jnp.sin)), r=repeat(serial(c=activation(jnp.cos)), 2))
    scopes = {e.name: e.scope for e in equations(jax.make_jaxpr(net.apply)({}, X))}
    assert scopes["sin"] == "a/b" and scopes["cos"] == "r/c"
