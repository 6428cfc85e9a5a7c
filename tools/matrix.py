"""Run the tests on every Python that is here, and with the lowest versions: `make matrix`.

usage: python -m tools.matrix [3.11] [3.12] [3.13] [3.14] [lowest]

Environments lie in build/matrix; uv makes them anew each time from its cache, so that only the
first time downloads anything. Pythons are looked for on PATH, among those of uv and of pyenv.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path

from uv import find_uv_bin

from cnnlib._files import PROJECT
from tools.trial import Outcome, install, interpreter, run_tests, table

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
LOWEST = "lowest"
# What the lowest versions are not asked, with the reason.
NOT_ASKED = [
    # Each matplotlib draws in its own way: numbers and texts are compared, pictures are not.
    "--no-pictures",
    # Old versions use what newer ones of their own dependencies call deprecated.
    "-Wignore::DeprecationWarning",
    "-Wignore::PendingDeprecationWarning",
    # It says that constraints.txt is installed, which these are not.
    "--deselect=tests/test_environment.py::test_what_is_installed_is_what_constraints_say",
]


def main() -> None:
    """Run what is asked for, or all, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*PYTHONS, LOWEST]))
    names = parser.parse_args().names or [*PYTHONS, LOWEST]
    if unknown := set(names) - {*PYTHONS, LOWEST}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    outcomes = [trial(name) for name in names]
    print("\n" + table(("Python", "versions"), outcomes))
    if not all(outcome.good for outcome in outcomes):
        raise SystemExit(1)


def trial(name: str) -> Outcome:
    """Run the tests on one Python, or with the lowest versions on the oldest."""
    version = PYTHONS[0] if name == LOWEST else name
    python = find(version)
    if python is None:
        return Outcome(name, "", skipped=f"there is no Python {version} here")
    environment = PROJECT / "build" / "matrix" / name
    if name == LOWEST:
        options, arguments = ["--resolution=lowest-direct"], NOT_ASKED
    else:
        options, arguments = ["--constraints=constraints.txt"], []
        if version == PYTHONS[-1] and (words := no_wheel(python)):
            return Outcome(name, "", skipped=f"torch has no wheel for Python {version}: {words}")
    if words := install(environment, python, PROJECT, *options):
        return Outcome(name, "not installed", (0, 1, 0), (words,))
    return run_tests(name, versions(environment), environment, arguments)


def find(version: str) -> str | None:
    """Return the path of the Python of a version, if there is one."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [os.environ.get("PATH", ""), *map(str, sorted(pyenv.glob(f"{version}.*/bin")))]
    options = ["--no-project", "--no-python-downloads", "--system"]
    found = subprocess.run(
        [find_uv_bin(), "python", "find", *options, version],
        env=os.environ | {"PATH": os.pathsep.join(places)},
        encoding="utf-8",
        capture_output=True,
    )
    return found.stdout.strip() or None


def no_wheel(python: str) -> str:
    """Return what uv says if PyTorch does not know a Python yet, else nothing."""
    command = [find_uv_bin(), "pip", "install"]
    command += ["--dry-run", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python", python, "--target", str(PROJECT / "build" / "matrix" / "nothing")]
    command += ["--constraints", str(PROJECT / "constraints.txt"), "torch", "torchvision"]
    found = subprocess.run(command, encoding="utf-8", capture_output=True)
    return " ".join(found.stderr.split()) if found.returncode else ""


def versions(environment: Path) -> str:
    """Return the Python and the largest packages of an environment, in words."""
    code = (
        "import sys; from importlib.metadata import version\n"
        "print(sys.version.split()[0], *[f'{n} {version(n)}' for n in "
        "('torch', 'numpy', 'matplotlib', 'jupyterlab')], sep=', ')"
    )
    command = [str(interpreter(environment)), "-c", code]
    return subprocess.run(command, check=True, encoding="utf-8", stdout=subprocess.PIPE).stdout[:-1]


if __name__ == "__main__":
    main()
