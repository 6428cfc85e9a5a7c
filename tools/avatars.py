"""Draw the cartoon faces in data/avatars/: stripes on their shirts run across, or upright.

Run as `python -m tools.avatars`. Every face has a number, and the number decides all of it; those
with an odd number wear upright stripes. What else differs (hair, hat, glasses, eyes, mouth, beard,
place, size, tilt, background, light, noise) is chosen without a look at the class.
"""

from __future__ import annotations

import math
import random
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

SIZE = 128  # height and width of a picture in pixels
COUNTS = {"train": 800, "test": 300}
FIRST = {"train": 0, "test": 100_000}  # number of the first face
CLASSES = ("across", "upright")


def face(number: int, *, upright: bool) -> Tensor:
    """Draw a face; a number gives the same one in both classes, but for the stripes.

    Args:
        number: Which face, a whole number from 0 up: the same one gives the same picture.
        upright: Whether the stripes of its shirt run from top to bottom, or else across.

    Returns:
        Grey values, shape (128, 128), uint8.
    """
    chance = random.Random(number)
    drawing = _Drawing(chance)
    look = _look(chance)
    _background(drawing, chance)
    _body(drawing, look, chance, upright=upright)
    _head(drawing, look, chance)
    _features(drawing, look, chance)
    if chance.random() < 0.4:
        _glasses(drawing, look, chance)
    _hair(drawing, look, chance)
    _hat(drawing, look, chance)
    return _photograph(drawing.picture, chance, number)


class _Look(NamedTuple):
    """What several parts of a face share: tones from 0 (black) to 1, lengths in face pixels."""

    skin: float
    ink: float
    hair: float
    width: float  # of the head, from the middle to a side
    height: float
    roundness: float  # exponent of the outline: 2 is an ellipse, more is squarer
    eyes: float  # their distance from the middle
    level: float  # their height: y
    style: str
    hat: str


def _look(chance: random.Random) -> _Look:
    skin = chance.choice((0.92, 0.84, 0.76, 0.66, 0.56, 0.46))
    hair = chance.choice([tone for tone in (0.1, 0.2, 0.35, 0.6, 0.95) if abs(tone - skin) > 0.18])
    return _Look(
        skin=skin,
        ink=chance.uniform(0.04, 0.14),
        hair=hair,
        width=chance.uniform(25, 30),
        height=chance.uniform(29, 34),
        roundness=chance.uniform(2, 2.8),
        eyes=chance.uniform(10.5, 12.5),
        level=chance.uniform(-6, -2),
        style=chance.choice(
            ("short", "parted", "fringe", "curly", "long", "bun", "spikes", "bald")
        ),
        hat=chance.choice(("", "", "", "beanie", "cap", "bowler", "band", "party")),
    )


class _Drawing:
    """A picture, and the place of every pixel as seen from the middle of the face."""

    def __init__(self, chance: random.Random) -> None:
        self.picture = torch.full((SIZE, SIZE), 0.5)
        self.scale = chance.uniform(0.8, 1.05)
        tilt = math.radians(chance.uniform(-10, 10))
        pixels = torch.arange(SIZE) + 0.5
        self.column, self.row = pixels.expand(SIZE, SIZE), pixels[:, None].expand(SIZE, SIZE)
        across = (self.column - 64 - chance.uniform(-14, 14)) / self.scale
        down = (self.row - 57 - chance.uniform(-12, 12)) / self.scale
        self.x = math.cos(tilt) * across + math.sin(tilt) * down
        self.y = math.cos(tilt) * down - math.sin(tilt) * across

    def paint(
        self, inside: Tensor, tone: float | Tensor, *, line: float = 0, ink: float = 0
    ) -> None:
        """Paint where `inside`, the distance to the border, is positive; around it a line."""
        if line:
            self.paint(inside + line, ink)
        cover = (inside * self.scale + 0.5).clamp(0, 1)
        self.picture = self.picture + cover * (tone - self.picture)


# Distances to the border of a shape, positive inside.


def _ellipse(x: Tensor, y: Tensor, width: float, height: float, power: float = 2) -> Tensor:
    reach = ((x / width).abs() ** power + (y / height).abs() ** power) ** (1 / power)
    return (1 - reach) * min(width, height)


def _box(x: Tensor, y: Tensor, width: float, height: float, corner: float = 0) -> Tensor:
    beside, above = x.abs() - width + corner, y.abs() - height + corner
    outside = torch.hypot(beside.clamp(min=0), above.clamp(min=0))
    return corner - outside - torch.maximum(beside, above).clamp(max=0)


def _arc(x: Tensor, y: Tensor, width: float, bend: float, thick: float) -> Tensor:
    """Return a curved line; its middle lies `bend` below its ends."""
    steep = torch.sqrt(1 + (2 * bend * x.clamp(-width, width) / width**2) ** 2)
    away = (y - bend * (1 - (x / width) ** 2)).abs() / steep
    return torch.minimum(thick / 2 - away, width - x.abs())


def _stripes(along: Tensor, period: float) -> Tensor:
    return (period / 4 - (along % period - period / 2).abs() + 0.5).clamp(0, 1)


def _dots(x: Tensor, y: Tensor, period: float) -> Tensor:
    apart = torch.hypot(x % period - period / 2, y % period - period / 2)
    return (period / 4 - apart + 0.5).clamp(0, 1)


def _pattern(kind: str, x: Tensor, y: Tensor, period: float, tones: tuple[float, float]) -> Tensor:
    """Return tones laid out as a pattern."""
    share = {
        "plain": torch.zeros_like(x),
        "across": _stripes(y, period),
        "upright": _stripes(x, period),
        "dots": _dots(x, y, period),
        "checks": 0.5 * (_stripes(x, period) + _stripes(y, period)),
    }[kind]
    return tones[0] + share * (tones[1] - tones[0])


_PATTERNS = ("plain", "plain", "across", "upright", "dots", "checks")


def _background(drawing: _Drawing, chance: random.Random) -> None:
    first = chance.uniform(0.15, 0.95)
    second = min(1.0, max(0.0, first + chance.uniform(-0.25, 0.25)))
    kind, period = chance.choice(_PATTERNS), chance.uniform(14, 34)
    drawing.picture = _pattern(kind, drawing.column, drawing.row, period, (first, second))
    for _ in range(chance.choice((0, 0, 2, 4))):  # clouds
        x = drawing.column - chance.uniform(0, SIZE)
        y = drawing.row - chance.uniform(0, SIZE)
        drawing.paint(_ellipse(x, y, chance.uniform(6, 22), chance.uniform(6, 16)), second)


def _body(drawing: _Drawing, look: _Look, chance: random.Random, *, upright: bool) -> None:
    x, y, ink = drawing.x, drawing.y, look.ink
    if look.style == "long":
        length = chance.uniform(4, 22)
        wide = look.width + chance.uniform(5, 8)
        inside = _box(x, y - length + 8, wide, look.height + length, wide * 0.8)
        drawing.paint(inside, look.hair, line=1.2, ink=ink)
    drawing.paint(_box(x, y - look.height - 2, 9, 16, 3), look.skin * 0.85, line=1.2, ink=ink)
    top, wide = look.height + chance.uniform(5, 9), chance.uniform(34, 46)
    shirt = _box(x, y - top - 40, wide, 40, chance.uniform(12, 20))
    tones = chance.uniform(0.04, 0.3), chance.uniform(0.7, 0.96)
    period, begin = chance.uniform(6, 11), chance.uniform(0, 11)
    cloth = _pattern("upright" if upright else "across", x + begin, y + begin, period, tones)
    drawing.paint(shirt, cloth, line=1.2, ink=ink)
    neck = chance.choice(("round", "v", "collar", "scarf"))
    if neck == "round":
        drawing.paint(_ellipse(x, y - top + 1, 10, 7), look.skin * 0.85, line=1.2, ink=ink)
    elif neck == "v":
        opening = torch.minimum(14 - (y - top) - 1.4 * x.abs(), y - top + 8) * 0.6
        drawing.paint(opening, look.skin * 0.85, line=1.2, ink=ink)
    elif neck == "collar":
        for side in (-1, 1):
            flap = _box(0.8 * (x - side * 7) + 0.6 * side * (y - top - 2), y - top - 2, 6, 4, 2)
            drawing.paint(flap, 0.95, line=1.2, ink=ink)
    else:
        drawing.paint(_box(x, y - top + 1, 17, 5, 5), chance.uniform(0.2, 0.9), line=1.2, ink=ink)


def _head(drawing: _Drawing, look: _Look, chance: random.Random) -> None:
    x, y, ink, both = drawing.x, drawing.y, look.ink, drawing.x.abs()
    size = chance.uniform(4.5, 7)
    ear = _ellipse(both - look.width - 1, y - look.level - 5, size, size + 2)
    drawing.paint(ear, look.skin * 0.93, line=1.2, ink=ink)
    if chance.random() < 0.25:
        ring = _ellipse(both - look.width - 3, y - look.level - 15, 2.6, 2.6)
        drawing.paint(ring, 0.95, line=1, ink=ink)
    shape = _ellipse(x, y, look.width, look.height, look.roundness)
    drawing.paint(shape, look.skin, line=1.4, ink=ink)
    if chance.random() < 0.5:
        cheek = _ellipse(both - look.width * 0.6, y - look.level - 14, 5, 4)
        drawing.paint(cheek, look.skin * chance.uniform(0.82, 0.92))
    if chance.random() < 0.2:
        for _ in range(7):
            spot = torch.hypot(both - chance.uniform(8, 19), y - look.level - chance.uniform(9, 16))
            drawing.paint(0.9 - spot, look.skin * 0.7)
    if chance.random() < 0.3:  # a beard
        edge = look.level + chance.uniform(14, 16) - chance.uniform(0, 0.5) * both
        beard = torch.minimum(shape + chance.uniform(0, 3), y - edge)
        drawing.paint(beard, look.hair, line=0.8, ink=ink)


def _features(drawing: _Drawing, look: _Look, chance: random.Random) -> None:
    x, ink, both = drawing.x, look.ink, drawing.x.abs()
    _mouth(drawing, look, chance)
    y = drawing.y - look.level
    nose, long = chance.choice(("line", "round", "hook", "dots")), chance.uniform(8, 12)
    if nose == "line":
        drawing.paint(_arc(x, y - long, 4, 2, 1.8), ink)
    elif nose == "round":
        drawing.paint(_ellipse(x, y - long, 4.5, 4), look.skin * 0.88, line=1, ink=ink)
    elif nose == "hook":
        drawing.paint(_arc(y - long + 4, -x - 1, 6, -4, 1.8), ink)
    else:
        drawing.paint(1.3 - torch.hypot(both - 2.5, y - long), ink)
    beside = both - look.eyes
    kind, size = (
        chance.choice(("dots", "ovals", "wide", "sleepy", "happy")),
        chance.uniform(0.9, 1.2),
    )
    if kind == "dots":
        drawing.paint(2.6 * size - torch.hypot(beside, y), ink)
    elif kind == "ovals":
        drawing.paint(_ellipse(beside, y, 2.6 * size, 4 * size), ink)
        drawing.paint(1.1 - torch.hypot(x.abs() - look.eyes + 0.8, y + 1.5), 1)
    elif kind == "happy":
        drawing.paint(_arc(beside, y, 4.5 * size, -3, 2), ink)
    else:
        look_aside, look_down = chance.uniform(-1.5, 1.5), chance.uniform(-1, 1)
        white = _ellipse(beside, y, 5 * size, 4.4 * size)
        if kind == "sleepy":
            white = torch.minimum(white, y + 0.5)
        drawing.paint(white, 0.98, line=0.9, ink=ink)
        aside = (x - look_aside).abs() - look.eyes
        pupil = torch.minimum(2.4 - torch.hypot(aside, y - look_down), white)
        drawing.paint(pupil, ink)
    brow, bend, slope = (
        chance.uniform(1.2, 3.4),
        chance.uniform(-2.5, 0.5),
        chance.uniform(-0.3, 0.3),
    )
    height = chance.uniform(8.5, 11)
    inside = _arc(beside, y + height + slope * beside, 5.5, bend, brow)
    drawing.paint(inside, min(look.hair, look.skin - 0.3))


def _mouth(drawing: _Drawing, look: _Look, chance: random.Random) -> None:
    x, ink = drawing.x, look.ink
    y = drawing.y - look.level - chance.uniform(19, 22)
    wide = chance.uniform(6, 11)
    kind = chance.choice(("line", "line", "open", "teeth", "small"))
    lips = min(0.95, look.hair + 0.45) if abs(look.hair - look.skin) > 0.3 else look.skin
    if kind == "line":
        drawing.paint(_arc(x, y, wide, chance.uniform(-2, 5), 2), ink)
    elif kind == "small":
        drawing.paint(_ellipse(x, y, 3, chance.uniform(2, 4)), ink + 0.15)
    else:
        inside = torch.minimum(_ellipse(x, y, wide, chance.uniform(6, 8)), y + 1)
        drawing.paint(inside, 0.97 if kind == "teeth" else 0.25, line=1.1, ink=ink)
        if kind == "teeth":
            drawing.paint(torch.minimum(0.4 - (y - 2).abs(), inside), 0.5)
        else:
            drawing.paint(torch.minimum(inside, _ellipse(x, y - 6, wide * 0.6, 4)), lips)
    if chance.random() < 0.15:  # a moustache
        inside = _arc(x.abs() - 6, y + 4.5, 6.5, chance.uniform(-3, 3), 4)
        drawing.paint(inside, look.hair, line=0.6, ink=ink)


def _glasses(drawing: _Drawing, look: _Look, chance: random.Random) -> None:
    x, y, both = drawing.x, drawing.y - look.level, drawing.x.abs()
    shape, dark = chance.choice(("round", "square", "wide", "cat", "drop")), chance.random() < 0.35
    rim = 0.05 if dark or look.skin > 0.6 else chance.choice((0.03, 0.98))
    thick = chance.uniform(2.2, 3.4)
    beside = both - look.eyes - 0.5
    wide, high = chance.uniform(8.2, 9.3), chance.uniform(7.5, 9)
    if shape == "round":
        lens = wide - torch.hypot(beside, y)
    elif shape == "square":
        lens = _box(beside, y, wide, high - 1, 2)
    elif shape == "wide":
        lens = _box(beside, y, wide + 0.5, 6, 3)
    elif shape == "cat":
        lens = _box(beside, y + 0.25 * beside, wide + 0.5, high - 2, 4)
    else:
        lens = _ellipse(beside - 0.08 * y, y - 1, wide, high + 1, 2.5)
    bridge = torch.minimum(thick / 2 - (y + 2 + 0.02 * x**2).abs(), look.eyes - 6 - both)
    temple = torch.minimum(thick / 2 - (y + 2).abs(), both - look.eyes - 6)
    drawing.paint(torch.minimum(temple, look.width - both), rim)
    drawing.paint(bridge, rim)
    under = drawing.picture
    drawing.paint(lens, rim)
    glass = 0.1 if dark else under + 0.35 * (1 - under)
    glare = 0.45 * _stripes(x + y + chance.uniform(0, 9), 9)
    drawing.paint(lens - thick, glass + glare * (1 - glass))


def _hair(drawing: _Drawing, look: _Look, chance: random.Random) -> None:
    x, y, ink = drawing.x, drawing.y, look.ink
    grown = _ellipse(x, y + 1, look.width, look.height, look.roundness) + chance.uniform(2.5, 5)
    high, side = -look.height + chance.uniform(9, 14), chance.choice((-1, 1))
    bend, shade = chance.uniform(0.008, 0.02), chance.uniform(-0.12, 0.12)
    if look.style == "bald":
        return
    if look.style == "bun":
        apart = chance.choice((0.0, 17.0))
        bun = chance.uniform(8, 10) - torch.hypot(x.abs() - apart, y + look.height + 5)
        drawing.paint(bun, look.hair, line=1.2, ink=ink)
    line = high + bend * x**2
    if look.style == "parted":
        line = high + 0.012 * (x - side * 14).abs() ** 2 - 3
    elif look.style == "fringe":
        line = high + 3 + 1.2 * torch.cos(x * 0.9)
    elif look.style == "spikes":
        line = high + 5 * ((x / 7) % 1 - 0.5).abs() - 2
        grown = grown + 7 * (0.5 - ((x / 9) % 1 - 0.5).abs()) * (y < -look.height * 0.5)
    inside = torch.minimum(grown, line - y)
    if look.style == "curly":
        curls = []
        for k in range(11):
            turn = math.pi * k / 10
            across, up = math.cos(turn) * look.width, math.sin(turn) * look.height
            size = 7.5 + 2 * chance.random()
            curls.append(size - torch.hypot(x - across, y + up - 1 if k not in (0, 10) else y + 4))
        inside = torch.maximum(inside, torch.stack(curls).amax(0))
    tone = look.hair + shade * _stripes(x + 0.04 * x * y, 6)
    drawing.paint(inside, tone.clamp(0, 1), line=1.2, ink=ink)


def _hat(drawing: _Drawing, look: _Look, chance: random.Random) -> None:
    x, y, ink = drawing.x, drawing.y, look.ink
    brim = -look.height + chance.uniform(8, 12)
    first, second = chance.uniform(0.1, 0.95), chance.uniform(0.1, 0.95)
    kind, side = chance.choice(_PATTERNS), chance.choice((-1, 1))
    cloth = _pattern(kind, x, y, chance.uniform(7, 12), (first, second))
    dome = torch.minimum(
        _ellipse(x, y - brim, look.width + 5, chance.uniform(24, 30), 2.4), brim - y
    )
    if look.hat == "beanie":
        drawing.paint(6 - torch.hypot(x, y - brim + 29), second, line=1.2, ink=ink)
        drawing.paint(dome, cloth, line=1.2, ink=ink)
        drawing.paint(_box(x, y - brim, look.width + 6, 4, 3), second, line=1.2, ink=ink)
    elif look.hat == "cap":
        drawing.paint(dome, cloth, line=1.2, ink=ink)
        drawing.paint(_box(x - side * 14, y - brim, 26, 3, 3), second, line=1.2, ink=ink)
    elif look.hat == "bowler":
        drawing.paint(dome, first, line=1.2, ink=ink)
        drawing.paint(_box(x, y - brim + 5, look.width + 4, 3), second)
        drawing.paint(_box(x, y - brim, look.width + 14, 3, 3), first, line=1.2, ink=ink)
    elif look.hat == "band":
        around = torch.minimum(4 - (y - brim - 0.006 * x**2).abs(), look.width + 4 - x.abs())
        drawing.paint(around, cloth, line=1.2, ink=ink)
    elif look.hat == "party":
        cone = torch.minimum(brim - y, (y - brim + 32) * 0.5 - x.abs())
        drawing.paint(cone, cloth, line=1.2, ink=ink)
        drawing.paint(4.5 - torch.hypot(x, y - brim + 31), second, line=1.2, ink=ink)


def _photograph(picture: Tensor, chance: random.Random, number: int) -> Tensor:
    """Return the picture in uneven light, exposed to a mean and a contrast, as grey values."""
    steps = torch.linspace(-1, 1, SIZE)
    turn, strength = chance.uniform(0, 2 * math.pi), chance.uniform(0, 0.35)
    picture = picture * (1 + strength * (math.sin(turn) * steps[:, None] + math.cos(turn) * steps))
    # As a camera does: how bright a picture is tells nothing of what is in it.
    mean, contrast = chance.uniform(0.4, 0.6), chance.uniform(0.17, 0.25)
    picture = mean + (picture - picture.mean()) * (contrast / picture.std())
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(number))
    picture = picture + chance.uniform(0.0005, 0.003) * noise
    return (255 * picture.clamp(0, 1)).round().to(torch.uint8)


def main(folder: Path) -> None:
    """Draw all faces into a folder: train/ and test/, and in each a folder for a class."""
    for part, count in COUNTS.items():
        for name in CLASSES:
            shutil.rmtree(folder / part / name, ignore_errors=True)
            (folder / part / name).mkdir(parents=True)
        for k in range(count):
            picture = face(FIRST[part] + k, upright=k % 2 == 1)
            path = folder / part / CLASSES[k % 2] / f"{k:03}.png"
            Image.fromarray(picture.numpy()).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "data" / "avatars")
