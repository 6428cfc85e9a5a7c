"""Draws the pictures in img/; an animation has its first step beside it as a still.

`python -m tools.figures` (or `make figures`) draws them all again. Each module draws one kind,
and its `draw` writes the files of the course.
"""

from __future__ import annotations

from tools.figures import (
    architectures,
    arithmetic,
    channels,
    connections,
    fields,
    pooling,
    sliding,
)
from tools.figures.drawing import SECONDS, save_animation
from tools.figures.sliding import sliding_kernel

MODULES = (connections, sliding, arithmetic, channels, pooling, architectures, fields)

__all__ = ["MODULES", "SECONDS", "save_animation", "sliding_kernel"]
