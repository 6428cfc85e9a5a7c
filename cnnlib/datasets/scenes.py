"""Drawn scenes in which one person is to be found."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor

from cnnlib._checks import whole

Colour = tuple[float, float, float]  # red, green, blue, from 0 to 1
Cloth = tuple[Colour, Colour, str]  # two colours, and how they are laid out

_RED, _WHITE, _BLUE = (0.84, 0.10, 0.14), (0.97, 0.97, 0.95), (0.10, 0.26, 0.74)
_YELLOW, _BLACK, _TEAL = (0.93, 0.76, 0.18), (0.13, 0.13, 0.16), (0.05, 0.55, 0.52)
_VIOLET, _GREY, _ORANGE = (0.45, 0.28, 0.62), (0.58, 0.60, 0.63), (0.91, 0.50, 0.13)
_LEAF, _PINK, _BROWN = (0.16, 0.42, 0.18), (0.93, 0.60, 0.70), (0.42, 0.26, 0.14)
_SKINS = ((0.97, 0.82, 0.70), (0.86, 0.66, 0.50), (0.62, 0.43, 0.30), (0.40, 0.27, 0.19))
_HAIRS = (_BLACK, _BROWN, (0.80, 0.62, 0.28), (0.70, 0.70, 0.70))
_PLAIN = (_BLUE, _YELLOW, _TEAL, _VIOLET, _GREY, _ORANGE, _LEAF, _PINK, _WHITE, _BLACK)
_WALDO = (_RED, _WHITE, "across")
# Who looks like him in part: shirt and hat, one of them is worn by every fourth person.
_DECOYS: tuple[tuple[Cloth, Cloth], ...] = (
    ((_RED, _RED, "plain"), (_RED, _RED, "plain")),
    ((_RED, _RED, "plain"), (_WHITE, _WHITE, "plain")),
    ((_BLUE, _WHITE, "across"), (_BLUE, _WHITE, "across")),
    ((_BLACK, _WHITE, "across"), (_BLACK, _WHITE, "across")),
    ((_RED, _WHITE, "upright"), (_RED, _WHITE, "upright")),
    ((_LEAF, _LEAF, "plain"), _WALDO),
)


def crowd(
    seed: int, *, edge: bool = False, height: int = 200, width: int = 300
) -> tuple[Tensor, tuple[int, int]]:
    """Draw a crowd in which exactly one person, Waldo, wears red and white stripes.

    Everybody is about 40 pixels tall and 17 wide, as Waldo is; the 31 rows and 17 columns around
    his centre hold his hat, face and shirt. A quarter of the others wear a part of what he does: a
    red shirt, his stripes in other colours, or upright. Sizes differ by a few percent, people
    hide each other a little, light falls unevenly, and every value is a little noisy.

    First used in lecture 10.

    Args:
        seed: Which crowd, a whole number from 0 up: the same one gives the same picture.
        edge: Whether Waldo stands at the edge of the picture, which cuts a part of him off.
        height: Height of the picture in pixels, 100 or more.
        width: Width of the picture in pixels, 100 or more.

    Returns:
        The picture, shape (3, height, width), float32 from 0 to 1; and Waldo's centre as (row,
        column) in pixels. It is 15 rows and 8 columns or more from every edge, or with
        `edge=True` only 9 to 11 rows, or 3 to 4 columns, from one of them.

    Raises:
        TypeError: The seed or a size is fractional, or no number.
        ValueError: The seed is negative, or a size below 100.

    Source: drawn for this course, after the question that Martin Handford's picture books ask.
    """
    seed = whole(seed, "seed", 0)
    height, width = whole(height, "height", 100), whole(width, "width", 100)
    chance = random.Random(seed)
    places = [
        (row + int(chance.uniform(-2, 3)), column + (k % 2) * 9 + int(chance.uniform(-2, 3)))
        for k, row in enumerate(range(-8, height + 16, 27))
        for column in range(-8, width + 16, 19)
    ]
    waldo = _waldos_place(chance, edge, height, width, places)
    # He takes the place of the person next to it; who stands further down hides who is behind.
    places.remove(min(places, key=lambda place: math.dist(place, waldo)))
    picture = torch.empty(3, height, width)
    for values, level in zip(picture, (0.62, 0.76, 0.47), strict=True):
        values.fill_(level)  # grass
    for place in sorted([*places, waldo]):
        look = (_WALDO, _WALDO) if place == waldo else _clothes(chance)
        _person(picture, place, look, chance, glasses=place == waldo)
    direction = chance.uniform(0, 2 * math.pi)
    down = torch.linspace(-1, 1, height)[:, None] * math.sin(direction)
    across = torch.linspace(-1, 1, width) * math.cos(direction)
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(seed))
    picture = picture * (0.95 + 0.05 * (down + across)) + 0.03 * noise
    return picture.clamp(0, 1), waldo


def _waldos_place(
    chance: random.Random,
    edge: bool,
    height: int,
    width: int,
    places: Sequence[tuple[int, int]],
) -> tuple[int, int]:
    """Choose where Waldo stands: where someone else would, or at one of the four edges."""
    inside = [p for p in places if 15 <= p[0] < height - 15 and 8 <= p[1] < width - 8]
    row, column = inside[int(chance.random() * len(inside))]
    if not edge:
        return row, column
    side, rows, columns = int(4 * chance.random()), *(int(chance.uniform(*r)) for r in _CUT)
    at_edge = {0: (rows, column), 1: (height - 1 - rows, column), 2: (row, columns)}
    return at_edge.get(side, (row, width - 1 - columns))


_CUT = ((9, 12), (3, 5))  # pixels from the edge to his centre: rows, columns


def _clothes(chance: random.Random) -> tuple[Cloth, Cloth | None]:
    """Choose a shirt and a hat, or no hat, other than Waldo's."""
    if chance.random() < 1 / 4:
        return _DECOYS[int(chance.random() * len(_DECOYS))]
    first, second, hat = (_PLAIN[int(chance.random() * len(_PLAIN))] for _ in range(3))
    layout = ("plain", "plain", "across", "upright", "dots")[int(5 * chance.random())]
    return (first, second, layout), (hat, hat, "plain") if chance.random() < 0.3 else None


def _person(
    picture: Tensor,
    centre: tuple[int, int],
    look: tuple[Cloth, Cloth | None],
    chance: random.Random,
    *,
    glasses: bool,
) -> None:
    """Paint a person into the picture, from the feet to the hat."""
    shirt, hat = look
    skin, hair = (them[int(4 * chance.random())] for them in (_SKINS, _HAIRS))
    trousers = _PLAIN[int(chance.random() * len(_PLAIN))]
    if glasses:
        skin, hair, trousers = _SKINS[0], _BROWN, _BLUE
    cover, share = _shapes(0.96 + 0.04 * int(3 * chance.random()))
    top, left = centre[0] - _ABOVE, centre[1] - _BESIDE
    part = picture[:, max(0, top) : max(0, top + _TALL), max(0, left) : max(0, left + _WIDE)]
    rows = slice(max(0, -top), max(0, -top) + part.shape[1])
    columns = slice(max(0, -left), max(0, -left) + part.shape[2])

    def plain(colour: Colour) -> Cloth:
        return colour, colour, "plain"

    def paint(shape: str, cloth: Cloth) -> None:
        first, second = (torch.tensor(colour)[:, None, None] for colour in cloth[:2])
        if cloth[2] != "plain":
            first = second + share[cloth[2]][rows, columns] * (first - second)
        part.add_(cover[shape][rows, columns] * (first - part))

    worn = {"legs": plain(trousers), "shoes": plain(_BROWN), "shirt": shirt, "hands": plain(skin)}
    worn |= {"hair": plain(hair), "face": plain(skin)}
    if glasses:
        worn |= {"rims": plain(_BLACK), "lenses": plain(_WHITE)}
    worn["eyes"] = plain(_BLACK)
    if hat is not None:
        worn |= {"hat": hat, "bobble": plain(hat[0])}
    for shape, cloth in worn.items():
        paint(shape, cloth)


_TALL, _WIDE, _ABOVE, _BESIDE = 50, 27, 20, 13  # of what a person is drawn on, in pixels


@functools.cache
def _shapes(size: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return how much of each pixel a part of a person covers, and patterns of cloth, 0 to 1."""
    y = ((torch.arange(_TALL)[:, None] - _ABOVE) / size).expand(_TALL, _WIDE)
    x = ((torch.arange(_WIDE) - _BESIDE) / size).expand(_TALL, _WIDE)
    both = x.abs()  # left and right alike
    # Distances to the border in pixels, positive inside.
    inside = {
        "legs": torch.minimum(torch.minimum(y - 14, 25 - y), 2.4 - (both - 3).abs()),
        "shoes": torch.minimum(torch.minimum(y - 24, 26 - y), 2.4 - (both - 3).abs()),
        "shirt": torch.minimum(8.3 - both - torch.relu(3 - y) ** 2 / 3, 15 - y),
        "hands": 2.0 - torch.hypot(both - 8, y - 13),
        "hair": 6.0 - torch.hypot(x, y + 5.5),
        "face": 5.0 - torch.hypot(x, y + 4.5),
        "rims": 2.2 - torch.hypot(both - 2.2, y + 4.5),
        "lenses": 1.2 - torch.hypot(both - 2.2, y + 4.5),
        "eyes": 0.9 - torch.hypot(both - 2.2, y + 4.5),
        "hat": torch.minimum(6.6 - torch.hypot(x, y + 7.5), -7.5 - y),
        "bobble": 1.6 - torch.hypot(x, y + 14.5),
    }
    wave = 2 * math.pi / 8
    patterns = {
        "across": 0.5 - 2 * torch.sin(wave * (y + 0.5)),
        "upright": 0.5 + 2 * torch.cos(2 * math.pi / 6 * x),
        "dots": torch.hypot(y % 5 - 2.5, x % 5 - 2.5) - 0.6,
    }
    return (
        {name: (distance + 0.5).clamp(0, 1) for name, distance in inside.items()},
        {name: share.clamp(0, 1) for name, share in patterns.items()},
    )
