"""A picture that can be pointed at, as a widget: the window of every explorer."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cnnlib.style import scale

HERE = Path(__file__).parent


class Picture(anywidget.AnyWidget):
    """A picture, an SVG drawing over it, a caption, and grids whose cells can be pointed at.

    Lengths and places are in units of `size`, from the top left corner.
    """

    _esm = HERE / "picture.js"
    _css = HERE / "picture.css"
    # The picture, as the bytes of a PNG file; empty for a drawing alone.
    png = traitlets.Bytes(b"").tag(sync=True)
    # What lies over it: elements of SVG, without <svg> around them.
    overlay = traitlets.Unicode("").tag(sync=True)
    # Width and height in the units of the drawing, and the largest width on screen (CSS).
    size: Any = traitlets.List([1.0, 1.0]).tag(sync=True)
    width = traitlets.Unicode("420px").tag(sync=True)
    # What is to be seen, for those who do not see it; and what is said below it.
    alt = traitlets.Unicode("").tag(sync=True)
    caption = traitlets.Unicode("").tag(sync=True)
    # Whether the caption says why there is no new picture.
    problem = traitlets.Bool(False).tag(sync=True)
    # What can be pointed at (see `grid`), the place pointed at (grid, row, column; or nothing),
    # and whether the mouse must only be there, not pressed.
    grids: Any = traitlets.List([]).tag(sync=True)
    at: Any = traitlets.List([]).tag(sync=True)
    hover = traitlets.Bool(False).tag(sync=True)


def grid(
    rows: int,
    columns: int,
    left: float = 0,
    top: float = 0,
    width: float = 1,
    height: float = 1,
) -> dict[str, Any]:
    """Return a grid for `Picture.grids`: rows and columns of cells of one width and height."""
    return {
        "rows": rows, "columns": columns, "left": left, "top": top, "width": width,
        "height": height,
    }  # fmt: skip


def png_of(values: Tensor, norm: Normalize | None = None) -> bytes:
    """Return a picture or a map as a PNG file, one pixel for each value.

    Args:
        values: Shape (height, width), coloured as `cnnlib.style` does; or (3, height, width),
            between 0 and 1.
        norm: Limits of the colours; without it, those that `cnnlib.style.scale` finds.
    """
    if values.ndim == 3:
        pixels = (values.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    else:
        own, colours = scale(values)
        pixels = colours((norm or own)(values.numpy()), bytes=True)[..., :3]
    return png_of_pixels(np.ascontiguousarray(pixels))


def png_of_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels of shape (height, width, 3) as a PNG file."""
    file = io.BytesIO()
    # Little compression: the picture goes no further than to the page, and time counts.
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def png_of_figure(figure: Figure) -> bytes:
    """Return a figure as a PNG file, at 100 dots per inch."""
    file = io.BytesIO()
    figure.savefig(file, dpi=100)
    return file.getvalue()
