"""The channels of a convolutional layer: one kernel for every pair of an input and an output."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import nn

from cnnlib._checks import whole
from cnnlib.style import INPUT, KERNEL, NOTE, OUTPUT, TINTS, WIDTH, in_style

PLANE, STEP = 1.5, 2.3  # side of a plane, and distance from one row of the picture to the next
COLUMNS = {"input": 0.0, "kernels": 3.4, "sum": 8.4, "output": 11.1}
MOST = 4  # channels on each side that can still be read


@in_style
def channel_diagram(in_channels: int, out_channels: int, kernel_size: int = 3) -> Figure:
    """Draw a `Conv2d` layer: input planes, a kernel for every pair, sums with bias, output planes.

    Each output channel is a row: a kernel for each input channel, their sum with one bias, and the
    plane it makes. The counts below are those of the layer `torch.nn.Conv2d` itself.

    Args:
        in_channels: Planes of the input, 1 to 4.
        out_channels: Planes of the output, 1 to 4.
        kernel_size: Rows and columns of a kernel, 1 to 5.

    Returns:
        The figure, 8 inches wide, already closed.

    Raises:
        TypeError: A number is fractional, or no number.
        ValueError: A number is too small, or too large to be read in a picture.
    """
    for value, name, most in (
        (in_channels, "in_channels", MOST),
        (out_channels, "out_channels", MOST),
        (kernel_size, "kernel_size", 5),
    ):
        if whole(value, name, 1) > most:
            raise ValueError(
                f"{name} = {value} is too much for one picture: use {most} or fewer to show how "
                f"it works, and torch.nn.Conv2d for the real layer"
            )
    layer = nn.Conv2d(in_channels, out_channels, kernel_size)
    assert layer.bias is not None
    weights, biases = layer.weight.numel(), layer.bias.numel()
    rows = max(in_channels, out_channels)
    figure, ax = plt.subplots(figsize=(WIDTH, 1.5 + 1.15 * rows))
    inputs = [_middle(number, in_channels, rows) for number in range(in_channels)]
    outputs = [_middle(number, out_channels, rows) for number in range(out_channels)]
    side = min(1.05, 3.4 / in_channels)
    middle = COLUMNS["kernels"] + 2.2
    places = [middle + 1.45 * side * (i - (in_channels - 1) / 2) for i in range(in_channels)]
    left, right = places[0] - side / 2, places[-1] + side / 2
    for o, y in enumerate(outputs):
        for i, x in enumerate(places):
            _kernel(ax, x, y, side, kernel_size)
            ax.text(x, y - 0.55 * side, f"on {i + 1}", ha="center", va="top", fontsize=12)
        for x, following in pairwise(places):
            ax.text((x + following) / 2, y, "+", ha="center", va="center", fontsize=14)
        _arrow(ax, COLUMNS["input"] + PLANE + 0.8, left - 0.1, y)
        _arrow(ax, right + 0.1, COLUMNS["sum"], y)
        bias = "$b$" if out_channels == 1 else f"$b_{o + 1}$"
        text = f"+ {bias}" if in_channels == 1 else f"sum + {bias}"
        ax.text(COLUMNS["sum"] + 0.1, y, text, va="center", fontsize=14)
        _arrow(
            ax,
            COLUMNS["sum"] + (0.95 if in_channels == 1 else 1.85),
            COLUMNS["output"] - 0.1,
            y,
        )
        _plane(ax, COLUMNS["output"], y, OUTPUT, str(o + 1))
    for number, y in enumerate(inputs):
        _plane(ax, COLUMNS["input"], y, INPUT, str(number + 1))
    _bracket(ax, inputs, outputs)
    _titles(ax, in_channels, out_channels, kernel_size)
    per_kernel = kernel_size * kernel_size
    bottom = -STEP * rows + 0.35
    ax.text(
        6.2,
        bottom,
        f"{out_channels} × {in_channels} kernels of {per_kernel} weights = {weights},  "
        f"+ {biases} bias{'es' * (biases > 1)} = {weights + biases} parameters",
        ha="center",
        va="top",
        fontsize=14,
        color=NOTE,
    )
    ax.set(xlim=(-0.3, 12.8), ylim=(bottom - 0.7, 1.3), aspect="equal")
    ax.set_axis_off()
    return figure


def _middle(number: int, count: int, rows: int) -> float:
    """Return the height of one of `count` planes, centred over all rows; the first is on top."""
    return -STEP * (number + (rows - count) / 2) - PLANE / 2


def _plane(ax: Axes, x: float, y: float, colour: str, text: str) -> None:
    ax.add_patch(
        Rectangle(
            (x, y - PLANE / 2), PLANE, PLANE, facecolor=TINTS[colour], edgecolor=colour, linewidth=3
        )
    )
    ax.text(x + PLANE / 2, y, text, ha="center", va="center", fontsize=15)


def _kernel(ax: Axes, x: float, y: float, width: float, size: int) -> None:
    """Draw a grid of size x size cells, centred on (x, y)."""
    side = width / size
    for i in range(size):
        for j in range(size):
            corner = (x - width / 2 + j * side, y - width / 2 + i * side)
            ax.add_patch(Rectangle(corner, side, side, facecolor=TINTS[KERNEL], edgecolor=KERNEL))


def _arrow(ax: Axes, start: float, end: float, y: float) -> None:
    ax.add_patch(
        FancyArrowPatch(
            (start, y), (end, y), arrowstyle="-|>", mutation_scale=14, color=NOTE, linewidth=1.5
        )
    )


def _bracket(ax: Axes, inputs: list[float], outputs: list[float]) -> None:
    """Lead all inputs to one vertical line, from which every row of kernels is fed."""
    x = COLUMNS["input"] + PLANE
    trunk = x + 0.8
    heights = [*inputs, *outputs]
    ax.plot([trunk, trunk], [min(heights), max(heights)], color=NOTE, linewidth=1.5)
    for y in inputs:
        ax.plot([x + 0.1, trunk], [y, y], color=NOTE, linewidth=1.5)


def _titles(ax: Axes, in_channels: int, out_channels: int, size: int) -> None:
    plural = [f"{n} channel{'s' * (n > 1)}" for n in (in_channels, out_channels)]
    for x, title in (
        (COLUMNS["input"] + PLANE / 2, f"input\n{plural[0]}"),
        (COLUMNS["kernels"] + 2.2, f"weights, {size} × {size} each\none row per output"),
        (COLUMNS["output"] + PLANE / 2, f"output\n{plural[1]}"),
    ):
        ax.text(x, 0.25, title, ha="center", va="bottom", fontsize=13)


def draw(folder: Path) -> None:
    """Draw the pictures of this module into a folder."""
    for in_channels, out_channels in ((1, 3), (3, 3)):
        figure = channel_diagram(in_channels, out_channels)
        figure.savefig(folder / f"channels-{in_channels}-{out_channels}.png", bbox_inches="tight")
