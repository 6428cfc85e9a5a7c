"""An image file or array, as a checked tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from cnnlib._checks import numbers
from cnnlib._files import PROJECT as PROJECT

BRIGHTNESS = (0.299, 0.587, 0.114)  # shares of red, green and blue in it, by ITU-R BT.601


def find_image(name: str | Path) -> Path:
    """Return where a picture file is, so that a notebook finds it from any working directory.

    First used in lecture 5.

    Args:
        name: A whole path, or one below the working directory or, where it is not there, below the
            project's folder. A package that is installed without the project carries the
            photographs of the lectures, as `img/cat.png` and `img/bricks.png`.

    Returns:
        The path of the file.

    Raises:
        FileNotFoundError: There is no such file in either place.
    """
    for path in (Path(name), PROJECT / name):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"no image file {str(name)!r} in the working directory or in the project's folder: "
        f"check the spelling, or give the whole path"
    )


def load_image(path: str | Path | BinaryIO, *, grey: bool = False) -> Tensor:
    """Read a picture file into a float tensor with values from 0 (black) to 1 (white).

    First used in lecture 1.

    Args:
        path: A file that Pillow can read, such as PNG or JPEG, found as by `find_image`. Or such
            a file, opened in binary mode.
        grey: Whether to return brightness alone.

    Returns:
        Shape (height, width) with `grey=True`, else (3, height, width): red, green, blue. What is
        transparent becomes white, and a photo that a camera marked as rotated is turned upright.

    Raises:
        FileNotFoundError: There is no such file in either place.
        ValueError: The file is no picture, a broken one, or one of 32 bits per channel.
    """
    from PIL import Image, ImageOps

    found: Path | BinaryIO
    if isinstance(path, str | Path):
        found = find_image(path)
    else:
        found, path = path, "the opened file"
    try:
        with Image.open(found) as file:
            picture = ImageOps.exif_transpose(file)
            opaque = "transparency" not in picture.info
            if picture.mode.startswith("I;16") or (picture.mode == "L" and opaque):
                pixels = np.asarray(picture)
            elif picture.mode in ("I", "F"):
                raise ValueError(
                    f"{str(path)!r} holds 32-bit values, and nothing says which of them is white: "
                    f"read it with numpy.asarray(PIL.Image.open(...)) and scale it to 0..1"
                )
            else:  # channels first, so that a height of 3 or 4 is not taken for the channels
                pixels = np.asarray(picture.convert("RGBA")).transpose(2, 0, 1)
    except (OSError, SyntaxError) as error:  # no picture, or half of one
        raise ValueError(f"{str(path)!r} is not a picture that Pillow can read: {error}") from None
    image = as_image(pixels)
    if grey:
        return to_grey(image)
    return image if image.ndim == 3 else image.expand(3, -1, -1).clone()


def as_image(values: Any, name: str = "image") -> Tensor:
    """Return a picture as a new float32 tensor, channels first; values of 8 or 16 bits go to 0..1.

    Args:
        values: Shape (height, width), (channels, height, width) or (height, width, channels) with
            1, 3 or 4 channels: a tensor, array or nested list. Where both could be meant, as in
            (3, 100, 3), the first axis is the channels. A fourth channel is opacity: what is
            transparent becomes white.
        name: What the caller calls it, for messages.

    Returns:
        Shape (height, width), or (3, height, width) for colour.

    Raises:
        TypeError: The values are complex numbers or text.
        ValueError: The shape is not a picture's, or values are NaN or infinite.
    """
    tensor = numbers(values, name).detach().cpu()
    depth = {torch.uint8: 255, torch.uint16: 65535}.get(tensor.dtype, 1)
    image = tensor.to(torch.float32, copy=True) / depth
    if image.ndim == 3 and image.shape[0] not in (1, 3, 4) and image.shape[2] in (1, 3, 4):
        image = image.permute(2, 0, 1).contiguous()
    if image.ndim == 2:
        return image
    if image.ndim != 3 or image.shape[0] not in (1, 3, 4):
        batch = image.ndim == 4 and image.shape[0] == 1
        hint = f": drop the batch axis with {name}[0]" if batch else ""
        raise ValueError(
            f"expected {name} of shape (height, width), (channels, height, width) or "
            f"(height, width, channels) with 1, 3 or 4 channels, got {tuple(image.shape)}{hint}"
        )
    if image.shape[0] == 4:
        opacity = image[3]
        image = image[:3] * opacity + (1 - opacity)
    return image[0] if image.shape[0] == 1 else image


def to_grey(image: Tensor) -> Tensor:
    """Return the brightness of a picture: 0.299 red + 0.587 green + 0.114 blue.

    First used in lecture 5.

    Args:
        image: Shape (height, width), returned as it is, or (3, height, width).

    Returns:
        Shape (height, width).

    Source: ITU-R BT.601, also Pillow's mode "L".
    """
    if image.ndim == 2:
        return image
    weights = torch.tensor(BRIGHTNESS, dtype=torch.float64)
    return torch.einsum("c,chw->hw", weights, image.double()).to(image.dtype)
