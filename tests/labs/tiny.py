"""A lab of two questions, and what students make of it, for tests of everything around grading."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import nbformat

from labs.grading.gradebook import open_gradebook
from labs.grading.lab import read_lab
from labs.grading.release import public

formats: Any = nbformat  # whose functions have no types
NAME = "lab1"
SECRET_LINES = (
    "return x + x  # twice",
    "assert double(-7) == -14, 'double(-7) is -14'",
    "A model.",
)
CELLS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("setup", "code", "import math", {}),
    ("q1-text", "markdown", "## Question 1 (3 points)\n\nDouble $x$.", {}),
    (
        "q1",
        "code",
        f"def double(x):\n    '''Return twice x.'''\n    ### BEGIN SOLUTION\n"
        f"    {SECRET_LINES[0]}\n    ### END SOLUTION",
        {"solution": True},
    ),
    ("q1-example", "code", "assert double(1) == 2, 'double(1) is 2'", {"points": 1}),
    (
        "q1-more",
        "code",
        f"# Tries: negative numbers.\n### BEGIN HIDDEN TESTS\n{SECRET_LINES[1]}\n"
        f"### END HIDDEN TESTS",
        {"points": 2},
    ),
    ("q2-text", "markdown", "## Question 2 (4 points)\n\nWhy?", {}),
    (
        "q2",
        "markdown",
        f"### BEGIN SOLUTION\n{SECRET_LINES[2]}\n### END SOLUTION",
        {"solution": True, "points": 4},
    ),
)


def write_source(root: Path, cells: Sequence[Any] = CELLS) -> Path:
    """Write the lab's source below a project's root, and return its path."""
    notebook = formats.v4.new_notebook()
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    for name, kind, text, own in cells:
        cell = getattr(formats.v4, f"new_{kind}_cell")(text, id=name)
        cell.metadata["nbgrader"] = {
            "grade": "points" in own,
            "grade_id": name,
            "locked": "solution" not in own,
            "schema_version": 3,
            "solution": False,
            "task": False,
            **own,
        }
        notebook.cells.append(cell)
    path = root / "labs" / "source" / NAME / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True)
    formats.write(notebook, path)
    return path


def write_course(root: Path) -> None:
    """Write the lab's source, and an empty gradebook, which takes nbgrader seconds to make."""
    write_source(root)
    (root / "labs" / "gradebook.db").write_bytes(_gradebook())


@cache
def _gradebook() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        labs = write_source(Path(folder)).parents[2]
        with open_gradebook(labs, read_lab(labs / "source", NAME)):
            pass
        return (labs / "gradebook.db").read_bytes()


def hand_in(root: Path, student: str, **answers: str) -> Path:
    """Write a student's notebook with answers by grade_id, and return its path."""
    notebook = public(root / "labs" / "source" / NAME / f"{NAME}.ipynb")
    for cell in notebook.cells:
        name = cell.metadata.nbgrader.grade_id
        cell.source = answers.get(name, cell.source)
    path = root / "submitted" / student / NAME / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    formats.write(notebook, path)
    return path
