"""Initializers: where the parameters of a network start.

Every name here but ``fans``, ``gain`` and ``gaussian_expectation`` is a factory: it takes
hyper-parameters and returns a function ``init(key, shape, dtype=jnp.float32) -> Array``.
``zeros()`` and ``ones()`` are written with parentheses like the others.
"""

from __future__ import annotations

from funcnet.initializers.constants import constant, ones, zeros
from funcnet.initializers.distributions import normal, truncated_normal, uniform
from funcnet.initializers.fans import fans
from funcnet.initializers.gains import gain, gaussian_expectation
from funcnet.initializers.orthogonal import delta_orthogonal, identity, orthogonal
from funcnet.initializers.presets import (
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    truncated_he_normal,
    truncated_lecun_normal,
    truncated_xavier_normal,
    xavier_normal,
    xavier_uniform,
)
from funcnet.initializers.variance import variance_scaling

__all__ = [
    "constant",
    "delta_orthogonal",
    "fans",
    "gain",
    "gaussian_expectation",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "truncated_he_normal",
    "truncated_lecun_normal",
    "truncated_normal",
    "truncated_xavier_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]
