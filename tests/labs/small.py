"""A lab of three questions, small enough to be graded many times in tests."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

SETUP = """\
import numpy as np
import torch
from torch import nn

from cnnlib.convolution import output_size"""
TWICE = '''\
def twice(X):
    """Return X doubled."""
    ### BEGIN SOLUTION
    return 2 * X
    ### END SOLUTION'''
TWICE_EXAMPLE = """\
came = twice(torch.tensor([1.0, 2.0]))
assert torch.equal(came, torch.tensor([2.0, 4.0])), f"expected [2, 4], got {came}\""""
TWICE_MORE = """\
# Larger tensors, and negative numbers.
### BEGIN HIDDEN TESTS
secret = torch.tensor([-8.5, 71.25])
assert torch.allclose(twice(secret), torch.tensor([-17.0, 142.5])), "negative numbers: doubled"
### END HIDDEN TESTS"""
LARGEST = '''\
def largest(values):
    """Return the largest of some values."""
    ### BEGIN SOLUTION
    return max(values)
    ### END SOLUTION'''
LARGEST_EXAMPLE = 'assert np.allclose(largest([1, 3, 2]), 3), "the largest of 1, 3, 2 is 3"'
LARGEST_MORE = """\
# Negative values.
### BEGIN HIDDEN TESTS
assert np.allclose(largest([-5, -4]), -4), "all values are negative"
assert sum([largest([1, 2]), 3]) == 5, "a sum with it"
### END HIDDEN TESTS"""

Notebook = dict[str, Any]


def cell(id: str, text: str, kind: str = "code", points: float | None = None) -> dict[str, Any]:
    """A cell as JupyterLab's Create Assignment stores it; answers are recognised by their id."""
    answer = "-" not in id and id != "setup"
    nbgrader = {
        "grade": points is not None,
        "grade_id": id,
        "locked": not answer,
        "schema_version": 3,
        "solution": answer,
        "task": False,
    } | ({} if points is None else {"points": points})
    made = {"cell_type": kind, "id": id, "metadata": {"nbgrader": nbgrader}, "source": text}
    return made | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def source() -> Notebook:
    """The notebook as its author wrote it."""
    cells = [
        cell("setup", SETUP),
        cell("q1-text", "## 1. Twice (3 points)", "markdown"),
        cell("q1", TWICE),
        cell("q1-example", TWICE_EXAMPLE, points=1),
        cell("q1-more", TWICE_MORE, points=2),
        cell("q2-text", "## 2. The largest (3 points)", "markdown"),
        cell("q2", LARGEST),
        cell("q2-example", LARGEST_EXAMPLE, points=1),
        cell("q2-more", LARGEST_MORE, points=2),
        cell("q3-text", "## 3. Why? (4 points)", "markdown"),
        cell("q3", "### BEGIN SOLUTION\nBecause.\n### END SOLUTION", "markdown", points=4),
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def write_lab(folder: Path, name: str = "small") -> Path:
    """Write the source notebook where `read_lab` looks for it; return the folder."""
    path = folder / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(source()), encoding="utf-8")
    return folder


def submission(**answers: str) -> Notebook:
    """What a student hands in: right answers, but for those given here by their id."""
    notebook = copy.deepcopy(source())
    for made in notebook["cells"]:
        id, lines = made["id"], made["source"].split("\n")
        if "### BEGIN HIDDEN TESTS" in lines:
            lines = lines[: lines.index("### BEGIN HIDDEN TESTS")]
        made["source"] = answers.get(id, "\n".join(x for x in lines if "###" not in x))
    return notebook


def place(notebook: Notebook, id: str) -> int:
    """The place of the cell with a grade_id."""
    ids = [c["metadata"].get("nbgrader", {}).get("grade_id") for c in notebook["cells"]]
    return ids.index(id)


def plain(text: str, kind: str = "code") -> dict[str, Any]:
    """A cell that a student added."""
    return {"cell_type": kind, "metadata": {}, "source": text}
