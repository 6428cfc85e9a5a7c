"""The crowd holds one Waldo, where it says; frames are drawn where they are asked for."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.patches import Rectangle
from torch import Tensor

from cnnlib.datasets import crowd
from cnnlib.plotting import plot_found

SEEDS = range(12)


def red_above_white(picture: Tensor, place: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return how red, and how white, the picture is below a place, row by row."""
    row, column = place
    red, green, blue = picture[:, row : row + 15, max(0, column - 2) : column + 3].mean(2)
    return red - (green + blue) / 2, torch.minimum(green, blue)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    edge=st.booleans(),
    height=st.integers(100, 160),
    width=st.integers(100, 160),
)
def test_shapes_and_values(seed: int, edge: bool, height: int, width: int) -> None:
    picture, (row, column) = crowd(seed, edge=edge, height=height, width=width)
    assert picture.shape == (3, height, width)
    assert picture.dtype == torch.float32
    assert picture.min() >= 0
    assert picture.max() <= 1
    beside = min(row, height - 1 - row), min(column, width - 1 - column)
    if edge:
        assert 9 <= beside[0] <= 11 or 3 <= beside[1] <= 4
    else:
        assert beside[0] >= 15
        assert beside[1] >= 8


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_is_a_picture(seed: int) -> None:
    torch.manual_seed(seed)
    before = torch.get_rng_state()
    picture, place = crowd(seed)
    again, same = crowd(seed)
    assert torch.equal(picture, again)
    assert place == same
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(picture, crowd(seed + 1)[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_he_wears_red_and_white_across(seed: int) -> None:
    redness, whiteness = red_above_white(*crowd(seed))
    band = (torch.arange(15) + 0.5) % 8  # white in its first half
    red_rows, white_rows = (band > 5) & (band < 7), (band > 1) & (band < 3)
    assert redness[red_rows].min() > 0.4
    assert redness[white_rows].max() < 0.3
    assert whiteness[white_rows].min() > whiteness[red_rows].max() + 0.3


@pytest.mark.parametrize("seed", SEEDS)
def test_the_average_waldo_finds_exactly_him(seed: int) -> None:
    others = [crowd(other) for other in range(50, 60)]
    cuts = [p[:, r - 15 : r + 16, c - 8 : c + 9] for p, (r, c) in others]
    kernel = torch.stack(cuts).mean(0)
    picture, place = crowd(seed)
    scores = torch.nn.functional.conv2d(picture[None], (kernel - kernel.mean())[None])[0, 0]
    row, column = divmod(int(scores.argmax()), scores.shape[1])
    assert abs(row + 15 - place[0]) + abs(column + 8 - place[1]) <= 1


def test_all_four_edges_occur() -> None:
    places = [crowd(seed, edge=True, height=100, width=120)[1] for seed in range(20)]
    assert any(row <= 11 for row, _ in places)
    assert any(row >= 88 for row, _ in places)
    assert any(column <= 4 for _, column in places)
    assert any(column >= 115 for _, column in places)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": 0.5}, TypeError, "whole number for seed, got 0.5"),
        ({"seed": -1}, ValueError, "seed must be 0 or more, got -1"),
        ({"seed": 0, "height": 99}, ValueError, "height must be 100 or more, got 99"),
        ({"seed": 0, "width": 12}, ValueError, "width must be 100 or more, got 12"),
        ({"seed": 0, "width": "300"}, TypeError, "whole number for width, got '300'"),
    ],
)
def test_refusals(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        crowd(**arguments)


def test_plot_found_frames_the_places() -> None:
    figure = plot_found(torch.rand(3, 40, 60), {"here": (10, 20), "there": (30, 5)}, size=(7, 5))
    (ax,) = figure.axes
    frames = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    named = {frame.get_label(): frame for frame in frames if frame.get_linewidth() == 3}
    assert set(named) == {"here", "there"}
    for name, (row, column) in {"here": (10, 20), "there": (30, 5)}.items():
        box = named[name].get_bbox()
        assert (box.y0 + box.y1) / 2 == row
        assert (box.x0 + box.x1) / 2 == column
        assert (box.height, box.width) == (7, 5)
    assert named["here"].get_linestyle() != named["there"].get_linestyle()
    assert named["here"].get_edgecolor() != named["there"].get_edgecolor()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["here", "there"]
    assert plt.get_fignums() == []


def test_plot_found_without_and_with_too_many_places() -> None:
    assert not plot_found(torch.rand(20, 30), {}).legends
    with pytest.raises(ValueError, match="got 5 places: show 4 or fewer"):
        plot_found(torch.rand(20, 30), {str(k): (k, k) for k in range(5)})
