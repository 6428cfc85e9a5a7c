"""Cross-correlation and convolution of one channel: the operation, its output size, its layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlib._checks import matrix, pair

Size = int | Sequence[int]  # one number for both directions, or (vertical, horizontal)


def output_size(
    n: Size, kernel: Size, padding: Size = 0, stride: Size = 1, dilation: Size = 1
) -> int | tuple[int, int]:
    """Return how many places a kernel takes on an input: `(n + 2p - d(k - 1) - 1) // s + 1`.

    Every argument is an int, or a pair (vertical, horizontal); one pair makes the result a pair.

    First used in lecture 3.

    Args:
        n: Input size in pixels.
        kernel: Kernel size in pixels.
        padding: Pixels added on each of the two sides.
        stride: Pixels from one place of the kernel to the next.
        dilation: Pixels from one value of the kernel to the next.

    Returns:
        The output size in pixels, an int or a pair.

    Raises:
        TypeError: A number is fractional, or no number.
        ValueError: A number is too small, or the kernel larger than the padded input.

    Source: the formula in the documentation of `torch.nn.Conv2d`.
    """
    settings = (n, kernel, padding, stride, dilation)
    names = ("input size", "kernel size", "padding", "stride", "dilation")
    least = (1, 1, 0, 1, 1)
    pairs = [pair(*setting) for setting in zip(settings, names, least, strict=True)]
    height, width = (_places(*axis) for axis in zip(*pairs, strict=True))
    single = all(not hasattr(setting, "__len__") for setting in settings)
    return height if single else (height, width)


def _places(n: int, kernel: int, padding: int, stride: int, dilation: int) -> int:
    padded, reach = n + 2 * padding, dilation * (kernel - 1) + 1
    if reach > padded:
        raise ValueError(
            f"the kernel reaches over {reach} pixels and the padded input has only {padded}: "
            f"use a smaller kernel or dilation, or a padding of {-((n - reach) // 2)} or more"
        )
    return (padded - reach) // stride + 1


def corr2d(X: Any, K: Any, *, padding: Size = 0, stride: Size = 1, dilation: Size = 1) -> Tensor:
    """Slide the kernel K over X, multiply what overlaps and add it up: 2-D cross-correlation.

    This is what deep learning calls convolution, as a loop that anyone can read.

    Written out in lecture 2.

    Args:
        X: Input of shape (height, width): a tensor, array or nested list of real numbers.
        K: Kernel of shape (kernel height, kernel width).
        padding: Rows and columns of zeros added on each side, an int or a pair.
        stride: Pixels from one place of the kernel to the next, an int or a pair.
        dilation: Pixels from one value of the kernel to the next, an int or a pair.

    Returns:
        A tensor of the shape that `output_size` gives; whole numbers stay whole (int64).

    Raises:
        TypeError: X or K holds complex numbers or text, or a setting is fractional.
        ValueError: X or K is empty, not two-dimensional or not finite, the kernel is larger than
            the padded input, or a setting is negative.

    Source: the six-line `corr2d` of Zhang et al., Dive into Deep Learning, section 7.2.
    """
    X, K, (rows, columns), (h, w) = _prepare(X, K, padding, stride, dilation)
    (down, right), (step_v, step_h) = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
    Y = torch.zeros(rows, columns, dtype=torch.promote_types(X.dtype, K.dtype), device=X.device)
    for i in range(rows):
        for j in range(columns):
            top, left = i * down, j * right
            Y[i, j] = (X[top : top + h : step_v, left : left + w : step_h] * K).sum()
    return Y


def corr2d_unfold(
    X: Any, K: Any, *, padding: Size = 0, stride: Size = 1, dilation: Size = 1
) -> Tensor:
    """Do what `corr2d` does without a loop in Python: all windows at once, times the kernel.

    `Tensor.unfold` shows the input as one window of the kernel's size for every place, without
    copying; `torch.einsum` multiplies and adds. Arguments, result and errors are those of `corr2d`.

    First used in lecture 10.
    """
    X, K, _, (h, w) = _prepare(X, K, padding, stride, dilation)
    (down, right), (step_v, step_h) = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
    windows = X.unfold(0, h, down).unfold(1, w, right)[:, :, ::step_v, ::step_h]
    dtype = torch.promote_types(X.dtype, K.dtype)
    return torch.einsum("ijab,ab->ij", windows.to(dtype), K.to(dtype))


def conv2d(X: Any, K: Any, *, padding: Size = 0, stride: Size = 1, dilation: Size = 1) -> Tensor:
    """Convolve X with K as mathematics does: `corr2d` with the kernel flipped in both directions.

    Arguments, result and errors are those of `corr2d`.
    """
    K = matrix(K, "K")
    flipped = (K if K.is_floating_point() else K.long()).flip(0, 1)  # older PyTorch: not all types
    return corr2d(X, flipped, padding=padding, stride=stride, dilation=dilation)


def _prepare(
    X: Any, K: Any, padding: Size, stride: Size, dilation: Size
) -> tuple[Tensor, Tensor, tuple[int, int], tuple[int, int]]:
    """Check X and K; return X padded, K, the output's shape, and how far K reaches."""
    X, K = matrix(X, "X"), matrix(K, "K")
    steps = pair(dilation, "dilation", 1)
    shape = output_size(tuple(X.shape), tuple(K.shape), padding, stride, steps)
    assert isinstance(shape, tuple)
    # Sums of products of small whole numbers do not fit into their own type.
    X, K = (values if values.is_floating_point() else values.long() for values in (X, K))
    vertical, horizontal = pair(padding, "padding", 0)
    X = F.pad(X, (horizontal, horizontal, vertical, vertical))
    reach = tuple(step * (size - 1) + 1 for step, size in zip(steps, K.shape, strict=True))
    return X, K, shape, (reach[0], reach[1])


class Conv2D(nn.Module):
    """A convolutional layer of one channel: `corr2d` with a kernel and a bias that are learned.

    Args:
        kernel_size: Size of the kernel in pixels, an int or a pair (height, width).

    Attributes:
        weight: The kernel, shape (height, width); starts uniform between 0 and 1.
        bias: One number, shape (1,), added everywhere; starts at 0.

    Source: Zhang et al., Dive into Deep Learning, section 7.2.
    """

    def __init__(self, kernel_size: Size) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(pair(kernel_size, "kernel_size", 1)))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, X: Tensor) -> Tensor:
        """Return `corr2d(X, weight) + bias` for an X of shape (height, width)."""
        return corr2d(X, self.weight) + self.bias
