"""Boards draw what they are given, in the right cells, and small enough to stay inside."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch

from cnnlib.explorers.board import Board


def parsed(elements: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<svg>{elements}</svg>")


def test_cells_lie_where_the_grid_is_pointed_at() -> None:
    board = Board(rows=2, columns=3, side=10, left=100, top=50)
    assert board.places == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    squares = parsed(board.cells([(0, 0), (1, 2)], "white", "black")).findall("g/rect")
    assert [(s.get("x"), s.get("y")) for s in squares] == [("100.00", "50.00"), ("120.00", "60.00")]
    assert {(s.get("width"), s.get("height")) for s in squares} == {("10.00", "10.00")}
    assert board.grid() == {
        "rows": 2, "columns": 3, "left": 100, "top": 50, "width": 10, "height": 10,
    }  # fmt: skip


@pytest.mark.parametrize("side", [18, 30, 46])
@pytest.mark.parametrize("value", [7.0, 48.0, 123.0, -0.0625, -1234.5])
def test_values_stay_inside_their_cells(side: float, value: float) -> None:
    drawn = parsed(Board(1, 1, side, 0, 0).values([(0, 0)], torch.tensor([value])))
    group, text = drawn.find("g"), drawn.find("g/text")
    assert group is not None
    assert text is not None
    assert text.text is not None
    size = float(group.get("font-size", "nan"))
    assert float(text.get("x", "nan")) == side / 2
    assert 0.636 * size * len(text.text) <= side  # the width of a digit in DejaVu Sans
    assert 0.73 * size < float(text.get("y", "nan")) < side  # the height of one
    assert float(text.text.replace("−", "-")) == pytest.approx(value, rel=0.005)


def test_notes_are_left_out_where_there_is_no_room() -> None:
    assert [t.text for t in parsed(Board(1, 1, 36, 0, 0).notes([(0, 0)], ["×2"])).iter("text")]
    assert Board(1, 1, 35, 0, 0).notes([(0, 0)], ["×2"]) == ""


def test_as_many_values_as_places() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Board(2, 2, 20, 0, 0).values([(0, 0), (0, 1)], torch.ones(1))


def test_a_frame_goes_around_all_its_cells() -> None:
    frame = parsed(Board(5, 5, 10, 0, 0).frame((1, 2), (2, 4), "black")).find("rect")
    assert frame is not None
    assert [frame.get(name) for name in ("x", "y", "width", "height")] == [
        "20.00", "10.00", "30.00", "20.00",
    ]  # fmt: skip
