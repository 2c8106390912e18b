"""Gains: what a weight's variance must be for an activation to hand signals on at their size.

If the pre-activations of one layer are N(0, 1), its outputs have the second moment ``E[phi(z)^2]``,
and the next layer's pre-activations the variance ``n_in Var w E[phi(z)^2]``. They are N(0, 1)
again, for wide layers, when ``Var w = gain^2 / n_in`` with

    gain = E[phi(z)^2] ^ (-1/2),        z ~ N(0, 1).

For ReLU this is the root of He's 2. The expectation is an integral of one variable, computed here
to about twelve digits for any activation that can be evaluated; nothing is looked up in a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.typing import Array

__all__ = ["gain", "gaussian_expectation"]

Points = npt.NDArray[np.float64]

# Beyond 24 standard deviations the density is below 1e-125: room for integrands that grow.
_REACH = 24.0
_FIRST_PANELS = 96  # of width 1/2: the kinks that people use, at integers, fall on edges
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
# All evaluations have this many points, so that JAX compiles each operation once.
_CHUNK = _FIRST_PANELS * len(_NODES)
_MAX_PANELS = 8192
_HALVINGS = 44  # down to a width of 3e-14, which is what a jump is located to
_GOAL = 1e-15  # a panel is done when halving it changes the integral by less than this share
_TOLERANCE = 1e-7  # the share of all changes still outstanding with which an answer is given at all


def gain(activation: Callable[[Array], Array]) -> float:
    """The gain of an activation, ``E[activation(z)^2] ^ (-1/2)`` with ``z ~ N(0, 1)``.

    Weights with the variance ``gain^2 / n_in``, as ``variance_scaling(gain(activation)**2,
    "fan_in", "normal")`` draws them, keep pre-activations at variance 1 from a layer with this
    activation to the next. (The first layer, whose input has not passed an activation, needs the
    gain of its input: 1 if that is standardized.) The values are exact, and not those of some
    tables: the gain of tanh is 1.5925 (5/3 by custom), of sigmoid 1.8462 (by custom 1).

    Variance 1 is then a fixed point from layer to layer. What becomes of a small deviation from it
    is the slope ``gain^2 E[z phi(z) phi'(z)]``: 0.46 for tanh, whose signals return to 1, exactly 1
    for ReLU, but 1.14 for gelu and 1.17 for silu, where chance deviations grow with depth. What
    becomes of gradients is ``gain^2 E[phi'(z)^2]``, which is 1.18 for tanh.
    :func:`~funcnet.initializers.gaussian_expectation` computes them.

    Args:
        activation: an elementwise function of one array; kinks and jumps are allowed. It is called
            with float64 vectors, whatever JAX's default is, and at once even if the caller is being
            traced by ``jit``; its parameters must therefore be concrete.

    Returns:
        The gain, a Python float with a relative error of about 1e-12, for activations with kinks
        too, and about 1e-7 if the activation itself computes in float32.

    Raises:
        ArgumentError: if the activation is not callable, not finite, not elementwise, zero almost
            everywhere, or grows so fast that the expectation does not exist.
        ShapeError: if it changes shapes.
        DTypeError: if it returns complex numbers.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from funcnet.initializers import gain
        >>> print(f"{gain(jax.nn.relu):.10f}")
        1.4142135624
        >>> print(f"{gain(jax.nn.silu):.4f}")
        1.6765
        >>> print(f"{gain(lambda x: jnp.where(x > 0.3, x, 0.1 * x)):.4f}")
        1.4120

    References:
        He, Zhang, Ren and Sun, Delving deep into rectifiers, ICCV 2015,
        https://arxiv.org/abs/1502.01852, for ReLU. Poole, Lahiri, Raghu, Sohl-Dickstein and
        Ganguli, Exponential expressivity in deep neural networks through transient chaos, NIPS
        2016, https://arxiv.org/abs/1606.05340, equation 3, for any activation.
    """
    moment = _Integrand("gain", activation, np.square).expectation()
    if not moment > 0:
        raise ArgumentError(
            f"gain: E[activation(z)^2] is 0 for {_label(activation)}, so that no weights can keep "
            f"its signal; check that it does not return zeros"
        )
    return 1.0 / math.sqrt(moment)


def gaussian_expectation(function: Callable[[Array], Array]) -> float:
    """``E[function(z)]`` with ``z ~ N(0, 1)``, by quadrature.

    Gauss-Legendre panels between -24 and 24 are halved wherever that still changes the integral,
    which closes in on kinks and jumps. Length and correlation maps of wide networks, Hermite
    coefficients and gains are all expectations of this kind.

    Args:
        function: an elementwise function of one array, under the conditions of
            :func:`~funcnet.initializers.gain`.

    Returns:
        The expectation, a Python float with an error of about 1e-12 times ``E[|function(z)|]``.

    Raises:
        ArgumentError: if the function is not callable, not finite or not elementwise, or the
            integral does not exist.
        ShapeError: if it changes shapes.
        DTypeError: if it returns complex numbers.

    Example:
        >>> import jax
        >>> from funcnet.initializers import gaussian_expectation
        >>> print(f"{gaussian_expectation(lambda z: z**4):.10f}")
        3.0000000000
        >>> slope = jax.vmap(jax.grad(jax.nn.relu))
        >>> print(f"{gaussian_expectation(lambda z: slope(z) ** 2):.10f}")
        0.5000000000
    """
    return _Integrand("gaussian_expectation", function, np.asarray).expectation()


class _Integrand:
    """``transform(function(z))`` at concrete points, and its integral under the normal density."""

    def __init__(
        self, name: str, function: Callable[[Array], Any], transform: Callable[[Points], Points]
    ) -> None:
        if not callable(function):
            raise ArgumentError(
                f"{name}: takes the function itself, as in {name}(jax.nn.relu), got {function!r}"
            )
        self.name, self.function, self.transform = name, function, transform

    def expectation(self) -> float:
        self.check_elementwise()
        edges = np.linspace(-_REACH, _REACH, _FIRST_PANELS + 1)
        left, right = edges[:-1], edges[1:]
        coarse, mass = self.panels(left, right)
        scale = mass.sum()
        if max(mass[0], mass[-1]) > _GOAL * scale:
            self.fail("grows so fast that its mass lies beyond 24 standard deviations")
        settled = 0.0
        for _ in range(_HALVINGS):
            middle = (left + right) / 2
            left, right = np.stack([left, middle], 1), np.stack([middle, right], 1)
            fine = self.panels(left.ravel(), right.ravel())[0].reshape(-1, 2)
            change = np.abs(fine.sum(1) - coarse)
            going_on = change > _GOAL * scale
            settled += fine[~going_on].sum()
            if not going_on.any():
                return float(settled)
            left, right = left[going_on].ravel(), right[going_on].ravel()
            coarse = fine[going_on].ravel()
            if left.size > _MAX_PANELS:
                break
        if change.sum() > _TOLERANCE * scale:
            self.fail(
                "is too rough, or its expectation does not exist: the integral does not settle"
            )
        return float(settled + coarse.sum())

    def panels(self, left: Points, right: Points) -> tuple[Points, Points]:
        """The integrals of the function and of its absolute value over intervals."""
        half = (right - left) / 2
        nodes = (left + right)[:, None] / 2 + half[:, None] * _NODES
        density = np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi) * _WEIGHTS * half[:, None]
        values = self.values(nodes.ravel()).reshape(nodes.shape)
        return (values * density).sum(1), (np.abs(values) * density).sum(1)

    def values(self, points: Points) -> Points:
        chunks = -(-points.size // _CHUNK)
        padded = np.resize(points, (chunks, _CHUNK))
        return np.concatenate([self.evaluate(chunk) for chunk in padded])[: points.size]

    def evaluate(self, points: Points) -> Points:
        # In float64 where the default is float32, at once where a caller is being traced, and
        # beside float32 parameters where promotion is strict.
        with (
            jax.ensure_compile_time_eval(),
            jax.enable_x64(True),
            jax.numpy_dtype_promotion("standard"),
        ):
            result = np.asarray(self.function(jnp.asarray(points)))
        if result.shape != points.shape:
            raise ShapeError(
                f"{self.name}: needs an elementwise function, but {_label(self.function)} made the "
                f"shape {result.shape} of {points.shape}"
            )
        if np.iscomplexobj(result):
            raise DTypeError(f"{self.name}: {_label(self.function)} returned complex numbers")
        with np.errstate(over="ignore"):
            values = self.transform(result.astype(np.float64))
        if not np.isfinite(values).all():
            where = np.isfinite(values).argmin()
            self.fail(f"returned {result[where]} at {points[where]:.6g}")
        return values

    def check_elementwise(self) -> None:
        """Change half of the points: an elementwise function keeps its values at the others."""
        points = np.linspace(-3.0, 3.0, _CHUNK)
        changed = np.where(np.arange(_CHUNK) % 2, points, -0.7 * points + 0.1)
        before, after = self.evaluate(points)[1::2], self.evaluate(changed)[1::2]
        if not np.allclose(before, after, rtol=1e-5, atol=1e-6 * np.abs(before).max()):
            self.fail("is not elementwise: its value at one point depends on the other points")

    def fail(self, reason: str) -> NoReturn:
        raise ArgumentError(
            f"{self.name}: {_label(self.function)} {reason}; it must be a finite "
            f"elementwise function"
        )


def _label(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", None) or repr(function)
