"""The cells that are filled are those that the value in the middle sees."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tools.figures.fields import field_cone


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def filled(figure: Figure, level: int) -> list[float]:
    """Return the centres of the hatched cells of a row."""
    cells = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    seen = [cell for cell in cells if cell.get_hatch() and cell.get_y() == level - 0.25]
    return [round(cell.get_x() + 0.38, 6) for cell in seen]


def test_stride_1() -> None:
    before = dict(mpl.rcParams)
    figure = field_cone([(3, 1)] * 3, "title", 9)
    assert texts(figure) == [
        "layer 3: 1 of 3",
        "layer 2: 3 of 5",
        "layer 1: 5 of 7",
        "input: 7 of 9",
    ]
    assert filled(figure, 0) == [1, 2, 3, 4, 5, 6, 7]
    assert filled(figure, 3) == [4]
    assert len(figure.axes[0].lines) == 3 + 9 + 15
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_stride_2_and_even_kernels() -> None:
    figure = field_cone([(3, 2)] * 3, "title", 17)
    assert filled(figure, 0) == list(range(15))
    assert filled(figure, 2) == [3, 7, 11]
    figure = field_cone([(2, 2)], "title", 6)
    assert filled(figure, 1) == [2.5]
    assert filled(figure, 0) == [2, 3]


@pytest.mark.parametrize(
    ("layers", "error", "words"),
    [
        ([(3, 1)] * 5, ValueError, "over 3 pixels .* only 1"),
        ([(3, 0.5)], TypeError, "whole number for stride"),
    ],
)
def test_refusals(layers: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        field_cone(layers, "title", 9)
    assert plt.get_fignums() == []
