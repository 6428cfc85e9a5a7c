"""Images and what they show."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Labelled(NamedTuple):
    """Images and their labels, as two tensors; `images, labels = train` takes them apart.

    Attributes:
        images: Shape (count, channels, height, width), float32 from 0 to 1.
        labels: Shape (count,), int64: the class of each image, counted from 0.
    """

    images: Tensor
    labels: Tensor
