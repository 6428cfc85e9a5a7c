"""What explorers show on the page, as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from playwright.sync_api import Locator

READ = """async (image) => {
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.getContext("2d").drawImage(image, 0, 0);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return [canvas.height, canvas.width, Array.from(data)];
}"""


def pixels(image: Locator) -> Any:
    """Return the pixels of an `<img>`, shape (height, width, 3), values from 0 to 255."""
    height, width, values = image.evaluate(READ)
    return np.array(values).reshape(height, width, 4)[..., :3]


def caption(output: Locator) -> Locator:
    """Return the line that tells what an explorer shows."""
    return output.locator(".cnnlib-picture figcaption").last
