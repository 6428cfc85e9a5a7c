"""What `nbgrader export` writes: the same points as grades.csv, for all labs."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from nbgrader.api import MissingEntry
from nbgrader.plugins import ExportPlugin

from cnnlib._files import write_whole
from labs.grading.safe import harmless_field


class SettledPoints(ExportPlugin):  # type: ignore[misc]
    """One row for each lab and student; no points as long as a person must decide about them."""

    def export(self, gradebook: Any) -> None:
        """Write the table."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["assignment", "student_id", "score", "max_score", "by hand"])
        labs, students = set(self.assignment), set(self.student)  # empty: all of them
        for assignment in gradebook.assignments:
            for student in gradebook.students:
                if (labs and assignment.name not in labs) or (
                    students and student.id not in students
                ):
                    continue
                settled = _settled(gradebook, assignment.name, student.id)
                name = harmless_field(student.id)
                rows.writerow([assignment.name, name, settled[0], assignment.max_score, settled[1]])
        write_whole(Path(self.to or "grades.csv"), text.getvalue())


def _settled(gradebook: Any, lab: str, student: str) -> tuple[str, str]:
    """Return a student's points so far, and the answers that a person has yet to read."""
    try:
        grades = gradebook.find_submission(lab, student).notebooks[0].grades
    except (MissingEntry, IndexError):
        return "", ""
    waiting = [grade for grade in grades if grade.needs_manual_grade]
    by_hand = [grade.name for grade in waiting if grade.cell.cell_type == "markdown"]
    if len(by_hand) < len(waiting):  # what a check gave is in doubt: so is the sum
        return "", ""
    total = sum(grade.score for grade in grades if not grade.needs_manual_grade)
    return f"{total:g}", " ".join(sorted(by_hand))
