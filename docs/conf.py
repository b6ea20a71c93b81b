"""Settings of the documentation site. `make docs` builds it; what the pages need is made by `_sphinx/site_pages.py`."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_sphinx"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

from site_pages import ROOT, substitutions

from analognets import __version__

project = "analognets"
author = "The analognets authors"
project_copyright = author
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "site_pages"]
smartquotes = False  # would make one dash of the two in front of an option
exclude_patterns = ["_build", "_sphinx", "executed"]

html_theme = "furo"
html_title = f"analognets {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
# The site works offline, so nothing is loaded from another server, fonts and scripts included.
html_js_files: list[str] = []

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_inherit_docstrings = True
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_preprocess_types = False

myst_enable_extensions = ["colon_fence", "deflist", "substitution"]
myst_heading_anchors = 3
myst_substitutions = substitutions(ROOT)
nb_execution_mode = "off"  # `tutorials.py` executes, several at a time, and keeps what it executed
nb_output_stderr = "remove"
nb_merge_streams = True
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
