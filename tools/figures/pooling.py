"""A pooling window on its way over an image, and feature maps unrolled into one vector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from PIL import Image
from torch import Tensor

from cnnlib._checks import matrix, numbers, whole
from cnnlib.explorers.sliding import cell, finish_grid, mark, output_so_far
from cnnlib.style import (
    INPUT,
    KERNEL,
    NOTE,
    OUTPUT,
    STYLE,
    TINTS,
    WIDTH,
    draw_values,
    format_value,
    in_style,
)
from tools.figures.drawing import rasterised, save_animation

MOST_VALUES = 16  # that the vector of `flattening` shows at a size that can be read


def max_pooling(image: Any, size: int = 2) -> list[Image.Image]:
    """Draw max pooling step by step, one picture for each value of the output.

    Each picture shows the input with the window in place and the largest value in it marked, and
    the output up to the value that is being written. The window moves by its own size.

    Args:
        image: Shape (height, width), small enough to read: about 8x8.
        size: Height and width of the window in pixels; it is also the stride.

    Returns:
        The pictures in order, 8 inches wide at 100 dots per inch.

    Raises:
        TypeError: The image is not made of real numbers, or size is fractional.
        ValueError: The image is empty, not two-dimensional, not finite or smaller than the window.
    """
    X, size = matrix(image, "image").detach().cpu().float(), whole(size, "size", 1)
    if size > min(X.shape):
        raise ValueError(
            f"a window of {size} × {size} does not fit on an image of "
            f"{X.shape[0]} × {X.shape[1]}: use a smaller window"
        )
    Y, places = F.max_pool2d(X[None], size, return_indices=True)
    Y, places = Y[0], places[0]
    frames = []
    for step in range(Y.numel()):
        i, j = divmod(step, Y.shape[1])
        top, left = i * size, j * size
        largest = divmod(int(places[i, j]), X.shape[1])
        with plt.style.context(STYLE):
            figure, axes = plt.subplots(
                ncols=2, figsize=(WIDTH, 4.4), width_ratios=[X.shape[1], Y.shape[1]]
            )
            _draw_window(axes[0], X, (top, left), size, largest)
            output_so_far(axes[1], Y, step, size=17)
            axes[1].set_ylim(axes[0].get_ylim())  # cells of the same size
            figure.suptitle(f"step {step + 1} of {Y.numel()}", color=NOTE, fontsize=12)
            values = X[top : top + size, left : left + size].flatten()
            listed = f"({', '.join(map(format_value, values))})" if size <= 3 else "the window"
            text = f"largest of {listed} = {format_value(Y[i, j])}"
            figure.supxlabel(text, fontsize=15, color=NOTE)
            frames.append(rasterised(figure))
            plt.close(figure)
    return frames


def _draw_window(
    ax: Axes, X: Tensor, corner: tuple[int, int], size: int, largest: tuple[int, int]
) -> None:
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            cell(ax, i, j, TINTS[INPUT], INPUT)
    draw_values(ax, X, size=17)
    top, left = corner
    ax.add_patch(
        Rectangle((left - 0.5, top - 0.5), size, size, fill=False, edgecolor=KERNEL, linewidth=5)
    )
    mark(ax, *largest, margin=0.38)
    finish_grid(ax, X, "input")


@in_style
def flattening(maps: Any) -> Figure:
    """Draw how feature maps are unrolled into one vector, and joined to one output.

    Args:
        maps: Shape (channels, height, width), 16 values at most.

    Returns:
        The figure, closed: the maps, the vector in the order of `torch.nn.Flatten`, and one output
        with a line for each weight.

    Raises:
        TypeError: The maps are not made of real numbers.
        ValueError: They are empty, not finite, not three-dimensional, or too many values to read.
    """
    values = numbers(maps, "maps").detach().cpu()
    if values.ndim != 3:
        raise ValueError(
            f"expected maps of shape (channels, height, width), got {tuple(values.shape)}: "
            f"take one picture of a batch with maps[0]"
        )
    if values.numel() > MOST_VALUES:
        raise ValueError(
            f"{values.numel()} values are too many to read, draw {MOST_VALUES} at most: "
            f"take fewer or smaller maps"
        )
    figure, ax = plt.subplots(figsize=(WIDTH, 1 + 0.5 * values.numel()))
    _draw_flattening(ax, values)
    return figure


def _draw_flattening(ax: Axes, maps: Tensor) -> None:
    """Draw maps, vector and output on one grid, where a row is a value of the vector."""
    channels, height, width = maps.shape
    length, each = maps.numel(), height * width
    vector, output = width + 3, width + 8  # columns
    middle = (length - 1) / 2
    for channel in range(channels):
        # A map stands in the middle of the rows that its values take in the vector.
        top = channel * each + (each - height) / 2
        for i in range(height):
            for j in range(width):
                _number(ax, maps[channel, i, j], top + i, j)
                row = channel * each + i * width + j
                ax.plot([output - 0.5, vector + 0.5], [middle, row], color=KERNEL, zorder=0)
                _number(ax, maps[channel, i, j], row, vector)
        ax.text((width - 1) / 2, top - 0.65, f"map {channel + 1}", ha="center", fontsize=13)
        first, last = channel * each - 0.45, (channel + 1) * each - 0.55
        ax.plot([vector - 0.75] * 2, [first, last], color=NOTE, linewidth=1.5)
        arrow = {"arrowstyle": "-|>", "color": NOTE, "linewidth": 1.5, "mutation_scale": 18}
        at = (first + last) / 2
        ax.annotate("", (vector - 0.85, at), (width - 0.3, at), arrowprops=arrow)
    ax.add_patch(Circle((output, middle), 0.5, facecolor=TINTS[OUTPUT], edgecolor=OUTPUT))
    ax.text(vector, -1.0, f"vector of {length}", ha="center", fontsize=13)
    ax.text(output, middle - 0.85, "one output", ha="center", fontsize=13)
    ax.text(
        output,
        middle + 0.75,
        f"{length} weights\n+ 1 bias",
        ha="center",
        va="top",
        color=NOTE,
        fontsize=13,
    )
    ax.set(xlim=(-0.6, output + 1.6), ylim=(length - 0.4, -1.6), aspect="equal")
    ax.set_axis_off()


def _number(ax: Axes, value: Tensor, row: float, column: float) -> None:
    """Draw a cell with its value, at a row that may be fractional."""
    ax.add_patch(
        Rectangle(
            (column - 0.5, row - 0.5), 1, 1, facecolor=TINTS[OUTPUT], edgecolor=OUTPUT, zorder=2
        )
    )
    ax.text(column, row, format_value(value), ha="center", va="center", fontsize=14, zorder=3)


def draw(folder: Path) -> None:
    """Draw the pictures of this module into a folder."""
    image = [[1, 3, 2, 9], [7, 4, 1, 5], [8, 5, 2, 3], [4, 2, 1, 4]]
    save_animation(max_pooling(image), folder / "max-pooling.gif")
    figure = flattening(torch.arange(1, 9).view(2, 2, 2))
    figure.savefig(folder / "flattening.png", bbox_inches="tight")
