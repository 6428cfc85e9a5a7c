"""Which inputs one value sees through a stack of layers, in one dimension."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnnlib.convolution import output_size
from cnnlib.receptive_field import receptive_field
from cnnlib.style import FOCUS, INPUT, NOTE, OUTPUT, TINTS, in_style

Layers = Sequence[tuple[int, int]]  # kernel and stride of each


@in_style
def field_cone(layers: Layers, title: str, count: int) -> Figure:
    """Draw rows of cells, the input below and a layer above another, and what one value sees.

    Args:
        layers: Kernel size and stride of each layer; no padding.
        title: What stands above it.
        count: Cells of the input.

    Returns:
        The figure, closed. What the middle value of the last layer sees is filled and hatched.

    Raises:
        TypeError: A number is not whole.
        ValueError: A kernel is larger than the row below it.
    """
    counts = [count]
    for kernel, stride in layers:
        size = output_size(counts[-1], kernel, stride=stride)
        assert isinstance(size, int)
        counts.append(size)
    figure, ax = plt.subplots(figsize=(8, 0.9 + 0.75 * len(counts)))
    seen = range(counts[-1] // 2, counts[-1] // 2 + 1)
    for level in range(len(layers), -1, -1):
        field = receptive_field([((1, k), (1, s)) for k, s in layers[:level]])
        jump, start = field.stride[1], field.offset[1]
        centres = [start + jump * i for i in range(counts[level])]
        name = f"layer {level}" if level else "input"
        _cells(ax, level, centres, seen, f"{name}: {len(seen)} of {counts[level]}", count)
        if level:
            kernel, stride = layers[level - 1]
            below = receptive_field([((1, k), (1, s)) for k, s in layers[: level - 1]])
            for i in seen:
                for j in range(i * stride, i * stride + kernel):
                    ends = [centres[i], below.offset[1] + below.stride[1] * j]
                    ax.plot(ends, [level - 0.25, level - 0.75], color=FOCUS, linewidth=1)
            seen = range(seen[0] * stride, seen[-1] * stride + kernel)
    ax.set(xlim=(-0.6, count + 3.4 * count / 9), ylim=(-0.4, len(layers) + 0.4), title=title)
    ax.set_axis_off()
    return figure


def _cells(
    ax: Axes, level: int, centres: Sequence[float], seen: range, text: str, right: int
) -> None:
    """Draw a row of cells, fill those that are seen, and write their number beside them."""
    colour = OUTPUT if level else INPUT
    for i, x in enumerate(centres):
        fill = TINTS[colour] if i in seen else "white"
        edge = FOCUS if i in seen else colour
        ax.add_patch(
            Rectangle(
                (x - 0.38, level - 0.25),
                0.76,
                0.5,
                facecolor=fill,
                edgecolor=edge,
                hatch="///" if i in seen else None,
                linewidth=2 if i in seen else 1,
            )
        )
    ax.text(right - 0.2, level, text, va="center", ha="left", color=NOTE)


def draw(folder: Path) -> None:
    """Write this module's pictures into a folder."""
    steps = field_cone([(3, 1)] * 3, "Three layers with kernel 3, stride 1", 9)
    steps.savefig(folder / "field-stride-1.png", dpi=100)
    leaps = field_cone([(3, 2)] * 3, "Three layers with kernel 3, stride 2", 17)
    leaps.savefig(folder / "field-stride-2.png", dpi=100)
