"""Grades, pages and the gradebook say the same, and nothing that a student wrote runs in them."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.api import Gradebook

from cnnlib.images import PROJECT
from labs.grading.feedback import page
from labs.grading.grade import Result
from labs.grading.gradebook import open_gradebook
from labs.grading.lab import Lab, read_lab
from labs.grading.report import grades_csv, plot_points, summary, table
from labs.grading.safe import harmless
from labs.grading.submission import prepare
from tests.labs.tiny import CELLS, NAME, SECRET_LINES, hand_in, write_course, write_source

formats: Any = nbformat  # whose functions have no types
DOT = (  # one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
HOSTILE = """
<script>alert(1)</script> <img src=x onerror=alert(1)> <a href="javascript:alert(1)">a</a>
<svg onload=alert(1)></svg> [b](javascript:alert(1)) ![c](http://elsewhere.example/c.png)
<style>body { background: url(http://elsewhere.example/) }</style> `[d](javascript:alert(1))`

<details><summary>More</summary>$a < b$</details>
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_course(tmp_path)
    return tmp_path


@pytest.fixture
def lab(root: Path) -> Lab:
    return read_lab(root / "labs" / "source", NAME)


def graded(root: Path, student: str, first: float, more: float, **answers: str) -> Result:
    """Return what the grader makes of a notebook with these points."""
    notebook = hand_in(root, student, **answers).read_text(encoding="utf-8")
    points = {"q1-example": first, "q1-more": more, "q2": None}
    error = {} if more else {"q1-more": "double(-7) is <-14>"}
    return Result(student, NAME, "graded", points=points, error=error, notebook=notebook)


def broken(student: str) -> Result:
    return Result(student, NAME, "needs a person", "=HYPERLINK(1)")


def by_hand(root: Path, student: str, points: float, comment: str) -> None:
    """Do what formgrader does when a person gives points for q2."""
    with Gradebook(f"sqlite:///{root / 'labs' / 'gradebook.db'}", "cnnlib") as book:
        grade = book.find_grade("q2", NAME, NAME, student)
        grade.manual_score, grade.needs_manual_grade = points, False
        book.find_comment("q2", NAME, NAME, student).manual_comment = comment
        book.db.commit()
        book.engine.dispose()


def test_points_and_comments_of_a_person_survive(root: Path, lab: Lab) -> None:
    result = graded(root, "anna", 1, 0, q1="x", q2="Because.")
    with open_gradebook(root / "labs", lab) as book:
        book.record(result, "first")
        assert book.final(result)[0].points == {"q1-example": 1, "q1-more": 0, "q2": None}
    by_hand(root, "anna", 3.5, "Well said.")
    better = replace(result, points=result.points | {"q1-more": 2.0})
    with open_gradebook(root / "labs", lab) as book:
        book.record(better, "first")  # graded again
        final, comments = book.final(better)
        assert final.points == {"q1-example": 1, "q1-more": 2, "q2": 3.5}
        assert comments == {"q2": "Well said."}
        book.record(better, "second")  # handed in again
        assert book.final(better)[0].points["q2"] is None, "a person must look again"
    by_hand(root, "anna", 3.5, "Still well said.")
    with open_gradebook(root / "labs", lab) as book:
        book.record(Result("anna", NAME, "needs a person", "no notebook"), "third")
        book.record(better, "second")
        assert book.final(better)[0].points["q2"] is None


def test_what_needs_a_person_counts_when_that_person_has_looked(root: Path, lab: Lab) -> None:
    odd = replace(graded(root, "anna", 1, 2, q2="A."), status="needs a person", reason="odd")
    with open_gradebook(root / "labs", lab) as book:
        book.record(odd, "first")
        final, _ = book.final(odd)
        assert set(final.points.values()) == {None}
        assert summary(final, lab) == "needs a person: odd"
    with Gradebook(f"sqlite:///{root / 'labs' / 'gradebook.db'}", "cnnlib") as entries:
        for grade in entries.find_submission_notebook(NAME, NAME, "anna").grades:
            grade.needs_manual_grade = False
        entries.db.commit()
        entries.engine.dispose()
    with open_gradebook(root / "labs", lab) as book:
        assert summary(book.final(odd)[0], lab) == "3 of 7 points"


def test_nbgrader_exports_the_same_points(root: Path, lab: Lab) -> None:
    with open_gradebook(root / "labs", lab) as book:
        for student, more in (("anna", 2.0), ("ben", 0.0), ("=cmd|' /C calc'!A0", 0.0)):
            book.record(graded(root, student, 1, more), student)
        book.record(broken("carla"), "third")
        book.record(broken("dora"), "")
        flagged = replace(graded(root, "eve", 1, 2), status="needs a person", reason="odd")
        book.record(flagged, "eve")
        book.record(graded(root, "finn", 1, 2), "finn")
        book.record(Result("finn", NAME, "needs a person", "nothing was handed in"), "")
        assert {*book.students()} == {"=cmd|' /C calc'!A0", "anna", "ben", "carla", "eve", "finn"}
    by_hand(root, "anna", 4, "")
    shutil.copy(PROJECT / "labs" / "nbgrader_config.py", root / "labs")
    programs = str(Path(sys.executable).parent)
    subprocess.run(
        [sys.executable, "-m", "nbgrader", "export", "--to=all.csv"],
        cwd=root / "labs",
        env=os.environ
        | {
            "PATH": os.pathsep.join([programs, os.environ["PATH"]]),
            "PYTHONPATH": str(PROJECT),
        },
        check=True,
        capture_output=True,
    )
    with (root / "labs" / "all.csv").open(encoding="utf-8") as file:
        scores = {row["student_id"]: row["score"] for row in csv.DictReader(file)}
    odd = {"'=cmd|' /C calc'!A0": "1"}
    assert scores == odd | {"anna": "7", "ben": "1", "carla": "", "eve": "", "finn": ""}


@pytest.mark.parametrize(
    "attachments",
    [{"a": 5}, {"a": {"image/png": 3}}, {"a": None}, [], 5, "x", {"\ud800": {"image/png": DOT}}],
)
def test_odd_attachments_stop_nobody(root: Path, lab: Lab, attachments: Any) -> None:
    notebook = json.loads(hand_in(root, "anna").read_text("utf-8"))
    cell = {"cell_type": "markdown", "metadata": {}, "source": "x"}
    notebook["cells"].append(cell | {"attachments": attachments})
    prepared = prepare(json.dumps(notebook).encode(), lab)
    result = replace(graded(root, "anna", 1, 2), notebook=json.dumps(prepared.notebook))
    with open_gradebook(root / "labs", lab) as book:
        book.record(result, "first")
        assert page(*book.final(result)[:1], lab, {})


def test_what_cannot_be_entered_is_one_students_trouble(root: Path, lab: Lab) -> None:
    result = replace(graded(root, "anna", 1, 2), notebook='{"cells": 5}')
    with open_gradebook(root / "labs", lab) as book:
        with pytest.raises(Exception, match=r"."):
            book.record(result, "first")
        refused = book.refuse(result, ValueError("\ud800"))
        assert refused.status == "needs a person"
        assert set(refused.points.values()) == {None}
        book.record(graded(root, "ben", 1, 2), "second")
        assert summary(book.final(graded(root, "ben", 1, 2))[0], lab).startswith("3 of 7")


def test_points_by_hand_do_not_exceed_what_a_lab_gives(root: Path, lab: Lab) -> None:
    result = graded(root, "anna", 1, 2, q2="A.")
    with open_gradebook(root / "labs", lab) as book:
        book.record(result, "first")
    by_hand(root, "anna", 5, "")
    with open_gradebook(root / "labs", lab) as book:
        assert book.final(result)[0].points["q2"] is None


def test_what_looks_like_a_tag_stays_text(root: Path, lab: Lab) -> None:
    result = graded(root, "anna", 1, 2, q2="It holds that w[0]<w[1] in a List<int>, and a<b.")
    text = page(result, lab, {})
    assert "w[0]&lt;w[1] in a List&lt;int&gt;, and a&lt;b." in text


def test_what_would_take_long_to_format_is_shown_as_it_is(root: Path, lab: Lab) -> None:
    words, code = "**a " * 4000 + "\n" + " a**" * 4000, "# a\n" + " \n" * 10_000 + "x = 1"
    result = graded(root, "anna", 1, 2, q1=code, q2=words)
    text = page(result, lab, {})
    assert "**a **a" in text
    assert "x = 1" in text


def test_an_answer_that_was_left_empty_is_marked(root: Path, lab: Lab) -> None:
    result = graded(root, "anna", 1, 2, q1="def double(x): ...")
    with open_gradebook(root / "labs", lab) as book:
        book.record(result, "first")
        assert book.final(result)[1] == {"q2": "No response."}


def test_a_lab_with_other_cells_is_refused(root: Path, lab: Lab) -> None:
    with open_gradebook(root / "labs", lab) as book:
        book.record(graded(root, "anna", 1, 2), "first")
    (root / "labs" / "source" / NAME / f"{NAME}.ipynb").unlink()
    (root / "labs" / "source" / NAME).rmdir()
    (root / "labs" / "source").rmdir()
    write_source(root, CELLS[:-1])
    with pytest.raises(ValueError, match=r"Move .* away"), open_gradebook(root / "labs", lab):
        pass


def test_a_new_gradebook_takes_what_was_graded_before(root: Path, lab: Lab) -> None:
    result = graded(root, "anna", 1, 2)
    with open_gradebook(root / "labs", lab) as book:
        book.record(result, "first")
    path = root / "labs" / "gradebook.db"
    path.rename(path.with_suffix(".old"))
    with open_gradebook(root / "labs", lab) as book:
        book.record(result, "first")
        assert book.final(result)[0].points == {"q1-example": 1, "q1-more": 2, "q2": None}


def test_the_table_names_everybody(root: Path, lab: Lab) -> None:
    result = replace(graded(root, "anna", 1, 2), notes=("a cell was put back",))
    assert table([result, broken("benjamin")], lab).splitlines() == [
        "anna      3 of 7 points, q2 still by hand",
        "          a cell was put back",
        "benjamin  needs a person: =HYPERLINK(1)",
        "lab1: 1 graded, 1 need a person.",
    ]


def test_csv_has_points_by_question_and_no_formulas(root: Path, lab: Lab) -> None:
    done = replace(graded(root, "anna", 1, 0.5), points={"q1-example": 1, "q1-more": 0.5, "q2": 4})
    text = grades_csv([done, graded(root, "=b\ren", 1, 2), broken("carla")], lab)
    assert text.splitlines() == [
        "student,status,q1,q2,total,maximum,by hand,reason",
        "anna,graded,1.5,4,5.5,7,,",
        "'=b en,graded,3,,3,7,q2,",
        "carla,needs a person,,,,7,,'=HYPERLINK(1)",
    ]


def test_the_picture_counts_all_students(root: Path, lab: Lab) -> None:
    results = [graded(root, f"s{n}", 1, 2 if n else 0) for n in range(5)] + [broken("t")]
    bars, totals = plot_points(results, lab).axes
    drawn: Any = bars.patches
    widths = [bar.get_width() for bar in drawn]
    assert widths == [4, 0, 1, 0, 0, 0, 0, 5], "q1 and q2: all, some, none, not graded yet"
    heights: Any = totals.patches
    assert sum(bar.get_height() for bar in heights) == 5
    assert "5 graded, 1 not" in bars.get_xlabel()
    plot_points([broken("t")], lab)


def hostile(root: Path, lab: Lab) -> Result:
    """Return a result whose notebook holds what could run or load something in a browser."""
    result = graded(root, "<b>anna</b>", 1, 0, q1="x = '</pre><script>alert(1)</script>'")
    notebook = formats.reads(result.notebook, as_version=4)
    outputs = [
        formats.v4.new_output("display_data", {"image/png": DOT, "text/plain": "a picture"}),
        formats.v4.new_output("display_data", {"image/png": 'x" onerror="alert(1)'}),
        formats.v4.new_output("display_data", {"text/html": "<script>alert(1)</script>"}),
        formats.v4.new_output("display_data", {"application/javascript": "alert(1)"}),
        formats.v4.new_output("stream", text="\x1b[31m<script>alert(1)</script>"),
    ]
    for cell in notebook.cells:
        if cell.metadata.nbgrader.grade_id == "q1":
            cell.outputs = outputs
    notebook.cells.append(formats.v4.new_markdown_cell(HOSTILE))
    notebook.cells.append(formats.v4.new_raw_cell(HOSTILE))
    notebook.cells[-1].metadata["nbgrader"] = {"grade_id": '"><script>alert(1)</script>'}
    notebook.metadata["title"] = "</title><script>alert(1)</script>"
    return replace(result, notebook=formats.writes(notebook))


def test_a_page_runs_and_loads_nothing(root: Path, lab: Lab) -> None:
    result = hostile(root, lab)
    text = page(result, lab, {"q1": "<script>alert(1)</script>"})
    assert "default-src 'none'" in text
    for forbidden in ("<script", "<svg", 'href="javascript'):
        assert forbidden not in text, forbidden
    assert not re.search(r"<[^>]*\son\w+=", text), "an attribute that runs something"
    assert [part[:15] for part in text.split("src=")[1:]] == ['"data:image/png']
    assert "elsewhere.example/c" not in text
    assert "&lt;b&gt;anna&lt;/b&gt;" in text
    assert "double(-7) is &lt;-14&gt;" in text
    assert "<summary>More</summary>$a &lt; b$" in text
    assert all(line not in text for line in SECRET_LINES)
    assert page(broken("ben"), lab, {})


def test_what_formgrader_shows_is_harmless_too(root: Path, lab: Lab) -> None:
    result = hostile(root, lab)
    result = replace(result, student="anna")
    with open_gradebook(root / "labs", lab) as book:
        book.record(result, "first")
    stored = root / "labs" / "autograded" / "anna" / NAME / f"{NAME}.ipynb"
    notebook = json.loads(stored.read_text(encoding="utf-8"))
    markdown = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"]
    assert all("<script" not in text and "onerror" not in text for text in markdown)
    assert all(text.startswith("<div>") and "\n" not in text for text in markdown)
    assert not [cell for cell in notebook["cells"] if cell["cell_type"] == "raw"]
    assert notebook["metadata"].keys() == {"kernelspec", "cnnlib"}
    assert "<script>" not in json.dumps([cell["metadata"] for cell in notebook["cells"]])
    again = harmless(stored.read_text(encoding="utf-8"), lab)
    kinds = [set(o["data"]) for c in again.cells for o in c.get("outputs", ()) if "data" in o]
    assert kinds == [{"text/plain", "image/png"}, *[{"text/plain"}] * 3]
