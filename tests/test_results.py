"""What the pictures of a training show is what was measured."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from sklearn.metrics import confusion_matrix

from cnnlib.images import BRIGHTNESS
from cnnlib.results import plot_confusion, plot_grid, plot_history, plot_mistakes
from cnnlib.style import SIGNED

HISTORY = pd.DataFrame(
    {
        "loss": [1.0, 0.5],
        "accuracy": [0.6, 0.8],
        "test_loss": [0.9, 0.4],
        "test_accuracy": [0.7, 1],
    },
    index=pd.Index([1, 2], name="epoch"),
)


def curves(figure: Any) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Return the points of every curve, by the title of its axes and its label."""
    return {
        (ax.get_title(), line.get_label()): [tuple(point) for point in line.get_xydata()]
        for ax in figure.axes
        for line in ax.lines
    }


def shown(figure: Any) -> list[Any]:
    """Return the axes that show a picture."""
    return [ax for ax in figure.axes if ax.images]


def test_a_history_has_its_curves() -> None:
    assert curves(plot_history(HISTORY)) == {
        ("Loss", "training"): [(1, 1), (2, 0.5)],
        ("Loss", "test"): [(1, 0.9), (2, 0.4)],
        ("Accuracy", "training"): [(1, 60), (2, 80)],
        ("Accuracy", "test"): [(1, 70), (2, 100)],
    }


def test_without_test_images_there_is_no_test_curve() -> None:
    found = curves(plot_history(HISTORY[["loss", "accuracy"]]))
    assert set(found) == {("Loss", "training"), ("Accuracy", "training")}


def test_epochs_are_whole_numbers() -> None:
    for ax in plot_history(HISTORY).axes:
        assert all(float(tick).is_integer() for tick in ax.get_xticks())
        assert ax.get_xlabel() == "epoch"


@pytest.mark.parametrize("history", [HISTORY[:0], HISTORY[["loss"]]])
def test_a_history_of_nothing_is_refused(history: Any) -> None:
    with pytest.raises(ValueError, match="pass what fit returned"):
        plot_history(history)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_every_count_but_zero_stands_in_its_cell(pairs: list[tuple[int, int]]) -> None:
    true, predicted = zip(*pairs, strict=True)
    counts = confusion_matrix(true, predicted, labels=range(5))
    (ax,) = plot_confusion(torch.tensor(counts)).axes
    written = np.zeros((5, 5), dtype=int)
    for text in ax.texts:
        column, row = text.get_position()
        written[int(row), int(column)] = int(text.get_text())
    assert written.tolist() == counts.tolist()
    assert len(ax.texts) == np.count_nonzero(counts)
    drawn = np.asarray(ax.images[0].get_array())
    assert drawn.tolist() == (counts - np.diag(np.diag(counts))).tolist()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")


def test_more_mistakes_are_darker_and_numbers_on_them_can_be_read() -> None:
    (ax,) = plot_confusion(torch.tensor([[90, 1, 4], [0, 80, 8], [2, 0, 70]])).axes
    image = ax.images[0]
    colours = image.to_rgba(np.array([[0, 1, 2, 4, 8]]))[0, :, :3] @ BRIGHTNESS
    assert all(np.diff(colours) < 0)
    assert colours.min() > 0.5  # behind black text


def test_the_counts_stay_as_they_are() -> None:
    counts = torch.tensor([[5, 1], [0, 7]])
    plot_confusion(counts)
    assert counts.tolist() == [[5, 1], [0, 7]]


@pytest.mark.parametrize(
    "matrix", [torch.ones(2, 3), torch.ones(4), torch.tensor([[1, -1], [0, 1]])]
)
def test_what_is_no_confusion_matrix_is_refused(matrix: Any) -> None:
    with pytest.raises(ValueError, match="row t, column p"):
        plot_confusion(matrix)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.booleans())
def test_a_grid_shows_every_picture_in_order(
    count: int, columns: int, height: int, width: int, channel: bool
) -> None:
    pictures = torch.rand(count, height, width)
    titles = [f"no. {k}" for k in range(count)]
    figure = plot_grid(pictures[:, None] if channel else pictures, titles, columns=columns)
    axes = shown(figure)
    assert [ax.get_title() for ax in axes] == titles
    for ax, picture in zip(axes, pictures, strict=True):
        assert np.array_equal(ax.images[0].get_array(), picture.numpy())
        assert not ax.get_xticks().size
    assert axes[0].get_subplotspec().get_gridspec().ncols == columns
    assert plt.get_fignums() == []


def test_all_pictures_of_a_grid_share_one_scale() -> None:
    axes = shown(plot_grid(torch.tensor([[[0.5]], [[4.0]]])))
    assert {ax.images[0].get_clim() for ax in axes} == {(0, 4)}
    axes = shown(plot_grid(torch.tensor([[[0.5]], [[-4.0]]])))
    assert {ax.images[0].get_clim() for ax in axes} >= {(-4, 4)}
    assert axes[0].images[0].get_cmap() == SIGNED
    assert min(axes[0].images[0].to_rgba(0.0)) > 0.99


def test_black_pictures_are_black() -> None:
    (ax,) = shown(plot_grid(torch.zeros(1, 2, 2)))
    assert to_hex(ax.images[0].to_rgba(0.0)) == "#000000"


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        (torch.ones(3, 3), "expected pictures of shape"),
        (torch.ones(2, 3, 4, 4), "choose one"),
        (torch.ones(0, 4, 4), "empty"),
        (torch.full((1, 2, 2), torch.nan), "NaN"),
    ],
)
def test_what_is_no_row_of_pictures_is_refused(pictures: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plot_grid(pictures)


def test_titles_are_as_many_as_pictures() -> None:
    with pytest.raises(ValueError, match="1 titles for 2 pictures"):
        plot_grid(torch.ones(2, 3, 3), ["one"])


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20))
def test_the_first_mistakes_are_shown_with_both_classes(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = torch.tensor(pairs).T
    images = torch.arange(1.0, len(pairs) + 1).view(-1, 1, 1, 1).expand(-1, 1, 3, 3)
    figure = plot_mistakes(images, labels, predicted, rows=2, columns=3)
    wrong = [(k, true, guess) for k, (true, guess) in enumerate(pairs) if true != guess][:6]
    axes = shown(figure)
    assert [ax.get_title() for ax in axes] == [f"{p} (true: {t})" for _, t, p in wrong]
    assert [ax.images[0].get_array()[0, 0] for ax in axes] == [k + 1 for k, _, _ in wrong]


def test_without_mistakes_the_picture_says_so() -> None:
    labels = torch.arange(4)
    figure = plot_mistakes(torch.rand(4, 1, 3, 3), labels, labels)
    assert [text.get_text() for text in figure.texts] == ["no mistakes among 4 images"]
    assert plt.get_fignums() == []


def test_each_image_needs_a_label_and_a_prediction() -> None:
    with pytest.raises(ValueError, match="3 images, 4 labels and 4 predictions"):
        plot_mistakes(torch.rand(3, 1, 3, 3), torch.arange(4), torch.arange(4))
