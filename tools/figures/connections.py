"""Which pixel is connected to which hidden value: dense, locally connected, one shared filter."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from cnnlib.style import FOCUS, INPUT, KERNEL, NOTE, OUTPUT, TINTS, WIDTH, in_style
from tools.figures.drawing import rasterised

TITLES = {
    "dense": "Dense: every pixel to every hidden value",
    "local": "Locally connected: each hidden value sees one patch",
    "shared": "Shared: the same four weights at every patch",
}
SIDE, PATCH = 4, 2  # pixels
PIXELS, HIDDEN = SIDE**2, (SIDE // PATCH) ** 2
LETTERS = "abcd"  # one for each weight of a patch
LINES = ("-", "--", ":", "-.")
STRIP, NODES, ANSWER = 6.9, 11.6, 14.4  # where the columns stand, in pixels of the image
STRIP_CELL = 0.62


@in_style
def connections(kind: str) -> Figure:
    """Draw a 4x4 image, its pixels as a strip, four hidden values and one output.

    A line is a weight. Pixels are numbered row by row, in the image and in the strip. Source: the
    drawings of T. Beuzen, Deep Learning with PyTorch, chapter 5.

    Args:
        kind: "dense", "local" (four patches of 2x2, each with its own weights) or "shared" (the
            same patches, one set of weights; equal weights have equal letters and lines).

    Returns:
        The figure, closed; below it the parameters of both layers are counted.

    Raises:
        ValueError: There is no such kind.
    """
    _check(kind)
    figure, ax = plt.subplots(figsize=(WIDTH, 5.2))
    _draw_image(ax, kind)
    _draw_lines(ax, kind)
    _draw_nodes(ax)
    ax.set(xlim=(-0.7, 15.2), ylim=(10.6, -1.1), aspect="equal", title=TITLES[kind])
    ax.set_axis_off()
    figure.supxlabel(_count(kind), fontsize=13, color=NOTE)
    return figure


def edges(kind: str) -> list[tuple[int, int, int]]:
    """List the connections between pixels and hidden values.

    Args:
        kind: "dense", "local" or "shared".

    Returns:
        For each connection the pixel (0 to 15), the hidden value (0 to 3) and the number of its
        weight; connections with the same number share one weight.

    Raises:
        ValueError: There is no such kind.
    """
    _check(kind)
    found = []
    for hidden in range(HIDDEN):
        for pixel in range(PIXELS):
            (i, a), (j, b) = divmod(pixel // SIDE, PATCH), divmod(pixel % SIDE, PATCH)
            if kind == "dense":
                found.append((pixel, hidden, hidden * PIXELS + pixel))
            elif (SIDE // PATCH) * i + j == hidden:
                own = 0 if kind == "shared" else hidden * PATCH**2
                found.append((pixel, hidden, own + PATCH * a + b))
    return found


def parameters(kind: str) -> tuple[int, int, int]:
    """Count what is learned.

    Args:
        kind: "dense", "local" or "shared".

    Returns:
        The weights of the hidden layer, its biases (one alone if it is shared), and the weights
        and the bias of the output together.

    Raises:
        ValueError: There is no such kind.
    """
    weights = len({weight for _, _, weight in edges(kind)})
    return weights, 1 if kind == "shared" else HIDDEN, HIDDEN + 1


def _check(kind: str) -> None:
    if kind not in TITLES:
        raise ValueError(f"expected kind {', '.join(map(repr, TITLES))}, got {kind!r}: use one")


def _count(kind: str) -> str:
    weights, biases, head = parameters(kind)
    product = {"dense": f"{PIXELS} · {HIDDEN}", "local": f"{PATCH**2} · {HIDDEN}"}
    return (
        f"({product.get(kind, weights)} + {biases}) + ({HIDDEN} · 1 + 1) "
        f"= {weights + biases} + {head} = {weights + biases + head} parameters"
    )


def _middle(pixel: int) -> float:
    """Return how far down the strip a pixel lies."""
    return 0.2 + STRIP_CELL * pixel


def _node(hidden: int) -> float:
    """Return how far down a hidden value lies."""
    return _middle(0) + STRIP_CELL * (PIXELS - 1) * (hidden + 0.5) / HIDDEN


def _draw_image(ax: Axes, kind: str) -> None:
    top = 2.9  # centres the image beside the strip
    places = {pixel: (top + pixel // SIDE, pixel % SIDE) for pixel in range(PIXELS)}
    for pixel, (i, j) in places.items():
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=TINTS[INPUT], edgecolor=INPUT))
        ax.text(j, i, str(pixel + 1), ha="center", va="center", fontsize=12)
        y = _middle(pixel)
        corner = (STRIP - 0.5, y - STRIP_CELL / 2)
        ax.add_patch(
            Rectangle(corner, 1, STRIP_CELL, facecolor=TINTS[INPUT], edgecolor=INPUT, zorder=3)
        )
        ax.text(STRIP, y, str(pixel + 1), ha="center", va="center", fontsize=12, zorder=4)
    if kind != "dense":
        for hidden in reversed(range(HIDDEN)):
            i, j = divmod(hidden, SIDE // PATCH)
            corner = (PATCH * j - 0.5, top + PATCH * i - 0.5)
            edge = FOCUS if hidden == 0 and kind == "local" else KERNEL
            ax.add_patch(Rectangle(corner, PATCH, PATCH, fill=False, edgecolor=edge, linewidth=4))
    if kind == "shared":
        for weight in range(PATCH**2):
            i, j = divmod(weight, PATCH)
            corner = (j + 0.5, top + SIDE + 0.5 + i)
            ax.add_patch(Rectangle(corner, 1, 1, facecolor=TINTS[KERNEL], edgecolor=KERNEL))
            _letter(ax, j + 1, top + SIDE + 1 + i, weight)
        ax.text((SIDE - 1) / 2, top + SIDE + 2.7, "filter", ha="center", va="top", fontsize=13)
    ax.text((SIDE - 1) / 2, top - 0.8, "image", ha="center", va="bottom", fontsize=13)


def _draw_lines(ax: Axes, kind: str) -> None:
    for pixel, hidden, weight in edges(kind):
        looked_at = hidden == 0 and kind != "shared"
        start = STRIP + (1.05 if kind == "shared" else 0.5)
        ax.plot(
            (start, NODES),
            (_middle(pixel), _node(hidden)),
            color=FOCUS if looked_at else KERNEL,
            linestyle=LINES[weight] if kind == "shared" else "-",
            linewidth=1.0 if kind == "dense" and not looked_at else 2.0,
            zorder=1,
        )
        if kind == "shared":
            _letter(ax, STRIP + 0.78, _middle(pixel), weight)
    for hidden in range(HIDDEN):
        ends = (NODES, ANSWER), (_node(hidden), _node(1) / 2 + _node(2) / 2)
        ax.plot(*ends, color=NOTE, linewidth=1.2, zorder=1)


def _letter(ax: Axes, x: float, y: float, weight: int) -> None:
    ax.text(x, y, LETTERS[weight], ha="center", va="center", fontsize=12, weight="bold")


def _draw_nodes(ax: Axes) -> None:
    middle = (_node(1) + _node(2)) / 2
    for x, y, name in [(NODES, _node(k), f"h{k + 1}") for k in range(HIDDEN)] + [
        (ANSWER, middle, "y")
    ]:
        ax.add_patch(
            Circle((x, y), 0.55, facecolor=TINTS[OUTPUT], edgecolor=OUTPUT, linewidth=2, zorder=3)
        )
        ax.text(x, y, name, ha="center", va="center", fontsize=12, zorder=4)
    ax.text(STRIP, -0.35, "flattened", ha="center", va="bottom", fontsize=13)
    ax.text(NODES, -0.35, "hidden", ha="center", va="bottom", fontsize=13)
    ax.text(ANSWER, middle - 0.9, "output", ha="center", va="bottom", fontsize=13)


def draw(folder: Path) -> None:
    """Draw the pictures of this module into a folder."""
    for kind in TITLES:
        picture = rasterised(connections(kind)).quantize(64)
        picture.save(folder / f"connections-{kind}.png", optimize=True)
