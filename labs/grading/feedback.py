"""A page for one student: points, what the checks say, and the notebook as it ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from nbconvert.filters import strip_ansi
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer, TextLexer

from labs.grading.grade import Result
from labs.grading.lab import Check, Lab
from labs.grading.report import SHARES, earned, questions, share, summary
from labs.grading.safe import PICTURES, harmless, short_enough

TEMPLATE = jinja2.Environment(
    autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
).from_string(Path(__file__).with_name("feedback.html.j2").read_text("utf-8"))
CODE = HtmlFormatter(cssclass="code")
LONGEST = 20_000  # characters of one output


def page(result: Result, lab: Lab, comments: dict[str, str]) -> str:
    """Return a student's feedback as one HTML page that loads nothing.

    Args:
        result: With the points that persons gave.
        lab: The lab that was graded.
        comments: What a person says about an answer, by its grade_id.
    """
    return TEMPLATE.render(
        result=result,
        total=summary(result, lab),
        colours=SHARES,
        code_style=Markup(CODE.get_style_defs(".code")),
        questions=[_question(name, checks, result) for name, checks in questions(lab).items()],
        cells=_cells(result, lab, comments),
    )


def _question(name: str, checks: list[Check], result: Result) -> dict[str, str]:
    messages = [result.error[check.id] for check in checks if check.id in result.error]
    return {"name": name, "points": _points(checks, result), "messages": "\n".join(messages)}


def _points(checks: list[Check], result: Result) -> str:
    points, most = earned(result, checks), sum(check.points for check in checks)
    return f"{'?' if points is None else f'{points:g}'} of {most:g}"


def _cells(result: Result, lab: Lab, comments: dict[str, str]) -> list[dict[str, Any]]:
    """Return what the template shows of each cell."""
    if not result.notebook:
        return []
    checks = {check.id: check for check in lab.checks}
    shown = []
    cells = harmless(result.notebook, lab).cells
    for cell, short in zip(cells, short_enough(cells), strict=True):
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        check = checks.get(name)
        by_code = check is not None and not check.by_hand
        code = cell.cell_type == "code"
        shown.append(
            {
                "anchor": name.removesuffix("-text") if name.endswith("-text") else "",
                "html": _code(cell.source, short) if code else Markup(cell.source),
                # Of a check, what counts is its message: a trace would show the check's own code.
                "outputs": [] if by_code or not code else [_output(o) for o in cell.outputs],
                "check": check and _check(check, result),
                "comment": comments.get(name, ""),
            }
        )
    return shown


def _check(check: Check, result: Result) -> dict[str, str]:
    return {
        "state": share(earned(result, [check]), check.points).split()[0],
        "points": f"{check.id}: {_points([check], result)}",
        "message": result.error.get(check.id, ""),
    }


def _code(source: str, short: bool) -> Markup:
    return Markup(highlight(source, PythonLexer() if short else TextLexer(), CODE))


def _output(output: Any) -> dict[str, str]:
    """Return an output as a picture or as text."""
    if output.output_type == "error":
        return {"image": "", "text": _short("\n".join(output.traceback))}
    if output.output_type == "stream":
        return {"image": "", "text": _short(output.text)}
    for kind in PICTURES:
        if kind in output.data:
            content = "".join(output.data[kind].split())
            return {"image": f"data:{kind};base64,{content}", "text": ""}
    return {"image": "", "text": _short(output.data["text/plain"])}


def _short(text: str) -> str:
    plain: str = strip_ansi(text)
    return plain if len(plain) <= LONGEST else plain[:LONGEST] + " ... (the rest is not shown)"
