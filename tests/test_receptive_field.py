"""The predicted rectangle is what values see: by NaN, by gradient, and in published figures."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn
from torchvision import models

from cnnlib.receptive_field import Field, receptive_field

Spans = tuple[tuple[int, int], tuple[int, int]]


def inside(field: Field, place: tuple[int, int], size: tuple[int, int]) -> Spans:
    """Return the first and last row and column that a value is predicted to see of an input."""
    rows, columns = (
        (max(seen.start, 0), min(seen.stop, n) - 1)
        for seen, n in zip(field.seen(*place), size, strict=True)
    )
    return rows, columns


def span(hits: Tensor) -> tuple[int, int]:
    indices = hits.nonzero().flatten().tolist()
    return indices[0], indices[-1]


def seen_by_nan(net: nn.Module, place: tuple[int, int], size: tuple[int, int]) -> Spans:
    """Make one row or column of the input NaN; where the value is NaN too, it was read."""
    height, width = size
    batch = torch.zeros(height + width, 1, height, width)
    for i in range(height):
        batch[i, :, i] = torch.nan
    for j in range(width):
        batch[height + j, :, :, j] = torch.nan
    with torch.no_grad():
        hits = net(batch)[:, :, place[0], place[1]].isnan().any(1)
    return span(hits[:height]), span(hits[height:])


def seen_by_gradient(net: nn.Module, place: tuple[int, int], size: tuple[int, int]) -> Spans:
    """Return where the gradient of one value is not 0; all weights of the net are positive."""
    X = torch.ones(1, 1, *size, requires_grad=True)
    net(X)[0, :, place[0], place[1]].sum().backward()
    assert X.grad is not None
    hits = X.grad[0, 0] != 0
    return span(hits.any(1)), span(hits.any(0))


def positive(net: nn.Module) -> nn.Module:
    for parameter in net.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)
    return net.eval()


@st.composite
def pairs(draw: st.DrawFn, low: int, high: int) -> tuple[int, int]:
    return draw(st.integers(low, high)), draw(st.integers(low, high))


@st.composite
def stacks(draw: st.DrawFn) -> list[nn.Module]:
    """Up to four layers: convolution, pooling of both kinds, and what works point by point."""
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "max", "mean"]))
        kernel, stride = draw(pairs(1, 4)), draw(pairs(1, 2))
        dilation = draw(pairs(1, 2)) if kind != "mean" else (1, 1)
        most = min(k // 2 for k in kernel)  # what pooling allows
        padding = draw(pairs(0, most if kind != "conv" else 3))
        if kind == "conv":
            layers.append(nn.Conv2d(1, 1, kernel, stride, padding, dilation, bias=False))
        elif kind == "max":
            layers.append(nn.MaxPool2d(kernel, stride, padding, dilation))
        else:
            layers.append(nn.AvgPool2d(kernel, stride, padding))
        layers.append(draw(st.sampled_from([nn.ReLU(), nn.Identity(), nn.BatchNorm2d(1)])))
    return layers


def within(field: Field) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return a place whose field touches no edge, and an input size that is enough for it."""
    first = [seen.start for seen in field.seen(0, 0)]
    steps = zip(first, field.stride, strict=True)
    row, column = (max(-(start // stride), 0) for start, stride in steps)
    height, width = (seen.stop + 9 for seen in field.seen(row, column))
    return (row, column), (height, width)


@settings(max_examples=40, deadline=None)
@given(stacks())
def test_a_value_sees_the_predicted_rectangle(layers: list[nn.Module]) -> None:
    net = positive(nn.Sequential(*layers))
    field = receptive_field(layers)
    place, size = within(field)
    rows, columns = field.seen(*place)
    assert seen_by_nan(net, place, size) == inside(field, place, size)
    assert inside(field, place, size) == ((rows[0], rows[-1]), (columns[0], columns[-1]))


@settings(max_examples=40, deadline=None)
@given(stacks())
def test_the_gradient_is_the_predicted_rectangle(layers: list[nn.Module]) -> None:
    smooth = [layer for layer in layers if not isinstance(layer, nn.MaxPool2d)]
    net = positive(nn.Sequential(nn.Identity(), *smooth))
    field = receptive_field(net)
    place, size = within(field)
    assert seen_by_gradient(net, place, size) == inside(field, place, size)


@settings(max_examples=40, deadline=None)
@given(stacks())
def test_a_list_a_model_and_tuples_agree(layers: list[nn.Module]) -> None:
    field = receptive_field(layers)
    assert receptive_field(nn.Sequential(*layers)) == field
    assert receptive_field([nn.Sequential(*layers[:2]), *layers[2:]]) == field
    sliding = [layer for layer in layers if hasattr(layer, "kernel_size")]
    names = ("kernel_size", "stride", "padding", "dilation")
    tuples = [tuple(getattr(layer, name, 1) for name in names) for layer in sliding]
    assert receptive_field(tuples) == field
    assert receptive_field([list(values) for values in tuples]) == field


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_padding_by_name(kernel: int, padding: str) -> None:
    net = positive(nn.Sequential(nn.Conv2d(1, 1, kernel, padding=padding, dilation=(1, 3))))
    field = receptive_field(net)
    assert field == receptive_field([(kernel, 1, padding, (1, 3))])
    assert seen_by_nan(net, (9, 12), (30, 40)) == inside(field, (9, 12), (30, 40))


# By hand.


def test_three_layers_of_three() -> None:
    assert [receptive_field([3] * n).size[0] for n in range(5)] == [1, 3, 5, 7, 9]
    assert receptive_field([]) == Field((1, 1), (1, 1), (0.0, 0.0))
    assert receptive_field([(3, 2)] * 3) == Field((15, 15), (8, 8), (7.0, 7.0))
    assert receptive_field([(3, 2, 1)] * 3) == Field((15, 15), (8, 8), (0.0, 0.0))
    assert receptive_field([(3, 1, 0, 2)]).size == (5, 5) == receptive_field([3, 3]).size
    assert receptive_field([((3, 5), (1, 2), (0, 1))]) == Field((3, 5), (1, 2), (1.0, 1.0))
    assert receptive_field([2]).offset == (0.5, 0.5)


def test_what_is_seen() -> None:
    field = Field((3, 4), (2, 1), (0.0, 1.5))
    assert field.seen(0, 0) == (range(-1, 2), range(0, 4))
    assert field.seen(5, 2) == (range(9, 12), range(2, 6))
    with pytest.raises(ValueError, match="row must be 0 or more, got -1"):
        field.seen(-1, 0)
    with pytest.raises(AttributeError):
        field.size = (1, 1)  # type: ignore[misc]


# Published figures, which were counted for other programs than torchvision.


def on_meta(name: str, **settings: Any) -> Any:
    with torch.device("meta"):
        model = getattr(models, name)(weights=None, **settings)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "until", "size", "stride"),
    [
        ("alexnet", "features", 195, 32),
        ("vgg16", "features", 212, 32),
        ("inception_v3", "Mixed_7c", 1311, 32),
    ],
)
def test_figures_of_araujo_and_others(name: str, until: str, size: int, stride: int) -> None:
    settings = {"init_weights": False} if name == "inception_v3" else {}
    field = receptive_field(on_meta(name, **settings), until)
    assert field.size == (size, size)
    assert field.stride == (stride, stride)


@pytest.mark.parametrize(
    ("name", "published", "torchvision"),
    [("resnet50", 483, 427), ("resnet101", 1027, 971), ("resnet152", 1507, 1451)],
)
def test_resnets_differ_in_where_the_stride_lies(
    name: str, published: int, torchvision: int
) -> None:
    model = on_meta(name)
    assert receptive_field(model, "layer4").size == (torchvision, torchvision)
    for block in (layer[0] for layer in (model.layer2, model.layer3, model.layer4)):
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    assert receptive_field(model, "layer4").size == (published, published)


def test_resnet_18_stage_by_stage() -> None:
    model = on_meta("resnet18")
    stages = ["conv1", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    fields = {name: receptive_field(model, name) for name in stages}
    assert [field.size[0] for field in fields.values()] == [7, 11, 43, 99, 211, 435]
    assert [field.stride[0] for field in fields.values()] == [2, 4, 4, 8, 16, 32]


def test_resnet_18_by_nan() -> None:
    model = models.resnet18(weights=None).eval()
    net = nn.Sequential(nn.Conv2d(1, 3, 1), *list(model.children())[:6])
    field = receptive_field(model, "layer2")  # 99 pixels; the input is high, and narrow for speed
    assert seen_by_nan(net, (8, 0), (120, 4)) == inside(field, (8, 0), (120, 4))
    assert inside(field, (8, 0), (120, 4))[0] == (64 - 49, 64 + 49)


# Branches.


class Residual(nn.Module):
    """Two branches of different reach, added, joined side by side, and read by a third layer."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.short = nn.Conv2d(1, 1, 1, stride, bias=False)
        self.long = nn.Sequential(
            nn.Conv2d(1, 1, 3, stride, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(1, 1, (3, 5), 1, (1, 2), bias=False),
        )
        self.last = nn.Conv2d(2, 1, 3, bias=False)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        a = self.short(x)
        b = self.long(x)
        a = F.relu(a + b) * 1.5
        a += 1
        y: Tensor = self.act(self.last(torch.cat([a, self.act(2 * b)], dim=1)))
        return y


@pytest.mark.parametrize("stride", [1, 2])
def test_a_residual_net(stride: int) -> None:
    net = positive(Residual(stride))
    field = receptive_field(net)
    for place in [(0, 0), (6, 7)]:
        expected = inside(field, place, (40, 44))
        assert seen_by_gradient(net, place, (40, 44)) == expected
        assert seen_by_nan(net, place, (40, 44)) == expected


class Union(nn.Module):
    """Branches that look at different sides."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(1, 1, (1, 3), padding=(0, 2), bias=False)
        self.right = nn.Sequential(
            nn.Conv2d(1, 1, (1, 2), bias=False), nn.Conv2d(1, 1, (1, 2), padding=(0, 2), bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.left(x) + self.right(x)
        return y


def test_branches_that_are_shifted() -> None:
    net = positive(Union())
    assert receptive_field(net) == Field((1, 3), (1, 1), (0.0, -1.0))
    field = receptive_field(net)
    assert seen_by_nan(net, (3, 6), (8, 12)) == inside(field, (3, 6), (8, 12))


class Functional(nn.Module):
    """Operations that are no layers, as in older models."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, bias=False)
        self.used = nn.ReLU()
        self.unused = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.used(F.max_pool2d(self.conv(x), kernel_size=2, stride=1).relu())
        x = self.used(F.avg_pool2d(F.dropout(x, training=self.training), 2))
        return x.flatten(1) if x.size(1) is None else x


def test_functions_count_too() -> None:
    net = positive(Functional())
    field = receptive_field(net)
    assert field == receptive_field([3, (2, 1), (2, 2)])
    assert receptive_field(net, "conv") == receptive_field([3])
    assert receptive_field(net, "used") == field  # the last time that it is used
    assert seen_by_nan(net, (3, 4), (16, 18)) == inside(field, (3, 4), (16, 18))


def test_what_does_not_lead_to_the_layer_does_not_matter() -> None:
    for train in (True, False):  # in training, classifiers look at two maps on the way
        model = on_meta("googlenet", init_weights=False).train(train)
        assert receptive_field(model, "inception5b").size == (379, 379)


# Refusals.


class Strange(nn.Module):
    """Does what it is told to."""

    def __init__(self, do: Any, *, layer: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = layer or nn.Conv2d(1, 1, 3, stride=2)
        self.do = do

    def forward(self, x: Tensor) -> Any:
        return self.do(self.conv(x), x)


@pytest.mark.parametrize(
    ("do", "message"),
    [
        (lambda y, x: y + x, r"meet in 'add'.*\[\(1, 1\), \(2, 2\)\]"),
        (lambda y, x: torch.flatten(y, 1), "behind the operation 'flatten'.*until='conv'"),
        (lambda y, x: F.adaptive_avg_pool2d(y, 1), "sees the whole map.*until='conv'"),
        (lambda y, x: torch.cat([y, y], 2), "the operation 'cat' is not known.*until='conv'"),
        (lambda y, x: torch.cat([y, y]), "the operation 'cat' is not known"),
        (lambda y, x: y.transpose(2, 3), "the operation 'transpose' is not known.*until='conv'"),
        (lambda y, x: y.view(y.size(0), -1), "the operation 'view' is not known"),
        (lambda y, x: x.cumsum(0), "the operation 'cumsum' is not known"),
        (lambda y, x: (x, y), "returns 2 maps: name a layer with until="),
        (lambda y, x: y.shape, "does not depend on the input"),
        (lambda y, x: y if y.sum() > 0 else x, r"torch.fx cannot follow Strange.forward"),
    ],
)
def test_refused_operations(do: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        receptive_field(Strange(do))


def test_refused_layers() -> None:
    strange = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ConvTranspose2d(1, 1, 3))
    with pytest.raises(ValueError, match=r"'1' \(ConvTranspose2d\) is not known.*until='0'"):
        receptive_field(strange)
    assert receptive_field(strange, "0") == receptive_field([3])
    with pytest.raises(ValueError, match="the layer LSTM is not known"):
        receptive_field([nn.LSTM(1, 1)])
    circular = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    with pytest.raises(ValueError, match=r"padding_mode='circular'.*only 'zeros'"):
        receptive_field([circular])


@pytest.mark.parametrize(
    ("name", "refused", "stop"),
    [
        ("alexnet", r"'avgpool' \(AdaptiveAvgPool2d\)", "until='features.12'"),
        ("vgg16", r"'avgpool' \(AdaptiveAvgPool2d\)", "until='features.30'"),
        ("resnet18", r"'avgpool' \(AdaptiveAvgPool2d\)", "until='layer4.1.relu'"),
    ],
)
def test_a_whole_classifier_is_told_where_to_stop(name: str, refused: str, stop: str) -> None:
    model = on_meta(name)
    with pytest.raises(ValueError, match=f"behind {refused} every value sees.*{stop}"):
        receptive_field(model)
    layer = stop.split("'")[1]
    assert receptive_field(model, layer) == receptive_field(model, layer.split(".")[0])


def test_names_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="no layer 'layer5', it has conv1, bn1, relu, maxpool"):
        receptive_field(on_meta("resnet18"), "layer5")
    with pytest.raises(ValueError, match="does not use its layer 'unused'"):
        receptive_field(Functional(), "unused")
    with pytest.raises(ValueError, match="of a list, pass the first layers alone"):
        receptive_field([3, 3], until="0")


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (3, TypeError, "expected a model or a list of layers, got 3"),
        ("33", TypeError, "expected a model or a list of layers, got '33'"),
        ([3, "3"], TypeError, "expected layer 1 as a torch.nn.Module or as a tuple"),
        ([(3, 1, 0, 1, 1)], TypeError, "expected layer 0 as"),
        ([2.5], TypeError, "expected layer 0 as"),
        ([()], TypeError, "expected layer 0 as"),
        ([(2.5, 1)], TypeError, "expected a whole number for kernel, got 2.5"),
        ([0], ValueError, "kernel must be 1 or more, got 0"),
        ([(3, 0)], ValueError, "stride must be 1 or more"),
        ([(3, 1, -1)], ValueError, "padding must be 0 or more"),
        ([(3, 1, 0, 0)], ValueError, "dilation must be 1 or more"),
        ([((3, 3, 3),)], ValueError, "expected kernel as one number or a pair"),
    ],
)
def test_refused_settings(layers: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        receptive_field(layers)


def test_nothing_is_modified() -> None:
    model = models.resnet18(weights=None).train()
    before = copy.deepcopy(model.state_dict())
    modules = list(model.named_modules())
    receptive_field(model, "layer4")
    assert model.training
    assert list(model.named_modules()) == modules
    assert not isinstance(model, fx.GraphModule)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    layers: list[Any] = [[3, 2], 3]
    receptive_field(layers)
    assert layers == [[3, 2], 3]
