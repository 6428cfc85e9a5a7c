"""A kernel on its way over an image, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from cnnlib import kernels
from cnnlib._checks import matrix
from cnnlib.convolution import Size, corr2d
from cnnlib.explorers.sliding import IMAGE, WEIGHTS, sliding_step
from cnnlib.images import load_image
from cnnlib.plotting import plot_conv
from tools.figures.drawing import rasterised, save_animation


def sliding_kernel(
    image: Any, kernel: Any, *, padding: Size = 0, stride: Size = 1, dilation: Size = 1
) -> list[Image.Image]:
    """Draw a kernel on its way over an image, one picture for each value of the output.

    Args:
        image: See `sliding_step`.
        kernel: See `sliding_step`.
        padding: See `sliding_step`.
        stride: See `sliding_step`.
        dilation: See `sliding_step`.

    Returns:
        The pictures of `sliding_step` in order, 8 inches wide at 100 dots per inch.

    Raises:
        TypeError: See `corr2d`.
        ValueError: See `corr2d`.
    """
    X, K = matrix(image, "image"), matrix(kernel, "kernel")
    settings = {"padding": padding, "stride": stride, "dilation": dilation}
    steps = corr2d(X, K, **settings).numel()
    return [rasterised(sliding_step(X, K, step, **settings)) for step in range(steps)]


def draw(folder: Path) -> None:
    """Draw the pictures of this module into a folder."""
    cat = load_image("img/cat.png", grey=True)
    plot_conv(cat, kernels.edges()).savefig(folder / "edges.png", bbox_inches="tight")
    save_animation(sliding_kernel(IMAGE, WEIGHTS), folder / "sliding-kernel.gif")
