"""Padding, stride and dilation step by step, and the convolution of two curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from cnnlib.explorers.sliding import IMAGE, WEIGHTS
from cnnlib.style import FOCUS, INPUT, KERNEL, NOTE, OUTPUT, STYLE, WIDTH
from tools.figures.drawing import rasterised, save_animation
from tools.figures.sliding import sliding_kernel

Curve = Callable[[np.ndarray], np.ndarray]


def convolution_curves(
    f: Curve, g: Curve, z: np.ndarray, shifts: Sequence[float]
) -> list[Image.Image]:
    """Draw the convolution of two curves: g flipped and shifted through f, one picture each shift.

    The upper half shows f, the flipped and shifted g, and their product as a filled area; the lower
    half shows that area as a function of the shift, as far as it has come.

    Args:
        f: A function of an array.
        g: Another one.
        z: Where to evaluate them: increasing, evenly spaced, and wide enough that both are 0 at
            the ends.
        shifts: The shifts x in increasing order, within z.

    Returns:
        The pictures in order, 8 inches wide at 100 dots per inch.

    Raises:
        ValueError: There are no shifts, they do not increase, or one lies outside of z; z has fewer
            than two values, or does not increase; or f or g is negative somewhere.
    """
    z, x = np.asarray(z, dtype=float), np.asarray(shifts, dtype=float)
    _check(f, g, z, x)
    path = np.array([np.trapezoid(f(z) * g(shift - z), z) for shift in z])
    return [_step(f, g, z, path, x, number) for number in range(len(x))]


def _check(f: Curve, g: Curve, z: np.ndarray, x: np.ndarray) -> None:
    if z.ndim != 1 or len(z) < 2 or not (np.diff(z) > 0).all():
        raise ValueError(
            f"expected z as two or more increasing values, got shape {z.shape}: "
            f"make it with numpy.linspace"
        )
    if x.ndim != 1 or not len(x):
        raise ValueError(f"expected one shift or more in a row, got shape {x.shape}")
    if not (np.diff(x) > 0).all():
        raise ValueError(f"expected shifts that increase, got {x.tolist()}: sort them")
    if x[0] < z[0] or x[-1] > z[-1]:
        raise ValueError(
            f"the shifts reach from {x[0]:g} to {x[-1]:g} and z only from {z[0]:g} to {z[-1]:g}: "
            f"make z wider"
        )
    for name, curve in (("f", f), ("g", g)):
        if (lowest := float(np.min(curve(z)))) < 0:
            raise ValueError(
                f"expected curves that are nowhere negative, {name} goes down to {lowest:g}: "
                f"an area below the axis would not be seen as such"
            )


def _step(
    f: Curve, g: Curve, z: np.ndarray, path: np.ndarray, x: np.ndarray, number: int
) -> Image.Image:
    """Draw one step: the overlap above, the area as far as it has come below."""
    shift = float(x[number])
    product = f(z) * g(shift - z)
    area = float(np.trapezoid(product, z))
    limits = float(z[0]), float(z[-1])
    with plt.style.context(STYLE):
        figure, (above, below) = plt.subplots(nrows=2, figsize=(WIDTH, 5.4), sharex=True)
        above.plot(z, f(z), color=INPUT, label="f(z)")
        above.plot(z, g(shift - z), color=KERNEL, linestyle="--", label="g(x − z): flipped, at x")
        above.fill_between(
            z, product, color=OUTPUT, alpha=0.5, hatch="///", label="product f(z) · g(x − z)"
        )
        top = 1.15 * max(float(f(z).max()), float(g(z).max()))
        above.set(xlim=limits, ylim=(0, top), xlabel="z")
        above.tick_params(labelbottom=True)
        figure.legend(*above.get_legend_handles_labels(), loc="outside upper center", ncols=3)
        come = z <= shift
        below.plot(z[come], path[come], color=OUTPUT)
        below.plot([shift], [area], "o", color=FOCUS, markersize=10, clip_on=False)
        below.set(ylim=(0, 1.25 * max(float(path.max()), 1e-9)), xlabel="x", ylabel="(f ∗ g)(x)")
        for ax in (above, below):
            ax.axvline(shift, color=FOCUS, linewidth=1, linestyle="-.")
        words = f"step {number + 1} of {len(x)}:  x = {shift:.2f},  area = (f ∗ g)(x) = {area:.2f}"
        figure.supxlabel(words.replace("-", "−"), fontsize=13, color=NOTE)
        picture = rasterised(figure)
        plt.close(figure)
    return picture


def box(z: np.ndarray) -> np.ndarray:
    """Return 1 between 0 and 1, and 0 elsewhere."""
    return np.where((z >= 0) & (z <= 1), 1.0, 0.0)


def falling_ramp(z: np.ndarray) -> np.ndarray:
    """Return a ramp that falls from 1 at 0 to 0 at 1, and 0 elsewhere."""
    return np.where((z >= 0) & (z <= 1), 1 - z, 0.0)


def draw(folder: Path) -> None:
    """Draw the pictures of this module into a folder."""
    strided = sliding_kernel(IMAGE, WEIGHTS, padding=1, stride=(2, 2))
    save_animation(strided, folder / "padding-stride.gif")
    # On 6 x 6 pixels, where a kernel that reaches over 5 has four places.
    dilated = sliding_kernel(np.arange(36).reshape(6, 6) % 10, WEIGHTS, dilation=2)
    save_animation(dilated, folder / "dilation.gif")
    z = np.linspace(-1.5, 3.0, 901)
    curves = convolution_curves(box, falling_ramp, z, np.linspace(-0.25, 2.5, 12).tolist())
    save_animation(curves, folder / "convolution-curves.gif")
