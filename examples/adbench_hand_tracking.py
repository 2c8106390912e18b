"""ADBench's hand tracking: a skeleton bends, its skin follows, measured points pull at the skin.

The 26 numbers of theta are a rotation of the hand, a translation, and four angles for each of five
fingers: two at its second bone, and one at each of the two after it. With A_b the place of bone b,
the product of places and turns along the skeleton, and B_b the same at rest, a vertex at rest v
moves, by linear blend skinning with weights w_b, to

    R sum_b w_b(v) A_b B_b^-1 v + t.

Simple: the residuals are each measured point minus one vertex. Complicated: minus a point of a
triangle, whose two coordinates u are unknown too. So the Jacobian has 26 columns of theta, and a
block of 3 x 2 for each of p points: 26 + 2 directions are enough to find its 26 + 2 p columns.

The problem is from F. Srajer, Z. Kukelova and A. Fitzgibbon, "A benchmark of selected algorithmic
differentiation tools on some problems in computer vision and machine learning" (2018), arXiv
1807.10129; here, skin and skeleton are generated.

Run it with ``python examples/adbench_hand_tracking.py --size big``.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.jacobian import jacobian
from funcnet.report import Table

SIZES = {"small": (4, 10), "medium": (12, 100), "big": (25, 1000)}  # vertices of a bone, points
# A wrist, four bones for each finger, a forearm.
PARENTS = [-1, *(4 * f + j if j else 0 for f in range(5) for j in range(4)), 0]
BENDING = np.array([[4 * f + j for j in (2, 3, 4)] for f in range(5)])


class Hand(NamedTuple):
    """A skeleton and its skin."""

    places: np.ndarray  # of bones, relative to their parents (bones, 4, 4)
    at_rest: np.ndarray  # the inverses of their places in space (bones, 4, 4)
    vertices: np.ndarray  # with a last coordinate of 1 (vertices, 4)
    weights: np.ndarray  # (bones, vertices)
    triangles: np.ndarray  # three vertices each


def rotation_matrix(r):
    """Rodrigues' formula, smooth at a rotation by nothing too."""
    square = jnp.sum(r**2)
    angle = jnp.sqrt(jnp.where(square == 0, 1, square))
    sine = jnp.where(square == 0, 1, jnp.sin(angle) / angle)
    versine = jnp.where(square == 0, 0.5, (1 - jnp.cos(angle)) / angle**2)
    cross = jnp.cross(jnp.eye(3, dtype=r.dtype), r[None])
    return jnp.eye(3, dtype=r.dtype) + sine * cross + versine * (cross @ cross)


def moved_vertices(theta, hand):
    fingers = theta[6:].reshape(5, 4)
    still = jnp.zeros(len(PARENTS), theta.dtype)
    x = still.at[BENDING].set(fingers[:, np.array([0, 2, 3])])
    z = still.at[BENDING[:, 0]].set(fingers[:, 1])
    one = still + 1
    turns = [
        [jnp.cos(z), -jnp.sin(z) * jnp.cos(x), jnp.sin(z) * jnp.sin(x), still],
        [jnp.sin(z), jnp.cos(z) * jnp.cos(x), -jnp.cos(z) * jnp.sin(x), still],
        [still, jnp.sin(x), jnp.cos(x), still],
        [still, still, still, one],
    ]
    relative = hand.places @ jnp.stack([jnp.stack(row, axis=-1) for row in turns], axis=1)
    absolute = [relative[0]]
    for bone, parent in enumerate(PARENTS[1:], start=1):
        absolute.append(absolute[parent] @ relative[bone])
    transforms = (jnp.stack(absolute) @ hand.at_rest)[:, :3]
    skin = jnp.einsum("bij,vj,bv->vi", transforms, hand.vertices, hand.weights)
    return skin @ rotation_matrix(theta[:3]).T + theta[None, 3:6]


def simple(theta, hand, chosen, points):
    return (points - moved_vertices(theta, hand)[chosen]).ravel()


def complicated(params, hand, chosen, points):
    """As ADBench has it, the coordinates u come first."""
    u = params[:-26].reshape(-1, 2)
    coordinates = jnp.concatenate([u, 1 - u.sum(axis=1, keepdims=True)], axis=1)
    corners = moved_vertices(params[-26:], hand)[hand.triangles[chosen]]
    return (points - jnp.einsum("pc,pci->pi", coordinates, corners)).ravel()


def inputs(size, seed=0):
    """Unknowns, a hand, the triangle (or vertex) of each measured point, and the points."""
    around, count = SIZES[size]
    rng, bones = np.random.default_rng(seed), len(PARENTS)
    places = np.tile(np.eye(4), (bones, 1, 1))
    places[1:, :3, 3] = rng.normal(size=(bones - 1, 3)) / 5 + np.array([0, 1, 0])
    rest = {-1: np.eye(4)}
    for bone, parent in enumerate(PARENTS):
        rest[bone] = rest[parent] @ places[bone]
    absolute = np.stack([rest[bone] for bone in range(bones)])
    owner = np.repeat(np.arange(bones), around)  # the bone of each vertex
    ring = np.concatenate([rng.normal(size=(bones * around, 3)) / 4, np.ones((len(owner), 1))], 1)
    vertices = np.einsum("vij,vj->vi", absolute[owner], ring)
    share = rng.uniform(0.5, 1, size=len(owner))  # the rest is the parent's
    weights = np.zeros((bones, len(owner)))
    np.add.at(weights, (owner, np.arange(len(owner))), share)
    np.add.at(weights, (np.array(PARENTS)[owner].clip(0), np.arange(len(owner))), 1 - share)
    within = np.arange(around)[:, None] + np.arange(3)
    triangles = (around * np.arange(bones)[:, None, None] + within % around).reshape(-1, 3)
    hand = Hand(places, np.linalg.inv(absolute), vertices, weights, triangles)
    chosen = rng.integers(len(triangles), size=count)
    points = vertices[chosen, :3] + rng.normal(size=(count, 3)) / 10
    unknowns = np.concatenate([rng.uniform(size=2 * count) / 2, rng.normal(size=26) / 3])
    return unknowns, hand, chosen, points


def main(size="small"):
    rows = []
    with jax.enable_x64(True):  # for differences to say something
        unknowns, hand, chosen, points = inputs(size)
        for f, x in ((simple, unknowns[-26:]), (complicated, unknowns)):

            def residuals(x, f=f):
                return f(x, hand, chosen, points)

            matrix = jacobian(residuals, output="csr")(jnp.asarray(x))
            direction = np.random.default_rng(1).normal(size=x.shape)
            ahead, behind = residuals(x + 1e-6 * direction), residuals(x - 1e-6 * direction)
            difference = np.abs(matrix @ direction - (ahead - behind) / 2e-6).max()
            rows.append((f.__name__, *matrix.shape, matrix.nnz, float(difference)))

    print(f"{len(PARENTS)} bones, {len(hand.vertices)} vertices, {len(points)} measured points\n")
    columns = ["objective", "residuals", "unknowns", "nonzeros", "against differences"]
    print(Table(columns, rows))
    return {name: difference for name, *_, difference in rows}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    main(parser.parse_args().size)
