"""How the site is built of these pages: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "extensions"))

from fcos_lightning import __version__  # noqa: E402

project = "fcos-lightning"
author = "the fcos-lightning maintainers"
release = version = __version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "choices",
    "outside",
]
exclude_patterns = ["_build", "extensions"]
suppress_warnings = ["config.cache"]

html_theme = "furo"
html_title = "fcos-lightning"
html_theme_options = {"source_directory": "docs/"}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# The tutorial is run while the site is built; what it prints is what the reader sees.
nb_execution_mode = "cache"
nb_execution_timeout = 1800
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False

copybutton_exclude = ".linenos, .gp, .go"
linkcheck_timeout = 30
linkcheck_retries = 2
