"""How Sphinx makes the book; `book.build` calls it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from cnnlib._files import PROJECT
from tools import hosted

project = "cnnlib"
repository = hosted.address(PROJECT)
author = "the authors of cnnlib"
project_copyright = "2026, the authors; text and pictures CC BY 4.0, code BSD 3-Clause"
with (PROJECT / "pyproject.toml").open("rb") as settings:
    version = release = tomllib.load(settings)["project"]["version"]
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "book.maths",
    "book.pictures",
]
html_math_renderer = "mathml"

nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, Any] = {}
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

# Docstrings write `code` as Markdown does.
default_role = "code"
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # as they are written: some are folders of this machine
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

templates_path = ["templates"]
html_static_path = ["static"]
html_css_files = ["course.css", ("print.css", {"media": "print"})]
html_theme = "pydata_sphinx_theme"
html_favicon = "static/favicon.svg"
html_title = "Convolutional networks, from the first product on"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_domain_indices = False
html_use_index = False
html_sidebars: dict[str, list[str]] = {"index": [], "search": []}
html_theme_options = {
    "logo": {"text": "cnnlib"},
    "collapse_navigation": True,  # nothing to unfold: the theme's buttons for it have no names
    "navbar_persistent": ["search-button"],
    "search_bar_text": "Search the course",
    "article_header_end": ["files.html"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def finish_page(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Tell the template where else a page can be had, and let no empty cell be a header."""
    offers = {
        "Notebook": f"{pagename}.ipynb",
        "Slides": f"slides/{Path(pagename).name}.html",
        "PDF": f"pdf/{Path(pagename).name}.pdf",
    }
    files = {name: path for name, path in offers.items() if (app.outdir / path).exists()}
    if lecture := re.fullmatch(r"notebooks/(\d\d-.+)", pagename):
        files |= hosted.services(app.config.repository, f"{lecture[1]}.ipynb")
    context["files"] = files
    empty = r"<th([^>]*)>\s*(?:<p>\s*</p>)?\s*</th>"  # pandas and Markdown write them in corners
    context["body"] = re.sub(empty, r"<td\1></td>", context.get("body", ""))


def keep_whole(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Keep napoleon from taking the words before a colon for the type of a property."""
    if what == "property":
        lines.insert(0, "")


def setup(app: Sphinx) -> None:
    """Connect with Sphinx's events, and add our setting."""
    app.add_config_value("repository", "", "html", str)
    app.connect("autodoc-process-docstring", keep_whole, priority=400)  # napoleon has 500
    app.connect("html-page-context", finish_page)
