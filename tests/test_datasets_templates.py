"""The letters are what the lecture on templates counts on."""

from __future__ import annotations

from itertools import combinations

import torch

from cnnlib.datasets import letters


def test_five_different_letters_of_ink_and_paper() -> None:
    pictures = letters()
    assert list(pictures) == ["C", "D", "O", "T", "X"]
    for picture in pictures.values():
        assert picture.shape == (7, 5)
        assert picture.dtype == torch.float32
        assert set(picture.flatten().tolist()) == {-1, 1}
    assert not any(torch.equal(a, b) for a, b in combinations(pictures.values(), 2))


def test_shapes_of_the_letters() -> None:
    pictures = letters()
    assert all(torch.equal(pictures[name], pictures[name].flip(0)) for name in "CDOX")
    assert all(torch.equal(pictures[name], pictures[name].flip(1)) for name in "OTX")
    assert (pictures["T"] > 0).sum() == 5 + 6


def test_each_call_returns_new_tensors() -> None:
    for picture in letters().values():
        picture.fill_(7)
    assert all((picture.abs() == 1).all() for picture in letters().values())
