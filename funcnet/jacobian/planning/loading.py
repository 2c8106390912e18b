"""Plans that were made before, for a function that is there again."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax

from funcnet.errors import ArgumentError, ShapeError
from funcnet.jacobian.elimination.compression import Colorist
from funcnet.jacobian.planning.options import Options
from funcnet.jacobian.planning.plan import Plan
from funcnet.jacobian.planning.planned import Planned
from funcnet.jacobian.planning.saving import read_plan

__all__ = ["load_plan"]


def load_plan(path: str | os.PathLike[str], f: Callable[..., Any], *args: Any) -> Plan:
    """Make a plan again that was saved with ``plan.save(path)``, without deciding anything again.

    Nothing is priced, and no pattern is looked for or coloured: that is what takes long. The
    function is linearised, and has to be the one that the plan was made for.

    Args:
        path: The file.
        f: The function: for a plan of a Hessian, the scalar one.
        *args: Its arguments: arrays, or ShapeDtypeStructs, for only shapes matter. For a plan made
            with ``at_value=True``, arrays with the same zeros.

    Returns:
        A plan that computes what the saved one did.

    Raises:
        ShapeError: If the plan was made for arguments of other shapes or dtypes.
        ArgumentError: If the file holds no plan, one of another version, one of another function,
            or one for other zeros.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> from funcnet.jacobian import plan_jacobian
        >>> f = lambda x: x * jnp.roll(x, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plan_jacobian(f, jnp.ones(6), mode="compressed").save(f"{folder}/plan")
        ...     plan = load_plan(f"{folder}/plan", f, jnp.ones(6))
        >>> plan.mode, plan.chosen.passes
        ('compressed', 2)
    """
    saved = read_plan("load_plan", path)
    header, colorist = saved.header, Colorist()
    if saved.pattern is not None and saved.coloring is not None:
        colorist.learn(*saved.pattern, saved.coloring)
    argnums, has_aux = header["argnums"], header["has_aux"]
    planned = Planned(
        "load_plan",
        jax.grad(f, argnums, has_aux=has_aux) if header["hessian"] else f,
        argnums,
        Options(
            header["mode"],
            header["output"],
            header["order"],
            saved.pattern,
            check_pattern=header["check_pattern"],
            at_value=header["at_value"] is not None,
            has_aux=has_aux,
            max_bytes=header["max_bytes"],
        ),
        potential=f if header["hessian"] else None,
        colorist=colorist,
    )
    call = planned.call(args)
    ours, theirs = call.recorded(), header["signature"]
    if ours != theirs:
        what = next(key for key in ours if ours[key] != theirs[key])
        raise ShapeError(
            f"load_plan: {os.fspath(path)!r} was made for arguments with {what} {theirs[what]}, "
            f"and these have {ours[what]}. Give arguments like those, or make another plan."
        )
    plan = planned.plan_of(call)
    recorded = plan.record()
    if recorded["at_value"] != header["at_value"]:
        raise ArgumentError(
            f"load_plan: {os.fspath(path)!r} was made with at_value=True for numbers that have "
            "zeros at other places, or take other branches. Make another plan for these."
        )
    if recorded["program"] != header["program"]:
        raise ArgumentError(
            f"load_plan: {os.fspath(path)!r} was made for another function, or for one that this "
            "version of JAX linearises in another way. Make the plan again."
        )
    return plan
