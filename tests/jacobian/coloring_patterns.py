"""Sparsity patterns, and products that the colourings of them are tested with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from funcnet.jacobian.coloring.one_sided import Coloring


class Pattern(NamedTuple):
    """Rows and columns of entries, and the shape."""

    rows: np.ndarray
    cols: np.ndarray
    shape: tuple[int, int]

    @property
    def dense(self) -> np.ndarray:
        dense = np.zeros(self.shape, bool)
        dense[self.rows, self.cols] = True
        return dense

    @property
    def transposed(self) -> Pattern:
        return Pattern(self.cols, self.rows, self.shape[::-1])


def of(dense: Any) -> Pattern:
    rows, cols = np.nonzero(dense)
    return Pattern(rows, cols, np.shape(dense))


def scattered(m: int, n: int, density: float, seed: int) -> Pattern:
    return of(np.random.default_rng(seed).random((m, n)) < density)


def band(n: int, below: int, above: int) -> Pattern:
    i, j = np.indices((n, n))
    return of((i - j <= below) & (j - i <= above))


def arrowhead(n: int) -> Pattern:
    i, zero = np.arange(n), np.zeros(n, int)
    return Pattern(np.concatenate([i, i, zero]), np.concatenate([i, zero, i]), (n, n))


def brusselator(n: int) -> Pattern:
    """Two species on a periodic grid, n x n: a stencil of five points, and the other species."""
    i, j, species = (index.ravel() for index in np.indices((n, n, 2)))
    near = [(i, j, species), (i, j, 1 - species)]
    near += [(i + a, j + b, species) for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    here, *_ = points = [(a % n * n + b % n) * 2 + c for a, b, c in near]
    return Pattern(np.tile(here, len(points)), np.concatenate(points), (2 * n * n, 2 * n * n))


def bundle(observations: int, cameras: int, points: int) -> Pattern:
    """The pattern of ADBench's bundle adjustment, with made-up observations."""
    generator = np.random.default_rng(0)
    each = np.arange(observations)[:, None]
    camera = generator.integers(0, cameras, (observations, 1)) * 11 + np.arange(11)
    point = generator.integers(0, points, (observations, 1)) * 3 + np.arange(3) + 11 * cameras
    weight = each + 11 * cameras + 3 * points
    # Neither coordinate of the image depends on the other's principal point.
    cols = [
        np.concatenate([np.delete(camera, dead, axis=1), point, weight], axis=1) for dead in (8, 7)
    ]
    rows = [np.broadcast_to(2 * each + k, cols[k].shape) for k in (0, 1)]
    rows.append(2 * observations + each)
    cols.append(weight)
    return Pattern(
        np.concatenate([r.ravel() for r in rows]),
        np.concatenate([c.ravel() for c in cols]),
        (3 * observations, 11 * cameras + 3 * points + observations),
    )


def doubled(pattern: Pattern) -> Pattern:
    """The same pattern, out of order and with some entries given again."""
    generator = np.random.default_rng(1)
    entry = generator.integers(0, len(pattern.rows), len(pattern.rows))
    entry = generator.permutation(np.append(np.arange(len(pattern.rows)), entry))
    return Pattern(pattern.rows[entry].astype(np.int32), pattern.cols[entry], pattern.shape)


_none = np.zeros(0, int)

patterns: dict[str, Pattern] = {
    "nothing at all": Pattern(_none, _none, (0, 0)),
    "no rows": Pattern(_none, _none, (0, 4)),
    "no columns": Pattern(_none, _none, (4, 0)),
    "no entries": Pattern(_none, _none, (3, 5)),
    "one empty": Pattern(_none, _none, (1, 1)),
    "one": of([[1]]),
    "one row": of(np.ones((1, 7))),
    "one column": of(np.ones((7, 1))),
    "some empty": of([[0, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]),
    "diagonal": of(np.eye(9)),
    "full": of(np.ones((6, 8))),
    "blocks": of(np.kron(np.eye(5), np.ones((3, 4)))),
    "band": band(20, 1, 2),
    "arrowhead": arrowhead(30),
    "two borders": of((np.add(*np.indices((25, 25))) == 24) | (np.indices((25, 25)) > 22).any(0)),
    "wide and tall": of(np.hstack([np.ones((20, 1)), np.kron(np.eye(20), np.ones(10))])),
    "brusselator": brusselator(6),
    "bundle": bundle(60, 3, 12),
    "sparse": scattered(40, 30, 0.06, 0),
    "denser": scattered(30, 40, 0.2, 1),
    "doubled": doubled(scattered(25, 25, 0.1, 2)),
}


def symmetric(pattern: Pattern) -> Pattern:
    dense = pattern.dense
    return of(dense | dense.T)


symmetric_patterns: dict[str, Pattern] = {
    name: symmetric(pattern)
    for name, pattern in patterns.items()
    if pattern.shape[0] == pattern.shape[1] and len(pattern.rows)
} | {
    "nothing at all": patterns["nothing at all"],
    "no entries": Pattern(_none, _none, (5, 5)),
    "full square": of(np.ones((7, 7))),
    "some empty": Pattern(np.array([1, 1, 4]), np.array([1, 4, 1]), (6, 6)),
    "no diagonal": symmetric(of(np.triu(scattered(20, 20, 0.15, 3).dense, 1))),
    "ring": symmetric(of(np.roll(np.eye(11), 1, axis=1))),
    "path": symmetric(of(np.eye(40, k=1))),
    "tree": symmetric(Pattern(np.arange(1, 40), (np.arange(1, 40) - 1) // 3, (40, 40))),
    "random tree": symmetric(
        Pattern(
            np.arange(1, 50),
            (np.random.default_rng(4).random(49) * np.arange(1, 50)).astype(int),
            (50, 50),
        )
    ),
    "lower half": of(np.tril(symmetric(scattered(25, 25, 0.08, 5)).dense)),
    "doubled": doubled(symmetric(scattered(25, 25, 0.1, 6))),
}


def products(coloring: Coloring, jacobian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the seeds of the colours give: JVPs and VJPs."""
    m, n = jacobian.shape
    jvps, vjps = np.zeros((coloring.jvps, m)), np.zeros((coloring.vjps, n))
    for column, color in enumerate(coloring.column_colors):
        if color >= 0:
            jvps[color] += jacobian[:, column]
    for row, color in enumerate(coloring.row_colors):
        if color >= 0:
            vjps[color] += jacobian[row]
    return jvps, vjps


def random_matrix(pattern: Pattern, *, mirrored: bool = False) -> np.ndarray:
    """Integers, of which sums are exact, where the pattern has entries."""
    matrix = np.random.default_rng(7).integers(1, 2**20, pattern.shape).astype(float)
    matrix *= pattern.dense
    return np.tril(matrix) + np.tril(matrix, -1).T if mirrored else matrix
