"""What the explorer says of a value's field is what the gradient and a count of pixels say."""

from __future__ import annotations

import copy
import io
import re
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor, nn
from torchvision import models

from cnnlib.explorers import ReceptiveFieldExplorer
from cnnlib.explorers.fields import fewest_holding
from cnnlib.explorers.picture import Picture
from cnnlib.models import CNN, DigitsCNN
from cnnlib.receptive_field import receptive_field

GREY = torch.rand(20, 24, generator=torch.Generator().manual_seed(0))
COLOUR = torch.rand(3, 40, 36, generator=torch.Generator().manual_seed(1))


def small() -> nn.Sequential:
    """Everything that makes a field: padding, stride, pooling, a ReLU that works in place."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, (3, 5), stride=(2, 1), padding=1),
        nn.ReLU(inplace=True),
    )


def positive(net: nn.Module) -> nn.Module:
    for parameter in net.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)
    return net


def by_hand(net: nn.Sequential, image: Tensor, place: tuple[int, int], channel: Any) -> Tensor:
    """Return the gradient of one value at the end of a network, as a lecture calculates it."""
    X = image.reshape(1, -1, *image.shape[-2:]).clone().requires_grad_()
    out = net(X)[0, :, place[0], place[1]]
    (out.mean() if channel == "mean" else out[channel]).backward()
    assert X.grad is not None
    return X.grad[0].abs().sum(0)


def pixels(picture: Picture) -> np.ndarray:
    """Return what is shown, between 0 and 1, shape (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(picture.png))) / 255


def boxes(picture: Picture) -> list[tuple[float, ...]]:
    """Return left, top, width and height of the rectangles over a picture."""
    found = re.findall(r'<rect x="(.*?)" y="(.*?)" width="(.*?)" height="(.*?)"', picture.overlay)
    return [tuple(map(float, numbers)) for numbers in found]


@st.composite
def stacks(draw: st.DrawFn, padded: bool) -> nn.Sequential:
    """Up to three layers that leave out no pixel; and without padding, none that wins over another.

    Without padding and maximum, with positive weights, every pixel of a field has a gradient.
    """
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 3))):
        kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        stride = tuple(draw(st.integers(1, min(k, 2))) for k in kernel)
        padding = draw(st.integers(0, min(kernel) // 2)) if padded else 0
        if padded and draw(st.booleans()):
            layers.append(nn.MaxPool2d(kernel, stride, padding))
        else:
            layers.append(nn.Conv2d(1, 1, kernel, stride, padding))  # type: ignore[arg-type]
    return nn.Sequential(*layers)


def corner(net: nn.Sequential, data: st.DataObject) -> tuple[int, int]:
    rows, columns = net(GREY[None, None]).shape[-2:]
    return data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))


@settings(max_examples=25, deadline=None)
@given(stacks(padded=False), st.data())
def test_the_rectangle_is_where_the_gradient_is(net: nn.Sequential, data: st.DataObject) -> None:
    positive(net)
    place = corner(net, data)
    explorer = ReceptiveFieldExplorer(net, GREY)
    explorer.picture.at = [0, *place]
    hits = by_hand(net, GREY, place, "mean") > 0
    rows, columns = hits.any(1).nonzero().flatten(), hits.any(0).nonzero().flatten()
    size, said = (len(columns), len(rows)), explorer.picture.caption
    assert boxes(explorer.photo) == [(columns[0].item(), rows[0].item(), *size)] * 2
    assert explorer.photo.size == [24, 20]
    assert f"{len(rows)} × {len(columns)} = {int(hits.sum())} pixels, none" in said


@settings(max_examples=25, deadline=None)
@given(stacks(padded=True), st.data())
def test_no_gradient_lies_outside_of_the_rectangle(net: nn.Sequential, data: st.DataObject) -> None:
    positive(net)
    place = corner(net, data)
    explorer = ReceptiveFieldExplorer(net, GREY)
    explorer.picture.at = [0, *place]
    strength = by_hand(net, GREY, place, "mean")
    torch.testing.assert_close(explorer.strength, strength)
    # The rectangle in pixels of what is shown, where the picture lies in its padding.
    (left, top, width, height), _ = boxes(explorer.photo)
    total_width, total_height = explorer.photo.size
    assert 0 <= left <= left + width <= total_width
    assert 0 <= top <= top + height <= total_height
    margins = [max(0, -span.start) for span in receptive_field(net).seen(0, 0)]
    shown = torch.zeros(int(total_height), int(total_width))
    shown[margins[0] : margins[0] + 20, margins[1] : margins[1] + 24] = strength
    inside = shown[int(top) : int(top + height), int(left) : int(left + width)]
    assert inside.sum() == pytest.approx(strength.sum())
    # And what is padding, by counting the pixels that are none.
    seen = {(i, j) for i in range(int(height)) for j in range(int(width))}
    real = {
        (i, j)
        for i, j in seen
        if 0 <= top + i - margins[0] < 20 and 0 <= left + j - margins[1] < 24
    }
    outside = len(seen) - len(real)
    said = f"{outside:,} ({100 * outside / len(seen):.0f} %)" if outside else "none"
    assert f"pixels, {said} of them padding." in explorer.picture.caption


@pytest.mark.parametrize("channel", ["mean", 0, 2])
@pytest.mark.parametrize("last", range(5))
def test_the_gradient_is_that_of_the_chosen_value(last: int, channel: Any) -> None:
    net = small()
    explorer = ReceptiveFieldExplorer(net, GREY)
    explorer.layer.value = str(last)
    explorer.channel.value = channel
    part = net[: last + 1]
    for place in [(0, 0), (2, 7), (4, 3)]:
        explorer.picture.at = [0, *place]
        torch.testing.assert_close(explorer.strength, by_hand(part, GREY, place, channel))
        with torch.no_grad():
            maps = part(GREY[None, None])[0]
        value = (maps.mean(0) if channel == "mean" else maps[channel])[place].item()
        said = explorer.picture.caption.split(": ")[1].split(".\n")[0].replace("−", "-")
        assert float(said) == pytest.approx(value, rel=5e-3, abs=1e-6)


def test_a_relu_in_place_does_not_change_the_map_before_it() -> None:
    net = small()
    explorer = ReceptiveFieldExplorer(net, GREY)
    shown = [explorer.layers[name].maps.detach() for name in "0134"]
    with torch.no_grad():
        conv = net[0](GREY[None, None])
    torch.testing.assert_close(shown[0], conv[0])
    assert shown[0].min() < 0
    torch.testing.assert_close(shown[1], F.relu(conv)[0])
    assert shown[2].min() < 0 == shown[3].min()


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.floats(0.05, 1))
def test_the_fewest_pixels_hold_the_share(values: list[int], share: float) -> None:
    strength = torch.tensor([values], dtype=torch.float32)
    lit = fewest_holding(strength, share)
    total, ordered = sum(values), sorted(values, reverse=True)
    counts = [n for n in range(len(values) + 1) if sum(ordered[:n]) >= share * total - 1e-9]
    assert int(lit.sum()) == (counts[0] if total else 0)
    if total and not lit.all():
        assert strength[lit].min() >= strength[~lit].max()


def test_the_lit_pixels_are_counted_and_shown() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1))
    explorer = ReceptiveFieldExplorer(positive(net), GREY)
    explorer.picture.at = [0, 0, 5]
    strength = by_hand(net, GREY, (0, 5), "mean")
    ordered = strength.flatten().sort(descending=True).values
    count = int((ordered.cumsum(0) < 0.95 * strength.sum()).sum()) + 1
    assert f"\n{count} pixels hold 95 % of its gradient." in explorer.picture.caption
    shown = pixels(explorer.photo)
    assert shown.shape == (24, 28, 3)  # two rows and columns of padding on each side
    assert np.allclose(shown[:2], 0xE5 / 255)
    inner = shown[2:-2, 2:-2]
    lit = ~np.isclose(inner, 0.55 * GREY[..., None], atol=1 / 255).all(2)
    assert int(lit.sum()) == count
    assert (strength.numpy()[lit] >= ordered[count - 1].item()).all()
    assert (inner[lit].mean(1) > 0.55 * GREY.numpy()[lit]).all()  # seen without colour too

    explorer.effective.value = False
    assert "gradient" not in explorer.picture.caption
    assert np.allclose(pixels(explorer.photo)[2:-2, 2:-2], GREY[..., None], atol=1 / 255)


def test_a_value_that_relu_cut_off_has_no_gradient() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU())
    nn.init.constant_(net[0].bias, -100)  # type: ignore[arg-type]
    explorer = ReceptiveFieldExplorer(net, GREY)
    assert "Its gradient is 0: no pixel" in explorer.picture.caption
    assert np.allclose(pixels(explorer.photo), 0.55 * GREY[..., None], atol=1 / 255)
    explorer.layer.value = "0"
    assert "9 pixels hold" in explorer.picture.caption


def test_the_layers_are_listed_as_they_run() -> None:
    names = [label for label, _ in ReceptiveFieldExplorer(small(), GREY).layer.options]
    assert names == [
        "'0' (Conv2d), 4 × 20 × 24",
        "'1' (ReLU), 4 × 20 × 24",
        "'2' (MaxPool2d), 4 × 10 × 12",
        "'3' (Conv2d), 3 × 5 × 10",
        "'4' (ReLU), 3 × 5 × 10",
    ]
    explorer = ReceptiveFieldExplorer(CNN(), GREY)  # whose head is made for 128 x 128 pixels
    assert [name for _, name in explorer.layer.options][-2:] == ["main.4.0", "main.4"]
    assert explorer.layer.value == "main.4"


class Functions(nn.Module):
    """A model that does much without layers, and runs one layer twice, not in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.late = nn.Conv2d(2, 2, 3)
        self.twice = nn.ReLU(inplace=True)
        self.early = nn.Conv2d(1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(self.early(x))
        x = self.twice(self.late(x))
        return F.max_pool2d(x, 2)


def test_what_functions_do_is_seen_at_the_output() -> None:
    explorer = ReceptiveFieldExplorer(Functions(), GREY)
    assert [*explorer.layers] == ["early", "late", "twice", ""]
    assert explorer.layer.label == "output, 2 × 8 × 10"
    assert "6 × 6 = 36 pixels" in explorer.picture.caption
    assert receptive_field(Functions()).size == (6, 6)


def test_resnet_has_its_stages() -> None:
    torch.manual_seed(0)
    net = models.resnet18(weights=None)
    explorer = ReceptiveFieldExplorer(net, COLOUR)
    assert {"conv1", "layer1", "layer1.0", "layer4"} <= explorer.layers.keys()
    assert not {"avgpool", "fc", "layer1.1", "layer1.1.relu"} & explorer.layers.keys()
    explorer.layer.value = "layer2"
    explorer.picture.at = [0, 2, 3]
    trunk = nn.Sequential(*list(net.eval().children())[:6])
    torch.testing.assert_close(explorer.strength, by_hand(trunk, COLOUR, (2, 3), "mean"))
    assert "99 × 99 = 9,801 pixels" in explorer.picture.caption


def test_another_layer_keeps_the_place_and_the_channel() -> None:
    explorer = ReceptiveFieldExplorer(small(), GREY)
    explorer.layer.value = "0"
    explorer.channel.value = 3
    explorer.picture.at = [0, 16, 4]
    explorer.layer.value = "1"
    assert (explorer.picture.at, explorer.channel.value) == ([0, 16, 4], 3)
    explorer.layer.value = "2"
    row, column = explorer.picture.at[1:]
    rows, columns = explorer.layers["2"].field.seen(row, column)
    assert 16 in rows
    assert 4 in columns
    explorer.channel.value = 1
    explorer.layer.value = "4"  # has channels 0, 1 and 2
    assert explorer.channel.value == 1
    explorer.layer.value = "2"
    explorer.channel.value = 3
    explorer.layer.value = "4"
    assert explorer.channel.options == ("mean", 0, 1, 2)
    assert explorer.channel.value == "mean"
    assert explorer.picture.grids[0]["rows"] == 5
    assert not explorer.picture.problem


def test_reset_restores_the_start() -> None:
    def seen(explorer: ReceptiveFieldExplorer) -> Any:
        names = ("png", "overlay", "size", "alt", "caption", "at", "grids", "problem")
        return [getattr(p, n) for p in (explorer.picture, explorer.photo) for n in names]

    explorer = ReceptiveFieldExplorer(small(), GREY)
    start = copy.deepcopy(seen(explorer))
    explorer.layer.value = "0"
    explorer.channel.value = 3
    explorer.picture.at = [0, 19, 23]
    explorer.effective.value = False
    assert seen(explorer) != start
    explorer.reset_button.click()
    assert seen(explorer) == start
    assert (explorer.layer.value, explorer.channel.value) == ("4", "mean")
    assert explorer.effective.value


@pytest.mark.parametrize("at", [[0, 99, 99], [0, -1, 3], [7, 2, 99]])
def test_a_place_beyond_the_map_becomes_the_nearest(at: list[int]) -> None:
    explorer = ReceptiveFieldExplorer(small(), GREY)
    explorer.picture.at = at
    assert explorer.picture.at == [0, min(max(at[1], 0), 4), min(at[2], 9)]
    assert not explorer.picture.problem


def test_no_place_at_all_is_a_problem_that_passes() -> None:
    explorer = ReceptiveFieldExplorer(small(), GREY)
    shown = explorer.photo.png
    explorer.picture.at = []
    assert explorer.picture.problem
    assert "no value is chosen: click" in explorer.picture.caption
    assert explorer.photo.png == shown
    explorer.layer.value = "0"
    explorer.picture.at = [0, 1, 1]
    assert not explorer.picture.problem


def test_weights_that_are_no_numbers_are_a_problem_of_their_layer() -> None:
    net = small()
    nn.init.constant_(net[3].weight, torch.nan)  # type: ignore[arg-type]
    explorer = ReceptiveFieldExplorer(net, GREY)
    first = explorer.picture.problem, explorer.picture.caption
    assert first[0]
    assert "the output of '4' (ReLU) holds NaN or infinite values" in first[1]
    explorer.layer.value = "2"
    assert not explorer.picture.problem
    assert "hold 95 %" in explorer.picture.caption


def test_the_model_and_the_picture_are_not_modified() -> None:
    first = small()
    net = nn.Sequential(first, nn.BatchNorm2d(3).eval(), nn.Dropout())
    first[0].requires_grad_(False)
    image = GREY.clone()

    def state() -> Any:
        return (
            [module.training for module in net.modules()],
            [(p.requires_grad, p.grad is None) for p in net.parameters()],
            [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()],
        )

    before, values = state(), copy.deepcopy(net.state_dict())
    random = torch.get_rng_state()
    explorer = ReceptiveFieldExplorer(net, image)
    explorer.layer.value = "0.2"
    explorer.picture.at = [0, 1, 1]
    explorer.still()
    assert state() == before
    assert all(torch.equal(v, values[k]) for k, v in net.state_dict().items())
    assert torch.equal(image, GREY)
    assert not image.requires_grad
    assert torch.equal(torch.get_rng_state(), random)


def test_the_model_may_learn_on() -> None:
    net = small()
    explorer = ReceptiveFieldExplorer(net, GREY)
    explorer.picture.at = [0, 1, 1]
    before = explorer.strength.clone()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1.0)
    explorer.picture.at = [0, 2, 2]
    explorer.picture.at = [0, 1, 1]
    assert torch.equal(explorer.strength, before)


def test_it_works_where_gradients_are_switched_off() -> None:
    with torch.no_grad():
        explorer = ReceptiveFieldExplorer(small(), GREY)
        explorer.picture.at = [0, 1, 1]
    torch.testing.assert_close(explorer.strength, by_hand(small(), GREY, (1, 1), "mean"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_of_other_kinds(dtype: torch.dtype) -> None:
    exact = ReceptiveFieldExplorer(small(), GREY)
    explorer = ReceptiveFieldExplorer(small().to(dtype), GREY)
    assert explorer.strength.dtype == torch.float32
    assert not explorer.picture.problem
    close = 0.2 if dtype == torch.bfloat16 else 1e-5
    assert float(explorer.strength.sum()) == pytest.approx(float(exact.strength.sum()), rel=close)


@pytest.mark.parametrize(
    "image", [torch.randn(3, 40, 36), COLOUR.permute(1, 2, 0), (255 * COLOUR).byte(), 0 * COLOUR]
)
def test_colours_of_every_range(image: Tensor) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 5), nn.Sigmoid())
    explorer = ReceptiveFieldExplorer(net, image)
    assert "5 × 5 = 25 pixels, none of them padding" in explorer.picture.caption
    assert pixels(explorer.photo).shape == (40, 36, 3)


def test_a_layer_on_its_own() -> None:
    assert [*ReceptiveFieldExplorer(nn.Conv2d(1, 2, 3), GREY).layers] == ["0"]


def test_refusals() -> None:
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module as model, got 3"):
        ReceptiveFieldExplorer(3, GREY)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"reads pictures of 1 channel\(s\), got one of 3: load"):
        ReceptiveFieldExplorer(small(), COLOUR)
    with pytest.raises(ValueError, match=r"reads pictures of 3 channel\(s\), got one of 1: load"):
        ReceptiveFieldExplorer(nn.Conv2d(3, 1, 3), GREY)
    with pytest.raises(ValueError, match=r"cannot run on a picture of 2 × 2 pixels: .*Kernel size"):
        ReceptiveFieldExplorer(nn.Sequential(nn.ReLU(), nn.Conv2d(1, 1, 3)), GREY[:2, :2])
    with (
        torch.device("meta"),
        pytest.raises(ValueError, match="the model has shapes, but no weights"),
    ):
        ReceptiveFieldExplorer(small(), GREY)
    with pytest.raises(ValueError, match="expected image of shape"):
        ReceptiveFieldExplorer(small(), torch.zeros(2, 2, 2, 2))
    with pytest.raises(ValueError, match="no layer 'main' can be shown, these can: '0', '1', '2'"):
        ReceptiveFieldExplorer(small(), GREY, layer="main")


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    "net", [nn.Sequential(nn.Flatten(), nn.Linear(480, 2)), Branching(), nn.Upsample(2)]
)
def test_what_cannot_be_followed_is_said_as_elsewhere(net: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"\w") as expected:
        receptive_field(net if [*net.children()] else nn.Sequential(net))
    with pytest.raises(ValueError, match=r"\w") as raised:
        ReceptiveFieldExplorer(net, GREY)
    assert str(raised.value) == str(expected.value)


def test_the_still_picture_shows_the_rectangle() -> None:
    explorer = ReceptiveFieldExplorer(DigitsCNN(), GREY, layer="main.2")
    explorer.picture.at = [0, 0, 3]
    (ax,) = explorer.still().axes
    rows, columns = explorer.layers["main.2"].field.seen(0, 3)
    box = [patch for patch in ax.patches if isinstance(patch, Rectangle)][-1]
    assert box.get_xy() == (columns.start - 0.5, rows.start - 0.5)
    assert (box.get_height(), box.get_width()) == (len(rows), len(columns))
    assert ax.get_title() == "a value of 'main.2' (MaxPool2d) sees\n4 × 4"
    assert plt.get_fignums() == []
    shown = explorer._repr_mimebundle_()
    assert shown["image/png"] == explorer._repr_mimebundle_()["image/png"]
    assert "Receptive-field explorer." in shown["text/plain"]
