"""A submission is mended as a fair person would: the student's answers, the author's checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.grading.lab import Lab, read_lab
from labs.grading.submission import Prepared, prepare
from tests.labs.small import (
    LARGEST_MORE,
    TWICE,
    cell,
    place,
    plain,
    source,
    submission,
    write_lab,
)

ORDER = [made["id"] for made in source()["cells"]]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return read_lab(write_lab(tmp_path_factory.mktemp("source")), "small")


def mended(notebook: Any, lab: Lab) -> Prepared:
    return prepare(json.dumps(notebook).encode(), lab)


def ids(prepared: Prepared) -> list[str]:
    marks = [made["metadata"].get("nbgrader", {}) for made in prepared.notebook["cells"]]
    return [mark.get("grade_id", "") for mark in marks]


def texts(prepared: Prepared) -> dict[str, str]:
    return dict(zip(ids(prepared), (c["source"] for c in prepared.notebook["cells"]), strict=True))


def test_untouched(lab: Lab) -> None:
    prepared = mended(submission(q1="def twice(X): return X + X"), lab)
    assert (prepared.notes, prepared.reason) == ((), "")
    assert ids(prepared) == ORDER
    assert texts(prepared)["q1"] == "def twice(X): return X + X"
    assert "HIDDEN" not in json.dumps(prepared.notebook)
    assert "Because" in texts(prepared)["q3"]


def test_order_of_extra_cells_is_kept(lab: Lab) -> None:
    notebook = submission()
    for id in ("q1", "q1-example", "q2", "q3"):
        notebook["cells"].insert(place(notebook, id) + 1, plain(f"# after {id}"))
    notebook["cells"].insert(0, plain("!pip install torch"))
    prepared = mended(notebook, lab)
    written = [made["source"] for made in prepared.notebook["cells"]]
    for id in ("q1", "q1-example", "q2", "q3"):
        assert written.index(f"# after {id}") == ids(prepared).index(id) + 1
    assert written[0] == "!pip install torch"
    assert [id for id in ids(prepared) if id] == ORDER


@pytest.mark.parametrize("id", ["setup", "q1-text", "q1-example", "q1-more", "q2-more"])
@pytest.mark.parametrize("how", ["edited", "missing", "more than once", "another type"])
def test_locked_cell_is_restored(lab: Lab, id: str, how: str) -> None:
    notebook = submission()
    at = place(notebook, id)
    if how == "edited":
        notebook["cells"][at]["source"] += "\npass"
    elif how == "missing":
        del notebook["cells"][at]
    elif how == "more than once":
        notebook["cells"].insert(len(ORDER) if id != "setup" else 1, notebook["cells"][at])
    else:
        notebook["cells"][at]["cell_type"] = "raw"
    prepared = mended(notebook, lab)
    own = [cell for cell in prepared.notebook["cells"] if not cell["metadata"]]
    assert [cell["cell_type"] for cell in own] == ["code"] * (how == "edited" and id != "q1-text")
    assert all(cell["source"].endswith("\npass") for cell in own)  # it runs, and is no check
    prepared.notebook["cells"][:] = [c for c in prepared.notebook["cells"] if c["metadata"]]
    assert ids(prepared) == ORDER
    assert texts(prepared) == texts(mended(submission(), lab))
    kinds = [made["cell_type"] for made in prepared.notebook["cells"]]
    assert kinds == [made["cell_type"] for made in source()["cells"]]
    assert len(prepared.notes) == 1
    assert id in prepared.notes[0]
    assert how in prepared.notes[0]
    assert not prepared.reason


def test_deleted_checks_come_after_helpers_of_their_answer(lab: Lab) -> None:
    notebook = submission()
    for id in ("q1-example", "q1-more"):
        del notebook["cells"][place(notebook, id)]
    notebook["cells"].insert(place(notebook, "q1") + 1, plain("def helper(): pass"))
    assert ids(mended(notebook, lab))[:6] == ["setup", "q1-text", "q1", "", "q1-example", "q1-more"]


def test_check_moved_before_its_answer_comes_after_it(lab: Lab) -> None:
    notebook = submission()
    notebook["cells"].insert(1, notebook["cells"].pop(place(notebook, "q2-more")))
    prepared = mended(notebook, lab)
    assert ids(prepared) == ORDER
    assert "q2-more stood before its answer" in prepared.notes


def test_answer_of_another_type_is_code_again(lab: Lab) -> None:
    notebook = submission()
    notebook["cells"][place(notebook, "q1")]["cell_type"] = "markdown"
    prepared = mended(notebook, lab)
    assert prepared.notebook["cells"][2]["cell_type"] == "code"
    assert "return 2 * X" in prepared.notebook["cells"][2]["source"]


@pytest.mark.parametrize("keep", ["metadata", "no metadata", "metadata of cells only in part"])
def test_stripped_metadata(lab: Lab, keep: str) -> None:
    notebook = submission()
    for number, made in enumerate(notebook["cells"]):
        if keep == "no metadata":
            del made["metadata"]
        elif keep == "metadata" or number % 2 == 0:
            made["metadata"] = {}
    prepared = mended(notebook, lab)
    assert ids(prepared) == ORDER
    assert texts(prepared) == texts(mended(submission(), lab))
    assert not prepared.reason
    assert any("mark" in note for note in prepared.notes)


def test_stripped_metadata_that_is_not_clear(lab: Lab) -> None:
    notebook = submission()
    for made in notebook["cells"]:
        made["metadata"] = {}
    two = json.loads(json.dumps(notebook))
    two["cells"].append(plain("def twice(X): return X"))
    assert mended(two, lab).reason == "2 cells could be the answer q1"
    notebook["cells"][place(submission(), "q1")]["source"] = "def doubled(X): return 2 * X"
    assert mended(notebook, lab).reason == "no cell could be recognised as the answer q1"


def test_an_answer_without_its_mark_may_be_a_value(lab: Lab) -> None:
    notebook = submission(q1="twice = lambda X: 2 * X")
    for made in notebook["cells"]:
        made["metadata"] = {}
    prepared = mended(notebook, lab)
    assert (ids(prepared), prepared.reason) == (ORDER, "")


@pytest.mark.parametrize("above", ["", "YOUR ANSWER HERE"])
def test_words_in_a_cell_below_their_own_are_the_answer(lab: Lab, above: str) -> None:
    notebook = submission(q3=above)
    notebook["cells"] += [plain("Because.", "markdown"), plain("And so.", "markdown")]
    prepared = mended(notebook, lab)
    assert prepared.notebook["cells"][-1]["source"] == "Because.\n\nAnd so."
    assert prepared.notes == ("the answer q3 stood in a cell below its own",)


def test_deleted_answer_is_a_note(lab: Lab) -> None:
    notebook = submission()
    del notebook["cells"][place(notebook, "q1")]
    prepared = mended(notebook, lab)
    assert prepared.notes == ("the answer q1 is not there",)
    assert [id for id in ORDER if id != "q1"] == ids(prepared)


def test_answer_given_twice(lab: Lab) -> None:
    blank = cell("q1", "def twice(X):\n    raise NotImplementedError()")
    notebook = submission()
    notebook["cells"].insert(place(notebook, "q1") + 1, blank)
    assert texts(mended(notebook, lab)) == texts(mended(submission(), lab))
    assert not mended(notebook, lab).reason
    notebook["cells"].insert(2, cell("q1", "def twice(X): return X"))
    assert mended(notebook, lab).reason == "the answer q1 is there more than once"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (json.dumps(submission()).encode()[:-40], "not JSON"),
        (b"\x89PNG\r\n\x1a\n", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1, 2]", "no list of cells"),
        (b'{"worksheets": [{"cells": []}], "nbformat": 3}', "no list of cells"),
        (b'{"cells": 3}', "no list of cells"),
        (b'{"cells": [null]}', "cell 1"),
        (b'{"cells": [{"cell_type": "code", "source": 3}]}', "cell 1"),
        (b'{"cells": [{"cell_type": ["code"], "source": ""}]}', "cell 1"),
        (b'{"cells": []}', "this is not small"),
        (json.dumps({"cells": [plain("x")] * 1001}).encode(), "1000 cells"),
        (json.dumps({"cells": [plain("x" * 2_000_001)]}).encode(), "million"),
        (b" " * 99 + b"x" * 100_000_000, "100 MB"),
    ],
)
def test_what_cannot_be_executed(lab: Lab, raw: bytes, words: str) -> None:
    prepared = prepare(raw, lab)
    assert prepared.notebook == {}
    assert words in prepared.reason


def test_wrong_lab(lab: Lab) -> None:
    notebook = submission()
    for made in notebook["cells"][1:]:
        made["source"] = f"# something else: {made['id']}"
    assert mended(notebook, lab).reason.startswith("this is not small")


def test_large_by_outputs_alone(lab: Lab) -> None:
    notebook = submission()
    output = {"output_type": "stream", "name": "stdout", "text": "x" * 30_000_000}
    notebook["cells"][place(notebook, "q1")]["outputs"] = [output]
    prepared = mended(notebook, lab)
    assert not prepared.reason
    assert len(json.dumps(prepared.notebook)) < 10_000


def test_strange_texts(lab: Lab) -> None:
    prepared = mended(submission(q1="def twice(X): return '\ud800'", q3=""), lab)
    json.dumps(prepared.notebook, ensure_ascii=False).encode()
    utf16 = json.dumps(submission(q1="# é"), ensure_ascii=False).encode("utf-16")
    assert texts(prepare(utf16, lab))["q1"] == "# é"


@given(st.data())
def test_any_json_is_answered(lab: Lab, data: st.DataObject) -> None:
    leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    anything = st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["cell_type", "source", "metadata", "nbgrader", "grade_id"]), inner
            )
        ),
        max_leaves=5,
    )
    notebook = submission()
    for _ in range(data.draw(st.integers(1, 3))):
        made = data.draw(st.sampled_from(notebook["cells"]))
        made[data.draw(st.sampled_from(sorted(made)))] = data.draw(anything)
    prepared = mended(notebook, lab)
    checks = [id for id in ids(prepared) if "-" in id] if prepared.notebook else []
    assert checks == [id for id in ORDER if "-" in id] or prepared.reason


def test_read_lab(lab: Lab, tmp_path: Path) -> None:
    assert [(c.id, c.question, c.points, c.by_hand) for c in lab.checks] == [
        ("q1-example", "q1", 1, False),
        ("q1-more", "q1", 2, False),
        ("q2-example", "q2", 1, False),
        ("q2-more", "q2", 2, False),
        ("q3", "q3", 4, True),
    ]
    assert lab.names == {"q1": ("twice",), "q2": ("largest",)}
    assert lab.by_id["q1"].text == TWICE
    assert lab.by_id["q2-more"].text == LARGEST_MORE
    assert "import torch" in lab.imports


def test_broken_source(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no source of small: expected it in"):
        read_lab(tmp_path, "small")
    write_lab(tmp_path)
    path = tmp_path / "small" / "small.ipynb"
    good = source()
    for broken, words in [
        ({**good, "cells": [*good["cells"], good["cells"][2]]}, "two cells with the grade_id q1"),
        ({**good, "cells": good["cells"][:2]}, "nothing that earns points"),
        ({**good, "cells": [*good["cells"][:2], *good["cells"][3:]]}, "no answer cell has"),
        ({"cells": 3}, "no notebook that can be read"),
    ]:
        path.write_text(json.dumps(broken), encoding="utf-8")
        with pytest.raises(ValueError, match=words):
            read_lab(tmp_path, "small")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="no notebook that can be read"):
        read_lab(tmp_path, "small")
