"""What the diagrams share: tints, cells of a grid, and how pictures become an animation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from cnnlib.plotting import FOCUS, INPUT, KERNEL, OUTPUT, draw_values

SECONDS = 2.5  # for each step of an animation
TINTS = {INPUT: "#D6E8F3", KERNEL: "#FBECC8", OUTPUT: "#D3EDE4"}  # light enough to write on


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


def rasterised(figure: Figure) -> Image.Image:
    """Return a figure as a picture of 100 dots per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    return Image.open(buffer).convert("RGB")


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
