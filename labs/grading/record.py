"""Write down what happened to each submission: in the gradebook, in grades.csv, on a page."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from cnnlib._files import write_whole
from labs.grading.batch import Outcome
from labs.grading.collect import HandIn
from labs.grading.feedback import page
from labs.grading.grade import Result
from labs.grading.gradebook import Book, open_gradebook
from labs.grading.lab import Lab
from labs.grading.report import grades_csv, plot_points, summary, table


def record(
    outcomes: Iterable[Outcome], hand_ins: Sequence[HandIn], lab: Lab, labs: Path, grades: Path
) -> None:
    """Write down each outcome when it arrives, and in the end what all of them come to.

    Args:
        outcomes: What happened to the submissions.
        hand_ins: What the students handed in.
        lab: The lab that it should be.
        labs: The folder with the gradebook.
        grades: The folder for grades.csv, summary.png and pages.
    """
    results = {}
    with open_gradebook(labs, lab) as book:
        absent = sorted(set(book.students()) - {hand_in.student for hand_in in hand_ins})
        nothing = f"nothing was handed in for {lab.name}"
        missing = [Outcome(Result(who, lab.name, "needs a person", nothing)) for who in absent]
        count = len(hand_ins) + len(missing)
        for number, outcome in enumerate(chain(missing, outcomes), start=1):
            try:
                book.record(outcome.result, outcome.submission)
            except Exception as error:  # whatever it is, the others are graded
                outcome = replace(outcome, result=book.refuse(outcome.result, error))
            results[outcome.result.student] = outcome.result
            print(f"[{number}/{count}] {_line(outcome, lab)}", flush=True)
        finals = [_final(book, results[student], lab) for student in sorted(results)]
    _report(finals, lab, grades)


def _final(book: Book, result: Result, lab: Lab) -> tuple[Result, str]:
    """Return a result with the points that persons gave, and its page; none if none can be made."""
    try:
        final, comments = book.final(result)
        return final, page(final, lab, comments) if final.status == "graded" else ""
    except Exception as error:
        return book.refuse(result, error), ""


def _line(outcome: Outcome, lab: Lab) -> str:
    result = outcome.result
    how = "from before" if outcome.before else f"{result.seconds:.1f} s"
    return f"{result.student}: {summary(result, lab)} ({how})"


def _report(finals: Sequence[tuple[Result, str]], lab: Lab, grades: Path) -> None:
    """Write grades.csv, summary.png and the pages; print the table."""
    results = [result for result, _ in finals]
    pages = grades / "feedback"
    for old in pages.glob("*.html"):
        old.unlink()
    for result, text in finals:
        if text:
            write_whole(pages / f"{result.student}.html", text)
    picture = io.BytesIO()
    plot_points(results, lab).savefig(picture, format="png", dpi=150)
    write_whole(grades / "summary.png", picture.getvalue())
    write_whole(grades / "grades.csv", grades_csv(results, lab))
    print(f"\n{table(results, lab)}\nSee {grades}: grades.csv, summary.png, feedback/.")
