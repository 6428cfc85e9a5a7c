"""A lab as its author wrote it: the cells of the source notebook, and what they are worth."""

from __future__ import annotations

import ast
import json
import re
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

SOLUTION = re.compile(
    r"^([ \t]*)[^\n]*BEGIN SOLUTION.*?END SOLUTION[^\n]*", re.DOTALL | re.MULTILINE
)
HIDDEN = re.compile(
    r"^[^\n]*BEGIN HIDDEN TESTS.*?END HIDDEN TESTS[^\n]*\n?", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Cell:
    """A cell of the source notebook.

    Attributes:
        id: Its grade_id; empty for a cell that nbgrader does not know.
        kind: "code" or "markdown".
        text: Everything in it, solutions and hidden checks included.
        locked: The student must not change it.
        answer: The student writes here.
        points: What it is worth, or None if it is not graded.
    """

    id: str
    kind: str
    text: str
    locked: bool
    answer: bool
    points: float | None


@dataclass(frozen=True)
class Check:
    """Something that earns points: a cell of asserts, or an answer that a person reads.

    Attributes:
        id: The grade_id of its cell, for example "q1-more".
        question: The question that it belongs to, for example "q1".
        points: What it is worth.
        by_hand: A person gives the points.
    """

    id: str
    question: str
    points: float
    by_hand: bool


@dataclass(frozen=True)
class Lab:
    """A lab: its name and the cells of its source notebook.

    Attributes:
        name: For example "lab1".
        cells: All cells, in order.
    """

    name: str
    cells: tuple[Cell, ...]

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        """What earns points, in the order of the notebook."""
        return tuple(
            Check(cell.id, cell.id.split("-")[0], cell.points, by_hand=cell.answer)
            for cell in self.cells
            if cell.points is not None
        )

    @cached_property
    def setup(self) -> str:
        """The code of the cell that imports what everybody needs; empty if there is none."""
        return next((cell.text for cell in self.cells if cell.id == "setup"), "")

    @cached_property
    def imports(self) -> str:
        """The imports of the setup cell alone."""
        kinds = (ast.Import, ast.ImportFrom)
        nodes = [node for node in ast.parse(self.setup).body if isinstance(node, kinds)]
        return "\n".join(map(ast.unparse, nodes))

    @cached_property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The functions and classes that the student writes, by the id of the answer cell."""
        return {
            cell.id: defined(cell.text)
            for cell in self.cells
            if cell.answer and cell.kind == "code"
        }

    @cached_property
    def judged(self) -> str:
        """All that a verdict depends on: code, points, names; no word of the questions."""
        cells = [
            (cell.id, cell.points, self.names.get(cell.id) if cell.answer else cell.text)
            for cell in self.cells
            if cell.kind == "code" or cell.points is not None
        ]
        return repr((self.name, cells))

    def notebook(self, *, solved: bool) -> bytes:
        """Return the lab as somebody hands it in who answers everything, or nothing."""
        cells = []
        for cell in self.cells:
            text = (
                cell.text if solved else SOLUTION.sub(r"\1raise NotImplementedError()", cell.text)
            )
            own = {"nbgrader": {"grade_id": cell.id}} if cell.id else {}
            text = without_hidden(text) if cell.locked else text
            cells.append({"cell_type": cell.kind, "metadata": own, "source": text})
        return json.dumps({"cells": cells}).encode()

    @cached_property
    def by_id(self) -> dict[str, Cell]:
        """The cells that nbgrader knows, by their id."""
        return {cell.id: cell for cell in self.cells if cell.id}


def defined(code: str, *, values: bool = False) -> tuple[str, ...]:
    """Return the functions and classes that code defines for all to use; none if it is broken.

    With values, names that it gives a value count as well, such as `double = lambda x: 2 * x`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape, say: no concern of ours
            body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = [node.name for node in body if isinstance(node, kinds)]
    if values:
        targets = [t for node in body if isinstance(node, ast.Assign) for t in node.targets]
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return tuple(names)


def without_hidden(text: str) -> str:
    """Return a check without the part that students must not see."""
    return HIDDEN.sub("", text).rstrip()


def read_lab(folder: Path, name: str) -> Lab:
    """Read the source of a lab, `folder/name/name.ipynb`.

    Args:
        folder: The folder `labs/source`.
        name: For example "lab1".

    Raises:
        ValueError: The notebook is missing or broken; the message says how.
    """
    path = folder / name / f"{name}.ipynb"
    try:
        notebook = json.loads(path.read_bytes())
        cells = tuple(_cell(cell) for cell in notebook["cells"])
    except FileNotFoundError:
        raise ValueError(f"there is no source of {name}: expected it in {path}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"the source of {name} is no notebook that can be read ({error!r}): save it again in "
            f"JupyterLab"
        ) from None
    lab = Lab(name, cells)
    ids = [cell.id for cell in cells if cell.id]
    if twice := sorted({id for id in ids if ids.count(id) > 1}):
        raise ValueError(f"{name} has two cells with the grade_id {twice[0]}: rename one of them")
    if not lab.checks:
        raise ValueError(f"{name} has nothing that earns points: mark cells in Create Assignment")
    for check in lab.checks:
        if check.question not in lab.by_id:
            raise ValueError(
                f"{name} checks {check.id}, but no answer cell has the grade_id {check.question}"
            )
    return lab


def _cell(cell: dict[str, Any]) -> Cell:
    nbgrader = cell["metadata"].get("nbgrader", {})
    return Cell(
        id=str(nbgrader.get("grade_id", "")),
        kind=cell["cell_type"],
        text="".join(cell["source"]),
        locked=bool(nbgrader.get("locked")),
        answer=bool(nbgrader.get("solution")),
        points=float(nbgrader["points"]) if nbgrader.get("grade") else None,
    )
