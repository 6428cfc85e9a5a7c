"""The still pictures of the course. Each function returns one Figure, already closed.

A cell that ends in a call shows its picture once; in a loop or a script, use `display(figure)` or
`figure.savefig(...)`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from cnnlib._checks import numbers, pair
from cnnlib.convolution import output_size
from cnnlib.images import as_image, to_grey
from cnnlib.receptive_field import Field
from cnnlib.style import (
    FOCUS,
    INPUT,
    KERNEL,
    NOTE,
    OUTPUT,
    PADDING,
    WIDTH,
    WRITTEN,
    draw_map,
    in_style,
    scale,
)
from cnnlib.style import SIGNED as SIGNED  # lectures draw with it


@in_style
def plot_conv(
    image: Any, kernel: Any, *, padding: str | int | tuple[int, int] = "same", axis: bool = False
) -> Figure:
    """Show an image, a kernel, and their cross-correlation.

    The result is exactly that: no bias, nothing clipped. A colour image is filtered channel by
    channel and shown in colour where every value lies between 0 and 1, else as brightness.

    First used in lecture 2.

    Args:
        image: Shape (height, width), (3, height, width) or (height, width, 3); see `as_image`.
        kernel: Shape (height, width) or (1, 1, height, width).
        padding: "same" adds zeros so that the size is kept, for an even size one more below and
            to the right (as PyTorch does); or pixels on each side, an int or a pair.
        axis: Whether to number rows and columns.

    Returns:
        The figure: "Original", "Kernel", "Filtered".

    Raises:
        TypeError: Complex numbers or text, or a fractional padding.
        ValueError: A wrong shape, NaN or infinite values, a negative padding, or a kernel that is
            larger than the padded image.
    """
    original, weight = as_image(image), as_kernel(kernel)
    result, norm = filtered(original, weight, padding)
    figure, axes = plt.subplots(ncols=3, figsize=(WIDTH, 3), width_ratios=[1, 0.6, 1.12])
    draw_map(axes[0], original, "Original", axis=axis)
    own, _ = scale(weight, unit=float(weight.abs().max()))
    weights = draw_map(axes[1], weight, "Kernel", norm=own)
    if weights is not None and max(weight.shape) > WRITTEN:
        figure.colorbar(weights, ax=axes[1], shrink=0.45)
    mappable = draw_map(axes[2], result, "Filtered", norm=norm, axis=axis)
    if mappable is not None:
        ends = {(True, True): "both", (True, False): "min", (False, True): "max"}
        beyond = bool(result.min() < (norm.vmin or 0)), bool(result.max() > (norm.vmax or 0))
        figure.colorbar(mappable, ax=axes[2], shrink=0.75, extend=ends.get(beyond, "neither"))
    return figure


@in_style
def plot_convs(image: Any, conv_layer: nn.Conv2d, axis: bool = False) -> Figure:
    """Show an image and what each filter of a convolutional layer makes of it, bias included.

    All maps share one colour scale, so they can be compared.

    First used in lecture 3.

    Args:
        image: Shape (height, width), (3, height, width) or (height, width, 3); see `as_image`.
        conv_layer: Any `torch.nn.Conv2d`, on any device, for as many channels as the image has.
        axis: Whether to number rows and columns.

    Returns:
        The figure: "Original", "Filter 1", "Filter 2", ...

    Raises:
        TypeError: conv_layer is no `torch.nn.Conv2d`, or the image is not made of real numbers.
        ValueError: The numbers of channels differ, the kernel is larger than the padded image, or
            a value is NaN or infinite.
    """
    original = as_image(image)
    maps = _apply(conv_layer, original)
    panels = len(maps) + 1
    columns = panels if panels <= 4 else min(math.ceil(math.sqrt(panels)), 8)
    rows = math.ceil(panels / columns)
    beside, below = (0.6, 0.8) if axis else (0.05, 0.6)  # inches for numbers and titles
    cell = ((WIDTH - 1.2) / columns - beside) * original.shape[-2] / original.shape[-1]
    size = (WIDTH, rows * (min(cell, 8.0) + below))
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    draw_map(axes.flat[0], original, "Original", axis=axis)
    norm, cmap = scale(maps, unit=0.0)
    for number, (ax, values) in enumerate(zip(axes.flat[1:], maps, strict=False), start=1):
        draw_map(ax, values, f"Filter {number}", norm=norm, axis=axis)
    for ax in axes.flat[panels:]:
        ax.set_axis_off()
    height, width = maps.shape[1:]
    figure.colorbar(
        ScalarMappable(norm, cmap),
        ax=axes,
        label=f"feature map{'s' * (len(maps) > 1)}, {height} × {width}",
        shrink=0.8 if rows == 1 else 0.5,
    )
    return figure


@in_style
def plot_maps(maps: Mapping[str, Any], *, height: float = 2.6, axis: bool = False) -> Figure:
    """Show matrices side by side under their names; values are written into small ones.

    First used in lecture 1.

    Args:
        maps: Names, and matrices or pictures that `as_image` takes.
        height: Height of the figure in inches.
        axis: Whether to number rows and columns.

    Returns:
        The figure. Each matrix has its own colour scale.
    """
    sizes = {name: as_image(values, name) for name, values in maps.items()}
    figure, axes = plt.subplots(
        ncols=len(maps),
        figsize=(WIDTH, height),
        width_ratios=[max(values.shape[-1], 2) ** 0.5 for values in sizes.values()],
        squeeze=False,
    )
    for ax, (name, values) in zip(axes.flat, sizes.items(), strict=True):
        mappable = draw_map(ax, values, name, axis=axis)
        if mappable is not None and max(values.shape[-2:]) > WRITTEN:
            figure.colorbar(mappable, ax=ax, shrink=0.8)
    return figure


@in_style
def plot_overlap(
    f: Callable[[np.ndarray], np.ndarray],
    g: Callable[[np.ndarray], np.ndarray],
    z: np.ndarray,
    at: Sequence[float],
) -> Figure:
    """Show the convolution of two curves as an overlap: g flipped, shifted by x, times f.

    First used in lecture 2.

    Args:
        f: A function of an array.
        g: Another one.
        z: Where to evaluate them: evenly spaced, and wide enough that both are 0 at the ends.
        at: The shifts x to stop at, in increasing order.

    Returns:
        The figure: a panel for each shift, and below them the whole of (f * g)(x).
    """
    products = {x: f(z) * g(x - z) for x in at}
    areas = {x: float(np.trapezoid(product, z)) for x, product in products.items()}
    top = 1.15 * max(f(z).max(), g(z).max())
    figure = plt.figure(figsize=(WIDTH, 5.2))
    grid = figure.add_gridspec(2, len(at) + 1)
    curves = {"f(z)": (f(z), INPUT, "-"), "g(z)": (g(z), KERNEL, ":")}
    panels: list[tuple[str, dict[str, tuple[np.ndarray, str, str]], np.ndarray | None]]
    panels = [("f and g", curves, None)]
    for x in at:
        curves = {"f(z)": (f(z), INPUT, "-"), "g(x − z)": (g(x - z), KERNEL, "--")}
        panels.append((f"x = {x:g}\narea {areas[x]:.2f}", curves, products[x]))
    for column, (title, curves, product) in enumerate(panels):
        ax = figure.add_subplot(grid[0, column])
        for name, (values, colour, line) in curves.items():
            ax.plot(z, values, color=colour, linestyle=line, label=name)
        if product is not None:
            ax.fill_between(z, product, color=OUTPUT, alpha=0.5, hatch="///", label="product")
        ax.set(title=title, xlabel="z", ylim=(0, top))
        if column:
            ax.set_yticklabels([])
    entries = [ax.get_legend_handles_labels() for ax in figure.axes[:2]]
    handles = {n: h for hs, ns in entries for h, n in zip(hs, ns, strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
    ax = figure.add_subplot(grid[1, :])
    ax.plot(z, [np.trapezoid(f(z) * g(x - z), z) for x in z], color=OUTPUT)
    ax.plot(list(areas), list(areas.values()), "o", color=FOCUS, markersize=9)
    ax.set(xlabel="x", ylabel="(f ∗ g)(x)")
    return figure


@in_style
def plot_receptive_field(
    image: Any,
    field: Field | Mapping[str, Field],
    places: Sequence[tuple[int, int]] | None = None,
) -> Figure:
    """Show on a picture what values of a feature map see of it, each as a rectangle.

    What lies outside of the picture is padding: light grey, as far as a rectangle reaches.

    First used in lecture 8.

    Args:
        image: The input of the network, a picture that `as_image` takes.
        field: A receptive field, or several under their names, each in a panel of its own.
        places: Row and column of each value; without it, the value whose field lies nearest to
            the middle of the picture.

    Returns:
        The figure; above each panel, its name and the size of the field in pixels.

    Raises:
        TypeError: field is no `Field`.
        ValueError: There is no field, a place is negative, or the picture has a wrong shape.
    """
    picture = as_image(image)
    fields = dict(field) if isinstance(field, Mapping) else {"receptive field": field}
    if not fields:
        raise ValueError("expected a receptive field or more, got none")
    for name, value in fields.items():
        if not isinstance(value, Field):
            raise TypeError(
                f"expected {name!r} as a Field, got {type(value).__name__}: call "
                f"cnnlib.receptive_field.receptive_field with the model"
            )
    middle = [(size - 1) / 2 for size in picture.shape[-2:]]
    shown = {name: places or [value.nearest(middle)] for name, value in fields.items()}
    for row, column in places or []:
        Field().seen(row, column)  # or refuses
    rows = math.ceil(len(fields) / 3)
    columns = math.ceil(len(fields) / rows)
    size = (WIDTH, 3.9 if len(fields) == 1 else rows * (0.7 + WIDTH / columns))
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for ax in axes.flat[len(fields) :]:
        ax.set_axis_off()
    for ax, (name, value) in zip(axes.flat, fields.items(), strict=False):
        height, width = value.size
        draw_map(ax, picture, f"{name}\n{height} × {width}")
        _outline(ax, value, shown[name], picture)
    return figure


def filtered(
    image: Tensor, kernel: Tensor, padding: str | int | tuple[int, int] = "same"
) -> tuple[Tensor, Normalize]:
    """Return what a kernel makes of a picture, as `plot_conv` shows it, and its limits of colour.

    Args:
        image: Shape (height, width) or (3, height, width).
        kernel: Shape (height, width).
        padding: See `plot_conv`.

    Returns:
        The cross-correlation, shape (height, width), or (3, height, width) if the picture has
        colours and no value leaves 0 to 1; and the limits of its colours.

    Raises:
        TypeError: See `plot_conv`.
        ValueError: See `plot_conv`.
    """
    above, below, left, right = _margins(image, kernel, padding)
    padded = F.pad(image.reshape(-1, 1, *image.shape[-2:]), (left, right, above, below))
    result = F.conv2d(padded, kernel[None, None])[:, 0]
    if len(result) == 3 and (result.min() < 0 or result.max() > 1):
        result = to_grey(result)
    result = result.squeeze(0)
    # Zeros around the image make a false edge there: colours are spread over what lies inside it.
    inside = result[..., above : result.shape[-2] - below, left : result.shape[-1] - right]
    norm, _ = scale(result, inside if inside.numel() else result)
    return result, norm


def as_kernel(kernel: Any) -> Tensor:
    """Return a kernel of shape (height, width) or (1, 1, height, width) as (height, width)."""
    weight = numbers(kernel, "kernel").detach().cpu().float()
    if weight.ndim == 4 and weight.shape[:2] == (1, 1):
        weight = weight[0, 0]
    if weight.ndim != 2:
        raise ValueError(
            f"expected a kernel of shape (height, width) or (1, 1, height, width), got "
            f"{tuple(weight.shape)}: for several kernels, use plot_convs with a torch.nn.Conv2d"
        )
    return weight


def _outline(ax: Axes, field: Field, places: Sequence[tuple[int, int]], picture: Tensor) -> None:
    """Draw the fields of some values on a picture, and widen the axes so that all are seen."""
    height, width = picture.shape[-2:]
    lows, highs = [-0.5, -0.5], [height - 0.5, width - 0.5]
    for (row, column), line in zip(places, itertools.cycle(["-", "--", ":", "-."])):
        seen = field.seen(row, column)
        lows = [min(low, span.start - 0.5) for low, span in zip(lows, seen, strict=True)]
        highs = [max(high, span.stop - 0.5) for high, span in zip(highs, seen, strict=True)]
        (top, left), (h, w) = (span.start - 0.5 for span in seen), field.size
        # White below it, so that it is seen on any picture.
        ax.add_patch(Rectangle((left, top), w, h, fill=False, ec="white", lw=4))
        ax.add_patch(Rectangle((left, top), w, h, fill=False, ec=FOCUS, lw=2, ls=line))
        middle = (left + w / 2, top + h / 2)
        ax.plot(*middle, "o", color=FOCUS, markeredgecolor="white", markersize=5)
        if len(places) > 1:
            mark = f"({row}, {column})"
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            ax.annotate(mark, middle, (0, 8), textcoords="offset points", ha="center", bbox=paper)
    edge = 0.02 * max(highs[0] - lows[0], highs[1] - lows[1])
    ax.set(xlim=(lows[1] - edge, highs[1] + edge), ylim=(highs[0] + edge, lows[0] - edge))
    if (lows, highs) != ([-0.5, -0.5], [height - 0.5, width - 0.5]):
        ax.set_facecolor(PADDING)


@in_style
def plot_found(
    scene: Any, places: Mapping[str, tuple[int, int]], *, size: tuple[int, int] = (37, 23)
) -> Figure:
    """Show a picture with a frame around each of some places, named below it.

    First used in lecture 10.

    Args:
        scene: A picture that `as_image` takes.
        places: Names, and the centres as (row, column) in pixels; four or fewer.
        size: Height and width of the frames in pixels.

    Returns:
        The figure. Frames differ in colour and in the kind of line.

    Raises:
        ValueError: There are more than four places.
    """
    if len(places) > 4:
        raise ValueError(f"got {len(places)} places: show 4 or fewer, more cannot be told apart")
    image = as_image(scene, "scene")
    height = min(7.0, 0.96 * WIDTH * image.shape[-2] / image.shape[-1] + 0.9)
    figure, ax = plt.subplots(figsize=(WIDTH, height))
    draw_map(ax, image, "", axis=True)
    looks = zip((FOCUS, INPUT, KERNEL, NOTE), ("-", "--", ":", "-."), strict=True)
    for (name, (row, column)), (colour, line) in zip(places.items(), looks, strict=False):
        corner = (column - size[1] / 2, row - size[0] / 2)
        for wide, shade, style, label in ((6, "white", "-", None), (3, colour, line, name)):
            frame = Rectangle(corner, size[1], size[0], fill=False, edgecolor=shade)
            frame.set(linewidth=wide, linestyle=style, label=label, clip_on=False)
            ax.add_patch(frame)
    if places:
        figure.legend(loc="outside lower center", ncols=len(places), handlelength=4)
    return figure


def _margins(
    image: Tensor, kernel: Tensor, padding: str | int | tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return how many zeros go above, below, left and right of the image."""
    if padding == "same":
        (above, below), (left, right) = (((k - 1) // 2, k // 2) for k in kernel.shape)
    elif isinstance(padding, str):
        raise ValueError(f'expected padding "same", a number or a pair, got {padding!r}')
    else:
        above, left = below, right = pair(padding, "padding", 0)
        output_size(tuple(image.shape[-2:]), tuple(kernel.shape), (above, left))  # or refuses
    return above, below, left, right


def _apply(layer: nn.Conv2d, image: Tensor) -> Tensor:
    """Return a layer's output for one image, shape (filters, height, width), float32 on the CPU."""
    if not isinstance(layer, nn.Conv2d):
        raise TypeError(
            f"expected a torch.nn.Conv2d layer, got {type(layer).__name__}: "
            f"pass one layer of a model, for example model[0]"
        )
    channels = image if image.ndim == 3 else image[None]
    if len(channels) != layer.in_channels:
        raise ValueError(
            f"the image has {len(channels)} channel(s) and the layer expects {layer.in_channels}: "
            f"load the image with or without grey=True, or change the layer's in_channels"
        )
    weight = numbers(layer.weight, "the layer's weight")
    if layer.padding != "same":  # what does not fit is refused
        padding = 0 if isinstance(layer.padding, str) else layer.padding
        output_size(tuple(image.shape[-2:]), layer.kernel_size, padding, dilation=layer.dilation)
    with torch.no_grad():
        maps: Tensor = layer(channels[None].to(weight.device, weight.dtype))[0]
    return numbers(maps.float().cpu(), "the layer's output")
