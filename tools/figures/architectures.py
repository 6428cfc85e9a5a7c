"""Whole networks as rows of boxes, drawn from the model itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from torch import Tensor, nn

from cnnlib._checks import whole
from cnnlib._networks import check_model, device_of, listening, mode
from cnnlib.style import INPUT, NOTE, OUTPUT, TINTS, WIDTH, in_style

PER_ROW = 7  # boxes beside each other
HEIGHT, THICKNESS = 1.1, 0.55  # of the largest box, where a box and its text have a width of 1
# What leaves the shape as it is shares the box of the layer before it.
SHARING = (nn.ReLU, nn.BatchNorm2d, nn.Dropout)


@dataclass(frozen=True)
class Layer:
    """A layer of a model, and what came out of it.

    Attributes:
        name: Its name in the model, such as "features.0".
        kind: Its class, such as "Conv2d".
        label: What it is called in a picture, such as "conv 3×3".
        shape: The output's shape without the batch: (channels, height, width) or (features,).
        parameters: How many numbers it learns.
    """

    name: str
    kind: str
    label: str
    shape: tuple[int, ...]
    parameters: int


def trace_layers(model: nn.Module, image_size: int = 224, channels: int = 3) -> list[Layer]:
    """Send one image through a model, and note what comes out of each layer.

    Plain `nn.Sequential` containers are opened; one that is made of blocks counts as one layer. A
    model on the device "meta" works as well, and costs no memory.

    Args:
        model: A model for images of shape (1, channels, image_size, image_size).
        image_size: Height and width of the image in pixels.
        channels: Channels of the image.

    Returns:
        The layers, in the order in which they were called.

    Raises:
        TypeError: model is no `torch.nn.Module`, or a number is fractional.
        ValueError: The model has no layers, or a number is too small.
    """
    check_model(model)
    parts = dict(_parts(model))
    if not parts:
        raise ValueError(
            f"{type(model).__name__} has no layers inside: wrap a single layer in nn.Sequential"
        )
    size = whole(image_size, "image_size", 1)
    image = torch.zeros(1, whole(channels, "channels", 1), size, size, device=device_of(model))
    found: list[Layer] = []

    def note(name: str, module: nn.Module, output: Tensor) -> None:
        count = sum(p.numel() for p in module.parameters())
        kind, shape = type(module).__name__, tuple(output.shape[1:])
        found.append(Layer(name, kind, _label(module), shape, count))

    with torch.no_grad(), mode(model, training=False), listening(parts, note):
        model(image)
    return found


@in_style
def architecture_diagram(
    model: nn.Module, title: str, image_size: int = 224, channels: int = 3
) -> Figure:
    """Draw a model as boxes: the higher, the larger the maps; the thicker, the more channels.

    Activations, batch normalisation and dropout leave the shape as it is and share the box of the
    layer before them. Shapes and counts come from `trace_layers`.

    Args:
        model: A model for images of shape (1, channels, image_size, image_size).
        title: What to write above it.
        image_size: Height and width of the image in pixels.
        channels: Channels of the image.

    Returns:
        The figure, 8 inches wide, already closed. Sizes in it are roots of the true ones.

    Raises:
        TypeError: See `trace_layers`.
        ValueError: See `trace_layers`.
    """
    boxes = [Layer("input", "input", "input", (channels, image_size, image_size), 0)]
    sharing = {kind.__name__ for kind in SHARING}
    for layer in trace_layers(model, image_size, channels):
        if layer.kind in sharing:
            total = boxes[-1].parameters + layer.parameters
            boxes[-1] = replace(boxes[-1], parameters=total)
        else:
            boxes.append(layer)
    total = sum(parameter.numel() for parameter in model.parameters())
    rows = math.ceil(len(boxes) / PER_ROW)
    columns = math.ceil(len(boxes) / rows)
    unit = WIDTH / (columns + 0.1)  # inches
    text = 1.2 / unit  # height of the four lines below a box
    deepest = max(box.shape[0] for box in boxes)
    floor, places = 0.0, []
    for start in range(0, len(boxes), columns):
        row = boxes[start : start + columns]
        floor -= 1.2 * max(_height(box, image_size) for box in row) + 0.1
        places += [(column, floor) for column in range(len(row))]
        floor -= text
    figure, ax = plt.subplots(figsize=(WIDTH, (0.3 - floor) * unit + 0.7))
    for (x, y), box in zip(places, boxes, strict=True):
        _box(ax, x, y, box, image_size, deepest)
    ax.set_title(f"{title}: {total:,} parameters")
    note = "higher: larger maps; thicker: more maps (not to scale); last line: parameters"
    ax.text((columns - 1) / 2, floor, note, ha="center", va="top", color=NOTE, fontsize=12)
    ax.set(xlim=(-0.55, columns - 0.45), ylim=(floor - 0.3 / unit, 0), aspect="equal")
    ax.set_axis_off()
    return figure


def _parts(model: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    found: list[tuple[str, nn.Module]] = []
    for name, child in model.named_children():
        plain = isinstance(child, nn.Sequential) and not any(
            list(part.children()) for part in child
        )
        found += _parts(child, f"{prefix}{name}.") if plain else [(f"{prefix}{name}", child)]
    return found


def _label(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return f"conv {module.kernel_size[0]}×{module.kernel_size[1]}"
    if isinstance(module, nn.Sequential):
        return f"{len(module)} blocks"
    names = {"MaxPool2d": "max pool", "AdaptiveAvgPool2d": "avg pool", "Linear": "linear"}
    return names.get(type(module).__name__, type(module).__name__)


def _height(layer: Layer, image_size: int) -> float:
    side = layer.shape[1] if len(layer.shape) == 3 else 1
    return HEIGHT * math.sqrt(side / image_size)


def _box(ax: Axes, x: float, y: float, layer: Layer, image_size: int, deepest: int) -> None:
    """Draw one box that stands on (x, y), with its text below."""
    height = _height(layer, image_size)
    thick = THICKNESS * (layer.shape[0] / deepest) ** (1 / 3)
    back, up = 0.28 * height, 0.16 * height
    left = x - (thick + back) / 2
    colour = INPUT if layer.kind == "input" else OUTPUT
    front = [(0, 0), (thick, 0), (thick, height), (0, height)]
    roof = [(0, height), (thick, height), (thick + back, height + up), (back, height + up)]
    flank = [(thick, 0), (thick + back, up), (thick + back, height + up), (thick, height)]
    for face, fill in ((front, colour), (roof, TINTS[colour]), (flank, TINTS[colour])):
        corners = [(left + dx, y + dy) for dx, dy in face]
        ax.add_patch(
            Polygon(corners, closed=True, facecolor=fill, edgecolor=colour, joinstyle="round")
        )
    if len(layer.shape) == 3:
        channels, rows, columns = layer.shape
        shape = [f"{channels:,} maps", f"{rows} × {columns}"]
    else:
        shape = [f"{layer.shape[0]:,}", "numbers"]
    count = f"{layer.parameters:,}" if layer.parameters else ""
    text = "\n".join([layer.label, *shape, count])
    ax.text(x, y - 0.08, text, ha="center", va="top", fontsize=12, linespacing=1.35)


def draw(folder: Path) -> None:
    """Draw the pictures of this module into a folder."""
    from torchvision import models

    with torch.device("meta"):  # shapes without numbers
        networks = {
            "alexnet": (models.alexnet(weights=None), "AlexNet"),
            "resnet18": (models.resnet18(weights=None), "ResNet-18"),
        }
    for name, (model, title) in networks.items():
        figure = architecture_diagram(model, title)
        figure.savefig(folder / f"{name}.png", bbox_inches="tight")
