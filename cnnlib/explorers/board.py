"""Grids of numbers as SVG: what `Picture.overlay` shows of small arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from torch import Tensor

from cnnlib.explorers.picture import grid
from cnnlib.style import NOTE, format_value

Place = tuple[int, int]  # row and column
LARGEST, SMALL, LINE = 18, 13, 19  # height of values, of other text, and of a line of it
ROOMY = 36  # sides of cells that have room for a note beside their value


@dataclass(frozen=True)
class Board:
    """A grid of square cells. Its methods return elements of SVG.

    Attributes:
        rows: How many there are.
        columns: How many there are.
        side: The side of a cell in units of the drawing, as all lengths.
        left: The left end of the grid.
        top: Its upper end.
    """

    rows: int
    columns: int
    side: float
    left: float
    top: float

    @property
    def places(self) -> list[Place]:
        """All cells, row by row."""
        return [*product(range(self.rows), range(self.columns))]

    def grid(self) -> dict[str, Any]:
        """Return the board as a part of `Picture.grids`."""
        return grid(self.rows, self.columns, self.left, self.top, self.side, self.side)

    def cells(self, places: Iterable[Place], fill: str, edge: str, dashes: str = "none") -> str:
        """Draw cells of one look."""
        size = f'width="{self.side:.2f}" height="{self.side:.2f}"'
        corners = (self._at(*place) for place in places)
        squares = "".join(f'<rect x="{x:.2f}" y="{y:.2f}" {size}/>' for x, y in corners)
        return f'<g fill="{fill}" stroke="{edge}" stroke-dasharray="{dashes}">{squares}</g>'

    def values(self, places: Iterable[Place], values: Tensor) -> str:
        """Write numbers into the middle of cells, small enough for the longest of them."""
        texts = [format_value(value) for value in values.flatten()]
        longest = max(map(len, texts), default=1)
        size = min(LARGEST, 0.7 * self.side, 1.4 * self.side / longest)
        return self._texts(places, texts, size, "middle", 0.5, 0.5 * self.side + 0.36 * size)

    def matrix(self, values: Tensor, fill: str, edge: str) -> str:
        """Draw all cells of one look with their values, shape (rows, columns)."""
        return self.cells(self.places, fill, edge) + self.values(self.places, values)

    def notes(self, places: Iterable[Place], texts: Sequence[str]) -> str:
        """Write short texts into the lower right corner of cells, if there is room."""
        if self.side < ROOMY:
            return ""
        return self._texts(places, texts, SMALL, "end", 0.95, 0.92 * self.side)

    def strokes(self, places: Iterable[Place]) -> str:
        """Cross cells out, from the lower left to the upper right."""
        lines = (
            f"M{x:.2f} {y + self.side:.2f}l{self.side:.2f} {-self.side:.2f}"
            for x, y in (self._at(*place) for place in places)
        )
        return f'<path d="{"".join(lines)}" stroke="{NOTE}" opacity="0.6"/>'

    def frame(self, first: Place, last: Place, colour: str) -> str:
        """Draw a thick frame around the cells from one to another."""
        (x, y), (right, bottom) = self._at(*first), self._at(last[0] + 1, last[1] + 1)
        return (
            f'<rect x="{x:.2f}" y="{y:.2f}" width="{right - x:.2f}" height="{bottom - y:.2f}" '
            f'fill="none" stroke="{colour}" stroke-width="4"/>'
        )

    def titles(self, above: str, *below: str) -> str:
        """Write a line above the grid, and lines below it."""
        x, bottom = self.left + self.columns * self.side / 2, self.top + self.rows * self.side
        heights = [self.top - 8, *(bottom + LINE * (1 + k) for k in range(len(below)))]
        lines = zip([above, *below], heights, strict=True)
        texts = "".join(f'<text x="{x:.2f}" y="{y:.2f}">{line}</text>' for line, y in lines)
        return f'<g font-size="{SMALL + 1}" text-anchor="middle" fill="{NOTE}">{texts}</g>'

    def _texts(
        self, places: Iterable[Place], texts: Sequence[str], size: float, anchor: str,
        across: float, down: float,
    ) -> str:  # fmt: skip
        corners = (self._at(*place) for place in places)
        written = "".join(
            f'<text x="{x + across * self.side:.2f}" y="{y + down:.2f}">{text}</text>'
            for (x, y), text in zip(corners, texts, strict=True)
        )
        return f'<g font-size="{size:.2f}" text-anchor="{anchor}">{written}</g>'

    def _at(self, row: int, column: int) -> tuple[float, float]:
        """Return the upper left corner of a cell."""
        return self.left + column * self.side, self.top + row * self.side
