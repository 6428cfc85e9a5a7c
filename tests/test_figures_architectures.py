"""Layers are traced as PyTorch runs them, and every one of them has its box and its numbers."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from torch import nn
from torchvision import models

from cnnlib.convolution import output_size
from tools.figures.architectures import architecture_diagram, trace_layers

FACES = 3  # of a box that are seen


@pytest.fixture(scope="module")
def alexnet() -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = models.alexnet(weights=None)
    return model


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = models.resnet18(weights=None)
    return model


def words(figure: Figure) -> str:
    ax = figure.axes[0]
    return "\n".join([ax.get_title(), *(text.get_text() for text in ax.texts)])


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 4), st.integers(4, 12))
def test_shapes_and_counts_are_those_of_the_formulas(i: int, o: int, k: int, size: int) -> None:
    model = nn.Sequential(nn.Conv2d(i, o, k), nn.ReLU(), nn.Flatten())
    places = output_size(size, k)
    assert isinstance(places, int)
    traced = trace_layers(model, size, i)
    assert [layer.kind for layer in traced] == ["Conv2d", "ReLU", "Flatten"]
    assert traced[0].shape == (o, places, places)
    assert traced[2].shape == (o * places * places,)
    assert [layer.parameters for layer in traced] == [o * i * k * k + o, 0, 0]


def test_alexnet_is_what_torchvision_documents(alexnet: nn.Module) -> None:
    traced = trace_layers(alexnet)
    assert sum(layer.parameters for layer in traced) == 61_100_840
    assert [layer.name for layer in traced][:2] == ["features.0", "features.1"]
    # Krizhevsky, One weird trick (2014): five convolutions, three dense layers.
    kinds = [layer.kind for layer in traced]
    assert (kinds.count("Conv2d"), kinds.count("Linear"), kinds.count("MaxPool2d")) == (5, 3, 3)
    shapes = [layer.shape for layer in traced if layer.kind == "Conv2d"]
    assert shapes == [(64, 55, 55), (192, 27, 27), (384, 13, 13), (256, 13, 13), (256, 13, 13)]


def test_resnet_has_the_stages_of_its_paper(resnet18: nn.Module) -> None:
    traced = trace_layers(resnet18)
    assert sum(layer.parameters for layer in traced) == 11_689_512
    # He et al., Deep residual learning (2015), table 1.
    stages = [layer.shape for layer in traced if layer.label == "2 blocks"]
    assert stages == [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]
    last = [layer.shape for layer in trace_layers(resnet18, 96) if layer.label == "2 blocks"][-1]
    assert last == (512, 3, 3)


def test_tracing_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trace_layers(model, 8)
    assert [part.training for part in model] == [True, True, False]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(part._forward_hooks for part in model)


def test_hooks_are_removed_when_the_model_fails() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3))
    with pytest.raises(RuntimeError, match="channels"):
        trace_layers(model, 8)
    assert not model[0]._forward_hooks


def test_the_pictures_show_every_box_and_the_total(alexnet: nn.Module, resnet18: nn.Module) -> None:
    before = dict(mpl.rcParams)
    for model, name, total, boxes in (
        (alexnet, "AlexNet", "61,100,840", 13),
        (resnet18, "ResNet-18", "11,689,512", 9),
    ):
        figure = architecture_diagram(model, name)
        assert words(figure).startswith(f"{name}: {total} parameters")
        polygons = [patch for patch in figure.axes[0].patches if isinstance(patch, Polygon)]
        assert len(polygons) == FACES * boxes
    assert "2 blocks\n512 maps\n7 × 7\n8,393,728" in words(figure)
    assert "conv 7×7\n64 maps\n112 × 112\n9,536" in words(figure)  # with its batch normalisation
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_no_text_lies_on_another(alexnet: nn.Module, resnet18: nn.Module) -> None:
    for model in (alexnet, resnet18):
        figure = architecture_diagram(model, "network")
        texts = figure.axes[0].texts
        extents = [text.get_window_extent() for text in texts]
        assert all(float(text.get_fontsize()) >= 12 for text in texts)
        for number, extent in enumerate(extents):
            assert not any(extent.overlaps(other) for other in extents[:number])


def test_taller_is_larger_and_thicker_is_deeper() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 8, 3), nn.Conv2d(8, 8, 3))
    patches = architecture_diagram(model, "test", 9, 1).axes[0].patches
    fronts = [patch.get_path().get_extents() for patch in patches[::FACES]]
    heights, widths = [box.height for box in fronts], [box.width for box in fronts]
    assert heights == sorted(heights, reverse=True)
    assert len(set(heights)) == 4
    assert widths[0] < widths[1] < widths[2] == pytest.approx(widths[3])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3,), TypeError, "expected a torch.nn.Module as model, got 3: pass a network"),
        ((nn.Linear(3, 3),), ValueError, "Linear has no layers inside: wrap"),
        ((nn.Sequential(nn.ReLU()), 0), ValueError, "image_size must be 1 or more, got 0"),
        ((nn.Sequential(nn.ReLU()), 8, 1.5), TypeError, "whole number for channels"),
    ],
)
def test_trace_layers_refuses(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        trace_layers(*arguments)
