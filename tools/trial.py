"""Run the tests in another environment or place, and put what came out into a table.

`make matrix` and `make conditions` stand on it. PYTEST_ADDOPTS holds more arguments for pytest.
"""

from __future__ import annotations

import os
import subprocess
import time
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from cnnlib._files import PROJECT

# For all targets alike: two files at a time, as in `make test`.
PYTEST = ("-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider")
MOST_NAMED = 20  # tests that failed, or reasons to skip some, that are told below the table


@dataclass(frozen=True)
class Outcome:
    """What came of one run: counts of tests, the names of those that failed, and the time.

    A run that could not be tried has no counts, and says why in `skipped`.
    """

    name: str
    what: str
    counts: tuple[int, int, int] | None = None  # passed, failed, skipped
    failed: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()  # why tests were skipped
    seconds: float = 0.0
    skipped: str = ""

    @property
    def good(self) -> bool:
        """Whether tests ran and all of them passed, or the run was left out for a reason."""
        if self.counts is None:
            return bool(self.skipped)
        return self.counts[0] > 0 and not self.failed


def binaries(environment: Path) -> Path:
    """Return the folder of an environment's commands."""
    return environment / ("Scripts" if os.name == "nt" else "bin")


def interpreter(environment: Path) -> Path:
    """Return the Python of an environment."""
    return binaries(environment) / ("python.exe" if os.name == "nt" else "python")


def install(environment: Path, python: str, project: Path, *options: str) -> str:
    """Make an environment anew with uv, which links what lies in its cache.

    Args:
        environment: Its folder.
        python: The interpreter.
        project: The checkout, which is installed there with all its extras.
        options: More for `uv pip install`.

    Returns:
        What went wrong, or nothing.
    """
    with (project / "pyproject.toml").open("rb") as file:
        extras = ",".join(tomllib.load(file)["project"]["optional-dependencies"])
    package = f"cnnlib[{extras}] @ {project.as_uri()}"
    make = ["venv", "--clear", "--seed", "--no-project", "--python", python, environment]
    fill = ["pip", "install", "--python", interpreter(environment), *options, "-e", package]
    for command in (make, fill):
        result = subprocess.run(
            [find_uv_bin(), "--quiet", *map(str, command)],
            cwd=project,
            encoding="utf-8",
            stderr=subprocess.PIPE,
        )
        if result.returncode:
            return result.stderr.strip() or f"uv ended with {result.returncode}"
    return ""


def run_tests(
    name: str,
    what: str,
    environment: Path,
    arguments: Sequence[str],
    *,
    variables: Mapping[str, str] | None = None,
    folder: Path = PROJECT,
    before: Sequence[str] = (),
) -> Outcome:
    """Run pytest in sight.

    Args:
        name: Of the run, and of its report in build/trials.
        what: What is special about it, for the table.
        environment: Whose Python runs.
        arguments: For pytest, besides PYTEST.
        variables: For its environment, besides those that are set here.
        folder: Where to run it.
        before: A command that runs the one that follows it.
    """
    report = PROJECT / "build" / "trials" / f"{name}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    path = os.pathsep.join([str(binaries(environment)), os.environ.get("PATH", "")])
    print(f"\n{name}: {what}", flush=True)
    began = time.perf_counter()
    result = subprocess.run(
        [*before, interpreter(environment), *PYTEST, f"--junit-xml={report}", *arguments],
        cwd=folder,
        env=os.environ | {"VIRTUAL_ENV": str(environment), "PATH": path} | dict(variables or {}),
    )
    seconds = time.perf_counter() - began
    if not report.exists():
        failed = (f"pytest ended with {result.returncode} and without a report",)
        return Outcome(name, what, (0, 1, 0), failed, seconds=seconds)
    return read(name, what, report, seconds)


def read(name: str, what: str, report: Path, seconds: float = 0.0) -> Outcome:
    """Count what a report of pytest says."""
    passed, skipped, failed, reasons = 0, 0, [], set()
    for case in ET.parse(report).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif (skip := case.find("skipped")) is not None:
            skipped += 1
            reasons.add(skip.get("message", ""))
        else:
            passed += 1
    counts = (passed, len(failed), skipped)
    return Outcome(name, what, counts, tuple(failed), tuple(sorted(reasons)), seconds)


def table(heads: tuple[str, str], outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table in Markdown, and below it all that was not tried."""
    lines = [f"| {heads[0]} | {heads[1]} | passed | failed | skipped | minutes |"]
    lines.append("|---|---|---|---|---|---|")
    below = []
    for one in outcomes:
        if one.counts is None:
            lines.append(f"| {one.name} | {one.what} | – | – | – | – |")
            below.append(f"{one.name} was not tried: {one.skipped}")
            continue
        cells = [f"{count:,}" for count in one.counts] + [f"{one.seconds / 60:.1f}"]
        lines.append(f"| {one.name} | {one.what} | {' | '.join(cells)} |")
        below += [f"{one.name} failed: {test}" for test in one.failed[:MOST_NAMED]]
        below += [f"{one.name} skipped tests: {reason}" for reason in one.reasons[:MOST_NAMED]]
    return "\n".join([*lines, "", *(f"- {line}" for line in below)]).rstrip()
