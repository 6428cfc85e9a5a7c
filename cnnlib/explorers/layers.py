"""Draw a digit, and see what every layer of a trained network makes of it."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from cnnlib._batches import check_images, classes_of
from cnnlib._checks import numbers
from cnnlib.explorers.activations import Layer, layers_of
from cnnlib.explorers.explorer import Explorer
from cnnlib.explorers.pad import Pad, bytes_of, centred
from cnnlib.explorers.picture import Picture, png_of_pixels
from cnnlib.explorers.sheet import (
    LINE,
    MOST,
    draw_bars,
    draw_map,
    draw_sheet,
    percent,
    plot_sheet,
    strongest,
)
from cnnlib.style import format_value


class LayerExplorer(Explorer):
    """Draw a digit or pick one, and see every layer of a network, and what it says.

    First used in lecture 12.

    Args:
        model: A trained network for pictures of one channel, with logits for two or more classes.
            It is not changed, and stays where it is.
        examples: Pictures to pick from, of shape (count, 1, height, width) or (count, height,
            width); or such pictures and their labels, as `digits()` gives them.

    Attributes:
        image: What the network looks at, shape (1, height, width).
        layers: What its layers make of that; see `layers_of`.
        probabilities: The softmax of its logits, shape (classes,).

    Raises:
        TypeError: model is no network, or examples are no tensors of floating-point numbers.
        ValueError: The network does not take the pictures, or does not end in a row of logits; or
            there is not one label for each picture.
    """

    def __init__(self, model: nn.Module, examples: Any) -> None:
        self.model = model
        self._examples, self._labels = _checked(model, examples)
        # Ink and paper are as in the examples, whatever numbers those have for them.
        self._paper, ink = (float(limit) for limit in self._examples.aminmax())
        self._contrast = (ink - self._paper) or 1.0
        count, _, height, width = self._examples.shape
        self.image, self.probabilities = self._examples[0], torch.empty(0)
        self.layers: list[Layer] = []
        self.number = widgets.IntSlider(
            max=count - 1, description="example", layout=widgets.Layout(width="420px")
        )
        self.centre = widgets.Checkbox(
            True, description="centre drawings", indent=False, layout=widgets.Layout(width="auto")
        )
        self.pad = Pad(height, width)
        self.pad.value = self._ink(0)
        self.number.observe(self._pick, "value")
        self.bars = Picture(alt="A bar for each class.", caption="probabilities", width="250px")
        self.zoom = Picture(width="370px")
        sheet = Picture(width="1060px", hover=True, at=[1, 0, 0]).add_class("cnnlib-sheet")
        super().__init__(
            "Layer explorer",
            "Draw with the mouse, or with arrow keys and Space; Shift erases. Or pick an example "
            "and change it. As MNIST's digits were, a drawing is scaled to 20 of 28 pixels and "
            "centred by its mass. Point at a map to see it larger.",
            sheet,
            [self.number, self.centre, self.pad],
            [
                [self.number, self.centre],
                [self.pad, self.bars, self.zoom],
                [sheet],
            ],
        )

    def update(self) -> str:
        """Have the network look at the drawing, and say what it says and what is pointed at."""
        number = self.number.value
        if picked := self.pad.value == self._ink(number):
            self.image = self._examples[number]
        else:
            ink = centred(self.pad.ink) if self.centre.value else self.pad.ink
            self.image = self._paper + self._contrast * ink[None]
        layers, logits = layers_of(self.model, self.image)
        self.probabilities = numbers(logits, "what the network gives").softmax(0)
        # Who only points at another map waits for no new sheet.
        same = len(layers) == len(self.layers) and all(
            torch.equal(new.maps, old.maps) for new, old in zip(layers, self.layers, strict=True)
        )
        self.layers = layers
        if not same:
            self._show_sheet()
        label = int(self._labels[number]) if picked and self._labels is not None else None
        drawing = "your drawing" if any(self.pad.value) else "nothing drawn"
        self.pad.caption = f"example {number}" if picked else drawing
        whose = self.pad.caption if label is None else f"label {label}"
        self.bars.size = [250, LINE * len(self.probabilities)]
        self.bars.overlay = draw_bars(self.probabilities, label)
        best = int(self.probabilities.argmax())
        return f"says {best} with {percent(self.probabilities[best])} ({whose}). {self._show_map()}"

    def still(self) -> Figure:
        """Return all maps, and below them the probabilities."""
        return plot_sheet(self.layers, self.probabilities)

    def _ink(self, number: int) -> bytes:
        """Return an example as the pad has it when nobody has drawn on it."""
        return bytes_of((self._examples[number, 0] - self._paper) / self._contrast)

    def _pick(self, change: Any) -> None:
        """Put the example onto the pad."""
        self._waiting += 1  # one new picture is enough: the one for the other number
        self.pad.value = self._ink(change["new"])
        self._waiting -= 1

    def _show_sheet(self) -> None:
        pixels, overlay, grids = draw_sheet(self.layers)
        height, width, _ = pixels.shape
        with self.picture.hold_sync():
            self.picture.png, self.picture.size = png_of_pixels(pixels), [width, height]
            self.picture.grids, self.picture.overlay = grids, overlay
            self.picture.alt = f"The maps of {len(self.layers) - 1} layers, row by row."

    def _show_map(self) -> str:
        """Show the map that is pointed at with its kernels, and say what they are."""
        at, row, column = self.picture.at or (0, 0, 0)
        at = min(at, len(self.layers) - 1)
        layer = self.layers[at]
        k = min(row * self.picture.grids[at]["columns"] + column, len(layer.maps) - 1)
        pixels, overlay = draw_map(layer, k)
        with self.zoom.hold_sync():
            self.zoom.png, self.zoom.overlay = png_of_pixels(pixels), overlay
            self.zoom.size = [pixels.shape[1], pixels.shape[0]]
            self.zoom.caption = _limits(layer, k)
            self.zoom.alt = f"{layer.title(k)}, drawn large, and what made it."
        made = f": {layer.made_by}" if layer.made_by else ""
        if made and layer.maker != layer.name:
            made += f" in {layer.maker}"
        if at == len(self.layers) - 1 and len(layer.maps) == len(self.probabilities):
            made += f", the logit of {k}"
        return layer.title(k) + made


def _checked(model: nn.Module, examples: Any) -> tuple[Tensor, Tensor | None]:
    """Return examples of shape (count, 1, height, width) and their labels, on the CPU."""
    pair = isinstance(examples, tuple | list) and len(examples) == 2
    images, labels = examples if pair else (examples, None)
    check_images(images, "examples")
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or images.shape[1] != 1:
        raise ValueError(
            f"expected examples of shape (count, 1, height, width), got {tuple(images.shape)}: "
            f"what is drawn has one channel"
        )
    if labels is not None and (not isinstance(labels, Tensor) or labels.shape != images.shape[:1]):
        came = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(
            f"expected a tensor of {len(images)} labels, one for each example, got {came}"
        )
    classes_of(model, images)  # or refuses
    _, logits = layers_of(model, images[0])
    if logits.ndim != 1 or len(logits) < 2:
        raise ValueError(
            f"expected a network with logits for two classes or more, of shape (1, classes) for "
            f"one picture, got (1{''.join(f', {n}' for n in logits.shape)}): end it with "
            f"nn.Linear(..., classes)"
        )
    return images.detach().cpu(), labels


def _limits(layer: Layer, k: int) -> str:
    """Say between which values a map lies, and its kernels."""

    def span(values: Tensor) -> str:
        low, high = format_value(values.min()), format_value(values.max())
        return low if low == high else f"from {low} to {high}"

    if layer.kernels is None:
        return span(layer.maps[k])
    bias = "" if layer.bias is None else f", bias {format_value(layer.bias[k])}"
    most = len(layer.kernels[k]) > MOST
    whose = f"the {MOST} strongest weights" if most else "weights"
    return f"{span(layer.maps[k])}; {whose} {span(strongest(layer.kernels[k]))}{bias}"
