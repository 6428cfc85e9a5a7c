"""Formulas as MathML, which browsers draw and print, and screen readers read, without a script.

They come with a font, STIX Two Math: where a machine has none for mathematics, sums stay as small
as letters, and brackets do not grow with what they hold.
"""

from __future__ import annotations

import re
from importlib.metadata import distribution
from logging import WARNING, getLogger
from pathlib import Path
from typing import Any

from docutils import nodes
from fontTools import subset
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

FONT = "maths.woff"
getLogger("fontTools").setLevel(WARNING)  # it tells of every letter
# ASCII, Greek, italic letters, signs, arrows, operators and brackets, and what grows from them.
LETTERS = (
    *range(0x20, 0x7F),
    *range(0x391, 0x3CA),
    *range(0x1D434, 0x1D468),
    *range(0x1D6E2, 0x1D71C),
    *(0xB7, 0xD7, 0x2026, 0x2032, 0x210E),
    *range(0x2190, 0x2194),
    *range(0x2200, 0x2300),
    *range(0x2308, 0x230C),
)


def mathml(tex: str, display: bool) -> str:
    """Return a formula as MathML.

    Args:
        tex: The formula in TeX, without dollars.
        display: Whether it stands on a line of its own.

    Raises:
        ValueError: It is not understood.
    """
    try:
        made = convert(tex, display="block" if display else "inline")
    except Exception as error:  # the converter's own errors have no class in common
        raise ValueError(f"{type(error).__name__} in the formula {tex}") from error
    if unknown := re.search(r"\\\w+", made):  # a command that it does not know is left as it is
        raise ValueError(f"{unknown[0]} is not known in the formula {tex}")
    return made


def write_font(folder: Path) -> None:
    """Write the font for formulas, which style sheets name, into a folder.

    Its licence, the SIL Open Font License, stands in the file.
    """
    options = subset.Options(flavor="woff", layout_features=["*"], name_IDs=["*"])
    whole = distribution("ziamath").locate_file("ziamath/fonts/STIXTwoMath-Regular.ttf")
    font = subset.load_font(str(whole), options)
    letters = subset.Subsetter(options)
    letters.populate(unicodes=LETTERS)
    letters.subset(font)
    folder.mkdir(parents=True, exist_ok=True)
    subset.save_font(font, str(folder / FONT), options)
    font.close()


def _visit(writer: Any, node: nodes.math | nodes.math_block) -> None:
    """Write a formula into a page."""
    display = isinstance(node, nodes.math_block)
    try:
        html = mathml(node.astext(), display)
    except ValueError as error:
        logging.getLogger(__name__).warning(str(error), location=node)
        html = writer.encode(node.astext())
    tag = "div" if display else "span"
    writer.body.append(writer.starttag(node, tag, "", CLASS="math notranslate nohighlight"))
    writer.body.append(f"{html}</{tag}>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Make this the renderer that `html_math_renderer = "mathml"` chooses."""
    app.add_html_math_renderer("mathml", (_visit, None), (_visit, None))
    app.connect("builder-inited", lambda app: write_font(app.outdir / "_static"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
