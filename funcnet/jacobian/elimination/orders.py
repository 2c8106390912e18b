"""In which order to eliminate the vertices of a graph.

The number of operations depends on the order, and finding the best one is as hard as the hardest
problems there are (Naumann, 2008, Optimal Jacobian accumulation is NP-complete). There are good
rules of thumb, and where the graph is a chain of bottlenecks the best order of *products* is found
exactly, as that of a product of matrices: by splitting the chain at every place and taking the
cheapest, for short pieces first (Griewank & Naumann 2003, Accumulating Jacobians as chained sparse
matrix products).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias, get_args

from funcnet.jacobian.elimination.graph import Edge, EliminationGraph
from funcnet.jacobian.elimination.operation import Operation

__all__ = ["NAMES", "Order", "bottlenecks", "eliminate_in", "multiplications"]

Order: TypeAlias = Literal[
    "forward", "reverse", "markowitz", "markowitz_reverse", "chain", "search"
]
"""From the inputs on; from the outputs back; the cheapest vertex next, ties in either direction;
the cheapest way to multiply the pieces between bottlenecks; what a short search finds."""

NAMES: tuple[Order, ...] = get_args(Order)


def eliminate_in(
    graph: EliminationGraph, order: Order, budget: float = math.inf
) -> EliminationGraph:
    """Eliminate all inner vertices of a copy of a graph.

    Args:
        graph: The graph, which stays as it is.
        order: The name of an order.
        budget: The most pairs of terms that may be multiplied.

    Returns:
        A graph of inputs and outputs alone.

    Raises:
        OverBudgetError: If the order takes more.
    """
    done = graph.copy()
    done.budget = budget
    _ORDERS[order](done)
    return done


def multiplications(graph: EliminationGraph, sequence: Sequence[int]) -> int:
    """How many products of edges a sequence of eliminations takes, whatever the edges are."""
    preds = {v: set(edges) for v, edges in graph.preds.items()}
    succs = {v: set(edges) for v, edges in graph.succs.items()}
    return sum(_fuse(preds, succs, v) for v in sequence)


def _forward(graph: EliminationGraph) -> None:
    for v in graph.inner():
        graph.eliminate(v)


def _reverse(graph: EliminationGraph) -> None:
    for v in reversed(graph.inner()):
        graph.eliminate(v)


def _markowitz(direction: int) -> Callable[[EliminationGraph], None]:
    return lambda graph: _cheapest_first(graph, graph.inner(), direction)


def _cheapest_first(graph: EliminationGraph, among: Sequence[int], direction: int = 1) -> None:
    """Eliminate some vertices, always the one whose elimination is cheapest now."""
    price = {v: _price_of(graph, v) for v in among}
    while price:
        v = min(price, key=lambda u: (price[u], direction * u))
        near = {*graph.preds.get(v, ()), *graph.succs.get(v, ())}
        graph.eliminate(v)
        del price[v]
        price.update({u: _price_of(graph, u) for u in near if u in price})


def _price_of(graph: EliminationGraph, v: int) -> float:
    arriving, leaving = graph.preds.get(v, {}), graph.succs.get(v, {})
    return sum(_price(outer, inner) for inner in arriving.values() for outer in leaving.values())


def _price(outer: Edge, inner: Edge) -> float:
    """About how many products chaining two edges takes."""
    return _price_of_sizes(_piece(outer), _piece(inner))


class _Piece(NamedTuple):
    """A stretch of the graph, as one matrix.

    Attributes:
        rows: The number of rows.
        cols: The number of columns.
        entries: The number of entries.
        pushed: What pushing one column through it takes; 0 for a block.
        pulled: What pulling one row back through it takes; 0 for a block.
        written: What writing it down takes; infinite where that is no better than applying it, 0
            for a closed form.
        price_of_entry: What multiplying one of its entries takes.
    """

    rows: int
    cols: int
    entries: float
    pushed: float = 0.0
    pulled: float = 0.0
    written: float = 0.0
    price_of_entry: float = 1.0


def _piece(edge: Edge) -> _Piece:
    if isinstance(edge, Operation):
        applied = edge.price_pushed, edge.price_pulled
        prices = *applied, edge.price_written, edge.price_of_entry
        return _Piece(*edge.shape, edge.nnz, *prices)
    return _Piece(*edge.shape, edge.nnz)


def _price_of_sizes(outer: _Piece, inner: _Piece) -> float:
    multiplied = outer.entries * inner.entries / max(outer.cols, 1)
    multiplied *= max(outer.price_of_entry, inner.price_of_entry)
    multiplied += outer.written + inner.written
    if outer.pushed and inner.pushed:
        return min(
            multiplied,
            outer.rows * (outer.pulled + inner.pulled),
            inner.cols * (outer.pushed + inner.pushed),
            outer.written + outer.rows * inner.pulled,
            inner.written + inner.cols * outer.pushed,
        )
    if outer.pushed:
        return min(inner.cols * outer.pushed, multiplied)
    if inner.pushed:
        return min(outer.rows * inner.pulled, multiplied)
    return multiplied


# Bottlenecks


def bottlenecks(graph: EliminationGraph) -> list[int]:
    """The vertices that every path from an input to an output passes through, in order."""
    position = {v: i for i, v in enumerate(graph.inner())}
    first, last = -1, len(position)
    spanned = [0] * (len(position) + 1)
    for v, edges in graph.preds.items():
        for u in edges:
            start, end = position.get(u, first), position.get(v, last)
            # An edge from u to v goes around all that stands between them.
            spanned[start + 1] += 1
            spanned[min(end, len(position))] -= 1
    found, around = [], 0
    for v, i in position.items():
        around += spanned[i]
        if around == 0:
            found.append(v)
    return found


def _chain(graph: EliminationGraph) -> None:
    """Multiply the pieces between bottlenecks in the cheapest order."""
    stops = bottlenecks(graph)
    _cheapest_first(graph, [v for v in graph.inner() if v not in set(stops)])
    for v in _best_products(graph, stops):
        graph.eliminate(v)


def _best_products(graph: EliminationGraph, stops: Sequence[int]) -> list[int]:
    """The order in which to eliminate the bottlenecks of a chain."""
    pieces = [_merged(list(graph.preds[v].values())) for v in stops[:1]]
    pieces += [_merged([graph.preds[v][u]]) for u, v in pairwise(stops)]
    if stops:
        pieces.append(_merged(list(graph.succs[stops[-1]].values()), stacked=True))
    # The cheapest way to multiply pieces i to j, its price, and where it splits.
    size: dict[tuple[int, int], _Piece] = {(i, i): p for i, p in enumerate(pieces)}
    price = dict.fromkeys(size, 0.0)
    split: dict[tuple[int, int], int] = {}
    for length in range(1, len(pieces)):
        for i in range(len(pieces) - length):
            j = i + length
            ways = [
                (price[i, k] + price[k + 1, j] + _price_of_sizes(size[k + 1, j], size[i, k]), k)
                for k in range(i, j)
            ]
            price[i, j], split[i, j] = min(ways)
            size[i, j] = _chained_size(size[split[i, j] + 1, j], size[i, split[i, j]])
    order: list[int] = []
    waiting = [(0, len(pieces) - 1)] if len(pieces) > 1 else []
    while waiting:
        i, j = waiting.pop()
        k = split[i, j]
        order.append(stops[k])
        waiting += [pair for pair in ((i, k), (k + 1, j)) if pair[0] < pair[1]]
    return order[::-1]


def _merged(edges: Sequence[Edge], *, stacked: bool = False) -> _Piece:
    """All edges into one vertex side by side, or all out of it one above the other."""
    pieces = [_piece(e) for e in edges]
    rows = sum(p.rows for p in pieces) if stacked else pieces[0].rows
    cols = pieces[0].cols if stacked else sum(p.cols for p in pieces)
    return _Piece(
        rows,
        cols,
        sum(p.entries for p in pieces),
        max(p.pushed for p in pieces),
        max(p.pulled for p in pieces),
        sum(p.written for p in pieces),
        max(p.price_of_entry for p in pieces),
    )


def _chained_size(outer: _Piece, inner: _Piece) -> _Piece:
    full = outer.rows * inner.cols
    if math.isinf(outer.written + inner.written):
        return _Piece(outer.rows, inner.cols, full)
    filled = min(full, outer.entries * inner.entries / max(outer.cols, 1))
    return _Piece(outer.rows, inner.cols, filled)


# Search


def _search(graph: EliminationGraph) -> None:
    for v in searched(graph):
        graph.eliminate(v)


def searched(graph: EliminationGraph, *, steps: int = 4000, seed: int = 0) -> list[int]:
    """A sequence of eliminations that takes few products of edges, found by annealing.

    It starts from the better of the two greedy orders and moves single vertices to other places,
    taking a worse sequence now and then, less and less often.

    Args:
        graph: The graph.
        steps: How many sequences to try.
        seed: Where the random numbers start; the same seed gives the same sequence.

    Returns:
        All inner vertices.
    """
    best = min((_greedy(graph, d) for d in (1, -1)), key=lambda s: multiplications(graph, s))
    if len(best) < 2:
        return best
    draw = random.Random(seed)
    current, price = list(best), multiplications(graph, best)
    least = price
    for step in range(steps):
        heat = 0.02 * price * (1 - step / steps) ** 2 + 1e-9
        tried = list(current)
        tried.insert(draw.randrange(len(tried)), tried.pop(draw.randrange(len(tried))))
        asked = multiplications(graph, tried)
        if asked <= price or draw.random() < math.exp((price - asked) / heat):
            current, price = tried, asked
            if price < least:
                best, least = list(current), price
    return best


def _greedy(graph: EliminationGraph, direction: int) -> list[int]:
    preds = {v: set(edges) for v, edges in graph.preds.items()}
    succs = {v: set(edges) for v, edges in graph.succs.items()}
    left, sequence = set(graph.inner()), []
    while left:
        v = min(left, key=lambda u: (len(preds[u]) * len(succs[u]), direction * u))
        left.remove(v)
        sequence.append(v)
        _fuse(preds, succs, v)
    return sequence


def _fuse(preds: dict[int, set[int]], succs: dict[int, set[int]], v: int) -> int:
    """Eliminate a vertex of a graph without blocks; return the number of products."""
    arriving, leaving = preds.pop(v), succs.pop(v)
    for u in arriving:
        succs[u].remove(v)
        succs[u] |= leaving
    for w in leaving:
        preds[w].remove(v)
        preds[w] |= arriving
    return len(arriving) * len(leaving)


_ORDERS: dict[Order, Callable[[EliminationGraph], None]] = {
    "forward": _forward,
    "reverse": _reverse,
    "markowitz": _markowitz(1),
    "markowitz_reverse": _markowitz(-1),
    "chain": _chain,
    "search": _search,
}
