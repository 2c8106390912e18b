"""The table of all layers that the laws run over: adding a layer means adding a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from funcnet.layers import (
    AnyLayer,
    StatefulLayer,
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


@dataclass(frozen=True)
class Case:
    """A layer and the shapes of inputs that it takes, the batch in front."""

    name: str
    layer: AnyLayer
    shapes: tuple[tuple[int, ...], ...] = ((5, 4),)

    @cached_property
    def stateful(self) -> StatefulLayer:
        return as_stateful(self.layer)

    @cached_property
    def inputs(self) -> tuple[jax.Array, ...]:
        keys = jax.random.split(jax.random.key(0), len(self.shapes))
        pairs = zip(keys, self.shapes, strict=True)
        return tuple(jax.random.normal(k, s, jnp.float32) for k, s in pairs)

    @cached_property
    def made(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The params and the state for these inputs, in float32 whichever test asks first."""
        with jax.enable_x64(False):
            return self.stateful.init(jax.random.key(1), *self.inputs)

    def apply(self, params: Any, state: Any, *inputs: Any, train: bool = True) -> Any:
        """Apply with a fixed key; gives the output and the state."""
        return self.stateful.apply(params, state, *inputs, key=jax.random.key(2), train=train)


def noisy_block() -> AnyLayer:
    """One layer of each behaviour: parameters, none, random numbers, a state."""
    return serial(dense(4), activation(jnp.tanh), dropout(0.25), running_mean())


CASES = [
    Case("dense", dense(3)),
    Case("dense without bias", dense(3, use_bias=False)),
    Case("dense, one example", dense(3), ((4,),)),
    Case("dense, several leading axes", dense(3), ((2, 5, 4),)),
    Case("dense, no examples", dense(3), ((0, 4),)),
    Case("activation", activation(relu)),
    Case("activation of two inputs", activation(jnp.multiply), ((5, 4), (5, 4))),
    Case("prelu", prelu()),
    Case("prelu, shared", prelu(shared=True)),
    Case("flatten", flatten(), ((5, 2, 3),)),
    Case("dropout", dropout(0.25)),
    Case("dropout of nothing", dropout(0.0)),
    Case("dropout of everything", dropout(1.0)),
    Case("running_mean", running_mean()),
    Case("serial", serial(hidden=dense(8), relu=activation(relu), output=dense(2))),
    Case("serial of nothing", serial()),
    Case("serial, stateful", serial(flatten(), noisy_block(), dense(2)), ((5, 2, 3),)),
    Case("parallel", parallel(left=dense(3), right=dense(2))),
    Case("parallel, stateful, combined", parallel(dense(4), noisy_block(), combine=jnp.add)),
    Case("parallel into two inputs", serial(parallel(dense(3), dense(3)), activation(jnp.add))),
    Case("residual", residual(dense(4))),
    Case("residual, stateful", residual(noisy_block())),
    Case("repeat", repeat(serial(dense(4), activation(jnp.tanh)), 3)),
    Case("repeat, stateful", repeat(residual(noisy_block()), 3)),
    Case("repeat 0 times", repeat(dense(4), 0)),
    Case("repeat of two inputs", repeat(activation(lambda a, b: (b, a)), 3), ((2,), (2,))),
    Case("repeat in repeat", repeat(repeat(serial(dense(4), running_mean()), 2), 2)),
]

all_cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
