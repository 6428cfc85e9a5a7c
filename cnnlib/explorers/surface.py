"""The loss over the two weights of a kernel: a bowl, drawn with the way of an optimiser on it."""

from __future__ import annotations

import itertools
import math

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from cnnlib.style import FOCUS, NOTE, WIDTH, format_value, in_style

CELLS = 41  # places to start from along each axis, the best kernel in the middle
PIXELS = 9  # of one such place
LEFT, TOP, SIDE = 58, 10, CELLS * PIXELS
SIZE = [LEFT + SIDE + 17, TOP + SIDE + 46]
DECADES = 8  # of losses on the axis of their curve
# Between contours: the lower, the lighter, so that the way is seen where it ends.
GREYS = ["#8A8A8A", "#9C9C9C", "#ADADAD", "#BDBDBD", "#CCCCCC", "#DADADA", "#E7E7E7", "#F3F3F3"]
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Surface:
    """The sum of squared errors as a function of two weights, and its drawing.

    The sum is ½ (w − minimum)ᵀ H (w − minimum) + least, so its contours are ellipses.

    Args:
        pixels: What the two weights are multiplied with, shape (places, 2).
        values: What should come out, shape (places,).
        start: Weights that have to lie in the drawing, shape (2,).

    Raises:
        ValueError: More than one kernel is best.
    """

    def __init__(self, pixels: Tensor, values: Tensor, start: Tensor) -> None:
        pixels, values = pixels.double(), values.double()
        self._hessian = 2 * pixels.T @ pixels
        # The smaller curvature first; directions are columns.
        self.curvatures, self.directions = torch.linalg.eigh(self._hessian)
        if self.curvatures[0] <= 1e-6 * self.curvatures[1]:
            raise ValueError(
                "many kernels make Y from X equally well, so the loss has no lowest point: "
                "choose an X in which neighbours are equal in some places and differ in others"
            )
        self.minimum = torch.linalg.lstsq(pixels, values[:, None]).solution[:, 0]
        self.least = float((pixels @ self.minimum - values).square().sum())
        reach = float(torch.stack([1.1 * (start - self.minimum), self.minimum]).abs().max())
        self.unit = _round_up((reach or 1.0) / (CELLS // 2))  # weight from place to place
        self._middle = (self.minimum / self.unit).round() * self.unit
        self.highest = float(self.mesh()[2].max())
        self.top = math.ceil(math.log10(self.highest))  # power of ten above all losses drawn
        self._ground, self._names = self._draw_ground()

    def loss(self, weights: Tensor) -> Tensor:
        """Return the sums of squared errors, shape (...), for weights of shape (..., 2)."""
        away = weights.double() - self.minimum
        losses: Tensor = self.least + (away @ self._hessian * away).sum(-1) / 2
        return losses

    def weights(self, row: int, column: int) -> Tensor:
        """Return the weights at a place: w1 grows to the right, w2 upwards."""
        steps = torch.tensor([column - CELLS // 2, CELLS // 2 - row])
        weights: Tensor = self._middle + self.unit * steps
        return weights

    def place(self, weights: Tensor) -> tuple[int, int]:
        """Return the row and column of the place nearest to weights of shape (2,)."""
        right, up = ((weights - self._middle) / self.unit).round().int().tolist()
        return CELLS // 2 - up, CELLS // 2 + right

    def mesh(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return w1, w2 and the loss, from edge to edge of the drawing."""
        steps = torch.linspace(-CELLS / 2, CELLS / 2, 201, dtype=torch.double) * self.unit
        w1, w2 = torch.meshgrid(self._middle[0] + steps, self._middle[1] + steps, indexing="xy")
        return w1, w2, self.loss(torch.stack([w1, w2], -1))

    def levels(self) -> list[float]:
        """Return the losses of the contours, the highest first: the least and 1, 3, 10, 30, ..."""
        top = math.floor(2 * math.log10(self.highest - self.least))
        powers = range(top, top - len(GREYS), -1)
        depths = [(3.0 if k % 2 else 1.0) * 10.0 ** (k // 2) for k in powers]
        levels = [self.least + depth for depth in depths]
        return [level for level in levels if level < self.highest][: len(GREYS) - 1]

    def draw(self, way: Tensor) -> str:
        """Return the surface with a way on it, as SVG; weights of shape (steps + 1, 2)."""
        # What lies very far outside is left out: no browser draws lines of any length.
        near = (way - self._middle).abs().amax(1) < 1000 * CELLS * self.unit
        points = self._xy(way[: int(near.long().cumprod(0).sum())])
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        line = f'<polyline points="{line}" fill="none" stroke-linejoin="round" '
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points)
        ((x, y),) = self._xy(way[-1:])
        return (
            f"{self._ground}{_inside()}"
            f'{line} stroke="white" stroke-width="6"/>{line} stroke="{FOCUS}" stroke-width="2.5"/>'
            f'<g fill="{FOCUS}" stroke="white">{dots}{_arrows(points)}</g>{self._names}'
            f"{text(points[0][0] + 9, points[0][1] - 9, 'start', 'start')}</svg>"
            f'<g transform="translate({LEFT} {TOP})">{end_mark(x, y, SIDE)}</g>'
        )

    def _xy(self, weights: Tensor) -> list[tuple[float, float]]:
        """Return where weights of shape (count, 2) lie, in pixels from the surface's corner."""
        steps = ((weights.double() - self._middle) / self.unit * PIXELS).tolist()
        return [(SIDE / 2 + right, SIDE / 2 - up) for right, up in steps]

    def _draw_ground(self) -> tuple[str, str]:
        """Return contours, axes and the lowest point; and what is written on them."""
        ((x, y),) = self._xy(self.minimum[None])
        ends = [(float(right), -float(up)) for right, up in self.directions.T]
        turn = math.degrees(math.atan2(ends[0][1], ends[0][0]))
        rings, labels = [], []
        for level, grey in zip(self.levels(), GREYS[1:], strict=False):
            depth = 2 * (level - self.least)
            radii = [math.sqrt(depth / c) / self.unit * PIXELS for c in self.curvatures.tolist()]
            rings.append(
                f'<ellipse rx="{radii[0]:.1f}" ry="{radii[1]:.1f}" fill="{grey}" stroke="{NOTE}" '
                f'stroke-width="0.5" transform="translate({x:.1f} {y:.1f}) rotate({turn:.2f})"/>'
            )
            # The value stands at the lower end of the longer axis that has room for it.
            for radius, (right, down) in zip(radii, ends, strict=True):
                shift = radius if down > 0 else -radius
                at = x + shift * right, y + shift * down
                if radius > 40 and all(16 < v < SIDE - 16 for v in at):
                    labels.append(text(at[0], at[1] + 5, short(level)))
                    break
        labels.append(text(x + 10, y + 17, "minimum", "start"))
        ground = (
            f'{_inside()}<rect width="{SIDE}" height="{SIDE}" fill="{GREYS[0]}"/>{"".join(rings)}'
            f'<path d="M{x - 6:.1f} {y:.1f} h12 m-6 -6 v12" stroke="black" stroke-width="2.5"/>'
            f"</svg>{self._draw_axes()}"
        )
        return ground, "".join(labels)

    def _draw_axes(self) -> str:
        parts = [
            f'<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="none" '
            f'stroke="{NOTE}"/>',
            text(LEFT + SIDE / 2, TOP + SIDE + 41, "weight w1"),
            f'<g transform="translate(14 {TOP + SIDE / 2}) rotate(-90)">'
            f"{text(0, 0, 'weight w2')}</g>",
        ]
        for place in range(0, CELLS, 10):
            w1, w2 = self.weights(place, place).tolist()
            middle = (place + 0.5) * PIXELS
            parts += [
                f'<path d="M{LEFT + middle} {TOP + SIDE} v5 M{LEFT} {TOP + middle} h-5" '
                f'stroke="{NOTE}"/>',
                text(LEFT + middle, TOP + SIDE + 20, short(w1)),
                text(LEFT - 8, TOP + middle + 5, short(w2), "end"),
            ]
        return "".join(parts)


def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    """Return SVG of words that can be read on any ground."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="15" stroke="white" '
        f'stroke-width="3" paint-order="stroke">{words}</text>'
    )


def short(value: Tensor | float) -> str:
    """Write a number with three digits, a very large or small one with a power of ten."""
    value = float(value)
    if abs(value) < 1e-20:  # what remains of 0 after rounding
        return "0"
    if 1e-4 <= abs(value) < 1e5:
        return format_value(value)
    power = math.floor(math.log10(abs(value)))
    return f"{format_value(round(value / 10.0**power, 1))}·{power_of_ten(power)}"


def power_of_ten(power: int) -> str:
    """Write a power of ten."""
    return f"10{str(power).translate(RAISED)}"


def end_mark(x: float, y: float, height: float) -> str:
    """Return SVG of the place where a way ends; a diamond at the edge, if it lies outside."""
    x_seen, y_seen = min(max(x, 0), SIDE), min(max(y, 0), height)
    if (x, y) == (x_seen, y_seen):
        shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7"'
    else:
        shape = f'<path d="M{x_seen:.1f} {y_seen - 10:.1f} l10 10 l-10 10 l-10 -10 z"'
    return f'{shape} fill="{FOCUS}" stroke="white" stroke-width="2"/>'


@in_style
def plot_way(surface: Surface, way: Tensor, losses: Tensor) -> Figure:
    """Show the way of an optimiser on the surface, and the loss after each step.

    Args:
        surface: The surface.
        way: The weights after 0, 1, ... steps, shape (steps + 1, 2).
        losses: Their losses, shape (steps + 1,).

    Returns:
        The figure.
    """
    figure, (left, right) = plt.subplots(ncols=2, figsize=(WIDTH, 4), width_ratios=[1.1, 1])
    w1, w2, loss = (values.numpy() for values in surface.mesh())
    levels = surface.levels()[::-1]
    greys = GREYS[len(levels) :: -1]
    left.contourf(w1, w2, loss, [surface.least - 1, *levels, surface.highest], colors=greys)
    lines = left.contour(w1, w2, loss, levels, colors=NOTE, linewidths=0.5)
    left.clabel(lines, levels[2:], fmt=short, fontsize=10)
    left.plot(*way.T.numpy(), color="white", linewidth=5)
    left.plot(*way.T.numpy(), "o-", color=FOCUS, markersize=4)
    left.plot(*surface.minimum.tolist(), "+", color="black", markersize=12, markeredgewidth=2)
    left.annotate("start", way[0].tolist(), (6, 6), textcoords="offset points")
    left.set(title="Loss, and the way down", xlabel="weight w1", ylabel="weight w2", aspect="equal")
    left.set(xlim=(w1.min(), w1.max()), ylim=(w2.min(), w2.max()))
    right.set(yscale="log", ylim=(10.0 ** (surface.top - DECADES), 10.0**surface.top))
    right.plot(losses.numpy(), "o-", color=FOCUS, markersize=4)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set(title="Loss after each step", xlabel="step", ylabel="loss")
    return figure


def _inside() -> str:
    """Open a frame that cuts off what lies outside of the surface."""
    # The style repeats the attributes, for Picture's own style sheet speaks of all <svg> in it.
    return (
        f'<svg x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" '
        f'style="width: {SIDE}px; height: {SIDE}px; overflow: hidden">'
    )


def _arrows(points: list[tuple[float, float]]) -> str:
    """Return an arrowhead in the middle of each of the first steps, where there is room."""
    heads = []
    for (x0, y0), (x1, y1) in itertools.pairwise(points[:4]):
        if math.hypot(x1 - x0, y1 - y0) > 36:
            turn = math.degrees(math.atan2(y1 - y0, x1 - x0))
            place = f"translate({(x0 + x1) / 2:.1f} {(y0 + y1) / 2:.1f}) rotate({turn:.1f})"
            heads.append(f'<path d="M9 0 L-6 6.5 L-6 -6.5 z" transform="{place}"/>')
    return "".join(heads)


def _round_up(value: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= value * (1 - 1e-9))
