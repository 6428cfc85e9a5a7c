"""Run the tests under conditions that differ from machine to machine: `make conditions`.

usage: python -m tools.conditions [CONDITION ...]

Conditions that have nothing to do with one another share a run. Those that are named on the
command line make up one run of their own, so that each can be tried alone.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from cnnlib._files import PROJECT
from tools.trial import Outcome, install, run_tests, table

BUILD = PROJECT / "build" / "conditions"


@dataclass(frozen=True)
class Condition:
    """What is different, in words, and what is to be set for it; the rest is in `trial`."""

    what: str
    variables: dict[str, str] = field(default_factory=dict)


CONDITIONS = {
    "locale": Condition(
        "`LC_ALL=C`; a text file that is opened without `encoding=` is an error",
        {
            "LC_ALL": "C",
            "PYTHONWARNDEFAULTENCODING": "1",  # pyproject.toml makes it an error in our own files
            "PYTHONWARNINGS": "ignore::EncodingWarning",  # in the programs that tests start
        },
    ),
    "zone": Condition("`TZ=Pacific/Chatham`", {"TZ": "Pacific/Chatham"}),
    "path": Condition("checkout and environment in a path with spaces and accents"),
    "elsewhere": Condition("started from another working directory"),
    "one-thread": Condition("1 thread", {"OMP_NUM_THREADS": "1"}),
    "two-threads": Condition("2 threads", {"OMP_NUM_THREADS": "2"}),
    "read-only": Condition("lectures alone, in a checkout that nobody can write to"),
    "shuffled": Condition("lectures alone, one after the other in a random order"),
}
RUNS = (
    ("locale", "zone", "path", "one-thread"),
    ("elsewhere", "two-threads"),
    ("read-only", "shuffled"),
)


def main() -> None:
    """Run under the named conditions, or all, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="CONDITION", help=", ".join(CONDITIONS))
    names = parser.parse_args().names
    if unknown := set(names) - set(CONDITIONS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    outcomes = [trial(run) for run in ([tuple(names)] if names else RUNS)]
    print("\n" + table(("run", "conditions"), outcomes))
    if not all(outcome.good for outcome in outcomes):
        raise SystemExit(1)


def trial(names: tuple[str, ...]) -> Outcome:
    """Run the tests under several conditions at once."""
    name, what = "-".join(names), "; ".join(CONDITIONS[name].what for name in names)
    variables = {k: v for name in names for k, v in CONDITIONS[name].variables.items()}
    project, environment = PROJECT, Path(sys.prefix)
    if "path" in names:
        project = copy(BUILD / "été à la plage")
        track(project)
        environment = project / ".venv"
        pins = f"--constraints={project / 'constraints.txt'}"
        if words := install(environment, sys.executable, project, pins):
            return Outcome(name, what, (0, 1, 0), (words,))
    folder = project
    if "elsewhere" in names:
        folder = BUILD / "elsewhere"
        folder.mkdir(parents=True, exist_ok=True)
    before: list[str] = []
    if "read-only" in names:
        if shutil.which("bwrap") is None:
            reason = "bubblewrap is missing, which can take the right to write even from root"
            return Outcome(name, what, skipped=reason)
        before = read_only(project)
    tests = [project / "tests", project / "notebooks"]
    if {"read-only", "shuffled"} & set(names):
        tests = sorted((project / "notebooks").glob("*.ipynb"))
    arguments = [f"--rootdir={project}", "-c", project / "pyproject.toml"]
    if "shuffled" in names:
        seed = random.randrange(1000)
        random.Random(seed).shuffle(tests)
        what += f" (seed {seed})"
        arguments += ["-n", "0"]
    arguments += ["--pictures", BUILD / "pictures", *tests]
    return run_tests(
        name,
        what,
        environment,
        [str(argument) for argument in arguments],
        variables=variables,
        folder=folder,
        before=before,
    )


def read_only(project: Path) -> list[str]:
    """Return a command that runs another one where nobody, not even root, can write to a folder.

    The folder for reports stays as it is.
    """
    reports = PROJECT / "build"
    reports.mkdir(exist_ok=True)
    held = ["--ro-bind", project, project, "--bind", reports, reports]
    return ["bwrap", "--dev-bind", "/", "/", *map(str, held)]


def copy(project: Path) -> Path:
    """Copy the checkout, without what git ignores, to a new folder and return it."""
    shutil.rmtree(project, ignore_errors=True)
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE).stdout
    for name in map(os.fsdecode, filter(None, names.split(b"\0"))):
        if (PROJECT / name).is_file():  # git still lists a file that was deleted
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, project / name)
    return project


def track(project: Path) -> None:
    """Make a folder a git repository of its own: tests ask git what belongs to the project."""
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=project, check=True)


if __name__ == "__main__":
    main()
