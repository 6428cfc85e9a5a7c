"""What a student could hand in, told by its difference from the reference solution."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attempt:
    """Answers of a student; what is not named is answered as in the source notebook.

    Attributes:
        name: The mistake, or the other way to be right, in a few words.
        answers: Code for answer cells, by their grade_id.
        loses: The grade_ids of the check cells that must fail; all others must pass.
    """

    name: str
    answers: dict[str, str]
    loses: frozenset[str] = frozenset()


def lost(question: str, *parts: str) -> frozenset[str]:
    """Name check cells of one question: lost("q3", "slide") is {"q3-slide"}."""
    return frozenset(f"{question}-{part}" for part in parts)
