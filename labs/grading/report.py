"""What a batch came to: a table for the eye, a file for other programs, and a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cnnlib.style import FOCUS, INPUT, KERNEL, OUTPUT, PADDING, in_style
from labs.grading.grade import Result
from labs.grading.lab import Check, Lab
from labs.grading.safe import harmless_field

# How much of a question's points a student has; None is what a person has yet to decide.
SHARES = {"all": OUTPUT, "some": KERNEL, "none": FOCUS, "not graded yet": PADDING}


def questions(lab: Lab) -> dict[str, list[Check]]:
    """Return the checks of each question, in the order of the notebook."""
    names = dict.fromkeys(check.question for check in lab.checks)
    return {name: [check for check in lab.checks if check.question == name] for name in names}


def earned(result: Result, checks: Sequence[Check]) -> float | None:
    """Return the points of some checks, or None if a person has yet to give one of them."""
    points = [result.points.get(check.id) for check in checks]
    return None if None in points else sum(p for p in points if p is not None)


def share(points: float | None, most: float) -> str:
    """Return which of SHARES some points are."""
    if points is None:
        return "not graded yet"
    return "all" if points >= most else "some" if points > 0 else "none"


def summary(result: Result, lab: Lab) -> str:
    """Return a result in a few words, such as "7 of 10 points, q5 by hand"."""
    if result.status != "graded":
        return f"{result.status}: {result.reason}"
    points = {name: earned(result, checks) for name, checks in questions(lab).items()}
    sure = sum(value for value in result.points.values() if value is not None)
    most = sum(check.points for check in lab.checks)
    waiting = [name for name, value in points.items() if value is None]
    by_hand = f", {', '.join(waiting)} still by hand" if waiting else ""
    return f"{sure:g} of {most:g} points{by_hand}"


def table(results: Sequence[Result], lab: Lab) -> str:
    """Return every submission by name with what happened to it, notes included."""
    width = max((len(result.student) for result in results), default=0)
    lines = []
    for result in results:
        lines.append(f"{result.student:<{width}}  {summary(result, lab)}")
        lines += [" " * (width + 2) + note for note in result.notes]
    graded = sum(result.status == "graded" for result in results)
    rest = f", {len(results) - graded} need a person" if graded < len(results) else ""
    return "\n".join([*lines, f"{lab.name}: {graded} graded{rest}."])


def grades_csv(results: Sequence[Result], lab: Lab) -> str:
    """Return one line per student; a field is empty where a person has yet to give points."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    groups = questions(lab)
    rows.writerow(["student", "status", *groups, "total", "maximum", "by hand", "reason"])
    most = sum(check.points for check in lab.checks)
    for result in results:
        points = [earned(result, checks) for checks in groups.values()]
        waiting = [name for name, value in zip(groups, points, strict=True) if value is None]
        total = sum(value for value in result.points.values() if value is not None)
        done = result.status == "graded"
        rows.writerow(
            [
                harmless_field(result.student),
                result.status,
                *("" if value is None else f"{value:g}" for value in points),
                f"{total:g}" if done else "",
                f"{most:g}",
                " ".join(waiting) if done else "",
                harmless_field(result.reason),
            ]
        )
    return text.getvalue()


@in_style
def plot_points(results: Sequence[Result], lab: Lab) -> Figure:
    """Show how many students have all, some or none of each question's points, and all totals.

    Args:
        results: Of all students; those that were not graded are counted in the title only.
        lab: Their lab.

    Returns:
        The figure, already closed.
    """
    graded = [result for result in results if result.status == "graded"]
    groups = questions(lab)
    most = {name: sum(check.points for check in checks) for name, checks in groups.items()}
    figure, (bars, totals) = plt.subplots(
        ncols=2, figsize=(8, 2.2 + 0.4 * len(groups)), width_ratios=[3, 2]
    )
    left = dict.fromkeys(groups, 0)
    for name, colour in SHARES.items():
        counts = {
            question: sum(share(earned(r, checks), most[question]) == name for r in graded)
            for question, checks in groups.items()
        }
        drawn = bars.barh(
            list(groups), list(counts.values()), left=list(left.values()), color=colour
        )
        written = [str(count or "") for count in counts.values()]
        black = "black" if colour in (PADDING, KERNEL) else "white"
        bars.bar_label(drawn, written, label_type="center", color=black)
        left = {question: left[question] + count for question, count in counts.items()}
        bars.plot([], [], "s", color=colour, label=name)
    bars.set_yticks(range(len(groups)), [f"{q} ({points:g})" for q, points in most.items()])
    bars.invert_yaxis()
    bars.xaxis.set_major_locator(MaxNLocator(integer=True))
    bars.set_xlabel(f"students ({len(graded)} graded, {len(results) - len(graded)} not)")
    bars.set_title("Who has how much of the points", pad=34)
    bars.legend(
        ncols=4,
        loc="lower center",
        bbox_to_anchor=(0.45, 0.98),
        columnspacing=0.8,
        handletextpad=0.1,
        fontsize=10,
    )
    all_points = [sum(p for p in r.points.values() if p is not None) for r in graded]
    highest = sum(most.values())
    totals.hist(all_points, bins=np.arange(-0.5, highest + 1), color=INPUT)
    totals.set_xlim(-0.5, highest + 0.5)
    totals.yaxis.set_major_locator(MaxNLocator(integer=True))
    totals.set_title("Totals so far", pad=34)
    totals.set(xlabel=f"points of {highest:g}", ylabel="students")
    return figure
