"""Build what students get: labs without solutions and hidden checks, and one archive with it all.

nbgrader's own preprocessors take the secrets out; what they leave is searched for secrets again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import nbformat
from nbgrader import preprocessors as steps

from cnnlib._files import whole_file, whole_folder

formats: Any = nbformat  # whose functions have no types
# In the order of nbgrader's own `generate_assignment`; what stands in BLANK keeps hidden checks.
BLANK = (
    steps.LockCells,
    steps.ClearSolutions,
    steps.ClearOutput,
    steps.CheckCellMetadata,
    steps.ComputeChecksums,
)
PUBLIC = (steps.ClearHiddenTests, steps.ClearMarkScheme, steps.ComputeChecksums)
SECRET = ("SOLUTION", "HIDDEN TESTS")
MARKER = re.compile(r"(BEGIN|END)\W*(SOLUTION|HIDDEN)", re.IGNORECASE)  # however it is spelt
# What a student's archive holds besides the labs, from the project's root.
PARTS = (
    "notebooks",
    "cnnlib",
    "img",
    "data",
    "CITATION.cff",
    "LICENSE",
    "Makefile",
    "constraints.txt",
    "environment.yml",
    "pyproject.toml",
    "tools/environment.py",
)
ARCHIVE = "cnnlib-student"
NOT_OURS = {"__pycache__", ".ipynb_checkpoints", "MNIST"}  # made or loaded where the course is used


def release(root: Path) -> Path:
    """Write labs/release and build/cnnlib-student.zip anew.

    Args:
        root: The project's folder.

    Returns:
        The archive: the same bytes for the same files.

    Raises:
        ValueError: There is no lab, one cannot be released, or a secret was found in what came
            out. What was released before is then still there.
    """
    labs = root / "labs"
    sources = sorted(labs.glob("source/*/*.ipynb"))
    if not sources:
        raise ValueError(f"expected labs in {labs / 'source'}, such as lab1/lab1.ipynb, got none")
    with whole_folder(labs / "release") as fresh:
        for source in sources:
            target = fresh / source.parent.name / source.name
            if not target.parent.exists():
                others = shutil.ignore_patterns("*.ipynb", *NOT_OURS)
                shutil.copytree(source.parent, target.parent, ignore=others)
            notebook = public(source)
            _search(notebook, source)
            formats.write(notebook, target)
    return _archive(root)


def public(source: Path) -> Any:
    """Return a source notebook as students get it."""
    return apply((*BLANK, *PUBLIC), source)


def apply(chain: tuple[Any, ...], source: Path, **resources: Any) -> Any:
    """Return the notebook that a chain of nbgrader's preprocessors makes of a source notebook.

    Raises:
        ValueError: The notebook's markers or metadata are wrong.
    """
    notebook = formats.read(source, as_version=4)
    try:
        for step in chain:
            notebook, resources = step().preprocess(notebook, resources)
    except (RuntimeError, KeyError) as error:  # what nbgrader raises
        raise ValueError(f"{source.name} cannot be released: {error}") from error
    return notebook


def hidden_lines(source: Path) -> set[str]:
    """Return the lines of a source notebook that no student may see, without their indentation."""
    hidden, shown = set[str](), set[str]()
    for cell in formats.read(source, as_version=4).cells:
        inside = False
        for line in cell.source.splitlines():
            if any(f"{edge} {name}" in line for edge in ("BEGIN", "END") for name in SECRET):
                inside = "BEGIN" in line
            else:
                (hidden if inside else shown).add(line.strip())
    return {line for line in hidden - shown if any(map(str.isalnum, line))}


def _search(notebook: Any, source: Path) -> None:
    """Refuse a notebook that still shows a secret, or a marker that nbgrader did not know."""
    lines = {line.strip() for cell in notebook.cells for line in cell.source.splitlines()}
    markers = {line for line in lines if MARKER.search(line)}
    if found := sorted(markers) + sorted(hidden_lines(source) & lines):
        raise ValueError(
            f"{source.name} would show students {found[0]!r}: write the markers as "
            f"`### BEGIN SOLUTION`, `### BEGIN HIDDEN TESTS` and their ends"
        )


def _archive(root: Path) -> Path:
    path = root / "build" / f"{ARCHIVE}.zip"
    path.parent.mkdir(exist_ok=True)
    members = {name: root / name for name in _files(root)}
    members |= {
        file.relative_to(root).as_posix(): file
        for file in (root / "labs" / "release").rglob("*")
        if file.is_file()
    }
    members["README.md"] = root / "labs" / "student.md"
    with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            # The time and the rights are fixed, so that the same files make the same bytes.
            info = zipfile.ZipInfo(f"{ARCHIVE}/{name}", (1980, 1, 1, 0, 0, 0))
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, members[name].read_bytes())
    return path


def _files(root: Path) -> list[str]:
    """Return the files of PARTS: what git tracks, or all of them where there is no git."""
    if shutil.which("git"):
        command = ["git", "-C", str(root), "ls-files", "-z", "--", *PARTS]
        git = subprocess.run(command, capture_output=True, check=False)
        if names := os.fsdecode(git.stdout).split("\0")[:-1]:
            return [name for name in names if (root / name).is_file()]
    files = [path for part in PARTS for path in (root / part, *(root / part).rglob("*"))]
    return [
        path.relative_to(root).as_posix()
        for path in files
        if path.is_file() and not NOT_OURS.intersection(path.relative_to(root).parts)
    ]
