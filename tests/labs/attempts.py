"""What students could hand in, marked as wrong or right, each told by its difference.

The files of the labs hold answers as functions and classes, several of one name; `attempts` reads
them as text, so that the grader gets them as a student would write them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

Answer = TypeVar("Answer")


@dataclass
class Attempt:
    """Answers of a student; what is not named is answered as in the source notebook.

    Attributes:
        name: The mistake, or the other way to be right, in a few words.
        loses: The grade_ids of the check cells that must fail; all others must pass.
        answers: Code for answer cells, by the name of the function or class that they ask for.
    """

    name: str
    loses: frozenset[str] = frozenset()
    answers: dict[str, str] = field(default_factory=dict)


def wrong(name: str, *, loses: str) -> Callable[[Answer], Answer]:
    """Mark an answer that must lose the points of the named checks, and no others.

    Args:
        name: The mistake in a few words; answers with the same one make up one attempt.
        loses: The grade_ids of the check cells, with spaces between.
    """
    return lambda answer: answer


def right(name: str) -> Callable[[Answer], Answer]:
    """Mark an answer that must get all points; those of one name make up one attempt."""
    return lambda answer: answer


def attempts(path: Path) -> tuple[list[Attempt], list[Attempt]]:
    """Read the wrong and the right attempts of a file."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found: dict[str, dict[str, Attempt]] = {"wrong": {}, "right": {}}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        assert node.decorator_list, f"{path.name}: say of {node.name} what is wrong, or right"
        mark, *own = node.decorator_list
        assert isinstance(mark, ast.Call)
        assert isinstance(mark.func, ast.Name)
        name = ast.literal_eval(mark.args[0])
        loses = frozenset(ast.literal_eval(mark.keywords[0].value).split() if mark.keywords else ())
        attempt = found[mark.func.id].setdefault(name, Attempt(name, loses))
        assert attempt.loses == loses, f"{path.name}: {name!r} loses different points"
        assert node.name not in attempt.answers, f"{path.name}: {name!r} has two {node.name}"
        start = own[0].lineno if own else node.lineno
        attempt.answers[node.name] = "\n".join(lines[start - 1 : node.end_lineno])
    return list(found["wrong"].values()), list(found["right"].values())
