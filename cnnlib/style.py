"""How every picture of the course looks: its colours, its style, and numbers in cells."""

from __future__ import annotations

import functools
from collections.abc import Callable
from fractions import Fraction
from typing import Any, ParamSpec

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor

from cnnlib.images import BRIGHTNESS

STYLE = "cnnlib.course"
# One thing, one colour (Okabe and Ito, safe for colour-blind readers), in every picture.
INPUT, KERNEL, OUTPUT, FOCUS = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PADDING, NOTE = "#E5E5E5", "#444444"
TINTS = {INPUT: "#D6E8F3", KERNEL: "#FBECC8", OUTPUT: "#D3EDE4"}  # light enough to write on
# Negative blue, positive vermilion, 0 white; the blue end is darker, so that grey prints differ.
SIGNED = LinearSegmentedColormap.from_list(
    "signed", ["#002F49", INPUT, "#8FBEDC", "#FFFFFF", "#F3BE98", FOCUS, "#A84A00"]
)
WIDTH = 8.0  # inches
P = ParamSpec("P")
WRITTEN = 8  # grids up to this size show their values


def in_style(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Return a function that draws in the style of the course, and closes its figure.

    Jupyter shows an open figure at the end of the cell, and one that is a cell's value besides:
    closed, it is shown once.
    """

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with plt.style.context(STYLE):
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()  # ticks take their style when they are first drawn
            interactive = matplotlib.is_interactive()  # Jupyter's first figure switches this on
        matplotlib.interactive(interactive)
        plt.close(figure)
        return figure

    return wrapper


def scale(values: Tensor, within: Tensor | None = None, unit: float = 1.0) -> tuple[Normalize, Any]:
    """Return limits and colours: centred on 0 where values are signed, else grey from 0 up.

    The largest value `within` sets the limit (all values, if that is not given); what has no
    signs reaches up to `unit` at least, so that a dark photograph stays dark.
    """
    largest = float((values if within is None else within).abs().max()) or 1.0
    if values.min() < 0:
        return Normalize(-largest, largest), SIGNED
    return Normalize(0.0, max(largest, unit)), plt.get_cmap("gray")


def draw_values(
    ax: Axes, values: Tensor, colours: Any = "black", size: float = 12, at: tuple[int, int] = (0, 0)
) -> None:
    """Write each value of a small matrix into the middle of its cell.

    Args:
        ax: Where; the cell of row i and column j is centred on (j, i).
        values: Shape (height, width).
        colours: One colour, or an array of them of that shape.
        size: Size of the text in points.
        at: Row and column of the first value.
    """
    colours = np.broadcast_to(np.asarray(colours), tuple(values.shape))
    texts = np.reshape(_texts(values), colours.shape)
    for (i, j), text in np.ndenumerate(texts):
        x, y = at[1] + j, at[0] + i
        ax.text(x, y, text, ha="center", va="center", color=colours[i, j], fontsize=size)


def format_value(value: Tensor | float) -> str:
    """Write a number with three digits, without exponent or "-0": 12, 0.0625, −0.333."""
    value = float(value)
    if abs(value) < 999.5:
        text = np.format_float_positional(value, 3, unique=False, fractional=False, trim="-")
    else:
        text = f"{value:.0f}"
    return "0" if text == "-0" else text.replace("-", "−")


def _texts(values: Tensor) -> list[str]:
    """Write the values of a matrix; as fractions where those are shorter, like 1/16 for 0.0625."""
    # What rounding leaves of a 0 is written as 0.
    values = torch.where(values.abs() < 1e-6 * values.abs().max(), 0, values)
    texts = [format_value(value) for value in values.flatten()]
    parts = [Fraction(float(value)) for value in values.flatten()]
    if max(map(len, texts)) > 4 and all(part.denominator <= 64 for part in parts):
        return [str(part).replace("-", "−") for part in parts]
    return texts


def draw_map(
    ax: Axes, values: Tensor, title: str, *, norm: Normalize | None = None, axis: bool = False
) -> ScalarMappable | None:
    """Draw one picture or map; return what a colour bar needs, None for a colour picture."""
    if values.ndim == 3:
        low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
        mappable = None
        ax.imshow(((values - low) / (high - low)).permute(1, 2, 0).numpy())
    else:
        own, cmap = scale(values)
        norm = norm or own
        if norm.vmin is not None and norm.vmin < 0:
            cmap = SIGNED
        mappable = ax.imshow(values.numpy(), cmap=cmap, norm=norm)
        if max(values.shape) <= WRITTEN:
            shades = np.asarray(cmap(norm(values.numpy())))[..., :3] @ BRIGHTNESS
            draw_values(ax, values, np.where(shades > 0.5, "black", "white"), _fitting(ax, values))
    ax.spines[:].set_visible(True)
    height, width = values.shape[-2:]
    ax.set_title(title)
    if axis:
        ax.set(xlabel="column", ylabel="row")
    else:
        ax.set(xticks=[], yticks=[], xlabel=f"{height} × {width}")
    return mappable


def _fitting(ax: Axes, values: Tensor) -> float:
    """Return the size of text, in points, at which every value fits into its cell."""
    longest = max(len(text) for text in _texts(values))
    inches = ax.get_position().width * ax.figure.get_figwidth() / values.shape[1]  # type: ignore[union-attr]
    return min(12.0, 72 * inches / (0.8 * longest))
