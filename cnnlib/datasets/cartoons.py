"""Cartoon faces in two classes, from picture files."""

from __future__ import annotations

from pathlib import Path

import torch

from cnnlib._files import PROJECT
from cnnlib.datasets.labelled import Labelled

_FOLDER = PROJECT / "data" / "avatars"
_SIZE = 128  # height and width of a picture in pixels


def avatars(folder: str | Path = _FOLDER) -> tuple[Labelled, Labelled]:
    """Return cartoon faces to train and to test on; their shirts have stripes, of two kinds.

    Class 0 wears stripes across, class 1 upright ones; both are equally frequent, and everything
    else (hair, hats, glasses, place, size, tilt, light) has nothing to do with the class. A folder
    of your own works as well: it holds `train` and `test`, both with the same folders, one for
    each class, and in these pictures of 128 × 128 pixels. Classes are counted in the order of
    their names, and colours become grey.

    First used in lecture 13.

    Args:
        folder: Where the pictures lie; the faces of the course if it is left out.

    Returns:
        Pictures to train on, and others to test on. Images have shape (count, 1, 128, 128); of
        the faces of the course there are 800 and 300.

    Raises:
        FileNotFoundError: train or test is missing, or holds no folder of a class, or a class
            holds no picture.
        ValueError: train and test differ in their classes, or a picture cannot be read, or has
            another size.

    Source: drawn for this course by `tools/avatars.py`.
    """
    train, classes = _read(Path(folder) / "train")
    test, others = _read(Path(folder) / "test")
    if classes != others:
        raise ValueError(
            f"{folder} has the classes {classes} in train and {others} in test: "
            f"make the same folders in both"
        )
    return train, test


def _read(folder: Path) -> tuple[Labelled, list[str]]:
    # Loading torchvision takes longer than the rest of the package.
    from PIL import Image
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.functional import pil_to_tensor

    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder}: make one, and in it a folder of pictures for each class"
        )
    if not any(path.is_dir() for path in folder.iterdir()):
        raise FileNotFoundError(
            f"{folder} holds no class: make a folder in it for each class, and put pictures there"
        )

    def picture(path: str) -> torch.Tensor:
        try:
            with Image.open(path) as file:
                grey = file.convert("L")
        except (OSError, SyntaxError) as error:
            raise ValueError(
                f"{path} cannot be read as a picture ({error}): remove or replace it"
            ) from None
        if grey.size != (_SIZE, _SIZE):
            raise ValueError(
                f"expected pictures of {_SIZE} × {_SIZE} pixels, got {grey.width} × {grey.height} "
                f"in {path}: cut or resize it first"
            )
        pixels: torch.Tensor = pil_to_tensor(grey)
        return pixels

    # ImageFolder names in its own message the classes that are empty.
    files = ImageFolder(str(folder), loader=picture)
    images = torch.stack([image for image, _ in files]).float() / 255
    return Labelled(images, torch.tensor(files.targets)), files.classes
