"""Pooling is drawn step by step with PyTorch's values, and maps are unrolled in its order."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.patches import Rectangle
from PIL import Image
from torch import nn

from cnnlib.style import FOCUS, OUTPUT
from tools.figures import pooling

EXAMPLE = [[1, 3, 2, 9], [7, 4, 1, 5], [8, 5, 2, 3], [4, 2, 1, 4]]


def drawn(frames: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the figures behind the pictures that a call draws."""
    figures: list[Any] = []

    def keep(figure: Any) -> Image.Image:
        figures.append(figure)
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(pooling, "rasterised", keep)
    frames()
    return figures


def numbers_in(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts if "×" not in text.get_text()]


def marked(ax: Any) -> list[tuple[int, int]]:
    """Return row and column of the cells that have the edge of what is looked at."""
    focus = mpl.colors.to_rgba(FOCUS)
    boxes = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_edgecolor() == focus]
    return [
        (round(box.get_y() + box.get_height() / 2), round(box.get_x() + box.get_width() / 2))
        for box in boxes
    ]


@pytest.mark.parametrize(
    ("shape", "size"), [((4, 4), 2), ((5, 4), 2), ((6, 3), 3), ((2, 3), 1), ((4, 4), 4)]
)
def test_one_picture_for_each_value_of_the_output(shape: tuple[int, int], size: int) -> None:
    before = dict(mpl.rcParams)
    image = torch.randn(shape)
    kept = image.clone()
    frames = pooling.max_pooling(image, size)
    assert len(frames) == nn.MaxPool2d(size)(image[None]).numel()
    assert {frame.size for frame in frames} == {(800, 440)}
    assert len({frame.tobytes() for frame in frames}) == len(frames)
    assert torch.equal(image, kept)
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_the_largest_is_marked_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = drawn(lambda: pooling.max_pooling(EXAMPLE), monkeypatch)
    written = ["7", "9", "8", "4"]  # by hand
    places = [(1, 0), (0, 3), (2, 0), (3, 3)]  # of the 7, the 9, the 8 and the 4
    for step, figure in enumerate(figures):
        left, right = figure.axes
        assert numbers_in(left) == [str(value) for row in EXAMPLE for value in row]
        assert marked(left) == [places[step]]
        assert numbers_in(right) == written[: step + 1]
        assert marked(right) == [divmod(step, 2)]
        assert figure.get_suptitle() == f"step {step + 1} of 4"
        assert figure.get_supxlabel().endswith(f"= {written[step]}")
    assert "(1, 3, 7, 4)" in figures[0].get_supxlabel()


def test_a_large_window_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    (figure,) = drawn(lambda: pooling.max_pooling(EXAMPLE, 4), monkeypatch)
    assert figure.get_supxlabel() == "largest of the window = 9"


@pytest.mark.parametrize(
    ("image", "size", "error", "words"),
    [
        ([], 2, ValueError, "image is empty"),
        ([1, 2], 1, ValueError, r"image of shape \(height, width\), got \(2,\)"),
        ([[1, float("nan")]], 1, ValueError, "NaN"),
        ([[1j]], 1, TypeError, "real numbers for image"),
        (np.ones((3, 3)), 4, ValueError, "window of 4 × 4 .* image of 3 × 3"),
        (np.ones((3, 3)), 0, ValueError, "size must be 1 or more"),
        (np.ones((3, 3)), 1.5, TypeError, "whole number for size"),
    ],
)
def test_max_pooling_refuses(image: Any, size: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        pooling.max_pooling(image, size)


@settings(deadline=None, max_examples=8)
@given(st.integers(1, 4), st.integers(1, 2), st.integers(1, 2))
def test_the_vector_has_the_order_of_flatten(channels: int, height: int, width: int) -> None:
    maps = torch.randint(-9, 100, (channels, height, width))
    (ax,) = pooling.flattening(maps).axes
    cells = [p for p in ax.patches if isinstance(p, Rectangle)]
    assert {p.get_edgecolor() for p in cells} == {mpl.colors.to_rgba(OUTPUT)}
    length = maps.numel()
    assert len(cells) == 2 * length
    columns = [text.get_position()[0] for text in ax.texts if _is_number(text)]
    vector = [
        text for text in ax.texts if _is_number(text) and text.get_position()[0] == max(columns)
    ]
    vector.sort(key=lambda text: float(text.get_position()[1]))
    expected = nn.Flatten()(maps[None])[0].tolist()
    assert [int(text.get_text().replace("−", "-")) for text in vector] == expected
    weights = [line for line in ax.lines if line.get_zorder() == 0]
    assert len(weights) == nn.Linear(length, 1).weight.numel()
    assert f"{length} weights\n+ 1 bias" in [text.get_text() for text in ax.texts]
    assert plt.get_fignums() == []


def _is_number(text: Any) -> bool:
    return bool(text.get_text()) and text.get_text().replace("−", "").isdigit()


@pytest.mark.parametrize(
    ("maps", "error", "words"),
    [
        ([], ValueError, "maps is empty"),
        (np.ones((2, 2)), ValueError, r"\(channels, height, width\), got \(2, 2\)"),
        (np.ones((1, 1, 2, 2)), ValueError, r"with maps\[0\]"),
        (np.ones((2, 3, 3)), ValueError, "18 values are too many"),
        (["a"], TypeError, "numbers for maps"),
    ],
)
def test_flattening_refuses(maps: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        pooling.flattening(maps)
