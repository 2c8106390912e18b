"""Pictures of graphs: with letters, for Graphviz, as SVG, and as a page that steps."""

from __future__ import annotations

from funcnet.graph.pictures.dot import to_dot
from funcnet.graph.pictures.page import Page, to_html
from funcnet.graph.pictures.rails import to_text
from funcnet.graph.pictures.svg import Picture, to_svg

__all__ = ["Page", "Picture", "to_dot", "to_html", "to_svg", "to_text"]
