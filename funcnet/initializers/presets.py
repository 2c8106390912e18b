"""The members of the variance-scaling family that have names of their own.

========================  =========  ============  ==================================
preset                    scale      n             source
========================  =========  ============  ==================================
``xavier_*``              1          average       Glorot and Bengio 2010, eq. 12, 16
``lecun_*``               1          ``n_in``      LeCun et al. 1998, eq. 16
``he_*``                  2          ``n_in``      He et al. 2015, eq. 10
========================  =========  ============  ==================================

Here ``*_normal`` is a normal distribution, as in the papers and in lectures. What
``jax.nn.initializers`` calls ``he_normal``, ``lecun_normal`` and ``glorot_normal`` is a normal cut
off at two standard deviations and stretched to the same variance: that is ``truncated_he_normal``,
``truncated_lecun_normal`` and ``truncated_xavier_normal`` here. Some libraries write Glorot for
Xavier, and Kaiming for He.

``lecun_*`` and ``he_*`` count inputs only, which a grouped convolution's kernel shows in its shape;
``xavier_*`` count outputs too and take ``groups``: see :func:`~funcnet.initializers.fans`.
"""

from __future__ import annotations

from funcnet.initializers.factory import factory
from funcnet.initializers.fans import Axes
from funcnet.initializers.variance import scaled
from funcnet.typing import Init

__all__ = [
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "truncated_he_normal",
    "truncated_lecun_normal",
    "truncated_xavier_normal",
    "xavier_normal",
    "xavier_uniform",
]


@factory
def xavier_uniform(
    *,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    groups: int = 1,
) -> Init:
    """Draw from U(-a, a), ``a = sqrt(6 / (n_in + n_out))``: the variance ``2 / (n_in + n_out)``.

    A compromise between keeping the size of signals and that of gradients, derived for activations
    that are close to the identity near 0, such as tanh.

    It is ``variance_scaling(1.0, "fan_avg", "uniform")``.

    Args:
        in_axis: the kernel's axis, or axes, that are summed over.
        out_axis: the axis, or axes, of the outputs.
        batch_axis: the axis, or axes, along which independent kernels are stacked.
        groups: the number of groups of a convolution, which divides ``n_out``.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for kernels ``(in, out)`` and
        ``(*window, in / groups, out)``.

    Example:
        >>> import jax
        >>> from funcnet.initializers import xavier_uniform
        >>> weights = xavier_uniform()(jax.random.key(0), (1000, 500))
        >>> print(f"{weights.max():.4f}")
        0.0632

    References:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
        networks, AISTATS 2010, equation 16. (The root is part of the formula, though
        some slides drop it.)
    """
    return scaled(
        "xavier_uniform", 1.0, "fan_avg", "uniform", (in_axis, out_axis, batch_axis), groups
    )


@factory
def xavier_normal(
    *,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    groups: int = 1,
) -> Init:
    """Draw from N(0, 2 / (n_in + n_out)), not truncated.

    A compromise between keeping the size of signals and that of gradients, derived for activations
    that are close to the identity near 0, such as tanh.

    It is ``variance_scaling(1.0, "fan_avg", "normal")``.

    Args:
        in_axis: the kernel's axis, or axes, that are summed over.
        out_axis: the axis, or axes, of the outputs.
        batch_axis: the axis, or axes, along which independent kernels are stacked.
        groups: the number of groups of a convolution, which divides ``n_out``.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for kernels ``(in, out)`` and
        ``(*window, in / groups, out)``.

    Example:
        >>> import jax
        >>> from funcnet.initializers import xavier_normal
        >>> weights = xavier_normal()(jax.random.key(0), (1000, 500))
        >>> print(f"{750 * weights.var():.2f}")
        1.00

    References:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
        networks, AISTATS 2010, equation 12.
    """
    return scaled(
        "xavier_normal", 1.0, "fan_avg", "normal", (in_axis, out_axis, batch_axis), groups
    )


@factory
def truncated_xavier_normal(
    *,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    groups: int = 1,
) -> Init:
    """Draw with variance 2 / (n_in + n_out) from a normal cut off at two standard deviations.

    The same distribution as ``jax.nn.initializers.glorot_normal`` (``xavier_normal`` there).

    It is ``variance_scaling(1.0, "fan_avg", "truncated_normal")``.

    Args:
        in_axis: the kernel's axis, or axes, that are summed over.
        out_axis: the axis, or axes, of the outputs.
        batch_axis: the axis, or axes, along which independent kernels are stacked.
        groups: the number of groups of a convolution, which divides ``n_out``.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for kernels ``(in, out)`` and
        ``(*window, in / groups, out)``.

    Example:
        >>> import jax
        >>> from funcnet.initializers import truncated_xavier_normal
        >>> weights = truncated_xavier_normal()(jax.random.key(0), (1000, 500))
        >>> print(f"{750 * weights.var():.2f}")
        1.00

    References:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
        networks, AISTATS 2010, equation 12.
    """
    return scaled(
        "truncated_xavier_normal",
        1.0,
        "fan_avg",
        "truncated_normal",
        (in_axis, out_axis, batch_axis),
        groups,
    )


@factory
def lecun_normal(*, in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = ()) -> Init:
    """Draw from N(0, 1 / n_in), not truncated.

    Keeps the size of signals through linear layers, and through SELU.

    It is ``variance_scaling(1.0, "fan_in", "normal")``.

    Args:
        in_axis: the kernel's axis, or axes, that are summed over.
        out_axis: the axis, or axes, of the outputs.
        batch_axis: the axis, or axes, along which independent kernels are stacked.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for kernels ``(in, out)`` and
        ``(*window, in / groups, out)``.

    Example:
        >>> import jax
        >>> from funcnet.initializers import lecun_normal
        >>> weights = lecun_normal()(jax.random.key(0), (1000, 500))
        >>> print(f"{1000 * weights.var():.2f}")
        1.00

    References:
        LeCun, Bottou, Orr and Mueller, Efficient BackProp, in Neural Networks: Tricks of the Trade,
        1998, equation 16. Klambauer, Unterthiner, Mayr and Hochreiter, Self-normalizing neural
        networks, 2017, https://arxiv.org/abs/1706.02515, asks for this variance with SELU.
    """
    return scaled("lecun_normal", 1.0, "fan_in", "normal", (in_axis, out_axis, batch_axis))


@factory
def lecun_uniform(*, in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = ()) -> Init:
    """Draw from U(-a, a), ``a = sqrt(3 / n_in)``: the variance ``1 / n_in``.

    Keeps the size of signals through linear layers, and through SELU.

    It is ``variance_scaling(1.0, "fan_in", "uniform")``.

    Args:
        in_axis: the kernel's axis, or axes, that are summed over.
        out_axis: the axis, or axes, of the outputs.
        batch_axis: the axis, or axes, along which independent kernels are stacked.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for kernels ``(in, out)`` and
        ``(*window, in / groups, out)``.

    Example:
        >>> import jax
        >>> from funcnet.initializers import lecun_uniform
        >>> weights = lecun_uniform()(jax.random.key(0), (1000, 500))
        >>> print(f"{weights.max():.4f}")
        0.0548

    References:
        LeCun, Bottou, Orr and Mueller, Efficient BackProp, in Neural Networks: Tricks of the Trade,
        1998, equation 16. Klambauer, Unterthiner, Mayr and Hochreiter, Self-normalizing neural
        networks, 2017, https://arxiv.org/abs/1706.02515, asks for this variance with SELU.
    """
    return scaled("lecun_uniform", 1.0, "fan_in", "uniform", (in_axis, out_axis, batch_axis))


@factory
def truncated_lecun_normal(
    *, in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = ()
) -> Init:
    """Draw with variance 1 / n_in from a normal cut off at two standard deviations.

    The same distribution as ``jax.nn.initializers.lecun_normal``.

    It is ``variance_scaling(1.0, "fan_in", "truncated_normal")``.

    Args:
        in_axis: the kernel's axis, or axes, that are summed over.
        out_axis: the axis, or axes, of the outputs.
        batch_axis: the axis, or axes, along which independent kernels are stacked.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for kernels ``(in, out)`` and
        ``(*window, in / groups, out)``.

    Example:
        >>> import jax
        >>> from funcnet.initializers import truncated_lecun_normal
        >>> weights = truncated_lecun_normal()(jax.random.key(0), (1000, 500))
        >>> print(f"{1000 * weights.var():.2f}")
        1.00

    References:
        LeCun, Bottou, Orr and Mueller, Efficient BackProp, in Neural Networks: Tricks of the Trade,
        1998, equation 16. Klambauer, Unterthiner, Mayr and Hochreiter, Self-normalizing neural
        networks, 2017, https://arxiv.org/abs/1706.02515, asks for this variance with SELU.
    """
    return scaled(
        "truncated_lecun_normal", 1.0, "fan_in", "truncated_normal", (in_axis, out_axis, batch_axis)
    )


@factory
def he_normal(*, in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = ()) -> Init:
    """Draw from N(0, 2 / n_in), not truncated.

    Keeps the size of signals through layers with ReLU, which sets half of them to 0. The variant
    that keeps the size of gradients (equation 14) is ``variance_scaling(2.0, "fan_out", ...)``.

    It is ``variance_scaling(2.0, "fan_in", "normal")``.

    Args:
        in_axis: the kernel's axis, or axes, that are summed over.
        out_axis: the axis, or axes, of the outputs.
        batch_axis: the axis, or axes, along which independent kernels are stacked.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for kernels ``(in, out)`` and
        ``(*window, in / groups, out)``.

    Example:
        >>> import jax
        >>> from funcnet.initializers import he_normal
        >>> weights = he_normal()(jax.random.key(0), (1000, 500))
        >>> print(f"{1000 * weights.var():.2f}")
        2.00

    References:
        He, Zhang, Ren and Sun, Delving deep into rectifiers, ICCV 2015, equation 10,
        https://arxiv.org/abs/1502.01852.
    """
    return scaled("he_normal", 2.0, "fan_in", "normal", (in_axis, out_axis, batch_axis))


@factory
def he_uniform(*, in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = ()) -> Init:
    """Draw from U(-a, a), ``a = sqrt(6 / n_in)``: the variance ``2 / n_in``.

    Keeps the size of signals through layers with ReLU, which sets half of them to 0. The variant
    that keeps the size of gradients (equation 14) is ``variance_scaling(2.0, "fan_out", ...)``.

    It is ``variance_scaling(2.0, "fan_in", "uniform")``.

    Args:
        in_axis: the kernel's axis, or axes, that are summed over.
        out_axis: the axis, or axes, of the outputs.
        batch_axis: the axis, or axes, along which independent kernels are stacked.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for kernels ``(in, out)`` and
        ``(*window, in / groups, out)``.

    Example:
        >>> import jax
        >>> from funcnet.initializers import he_uniform
        >>> weights = he_uniform()(jax.random.key(0), (1000, 500))
        >>> print(f"{weights.max():.4f}")
        0.0775

    References:
        He, Zhang, Ren and Sun, Delving deep into rectifiers, ICCV 2015, equation 10,
        https://arxiv.org/abs/1502.01852.
    """
    return scaled("he_uniform", 2.0, "fan_in", "uniform", (in_axis, out_axis, batch_axis))


@factory
def truncated_he_normal(*, in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = ()) -> Init:
    """Draw with variance 2 / n_in from a normal cut off at two standard deviations.

    The same distribution as ``jax.nn.initializers.he_normal``.

    It is ``variance_scaling(2.0, "fan_in", "truncated_normal")``.

    Args:
        in_axis: the kernel's axis, or axes, that are summed over.
        out_axis: the axis, or axes, of the outputs.
        batch_axis: the axis, or axes, along which independent kernels are stacked.

    Returns:
        ``init(key, shape, dtype=jnp.float32)``, for kernels ``(in, out)`` and
        ``(*window, in / groups, out)``.

    Example:
        >>> import jax
        >>> from funcnet.initializers import truncated_he_normal
        >>> weights = truncated_he_normal()(jax.random.key(0), (1000, 500))
        >>> print(f"{1000 * weights.var():.2f}")
        2.00

    References:
        He, Zhang, Ren and Sun, Delving deep into rectifiers, ICCV 2015, equation 10,
        https://arxiv.org/abs/1502.01852.
    """
    return scaled(
        "truncated_he_normal", 2.0, "fan_in", "truncated_normal", (in_axis, out_axis, batch_axis)
    )
