"""Draws the pictures in img/; an animation has its first step beside it as a still.

`python -m cnnlib.diagrams` (or `make figures`) draws them all again.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from cnnlib import kernels
from cnnlib._checks import matrix, pair
from cnnlib.convolution import Size, corr2d
from cnnlib.images import PROJECT, load_image
from cnnlib.plotting import (
    FOCUS,
    INPUT,
    KERNEL,
    NOTE,
    OUTPUT,
    PADDING,
    STYLE,
    WIDTH,
    draw_values,
    format_value,
    plot_conv,
)

SECONDS = 2.5  # for each step
TINTS = {INPUT: "#D6E8F3", KERNEL: "#FBECC8", OUTPUT: "#D3EDE4"}  # light enough to write on


def sliding_kernel(
    image: Any, kernel: Any, *, padding: Size = 0, stride: Size = 1, dilation: Size = 1
) -> list[Image.Image]:
    """Draw a kernel on its way over an image, one picture for each value of the output.

    Each picture shows the padded input with the kernel in place (its values small, in the corners),
    the kernel, the products, and the output up to the value that is being written.

    Args:
        image: Shape (height, width), small enough to read: about 8x8 with its padding.
        kernel: Shape (height, width).
        padding: Rows and columns of zeros on each side, an int or a pair.
        stride: Pixels from one place to the next, an int or a pair.
        dilation: Pixels from one value of the kernel to the next, an int or a pair.

    Returns:
        The pictures in order, 8 inches wide at 100 dots per inch.

    Raises:
        TypeError: See `corr2d`.
        ValueError: See `corr2d`.
    """
    X, K = matrix(image, "image"), matrix(kernel, "kernel")
    Y = corr2d(X, K, padding=padding, stride=stride, dilation=dilation)
    pad, steps, dilations = (
        pair(value, "", least) for value, least in ((padding, 0), (stride, 1), (dilation, 1))
    )
    padded = F.pad(X, (pad[1], pad[1], pad[0], pad[0]))
    frames = []
    for step in range(Y.numel()):
        i, j = divmod(step, Y.shape[1])
        rows = [i * steps[0] + a * dilations[0] for a in range(K.shape[0])]
        columns = [j * steps[1] + b * dilations[1] for b in range(K.shape[1])]
        patch = padded[rows][:, columns]
        with plt.style.context(STYLE):
            figure, axes = plt.subplots(
                ncols=4,
                figsize=(WIDTH, 3.8),
                width_ratios=[padded.shape[1], K.shape[1], K.shape[1], Y.shape[1]],
            )
            _draw_input(axes[0], padded, pad)
            _draw_kernel(axes[0], K, rows, columns)
            _draw_grid(axes[1], K, "kernel")
            _draw_grid(axes[2], patch * K, "products")
            _draw_output(axes[3], Y, step)
            figure.suptitle(f"step {step + 1} of {Y.numel()}", color=NOTE, fontsize=12)
            figure.supxlabel(_as_sum(patch, K, Y[i, j]), fontsize=13, color=NOTE)
            frames.append(_rasterised(figure))
            plt.close(figure)
    return frames


def save_animation(frames: Sequence[Image.Image], path: str | Path) -> None:
    """Write pictures as an animation that stops on the last one, and the first one as a still.

    Args:
        frames: The pictures, all of one size.
        path: Where to; `name.gif` gets `name-still.png` beside it.

    Raises:
        ValueError: There are no pictures.
    """
    if not frames:
        raise ValueError("an animation needs a picture or more, got none")
    path = Path(path)
    # One palette for all, so that colours do not flicker; without loop=, a GIF plays once.
    palette = frames[len(frames) // 2].quantize(128)
    coded = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    coded[0].save(
        path, save_all=True, append_images=coded[1:], duration=round(SECONDS * 1000), optimize=True
    )
    frames[0].save(path.with_name(f"{path.stem}-still.png"), optimize=True)


def _draw_input(ax: Axes, padded: Tensor, pad: tuple[int, int]) -> None:
    height, width = padded.shape
    for i in range(height):
        for j in range(width):
            inside = pad[0] <= i < height - pad[0] and pad[1] <= j < width - pad[1]
            if inside:
                _cell(ax, i, j, TINTS[INPUT], INPUT)
            else:
                _cell(ax, i, j, PADDING, NOTE, linestyle="--")
    draw_values(ax, padded)
    _finish(ax, padded, "input" if pad == (0, 0) else "input and padding")


def _draw_kernel(ax: Axes, K: Tensor, rows: list[int], columns: list[int]) -> None:
    for a, i in enumerate(rows):
        for b, j in enumerate(columns):
            _cell(ax, i, j, TINTS[KERNEL], KERNEL)
            weight = format_value(K[a, b])
            ax.text(j + 0.46, i + 0.44, f"×{weight}", ha="right", va="bottom", fontsize=9)
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    corner = (columns[0] - 0.5, rows[0] - 0.5)
    ax.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=KERNEL, linewidth=4))


def _draw_grid(ax: Axes, values: Tensor, title: str) -> None:
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            _cell(ax, i, j, TINTS[KERNEL], KERNEL)
    draw_values(ax, values)
    _finish(ax, values, title)


def _draw_output(ax: Axes, Y: Tensor, step: int) -> None:
    for position in range(Y.numel()):
        i, j = divmod(position, Y.shape[1])
        if position <= step:
            _cell(ax, i, j, TINTS[OUTPUT], OUTPUT)
            draw_values(ax, Y[i : i + 1, j : j + 1], at=(i, j))
        else:
            _cell(ax, i, j, "white", OUTPUT)
    i, j = divmod(step, Y.shape[1])
    ax.add_patch(
        Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=FOCUS, linewidth=4, zorder=3)
    )
    _finish(ax, Y, "output")


def _cell(ax: Axes, i: int, j: int, fill: str, edge: str, linestyle: str = "-") -> None:
    ax.add_patch(
        Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=fill, edgecolor=edge, linestyle=linestyle)
    )


def _finish(ax: Axes, values: Tensor, title: str) -> None:
    height, width = values.shape
    ax.set(xlim=(-0.6, width - 0.4), ylim=(height - 0.4, -0.6), aspect="equal", title=title)
    ax.set_axis_off()
    ax.text((width - 1) / 2, height - 0.3, f"{height} × {width}", ha="center", va="top")


def _as_sum(patch: Tensor, K: Tensor, total: Tensor) -> str:
    """Write the products as a sum, where it fits on a line."""
    terms = [
        f"{format_value(x)}·{format_value(k)}"
        for x, k in zip(patch.flatten(), K.flatten(), strict=True)
    ]
    text = f"{' + '.join(terms)} = {format_value(total)}"
    return text if len(text) <= 80 else f"sum of the products = {format_value(total)}"


def _rasterised(figure: Any) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    return Image.open(buffer).convert("RGB")


def main() -> None:
    """Draw every picture of the course that is not a photograph into img/."""
    cat = load_image("img/cat.png", grey=True)
    plot_conv(cat, kernels.edges()).savefig(PROJECT / "img" / "edges.png", bbox_inches="tight")
    # The arrays of Dumoulin and Visin, A guide to convolution arithmetic for deep learning.
    image = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
    kernel = [[0, 1, 2], [2, 2, 0], [0, 1, 2]]
    save_animation(sliding_kernel(image, kernel), PROJECT / "img" / "sliding-kernel.gif")


if __name__ == "__main__":
    main()
