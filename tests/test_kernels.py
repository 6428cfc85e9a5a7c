"""Kernels have the values that were published, and every call makes new ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from cnnlib import kernels
from cnnlib.convolution import corr2d

PUBLISHED = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "blur": [[1 / 16, 2 / 16, 1 / 16], [2 / 16, 4 / 16, 2 / 16], [1 / 16, 2 / 16, 1 / 16]],
    "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
    "edges": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
    "gradient_x": [[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]],
    "gradient_y": [[-6, -6, -6], [0, 0, 0], [6, 6, 6]],
}
SUMS = {"identity": 1, "blur": 1, "emboss": 1, "edges": 0, "gradient_x": 0, "gradient_y": 0}


def call(name: str) -> Tensor:
    kernel: Tensor = getattr(kernels, name)()
    return kernel


@pytest.mark.parametrize("name", PUBLISHED)
def test_values(name: str) -> None:
    assert torch.equal(call(name), torch.tensor(PUBLISHED[name], dtype=torch.float32))


@pytest.mark.parametrize("name", SUMS)
def test_flat_areas_are_scaled_by_the_sum(name: str) -> None:
    assert corr2d(torch.full((3, 3), 0.5), call(name)).item() == SUMS[name] / 2


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_call_returns_a_new_tensor(name: str) -> None:
    call(name).fill_(7)
    assert torch.equal(call(name), torch.tensor(PUBLISHED[name], dtype=torch.float32))


@pytest.mark.parametrize(("kernel", "along"), [(kernels.gradient_x, 1), (kernels.gradient_y, 0)])
def test_gradients_are_positive_where_it_gets_brighter(
    kernel: Callable[[], Tensor], along: int
) -> None:
    ramp = torch.arange(3.0).expand(3, 3) if along else torch.arange(3.0)[:, None].expand(3, 3)
    assert corr2d(ramp, kernel()).item() > 0
    assert corr2d(ramp.T, kernel()).item() == 0


def test_blur_of_five() -> None:
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0])
    assert torch.equal(kernels.blur(5), torch.outer(row, row) / 256)


@pytest.mark.parametrize("size", [1, 3, 7, 51])
def test_sizes(size: int) -> None:
    blur = kernels.blur(size)
    assert blur.shape == (size, size)
    assert blur.sum().item() == pytest.approx(1)
    assert torch.equal(blur, blur.flip(0, 1))
    assert torch.equal(blur, blur.T)
    image = torch.rand(size, size)
    assert corr2d(image, kernels.identity(size)).item() == image[size // 2, size // 2]


@pytest.mark.parametrize("kernel", [kernels.identity, kernels.blur])
@pytest.mark.parametrize(
    ("size", "error", "words"),
    [
        (2, ValueError, "odd size.* got 2"),
        (0, ValueError, "size must be 1 or more, got 0"),
        (-3, ValueError, "size must be 1 or more, got -3"),
        (3.0, TypeError, "whole number for size, got 3.0"),
        ("3", TypeError, "whole number for size, got '3'"),
        ((3, 3), TypeError, "whole number for size"),
    ],
)
def test_refuses_a_size(
    kernel: Callable[[Any], Tensor], size: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        kernel(size)
