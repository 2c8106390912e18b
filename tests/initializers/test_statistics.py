"""What is drawn, against the distribution it is said to come from.

Seeds are fixed, so that these tests are deterministic. Each bound is the one that a fresh seed
would leave with the probability ALPHA, if the distribution is right; with the sample sizes used
here a variance that is 4 % off, or a truncation left out, leaves it with near certainty.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from funcnet import initializers as I
from funcnet.typing import Init

ALPHA = 1e-4
KEY = jax.random.key(2024)
SHAPE = (400, 250)
CONV = (3, 2, 4, 8)
N = 400 * 250
N_IN, N_OUT = SHAPE
CUT = stats.truncnorm(-2, 2)


class Row(NamedTuple):
    init: Init
    law: Callable[[float], stats.rv_continuous]
    scale: float  # the standard deviation, or for uniform laws the half width
    bound: float = math.inf


def gaussian(sigma: float) -> stats.rv_continuous:
    return stats.norm(scale=sigma)


def flat(half_width: float) -> stats.rv_continuous:
    return stats.uniform(-half_width, 2 * half_width)


def truncated(sigma: float) -> stats.rv_continuous:
    return stats.truncnorm(-2, 2, scale=sigma / CUT.std())


def uncorrected(sigma: float) -> stats.rv_continuous:
    return stats.truncnorm(-2, 2, scale=sigma)


def cut_row(init: Init, sigma: float) -> Row:
    return Row(init, truncated, sigma, 2 * sigma / CUT.std())


def flat_row(init: Init, half_width: float) -> Row:
    return Row(init, flat, half_width, half_width)


AVERAGE, GEOMETRIC = (N_IN + N_OUT) / 2, math.sqrt(N_IN * N_OUT)
TABLE = {
    "normal": Row(I.normal(), gaussian, 0.01),
    "normal(0.3)": Row(I.normal(0.3), gaussian, 0.3),
    "uniform": flat_row(I.uniform(), 0.01),
    "truncated_normal": Row(I.truncated_normal(0.3), uncorrected, 0.3, 0.6),
    "xavier_uniform": flat_row(I.xavier_uniform(), math.sqrt(6 / (N_IN + N_OUT))),
    "xavier_normal": Row(I.xavier_normal(), gaussian, math.sqrt(2 / (N_IN + N_OUT))),
    "truncated_xavier_normal": cut_row(I.truncated_xavier_normal(), math.sqrt(2 / (N_IN + N_OUT))),
    "lecun_uniform": flat_row(I.lecun_uniform(), math.sqrt(3 / N_IN)),
    "lecun_normal": Row(I.lecun_normal(), gaussian, math.sqrt(1 / N_IN)),
    "truncated_lecun_normal": cut_row(I.truncated_lecun_normal(), math.sqrt(1 / N_IN)),
    "he_uniform": flat_row(I.he_uniform(), math.sqrt(6 / N_IN)),
    "he_normal": Row(I.he_normal(), gaussian, math.sqrt(2 / N_IN)),
    "truncated_he_normal": cut_row(I.truncated_he_normal(), math.sqrt(2 / N_IN)),
    "fan_out": Row(I.variance_scaling(2.0, "fan_out", "normal"), gaussian, math.sqrt(2 / N_OUT)),
    "fan_avg": flat_row(
        I.variance_scaling(0.5, "fan_avg", "uniform"), math.sqrt(3 * 0.5 / AVERAGE)
    ),
    "fan_geo_avg": cut_row(
        I.variance_scaling(3.0, "fan_geo_avg", "truncated_normal"), math.sqrt(3 / GEOMETRIC)
    ),
}
every_row = pytest.mark.parametrize("name", TABLE)


def sample(name: str) -> npt.NDArray[np.float64]:
    return np.asarray(TABLE[name].init(KEY, SHAPE), np.float64)


@every_row
def test_variance(name: str) -> None:
    """The mean square over its expectation, chi-square or by the central limit theorem."""
    law = TABLE[name].law(TABLE[name].scale)
    ratio = np.mean(sample(name) ** 2) / law.var()
    if TABLE[name].law is gaussian:
        low, high = stats.chi2(N).interval(1 - ALPHA)
        assert low / N < ratio < high / N
    else:
        excess = law.stats("k") + 2.0  # the variance of z^2 for a standardized z
        assert abs(ratio - 1) < stats.norm.isf(ALPHA / 2) * math.sqrt(excess / N)


@every_row
def test_mean(name: str) -> None:
    sigma = TABLE[name].law(TABLE[name].scale).std()
    assert abs(sample(name).mean()) < stats.norm.isf(ALPHA / 2) * sigma / math.sqrt(N)


@every_row
def test_distribution(name: str) -> None:
    """Kolmogorov-Smirnov."""
    law = TABLE[name].law(TABLE[name].scale)
    assert stats.kstest(sample(name).ravel(), law.cdf).pvalue > ALPHA


@every_row
def test_neighbours_are_uncorrelated(name: str) -> None:
    drawn = sample(name)
    variance = TABLE[name].law(TABLE[name].scale).var()
    for product in (drawn[1:] * drawn[:-1], drawn[:, 1:] * drawn[:, :-1]):
        bound = stats.norm.isf(ALPHA / 2) * variance / math.sqrt(product.size)
        assert abs(product.mean()) < bound


@pytest.mark.parametrize("name", [name for name in TABLE if math.isfinite(TABLE[name].bound)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bounds_hold_and_are_reached(name: str, dtype: str) -> None:
    bound = float(jnp.asarray(TABLE[name].bound, dtype)) * (1 + 1e-6)
    drawn = np.asarray(TABLE[name].init(KEY, SHAPE, dtype), np.float64)
    for extreme in (drawn.max(), -drawn.min()):
        assert 0.99 * bound < extreme <= bound


@pytest.mark.parametrize("name", [name for name in TABLE if TABLE[name].law is gaussian])
def test_normal_draws_pass_two_standard_deviations(name: str) -> None:
    """The lecture's normal distributions are not truncated: 4.6 % of the draws lie outside."""
    outside = np.abs(sample(name)) > 2 * TABLE[name].scale
    probability = 2 * stats.norm.sf(2)
    assert stats.binomtest(int(outside.sum()), N, probability).pvalue > ALPHA


@pytest.mark.parametrize("bounds", [(-1.0, 3.0), (0.0, 0.5), (2.0, 3.0)])
def test_truncation_elsewhere(bounds: tuple[float, float]) -> None:
    drawn = I.truncated_normal(0.5, lower=bounds[0], upper=bounds[1])(KEY, SHAPE)
    law = stats.truncnorm(*bounds, scale=0.5)
    assert stats.kstest(np.ravel(drawn), law.cdf).pvalue > ALPHA


def test_uniform_elsewhere() -> None:
    drawn = I.uniform(1.0, 4.0)(KEY, SHAPE)
    assert stats.kstest(np.ravel(drawn), stats.uniform(1.0, 3.0).cdf).pvalue > ALPHA


PRESETS = {
    "xavier_uniform": (1.0, "fan_avg", "uniform"),
    "xavier_normal": (1.0, "fan_avg", "normal"),
    "truncated_xavier_normal": (1.0, "fan_avg", "truncated_normal"),
    "lecun_uniform": (1.0, "fan_in", "uniform"),
    "lecun_normal": (1.0, "fan_in", "normal"),
    "truncated_lecun_normal": (1.0, "fan_in", "truncated_normal"),
    "he_uniform": (2.0, "fan_in", "uniform"),
    "he_normal": (2.0, "fan_in", "normal"),
    "truncated_he_normal": (2.0, "fan_in", "truncated_normal"),
}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        (CONV, {}),
        (CONV, {"in_axis": 3, "out_axis": 2}),
        (CONV, {"batch_axis": 0}),
    ],
)
def test_presets_are_variance_scalings(
    name: str, shape: tuple[int, ...], options: dict[str, int]
) -> None:
    preset = getattr(I, name)(**options)(KEY, shape)
    scaling = I.variance_scaling(*PRESETS[name], **options)(KEY, shape)  # type: ignore[arg-type]
    np.testing.assert_array_equal(preset, scaling)


@pytest.mark.parametrize("name", ["xavier_uniform", "xavier_normal", "truncated_xavier_normal"])
def test_groups_reach_the_xavier_presets(name: str) -> None:
    plain, grouped = (getattr(I, name)(groups=groups)(KEY, CONV) for groups in (1, 4))
    # n_in + n_out is 6 * (4 + 8) with one group, 6 * (4 + 2) with four.
    np.testing.assert_allclose(grouped, plain * math.sqrt(12 / 6), rtol=1e-5)


JAX_NAMES = {
    "truncated_he_normal": "he_normal",
    "truncated_lecun_normal": "lecun_normal",
    "truncated_xavier_normal": "glorot_normal",
    "he_uniform": "he_uniform",
    "lecun_uniform": "lecun_uniform",
    "xavier_uniform": "glorot_uniform",
}


@pytest.mark.parametrize("name", JAX_NAMES)
def test_truncated_and_uniform_presets_are_those_of_jax(name: str) -> None:
    theirs = getattr(jax.nn.initializers, JAX_NAMES[name])()
    np.testing.assert_allclose(sample(name), theirs(KEY, SHAPE), rtol=1e-5)
    other = np.ravel(theirs(jax.random.key(1), SHAPE))
    assert stats.ks_2samp(sample(name).ravel(), other).pvalue > ALPHA


@pytest.mark.parametrize("name", ["he_normal", "lecun_normal"])
def test_normal_presets_are_not_those_of_jax(name: str) -> None:
    theirs = getattr(jax.nn.initializers, name)()(jax.random.key(1), SHAPE)
    assert stats.ks_2samp(sample(name).ravel(), np.ravel(theirs)).pvalue < ALPHA


def test_the_plain_truncated_normal_is_that_of_jax() -> None:
    ours = I.truncated_normal(0.3)(KEY, SHAPE)
    theirs = jax.nn.initializers.truncated_normal(0.3)(KEY, SHAPE)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["he_normal", "he_uniform", "truncated_he_normal"])
def test_float64_draws(name: str) -> None:
    drawn = TABLE[name].init(KEY, SHAPE, jnp.float64)
    law = TABLE[name].law(TABLE[name].scale)
    assert stats.kstest(np.ravel(drawn), law.cdf).pvalue > ALPHA
    assert not np.array_equal(drawn, np.asarray(drawn).astype(np.float32))
