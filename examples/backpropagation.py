"""Backpropagation through the lecture's example, as a table, as a drawing and as a page that steps.

``f(x1, x2) = x1 x2 + sin(x2)`` reads x2 twice, so that two paths lead back to it:

    df/dx2 = P1 + P2 = cos(x2) + x1.

Run it with ``python examples/backpropagation.py``, and open the page that it writes.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp

from funcnet.graph import descend, explain, to_html, to_svg, to_text

POINT = (2.0, 0.5)


def f(x1, x2):
    return jnp.sin(x2) + x1 * x2


def main(folder=Path()):
    explained = explain(f, *POINT)
    graph, values, adjoints = explained.graph, explained.values, explained.adjoints
    print(explained)

    print("\nThe paths from x2, and the product of the local derivatives along each:")
    paths = graph.paths("x2", "a3", values)
    for path in paths:
        print(f"  {path}: {float(path.product):.4f}")
    gradient = jax.grad(f, argnums=(0, 1))(*POINT)
    print(f"  their sum: {float(paths.total()):.4f}, and jax.grad: {float(gradient[1]):.4f}")

    print("\nAs a drawing: a rail for every value, from where it is computed to its last reader.")
    print(to_text(graph, values, adjoints))

    print("\nDownhill, x <- x - 0.1 df/dx:")
    for step in islice(descend(graph, *POINT, learning_rate=0.1, argnums=(0, 1)), 4):
        print(f"  f({', '.join(f'{float(x):.3f}' for x in step.args)}) = {float(step.loss):.4f}")

    page = to_html(graph, values, adjoints, learning_rate=0.1, argnums=(0, 1))
    picture = to_svg(graph, values, adjoints)
    written = [page.save(folder / "lecture.html"), picture.save(folder / "lecture.svg")]
    print(f"\nWritten: {', '.join(map(str, written))}")
    return float(paths.total()), float(gradient[1]), written


if __name__ == "__main__":
    main()
