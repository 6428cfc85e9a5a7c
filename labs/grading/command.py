"""Release the labs, and grade what students hand in: `make release`, `make grade`."""

from __future__ import annotations

import argparse
import io
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from labs.grading.batch import Outcome, alone, check, grade_batch
from labs.grading.collect import HandIn, collect
from labs.grading.feedback import page
from labs.grading.files import write_whole
from labs.grading.grade import Result
from labs.grading.gradebook import Book, open_gradebook
from labs.grading.lab import Lab, read_lab
from labs.grading.release import release
from labs.grading.report import grades_csv, plot_points, summary, table
from labs.grading.sandbox import SandboxError

ROOT = Path(__file__).resolve().parents[2]


def main(words: Sequence[str] | None = None) -> None:
    """Do what the command line says, or these words of one."""
    parser = argparse.ArgumentParser(prog="python -m labs.grading", description=__doc__)
    commands = parser.add_subparsers(required=True)
    make = commands.add_parser("release", help="build labs/release and the archive for students")
    make.set_defaults(do=_release)
    judge = commands.add_parser("grade", help="grade a folder of submissions")
    judge.set_defaults(do=_grade)
    judge.add_argument("folder", type=Path, nargs="?", help="one folder or one file per student")
    judge.add_argument("--lab", required=True, help="such as lab1")
    judge.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler with workers")
    judge.add_argument(
        "--again",
        nargs="*",
        metavar="STUDENT",
        help="grade these, or all, even if they have a result from before",
    )
    judge.add_argument(
        "--check",
        action="store_true",
        help="grade the lab's own solution and an empty lab alone, which every batch begins with",
    )
    judge.add_argument(
        "--unsafe", action="store_true", help="run students' code with all rights that you have"
    )
    for command in (make, judge):
        command.add_argument(
            "--root", type=Path, default=ROOT, help="of labs/ and build/ (default: here)"
        )
    arguments = parser.parse_args(words)
    try:
        arguments.do(arguments)
    except (ValueError, SandboxError, ConnectionError) as error:
        sys.exit(f"{error}.")
    except KeyboardInterrupt:
        print("\nStopped: what was graded is kept. The same command goes on from there.")
        sys.exit(130)


def _release(arguments: argparse.Namespace) -> None:
    archive = release(arguments.root)
    print(f"labs/release and {archive.relative_to(arguments.root)} are made anew.")


def _grade(arguments: argparse.Namespace) -> None:
    labs = arguments.root / "labs"
    lab = read_lab(labs / "source", arguments.lab)
    where = {"scheduler": arguments.scheduler, "unsafe": arguments.unsafe}
    if arguments.check:
        check(lab, **where)
        print(f"The solution of {lab.name} gets all points, and an empty lab none.")
        return
    if arguments.folder is None:
        raise ValueError("expected a folder of submissions, got none")
    hand_ins = collect(arguments.folder, lab.name)
    again = _again(arguments.again, hand_ins)
    grades = arguments.root / "build" / "grades" / lab.name
    with alone(grades), open_gradebook(labs, lab) as book:
        absent = sorted(set(book.students()) - {hand_in.student for hand_in in hand_ins})
        nothing = f"nothing was handed in for {lab.name}"
        hand_ins += [HandIn(student, None, nothing) for student in absent]
        outcomes = grade_batch(
            hand_ins,
            lab,
            grades / "results",
            again=again,
            seed=_seed(grades),
            **where,
        )
        results = {}
        for number, outcome in enumerate(outcomes, start=1):
            try:
                book.record(outcome.result, outcome.submission)
            except Exception as error:  # whatever it is, the others are graded
                outcome = replace(outcome, result=book.refuse(outcome.result, error))
            results[outcome.result.student] = outcome.result
            print(f"[{number}/{len(hand_ins)}] {_line(outcome, lab)}", flush=True)
        finals = [_final(book, results[student], lab) for student in sorted(results)]
    _report(finals, lab, grades)


def _seed(grades: Path) -> str:
    """Return what decides what checks draw at random: the same for a lab, until the folder goes."""
    path = grades / "seed"
    if not path.exists():
        write_whole(path, secrets.token_hex(16))
    return path.read_text("utf-8")


def _final(book: Book, result: Result, lab: Lab) -> tuple[Result, str]:
    """Return a result with the points that persons gave, and its page; none if none can be made."""
    try:
        final, comments = book.final(result)
        return final, page(final, lab, comments) if final.status == "graded" else ""
    except Exception as error:
        return book.refuse(result, error), ""


def _again(names: list[str] | None, hand_ins: Sequence[HandIn]) -> set[str]:
    """Return whom to grade even if there is a result."""
    students = {hand_in.student for hand_in in hand_ins}
    if unknown := set(names or ()) - students:
        raise ValueError(
            f"expected after --again students who handed something in, got {min(unknown)}"
        )
    return set() if names is None else set(names) or students


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
