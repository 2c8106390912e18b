"""The page in a real browser: every step by key and by click, every group, and nothing overlaps.

A script is put behind the page's own. It presses keys, clicks, measures, and writes down what it
saw; the test then reads that from the page as the browser leaves it.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jax
import pytest

from funcnet.graph import Page, to_html, trace
from tests.graph.pictures.pictured import lecture, network_loss, scoped, swept, tangle

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="NO BROWSER: no Chromium here, no page was clicked"),
]

DRIVER = (Path(__file__).parent / "driver.js").read_text(encoding="utf-8")


def visit(page: str, folder: Path, size: str = "1280,900") -> Any:
    """What the driver saw of a page."""
    path = folder / "page.html"
    path.write_text(page.replace("</body>", f"<script>{DRIVER}</script></body>"), encoding="utf-8")
    assert BROWSER is not None
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--force-prefers-reduced-motion", f"--window-size={size}", "--dump-dom"),
            f"--user-data-dir={folder / 'profile'}",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.findall(r'<pre id="seen">(.*?)</pre>', done.stdout, re.S)
    assert found, f"the driver did not finish: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    return json.loads(html.unescape(found[0]))


DAILY = ("lecture", "scopes", "3 layers")


def pages() -> dict[str, tuple[Any, Any, Any]]:
    """Functions, their arguments, and which of these move."""
    return {
        "lecture": (lecture, (2.0, 0.5), (0, 1)),
        "scopes": (scoped, (0.4, {"u": 2.0, "v": 3.0}), 1),
        "tangle": (tangle, (0.7,), 0),
        "3 layers": (*network_loss(2), 0),
        "50 layers": (*network_loss(50), 0),
    }


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=() if name in DAILY else pytest.mark.long) for name in pages()
    ],
)
def visited(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    f, args, argnums = pages()[request.param]
    found = swept(f, args)
    page = to_html(*found, learning_rate=0.0123, argnums=argnums)
    return f, args, found, visit(page, tmp_path_factory.mktemp("page"))


def test_every_step_is_reached_and_marked(visited: Any) -> None:
    _, _, (graph, _, _), seen = visited
    active = [node for node in graph.nodes if node.index in graph.active]
    operations = [node for node in graph.nodes if node.operation is not None]
    steps = seen["steps"]
    phases = [step["phase"] for step in steps]
    assert phases.count("forward") == len(operations)
    assert phases.count("backward") == len(active)
    assert phases.count("update") > 0
    assert [step["slider"] for step in steps] == list(range(1, len(steps) + 1))
    for step, node in zip(steps, [*operations, *reversed(active)], strict=False):
        assert step["narration"].partition("\n")[2].startswith(node.name), step
        assert step["marked"] == 1 and step["visible"]


def test_arrows_and_numbers_of_the_lecture(visited: Any) -> None:
    """In a graph where every arrow is one piece, a step marks as many as it has."""
    f, args, (graph, _, _), seen = visited
    assert seen["start"]["known"] == {"value": 0, "adjoint": 0}
    if f is lecture:
        assert [step["arrows"] for step in seen["steps"]] == [1, 2, 2, 0, 1, 1, 2, 1, 0, 0]
        assert seen["steps"][6]["narration"] == (
            "Backward, step 4 of 5\nx2_bar = P1 + P2 = 2.878\n"
            "P1, through a1: a1_bar cos(x2) = 0.8776\nP2, through a2: a2_bar x1 = 2"
        )
        shown = [seen["end"]["adjoint"][str(i)] for i in graph.inputs]
        assert shown == [f"{float(g):.4g}" for g in jax.grad(f, (0, 1))(*args)]


def test_clicks_and_slider_lead_where_keys_lead(visited: Any) -> None:
    *_, seen = visited
    assert seen["clicked"] == dict.fromkeys(seen["clicked"], True)
    assert len(seen["clicked"]) >= 9


def test_groups_open_and_close(visited: Any) -> None:
    *_, (graph, _, _), seen = visited
    assert seen["opened"]["closed"] == 0 and seen["opened"]["cards"] == len(graph.nodes)
    assert seen["closed"]["open"] == 0


def test_nothing_overlaps(visited: Any) -> None:
    *_, seen = visited
    for state in ("first", "end", "opened", "closed"):
        for fault in ("overlaps", "behind", "loose"):
            assert seen[state][fault] == [], (state, fault)
    assert seen["first"]["chrome"] == [] and seen["first"]["sideways"] is False


def test_text_can_be_read(visited: Any) -> None:
    """Contrast of at least 4.5 to 1 in both themes, as WCAG 2.2 has it, and letters of 9 pixels."""
    *_, seen = visited
    for theme in ("light", "dark"):
        assert min(seen["contrast"][theme].values()) >= 4.5, seen["contrast"]
    assert seen["letters"] >= 9


def test_everything_is_reached_by_keyboard(visited: Any) -> None:
    *_, seen = visited
    assert seen["unreachable"] == [] and seen["unnamed"] == []


def test_no_errors(visited: Any) -> None:
    *_, seen = visited
    assert seen["errors"] == []


def test_a_page_without_numbers_is_still(tmp_path: Path) -> None:
    seen = visit(to_html(trace(lecture, 2.0, 0.5)), tmp_path)
    assert seen["steps"] == [] and seen["errors"] == []
    assert isinstance(to_html(trace(lecture, 2.0, 0.5)), Page)


def test_a_narrow_window_has_no_sideways_scroll(tmp_path: Path) -> None:
    seen = visit(to_html(*swept(lecture, (2.0, 0.5)), learning_rate=0.1), tmp_path, "500,900")
    assert seen["first"]["sideways"] is False and seen["errors"] == []
