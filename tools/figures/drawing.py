"""What the figures share: how one becomes a picture, and pictures become an animation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

SECONDS = 2.5  # for each step of an animation


def rasterised(figure: Figure) -> Image.Image:
    """Return a figure as a picture of 100 dots per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    return Image.open(buffer).convert("RGB")


def save_animation(frames: Sequence[Image.Image], path: str | Path) -> None:
    """Write pictures as an animation that stops on the last one, and the first one as a still.

    Args:
        frames: The pictures, all of one size.
        path: Where to; `name.gif` gets `name-still.png` beside it.

    Raises:
        ValueError: There are no pictures.
    """
    if not frames:
        raise ValueError("an animation needs a picture or more, got none")
    path = Path(path)
    # One palette for all, so that colours do not flicker; without loop=, a GIF plays once.
    palette = frames[len(frames) // 2].quantize(128)
    coded = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    coded[0].save(
        path, save_all=True, append_images=coded[1:], duration=round(SECONDS * 1000), optimize=True
    )
    frames[0].save(path.with_name(f"{path.stem}-still.png"), optimize=True)
