"""Draw the maps of all layers on one sheet, and one of them large with its kernels."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from cnnlib.explorers.activations import Layer, times
from cnnlib.explorers.picture import grid
from cnnlib.images import BRIGHTNESS
from cnnlib.style import KERNEL, NOTE, OUTPUT, WIDTH, format_value, in_style, scale

Pixels = NDArray[np.uint8]

# Lengths in pixels of what is drawn; on screen it is about three quarters as large.
NAMES, ROOM = 190, 928  # the names of layers, and their maps on the right of them
FEW, MANY, UNITS = 16, 32, 64  # maps in a row: few, more; and numbers of a dense layer
LINE, GAP = 22, 10
TITLE, SIDE, ASIDE = 25, 240, 260  # above the map that is pointed at, the map, its kernels
BETWEEN = 5  # from kernel to kernel
MOST = 64  # kernels that are shown
READABLE = 15  # the smallest text
LEGEND = (
    "one scale for each layer: blue is negative, white 0,",
    "orange positive; or black is 0, white the largest value",
)


def percent(part: float | Tensor) -> str:
    """Write a part of 1 in percent, to a tenth of it."""
    return f"{100 * float(part):.1f} %"


def draw_sheet(layers: list[Layer]) -> tuple[Pixels, str, list[dict[str, Any]]]:
    """Draw all maps, those of a layer on one scale.

    Returns:
        The pixels; the names and shapes of the layers, and numbers where they fit, as SVG to lie
        on them; and for each layer the grid in which its maps lie, see `Picture.grids`.
    """
    blocks, grids, parts, top = [], [], [_legend()], 0
    for layer in layers:
        count, height, width = layer.maps.shape
        single = height * width == 1
        abreast = FEW if count <= FEW else UNITS if single else MANY
        columns = math.ceil(count / math.ceil(count / abreast))
        wide = ROOM // abreast
        high = ROOM // MANY if single else max(2, round(wide * height / width))
        pictures = _coloured(layer.maps, *scale(layer.maps, unit=0.0), (high - 1, wide - 1))
        blocks.append((top, _tiles(pictures, columns, 1)))
        grids.append(grid(math.ceil(count / columns), columns, NAMES, top, wide, high))
        parts.append(_name(layer, top))
        if single and count <= FEW:
            parts.append(_written(layer.maps.view(1, -1), blocks[-1][1], NAMES, top))
        top += max(len(blocks[-1][1]), 2 * LINE) + GAP
    pixels = np.full((top, NAMES + ROOM, 3), 255, np.uint8)
    for top, block in blocks:
        pixels[top : top + len(block), NAMES : NAMES + block.shape[1]] = block
    return pixels, "".join(parts), grids


def size_of(layer: Layer) -> str:
    """Write the shape of what a layer gives: maps, or a row of numbers."""
    return times(*layer.maps.shape) if layer.maps[0].numel() > 1 else str(len(layer.maps))


def draw_bars(probabilities: Tensor, label: int | None) -> str:
    """Draw a bar for each class in SVG, and mark the largest one and the label in words."""
    best, parts = int(probabilities.argmax()), []
    for k, part in enumerate(probabilities.tolist()):
        word = "says " if k == best else "label " if k == label else ""
        weight = "bold" if k == best else "normal"
        text = f'y="{LINE * k + 16}" font-size="15" font-weight="{weight}"'
        parts.append(
            f'<text x="62" {text} text-anchor="end">{word}{k}</text>'
            f'<rect x="70" y="{LINE * k + 3}" height="{LINE - 6}" width="{100 * part:.2f}" '
            f'fill="{OUTPUT}"/><text x="{76 + 100 * part:.2f}" {text}>{percent(part)}</text>'
        )
    return "".join(parts)


def draw_map(layer: Layer, k: int) -> tuple[Pixels, str]:
    """Draw a map large and its kernels on the right of it; return the pixels and SVG for them."""
    pixels = np.full((TITLE + SIDE + BETWEEN, 2 * SIDE + BETWEEN, 3), 255, np.uint8)
    values, norm_and_colours = layer.maps[k], scale(layer.maps, unit=0.0)
    height, width = (max(1, round(SIDE * n / max(values.shape))) for n in values.shape)
    large = _coloured(values[None], *norm_and_colours, (height, width))[0]
    pixels[TITLE : TITLE + height, :width] = large
    parts = [_framed(0, large, layer.title(k), OUTPUT), _written(values, large, 0, TITLE)]
    if layer.kernels is not None:
        kernels = strongest(layer.kernels[k])
        columns, size = _fit(kernels)
        small = _coloured(kernels, *scale(kernels, unit=0.0), size)
        block = _tiles(small, columns, BETWEEN)[:-BETWEEN, :-BETWEEN]
        pixels[TITLE : TITLE + len(block), ASIDE : ASIDE + block.shape[1]] = block
        parts.append(_framed(ASIDE, block, layer.made_by, KERNEL))
        if len(kernels) == 1:
            parts.append(_written(kernels[0], small[0], ASIDE, TITLE))
    return pixels, "".join(parts)


def strongest(kernels: Tensor) -> Tensor:
    """Return all kernels, or of very many the strongest, these first."""
    if len(kernels) <= MOST:
        return kernels
    return kernels[kernels.flatten(1).norm(dim=1).topk(MOST).indices]


@in_style
def plot_sheet(layers: list[Layer], probabilities: Tensor) -> Figure:
    """Show the sheet of all maps, and the probabilities below it."""
    pixels, _, grids = draw_sheet(layers)
    height, width, _ = pixels.shape
    tall = WIDTH * height / width
    figure, (ax, below) = plt.subplots(
        2, figsize=(WIDTH, tall + 1.9), height_ratios=[tall, 1.4], layout="constrained"
    )
    ax.imshow(pixels, extent=(0, width, height, 0), interpolation="antialiased")
    ax.set_axis_off()
    for layer, place in zip(layers, grids, strict=True):
        ax.text(0, place["top"] + 8, layer.name, va="center", fontweight="bold", fontsize=11)
        ax.text(0, place["top"] + 8 + LINE, size_of(layer), va="center", fontsize=10)
    ax.text(NAMES + ROOM // FEW + 20, 0, "\n".join(LEGEND), va="top", fontsize=10, color=NOTE)
    bars = below.bar(range(len(probabilities)), (100 * probabilities).tolist(), color=OUTPUT)
    below.bar_label(bars, [percent(part) for part in probabilities], fontsize=10)
    below.spines["left"].set_visible(False)
    below.set(
        title="Probability of each class",
        xticks=range(len(probabilities)),
        yticks=[],
        ylim=(0, 115),
    )
    return figure


def _fit(kernels: Tensor) -> tuple[int, tuple[int, int]]:
    """Return in how many columns kernels are largest beside the map, and their size there."""
    count, height, width = kernels.shape
    sizes = {}
    for columns in range(1, count + 1):
        rows = math.ceil(count / columns)
        high = (SIDE + BETWEEN) / rows - BETWEEN
        wide = (2 * SIDE - ASIDE + BETWEEN) / columns - BETWEEN
        sizes[columns] = min(wide, high * width / height)
    columns = max(sizes, key=lambda k: sizes[k])
    wide = sizes[columns]
    return columns, (max(1, int(wide * height / width)), max(1, int(wide)))


def _name(layer: Layer, top: int) -> str:
    path = f' <tspan fill="{NOTE}" font-weight="normal">{layer.path}</tspan>'
    return (
        f'<text y="{top + 17}" font-size="19" font-weight="bold">{layer.name}{path}</text>'
        f'<text y="{top + 17 + LINE}" font-size="18">{size_of(layer)}</text>'
    )


def _legend() -> str:
    left = NAMES + ROOM // FEW + 20
    return "".join(
        f'<text x="{left}" y="{17 + LINE * k}" font-size="18" fill="{NOTE}">{line}</text>'
        for k, line in enumerate(LEGEND)
    )


def _framed(left: int, pixels: Pixels, title: str, colour: str) -> str:
    """Draw a frame around what is shown large, and its title above it."""
    return (
        f'<text x="{left}" y="16" font-size="16">{title}</text>'
        f'<rect x="{left}" y="{TITLE}" width="{pixels.shape[1]}" height="{len(pixels)}" '
        f'fill="none" stroke="{colour}" stroke-width="3"/>'
    )


def _written(values: Tensor, pixels: Pixels, left: int, top: int) -> str:
    """Write the values of a small matrix into its cells, in SVG, if they can be read there."""
    high, wide = (n / m for n, m in zip(pixels.shape, values.shape, strict=False))
    if 1.4 * wide < READABLE:
        return ""
    for digits in (9, 2, 1):  # fewer, if only so they fit and not all of them become 0
        if values.abs().max() >= 10 ** (1 - digits):
            texts = [format_value(round(value, digits)) for value in values.flatten().tolist()]
            font = min(20.0, high, 1.4 * wide / max(map(len, texts)))
            if font >= READABLE:
                break
    else:
        return ""
    parts = []
    for text, (i, j) in zip(texts, np.ndindex(*values.shape), strict=True):
        x, y = (j + 0.5) * wide, (i + 0.5) * high
        dark = pixels[int(y), int(x)] @ BRIGHTNESS < 128
        parts.append(
            f'<text x="{left + x:.1f}" y="{top + y + 0.36 * font:.1f}" font-size="{font:.1f}" '
            f'text-anchor="middle" fill="{"white" if dark else "black"}">{text}</text>'
        )
    return "".join(parts)


def _coloured(maps: Tensor, norm: Any, colours: Any, size: tuple[int, int]) -> Pixels:
    """Return maps in colours, shape (maps, *size, 3): small ones with each pixel repeated."""
    if maps.shape[1] > size[0] or maps.shape[2] > size[1]:
        maps = F.interpolate(maps[None], size, mode="area")[0]
    pixels: Pixels = colours(norm(maps.numpy()), bytes=True)[..., :3]
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, maps.shape[1:], strict=True))
    return pixels[:, rows][:, :, columns]


def _tiles(pictures: Pixels, columns: int, gap: int) -> Pixels:
    """Put small pictures side by side on white, with a gap to the right of each and below."""
    rows = math.ceil(len(pictures) / columns)
    height, width = (n + gap for n in pictures.shape[1:3])
    tiles = np.full((rows * columns, height, width, 3), 255, np.uint8)
    tiles[: len(pictures), :-gap, :-gap] = pictures
    return (
        tiles.reshape(rows, columns, height, width, 3)
        .swapaxes(1, 2)
        .reshape(rows * height, columns * width, 3)
    )
