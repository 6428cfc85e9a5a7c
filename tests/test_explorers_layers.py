"""What the layer explorer shows is what the network calculates, and the network stays as it was."""

from __future__ import annotations

import copy
import io
import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import traitlets
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn

from cnnlib.datasets.labelled import Labelled
from cnnlib.explorers.activations import layers_of
from cnnlib.explorers.layers import LayerExplorer
from cnnlib.explorers.pad import Pad, bytes_of, centred
from cnnlib.explorers.sheet import MOST
from cnnlib.models import DigitsCNN, LeNet5
from cnnlib.style import scale

FLAT, DROPOUT = 6, 8  # places in DigitsCNN that change no number


@pytest.fixture(scope="module")
def model() -> DigitsCNN:
    torch.manual_seed(0)
    return DigitsCNN()


@pytest.fixture(scope="module")
def examples() -> Labelled:
    images = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    return Labelled((images * 255).round() / 255, torch.tensor([7, 2, 1, 0, 4]))


@pytest.fixture
def explorer(model: DigitsCNN, examples: Labelled) -> LayerExplorer:
    return LayerExplorer(model, examples)


def strokes(*places: tuple[int, int], size: int = 28) -> bytes:
    """Return a pad's value with ink in some cells."""
    ink = torch.zeros(size, size)
    for row, column in places:
        ink[row, column] = 1
    return bytes_of(ink)


def test_every_layer_is_what_the_network_gives_up_to_there(
    model: DigitsCNN, explorer: LayerExplorer, examples: Labelled
) -> None:
    steps = [k for k in range(10) if k not in (FLAT, DROPOUT)]
    assert [layer.path for layer in explorer.layers] == ["", *(f"main.{k}" for k in steps)]
    names = ["input", "conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "dense1", "dense2"]
    assert [layer.name for layer in explorer.layers] == names
    model.eval()
    for layer, k in zip(explorer.layers[1:], steps, strict=True):
        expected = model.main[: k + 1](examples.images[:1])[0]
        assert layer.maps.shape == (expected.shape if expected.ndim == 3 else (len(expected), 1, 1))
        torch.testing.assert_close(layer.maps.flatten(), expected.flatten())
    model.train()


def test_probabilities_are_the_softmax(
    model: DigitsCNN, explorer: LayerExplorer, examples: Labelled
) -> None:
    explorer.number.value = 3
    with torch.no_grad():
        expected = model.eval()(examples.images[[3]])[0].softmax(0)
    torch.testing.assert_close(explorer.probabilities, expected)
    best = int(expected.argmax())
    start = f"says {best} with {100 * expected[best]:.1f} % (label 0). conv1, map 1 of 32"
    assert explorer.picture.caption.startswith(start)
    for k, part in enumerate(expected.tolist()):
        assert f">{100 * part:.1f} %</text>" in explorer.bars.overlay
        assert f'width="{100 * part:.2f}"' in explorer.bars.overlay, k
    assert f">says {best}</text>" in explorer.bars.overlay
    assert (best == 0) or ">label 0</text>" in explorer.bars.overlay


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_not_changed(examples: Labelled, training: bool) -> None:
    torch.manual_seed(0)
    model = DigitsCNN().train(training)
    model.main[1].eval()  # a mode of its own
    (model(examples.images).sum()).backward()
    before = copy.deepcopy(model.state_dict())
    grads = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    modes = [module.training for module in model.modules()]
    given = examples.images.clone()
    random = torch.random.get_rng_state()

    explorer = LayerExplorer(model, examples)
    explorer.pad.value = strokes((3, 4))
    explorer.picture.at = [3, 0, 1]

    assert torch.equal(torch.random.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    new = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert len(new) == len(grads) > 0
    assert all(torch.equal(a, b) for a, b in zip(grads, new, strict=True))
    assert torch.equal(examples.images, given)


def test_hooks_go_even_if_the_network_fails(model: DigitsCNN) -> None:
    with pytest.raises(RuntimeError):
        layers_of(model, torch.zeros(1, 9, 9))
    assert not any(module._forward_hooks for module in model.modules())


def test_a_relu_in_place_does_not_reach_the_layer_before_it() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(72, 3))
    layers, _ = layers_of(model, torch.randn(1, 8, 8))
    assert layers[1].maps.min() < 0
    assert torch.equal(layers[2].maps, layers[1].maps.relu())


def test_kernels_are_those_that_made_the_map(model: DigitsCNN, explorer: LayerExplorer) -> None:
    layers = {layer.name: layer for layer in explorer.layers}
    for name, place in {"conv1": 0, "relu1": 0, "pool1": 0, "conv2": 3, "pool2": 3}.items():
        kernels, layer = layers[name].kernels, model.main[place]
        assert kernels is not None
        assert isinstance(layer, nn.Conv2d)
        assert torch.equal(kernels, layer.weight)
    # The weights of a dense unit, laid out as the maps that it reads, give its number.
    dense = layers["dense1"]
    assert dense.kernels is not None
    assert dense.bias is not None
    sums = (dense.kernels * layers["pool2"].maps).sum((1, 2, 3)) + dense.bias
    torch.testing.assert_close(sums, dense.maps.flatten())
    assert layers["input"].kernels is None


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ([0, 0, 0], "input, 28 × 28"),
        ([1, 0, 2], "conv1, map 3 of 32: 1 kernel of 3 × 3"),
        ([3, 0, 31], "pool1, map 32 of 32: 1 kernel of 3 × 3 in conv1"),
        ([4, 0, 11], "conv2, map 12 of 64: 32 kernels of 3 × 3"),
        ([4, 1, 11], "conv2, map 44 of 64: 32 kernels of 3 × 3"),
        ([7, 0, 4], "dense1, number 5 of 64: 64 × 7 × 7 weights"),
        ([8, 0, 6], "dense2, number 7 of 10: 64 weights, the logit of 6"),
        ([], "input, 28 × 28"),
        ([99, 99, 99], "dense2, number 10 of 10: 64 weights, the logit of 9"),
    ],
)
def test_the_caption_says_what_is_pointed_at(
    explorer: LayerExplorer, at: list[int], words: str
) -> None:
    explorer.picture.at = at
    assert explorer.picture.caption.endswith(f"). {words}")
    assert not explorer.picture.problem


def pixels(png: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_maps_lie_where_they_can_be_pointed_at(explorer: LayerExplorer) -> None:
    sheet = pixels(explorer.picture.png)
    assert [sheet.shape[1], sheet.shape[0]] == explorer.picture.size
    assert len(explorer.picture.grids) == len(explorer.layers)
    for layer, grid in zip(explorer.layers, explorer.picture.grids, strict=True):
        norm, colours = scale(layer.maps, unit=0.0)  # one for all maps of the layer
        height, width = layer.maps.shape[1:]
        for k in {0, len(layer.maps) // 2, len(layer.maps) - 1}:
            row, column = divmod(k, grid["columns"])
            top = grid["top"] + row * grid["height"]
            left = grid["left"] + column * grid["width"]
            cell = sheet[top : top + grid["height"] - 1, left : left + grid["width"] - 1]
            middle = cell[cell.shape[0] // 2, cell.shape[1] // 2]
            i, j = (n // 2 * m // n for n, m in zip(cell.shape, (height, width), strict=False))
            value = layer.maps[k, i, j].item()
            assert (middle == colours(norm(value), bytes=True)[:3]).all(), (layer.name, k)


def test_the_map_and_its_kernel_are_shown_large(model: Any, examples: Labelled) -> None:
    model = copy.deepcopy(model)
    weight = torch.arange(9).view(3, 3) / 10 - 0.3
    with torch.no_grad():
        model.main[0].weight[2, 0], model.main[0].bias[2] = weight, 0.25
    explorer = LayerExplorer(model, examples)
    explorer.picture.at = [1, 0, 2]
    layer, shown = explorer.layers[1], pixels(explorer.zoom.png)
    norm, colours = scale(layer.maps, unit=0.0)
    expected = colours(norm(layer.maps[2].numpy()), bytes=True)[..., :3]
    for i, j in [(0, 0), (13, 20), (27, 27)]:
        at = 25 + int((i + 0.5) * 240 / 28), int((j + 0.5) * 240 / 28)
        assert (shown[at] == expected[i, j]).all()
    _, colours = scale(weight)
    for (i, j), value in np.ndenumerate(weight.numpy()):
        at = 25 + int((i + 0.2) * 220 / 3), 260 + int((j + 0.2) * 220 / 3)
        assert (shown[at] == colours(value + 0.5, bytes=True)[:3]).all()  # from -0.5 to 0.5
    written = re.findall(r">([^<>]+)</text>", explorer.zoom.overlay)
    assert written[0] == "conv1, map 3 of 32"
    assert written[1] == "1 kernel of 3 × 3"
    assert written[2:] == ["−0.3", "−0.2", "−0.1", "0", "0.1", "0.2", "0.3", "0.4", "0.5"]
    assert explorer.zoom.caption.endswith("; weights from −0.3 to 0.5, bias 0.25")


@pytest.mark.parametrize(
    ("weights", "written"),
    [
        ([-0.12345, 0.0012345, 0.9], ["−0.12", "0", "0.9"]),
        ([-0.0012345, 0.0012345, 0.001], []),
        ([-123.45678, 0.0012345, 9], ["−123", "0", "9"]),
    ],
)
def test_numbers_that_do_not_fit_are_rounded_or_left_out(
    weights: list[float], written: list[str]
) -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(100, 2))
    assert isinstance(model[0], nn.Conv2d)
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(weights).expand(3, 3))
    explorer = LayerExplorer(model, torch.rand(1, 12, 12))
    explorer.picture.at = [1, 0, 0]
    texts = re.findall(r">([^<>]+)</text>", explorer.zoom.overlay)
    assert texts[2:] == 3 * written  # the first two are titles


def test_of_very_many_kernels_the_strongest_are_shown() -> None:
    torch.manual_seed(0)
    wide = nn.Sequential(
        *(nn.Conv2d(1, 70, 3), nn.Conv2d(70, 2, 3), nn.Flatten(), nn.Linear(32, 2))
    )
    assert isinstance(wide[1], nn.Conv2d)
    with torch.no_grad():
        wide[1].weight[0, 40] = 0.5
        wide[1].weight[0, 0] = 1e-6
    explorer = LayerExplorer(wide, torch.rand(1, 8, 8))
    explorer.picture.at = [2, 0, 0]
    assert f"the {MOST} strongest weights from" in explorer.zoom.caption
    assert "conv2, map 1 of 2: 70 kernels of 3 × 3" in explorer.picture.caption
    first = pixels(explorer.zoom.png)[25 + 3, 260 + 3]
    _, colours = scale(torch.tensor([-1.0]))
    assert (first == colours(1.0, bytes=True)[:3]).all()


def test_a_drawing_goes_into_the_network(explorer: LayerExplorer) -> None:
    drawn = strokes((4, 4), (5, 4), (6, 4))
    explorer.pad.value = drawn
    torch.testing.assert_close(explorer.image[0], centred(explorer.pad.ink))
    assert "(your drawing)" in explorer.picture.caption
    assert explorer.pad.caption == "your drawing"
    explorer.centre.value = False
    assert torch.equal(explorer.image[0], explorer.pad.ink)
    assert torch.equal(explorer.layers[0].maps, explorer.image)
    explorer.centre.value = True
    explorer.pad.value = bytes(28 * 28)
    assert not explorer.image.any()
    assert "(nothing drawn)" in explorer.picture.caption
    assert not explorer.picture.problem


def test_an_example_is_put_onto_the_pad_as_it_is(
    explorer: LayerExplorer, examples: Labelled
) -> None:
    explorer.number.value += 1
    assert explorer.number.value == 1
    assert torch.equal(explorer.pad.ink, examples.images[1, 0])
    assert torch.equal(explorer.image, examples.images[1])
    assert "(label 2)" in explorer.picture.caption
    explorer.number.value = 4
    assert torch.equal(explorer.image, examples.images[4])


def test_without_labels_none_is_told(model: DigitsCNN, examples: Labelled) -> None:
    explorer = LayerExplorer(model, examples.images[:, 0])
    assert "(example 0)" in explorer.picture.caption
    assert "label" not in explorer.bars.overlay


def test_drawings_have_the_range_of_the_examples(model: DigitsCNN, examples: Labelled) -> None:
    explorer = LayerExplorer(model, (examples.images - 0.1307) / 0.3081)
    low, high = explorer._examples.min(), explorer._examples.max()
    explorer.pad.value = strokes((4, 4))
    explorer.centre.value = False
    torch.testing.assert_close(explorer.image.min(), low)
    torch.testing.assert_close(explorer.image.max(), high)


def test_reset_goes_back_to_the_start(explorer: LayerExplorer) -> None:
    def state() -> list[Any]:
        return [
            *(explorer.number.value, explorer.centre.value, explorer.pad.value),
            *(explorer.picture.png, explorer.picture.caption, explorer.picture.at),
            *(explorer.zoom.png, explorer.zoom.overlay, explorer.zoom.caption),
            *(explorer.bars.overlay, explorer.pad.caption),
        ]

    start = state()
    explorer.number.value = 2
    explorer.picture.at = [4, 1, 3]
    explorer.pad.value = strokes((1, 1), (20, 9))
    explorer.centre.value = False
    assert not any(a == b for a, b in zip(start, state(), strict=True))
    explorer.reset_button.click()
    assert state() == start


def test_who_only_points_does_not_wait_for_a_sheet(
    model: Any, examples: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, drawn = copy.deepcopy(model), []
    explorer = LayerExplorer(model, examples)
    monkeypatch.setattr(explorer, "_show_sheet", lambda: drawn.append(1))
    explorer.picture.at = [2, 0, 5]
    assert drawn == []
    explorer.number.value = 1
    assert drawn == [1]
    with torch.no_grad():
        model.main[0].bias += 0.1  # it was trained further meanwhile
    explorer.picture.at = [2, 0, 6]
    assert drawn == [1, 1]


@pytest.mark.parametrize("size", [28, 8])
@pytest.mark.parametrize(
    "places", [[(0, 0)], [(2, 2), (5, 6)], [(7, 1), (7, 2), (7, 7)], [(1, 4), (6, 4)]]
)
def test_a_drawing_is_centred_as_mnist_does(size: int, places: list[tuple[int, int]]) -> None:
    ink = Pad(size, size)
    ink.value = strokes(*places, size=size)
    found = centred(ink.ink).numpy()
    rows, columns = np.nonzero(found.any(axis=1))[0], np.nonzero(found.any(axis=0))[0]
    reach = max(np.ptp(rows), np.ptp(columns)) + 1
    assert reach == round(size * 20 / 28)
    middle = ndimage.center_of_mass(found)
    assert np.abs(np.array(middle) - (size - 1) / 2).max() <= 0.5 + 1e-5
    assert 0 <= found.min() <= found.max() <= 1


@settings(max_examples=40, deadline=None)
@given(
    st.integers(4, 40),
    st.integers(4, 40),
    st.lists(st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)), max_size=12),
)
def test_a_drawing_of_any_size_keeps_its_shape(
    height: int, width: int, places: list[tuple[float, float]]
) -> None:
    ink = torch.zeros(height, width)
    for y, x in places:
        ink[int(y * height), int(x * width)] = 0.7
    given_ink = ink.clone()
    found = centred(ink)
    assert found.shape == ink.shape
    assert torch.equal(ink, given_ink)
    assert bool(found.any()) == bool(places)


def test_a_pad_refuses_other_sizes() -> None:
    pad = Pad(3, 4)
    pad.set_trait("value", memoryview(bytes(range(12))))  # as it comes from the page
    torch.testing.assert_close(pad.ink, torch.arange(12.0).view(3, 4) / 255)
    assert bytes_of(pad.ink) == pad.value
    with pytest.raises(traitlets.TraitError, match=r"expected 3 × 4 bytes, .* got 3"):
        pad.value = bytes(3)
    assert len(pad.value) == 12


@settings(max_examples=12, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 5),
    st.sampled_from([1, 3]),
    st.booleans(),
    st.integers(2, 20),
)
def test_networks_of_many_shapes(
    maps: int, more: int, kernel: int, norm: bool, classes: int
) -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(1, maps, kernel), nn.Tanh(), nn.AvgPool2d(2)]
    layers += [nn.BatchNorm2d(maps)] * norm + [nn.Conv2d(maps, more, kernel), nn.ReLU()]
    layers += [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(more, classes)]
    model = nn.Sequential(*layers)
    images = torch.rand(2, 12, 15)
    explorer = LayerExplorer(model, images)
    with torch.no_grad():
        expected = model.eval()(images[:1, None])[0].softmax(0)
    torch.testing.assert_close(explorer.probabilities, expected)
    for k, grid in enumerate(explorer.picture.grids):
        assert grid["rows"] * grid["columns"] >= len(explorer.layers[k].maps)
        explorer.picture.at = [k, grid["rows"] - 1, grid["columns"] - 1]
        assert not explorer.picture.problem
    assert len(explorer.layers) == len(layers)  # the picture, and all but Flatten


def test_functions_in_forward_are_left_out_and_do_no_harm() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(F.relu(self.conv(x)).flatten(1))
            return out

    explorer = LayerExplorer(Functional(), torch.rand(1, 8, 8))
    assert [layer.name for layer in explorer.layers] == ["input", "conv1", "dense1"]


IMAGES = torch.rand(3, 1, 28, 28)
BAD: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "no network": ("DigitsCNN", IMAGES, TypeError, "expected a torch.nn.Module as model"),
    "another size": (DigitsCNN(), IMAGES[..., :20], ValueError, "images that the network takes"),
    "too small": (LeNet5(), IMAGES, ValueError, "images that the network takes"),
    "maps, no logits": (nn.Conv2d(1, 2, 3), IMAGES, ValueError, "one row of logits"),
    "one logit": (
        nn.Sequential(nn.Flatten(), nn.Linear(784, 1)), IMAGES, ValueError,
        r"logits for two classes or more, of shape \(1, classes\) for one picture, got \(1, 1\)",
    ),
    "no row": (
        nn.Sequential(nn.Flatten(0), nn.Linear(784, 1)), IMAGES, ValueError, r"got \(1\): end it",
    ),
    "colours": (DigitsCNN(), torch.rand(2, 3, 28, 28), ValueError, "what is drawn has one channel"),
    "one image": (DigitsCNN(), IMAGES[0, 0], ValueError, r"\(count, 1, height, width\)"),
    "bytes": (DigitsCNN(), IMAGES.byte(), TypeError, "floating-point numbers"),
    "nothing": (DigitsCNN(), IMAGES[:0], ValueError, "empty"),
    "nan": (DigitsCNN(), IMAGES * torch.nan, ValueError, "NaN"),
    "labels": (DigitsCNN(), (IMAGES, torch.zeros(2)), ValueError, r"a tensor of 3 labels.*\(2,\)"),
    "a list": (DigitsCNN(), (IMAGES, [1, 2, 3]), ValueError, "a tensor of 3 labels.*got list"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_shown_is_refused(name: str) -> None:
    model, given_examples, error, words = BAD[name]
    with pytest.raises(error, match=words):
        LayerExplorer(model, given_examples)


def test_a_network_that_gives_nan_is_told_of(model: Any) -> None:
    model = copy.deepcopy(model)
    broken = LayerExplorer(model, IMAGES)
    kept = broken.picture.png
    with torch.no_grad():
        model.main[9].bias.fill_(torch.nan)
    broken.number.value = 1
    assert broken.picture.problem
    assert "NaN" in broken.picture.caption
    assert broken.picture.png == kept


def test_the_still_picture_shows_all_layers_and_probabilities(explorer: LayerExplorer) -> None:
    sheet, bars = explorer.still().axes
    texts = [text.get_text() for text in sheet.texts]
    assert texts[:-1:2] == [layer.name for layer in explorer.layers]
    assert "32 × 28 × 28" in texts
    patches: Any = bars.patches
    heights = [bar.get_height() for bar in patches]
    np.testing.assert_allclose(heights, 100 * explorer.probabilities.numpy(), rtol=1e-5)
    (shown,) = sheet.images
    assert (np.asarray(shown.get_array()) == pixels(explorer.picture.png)).all()
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"].startswith("Layer explorer. Draw")
    assert bundle["image/png"]
