"""Letters as templates: small signed pictures."""

from __future__ import annotations

import torch
from torch import Tensor

_LETTERS = {
    "C": (".####", "#....", "#....", "#....", "#....", "#....", ".####"),
    "D": ("####.", "#...#", "#...#", "#...#", "#...#", "#...#", "####."),
    "O": (".###.", "#...#", "#...#", "#...#", "#...#", "#...#", ".###."),
    "T": ("#####", "..#..", "..#..", "..#..", "..#..", "..#..", "..#.."),
    "X": ("#...#", "#...#", ".#.#.", "..#..", ".#.#.", "#...#", "#...#"),
}


def letters() -> dict[str, Tensor]:
    """Return five letters as signed pictures: ink (black) is +1, paper (white) is -1.

    First used in lecture 3.

    Returns:
        Each letter's name, and its picture of shape (7, 5).

    Source: drawn for this course on the 5x7 grid of dot-matrix displays, after the letters that
    Yann LeCun detects with templates in his introductory slides on convolutional networks.
    """
    return {
        name: torch.tensor([[1.0 if dot == "#" else -1.0 for dot in row] for row in rows])
        for name, rows in _LETTERS.items()
    }
