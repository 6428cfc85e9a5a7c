"""The drawn connections are those that the counts, and PyTorch's layers, say."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tools.figures.connections import connections, edges, parameters

KINDS = ["dense", "local", "shared"]


def test_dense_parameters_are_those_of_linear_layers() -> None:
    net = nn.Sequential(nn.Linear(16, 4), nn.Linear(4, 1))
    assert sum(parameters("dense")) == sum(p.numel() for p in net.parameters()) == 73


def test_shared_parameters_are_those_of_a_convolutional_layer() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 2, stride=2), nn.Linear(4, 1))
    assert sum(parameters("shared")) == sum(p.numel() for p in net.parameters()) == 10


def test_local_parameters_are_those_of_four_small_layers() -> None:
    nets = [*(nn.Linear(4, 1) for _ in range(4)), nn.Linear(4, 1)]
    assert sum(parameters("local")) == sum(p.numel() for n in nets for p in n.parameters()) == 25


def test_edges_are_distinct_and_go_to_every_hidden_value() -> None:
    for kind, each in zip(KINDS, [16, 4, 4], strict=True):
        found = edges(kind)
        assert len({(pixel, hidden) for pixel, hidden, _ in found}) == len(found) == 4 * each
        assert {pixel for pixel, _, _ in found} == set(range(16))


def test_shared_edges_calculate_a_convolution_of_stride_two() -> None:
    image, kernel = torch.randn(4, 4), torch.randn(2, 2)
    hidden = torch.zeros(4)
    for pixel, target, weight in edges("shared"):
        hidden[target] += kernel.flatten()[weight] * image.flatten()[pixel]
    expected = F.conv2d(image[None, None], kernel[None, None], stride=2).flatten()
    assert torch.allclose(hidden, expected, atol=1e-6)


@pytest.mark.parametrize(("kind", "total"), zip(KINDS, [73, 25, 10], strict=True))
def test_a_line_for_every_weight_and_the_count_below(kind: str, total: int) -> None:
    figure = connections(kind)
    (ax,) = figure.axes
    assert len(ax.lines) == len(edges(kind)) + 4
    assert figure.get_supxlabel().endswith(f"= {total} parameters")
    written = [text.get_text() for text in ax.texts]
    assert all(written.count(str(number)) == 2 for number in range(1, 17))
    assert written.count("a") == (5 if kind == "shared" else 0)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("function", [connections, edges, parameters])
def test_an_unknown_kind_is_refused(function: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match="expected kind 'dense', 'local', 'shared', got 'full'"):
        function("full")
