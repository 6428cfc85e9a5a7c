"""The labs' checks judge answers as a person would: wrong ones lose their points, right ones none.

Attempts that answer different questions are graded in one submission, which saves most of the time.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import nbformat
import pytest

from labs.grading.grade import Result, grade
from labs.grading.lab import Lab, read_lab
from labs.grading.release import public
from tests.labs.attempts import Attempt, attempts

pytestmark = pytest.mark.sandbox

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "labs" / "source"
ATTEMPTS = {path.stem: attempts(path) for path in sorted((TESTS / "labs").glob("lab*.py"))}


@cache
def _lab(name: str) -> Lab:
    return read_lab(SOURCE, name)


@cache
def _cells(name: str) -> dict[str, str]:
    """Return the answer cells of a lab by the functions and classes that they ask for."""
    return {
        node.name: cell.id
        for cell in _lab(name).cells
        if cell.answer and cell.kind == "code"
        for node in ast.parse(cell.text).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def _touched(name: str, attempt: Attempt) -> set[str]:
    """Return the questions that an attempt answers, or loses points of."""
    answered = {_cells(name)[answer] for answer in attempt.answers}
    return answered | {check.split("-")[0] for check in attempt.loses}


def _together(name: str, some: Sequence[Attempt]) -> list[list[Attempt]]:
    """Return attempts at a lab in groups whose members have no question in common."""
    groups: list[list[Attempt]] = []
    for attempt in some:
        touched = _touched(name, attempt)
        free = (g for g in groups if not any(touched & _touched(name, other) for other in g))
        group = next(free, None)
        if group is None:
            groups.append(group := [])
        group.append(attempt)
    return groups


GROUPS = [
    pytest.param(name, group, id=f"{name}-{kind}-{number}")
    for name, lists in ATTEMPTS.items()
    for kind, some in zip(["wrong", "right"], lists, strict=True)
    for number, group in enumerate(_together(name, some), start=1)
]


def _hand_in(folder: Path, lab: Lab, answers: dict[str, str] | None) -> Result:
    """Fill in a released lab, with the reference where there is no other answer, and grade it."""
    notebook = public(SOURCE / lab.name / f"{lab.name}.ipynb")
    if answers is not None:
        texts = {cell.id: cell.text for cell in lab.cells if cell.answer}
        assert answers.keys() <= texts.keys(), f"no answer cells: {answers.keys() - texts.keys()}"
        for cell in notebook.cells:
            grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
            if grade_id in texts:
                cell.source = (texts | answers)[grade_id]
    path = folder / f"{lab.name}.ipynb"
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
    return grade(path, "ada", lab)


def _automatic(lab: Lab) -> dict[str, float]:
    return {check.id: check.points for check in lab.checks if not check.by_hand}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_the_reference_gets_all_points(name: str, tmp_path: Path) -> None:
    lab = _lab(name)
    result = _hand_in(tmp_path, lab, {})
    assert (result.status, result.error) == ("graded", {})
    by_hand = {check.id: None for check in lab.checks if check.by_hand}
    assert result.points == _automatic(lab) | by_hand


@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_blank_lab_gets_none_and_says_why(name: str, tmp_path: Path) -> None:
    lab = _lab(name)
    result = _hand_in(tmp_path, lab, None)
    assert {check: result.points[check] for check in _automatic(lab)} == dict.fromkeys(
        _automatic(lab), 0.0
    )
    other = {check: words for check, words in result.error.items() if "NotImplemented" not in words}
    assert not other


@pytest.mark.parametrize(("name", "group"), GROUPS)
def test_attempts_lose_exactly_what_they_should(
    name: str, group: list[Attempt], tmp_path: Path
) -> None:
    lab = _lab(name)
    cells = _cells(name)
    answers = {cells[it]: code for attempt in group for it, code in attempt.answers.items()}
    result = _hand_in(tmp_path, lab, answers)
    assert result.status == "graded", result.reason
    lost = {check for check, points in _automatic(lab).items() if result.points[check] != points}
    for attempt in group:
        mine = {check for check in lost if check.split("-")[0] in _touched(name, attempt)}
        complaints = {check: result.error[check] for check in mine - attempt.loses}
        assert mine == attempt.loses, f"{attempt.name}: {complaints}"
    assert lost == {check for attempt in group for check in attempt.loses}


def test_every_lab_is_tried_with_enough_attempts() -> None:
    for name, (wrong, right) in ATTEMPTS.items():
        assert len(wrong) >= 10, name
        assert len(right) >= 3, name
        assert all(attempt.loses for attempt in wrong), name
        assert not any(attempt.loses for attempt in right), name
        names = [attempt.name for attempt in (*wrong, *right)]
        assert len(set(names)) == len(names), name
