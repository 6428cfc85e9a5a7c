"""What a student handed in, mended into a notebook that can be graded."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from labs.grading.lab import Cell, Lab, defined, without_hidden
from labs.grading.pipe import clean

LARGEST = 100_000_000  # bytes of a file; pictures in stored outputs make notebooks large
MOST_TEXT = 2_000_000  # characters that a student wrote
MOST_CELLS = 1000
BLANK = "YOUR ANSWER HERE"  # what nbgrader writes into an answer in words
BASE64 = re.compile(r"[\w+/=\s]+", re.ASCII)


@dataclass(frozen=True)
class Prepared:
    """A submission, ready to be executed.

    Attributes:
        notebook: The notebook, with the author's checks and without outputs; empty if what was
            handed in cannot be executed.
        notes: What was mended, one sentence each.
        reason: Why a person must look at it, or "".
    """

    notebook: dict[str, Any]
    notes: tuple[str, ...] = ()
    reason: str = ""


@dataclass
class _Written:
    """A cell as it was handed in; `id` is that of the lab's cell that it stands for, or ""."""

    kind: str
    text: str
    id: str
    attachments: dict[str, Any]


def prepare(raw: bytes, lab: Lab) -> Prepared:
    """Return what a student wrote, in the student's order, between the author's own checks.

    Locked cells become those of the lab again, whatever was done to them: edited, deleted, doubled,
    moved before the answer, or of another type. Answers whose marks are gone are recognised by the
    function that they define.

    Args:
        raw: The bytes of the file.
        lab: The lab that it should be.
    """
    try:
        cells = _read(raw)
    except ValueError as error:
        return Prepared({}, reason=str(error))
    marked = any(cell.id in lab.by_id for cell in cells)
    for cell in cells:
        cell.id = cell.id if cell.id in lab.by_id else ""
    released = {cell.id: without_hidden(cell.text) for cell in lab.cells if cell.locked}
    if not _belongs(cells, lab, released):
        return Prepared({}, reason=f"this is not {lab.name}: none of its tasks is in the notebook")
    notes: list[str] = []
    reasons = _recognise(cells, lab, released, notes, marked)
    cells, doubled = _answer_once(cells, lab, notes)
    cells = _words_below(cells, lab, notes)
    placed = _place(cells, lab, released, notes)
    return Prepared(_notebook(placed, lab), tuple(notes), "; ".join(reasons + doubled))


def _read(raw: bytes) -> list[_Written]:
    """Return the cells of a notebook, or say in a ValueError why there are none."""
    if not raw.strip():
        raise ValueError("the file is empty")
    if len(raw) > LARGEST:
        raise ValueError(
            f"the file has {len(raw) / 1e6:.0f} MB, and {LARGEST / 1e6:.0f} MB are let in: ask for "
            f"it without outputs"
        )
    try:
        notebook = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("the file is no notebook, or a damaged one: it is not JSON") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise ValueError("the file is JSON, but no notebook of format 4: it has no list of cells")
    cells = []
    for number, cell in enumerate(notebook["cells"], 1):
        try:
            text = clean("".join(cell["source"]))
            kind = cell["cell_type"]
            known = kind in ("code", "markdown", "raw")
        except (KeyError, TypeError):
            known = False
        if not known:
            raise ValueError(f"the notebook is damaged: cell {number} has no known type or no text")
        metadata = cell.get("metadata")
        nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
        id = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
        pictures = _pictures(cell.get("attachments")) if kind == "markdown" else {}
        cells.append(_Written(kind, text, id if isinstance(id, str) else "", pictures))
    if len(cells) > MOST_CELLS or sum(len(cell.text) for cell in cells) > MOST_TEXT:
        raise ValueError(
            f"the notebook has more than {MOST_CELLS} cells or {MOST_TEXT / 1e6:.0f} million "
            f"characters: too many to grade without a look"
        )
    return cells


def _pictures(attachments: Any) -> dict[str, dict[str, str]]:
    """Return the pictures that are pasted into a text; what is none is left out."""
    pictures = {}
    for name, data in attachments.items() if isinstance(attachments, dict) else ():
        own = data if isinstance(data, dict) else {}
        kept = {
            kind: own[kind]
            for kind in ("image/png", "image/jpeg")
            if isinstance(own.get(kind), str) and BASE64.fullmatch(own[kind])
        }
        if kept:
            pictures[clean(name)] = kept
    return pictures


def _same(one: str, other: str) -> bool:
    return one.split() == other.split()


def _belongs(cells: list[_Written], lab: Lab, released: dict[str, str]) -> bool:
    """Say whether something of this lab, beyond its imports, is in the notebook."""
    tasks = [text for id, text in released.items() if id != "setup"]
    names = {name for names in lab.names.values() for name in names}
    return any(
        names.intersection(defined(cell.text)) or any(_same(cell.text, task) for task in tasks)
        for cell in cells
    )


def _recognise(
    cells: list[_Written], lab: Lab, released: dict[str, str], notes: list[str], marked: bool
) -> list[str]:
    """Give cells whose marks are gone their ids back, and return what stays unclear."""
    reasons = []
    if not marked:
        notes.append("the marks of all cells were gone; they were recognised by what is in them")
    for id, text in released.items():
        if not any(cell.id == id for cell in cells):
            for cell in cells:
                if not cell.id and _same(cell.text, text):
                    cell.id = id
                    break
    for answer in (cell for cell in lab.cells if cell.answer and cell.id):
        if any(cell.id == answer.id for cell in cells):
            continue
        if answer.kind == "code":
            names = set(lab.names[answer.id])
            code = [c for c in cells if not c.id and c.kind == "code" and names]
            found = [c for c in cells if not c.id and names and names <= set(defined(c.text))]
            found = found or [c for c in code if names <= set(defined(c.text, values=True))]
        else:  # a text is what follows its task
            pairs = pairwise(cells)
            task = f"{answer.id}-text"
            found = [c for p, c in pairs if p.id == task and not c.id and c.kind == "markdown"]
        if len(found) == 1:
            found[0].id = answer.id
            if marked:
                notes.append(f"the answer {answer.id} had lost its mark and was recognised")
        elif found:
            reasons.append(f"{len(found)} cells could be the answer {answer.id}")
        elif marked:
            notes.append(f"the answer {answer.id} is not there")
        else:
            reasons.append(f"no cell could be recognised as the answer {answer.id}")
    return reasons


def _answer_once(
    cells: list[_Written], lab: Lab, notes: list[str]
) -> tuple[list[_Written], list[str]]:
    """Leave one cell for each answer; return all cells, and what a person must decide."""
    reasons: list[str] = []
    kept = list(cells)
    for answer in (cell for cell in lab.cells if cell.answer):
        same = [cell for cell in cells if cell.id and cell.id == answer.id]
        if len(same) < 2:
            continue
        tried = [cell for cell in same if "NotImplementedError" not in cell.text] or same[:1]
        best = tried[0]
        for cell in same:
            if cell is best:
                continue
            if cell not in tried or _same(cell.text, best.text):
                kept = [other for other in kept if other is not cell]
            else:
                cell.id = ""  # it runs where it stands
                reasons = [*reasons, f"the answer {answer.id} is there more than once"]
        notes.append(f"the answer {answer.id} was there {len(same)} times")
    return kept, list(dict.fromkeys(reasons))


def _words_below(cells: list[_Written], lab: Lab, notes: list[str]) -> list[_Written]:
    """Return the cells with what stands below an empty answer in words put into it."""
    kept: list[_Written] = []
    filled = ""
    for cell in cells:
        above = kept[-1] if kept else None
        if above and above.id and not cell.id and cell.kind == "markdown" and cell.text.strip():
            answer = lab.by_id[above.id]
            in_words = answer.answer and answer.kind == "markdown"
            if in_words and (above.text.strip() in ("", BLANK) or above.id == filled):
                before = f"{above.text}\n\n" if above.id == filled else ""
                above.text, filled = before + cell.text, above.id
                above.attachments |= cell.attachments
                continue
        kept.append(cell)
    if filled:
        notes.append(f"the answer {filled} stood in a cell below its own")
    return kept


def _place(
    cells: list[_Written], lab: Lab, released: dict[str, str], notes: list[str]
) -> list[_Written]:
    """Return the cells with every locked cell in its place, once, as the author wrote it."""

    def restored(cell: Cell) -> _Written:
        return _Written(cell.kind, released[cell.id], cell.id, {})

    count = Counter(cell.id for cell in cells)
    placed: list[_Written] = []
    seen: set[str] = set()
    for cell in cells:
        edited: list[_Written] = []
        if cell.id not in released:
            if cell.id and cell.kind != lab.by_id[cell.id].kind:
                notes.append(f"the answer {cell.id} had another type of cell")
                cell.kind = lab.by_id[cell.id].kind
            placed.append(cell)
        elif cell.id in seen:
            notes.append(f"{cell.id} was there more than once")
        elif lab.by_id[cell.id].points is not None and (
            count[question := cell.id.split("-")[0]] and question not in seen
        ):
            notes.append(f"{cell.id} stood before its answer")
            continue
        else:
            source = lab.by_id[cell.id]
            if cell.kind != source.kind:
                notes.append(f"{cell.id} had another type of cell")
            # The author's own copy has the hidden part in it.
            elif not (_same(cell.text, released[cell.id]) or _same(cell.text, source.text)):
                notes.append(f"{cell.id} was edited")
                # It runs as well, in the student's process: what works there works when graded.
                edited = [_Written("code", cell.text, "", {})] if cell.kind == "code" else []
            own_check = source.points is not None
            placed += [*(edited if own_check else []), restored(source)]
            placed += [] if own_check else edited
        seen.add(cell.id)
    before: list[str] = []
    for source in lab.cells:
        if source.locked and source.id not in seen:
            if not count[source.id]:
                notes.append(f"{source.id} was missing")
            places = {cell.id: place for place, cell in enumerate(placed) if cell.id}
            place = next((places[id] + 1 for id in reversed(before) if id in places), 0)
            # What the student wrote below an answer belongs to it.
            while before and place < len(placed) and not placed[place].id:
                place += 1
            placed.insert(place, restored(source))
        if source.id:
            before.append(source.id)
    return placed


def _notebook(cells: list[_Written], lab: Lab) -> dict[str, Any]:
    """Return a notebook of format 4.5 without outputs."""
    written = []
    for number, cell in enumerate(cells, 1):
        entry: dict[str, Any] = {
            "cell_type": cell.kind,
            "id": f"cell-{number}",
            "metadata": {},
            "source": cell.text,
        }
        if source := lab.by_id.get(cell.id):
            entry["metadata"]["nbgrader"] = {
                "grade": source.points is not None,
                "grade_id": source.id,
                "locked": source.locked,
                "schema_version": 3,
                "solution": source.answer,
                "task": False,
            } | ({} if source.points is None else {"points": source.points})
        if cell.kind == "code":
            entry |= {"execution_count": None, "outputs": []}
        elif cell.attachments:
            entry["attachments"] = cell.attachments
        written.append(entry)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": written, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
