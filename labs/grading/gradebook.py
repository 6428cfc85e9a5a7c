"""Write results into nbgrader's gradebook, where formgrader and `nbgrader export` find them.

What a person gave there, points and comments, is never overwritten, and comes back from here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
from alembic.script import ScriptDirectory
from nbgrader import api, preprocessors
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.dbutil import ALEMBIC_DIR

from cnnlib._files import write_whole
from labs.grading.grade import Result
from labs.grading.lab import Lab
from labs.grading.pipe import clean
from labs.grading.release import BLANK, apply
from labs.grading.safe import harmless

formats: Any = nbformat  # whose functions have no types
COURSE = "cnnlib"


@contextmanager
def open_gradebook(labs: Path, lab: Lab) -> Iterator[Book]:
    """Open the gradebook of a folder of labs, with this lab's cells in it as they are now.

    Args:
        labs: The folder with source/ and, from the first time on, gradebook.db and autograded/.
        lab: The lab that is graded.

    Raises:
        ValueError: The lab has other cells than when submissions to it were graded.
    """
    # To make a gradebook, nbgrader asks the program `alembic`, which takes four seconds.
    api.get_alembic_version = lambda: ScriptDirectory(ALEMBIC_DIR).get_current_head()
    url = f"sqlite:///{(labs / 'gradebook.db').resolve()}"
    entries = Gradebook(url, COURSE)
    try:
        entries.update_or_create_assignment(lab.name)
        names = {"notebook": lab.name, "assignment": lab.name, "db_url": url}
        source = labs / "source" / lab.name / f"{lab.name}.ipynb"
        try:
            apply((*BLANK, preprocessors.SaveCells), source, nbgrader=names)
        except ValueError as error:
            raise ValueError(
                f"{error} Move {labs / 'gradebook.db'} away to begin a new one, or take back "
                f"the change of the cells."
            ) from error
        entries.db.expire_all()
        yield Book(entries, labs / "autograded", lab)
    finally:
        entries.close()
        entries.engine.dispose()


class Book:
    """The gradebook's entries for one lab."""

    def __init__(self, entries: Any, autograded: Path, lab: Lab) -> None:
        self._entries, self._autograded, self._lab = entries, autograded, lab

    def students(self) -> list[str]:
        """Return everybody in the gradebook, from this lab or another."""
        return [student.id for student in self._entries.students]

    def record(self, result: Result, submission: str) -> None:
        """Enter a result, unless it is the one that stands there already.

        Args:
            result: If it needs a person, that person is asked to confirm each of its points.
            submission: A digest of what was handed in. If it is another one than before, a person
                is asked to look again at points that a person gave.
        """
        if submission:
            self._entries.update_or_create_student(result.student)
        name = self._lab.name
        path = self._autograded / result.student / name / f"{name}.ipynb"
        if not result.notebook:
            self._ask_for_review(result.student)
            path.unlink(missing_ok=True)  # what is entered next is new, even if it is the same
            return
        digest = hashlib.sha256(repr(replace(result, seconds=0.0)).encode()).hexdigest()
        # A gradebook that was moved away leaves its notebooks behind.
        known = _origin(path) if self._entry(result.student) else {}
        if known == {"result": digest, "submission": submission}:
            return
        with self._entries.db.no_autoflush:  # or SQLAlchemy warns of nbgrader's half-made rows
            self._entries.update_or_create_submission(name, result.student)
        entry = self._entries.find_submission_notebook(name, name, result.student)
        for grade in entry.grades:
            grade.auto_score = result.points.get(grade.name)
            by_person = grade.manual_score is not None
            looked_at = by_person and known.get("submission") == submission
            unsure = by_person or grade.auto_score is None or result.status != "graded"
            grade.needs_manual_grade = unsure and not looked_at
        notebook = formats.reads(result.notebook, as_version=4)
        answers = {
            cell.metadata.get("nbgrader", {}).get("grade_id"): cell for cell in notebook.cells
        }
        for comment in entry.comments:
            released = self._entries.find_source_cell(comment.name, name, name).source
            blank = comment.name not in answers or answers[comment.name].source == released
            comment.auto_comment = "No response." if blank else None
        self._entries.db.commit()
        # Written last: if this is interrupted, the next run enters the same again.
        shown = harmless(result.notebook, self._lab)  # formgrader would run what is in there
        shown.metadata["cnnlib"] = {"result": digest, "submission": submission}
        write_whole(path, formats.writes(shown))

    def final(self, result: Result) -> tuple[Result, dict[str, str]]:
        """Return a result with the points that persons gave, and their comments by grade_id."""
        if not result.notebook:
            return result, {}
        name = self._lab.name
        entry = self._entries.find_submission_notebook(name, name, result.student)
        for grade in entry.grades:  # points by hand, before the lab gave less for the answer
            if grade.manual_score is not None and grade.manual_score > grade.max_score:
                grade.needs_manual_grade = True
        self._entries.db.commit()
        points = {
            grade.name: None if grade.needs_manual_grade else grade.score for grade in entry.grades
        }
        comments = {entry.name: entry.comment for entry in entry.comments if entry.comment}
        if None not in points.values():  # a person has looked at everything that needed one
            result = replace(result, status="graded", reason="")
        return replace(result, points=points), comments

    def refuse(self, result: Result, error: Exception) -> Result:
        """Return a result for one that cannot be entered; its entry so far counts no longer."""
        self._entries.db.rollback()
        reason = f"the grader cannot keep or show its result: {type(error).__name__}: {error}"
        refused = replace(result, status="needs a person", reason=clean(reason)[:500], notebook="")
        refused = replace(refused, points=dict.fromkeys(result.points), error={})
        self.record(refused, "")
        return refused

    def _entry(self, student: str) -> Any:
        """Return what the gradebook has of a student's notebook, or None."""
        name = self._lab.name
        try:
            return self._entries.find_submission_notebook(name, name, student)
        except MissingEntry:
            return None

    def _ask_for_review(self, student: str) -> None:
        """Mark points of an earlier submission: what was handed in since could not be graded."""
        if entry := self._entry(student):
            for grade in entry.grades:
                grade.needs_manual_grade = True
            self._entries.db.commit()


def _origin(path: Path) -> dict[str, str]:
    """Return which result an autograded notebook shows."""
    try:
        origin: dict[str, str] = json.loads(path.read_text("utf-8"))["metadata"]["cnnlib"]
    except (OSError, ValueError, KeyError):
        return {}
    return origin
