"""Numbers in pictures are short and say what they mean."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cnnlib.style import format_value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12, "12"),
        (100, "100"),
        (0.0625, "0.0625"),
        (-1 / 3, "−0.333"),
        (-0.0, "0"),
        (999.4, "999"),
        (999.9, "1000"),
        (-123456.7, "−123457"),
        (0.00001234, "0.0000123"),
        (torch.tensor(2.5), "2.5"),
    ],
)
def test_format_value(value: float | Tensor, text: str) -> None:
    assert format_value(value) == text
