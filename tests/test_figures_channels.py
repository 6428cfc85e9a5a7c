"""The channel pictures have a kernel for every pair, and count what PyTorch's layer holds."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import nn

from cnnlib.style import INPUT, KERNEL, OUTPUT
from tools.figures.channels import channel_diagram


def boxes(figure: Figure, colour: str) -> int:
    """Count the rectangles with an edge of a colour."""
    patches = figure.axes[0].patches
    return sum(isinstance(p, Rectangle) and same_color(p.get_edgecolor(), colour) for p in patches)


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_every_pair_has_its_kernel_and_the_count_is_the_layers(i: int, o: int, k: int) -> None:
    before = dict(mpl.rcParams)
    figure = channel_diagram(i, o, k)
    assert (boxes(figure, INPUT), boxes(figure, OUTPUT)) == (i, o)
    layer = nn.Conv2d(i, o, k)
    assert boxes(figure, KERNEL) == layer.weight.numel()
    total = sum(p.numel() for p in layer.parameters())
    assert any(text.endswith(f"= {total} parameters") for text in words(figure))
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("channel_counts", "count"),
    [
        ((1, 3), "3 × 1 kernels of 9 weights = 27,  + 3 biases = 30 parameters"),
        ((3, 3), "3 × 3 kernels of 9 weights = 81,  + 3 biases = 84 parameters"),
        ((2, 1), "1 × 2 kernels of 9 weights = 18,  + 1 bias = 19 parameters"),
    ],
)
def test_the_counts_of_the_lecture(channel_counts: tuple[int, int], count: str) -> None:
    assert count in words(channel_diagram(*channel_counts))


def test_text_lies_inside_and_is_large_enough() -> None:
    figure = channel_diagram(4, 4)
    area = figure.bbox
    for text in figure.axes[0].texts:
        extent = text.get_window_extent()
        assert area.x0 <= extent.x0 <= extent.x1 <= area.x1
        assert area.y0 <= extent.y0 <= extent.y1 <= area.y1
        assert float(text.get_fontsize()) >= 12


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 3), ValueError, "in_channels must be 1 or more, got 0"),
        ((3, 5), ValueError, "out_channels = 5 is too much for one picture: use 4 or fewer"),
        ((1, 1, 6), ValueError, "kernel_size = 6 is too much"),
        ((1.5, 3), TypeError, "whole number for in_channels"),
    ],
)
def test_channel_diagram_refuses(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        channel_diagram(*arguments)
