"""What a graph costs: tracing and both sweeps node by node, and its compiled gradient.

    python -m tests.benchmarks.graphs [--nodes 10000] [--rounds 31]

prints the seconds for a graph of that many nodes, after a first run that compiles its few different
operations, and the time of the compiled backward sweep over that of ``jax.grad`` under ``jax.jit``;
then what the page of a graph costs: to write it, and, where there is a Chromium, to open it, to
open all of its groups and to take a step then.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import funcnet.primitives as fn
from funcnet.graph import to_html, trace
from tests.benchmarks.paired import paired

# Operations in turn: elementwise, reductions, products, gathers, rules.
OPERATIONS: list[Callable[..., Any]] = [
    jnp.sin,
    lambda x: x * 0.5,
    lambda x: x + jnp.sum(x) * 0.1,
    fn.tanh,
    lambda x: x[::-1],
    lambda x: jnp.maximum(x, 0.1),
    lambda x: x @ W,
    fn.softmax,
    lambda x: x * x,
    lambda x: fn.relu(x) - 0.3,
]
W: jax.Array = jnp.eye(8) * 0.9
X = jnp.linspace(-1.0, 1.0, 8)


def long_chain(nodes: int) -> Callable[..., Any]:
    """A function whose graph has about so many nodes."""
    per_round = len(trace(_round, X).nodes) - 2

    def f(x: Any) -> Any:
        for _ in range(nodes // per_round):
            x = _round(x)
        return jnp.sum(x)

    return f


def _round(x: Any) -> Any:
    for operation in OPERATIONS:
        x = operation(x)
    return x


def sweep_seconds(nodes: int) -> tuple[int, list[tuple[str, float]]]:
    """The number of nodes and the seconds of each part, after a run on a smaller graph."""
    small = trace(long_chain(200), X)
    small.backward(small.forward(X))
    f = long_chain(nodes)
    start = time.perf_counter()
    graph = trace(f, X)
    traced = time.perf_counter()
    values = graph.forward(X)
    jax.block_until_ready(values.outputs)
    forward = time.perf_counter()
    jax.block_until_ready(graph.backward(values).inputs)
    backward = time.perf_counter()
    parts = [
        ("trace", traced - start),
        ("forward", forward - traced),
        ("backward", backward - forward),
    ]
    return len(graph.nodes), parts


TIMED = """<script>
(() => {
  const seen = { open: performance.now() };
  const timed = (name, key) => {
    const start = performance.now();
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    document.body.getBoundingClientRect();
    seen[name] = performance.now() - start;
  };
  let closed;
  const start = performance.now();
  do {
    closed = document.querySelectorAll(".group.closed").length;
    timed("", "o");
  } while (document.querySelectorAll(".group.closed").length);
  seen["open all groups"] = performance.now() - start;
  timed("one step", "ArrowRight");
  delete seen[""];
  document.body.innerHTML = `<pre id="seen">${JSON.stringify(seen)}</pre>`;
})();
</script></body>"""


def page_seconds(nodes: int) -> tuple[int, list[tuple[str, float]]]:
    """The seconds to write the page of a graph, and what a browser takes for it."""
    f = long_chain(nodes)
    graph = trace(f, X)
    values = graph.forward(X)
    adjoints = graph.backward(values)
    to_html(graph, values, adjoints)  # compiles, and loads the layout library
    start = time.perf_counter()
    page = to_html(graph, values, adjoints, learning_rate=0.1)
    parts = [("write the page", time.perf_counter() - start)]
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        print("no Chromium here: the page is not opened")
        return len(graph.nodes), parts
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page.replace("</body>", TIMED), encoding="utf-8")
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--dump-dom")
        profile = f"--user-data-dir={folder}/profile"
        command = [browser, *flags, profile, path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.findall(r'<pre id="seen">(.*?)</pre>', done.stdout)
    parts += [(name, ms / 1000) for name, ms in json.loads(html.unescape(found[0])).items()]
    return len(graph.nodes), parts


def mlp_loss(params: Any, x: Any) -> Any:
    for w in params:
        x = fn.tanh(fn.linear(x, w))
    return jnp.sum(x * x)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    count, parts = sweep_seconds(options.nodes)
    print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}, {count} nodes")
    for name, seconds in parts:
        print(f"{name}: {seconds:.2f} s")
    print(f"together: {sum(seconds for _, seconds in parts):.2f} s")
    for nodes in (1_000, 5_000):
        count, parts = page_seconds(nodes)
        print(f"page of {count} nodes: " + ", ".join(f"{name} {s:.2f} s" for name, s in parts))
    for width, batch in ((32, 32), (256, 256)):
        params = [jax.random.normal(jax.random.key(i), (width, width)) * 0.1 for i in range(4)]
        x = jnp.ones((batch, width))
        ours, plain = trace(mlp_loss, params, x).as_gradient(), jax.jit(jax.grad(mlp_loss, (0, 1)))
        ratio = paired(partial(ours, params, x), partial(plain, params, x), options.rounds)
        print(f"compiled gradient, 4 layers of {width}, batch {batch}, over jax.grad: {ratio}")


if __name__ == "__main__":
    main()
