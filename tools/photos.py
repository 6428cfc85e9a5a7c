"""Make the photographs in img/ from pictures that scikit-image ships (see img/README.md)."""

from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

IMG = Path(__file__).resolve().parent.parent / "img"


def cat() -> Image.Image:
    """Return the cat's face, 100x100, RGBA with equal grey channels and full opacity."""
    left, top, size = 75, 0, 300
    face = Image.fromarray(data.chelsea()).crop((left, top, left + size, top + size))
    grey = np.asarray(face.convert("L").resize((100, 100), Image.Resampling.LANCZOS))
    return Image.fromarray(np.dstack([grey, grey, grey, np.full_like(grey, 255)]))


def bricks() -> Image.Image:
    """Return part of a brick wall, 100x100, grey."""
    return Image.fromarray(data.brick()[:300, :300]).resize((100, 100), Image.Resampling.LANCZOS)


def main() -> None:
    """Write the files."""
    for name, picture in {"cat.png": cat(), "bricks.png": bricks()}.items():
        picture.save(IMG / name, optimize=True)


if __name__ == "__main__":
    main()
