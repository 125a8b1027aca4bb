"""Sphinx's settings; `make docs` builds. Nothing is fetched, neither here nor by the pages."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "extensions")]

from api_pages import write_api_pages
from root_pages import write_root_pages

from flowkit_core import __version__

project = "ppl-flowkit"
author = "The ppl-flowkit authors"
copyright = "the ppl-flowkit authors, Apache 2.0"
release = version = __version__

extensions = [
    "mathml",
    "myst_parser",
    "sphinx.ext.autodoc",
    "docstrings",
    "sphinx.ext.napoleon",
    "sphinx_design",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

myst_enable_extensions = ["colon_fence", "dollarmath", "substitution"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

# The packages' docstrings name things in `single` backticks.
default_role = "code"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"ppl-flowkit {version}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"

write_api_pages(HERE / "generated" / "api")
write_root_pages(HERE.parent, HERE / "generated")
