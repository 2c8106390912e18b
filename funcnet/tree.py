"""Arithmetic on pytrees, and readable paths to their leaves.

The parameters of a network, its gradients and the tangents that a checker feeds it are all pytrees
of arrays. Here they are vectors: they can be added, scaled, measured and compared. A leaf is named
by its path, such as ``hidden/kernel``, in error messages, in reports and in saved files.

Functions of two trees demand equal structures and equal shapes, and name the paths that differ.
Their names are short because the name of the module stands in front of them, as in
``tree.norm(tree.subtract(params, old_params))``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.errors import ArgumentError, DTypeError, ShapeError
from funcnet.typing import Array, ArrayLike, DTypeLike, Key, PyTree

__all__ = [
    "add",
    "cast",
    "check_same",
    "flatten",
    "nbytes",
    "norm",
    "normal_like",
    "paths",
    "scale",
    "size",
    "subtract",
    "unflatten",
    "vdot",
    "zeros_like",
]


def paths(tree: PyTree) -> list[str]:
    """Name the leaves of a tree by their paths.

    Args:
        tree: Any pytree.

    Returns:
        One path for each leaf, in the order of ``jax.tree.leaves``: the keys, indices and
        attribute names from the root, with slashes between them. A tree that is one leaf has the
        path ``""``.

    Example:
        >>> paths({"hidden": {"kernel": 1.0, "bias": 2.0}, "scales": [3.0, 4.0]})
        ['hidden/bias', 'hidden/kernel', 'scales/0', 'scales/1']
    """
    return list(flatten(tree))


def flatten(tree: PyTree) -> dict[str, Any]:
    """Turn a tree into one flat dict from paths to leaves.

    Args:
        tree: Any pytree.

    Returns:
        A dict from each path, as :func:`paths` writes it, to the leaf there.

    Raises:
        ArgumentError: If two leaves have the same path, as in ``{"a/b": x, "a": {"b": y}}``.

    Example:
        >>> flatten({"hidden": {"kernel": 1.0, "bias": 2.0}})
        {'hidden/bias': 2.0, 'hidden/kernel': 1.0}
    """
    leaves: dict[str, Any] = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree):
        path = jax.tree_util.keystr(keys, simple=True, separator="/")
        if path in leaves:
            raise ArgumentError(
                f"flatten: two leaves have the path {path!r}; rename a key that has a slash in it."
            )
        leaves[path] = leaf
    return leaves


def unflatten(leaves: Mapping[str, Any], like: PyTree = None) -> PyTree:
    """Rebuild a tree from the flat dict that :func:`flatten` made of it.

    Args:
        leaves: A dict from paths to leaves.
        like: A tree of the wanted structure. Without it the result is made of nested dicts alone,
            as parameters are; empty containers, lists and tuples then do not come back.

    Returns:
        The tree. Shapes and dtypes are those of ``leaves``.

    Raises:
        ShapeError: If ``leaves`` lacks a path of ``like`` or has one that ``like`` lacks.
        ArgumentError: If one path leads through another, as ``"a"`` and ``"a/b"`` do.

    Example:
        >>> unflatten({"hidden/bias": 2.0, "hidden/kernel": 1.0})
        {'hidden': {'bias': 2.0, 'kernel': 1.0}}
    """
    if like is not None:
        wanted = paths(like)
        _check_paths("unflatten", wanted, list(leaves), "like", "leaves")
        return jax.tree.unflatten(jax.tree.structure(like), [leaves[path] for path in wanted])
    if list(leaves) == [""]:
        return leaves[""]
    root: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *parents, name = path.split("/")
        node = root
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ArgumentError(f"unflatten: {path!r} leads through another leaf.")
        if name in node:
            raise ArgumentError(f"unflatten: {path!r} is a leaf and a branch, or stands twice.")
        node[name] = leaf
    return root


def check_same(name: str, expected: PyTree, given: PyTree) -> None:
    """Raise an error unless two trees have the same structure and the same shapes.

    Args:
        name: The function on whose behalf the trees are compared, for the message.
        expected: The first tree, of arrays or ShapeDtypeStructs.
        given: The second tree.

    Raises:
        ShapeError: If a path stands in only one of them, if the containers differ, or if the
            shapes at a path differ. The message names the paths.

    Example:
        >>> import jax.numpy as jnp
        >>> check_same("f", {"kernel": jnp.ones(2)}, {"kernel": jnp.ones(3)})
        Traceback (most recent call last):
            ...
        funcnet.errors.ShapeError: f: the leaf 'kernel' has shape (2,) in the first tree and ...
    """
    _check_paths(name, paths(expected), paths(given), "the first tree", "the second tree")
    first, second = jax.tree.structure(expected), jax.tree.structure(given)
    if first != second:  # type: ignore[operator]
        raise ShapeError(f"{name}: the trees are made of different containers: {first}, {second}.")
    leaves = zip(paths(expected), jax.tree.leaves(expected), jax.tree.leaves(given), strict=True)
    for path, one, other in leaves:
        if np.shape(one) != np.shape(other):
            raise ShapeError(
                f"{name}: the leaf {path!r} has shape {np.shape(one)} in the first tree and "
                f"{np.shape(other)} in the second; they must be equal."
            )


def add(x: PyTree, y: PyTree) -> PyTree:
    """Add two trees leaf by leaf.

    Args:
        x: A tree of arrays.
        y: A tree of the same structure and shapes.

    Returns:
        The tree of ``x + y``.

    Raises:
        ShapeError: If the structures or the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> add({"a": jnp.array([1.0, 2.0])}, {"a": jnp.ones(2)})
        {'a': Array([2., 3.], dtype=float32)}
    """
    check_same("add", x, y)
    return jax.tree.map(jnp.add, x, y)


def subtract(x: PyTree, y: PyTree) -> PyTree:
    """Subtract the second tree from the first, leaf by leaf.

    Args:
        x: A tree of arrays.
        y: A tree of the same structure and shapes.

    Returns:
        The tree of ``x - y``.

    Raises:
        ShapeError: If the structures or the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> subtract({"a": jnp.array([1.0, 2.0])}, {"a": jnp.ones(2)})
        {'a': Array([0., 1.], dtype=float32)}
    """
    check_same("subtract", x, y)
    return jax.tree.map(jnp.subtract, x, y)


def scale(factor: ArrayLike, x: PyTree) -> PyTree:
    """Multiply every leaf of a tree by one number.

    Args:
        factor: A number or an array of shape ``()``. It is converted to the dtype of each leaf.
        x: A tree of floating-point or complex arrays.

    Returns:
        The tree of ``factor * x``, with the dtypes of ``x``.

    Raises:
        DTypeError: If a leaf is of an integer or boolean dtype, which could not hold the product.

    Example:
        >>> import jax.numpy as jnp
        >>> scale(3.0, {"a": jnp.ones(2)})
        {'a': Array([3., 3.], dtype=float32)}
    """
    for path, leaf in flatten(x).items():
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            raise DTypeError(
                f"scale: the leaf {path!r} is of dtype {jnp.result_type(leaf)}; cast the tree to a "
                "floating-point dtype first."
            )
    return jax.tree.map(lambda leaf: leaf * jnp.asarray(factor, jnp.result_type(leaf)), x)


def vdot(x: PyTree, y: PyTree) -> Array:
    """Return the inner product of two trees, ``sum(conj(x) * y)`` over all leaves and entries.

    Products of half-precision leaves are summed in float32. Leaves of dtype float0, which are the
    tangents of integers, have nothing in them and are left out.

    Args:
        x: A tree of arrays, conjugated if complex.
        y: A tree of the same structure and shapes.

    Returns:
        An array of shape ``()``, of the widest dtype among the leaves and at least float32.

    Raises:
        ShapeError: If the structures or the shapes differ.

    Example:
        >>> float(vdot({"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([3.0, 4.0])}))
        11.0
    """
    check_same("vdot", x, y)
    pairs = [
        pair
        for pair in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True)
        if jax.dtypes.float0 not in map(jnp.result_type, pair)
    ]
    dtype = _sum_dtype([leaf for pair in pairs for leaf in pair])
    terms = [jnp.vdot(jnp.asarray(a, dtype), jnp.asarray(b, dtype)) for a, b in pairs]
    return sum(terms, start=jnp.zeros((), dtype))


def norm(x: PyTree) -> Array:
    """Return the Euclidean length of a tree taken as one vector, ``sqrt(sum(abs(x) ** 2))``.

    Args:
        x: A tree of arrays.

    Returns:
        A real array of shape ``()``, at least float32.

    Example:
        >>> float(norm({"w": jnp.array([3.0, 0.0]), "b": jnp.array(4.0)}))
        5.0
    """
    return jnp.sqrt(jnp.real(vdot(x, x)))


def zeros_like(x: PyTree) -> PyTree:
    """Return a tree of zeros.

    Args:
        x: A tree of arrays or ShapeDtypeStructs.

    Returns:
        A tree of the same structure, shapes and dtypes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> zeros_like({"a": jax.ShapeDtypeStruct((2,), jnp.float32)})
        {'a': Array([0., 0.], dtype=float32)}
    """
    return jax.tree.map(jnp.zeros_like, x)


def normal_like(key: Key, x: PyTree) -> PyTree:
    """Return a tree of standard normal numbers, to be used as a tangent or a cotangent.

    Args:
        key: The random key.
        x: A tree of floating-point or complex arrays or ShapeDtypeStructs.

    Returns:
        A tree of the same structure, shapes and dtypes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> tangent = normal_like(jax.random.key(0), {"a": jnp.zeros(2), "b": jnp.zeros((3, 1))})
        >>> jax.tree.map(jnp.shape, tangent)
        {'a': (2,), 'b': (3, 1)}
    """
    leaves, treedef = jax.tree.flatten(x)
    keys = jax.random.split(key, max(1, len(leaves)))
    draws = [
        jax.random.normal(k, np.shape(leaf), jnp.result_type(leaf))
        for k, leaf in zip(keys, leaves, strict=False)
    ]
    return jax.tree.unflatten(treedef, draws)


def cast(x: PyTree, dtype: DTypeLike) -> PyTree:
    """Convert the floating-point leaves of a tree to another dtype.

    Args:
        x: A tree of arrays.
        dtype: The wanted floating-point dtype.

    Returns:
        The tree with its floating-point leaves converted; all other leaves are as they were.

    Example:
        >>> cast({"w": jnp.ones(2), "steps": jnp.array(3)}, jnp.bfloat16)["w"].dtype
        dtype(bfloat16)
    """

    def convert(leaf: Array) -> Array:
        floating = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        return jnp.asarray(leaf, dtype) if floating else leaf

    return jax.tree.map(convert, x)


def size(x: PyTree) -> int:
    """Count the numbers in a tree: of parameters, this is the number of parameters.

    Args:
        x: A tree of arrays or ShapeDtypeStructs.

    Returns:
        The sum of the sizes of the leaves.

    Example:
        >>> size({"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)})
        16
    """
    return sum(math.prod(np.shape(leaf)) for leaf in jax.tree.leaves(x))


def nbytes(x: PyTree) -> int:
    """Add up the memory that the leaves of a tree take.

    Args:
        x: A tree of arrays or ShapeDtypeStructs.

    Returns:
        The number of bytes.

    Example:
        >>> nbytes({"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4, jnp.bfloat16)})
        56
    """
    return sum(
        math.prod(np.shape(leaf)) * jnp.result_type(leaf).itemsize for leaf in jax.tree.leaves(x)
    )


def _sum_dtype(leaves: Sequence[Any]) -> Any:
    # The mix of dtypes is meant, so it may not be an error under strict promotion.
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(jnp.float32, *map(jnp.result_type, leaves))


def _check_paths(
    name: str, wanted: list[str], given: list[str], wanted_name: str, given_name: str
) -> None:
    missing = [path for path in wanted if path not in given]
    surplus = [path for path in given if path not in wanted]
    if missing or surplus:
        parts = [
            f"{', '.join(map(repr, only))} only in {where}"
            for only, where in ((missing, wanted_name), (surplus, given_name))
            if only
        ]
        raise ShapeError(f"{name}: the structures differ: {'; '.join(parts)}.")
