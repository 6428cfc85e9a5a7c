"""Set input, kernel, padding, stride and dilation, and watch the kernel take its steps."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import ipywidgets as widgets
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from cnnlib._checks import matrix
from cnnlib.convolution import corr2d_unfold, output_size
from cnnlib.explorers.board import Board
from cnnlib.explorers.explorer import Explorer
from cnnlib.explorers.picture import Picture
from cnnlib.explorers.sliding import IMAGE, WEIGHTS, as_sum, sliding_step
from cnnlib.style import INPUT, KERNEL, NOTE, OUTPUT, PADDING, TINTS, format_value

LARGEST_INPUT, LARGEST_KERNEL = 10, 5  # cells along a side, so that all can be read
PADDED, STRIDE = 1, 2  # at the start, as in the lecture's animation
SECOND = 1000  # milliseconds, for each step that is played
# Lengths in the drawing. Input and output have two lines below them, the boards between them one.
WIDTH, HEIGHT, EDGE, GAP, ABOVE, BELOW = 800.0, 410.0, 4.0, 22.0, 30.0, 44.0
MIDDLE, CELL = 90.0, 46.0  # the least width between input and output, the largest side of a cell


class ArithmeticExplorer(Explorer):
    """Watch a kernel on its way over an input, and how the output gets its size and its values.

    First used in lecture 4.

    Args:
        image: Square, from 1x1 to 10x10; without it, 5x5 small whole numbers. A smaller input is
            its top left part; for a larger one it is repeated.
        kernel: Square, from 1x1 to 5x5; without it, 3x3 small whole numbers. A smaller one is its
            middle; for a larger one it is repeated.

    Attributes:
        input: The input of the size that is set, shape (n, n).
        weights: The kernel, shape (k, k).
        output: Their cross-correlation, shape (m, m).
        window: What the kernel lies on at the chosen step, shape (k, k).

    Raises:
        TypeError: An array holds complex numbers or text.
        ValueError: An array is empty, not square or too large; or the kernel is larger than the
            image with a padding of 1.
    """

    def __init__(self, image: Any = None, kernel: Any = None) -> None:
        self._image = _square(IMAGE if image is None else image, "image", LARGEST_INPUT)
        self._kernel = _square(WEIGHTS if kernel is None else kernel, "kernel", LARGEST_KERNEL)
        n, k = len(self._image), len(self._kernel)
        output_size(n, k, padding=PADDED)  # refuses a kernel that is too large
        self.size = _slider("input size", n, 1, LARGEST_INPUT)
        self.kernel = _slider("kernel size", k, 1, LARGEST_KERNEL)
        self.padding = _slider("padding", PADDED, 0, 4)
        self.stride = _slider("stride", STRIDE, 1, 4)
        self.dilation = _slider("dilation", 1, 1, 4)
        # The chosen place is the picture's `at`; these two follow it, and move it.
        # No slider: its key End would go to the end that it was made with.
        self.step = widgets.BoundedIntText(value=1, min=1, max=1, layout={"width": "160px"})
        self.play = widgets.Play(
            value=1, min=1, max=1, interval=SECOND, show_repeat=False, layout={"width": "90px"}
        )
        for follower in (self.step, self.play):
            follower.observe(self._go, "value")
        settings = [self.size, self.kernel, self.padding, self.stride, self.dilation]
        picture = Picture(size=[WIDTH, HEIGHT], width="1000px", at=[0, 0, 0], hover=True)
        super().__init__(
            "Convolution arithmetic",
            "Set the sizes, and watch the kernel take its steps. Point at a value of the output, "
            "or use the arrow keys there, to see how it is made.",
            picture,
            settings,
            [settings[:3], [*settings[3:], self.step, self.play], [picture]],
        )

    def update(self) -> str:
        """Draw the chosen place, and say the output's size and the place's sum, with numbers."""
        n, k, p = self.size.value, self.kernel.value, self.padding.value
        s, d = self.stride.value, self.dilation.value
        padded, reach = n + 2 * p, d * (k - 1) + 1
        if reach > padded:
            raise ValueError(
                f"the kernel reaches over {d}·({k} − 1) + 1 = {reach} pixels, and the input has "
                f"only {n} + 2·{p} = {padded} with its padding.\nMake the input or the padding "
                f"larger, or the kernel or the dilation smaller."
            )
        self.input = _sized(self._image, n)
        self.weights = _sized(self._kernel, k, (len(self._kernel) - k) // 2)
        self.output = corr2d_unfold(self.input, self.weights, padding=p, stride=s, dilation=d)
        m = len(self.output)
        i, j = (max(0, min(place, m - 1)) for place in self.picture.at[1:] or (0, 0))
        if self.picture.at != [0, i, j]:
            self.picture.at = [0, i, j]  # which draws everything
            return self.picture.caption
        for follower in (self.step, self.play):
            # At once: the new value may lie beyond the old end, and the old one beyond the new.
            with follower.hold_sync(), follower.hold_trait_notifications():
                follower.max, follower.value = m * m, m * i + j + 1
        self.step.description = f"step 1–{m * m}"
        rows, columns = (range(start * s, start * s + reach, d) for start in (i, j))
        read = {place * s + weight * d for place in range(m) for weight in range(k)}
        self._draw(p, rows, columns, read)
        formula = f"⌊({n} + 2·{p} − {d}·({k} − 1) − 1)/{s}⌋ + 1"
        lines = [f"output: {formula} = ⌊{padded - reach}/{s}⌋ + 1 = {m}"]
        end = (m - 1) * s + reach
        if skipped := [place for place in range(end) if place not in read]:
            lines.append(f"skipped by all windows: {_rows(skipped, p)}")
        if left := range(end, padded):
            note = " (only padding)" if end >= n + p else ""
            lines.append(f"left over: {_rows(left, p)}{note}, too few for another step of {s}")
        total = as_sum(self.window, self.weights, self.output[i, j])
        return "\n".join([*lines, f"output[{i}, {j}]: {total}"])

    def still(self) -> Figure:
        """Return the first step of the start, as the lecture's animations show it."""
        return sliding_step(self._image, self._kernel, padding=PADDED, stride=STRIDE)

    def reset(self) -> None:
        """Stop playing, and set all controls back to their start."""
        self.play.playing = False
        super().reset()

    def _go(self, change: Any) -> None:
        self.picture.at = [0, *divmod(change["new"] - 1, len(self.output))]

    def _draw(self, p: int, rows: range, columns: range, read: set[int]) -> None:
        """Draw input, kernel, products and output, as `sliding_step` does."""
        padded = F.pad(self.input, (p, p, p, p))
        self.window = padded[rows][:, columns]
        n, k, m = len(padded), len(self.weights), len(self.output)
        given, weights, products, output = _boards(n, k, m)
        under = [*product(rows, columns)]
        inner = [*product(range(p, n - p), range(p, n - p))]
        outer = set(given.places) - set(inner)
        unread = [cell for cell in given.places if not {*cell} <= read]
        done, values = output.places[: self.step.value], self.output.flatten()[: self.step.value]
        size = f"{n - 2 * p} × {n - 2 * p}" + (f", padded {n} × {n}" if p else "")
        parts = [
            given.cells(outer, PADDING, NOTE, dashes="4 3"),
            given.cells(inner, TINTS[INPUT], INPUT),
            given.cells(under, TINTS[KERNEL], KERNEL),
            given.strokes(unread),
            given.values(given.places, padded),
            given.notes(under, [f"×{format_value(weight)}" for weight in self.weights.flatten()]),
            given.frame((rows[0], columns[0]), (rows[-1], columns[-1]), KERNEL),
            given.titles(
                "input and padding" if p else "input",
                size,
                "╱ read by no window" if unread else "",
            ),
            weights.matrix(self.weights, TINTS[KERNEL], KERNEL),
            weights.titles("kernel", f"{k} × {k}"),
            products.matrix(self.window * self.weights, TINTS[KERNEL], KERNEL),
            products.titles("products", f"sum {format_value(values[-1])}"),
            output.cells(output.places, "white", OUTPUT),
            output.cells(done, TINTS[OUTPUT], OUTPUT),
            output.values(done, values),
            output.titles("output", f"{m} × {m}"),
        ]
        self.picture.overlay, self.picture.grids = "".join(parts), [output.grid()]
        self.picture.alt = (
            f"Input, {size}. On its rows {_listed(rows)} and columns {_listed(columns)} lies the "
            f"kernel, {k} × {k}. Their products. Output, {m} × {m}."
        )


def _boards(n: int, k: int, m: int) -> tuple[Board, Board, Board, Board]:
    """Place the padded input, the kernel, the products below it, and the output; all centred."""
    across, down = WIDTH - 2 * GAP - 2 * EDGE, HEIGHT - ABOVE - BELOW
    between = HEIGHT - 2 * (ABOVE + BELOW / 2)  # what kernel and products have together
    sides = across / (n + k + m), (across - MIDDLE) / (n + m), down / max(n, m), between / (2 * k)
    side = min(CELL, *sides)
    middle = max(k * side, MIDDLE)
    left = (WIDTH - (n + m) * side - middle - 2 * GAP) / 2
    inner = left + n * side + GAP + (middle - k * side) / 2
    right = left + n * side + GAP + middle + GAP
    upper = ABOVE + between / 2 - k * side
    lower = upper + k * side + BELOW / 2 + ABOVE
    return (
        Board(n, n, side, left, ABOVE + (down - n * side) / 2),
        Board(k, k, side, inner, upper),
        Board(k, k, side, inner, lower),
        Board(m, m, side, right, ABOVE + (down - m * side) / 2),
    )


def _square(values: Any, name: str, largest: int) -> Tensor:
    given = matrix(values, name).detach().cpu().clone()
    height, width = given.shape
    if height != width or height > largest:
        size = min(height, width, largest)
        raise ValueError(
            f"expected {name} as a square from 1 × 1 to {largest} × {largest}, got {height} × "
            f"{width}: take a part of it, for example {name}[:{size}, :{size}]"
        )
    return given if given.is_floating_point() else given.long()  # products need room


def _sized(given: Tensor, size: int, first: int = 0) -> Tensor:
    """Return a square of another size, from some row and column on, repeated where it ends."""
    places = torch.arange(first, first + size) % len(given)
    return given[places][:, places]


def _slider(description: str, value: int, least: int, most: int) -> widgets.IntSlider:
    return widgets.IntSlider(
        value=value, min=least, max=most, description=description, layout={"width": "250px"}
    )


def _listed(places: Iterable[int]) -> str:
    return ", ".join(map(str, places))


def _rows(places: Iterable[int], p: int) -> str:
    """Name rows and columns of the padded input, counted from 0."""
    places = [*places]
    name = "row and column" if len(places) == 1 else "rows and columns"
    return f"{name} {_listed(places)} of the {'padded ' if p else ''}input"
