"""Point at a value of a feature map, and see which pixels of a picture it looks at."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor, nn

from cnnlib._checks import numbers
from cnnlib.explorers.explorer import Explorer
from cnnlib.explorers.followed import FollowedLayer, follow
from cnnlib.explorers.picture import Picture, grid, png_of
from cnnlib.images import as_image
from cnnlib.plotting import plot_receptive_field
from cnnlib.style import FOCUS, PADDING, format_value, scale

SHARE = 0.95  # of the gradient: so much of it the lit pixels hold
MEAN = "mean"  # over the channels, a choice beside each of them
NARROW = {"style": {"description_width": "56px"}, "layout": {"width": "310px"}}


class ReceptiveFieldExplorer(Explorer):
    """Point at a value of a feature map, and see which pixels of a picture it looks at.

    The rectangle is the receptive field, which follows from the layers. The lit pixels are the
    effective one: the fewest that hold 95 % of the gradient of that value (its size, summed over
    the colours). The model is copied and never modified; the copy runs once, as after training (no
    dropout), on the model's own device.

    First used in lecture 8.

    Args:
        model: A model of which `receptive_field` can follow the first layers, at least.
        image: Its input, shape (height, width) or (3, height, width); see `as_image`.
        layer: Where to start: the name of a layer, as in `named_modules()`; without it, the last.

    Raises:
        TypeError: model is no `torch.nn.Module`, or the picture is not made of real numbers.
        ValueError: No layer can be followed (see `receptive_field`), or not the one to start with;
            the picture is too small, or has another number of channels than the model reads; or
            the model has shapes and no weights (device "meta").
    """

    def __init__(self, model: nn.Module, image: Any, layer: str | None = None) -> None:
        self.image = as_image(image)
        self.layers, self._input = follow(model, self.image)
        self.strength = torch.zeros(self.image.shape[-2:])
        self._followed: tuple[Any, ...] = ()
        if layer is None:
            layer = [*self.layers][-1]
        if layer not in self.layers:
            raise ValueError(
                f"no layer {layer!r} can be shown, these can: {', '.join(map(repr, self.layers))}"
            )
        self.layer = widgets.Dropdown(
            options=[
                (f"{shown.title}, {' × '.join(map(str, shown.maps.shape))}", name)
                for name, shown in self.layers.items()
            ],
            value=layer,
            description="layer",
            **NARROW,
        )
        self.channel = widgets.SelectionSlider(
            options=_channels(self.layers[layer]), description="channel", **NARROW
        )
        self.effective = widgets.Checkbox(
            True, description="effective field", indent=False, layout=widgets.Layout(width="auto")
        )
        self.photo = Picture(width="440px")
        middle = [(size - 1) / 2 for size in self.image.shape[-2:]]
        picture = Picture(width="320px", at=[0, *self.layers[layer].nearest(middle)])
        self.layer.observe(self._layer_changed, "value")
        controls = [self.layer, self.channel, self.effective]
        super().__init__(
            "Receptive-field explorer",
            "Point at a value of the feature map, at the right: click, drag, or use the arrow "
            "keys. In the picture, the rectangle is all that the value sees; the lit pixels hold "
            f"{100 * SHARE:.0f} % of its gradient.",
            picture,
            controls,
            [controls, [self.photo, picture]],
        )

    @property
    def place(self) -> tuple[int, int]:
        """Row and column of the value; the nearest one, where the map is smaller than that."""
        if len(self.picture.at) != 3:
            raise ValueError("no value is chosen: click on one of the feature map")
        _, height, width = self.layers[self.layer.value].maps.shape
        _, row, column = self.picture.at
        return min(max(row, 0), height - 1), min(max(column, 0), width - 1)

    def update(self) -> str:
        """Show the feature map, and in the picture what the chosen value sees."""
        layer, (row, column) = self.layers[self.layer.value], self.place
        chosen, which = slice(None), "mean of the channels"
        if (channel := self.channel.value) != MEAN:
            chosen, which = slice(channel, channel + 1), f"channel {channel}"
        values = layer.maps.detach()[chosen].float().mean(0).cpu()
        values = numbers(values, f"the output of {layer.title}")
        asked = (self.layer.value, channel, row, column)
        if self.effective.value and asked != self._followed:
            with torch.enable_grad():
                value = layer.maps[chosen, row, column].mean()
            (gradient,) = torch.autograd.grad(value, self._input, retain_graph=True)
            strength = gradient[0].float().abs().sum(0).cpu()
            self.strength = numbers(strength, f"the gradient of {layer.title}")
            self._followed = asked
        with self.picture.hold_sync():
            height, width = values.shape
            self.picture.png = png_of(values, scale(values, unit=0.0)[0])
            self.picture.size, self.picture.grids = [width, height], [grid(height, width)]
            self.picture.alt = f"Feature map of {layer.title}, {which}, {height} × {width}."
            self.picture.at = [0, row, column]
        place = f"Row {row}, column {column} of {layer.title}, {which}"
        return f"{place}: {format_value(values[row, column])}.\n{self._show(layer, row, column)}"

    def still(self) -> Figure:
        """Return the picture with its lit pixels and the rectangle; see `plot_receptive_field`."""
        layer = self.layers[self.layer.value]
        title = f"a value of {layer.title} sees"
        return plot_receptive_field(self._lit()[0], {title: layer.field}, [self.place])

    def _show(self, layer: FollowedLayer, row: int, column: int) -> str:
        """Draw the picture and the field of a value; return what there is to be seen."""
        rows, columns = layer.field.seen(row, column)
        height, width = self.image.shape[-2:]
        left, right, above, below = margins = layer.margins(height, width)
        picture, lit = self._lit()
        where = f"rows {_ends(rows)} and columns {_ends(columns)}"
        with self.photo.hold_sync():
            self.photo.size = [left + width + right, above + height + below]
            self.photo.png = png_of(F.pad(picture, margins, value=to_rgb(PADDING)[0]))
            corner = (columns.start + left, rows.start + above)
            self.photo.overlay = _box(*corner, len(columns), len(rows), max(self.photo.size) / 100)
            self.photo.alt = f"The picture, with a rectangle around {where}."
            self.photo.caption = "The picture" + (", in grey padding." if any(margins) else ".")
        total = len(rows) * len(columns)
        outside = total - _within(rows, height) * _within(columns, width)
        padding = f"{outside:,} ({100 * outside / total:.0f} %)" if outside else "none"
        said = [
            f"It sees {where}: {len(rows)} × {len(columns)} = {total:,} pixels, {padding} of them "
            f"padding."
        ]
        if self.effective.value and lit:
            said.append(f"{lit:,} pixels hold {100 * SHARE:.0f} % of its gradient.")
        elif self.effective.value:
            said.append(
                "Its gradient is 0: no pixel, changed a little, would change it. Behind ReLU this "
                "is so for every value that was negative."
            )
        return "\n".join(said)

    def _lit(self) -> tuple[Tensor, int]:
        """Return the picture, shape (3, height, width), and how many of its pixels are lit."""
        low, high = min(0.0, float(self.image.min())), max(1.0, float(self.image.max()))
        picture = ((self.image - low) / (high - low)).expand(3, *self.image.shape[-2:])
        if not self.effective.value:
            return picture, 0
        lit = fewest_holding(self.strength)
        shown = 0.55 * picture  # darker, so that the lit pixels are seen in grey too
        light = 0.15 + 0.65 * (self.strength[lit] / self.strength.max()).sqrt()
        shown[:, lit] = torch.lerp(picture[:, lit], torch.tensor(to_rgb(FOCUS))[:, None], light)
        return shown, int(lit.sum())

    def _layer_changed(self, change: Any) -> None:
        """Stay at the same place of the picture, and at the channel if there is one."""
        old, new = self.layers[change["old"]], self.layers[change["new"]]
        channel, at = self.channel.value, self.picture.at
        with self.together():
            self.channel.options = _channels(new)
            if channel in self.channel.options:
                self.channel.value = channel
            if len(at) == 3:
                self.picture.at = [0, *new.nearest(old.centre(at[1:]))]


def fewest_holding(strength: Tensor, share: float = SHARE) -> Tensor:
    """Return the fewest pixels that hold a share of the whole.

    Args:
        strength: Shape (height, width), no value below 0.
        share: A part of 1.

    Returns:
        True for these pixels, of the same shape; none, if all values are 0.
    """
    flat = strength.flatten()
    places = flat.nonzero()[:, 0]  # few, as a rule
    values, order = flat[places].double().sort(descending=True, stable=True)
    held = values.cumsum(0)
    count = int((held < share * held[-1]).sum()) + 1 if len(held) else 0
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen[places[order[:count]]] = True
    return chosen.view(strength.shape)


def _channels(layer: FollowedLayer) -> list[str | int]:
    """Return what can be chosen of a layer's channels."""
    return [MEAN, *range(len(layer.maps))]


def _within(span: range, length: int) -> int:
    """Return how many numbers of a range are at least 0 and less than a length."""
    return max(0, min(span.stop, length) - max(span.start, 0))


def _ends(span: range) -> str:
    """Write a range as its first and last number."""
    return f"{span.start} to {span.stop - 1}".replace("-", "−")


def _box(left: float, top: float, width: float, height: float, radius: float) -> str:
    """Draw a rectangle and a dot in its middle, with white around the lines, in SVG."""
    place = f'x="{left}" y="{top}" width="{width}" height="{height}" fill="none"'
    thin = 'vector-effect="non-scaling-stroke"'
    return (
        f'<rect {place} stroke="white" stroke-width="5" {thin}/>'
        f'<rect {place} stroke="{FOCUS}" stroke-width="2.5" {thin}/>'
        f'<circle cx="{left + width / 2}" cy="{top + height / 2}" r="{radius}" fill="{FOCUS}" '
        f'stroke="white" stroke-width="1.5" {thin}/>'
    )
