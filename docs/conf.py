"""Settings of the documentation's build (`make docs`)."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile

# The reference pages import the operators, and Airflow writes its settings into its home when imported.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-provider-firecrest-docs-")
logging.getLogger("airflow").setLevel(logging.WARNING)
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

from airflow_provider_firecrest import __version__  # noqa: E402

project = "airflow-provider-firecrest"
author = "The airflow-provider-firecrest authors"
copyright = f"2026, {author}"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"

html_theme = "furo"
html_title = f"airflow-provider-firecrest {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
