"""Sparse Hessians from fewer products: an entry above the diagonal is also one below it.

See a symmetric pattern as a graph, with an edge between i and k for each pair of entries away from
the diagonal, and colour its vertices so that neighbours differ. The product with the seed of colour
c has at i the sum of ``H[i, k]`` over the neighbours k of i with that colour, that is, over the
edges at i between two colours, c and that of i. Now take all edges between two colours:

* if they form stars, that is, if no path of four vertices has two colours, then each edge has an
  end where it is the whole sum, and is read there (a star colouring);
* if they form trees, that is, if no cycle has two colours, then the edges at the leaves are read
  there, are subtracted from the sums further in, and so on up to a root (an acyclic colouring).
  This takes fewer colours yet, but errors of rounding add up along the paths.

Both are found by first fit, with the colours near each vertex as the bits of an integer, so that a
turn costs a few operations per edge, as in :mod:`funcnet.jacobian.coloring.first_fit`.

References:
    Coleman and Moré 1984, Estimation of sparse Hessian matrices and graph coloring problems.
    Coleman and Cai 1986, The cyclic coloring problem and estimation of sparse Hessian matrices.
    Gebremedhin, Tarafdar, Manne and Pothen 2007, New acyclic and star coloring algorithms with
    application to computing Hessians.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias, get_args

import numpy as np

from funcnet.errors import ArgumentError
from funcnet.jacobian.coloring.first_fit import count_colors, entries, lists
from funcnet.jacobian.coloring.one_sided import Coloring, Substitution, check_pattern, narrow, place

__all__ = ["SymmetricOrder", "color_acyclic", "color_star"]

SymmetricOrder: TypeAlias = Literal["natural", "largest_first", "random"]
"""Which vertex has its turn first."""

_Method: TypeAlias = Callable[[list[list[int]], Iterable[int]], list[int]]
"""Neighbours of each vertex and the order of turns, to the colours."""

_MANY = 2**18
"""With more edges than this, only one order is tried."""


def color_star(
    rows: np.ndarray, cols: np.ndarray, n: int, *, order: SymmetricOrder | None = None
) -> Coloring:
    """Colour the columns of a symmetric pattern so that each entry stands alone in a product.

    Args:
        rows: The row of each entry that can differ from 0; of each pair of entries that mirror one
            another, one is enough.
        cols: Its column.
        n: The number of rows and columns.
        order: Who comes first: ``"natural"``, as numbered; ``"largest_first"``, who has most
            neighbours; ``"random"``, seeded. None tries all three and keeps the best.

    Returns:
        The colouring, the same for the same arguments.

    Raises:
        ShapeError: `rows` and `cols` are not two vectors of one length.
        DTypeError: They do not hold integers.
        ArgumentError: An index lies outside of the shape, or the order is unknown.

    Example:
        >>> i = np.arange(1000)
        >>> arrowhead = np.append(i, i), np.append(i, np.zeros(1000, int))
        >>> color_star(*arrowhead, 1000).count
        2
    """
    rows, cols, _ = check_pattern("color_star", rows, cols, (n, n))
    graph = _Graph(rows, cols, n)
    colors = graph.fewest("color_star", _star_colors, order)
    return _coloring("star", colors, graph.gathered(rows, cols, colors))


def color_acyclic(
    rows: np.ndarray, cols: np.ndarray, n: int, *, order: SymmetricOrder | None = None
) -> Coloring:
    """Colour the columns of a symmetric pattern so that each entry follows from those before it.

    Args:
        rows: The row of each entry that can differ from 0; of each pair of entries that mirror one
            another, one is enough.
        cols: Its column.
        n: The number of rows and columns.
        order: Who comes first: ``"natural"``, as numbered; ``"largest_first"``, who has most
            neighbours; ``"random"``, seeded. None tries all three and keeps the best.

    Returns:
        The colouring, with a substitution; the same for the same arguments.

    Raises:
        ShapeError: `rows` and `cols` are not two vectors of one length.
        DTypeError: They do not hold integers.
        ArgumentError: An index lies outside of the shape, or the order is unknown.

    Example:
        Of a tridiagonal matrix two products are enough, where a star colouring takes three.

        >>> i = np.arange(999)
        >>> color_acyclic(i, i + 1, 1000).count, color_star(i, i + 1, 1000).count
        (2, 3)
    """
    rows, cols, _ = check_pattern("color_acyclic", rows, cols, (n, n))
    graph = _Graph(rows, cols, n)
    colors = graph.fewest("color_acyclic", _acyclic_colors, order)
    substitution, gather = graph.substituted(rows, cols, colors)
    return _coloring("acyclic", colors, gather, substitution)


class _Graph:
    """A symmetric pattern as a graph.

    Attributes:
        n: The number of vertices.
        low: The end of each edge with the smaller number.
        high: The other end; edges are sorted by both.
        used: Which vertices have entries, be it on the diagonal.
        neighbors: The neighbours of each vertex.
    """

    def __init__(self, rows: np.ndarray, cols: np.ndarray, n: int) -> None:
        self.n = n
        self.used = np.zeros(n, bool)
        self.used[rows] = self.used[cols] = True
        away = rows != cols
        rows, cols = rows[away], cols[away]
        self.low, self.high = entries(np.minimum(rows, cols), np.maximum(rows, cols), n)
        ends = np.append(self.low, self.high), np.append(self.high, self.low)
        self.neighbors = lists(*entries(*ends, n), n)

    @property
    def bound(self) -> int:
        """No acyclic colouring has fewer colours.

        In a forest there are fewer edges than vertices. With k colours there are ``k (k - 1) / 2``
        forests, and each vertex is in k - 1 of them: ``(k - 1) (n - k / 2)`` edges at most.
        """
        vertices, colors = int(self.used.sum()), min(self.n, 1)
        while (colors - 1) * (2 * vertices - colors) < 2 * len(self.low):
            colors += 1
        return colors

    def fewest(self, function: str, color: _Method, order: SymmetricOrder | None) -> np.ndarray:
        """The colours by one order, or the fewest by several; -1 for what is not used."""
        if order is not None and order not in get_args(SymmetricOrder):
            raise ArgumentError(
                f"{function}: order is {order!r}; give None or one of "
                f"{', '.join(get_args(SymmetricOrder))}"
            )
        tried: tuple[str, ...] = get_args(SymmetricOrder) if order is None else (order,)
        if len(self.low) > _MANY:
            tried = tried[:1]
        bound = self.bound
        best = (np.cumsum(self.used) - 1).astype(np.int32)  # a colour each, all that fits if dense
        for candidate in tried:
            if count_colors(best) <= bound:
                break
            colors = np.array(color(self.neighbors, self.turns(candidate)), np.int32)
            if count_colors(colors) < count_colors(best):
                best = colors
        return np.where(self.used, best, np.int32(-1))

    def turns(self, order: str) -> Iterable[int]:
        """The vertices in the order in which they are coloured."""
        if order == "natural":
            return range(self.n)
        if order == "random":
            return np.random.default_rng(0).permutation(self.n).tolist()
        degree = np.array([len(near) for near in self.neighbors])
        return np.argsort(-degree, kind="stable").tolist()

    def gathered(self, rows: np.ndarray, cols: np.ndarray, colors: np.ndarray) -> np.ndarray:
        """Where entries stand in the products, each at an end of its edge where it is alone."""
        count = count_colors(colors)
        sums = np.append(self.low, self.high) * count + colors[np.append(self.high, self.low)]
        keys, terms = np.unique(sums, return_counts=True)
        alone = ~np.isin(rows * count + colors[cols], keys[terms > 1])
        return np.where(alone, place(colors[cols], rows, self.n), place(colors[rows], cols, self.n))

    def substituted(
        self, rows: np.ndarray, cols: np.ndarray, colors: np.ndarray
    ) -> tuple[Substitution, np.ndarray]:
        """How edges follow from one another, and which unknown is which entry.

        The unknowns are the edges, in their order, followed by the diagonal.
        """
        count, edges = count_colors(colors), len(self.low)
        sums = np.append(self.low, self.high) * count + colors[np.append(self.high, self.low)]
        keys, nodes = np.unique(sums, return_inverse=True)
        solved_at, parent = _rooted(nodes[:edges], nodes[edges:], len(keys))
        vertex, color = np.divmod(keys[solved_at], max(count, 1))
        diagonal = np.flatnonzero(self.used)
        index = np.append(place(color, vertex, self.n), place(colors[diagonal], diagonal, self.n))
        # To solve (1 + A) x = b, where A adds each edge to its parent: the inverse is
        # 1 - A + A^2 - A^3 ... = (1 - A) (1 + A^2) (1 + A^4) ..., and powers of A lead to parents
        # of parents. So a tree of depth d takes log2(d) steps.
        steps = []
        while (parent >= 0).any():
            source = np.flatnonzero(parent >= 0)
            steps.append((narrow(source), narrow(parent[source])))
            parent = np.where(parent >= 0, parent[parent], -1)
        edge = np.searchsorted(
            self.low * self.n + self.high, np.minimum(rows, cols) * self.n + np.maximum(rows, cols)
        )
        gather = np.where(rows == cols, edges + np.searchsorted(diagonal, rows), edge)
        return Substitution(narrow(index), tuple(steps)), gather


def _rooted(a: np.ndarray, b: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Turn the edges of a forest towards roots, by taking away its leaves until none is left.

    Args:
        a: One end of each edge.
        b: The other end.
        nodes: The number of nodes.

    Returns:
        The lower end of each edge, at which it is solved, and the edge above, -1 at a root.
    """
    other = (a ^ b).tolist()
    degree = np.bincount(np.append(a, b), minlength=nodes).tolist()
    # The exclusive or of the edges at a node: of a leaf, its only edge.
    links = [0] * nodes
    for edge, ends in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        for end in ends:
            links[end] ^= edge
    lower = [0] * len(other)
    leaves = [node for node in range(nodes) if degree[node] == 1]
    for leaf in leaves:
        if degree[leaf] == 1:  # not the root, which has lost its last edge
            edge = links[leaf]
            lower[edge] = leaf
            upper = other[edge] ^ leaf
            links[upper] ^= edge
            degree[upper] -= 1
            if degree[upper] == 1:
                leaves.append(upper)
    solved_at = np.array(lower, np.int64)
    edge_above = np.full(nodes, -1)
    edge_above[solved_at] = np.arange(len(other))
    return solved_at, edge_above[(a ^ b) ^ solved_at]


def _star_colors(neighbors: list[list[int]], turns: Iterable[int]) -> list[int]:
    """The colours of a star colouring.

    A vertex with two neighbours of one colour is the hub of a star. The vertex v whose turn it is
    must not close a path of four vertices with two colours, of which it would be an end, ``v - w -
    hub - x`` with w and x alike, or the second, ``w - v - w' - x`` with w and w' alike.
    """
    n = len(neighbors)
    colors, bits, near, hubs = [-1] * n, [0] * n, [0] * n, [0] * n
    first: list[dict[int, int]] = [{} for _ in range(n)]
    for vertex in turns:
        seen = twice = taken = 0
        for other in neighbors[vertex]:
            twice |= seen & bits[other]
            seen |= bits[other]
            taken |= hubs[other]
        taken |= seen
        if twice:
            for other in neighbors[vertex]:
                if bits[other] & twice:
                    taken |= near[other]
        bit = bits[vertex] = ~taken & (taken + 1)  # the lowest 0
        color = colors[vertex] = bit.bit_length() - 1
        for other in neighbors[vertex]:
            if bits[other] & twice:
                hubs[other] |= bit
            if not near[other] & bit:
                near[other] |= bit
                first[other][color] = vertex
            elif bits[other]:  # it has become a hub, or is one already
                hubs[vertex] |= bits[other]
                hubs[first[other][color]] |= bits[other]
    return colors


def _acyclic_colors(neighbors: list[list[int]], turns: Iterable[int]) -> list[int]:
    """The colours of an acyclic colouring.

    A vertex closes a cycle if two of its neighbours, of one colour, are in one tree of that colour
    and its own. Trees are kept as disjoint sets; the node of a vertex in the tree that it forms
    with another colour is ``tree[vertex][color]``.
    """
    n = len(neighbors)
    colors, bits, near = [-1] * n, [0] * n, [0] * n
    tree: list[dict[int, int]] = [{} for _ in range(n)]
    parent: list[int] = []

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for vertex in turns:
        seen = twice = 0
        for other in neighbors[vertex]:
            twice |= seen & bits[other]
            seen |= bits[other]
        alike = [other for other in neighbors[vertex] if bits[other] & twice] if twice else []
        taken = seen
        while True:
            bit = ~taken & (taken + 1)
            color = bit.bit_length() - 1
            roots = [root(tree[other][color]) for other in alike if near[other] & bit]
            if len(roots) == len(set(roots)):
                break
            taken |= bit
        colors[vertex], bits[vertex] = color, bit
        for other in neighbors[vertex]:
            near[other] |= bit
            if bits[other]:
                mine = tree[vertex].setdefault(colors[other], len(parent))
                if mine == len(parent):
                    parent.append(mine)
                parent[root(tree[other].setdefault(color, mine))] = root(mine)
    return colors


def _coloring(
    kind: Literal["star", "acyclic"],
    colors: np.ndarray,
    gather: np.ndarray,
    substitution: Substitution | None = None,
) -> Coloring:
    n = len(colors)
    return Coloring(
        kind=kind,
        shape=(n, n),
        column_colors=colors,
        row_colors=np.full(n, -1, np.int32),
        jvps=count_colors(colors),
        vjps=0,
        gather=narrow(gather),
        substitution=substitution,
    )
