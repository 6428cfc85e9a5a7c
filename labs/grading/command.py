"""Release the labs, and grade what students hand in: `make release`, `make grade`."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from cnnlib._files import PROJECT, write_whole
from labs.grading.batch import alone, check, grade_batch
from labs.grading.collect import HandIn, collect
from labs.grading.lab import read_lab
from labs.grading.sandbox import SandboxError


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
            "--root", type=Path, default=PROJECT, help="of labs/ and build/ (default: here)"
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
    from labs.grading.release import release  # and with it nbgrader, which the workers do not need

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
    with (
        alone(grades),
        grade_batch(
            hand_ins, lab, grades / "results", again=again, seed=_seed(grades), **where
        ) as outcomes,
    ):
        # Imported while the workers start: nbgrader and Matplotlib take some seconds.
        from labs.grading.record import record

        record(outcomes, hand_ins, lab, labs, grades)


def _seed(grades: Path) -> str:
    """Return what decides what checks draw at random: the same for a lab, until the folder goes."""
    path = grades / "seed"
    if not path.exists():
        write_whole(path, secrets.token_hex(16))
    return path.read_text("utf-8")


def _again(names: list[str] | None, hand_ins: Sequence[HandIn]) -> set[str]:
    """Return whom to grade even if there is a result."""
    students = {hand_in.student for hand_in in hand_ins}
    if unknown := set(names or ()) - students:
        raise ValueError(
            f"expected after --again students who handed something in, got {min(unknown)}"
        )
    return set() if names is None else set(names) or students
