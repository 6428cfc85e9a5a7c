"""One place of a kernel on its way over an image, drawn with all its values."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from cnnlib._checks import matrix, pair
from cnnlib.convolution import Size, corr2d
from cnnlib.style import (
    FOCUS,
    INPUT,
    KERNEL,
    NOTE,
    OUTPUT,
    PADDING,
    TINTS,
    WIDTH,
    draw_values,
    format_value,
    in_style,
)

# The arrays of Dumoulin and Visin, A guide to convolution arithmetic for deep learning.
IMAGE = ((3, 3, 2, 1, 0), (0, 0, 1, 3, 1), (3, 1, 2, 2, 3), (2, 0, 0, 2, 2), (2, 0, 0, 0, 1))
WEIGHTS = ((0, 1, 2), (2, 2, 0), (0, 1, 2))


@in_style
def sliding_step(
    image: Any,
    kernel: Any,
    step: int = 0,
    *,
    padding: Size = 0,
    stride: Size = 1,
    dilation: Size = 1,
) -> Figure:
    """Draw one place of a kernel on its way over an image.

    The picture shows the padded input with the kernel in place (its values small, in the corners),
    the kernel, the products, and the output up to the value that is being written.

    Args:
        image: Shape (height, width), small enough to read: about 8x8 with its padding.
        kernel: Shape (height, width).
        step: Which value of the output, counted from 0 row by row.
        padding: Rows and columns of zeros on each side, an int or a pair.
        stride: Pixels from one place to the next, an int or a pair.
        dilation: Pixels from one value of the kernel to the next, an int or a pair.

    Returns:
        The figure, closed.

    Raises:
        TypeError: See `corr2d`.
        ValueError: See `corr2d`; or the output has no such step.
    """
    X, K = matrix(image, "image"), matrix(kernel, "kernel")
    Y = corr2d(X, K, padding=padding, stride=stride, dilation=dilation)
    if not 0 <= step < Y.numel():
        raise ValueError(f"expected a step from 0 to {Y.numel() - 1}, got {step}")
    pad, steps, dilations = (
        pair(value, "", least) for value, least in ((padding, 0), (stride, 1), (dilation, 1))
    )
    padded = F.pad(X, (pad[1], pad[1], pad[0], pad[0]))
    i, j = divmod(step, Y.shape[1])
    rows = [i * steps[0] + a * dilations[0] for a in range(K.shape[0])]
    columns = [j * steps[1] + b * dilations[1] for b in range(K.shape[1])]
    patch = padded[rows][:, columns]
    figure, axes = plt.subplots(
        ncols=4,
        figsize=(WIDTH, 3.8),
        width_ratios=[padded.shape[1], K.shape[1], K.shape[1], Y.shape[1]],
    )
    _draw_input(axes[0], padded, pad)
    _draw_kernel(axes[0], K, rows, columns)
    _draw_grid(axes[1], K, "kernel")
    _draw_grid(axes[2], patch * K, "products")
    output_so_far(axes[3], Y, step)
    figure.suptitle(f"step {step + 1} of {Y.numel()}", color=NOTE, fontsize=12)
    text = as_sum(patch, K, Y[i, j])
    if len(text) > 80:  # it would not fit on a line
        text = f"sum of the products = {format_value(Y[i, j])}"
    figure.supxlabel(text, fontsize=13, color=NOTE)
    return figure


def as_sum(patch: Tensor, K: Tensor, total: Tensor) -> str:
    """Return the sum of a window's products in writing: "3·0 + (−2)·1 = −2".

    Args:
        patch: The window, shape (height, width).
        K: The kernel, of the same shape.
        total: The sum, the result.
    """
    pairs = zip(patch.flatten(), K.flatten(), strict=True)
    products = " + ".join(f"{_factor(x)}·{_factor(k)}" for x, k in pairs)
    return f"{products} = {format_value(total)}"


def _factor(value: Tensor) -> str:
    return f"({format_value(value)})" if value < 0 else format_value(value)


def _draw_input(ax: Axes, padded: Tensor, pad: tuple[int, int]) -> None:
    height, width = padded.shape
    for i in range(height):
        for j in range(width):
            inside = pad[0] <= i < height - pad[0] and pad[1] <= j < width - pad[1]
            if inside:
                cell(ax, i, j, TINTS[INPUT], INPUT)
            else:
                cell(ax, i, j, PADDING, NOTE, linestyle="--")
    draw_values(ax, padded)
    finish_grid(ax, padded, "input" if pad == (0, 0) else "input and padding")


def _draw_kernel(ax: Axes, K: Tensor, rows: list[int], columns: list[int]) -> None:
    for a, i in enumerate(rows):
        for b, j in enumerate(columns):
            cell(ax, i, j, TINTS[KERNEL], KERNEL)
            weight = format_value(K[a, b])
            ax.text(j + 0.46, i + 0.44, f"×{weight}", ha="right", va="bottom", fontsize=9)
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    corner = (columns[0] - 0.5, rows[0] - 0.5)
    ax.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=KERNEL, linewidth=4))


def _draw_grid(ax: Axes, values: Tensor, title: str) -> None:
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            cell(ax, i, j, TINTS[KERNEL], KERNEL)
    draw_values(ax, values)
    finish_grid(ax, values, title)


def cell(ax: Axes, i: int, j: int, fill: str, edge: str, linestyle: str = "-") -> None:
    """Draw the cell of row i and column j of a grid, with its fill and its edge."""
    ax.add_patch(
        Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=fill, edgecolor=edge, linestyle=linestyle)
    )


def finish_grid(ax: Axes, values: Tensor, title: str) -> None:
    """Give a grid of cells its limits, its title, and its size below it."""
    height, width = values.shape
    ax.set(xlim=(-0.6, width - 0.4), ylim=(height - 0.4, -0.6), aspect="equal", title=title)
    ax.set_axis_off()
    ax.text((width - 1) / 2, height - 0.3, f"{height} × {width}", ha="center", va="top")


def mark(ax: Axes, i: int, j: int, margin: float = 0.5) -> None:
    """Draw the edge of what is looked at around the middle of the cell of row i and column j."""
    corner, size = (j - margin, i - margin), 2 * margin
    ax.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=FOCUS, linewidth=4, zorder=3))


def output_so_far(ax: Axes, Y: Tensor, step: int, size: float = 12) -> None:
    """Draw an output whose values are written one by one, up to a step, and mark the last one."""
    for position in range(Y.numel()):
        i, j = divmod(position, Y.shape[1])
        cell(ax, i, j, TINTS[OUTPUT] if position <= step else "white", OUTPUT)
        if position <= step:
            draw_values(ax, Y[i : i + 1, j : j + 1], size=size, at=(i, j))
    mark(ax, *divmod(step, Y.shape[1]))
    finish_grid(ax, Y, "output")
