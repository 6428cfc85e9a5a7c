"""Formulas for Sphinx, made into HTML when the book is built, so that a page needs no script.

MathJax makes them, in Node.js: letters from its fonts for the eye, and MathML, which is not seen,
for screen readers.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from book.vendor import MATHJAX, unpack

SCRIPT = Path(__file__).with_name("maths.js")
FONTS = "es5/output/chtml/fonts/woff-v2"
FILES = (
    "es5/node-main.js",
    "es5/core.js",
    "es5/adaptors",
    "es5/input/tex.js",
    "es5/input/tex",
    "es5/output/chtml.js",
    "es5/output/chtml/fonts/tex.js",
    "es5/a11y/assistive-mml.js",
    FONTS,
)
STYLES = "maths.css"
# MathML is clipped, not small: without this browsers count its width, and a line can be scrolled
# that shows nothing more.
UNSEEN = """
mjx-assistive-mml, mjx-assistive-mml[display] {width: 1px !important; height: 1px !important}
"""


class Formulas:
    """MathJax in a process of its own, which ends with `close`."""

    def __init__(self, mathjax: Path, fonts: str) -> None:
        """Start it.

        Args:
            mathjax: The folder of the package, with FILES in it.
            fonts: Where browsers find the fonts, from the style sheet.

        Raises:
            SystemExit: Node.js is missing.
        """
        node = shutil.which("node")
        if node is None:
            raise SystemExit("The book needs Node.js for its formulas: install it (nodejs, npm).")
        self._process = subprocess.Popen(
            [node, str(SCRIPT), str(mathjax), fonts],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # where MathJax talks about its own parts
            encoding="utf-8",
        )

    def html(self, tex: str, display: bool) -> str:
        """Return a formula as HTML.

        Args:
            tex: The formula in TeX, without dollars.
            display: Whether it stands on a line of its own.

        Raises:
            ValueError: MathJax does not understand it.
        """
        return str(self._ask(tex=tex, display=display)["html"])

    def css(self) -> str:
        """Return the style sheet of all formulas so far."""
        return str(self._ask()["css"]) + UNSEEN

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, **question: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")
        if "error" in answer:
            raise ValueError(f"{answer['error']} in the formula {question['tex']}")
        if not answer:
            raise RuntimeError(f"MathJax stopped at {question}: see what {SCRIPT} says in Node.js")
        return answer


class Renderer:
    """Sphinx's events and formulas, for one build."""

    def start(self, app: Sphinx) -> None:
        """Start MathJax, and put its fonts beside the style sheet."""
        package = app.doctreedir / "mathjax"
        unpack(MATHJAX, FILES, package)
        shutil.copytree(package / FONTS, app.outdir / "_static" / "mathjax", dirs_exist_ok=True)
        app.add_css_file(STYLES)
        self.formulas = Formulas(package, "mathjax")

    def finish(self, app: Sphinx, error: Exception | None) -> None:
        """Write the style sheet of the formulas that were seen, and stop MathJax."""
        if error is None:
            styles = app.outdir / "_static" / STYLES
            styles.write_text(self.formulas.css(), encoding="utf-8")
        self.formulas.close()

    def visit(self, writer: Any, node: nodes.math | nodes.math_block) -> None:
        """Write a formula into a page."""
        display = isinstance(node, nodes.math_block)
        try:
            html = self.formulas.html(node.astext(), display)
        except ValueError as error:
            logging.getLogger(__name__).warning(str(error), location=node)
            html = writer.encode(node.astext())
        tag = "div" if display else "span"
        writer.body.append(writer.starttag(node, tag, "", CLASS="math notranslate nohighlight"))
        writer.body.append(f"{html}</{tag}>")
        raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Make this the renderer that `html_math_renderer = "mathjax-html"` chooses."""
    renderer = Renderer()
    app.add_html_math_renderer("mathjax-html", (renderer.visit, None), (renderer.visit, None))
    app.connect("builder-inited", renderer.start)
    app.connect("build-finished", renderer.finish)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
