"""Checks that every public function makes of its input, with messages that say what to do."""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor


def numbers(values: Any, name: str) -> Tensor:
    """Return values as a tensor of finite real numbers; the values themselves are never modified.

    Args:
        values: A tensor (kept as it is, gradients included), NumPy array, or nested list.
        name: What the caller calls them, for messages.

    Raises:
        TypeError: They are complex numbers, text, or no numbers at all.
        ValueError: There are none, rows differ in length, or one is NaN or infinite.
    """
    tensor = values if isinstance(values, Tensor) else _from_numpy(values, name)
    if tensor.is_complex():
        raise TypeError(
            f"expected real numbers for {name}, got complex ones ({tensor.dtype}): "
            f"take their size with .abs() or one part with .real"
        )
    if tensor.numel() == 0:
        raise ValueError(f"{name} is empty (shape {tuple(tensor.shape)}): it needs a value or more")
    if tensor.is_floating_point() and not (finite := torch.isfinite(tensor)).all():
        place = tuple((~finite).nonzero()[0].tolist())
        raise ValueError(
            f"{name} holds NaN or infinite values ({int((~finite).sum())} of {tensor.numel()}), "
            f"the first at index {place}: replace them, for example with torch.nan_to_num"
        )
    return tensor


def _from_numpy(values: Any, name: str) -> Tensor:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"the rows of {name} differ in length: {error}") from None
    if array.dtype.kind == "c":
        return torch.tensor(array)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"expected numbers for {name}, got {type(values).__name__} of type {array.dtype}: "
            f"convert it first, for example with numpy.asarray(values, dtype=float)"
        )
    if array.dtype.kind == "u" and array.dtype.itemsize > 2:
        array = array.astype(np.int64)  # torch calculates little with these
    if array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    # A copy: torch knows no negative strides, no foreign byte order, no read-only memory.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def matrix(values: Any, name: str) -> Tensor:
    """Return values as a checked tensor of shape (height, width)."""
    tensor = numbers(values, name)
    if tensor.ndim != 2:
        extra = tensor.ndim > 2 and all(size == 1 for size in tensor.shape[:-2])
        index = ", ".join("0" for _ in tensor.shape[:-2])
        hint = f": drop the leading axes with {name}[{index}]" if extra else ""
        raise ValueError(
            f"expected {name} of shape (height, width), got {tuple(tensor.shape)}{hint}"
        )
    return tensor


def whole(value: Any, name: str, least: int) -> int:
    """Return value as an int that is at least `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"expected a whole number for {name}, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be {least} or more, got {number}")
    return number


def pair(value: Any, name: str, least: int) -> tuple[int, int]:
    """Return an int, or a pair of them, as (vertical, horizontal)."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return (whole(value, name, least),) * 2
    if len(value) != 2:
        raise ValueError(
            f"expected {name} as one number or a pair (vertical, horizontal), got {value!r}"
        )
    return whole(value[0], name, least), whole(value[1], name, least)


def number(value: Any, name: str) -> float:
    """Return value as a float that is finite and at least 0."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"expected a number for {name}, got {value!r}")
    if not 0 <= value < math.inf:  # type: ignore[operator]
        raise ValueError(f"{name} must be 0 or more, and finite, got {value}")
    return float(value)


def whole_number(value: Any, name: str, least: int) -> int:
    """Return value as an int that is at least `least`; True and False are none."""
    number(value, name)
    return whole(value, name, least)


def one_of(value: Any, name: str, known: tuple[str, ...]) -> str:
    """Return value if it is one of the known words."""
    if value not in known:
        names = " or ".join(map(repr, known))
        raise ValueError(f"expected {name} to be {names}, got {value!r}")
    return str(value)
