"""Move the weights of a kernel, and watch what it makes of a picture."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from cnnlib import kernels
from cnnlib.explorers.board import Board
from cnnlib.explorers.explorer import Explorer
from cnnlib.explorers.picture import Picture, grid, png_of
from cnnlib.images import as_image, load_image, to_grey
from cnnlib.plotting import as_kernel, filtered, plot_conv
from cnnlib.style import KERNEL, TINTS, format_value

NARROW = {"description_width": "48px"}
WIDE = {"width": "280px"}
CELL = 60  # pixels, of a pixel with its weight
LARGEST = 512  # pixels along a side of an uploaded picture; a larger one is made smaller
OWN = "my own"
MOST = 1_000_000  # the largest weight that can be typed
# Kernels by their name; the size is for those that have several, the others stay 3 x 3.
NAMED: dict[str, Callable[[int], Tensor]] = {
    "identity": kernels.identity,
    "blur": kernels.blur,
    "emboss": lambda size: kernels.emboss(),
    "edges": lambda size: kernels.edges(),
    "gradient x": lambda size: kernels.gradient_x(),
    "gradient y": lambda size: kernels.gradient_y(),
}


class KernelExplorer(Explorer):
    """Move the weights of a kernel and watch a picture change.

    First used in lecture 2.

    Args:
        image: Shape (height, width), (3, height, width) or (height, width, 3); see `as_image`.
        kernel: The weights to start with, shape (3, 3) or (5, 5); without it, `kernels.edges()`.

    Raises:
        TypeError: See `plot_conv`.
        ValueError: See `plot_conv`; or the kernel has another shape.
    """

    def __init__(self, image: Any, kernel: Any = None) -> None:
        start = kernels.edges() if kernel is None else as_kernel(kernel)
        if tuple(start.shape) not in ((3, 3), (5, 5)):
            raise ValueError(
                f"expected a kernel of shape (3, 3) or (5, 5), got {tuple(start.shape)}: "
                f"plot_conv shows kernels of any shape"
            )
        self._given = as_image(image)
        self.image = torch.empty(0)
        self._drawn: Any = None
        self._make_controls(start, OWN if kernel is not None else "edges")
        self.original = Picture(alt="The picture before.", caption="before", width="400px")
        picture = Picture(hover=True, width="400px")
        self.zoom = Picture()
        self._write(start)
        self._show_boxes()
        for box in self.boxes:
            box.observe(self._box_changed, "value")
        self.slider.observe(self._slider_changed, "value")
        self.chosen.observe(self._chosen_changed, "value")
        self.named.observe(self._kernel_changed, "value")
        self.size.observe(self._kernel_changed, "value")
        changes = widgets.VBox(
            [
                self.named, self.size, self.weights, self.chosen, self.slider, self.normalise,
                self.upload,
            ]
        )  # fmt: skip
        before = widgets.VBox([self.original, self.zoom]).add_class("cnnlib-column")
        controls = [self.named, self.size, self.normalise, self.upload, *self.boxes]
        super().__init__(
            "Kernel explorer",
            "Change the nine or twenty-five weights, by typing or with the slider, and see what "
            "the kernel makes of the picture. Point at a pixel of the result to see its sum.",
            picture,
            [*controls, self.chosen, self.slider],
            [[changes, before, picture]],
        )

    def _make_controls(self, start: Tensor, name: str) -> None:
        """Make what is changed by hand; it stands at a kernel and its name."""
        self.named = widgets.Dropdown(
            options=[*NAMED, OWN],
            value=name,
            description="kernel",
            style=NARROW,
            layout=WIDE,
        )
        self.size = widgets.ToggleButtons(
            options=[("3 × 3", 3), ("5 × 5", 5)],
            value=len(start),
            tooltips=["nine weights", "twenty-five weights"],
            layout=widgets.Layout(width="auto"),
            style={"button_width": "64px"},
        )
        self.boxes = [
            widgets.FloatText(
                description=_place(k), step=0.5, layout=widgets.Layout(width="auto", margin="1px")
            )
            for k in range(25)
        ]
        self.chosen = widgets.Dropdown(
            options=[(_place(k), k) for k in range(25)],
            value=12,
            description="weight",
            style=NARROW,
            layout=WIDE,
        )
        self.slider = widgets.FloatSlider(
            min=-16, max=16, step=0.25, description="value", style=NARROW, layout=WIDE
        )
        self.normalise = widgets.Checkbox(description="divide by their sum", indent=False)
        self.upload = widgets.FileUpload(accept="image/*", description="own picture")
        self.weights = widgets.GridBox(layout=WIDE).add_class("cnnlib-weights")

    @property
    def kernel(self) -> Tensor:
        """The weights in use, shape (3, 3) or (5, 5).

        Raises:
            ValueError: One is no number up to a million, or they shall be divided by a sum of 0.
        """
        values = torch.tensor([box.value for box in self.boxes]).view(5, 5)
        if not values.abs().max() <= MOST:  # nor is NaN
            raise ValueError(f"a weight is not between −{MOST:,} and {MOST:,}: type another one")
        if self.size.value == 3:
            values = values[1:4, 1:4]
        if not self.normalise.value:
            return values
        total = values.sum()
        if total.abs() < 1e-6 * values.abs().max():
            raise ValueError(
                "the weights add up to 0, and nothing can be divided by 0: change a weight, "
                "or do not divide"
            )
        return values / total

    def update(self) -> str:
        """Filter the picture, if it or the kernel has changed, and say what can be seen."""
        kernel = self.kernel
        wanted = kernel.tolist(), self.upload.value
        if wanted != self._drawn:
            image = self._uploaded() if self.upload.value else self._given
            self.output, norm = filtered(image, kernel)
            if image is not self.image:
                self._show_picture(image)
            self._drawn = wanted
            self.picture.png = png_of(self.output, norm)
            self._seen = _kind(self.output)
            self.picture.alt = f"The picture after the kernel, {self._seen}."
        return f"{self._seen}. {self._sum(kernel)}"

    def still(self) -> Figure:
        """Return the picture, the kernel and the result, as `plot_conv` shows them."""
        return plot_conv(self.image, self.kernel)

    def _show_picture(self, image: Tensor) -> None:
        self.image = image
        height, width = image.shape[-2:]
        self.original.png = png_of(image)
        self.original.size = self.picture.size = [width, height]
        self.picture.grids = [grid(height, width)]

    def _sum(self, kernel: Tensor) -> str:
        """Show the products behind the pixel that is pointed at, and say their sum."""
        height, width = self.image.shape[-2:]
        _, row, column = self.picture.at or (0, height, width)
        if row >= height or column >= width:  # nowhere, or in a larger picture than this one
            self.original.overlay = self.zoom.overlay = self.zoom.alt = ""
            return f"The weights add up to {format_value(kernel.sum())}."
        size, margin = len(kernel), len(kernel) // 2
        padded = F.pad(to_grey(self.image), (margin,) * 4)
        patch = padded[row : row + size, column : column + size]
        self.original.overlay = (
            f'<rect x="{column - margin}" y="{row - margin}" width="{size}" height="{size}" '
            f'fill="none" stroke="{KERNEL}" stroke-width="3" vector-effect="non-scaling-stroke"/>'
        )
        board = Board(size, size, CELL, 0, 0)
        weights = [f"×{format_value(weight)}" for weight in kernel.flatten()]
        with self.zoom.hold_sync():
            self.zoom.size, self.zoom.width = [size * CELL, size * CELL], f"{size * CELL}px"
            self.zoom.overlay = "".join(
                [
                    board.cells(board.places, TINTS[KERNEL], KERNEL),
                    board.values(board.places, patch),
                    board.notes(board.places, weights),
                ]
            )
            self.zoom.alt = f"Pixels times weights around row {row}, column {column}."
        total = format_value((patch * kernel).sum())
        return f"Row {row}, column {column}: the {size * size} products add up to {total}."

    def _uploaded(self) -> Tensor:
        """Return the student's own picture, made smaller where it is large."""
        image = load_image(io.BytesIO(self.upload.value[0]["content"]), grey=self._given.ndim == 2)
        shrink = LARGEST / max(image.shape[-2:])
        if shrink >= 1:
            return image
        channels = image.view(1, -1, *image.shape[-2:])
        small = F.interpolate(channels, scale_factor=shrink, mode="bilinear", antialias=True)
        return small.squeeze(0).squeeze(0) if image.ndim == 2 else small[0]

    def _write(self, kernel: Tensor) -> None:
        """Write weights into the boxes, zeros around a 3 x 3 kernel."""
        margin = (5 - len(kernel)) // 2
        for box, weight in zip(self.boxes, F.pad(kernel, (margin,) * 4).flatten(), strict=True):
            box.value = round(weight.item(), 6)
        self.slider.value = self.boxes[self.chosen.value].value

    def _show_boxes(self) -> None:
        """Show as many boxes as the kernel has weights."""
        margin = (5 - self.size.value) // 2
        inside = range(margin, 5 - margin)
        self.weights.children = [self.boxes[5 * i + j] for i in inside for j in inside]
        self.weights.layout.grid_template_columns = f"repeat({self.size.value}, minmax(0, 1fr))"

    # What one control does to the others; `together` keeps them from answering one another.

    def _box_changed(self, change: Any) -> None:
        if not self._waiting:
            with self.together():
                self.named.value = OWN
                self.chosen.value = self.boxes.index(change["owner"])
                self.slider.value = change["new"]

    def _slider_changed(self, change: Any) -> None:
        if not self._waiting:
            with self.together():
                self.named.value = OWN
                self.boxes[self.chosen.value].value = change["new"]

    def _chosen_changed(self, change: Any) -> None:
        if not self._waiting:
            with self.together():
                self.slider.value = self.boxes[change["new"]].value

    def _kernel_changed(self, change: Any) -> None:
        """Follow another name or size."""
        self._show_boxes()
        if not self._waiting and self.named.value != OWN:
            with self.together():
                self._write(NAMED[self.named.value](self.size.value))


def _place(number: int) -> str:
    """Name a place in the 5 x 5 boxes by its steps from the middle."""
    down, right = number // 5 - 2, number % 5 - 2
    vertical = f"{abs(down)} {'down' if down > 0 else 'up'}" if down else ""
    horizontal = f"{abs(right)} {'right' if right > 0 else 'left'}" if right else ""
    return ", ".join(filter(None, [vertical, horizontal])) or "middle"


def _kind(output: Tensor) -> str:
    """Say what the colours of a result mean, and between which values it lies."""
    low, high = format_value(output.min()), format_value(output.max())
    if output.ndim == 3:
        return f"in colour, from {low} to {high}"
    if output.min() < 0:
        return f"from {low} to {high}: blue is negative, white 0, orange positive"
    return f"in grey, from {low} to {high}"
