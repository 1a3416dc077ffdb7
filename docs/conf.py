"""The documentation site: `./run sphinx-build -W --keep-going docs results/site`.

Sphinx, with MyST and furo, because it fails where a link inside the site leads nowhere, and because all three are kept
up; Material for MkDocs, the other choice for Markdown, ends its maintenance.
"""

import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from docs import site  # noqa: E402 - found by the path above

site.write(ROOT / "docs" / "generated")

project = "Encore"
html_title = "Encore"
html_theme = "furo"
html_static_path: list[str] = []
html_show_copyright = False
html_copy_source = False
extensions = ["myst_parser"]
exclude_patterns = ["schema"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # code on our pages leaves out parts by …


def setup(app: Sphinx) -> None:
    app.connect("source-read", site.within)
