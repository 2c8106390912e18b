"""How the documentation is built: `sphinx-build -W -n docs docs/_build/html`."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

import funcnet.typing

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "funcnet"
author = "the funcnet authors"
project_copyright = "the funcnet authors, under the Apache License 2.0"
version = release = installed_version("funcnet")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_parser",
    "mathml",
    "pictures",
    "rooms",
]
exclude_patterns = ["_build", "extensions"]

html_theme = "furo"
html_title = f"funcnet {release}"
html_static_path = ["_static"]
html_css_files = ["funcnet.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

default_role = "literal"
autodoc_typehints = "signature"
autodoc_default_options = {"special-members": "__call__"}
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_type_aliases = {name: f"funcnet.typing.{name}" for name in funcnet.typing.__all__}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
python_trailing_comma_in_multi_line_signatures = False
add_module_names = False

# References into this package must resolve. Those to Python, NumPy and JAX cannot: the inventories
# of their documentation are not fetched, so that the build needs no network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!funcnet\.).*")]
