"""Make what a student wrote safe to show in the browser, or the spreadsheet, of somebody else.

Markdown is cleaned of everything that could run or load something. Of outputs, only text and
pictures stay. Neither nbgrader's formgrader nor our own page has to be trusted to do so.
"""

from __future__ import annotations

import contextlib
import html
import re
from itertools import accumulate
from typing import Any

import bleach
import nbformat
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from labs.grading.lab import Lab

formats: Any = nbformat  # whose functions have no types
# fmt: off
TAGS = {
    *bleach.ALLOWED_TAGS,
    "br", "dd", "del", "details", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr",
    "img", "p", "pre", "s", "span", "sub", "summary", "sup", "table", "tbody", "td", "th",
    "thead", "tr",
}
# fmt: on
# Some texts take time that grows with the cube of their length to be formatted.
LONGEST = 10_000  # characters of a cell that is
MOST = 100_000  # characters of all cells up to the last one that is
PICTURES = ("image/png", "image/jpeg")
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def harmless(text: str, lab: Lab) -> Any:
    """Return an executed notebook without anything that could run or load something.

    Args:
        text: The notebook as JSON.
        lab: The lab; cells that are not its own lose their metadata.
    """
    known = {cell.id for cell in lab.cells} - {""}
    notebook = formats.reads(text, as_version=4)
    notebook.metadata = formats.from_dict({"kernelspec": KERNEL})
    for cell, short in zip(notebook.cells, short_enough(notebook.cells), strict=True):
        own = cell.metadata.get("nbgrader", {})
        cell.metadata = formats.from_dict({"nbgrader": own} if own.get("grade_id") in known else {})
        if cell.cell_type == "code":
            cell.outputs = [_output(output) for output in cell.outputs]
        else:
            cell.cell_type, cell.source = "markdown", _markdown(cell, short)
            cell.pop("attachments", None)
    return notebook


def short_enough(cells: Any) -> list[bool]:
    """Say of each cell whether its text is short enough to be formatted; else it is shown plain."""
    lengths = [len(cell.source) for cell in cells]
    so_far = accumulate(lengths)
    return [own <= LONGEST and all_ <= MOST for own, all_ in zip(lengths, so_far, strict=True)]


def _markdown(cell: Any, short: bool) -> str:
    """Return a Markdown cell as harmless HTML; formulas stay as they are written.

    It is one line in a <div>: so it stays as it is when it is taken for Markdown again.
    """
    clean = f"<pre>{html.escape(cell.source)}</pre>"
    with contextlib.suppress(Exception):  # whatever a student writes, it is shown somehow
        if short:
            renderer = IPythonRenderer(
                escape=False, attachments=cell.get("attachments"), exclude_anchor_links=True
            )
            text = MarkdownWithMath(renderer=renderer).render(cell.source)
            clean = bleach.clean(text, TAGS, _allowed, {"http", "https", "mailto", "data"})
    return f"<div>{clean.strip()}</div>".replace("\r", "").replace("\n", "&#10;")


def _allowed(tag: str, name: str, value: str) -> bool:
    """Say whether an attribute may stay: links lead elsewhere, but pictures come with the page."""
    if name == "href":
        return re.match(r"https?:|mailto:|#", value) is not None
    if name == "src":
        return re.fullmatch(r"data:image/(png|jpeg|gif);base64,[\w+/=\s]+", value) is not None
    return name in ("alt", "title", "open", "colspan", "rowspan")


def _output(output: Any) -> Any:
    """Return an output with a picture or with text alone."""
    if "data" not in output:
        return output
    data = {"text/plain": str(output.data.get("text/plain", ""))}
    for kind in PICTURES:
        content = output.data.get(kind, "")
        if isinstance(content, str) and re.fullmatch(r"[\w+/=\s]+", content, re.ASCII):
            data[kind] = content
    return formats.v4.new_output("display_data", data)


def harmless_field(field: str) -> str:
    """Return text that no spreadsheet takes for a formula, in one line."""
    line = " ".join(field.split())
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
