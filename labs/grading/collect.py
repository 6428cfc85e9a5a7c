"""Find the one notebook that each student handed in."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

FORMULA = ("=", "+", "-", "@")  # what a spreadsheet would calculate
LONGEST = 200  # bytes of a student's name, which becomes the name of files


@dataclass(frozen=True)
class HandIn:
    """What one student handed in.

    Attributes:
        student: The name of the student's folder or file.
        path: The notebook to grade, or None.
        problem: Why there is none, in a few words.
        note: What a person may want to know about the choice, in one sentence.
    """

    student: str
    path: Path | None
    problem: str = ""
    note: str = ""


def collect(folder: Path, lab: str) -> list[HandIn]:
    """Return what each student handed in, sorted by name; no file is opened.

    Args:
        folder: One folder or one file per student: `anna/lab1/lab1.ipynb` (as nbgrader collects
            them), `anna/homework.ipynb` or `anna.ipynb`.
        lab: The lab that is graded, such as "lab1".

    Raises:
        ValueError: The folder is missing or empty.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder of submissions, got {folder}: there is none")
    files = defaultdict[str, list[Path]](list)
    unreadable = []
    for entry in _visible(folder):
        if entry.is_symlink() or not entry.is_dir():
            files[_name(entry.stem)].append(entry)
            continue
        own, student = entry / lab, _name(entry.name)
        try:
            inside = [own] if own.is_symlink() else _visible(own if own.is_dir() else entry)
            files[student] = inside + files[student]
        except OSError as error:
            problem = f"the folder cannot be read: {error.strerror}"
            unreadable.append(HandIn(student, None, problem))
    found = unreadable + [_choose(student, own, lab) for student, own in files.items()]
    if not found:
        raise ValueError(
            f"expected one folder or one file per student in {folder}, got none: collect the "
            f"submissions first"
        )
    return sorted(found, key=lambda hand_in: hand_in.student)


def _choose(student: str, files: list[Path], lab: str) -> HandIn:
    notebooks = [file for file in files if file.suffix.lower() == ".ipynb"]
    if len(notebooks) > 1:  # one that has the lab's own name comes before drafts and copies
        named = [file for file in notebooks if file.stem == lab]
        notebooks = named if len(named) == 1 else notebooks
    names = ", ".join(_text(file.name) for file in notebooks or files)
    links = [file for file in files if _is_link(file)]
    if len(student.encode()) > LONGEST:
        problem = f"the name has more than {LONGEST} bytes: give the folder or file a shorter one"
    elif links:
        problem = f"{_text(links[0].name)} is a link to another place, and links are not followed"
    elif len(notebooks) > 1:
        problem = f"there are {len(notebooks)} notebooks ({names}): leave the one that counts"
    elif not files:
        problem = f"nothing was handed in for {lab}"
    elif not notebooks:
        problem = f"there is no notebook, only {names}"
    elif not notebooks[0].is_file():
        problem = f"{names} is not a plain file"
    else:
        others = [f for f in files if f.suffix.lower() == ".ipynb" and f not in notebooks]
        beside = ", ".join(_text(file.name) for file in others)
        beside = f"{_text(notebooks[0].name)} was graded, and not {beside} beside it"
        return HandIn(student, notebooks[0], note=beside if others else "")
    return HandIn(student, None, problem)


def _visible(folder: Path) -> list[Path]:
    """Return what lies in a folder, without what operating systems and editors put there."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and entry.name != "__MACOSX"
    )


def _is_link(file: Path) -> bool:
    """Say whether something is a link of any kind."""
    try:
        there = file.lstat()
    except OSError:
        return False
    return stat.S_ISLNK(there.st_mode) or (stat.S_ISREG(there.st_mode) and there.st_nlink > 1)


def _text(name: str) -> str:
    """Return a file's name as text that every encoding can hold, and every terminal show."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _name(name: str) -> str:
    """Return a student's name: it becomes that of files, and stands in tables."""
    text = _text(name)
    return f"_{text}" if text.startswith(FORMULA) else text
