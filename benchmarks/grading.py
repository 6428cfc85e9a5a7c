"""Grade thirty students with `python -m labs.grading` and with nbgrader's own `autograde`.

usage: python -m benchmarks.grading [STUDENTS]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cnnlib._files import PROJECT

LAB = "lab1"


def prepare(folder: Path, students: int) -> None:
    """Make a course with one lab in which every student hands in the solution."""
    source = PROJECT / "labs" / "source" / LAB
    shutil.copytree(source, folder / "labs" / "source" / LAB)
    shutil.copy(PROJECT / "labs" / "nbgrader_config.py", folder / "labs")
    for number in range(students):
        shutil.copytree(source, folder / "labs" / "submitted" / f"student{number:02}" / LAB)


def seconds(command: list[str], folder: Path) -> float:
    """Return how long a command takes."""
    programs = str(Path(sys.executable).parent)
    path = os.pathsep.join([programs, os.environ["PATH"]])
    began = time.perf_counter()
    subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(PROJECT)},
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - began


def main() -> None:
    """Time both, one after the other, and print a table."""
    students = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    python = [sys.executable, "-m"]
    with tempfile.TemporaryDirectory() as name:
        root, labs = Path(name), Path(name, "labs")
        prepare(root, students)
        ours = [*python, "labs.grading", "grade", str(labs / "submitted"), "--lab", LAB]
        took = {"labs.grading": seconds([*ours, "--root", name], PROJECT)}
        (labs / "gradebook.db").unlink()
        shutil.rmtree(labs / "autograded")
        seconds([*python, "nbgrader", "generate_assignment", LAB], labs)
        theirs = [*python, "nbgrader", "autograde", LAB, "--ExecutePreprocessor.timeout=300"]
        took["nbgrader autograde"] = seconds(theirs, labs)
    print(f"{students} students, {os.cpu_count()} cores\n")
    print(f"{'':20}{'seconds':>9}{'students a minute':>19}{'ratio':>7}")
    for name, value in took.items():
        rate, ratio = 60 * students / value, took["nbgrader autograde"] / value
        print(f"{name:20}{value:9.1f}{rate:19.1f}{ratio:7.1f}")


if __name__ == "__main__":
    main()
