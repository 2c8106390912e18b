"""Penalties on the size of parameters: one number for a whole tree of arrays."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.primitives.broadcast import in_full
from funcnet.rules import rule
from funcnet.structure import Structure
from funcnet.typing import Array, PyTree

__all__ = ["l1_penalty", "l2_penalty"]


def _dtype(params: PyTree) -> Any:
    """The dtype that jax.numpy would promote all leaves to; floating."""
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(params)]
    with jax.numpy_dtype_promotion("standard"):
        dtype = functools.reduce(jnp.promote_types, dtypes or [jnp.result_type(float)])
        floating = jnp.issubdtype(dtype, jnp.floating)
        return dtype if floating else jnp.promote_types(dtype, jnp.float32)


def _total(term: Any, dtype: Any, *trees: PyTree) -> Array:
    """The sum of ``term(*leaves)`` over all leaves, added up in float32 at least."""
    wide = in_full(jnp.zeros((), dtype))
    for leaves in zip(*map(jax.tree.leaves, trees), strict=True):
        if all(leaf.dtype != jax.dtypes.float0 for leaf in leaves):
            wide = wide + jnp.sum(term(*(leaf.astype(wide.dtype) for leaf in leaves)))
    return wide.astype(dtype)


def _scaled(ct: Array, slope: Any, params: PyTree) -> PyTree:
    """``ct * slope(leaf)`` for each leaf, in its dtype."""

    def one(leaf: Array) -> Any:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return np.zeros(leaf.shape, jax.dtypes.float0)
        wide = in_full(leaf)
        return (ct.astype(wide.dtype) * slope(wide)).astype(leaf.dtype)

    return jax.tree.map(one, params)


@rule(
    residuals=lambda y, params: params,
    jvp=lambda params, t: _total(jnp.multiply, _dtype(params), params, t),
    vjp=lambda params, ct: _scaled(ct, lambda w: w, params),
    structure=Structure.DENSE,
    formula="y = 1/2 sum w^2",
    source="Hoerl & Kennard 1970; the lecture's 1/2 ||w||^2",
)
def l2_penalty(params: PyTree) -> Array:
    """Half the sum of the squares of all parameters.

    ``y = 1/2 sum w^2`` over all entries w of all arrays: ``dy = sum w t`` and ``w_bar = ct w``. The
    half makes it the lecture's ``1/2 ||w||^2``, whose gradient is w itself.

    Args:
        params: An array, or a tree of arrays.

    Returns:
        Scalar, of the dtype that the arrays promote to; 0 for an empty tree.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import l2_penalty
        >>> params = {"w": jnp.array([1.0, 2.0]), "b": jnp.array(2.0)}
        >>> float(l2_penalty(params))
        4.5
        >>> jax.grad(l2_penalty)(params)["w"].tolist()
        [1.0, 2.0]

    References:
        Ridge regression (Hoerl & Kennard 1970), with the lecture's factor.
    """
    return _total(lambda w: jnp.square(w) / 2, _dtype(params), params)


@rule(
    residuals=lambda y, params: params,
    jvp=lambda params, t: _total(lambda w, s: jnp.sign(w) * s, _dtype(params), params, t),
    vjp=lambda params, ct: _scaled(ct, jnp.sign, params),
    structure=Structure.DENSE,
    formula="y = sum |w|",
    source="Tibshirani 1996",
)
def l1_penalty(params: PyTree) -> Array:
    """The sum of the absolute values of all parameters.

    ``y = sum |w|`` over all entries w of all arrays: ``dy = sum sign(w) t`` and
    ``w_bar = ct sign(w)``. At the kink, ``w = 0``, the slope is 0.

    Args:
        params: An array, or a tree of arrays.

    Returns:
        Scalar, of the dtype that the arrays promote to; 0 for an empty tree.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet.primitives import l1_penalty
        >>> float(l1_penalty({"w": jnp.array([1.0, -2.0]), "b": jnp.array(0.0)}))
        3.0
        >>> jax.grad(l1_penalty)(jnp.array([1.0, -2.0, 0.0])).tolist()
        [1.0, -1.0, 0.0]

    References:
        Tibshirani, Regression shrinkage and selection via the lasso (1996).
    """
    return _total(jnp.abs, _dtype(params), params)
