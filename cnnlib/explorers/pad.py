"""A pad to draw on, as a widget, and what MNIST did to the digits that were drawn for it."""

from __future__ import annotations

from typing import Any

import anywidget
import torch
import torch.nn.functional as F
import traitlets
from torch import Tensor

from cnnlib.explorers.picture import HERE

BOX = 20 / 28  # the part of MNIST's pictures, each way, that a digit fills at most


class Pad(anywidget.AnyWidget):
    """A grid of cells to draw on with a soft brush: white ink on black paper.

    The mouse or a finger draws; the arrow keys move a cursor, Space or Enter paints there (Space
    held down, also on the way), Delete or Backspace clears. With Shift held down, all of them
    erase.

    Args:
        rows: Cells from top to bottom.
        columns: Cells from left to right.
    """

    _esm = HERE / "pad.js"
    _css = HERE / "pad.css"
    rows = traitlets.Int().tag(sync=True)
    columns = traitlets.Int().tag(sync=True)
    # The ink in each cell, row by row: 0 for paper, 255 at most.
    value = traitlets.CBytes().tag(sync=True)  # the page sends a memoryview
    caption = traitlets.Unicode("").tag(sync=True)

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__(rows=rows, columns=columns, value=bytes(rows * columns))

    @traitlets.validate("value")
    def _one_byte_a_cell(self, proposal: Any) -> bytes:
        value: bytes = proposal["value"]
        if len(value) != self.rows * self.columns:
            raise traitlets.TraitError(
                f"expected {self.rows} × {self.columns} bytes, one for each cell, got {len(value)}"
            )
        return value

    @property
    def ink(self) -> Tensor:
        """What is drawn, shape (rows, columns): 0 for paper, 1 for ink."""
        cells = torch.tensor(list(self.value), dtype=torch.float32)
        return cells.div_(255).view(self.rows, self.columns)


def bytes_of(ink: Tensor) -> bytes:
    """Return a picture, 0 for paper and 1 for ink, as the value of a pad."""
    return bytes((ink.clamp(0, 1) * 255).round().byte().flatten().tolist())


def centred(ink: Tensor) -> Tensor:
    """Make a drawing as large as MNIST's digits are, and move it to the middle, as they were.

    Args:
        ink: Shape (height, width), 0 where there is paper.

    Returns:
        The same shape. The drawing fills 20 of 28 rows or columns, whichever it reaches first, and
        its centre of mass lies in the middle, to half a pixel; without ink, nothing is changed.

    Source: Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST Database of Handwritten Digits.
    """
    if not ink.any():
        return ink
    rows, columns = (ink.any(axis).nonzero().flatten() for axis in (1, 0))
    drawn = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    grow = BOX * min(n / d for n, d in zip(ink.shape, drawn.shape, strict=True))
    size = [max(1, round(grow * d)) for d in drawn.shape]
    scaled = F.interpolate(drawn[None, None], size, mode="bilinear", antialias=True)[0, 0]
    top, left = (_first(scaled.sum(axis), n) for axis, n in zip((1, 0), ink.shape, strict=True))
    moved = torch.zeros_like(ink)
    moved[top : top + size[0], left : left + size[1]] = scaled
    return moved


def _first(ink: Tensor, room: int) -> int:
    """Return where a row of ink begins whose centre of mass is to lie in the middle of a room."""
    centre = float((ink * torch.arange(len(ink))).sum() / ink.sum()) + 0.5
    return min(max(round(room / 2 - centre), 0), room - len(ink))
