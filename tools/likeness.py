"""Compare two pictures as a reader would: a changed figure is different, a font's hair is not.

nbval leaves pictures out; conftest.py adds this comparison, and `make outputs` keeps a stored
picture that is like the fresh one.

A pixel is found in the other picture if its colour lies within the range of colours around its
place there. That forgives smooth or hard edges of lines and letters. Text and axes may be moved by
a pixel or two, and by different amounts: every window takes the move that suits it best. What is
then still not found is added up in small windows (marks: letters, digits, lines) and, with a finer
eye for colour, in large ones (areas: shades, maps). tests/test_likeness.py shows what the limits
tell apart.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

FORMATS = ("image/png", "image/jpeg")  # what nbval does not compare
RESIZE = 3  # pixels by which sizes may differ: the box around a figure depends on its text
MOVE = 2  # pixels by which each part may be moved
MARK, MARK_LIMIT = 9, 4.0  # size of a window; as many whole pixels, black for white, may be lost
AREA, AREA_LIMIT = 47, 215.0  # size of a window; as many pixels may have another shade
MARK_LEVELS = 24  # levels of 255 that do not count among marks
AREA_LEVELS = 4  # the same among areas, where twice that is another shade

Pixels = NDArray[np.uint8]
Sums = NDArray[np.float32]


@dataclass(frozen=True)
class Comparison:
    """Whether two pictures look alike, why not, and the two measures with their limits."""

    alike: bool
    reason: str
    marks: float = 0.0
    areas: float = 0.0


def compare(stored: bytes | Image.Image, fresh: bytes | Image.Image) -> Comparison:
    """Compare two pictures, given as image files' contents or as opened pictures."""
    a, b = _pixels(stored), _pixels(fresh)
    if max(abs(n - m) for n, m in zip(a.shape, b.shape, strict=True)) > RESIZE:
        sizes = " and ".join(f"{p.shape[1]} × {p.shape[0]}" for p in (a, b))
        return Comparison(False, f"the sizes differ: {sizes} pixels")
    a, b = _same_size(a, b)
    marks, areas, place = _measure(a, b)
    found = [
        f"{name} differ: {value:.1f} pixels near x={place[0]}, y={place[1]} (limit {limit:g})"
        for name, value, limit in [("marks", marks, MARK_LIMIT), ("areas", areas, AREA_LIMIT)]
        if value > limit
    ]
    return Comparison(not found, ", ".join(found) or "alike", marks, areas)


def difference(stored: bytes | Image.Image, fresh: bytes | Image.Image) -> Image.Image:
    """Return a white picture that is darker where the two differ more, black where they do most."""
    a, b = _same_size(_pixels(stored), _pixels(fresh), limit=None)
    differs = (np.maximum(a, b) - np.minimum(a, b)).max(axis=2)
    return Image.fromarray((255 - differs * (255 / max(differs.max(), 1))).astype(np.uint8))


def slots(outputs: Iterable[Mapping[str, Any]]) -> list[tuple[dict[str, str], str]]:
    """Return where a cell's outputs hold pictures: pairs of their data and the format's name."""
    return [
        (output["data"], name)
        for output in outputs
        for name in FORMATS
        if name in output.get("data", {})
    ]


def pictures(outputs: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Return the pictures among a cell's outputs, in order."""
    return [base64.b64decode(data[name]) for data, name in slots(outputs)]


def _pixels(picture: bytes | Image.Image) -> Pixels:
    """Return a picture as it looks on white paper, shape (height, width, 3)."""
    if isinstance(picture, bytes):
        picture = Image.open(io.BytesIO(picture))
    picture = picture.convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(paper, picture).convert("RGB"))


def _same_size(a: Pixels, b: Pixels, limit: int | None = RESIZE) -> tuple[Pixels, Pixels]:
    """Add white at the right and below, and a margin to move in all around."""
    height, width = (max(n, m) for n, m in zip(a.shape[:2], b.shape[:2], strict=True))
    edge = 0 if limit is None else MOVE + 1

    def add(p: Pixels) -> Pixels:
        missing = (edge, height - p.shape[0] + edge), (edge, width - p.shape[1] + edge), (0, 0)
        return np.pad(p, missing, constant_values=255)

    return add(a), add(b)


def _measure(a: Pixels, b: Pixels) -> tuple[float, float, tuple[int, int]]:
    """Return the largest sum of marks and of areas in a window, and the place of the worse."""
    moves = [(dy, dx) for dy in range(-MOVE, MOVE + 1) for dx in range(-MOVE, MOVE + 1)]
    moves.sort(key=lambda move: abs(move[0]) + abs(move[1]))
    marks, areas = _unfound(a, b, moves[0])
    if not areas.any():
        return 0.0, 0.0, (0, 0)
    # Only a part that seems changed is worth moving: with all that its windows can reach.
    rows, columns = np.nonzero((marks > MARK_LIMIT) | (areas > AREA_LIMIT))
    if rows.size:
        part = _reach(rows), _reach(columns)
        for move in moves[1:]:
            moved_marks, moved_areas = _unfound(a[part], b[part], move)
            marks[part] = np.minimum(marks[part], moved_marks)
            areas[part] = np.minimum(areas[part], moved_areas)
    worse = np.maximum(marks / MARK_LIMIT, areas / AREA_LIMIT)
    y, x = np.unravel_index(int(worse.argmax()), worse.shape)
    return float(marks.max()), float(areas.max()), (int(x), int(y))


def _reach(places: NDArray[np.intp]) -> slice:
    """Return the rows, or columns, that the windows around some places reach."""
    more = AREA // 2 + MOVE + 1
    return slice(max(int(places.min()) - more, 0), int(places.max()) + more + 1)


def _unfound(a: Pixels, b: Pixels, move: tuple[int, int]) -> tuple[Sums, Sums]:
    """Move b, and return how much is not found in the windows around every pixel."""
    b = np.roll(b, move, axis=(0, 1))
    lost = np.maximum(_beyond(a, b), _beyond(b, a))
    marks = np.maximum(lost, MARK_LEVELS) - MARK_LEVELS
    areas = np.clip(lost, AREA_LEVELS, 2 * AREA_LEVELS) - AREA_LEVELS
    return _add_up(marks, MARK, 255), _add_up(areas, AREA, AREA_LEVELS)


def _beyond(a: Pixels, b: Pixels) -> Pixels:
    """Return how far each pixel of a lies outside the range of colours around it in b."""
    low, high = b, b
    for axis in (0, 1):
        sides = [np.roll(p, step, axis) for p in (low, high) for step in (-1, 1)]
        low = np.minimum(low, np.minimum(sides[0], sides[1]))
        high = np.maximum(high, np.maximum(sides[2], sides[3]))
    lost: Pixels = np.maximum(np.maximum(a, high) - high, low - np.minimum(a, low)).max(axis=2)
    return lost


def _add_up(values: Pixels, size: int, whole: int) -> Sums:
    """Return the sum of values in the window around each pixel, where `whole` counts as 1."""
    means = ndimage.uniform_filter(values.astype(np.float32), size, mode="constant")
    sums: Sums = means * np.float32(size**2 / whole)
    return sums
