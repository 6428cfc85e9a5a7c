"""Kernels with a name and a purpose. Each call returns a new float tensor of shape (height, width).

The signs are meant for cross-correlation, which is what `torch.nn.Conv2d` calculates.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cnnlib._checks import whole


def identity(size: int = 3) -> Tensor:
    """Return the kernel that changes nothing: 1 in the middle of size x size zeros (odd size)."""
    size = _odd(size)
    kernel = torch.zeros(size, size)
    kernel[size // 2, size // 2] = 1
    return kernel


def blur(size: int = 3) -> Tensor:
    """Return a blur of size x size pixels: binomial weights, which add up to 1 (odd size).

    Row `size - 1` of Pascal's triangle, times itself; for size 3 that is
    [[1, 2, 1], [2, 4, 2], [1, 2, 1]] / 16. It comes close to a Gaussian.

    Source: Jähne, Digital Image Processing, section 11.4.
    """
    size = _odd(size)
    row = torch.tensor([math.comb(size - 1, k) for k in range(size)], dtype=torch.float64)
    row = row / row.sum()
    return torch.outer(row, row).float()


def emboss() -> Tensor:
    """Return an emboss, 3x3: light seems to fall from the upper left; the weights add up to 1.

    Source: "emboss" among the kernels of Setosa's "Image Kernels explained visually".
    """
    return torch.tensor([[-2.0, -1.0, 0.0], [-1.0, 1.0, 1.0], [0.0, 1.0, 2.0]])


def edges() -> Tensor:
    """Return an outline, 3x3: 0 on even areas, large where a pixel differs from its neighbours.

    The negative of the discrete Laplacian over all eight neighbours; the weights add up to 0.

    Source: Gonzalez and Woods, Digital Image Processing, section 3.6.
    """
    return torch.tensor([[-1.0, -1.0, -1.0], [-1.0, 8.0, -1.0], [-1.0, -1.0, -1.0]])


def gradient_x() -> Tensor:
    """Return the horizontal gradient, 3x3: positive where it gets brighter from left to right.

    Source: Scharr, Optimale Operatoren in der Digitalen Bildverarbeitung (2000).
    """
    return torch.tensor([[-3.0, 0.0, 3.0], [-10.0, 0.0, 10.0], [-3.0, 0.0, 3.0]])


def gradient_y() -> Tensor:
    """Return the vertical gradient, 3x3: positive where it gets brighter from top to bottom.

    Source: Prewitt, Object Enhancement and Extraction (1970), here six times as large.
    """
    return torch.tensor([[-6.0, -6.0, -6.0], [0.0, 0.0, 0.0], [6.0, 6.0, 6.0]])


def _odd(size: int) -> int:
    if whole(size, "size", 1) % 2 == 0:
        raise ValueError(f"expected an odd size, so that one pixel is the middle, got {size}")
    return size
