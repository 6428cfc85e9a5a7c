"""The rectangle that is drawn is the one that was calculated, and all of it can be seen."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from cnnlib.plotting import plot_receptive_field
from cnnlib.receptive_field import Field
from cnnlib.style import FOCUS, PADDING

IMAGE = torch.rand(20, 30, generator=torch.Generator().manual_seed(0))


def boxes(ax: Axes) -> list[tuple[float, float, float, float]]:
    """Return left, top, right and bottom of the rectangles, without the white below them."""
    patches = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    patches = [patch for patch in patches if to_hex(patch.get_edgecolor()).upper() == FOCUS]
    return [
        (x, y, x + patch.get_width(), y + patch.get_height())
        for patch in patches
        for x, y in [patch.get_xy()]
    ]


@settings(max_examples=10, deadline=None)
@given(st.tuples(*[st.integers(1, 40)] * 2), st.lists(st.tuples(*[st.integers(0, 9)] * 2)))
def test_each_place_has_its_rectangle(size: Any, places: Any) -> None:
    field = Field(size, (3, 2), tuple((n - 1) / 2 - 4 for n in size))
    figure = plot_receptive_field(IMAGE, field, places or [(0, 0)])
    (ax,) = figure.axes
    assert len(boxes(ax)) == len(places or [(0, 0)])
    for (row, column), box in zip(places, boxes(ax), strict=False):
        rows, columns = field.seen(row, column)
        expected = (columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5)
        assert box == pytest.approx(expected)
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        assert left < box[0]
        assert box[2] < right
        assert top < box[1]
        assert box[3] < bottom
    assert plt.get_fignums() == []


def test_the_padding_is_grey_where_a_field_leaves_the_picture() -> None:
    (ax,) = plot_receptive_field(IMAGE, Field((5, 5)), [(0, 0)]).axes
    assert to_hex(ax.get_facecolor()).upper() == PADDING
    (ax,) = plot_receptive_field(IMAGE, Field((5, 5)), [(9, 9)]).axes
    assert to_hex(ax.get_facecolor()).upper() == "#FFFFFF"


def test_without_places_the_middle_is_shown() -> None:
    (ax,) = plot_receptive_field(IMAGE, Field((5, 5), (4, 4), (2.0, 2.0))).axes
    assert boxes(ax) == [(11.5, 7.5, 16.5, 12.5)]  # column 14, row 10; 14.5 and 9.5 is the middle
    (ax,) = plot_receptive_field(IMAGE, Field((9, 9), (1, 1), (50.0, 50.0))).axes
    assert boxes(ax) == [(45.5, 45.5, 54.5, 54.5)]


def test_several_fields_have_a_panel_each() -> None:
    fields = {f"layer {n}": Field((n, n + 1), (1, 1), (0.0, 0.5)) for n in range(1, 5)}
    figure = plot_receptive_field(IMAGE, fields, [(3, 4), (5, 6)])
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == [f"layer {n}\n{n} × {n + 1}" for n in range(1, 5)]
    assert [[text.get_text() for text in ax.texts] for ax in figure.axes] == [
        ["(3, 4)", "(5, 6)"]
    ] * 4


def test_refusals() -> None:
    with pytest.raises(TypeError, match="expected 'receptive field' as a Field, got int: call"):
        plot_receptive_field(IMAGE, 195)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected a receptive field or more, got none"):
        plot_receptive_field(IMAGE, {})
    with pytest.raises(ValueError, match="row must be 0 or more, got -1"):
        plot_receptive_field(IMAGE, Field(), [(-1, 0)])
    with pytest.raises(ValueError, match="expected image of shape"):
        plot_receptive_field(torch.zeros(5), Field())
    assert plt.get_fignums() == []


def test_the_image_is_not_modified() -> None:
    before = IMAGE.clone()
    plot_receptive_field(IMAGE, Field((3, 3)))
    assert torch.equal(IMAGE, before)
