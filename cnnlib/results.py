"""Pictures of a training and of what came of it. Each function returns one Figure, closed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from cnnlib._checks import numbers, whole
from cnnlib.style import FOCUS, INPUT, NOTE, OUTPUT, SIGNED, WIDTH, in_style

if TYPE_CHECKING:
    import pandas as pd

_MISTAKES = LinearSegmentedColormap.from_list("mistakes", ["#FFFFFF", FOCUS])


@in_style
def plot_history(history: pd.DataFrame) -> Figure:
    """Show loss and accuracy, epoch by epoch, on training and (if measured) on test images.

    First used in lecture 12.

    Args:
        history: What `cnnlib.training.fit` returns: one row for each epoch, with `loss` and
            `accuracy`, and `test_loss` and `test_accuracy` if there were test images.

    Returns:
        The figure: the losses on the left, the accuracies in percent on the right.

    Raises:
        ValueError: No epoch was finished, or a column is missing.
    """
    if not {"loss", "accuracy"} <= set(history.columns) or len(history) == 0:
        raise ValueError(
            f"expected a history with the columns loss and accuracy and a row for each epoch, got "
            f"{list(history.columns)} and {len(history)} rows: pass what fit returned"
        )
    figure, axes = plt.subplots(ncols=2, figsize=(WIDTH, 3.4))
    for ax, name, unit, factor in zip(
        axes, ("loss", "accuracy"), ("", " in %"), (1, 100), strict=True
    ):
        looks = [(name, "training", INPUT, "o-"), (f"test_{name}", "test", FOCUS, "s--")]
        for column, label, colour, look in looks:
            if column in history:
                ax.plot(history.index, factor * history[column], look, color=colour, label=label)
        ax.set(title=name.capitalize(), xlabel="epoch", ylabel=name + unit)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend()
    axes[0].set_ylim(bottom=0)
    return figure


@in_style
def plot_confusion(matrix: Tensor) -> Figure:
    """Show how often each class was taken for each other one.

    Only mistakes are coloured, the more the darker. Right answers, on the diagonal, are framed:
    there are so many that next to them no mistake would be seen.

    First used in lecture 12.

    Args:
        matrix: Shape (classes, classes), counts: in row t and column p, how many images of class t
            the network called p.

    Returns:
        The figure, with every count but 0 written into its cell.

    Raises:
        TypeError: The counts are complex numbers or text.
        ValueError: The matrix is not square, or a count is negative.
    """
    counts = numbers(matrix, "the matrix").detach().cpu()
    if counts.ndim != 2 or len(counts) != counts.shape[1] or counts.min() < 0:
        raise ValueError(
            f"expected counts, 0 or more, in a matrix of shape (classes, classes), got "
            f"{tuple(counts.shape)}: row t, column p counts the images of class t called p"
        )
    mistakes = counts.clone()
    mistakes.fill_diagonal_(0)
    classes, most = len(counts), max(1.0, float(mistakes.max()))
    figure, ax = plt.subplots(figsize=(0.8 * WIDTH, 0.75 * WIDTH))
    # Up to three quarters of the colours, so that black numbers can be read on all of them.
    ax.imshow(mistakes.numpy(), cmap=_MISTAKES, norm=Normalize(0, most / 0.75))
    for true in range(classes):
        corner = (true - 0.46, true - 0.46)
        ax.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, edgecolor=OUTPUT, linewidth=2))
        for predicted in range(classes):
            if count := int(counts[true, predicted]):
                ax.text(predicted, true, str(count), ha="center", va="center", fontsize=11)
    ax.spines[:].set_visible(True)
    ax.set(xticks=range(classes), yticks=range(classes), xlabel="predicted", ylabel="true")
    ax.set_title("Framed: right. Shaded: mistakes.")
    return figure


@in_style
def plot_grid(pictures: Any, titles: Sequence[str] = (), *, columns: int = 8) -> Figure:
    """Show many small pictures or kernels of one size in rows, all on one scale.

    First used in lecture 12.

    Args:
        pictures: Shape (count, height, width) or (count, 1, height, width). With negative values
            the colours are centred on 0, and a bar explains them; else 0 is black, and the
            largest value white.
        titles: A short one for each of the pictures, or none at all.
        columns: How many stand side by side.

    Returns:
        The figure.

    Raises:
        TypeError: The pictures are complex numbers or text.
        ValueError: They have another shape, there are none, or more or fewer titles than pictures.
    """
    shown, columns = numbers(pictures, "the pictures").detach().cpu(), whole(columns, "columns", 1)
    if shown.ndim == 4 and shown.shape[1] == 1:
        shown = shown[:, 0]
    if shown.ndim != 3 or len(shown) == 0:
        raise ValueError(
            f"expected pictures of shape (count, height, width) or (count, 1, height, width), got "
            f"{tuple(shown.shape)}: of several channels, choose one, for example maps[:, 0]"
        )
    if titles and len(titles) != len(shown):
        raise ValueError(
            f"got {len(titles)} titles for {len(shown)} pictures: give each a title, or none one"
        )
    signed, largest = bool(shown.min() < 0), float(shown.abs().max()) or 1.0
    norm = Normalize(-largest if signed else 0, largest)
    rows = math.ceil(len(shown) / columns)
    cell = WIDTH / columns * shown.shape[1] / shown.shape[2]
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, rows * (cell + 0.3 * bool(titles))), squeeze=False
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for number, (ax, picture) in enumerate(zip(axes.flat, shown, strict=False)):
        ax.set_axis_on()
        ax.spines[:].set(visible=True, color=NOTE, linewidth=0.5)
        ax.set(xticks=[], yticks=[], title=titles[number] if titles else "")
        mappable = ax.imshow(picture.numpy(), cmap=SIGNED if signed else "gray", norm=norm)
    if signed:
        figure.colorbar(mappable, ax=axes, shrink=0.8)
    return figure


def plot_mistakes(
    images: Tensor, labels: Tensor, predicted: Tensor, *, rows: int = 7, columns: int = 7
) -> Figure:
    """Show the first images that a network got wrong, each titled "predicted (true: t)".

    First used in lecture 12.

    Args:
        images: Shape (count, 1, height, width) or (count, height, width).
        labels: The true classes, shape (count,).
        predicted: What the network found, shape (count,).
        rows: The most rows to show; without that many mistakes there are fewer.
        columns: How many images stand in a row.

    Returns:
        The figure. Without a mistake it is empty, and says so.

    Raises:
        ValueError: There is not one label and one prediction for each image.
    """
    if not len(images) == len(labels) == len(predicted):
        raise ValueError(
            f"expected a label and a prediction for each image, got {len(images)} images, "
            f"{len(labels)} labels and {len(predicted)} predictions"
        )
    wrong = (labels.cpu() != predicted.cpu()).nonzero().flatten()[: rows * columns]
    if len(wrong) == 0:
        return _nothing(f"no mistakes among {len(images)} images")
    titles = [f"{int(predicted[k])} (true: {int(labels[k])})" for k in wrong]
    return plot_grid(images[wrong.to(images.device)], titles, columns=columns)


@in_style
def _nothing(why: str) -> Figure:
    figure = plt.figure(figsize=(WIDTH, 1))
    figure.text(0.5, 0.5, why, ha="center", va="center")
    return figure
