"""What fits on a slide: how high texts, code, tables and pictures are drawn, and how large."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import product
from typing import Any

# In pixels of a slide of 1280 × 720; book/deck/deck.css says the same in its own words.
WIDTH = 1228
HEIGHT = 600  # below the line that names the section
GAP = 16
# Of text and of code, from what a slide with little on it has to what the last row can read.
SIZES = sorted(product((34, 30, 26), (26, 24, 22, 20)), key=lambda s: (sum(s), s[1]), reverse=True)
TEXT_LINE = 1.42  # these three times the size
TEXT_WIDTH = 0.56  # of a character of DejaVu Sans, on average
HEADING = 2.4
MONO_LINE = 1.3
MONO_WIDTH = 0.6025  # of a character of DejaVu Sans Mono
MONO_FRAME = 20
TABLE_FRAME = 9  # of a row
TABLE_ROW = 24 * TEXT_LINE + TABLE_FRAME  # of a table in the text
LEAST_SHARE = 0.8  # of the size that a picture has alone: below, it gets a slide of its own


@dataclass(frozen=True)
class Piece:
    """One thing on a slide.

    Attributes:
        cell: A notebook cell that holds it and nothing else.
        text: Blocks of markdown, if it is text.
        lines: Lines of monospaced text, if it is code or what code has printed.
        rows: What is in each row, if it is a table of pandas.
        picture: Width and height in pixels, if it is a picture, which is drawn as large as fits.
    """

    cell: Any
    text: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    picture: tuple[int, int] | None = None

    def height(self, text: float, mono: float) -> float:
        """Return the height in pixels at some sizes of text and of code; a picture's is 0."""
        if self.lines:
            return len(self.lines) * mono * MONO_LINE + MONO_FRAME
        if self.rows:
            return len(self.rows) * (mono * TEXT_LINE + TABLE_FRAME)
        return sum(height(block, text) for block in self.text)


@dataclass
class Slide:
    """What is seen at one time.

    Attributes:
        kind: "slide" for the first of a section, else "subslide".
        pieces: What is on it, from top to bottom.
        steps: For each piece, how often one presses a key before it is seen.
    """

    kind: str
    pieces: list[Piece]
    steps: list[int]

    def sizes(self) -> tuple[int, int] | None:
        """Return the largest sizes of text and of code at which everything fits, or None."""
        return next((sizes for sizes in SIZES if self._fits(*sizes)), None)

    def _fits(self, text: int, mono: int) -> bool:
        lines = [line for piece in self.pieces for line in piece.lines + piece.rows]
        widest = max(map(len, lines), default=0)
        if widest * mono * MONO_WIDTH > WIDTH - MONO_FRAME:
            return False
        heights = [piece.height(text, mono) for piece in self.pieces]
        room = HEIGHT - sum(heights) - GAP * (len(heights) - 1)
        pictures = [piece.picture for piece in self.pieces if piece.picture]
        if len(self.pieces) == len(pictures) == 1:
            return True
        return room >= sum(_least_height(*picture) for picture in pictures)

    def joined(self, other: Slide, step: int) -> Slide | None:
        """Return this slide with another one below it, seen after a key or two, if both fit."""
        steps = [self.steps[-1] + step + s for s in other.steps]
        both = Slide(self.kind, self.pieces + other.pieces, self.steps + steps)
        return both if both.sizes() else None


def _least_height(width: int, height: int) -> float:
    """Return how high a picture is at least drawn where it is not alone: no smaller than it is."""
    alone = min(HEIGHT, height * WIDTH / width)
    return min(alone, max(height, LEAST_SHARE * alone))


def height(block: str, size: float) -> float:
    """Return about how high a block of markdown is drawn, in pixels."""
    if block.startswith("#"):
        return HEADING * size
    if block.startswith("$$"):
        return 100
    if block.startswith("|"):
        rows = block.split("\n")
        return sum(TABLE_ROW * math.ceil(len(_plain(row)) / 80) for row in rows[:1] + rows[2:])
    items = re.split(r"\n(?=[-*] |\d+\. )", block)
    indent = 4 if re.match(r"[-*] |\d+\. ", block) else 0
    per_line = WIDTH / (TEXT_WIDTH * size) - indent
    lines = sum(math.ceil(len(_plain(item)) / per_line) for item in items)
    return TEXT_LINE * size * lines + 8 * len(items)


def _plain(text: str) -> str:
    """Return a markdown text about as long as it is seen."""
    text = re.sub(r"\]\([^)]*\)", "", text)
    text = re.sub(r"\\[a-z]+|[{}_^]", "", text)
    return re.sub(r"[*`$\[\]]", "", text)
