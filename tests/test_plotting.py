"""What is drawn is what was calculated, the colours tell the truth, and nothing is left behind."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbclient
import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from scipy import signal
from torch import Tensor, nn

from cnnlib import kernels
from cnnlib.images import PROJECT, as_image, load_image, to_grey
from cnnlib.plotting import plot_conv, plot_convs, plot_maps, plot_overlap
from cnnlib.style import SIGNED

GENERATOR = torch.Generator().manual_seed(0)
GREY = torch.rand(12, 10, generator=GENERATOR)
COLOUR = torch.rand(3, 12, 10, generator=GENERATOR)
DEVICES = ["cpu"]
if torch.accelerator.is_available():
    DEVICES.append(str(torch.accelerator.current_accelerator()))


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    before = dict(mpl.rcParams)
    yield
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def panels(figure: Figure) -> dict[str, Axes]:
    return {ax.get_title(): ax for ax in figure.axes if ax.get_title()}


def drawn(ax: Axes) -> Tensor:
    return torch.from_numpy(np.array(ax.images[0].get_array()))


def bars(figure: Figure) -> int:
    return sum(ax.get_label() == "<colorbar>" for ax in figure.axes)


def same(image: Tensor, kernel: Tensor) -> Tensor:
    """Return what torch makes of each channel, at the size of the image."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same'")  # for even sizes it copies
        maps = image.reshape(-1, 1, *image.shape[-2:])
        return F.conv2d(maps, kernel[None, None], padding="same")[:, 0]


def boxes(z: np.ndarray) -> np.ndarray:
    return ((z >= 0) & (z <= 1)).astype(float)


# plot_conv.


@settings(max_examples=12)
@given(data=st.data())
def test_filtered_equals_torch_at_the_same_size(data: st.DataObject) -> None:
    height, width, h, w = (data.draw(st.integers(1, 9)) for _ in range(4))
    image, kernel = torch.rand(height, width), torch.randn(h, w)
    figure = plot_conv(image, kernel if data.draw(st.booleans()) else kernel[None, None])
    axes = panels(figure)
    assert list(axes) == ["Original", "Kernel", "Filtered"]
    assert torch.equal(drawn(axes["Original"]), image)
    assert torch.equal(drawn(axes["Kernel"]), kernel)
    torch.testing.assert_close(drawn(axes["Filtered"]), same(image, kernel)[0])


@pytest.mark.parametrize("name", ["identity", "blur", "emboss", "edges", "gradient_x"])
def test_filtered_equals_scipy(name: str) -> None:
    kernel = getattr(kernels, name)()
    expected = signal.correlate2d(GREY.numpy(), kernel.numpy(), "same")
    result = drawn(panels(plot_conv(GREY, kernel))["Filtered"])
    torch.testing.assert_close(result, torch.from_numpy(expected))


@pytest.mark.parametrize("padding", [0, 2, (1, 0), [0, 3]])
@pytest.mark.parametrize("shape", [(3, 3), (2, 5)])
def test_padding_in_pixels(padding: Any, shape: tuple[int, int]) -> None:
    kernel = torch.randn(shape)
    result = drawn(panels(plot_conv(GREY, kernel, padding=padding))["Filtered"])
    expected = F.conv2d(GREY[None, None], kernel[None, None], padding=padding)[0, 0]
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize(
    "image",
    [
        GREY,
        GREY.numpy(),
        GREY.tolist(),
        GREY[None],
        GREY.bfloat16(),
        GREY.double().requires_grad_(),
        (GREY * 255).byte(),
        (GREY * 255).byte().numpy()[::-1],
    ],
)
@pytest.mark.parametrize("as_kernel", [Tensor.numpy, Tensor.tolist, Tensor.double, Tensor.int])
def test_any_kind_of_grey_image_and_kernel(
    image: Any, as_kernel: Callable[[Tensor], object]
) -> None:
    kernel = kernels.emboss()
    result = drawn(panels(plot_conv(image, as_kernel(kernel)))["Filtered"])
    torch.testing.assert_close(result, same(as_image(image), kernel)[0])


@pytest.mark.parametrize(
    "image", [COLOUR, COLOUR.permute(1, 2, 0), (COLOUR * 255).byte().permute(1, 2, 0).numpy()]
)
def test_colour_stays_colour_where_it_can(image: Any) -> None:
    expected = same(as_image(image), kernels.blur())
    figure = plot_conv(image, kernels.blur())
    axes = panels(figure)
    torch.testing.assert_close(drawn(axes["Original"]), as_image(image).permute(1, 2, 0))
    torch.testing.assert_close(drawn(axes["Filtered"]), expected.permute(1, 2, 0))
    assert bars(figure) == 0

    expected = to_grey(same(as_image(image), kernels.edges()))
    figure = plot_conv(image, kernels.edges())
    torch.testing.assert_close(drawn(panels(figure)["Filtered"]), expected)
    assert bars(figure) == 1


@pytest.mark.parametrize("kernel", [kernels.edges(), kernels.gradient_x(), -kernels.blur()])
def test_signed_maps_have_zero_in_the_middle(kernel: Tensor) -> None:
    figure = plot_conv(GREY, kernel)
    image = panels(figure)["Filtered"].images[0]
    low, high = image.get_clim()
    assert low == -high
    assert image.get_cmap() is SIGNED
    assert SIGNED(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.02)
    # The limit is the largest value that the zeros around the image have no part in.
    inside = F.conv2d(GREY[None, None], kernel[None, None])
    assert high == pytest.approx(inside.abs().max().item())
    assert bars(figure) == 1


@pytest.mark.parametrize("image", [GREY, GREY * 300, torch.zeros(12, 10)])
def test_maps_without_signs_are_grey_from_zero(image: Tensor) -> None:
    figure = plot_conv(image, kernels.blur())
    result = panels(figure)["Filtered"].images[0]
    low, high = result.get_clim()
    assert low == 0
    inside = F.conv2d(image[None, None], kernels.blur()[None, None])
    assert high == pytest.approx(max(1, inside.max().item()))  # dark photographs stay dark
    assert result.get_cmap().name == "gray"
    assert bars(figure) == 1


# plot_convs.


def seeded(*args: Any, **kwargs: Any) -> nn.Conv2d:
    torch.manual_seed(1)
    return nn.Conv2d(*args, **kwargs)


@pytest.mark.parametrize(
    ("image", "layer"),
    [
        (GREY, seeded(1, 1, 3)),
        (GREY, seeded(1, 2, 3)),
        (GREY, seeded(1, 3, (2, 5), bias=False)),
        (GREY, seeded(1, 8, 3, stride=(2, 1), padding=1)),
        (GREY, seeded(1, 70, 3)),
        (GREY, seeded(1, 2, 3, padding="same", padding_mode="reflect")),
        (GREY, seeded(1, 2, 5, padding=(2, 1), padding_mode="circular")),
        (GREY, seeded(1, 2, 3, padding="valid", dilation=(2, 3))),
        (GREY, seeded(1, 2, 3, dtype=torch.float64)),
        (GREY, seeded(1, 2, 3, dtype=torch.bfloat16)),
        (GREY, seeded(1, 2, 3, dtype=torch.float16)),
        (GREY.double().requires_grad_(), seeded(1, 2, 3)),
        (COLOUR, seeded(3, 4, 3)),
        (COLOUR, seeded(3, 6, 3, groups=3)),
    ],
)
def test_maps_are_the_output_of_the_layer(image: Tensor, layer: nn.Conv2d) -> None:
    channels = image if image.ndim == 3 else image[None]
    expected = layer(channels.to(layer.weight.dtype)).detach().float()
    figure = plot_convs(image, layer)
    axes = panels(figure)
    original = axes.pop("Original")
    torch.testing.assert_close(
        drawn(original), channels.detach().float().permute(1, 2, 0).squeeze()
    )
    assert list(axes) == [f"Filter {number}" for number in range(1, layer.out_channels + 1)]
    for ax, values in zip(axes.values(), expected, strict=True):
        torch.testing.assert_close(drawn(ax), values)
    # One scale for all.
    limit = expected.abs().max().item()
    limits = (-limit if expected.min() < 0 else 0, limit)
    assert {ax.images[0].get_clim() for ax in axes.values()} == {limits}
    assert bars(figure) == 1


@pytest.mark.parametrize("device", DEVICES)
def test_layers_on_any_device(device: str) -> None:
    layer = seeded(3, 2, 3).to(device)
    axes = panels(plot_convs(COLOUR.to(device), layer))
    expected = layer(COLOUR.to(device)).detach().cpu()
    assert layer.weight.device.type == device
    for number, values in enumerate(expected, start=1):
        torch.testing.assert_close(drawn(axes[f"Filter {number}"]), values)


@pytest.mark.parametrize("axis", [True, False])
@pytest.mark.parametrize(
    ("plot", "argument"), [(plot_conv, kernels.edges()), (plot_convs, seeded(1, 3, 3))]
)
def test_axis_numbers_rows_and_columns(
    plot: Callable[..., Figure], argument: Any, axis: bool
) -> None:
    axes = panels(plot(GREY, argument, axis=axis))
    axes.pop("Kernel", None)
    for ax in axes.values():
        for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
            assert any(label.get_text() for label in labels) == axis
        assert (ax.get_xlabel(), ax.get_ylabel() == "row") == (
            ("column", True) if axis else ("{} × {}".format(*drawn(ax).shape), False)
        )


@pytest.mark.parametrize("training", [True, False])
def test_layer_and_image_stay_as_they_are(training: bool) -> None:
    layer, image = seeded(1, 2, 3).train(training), GREY.clone().requires_grad_()
    layer(image[None]).sum().backward()
    kept = {name: (value.clone(), value.grad.clone()) for name, value in layer.named_parameters()}  # type: ignore[union-attr]
    kept_image, kept_grad = image.detach().clone(), image.grad.clone()  # type: ignore[union-attr]
    plot_convs(image, layer)
    plot_conv(image, layer.weight[:1])
    plot_maps({"image": image})
    assert layer.training == training
    for name, value in layer.named_parameters():
        assert torch.equal(value, kept[name][0])
        assert value.grad is not None
        assert torch.equal(value.grad, kept[name][1])
    assert image.requires_grad
    assert torch.equal(image, kept_image)
    assert image.grad is not None
    assert torch.equal(image.grad, kept_grad)


# The lines that the course was built around.


@pytest.mark.parametrize(
    "conv_layer",
    [
        torch.nn.Conv2d(1, 1, 3),
        torch.nn.Conv2d(1, 2, 3),
        torch.nn.Conv2d(1, 3, 5),
        torch.nn.Conv2d(1, 1, (51, 51)),
        torch.nn.Conv2d(1, 1, (51, 51), padding=25),
        torch.nn.Conv2d(1, 1, (25, 25), stride=3),
    ],
)
def test_lines_of_the_course(conv_layer: nn.Conv2d, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    image = torch.from_numpy(plt.imread("img/cat.png"))[:, :, 0]
    kernel = torch.tensor([[[[-1.0, -1.0, -1.0], [-1.0, 8.0, -1.0], [-1.0, -1.0, -1.0]]]])
    figures = [
        plot_conv(image, kernel),
        plot_convs(image, conv_layer),
        plot_convs(image, conv_layer, axis=True),
    ]
    torch.testing.assert_close(
        drawn(panels(figures[0])["Filtered"]), same(image, kernel[0, 0])[0], rtol=0, atol=1e-5
    )
    for figure in figures[1:]:
        for number, values in enumerate(conv_layer(image[None]).detach(), start=1):
            torch.testing.assert_close(drawn(panels(figure)[f"Filter {number}"]), values)


def test_jupyter_shows_a_figure_once() -> None:
    cells = [
        "import matplotlib.pyplot as plt\nimport torch\nfrom cnnlib.plotting import *\n"
        "image = torch.from_numpy(plt.imread('img/cat.png'))[:, :, 0]",
        "plot_conv(image, torch.ones(1, 1, 3, 3))",
        "plt.show()",
        "plot_convs(image, torch.nn.Conv2d(1, 2, 3))",
        "figure = plot_convs(image, torch.nn.Conv2d(1, 2, 3))",
        "_ = plt.plot([1, 2])",  # figures of the reader's own are shown as before
    ]
    new: Any = nbformat.v4
    notebook = new.new_notebook(cells=[new.new_code_cell(cell) for cell in cells])
    resources = {"metadata": {"path": str(PROJECT)}}
    nbclient.NotebookClient(notebook, kernel_name="python3", resources=resources).execute()
    pictures = [
        ["image/png" in output.get("data", {}) for output in cell.outputs]
        for cell in notebook.cells
    ]
    assert pictures == [[], [True], [], [True], [], [True]]


# plot_maps, plot_overlap and the writing of numbers.


def test_plot_maps_writes_every_value_into_small_matrices() -> None:
    small = torch.arange(64).reshape(8, 8) - 30
    figure = plot_maps({"small": small, "large": torch.ones(2, 9), "whole": [[-1000000, 0]]})
    axes = panels(figure)
    texts = {
        (round(text.get_position()[1]), round(text.get_position()[0])): text.get_text()
        for text in axes["small"].texts
    }
    assert texts == {
        (i, j): str(small[i, j].item()).replace("-", "−") for i in range(8) for j in range(8)
    }
    assert [text.get_text() for text in axes["whole"].texts] == ["−1000000", "0"]
    assert not axes["large"].texts
    assert bars(figure) == 1  # for the one without its values


def test_plot_maps_shows_colour_and_scales_each_matrix_on_its_own() -> None:
    top = GREY.max().item()
    axes = panels(plot_maps({"colour": COLOUR, "signed": -GREY, "large": GREY * 40}))
    torch.testing.assert_close(drawn(axes["colour"]), COLOUR.permute(1, 2, 0))
    assert axes["signed"].images[0].get_clim() == pytest.approx((-top, top))
    assert axes["large"].images[0].get_clim() == pytest.approx((0, 40 * top))


def test_kernels_are_written_as_fractions() -> None:
    texts = [text.get_text() for text in panels(plot_conv(GREY, kernels.blur()))["Kernel"].texts]
    assert texts == ["1/16", "1/8", "1/16", "1/8", "1/4", "1/8", "1/16", "1/8", "1/16"]


def test_what_rounding_leaves_of_zero_is_written_as_zero() -> None:
    (ax,) = panels(plot_maps({"map": torch.tensor([[1.0, 1e-8], [0.5, -1e-9]])})).values()
    assert [text.get_text() for text in ax.texts] == ["1", "0", "0.5", "0"]


def test_plot_overlap_of_two_boxes_is_a_triangle() -> None:
    z, shifts = np.linspace(-1, 3, 401), [-0.5, 0.25, 1.0, 1.5]
    first, *above, below = plot_overlap(boxes, boxes, z, shifts).axes
    assert first.get_title() == "f and g"
    triangle = np.maximum(0, 1 - np.abs(np.array(shifts) - 1))
    for ax, x, area in zip(above, shifts, triangle, strict=True):
        horizontal, vertical = np.asarray(ax.collections[0].get_paths()[0].vertices).T
        filled = abs(np.trapezoid(vertical, horizontal))  # once around the shape
        assert filled == pytest.approx(area, abs=0.02)
        assert ax.get_title().startswith(f"x = {x:g}\narea ")
        assert float(ax.get_title().split()[-1]) == pytest.approx(area, abs=0.02)
    curve, points = (np.asarray(line.get_xydata(), dtype=float) for line in below.lines)
    np.testing.assert_allclose(curve[:, 0], z)
    np.testing.assert_allclose(curve[:, 1], np.maximum(0, 1 - abs(z - 1)), atol=0.02)
    np.testing.assert_allclose(points, np.stack([shifts, triangle], 1), atol=0.02)


# All of them.


@pytest.mark.parametrize(
    "plot",
    [
        lambda: plot_conv(COLOUR, kernels.gradient_y(), axis=True),
        lambda: plot_conv(torch.ones(1, 1), torch.ones(60, 60)),
        lambda: plot_convs(torch.rand(2, 300), seeded(1, 3, 2), axis=True),
        lambda: plot_convs(torch.rand(300, 2), seeded(1, 3, 2)),
        lambda: plot_maps({"a": torch.rand(3, 3), "b": torch.rand(50, 2)}, height=2),
        lambda: plot_overlap(boxes, boxes, np.linspace(-1, 3, 101), [0.5]),
    ],
)
def test_figures_can_be_saved_later(plot: Callable[[], Figure]) -> None:
    figure = plot()
    assert isinstance(figure, Figure)
    file = io.BytesIO()
    figure.savefig(file, bbox_inches="tight", dpi=50)
    with Image.open(file) as picture:
        assert len(picture.convert("L").getcolors() or []) > 2


ONE = seeded(1, 1, 3)
BROKEN = seeded(1, 1, 3)
with torch.no_grad():
    BROKEN.weight[0, 0, 1, 2] = float("nan")
BIASED = seeded(1, 1, 3)
with torch.no_grad():
    BIASED.bias.fill_(float("inf"))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("plot", "other"), [(plot_conv, kernels.edges()), (plot_convs, ONE), (plot_maps, None)]
)
@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        ([], ValueError, "image is empty"),
        (torch.ones(3), ValueError, r"image of shape \(height, width\).*got \(3,\)"),
        (torch.ones(1, 1, 5, 5), ValueError, r"image\[0\]"),
        (torch.ones(2, 5, 5), ValueError, "1, 3 or 4 channels"),
        ([[float("nan"), 1]], ValueError, "image holds NaN or infinite"),
        ([[1, float("inf")]], ValueError, "image holds NaN or infinite"),
        ([[1j]], TypeError, "real numbers for image.*complex"),
        ("img/cat.png", TypeError, "numbers for image, got str"),
        (None, TypeError, "numbers for image, got NoneType"),
    ],
)
def test_refuses_an_image(
    plot: Callable[..., Figure], other: Any, image: Any, error: type[Exception], words: str
) -> None:
    arguments = ({"image": image},) if other is None else (image, other)
    with pytest.raises(error, match=words):
        plot(*arguments)


@pytest.mark.parametrize(
    ("kernel", "padding", "error", "words"),
    [
        ([], "same", ValueError, "kernel is empty"),
        (torch.ones(3), "same", ValueError, r"kernel of shape \(height, width\).*got \(3,\)"),
        (torch.ones(1, 3, 3), "same", ValueError, r"kernel of shape.*got \(1, 3, 3\)"),
        (torch.ones(2, 1, 3, 3), "same", ValueError, r"got \(2, 1, 3, 3\).*plot_convs"),
        ([[float("nan")]], "same", ValueError, "kernel holds NaN or infinite"),
        ([[float("inf")]], "same", ValueError, "kernel holds NaN or infinite"),
        ([[1j]], "same", TypeError, "real numbers for kernel.*complex"),
        ("edges", "same", TypeError, "numbers for kernel, got str"),
        (None, "same", TypeError, "numbers for kernel, got NoneType"),
        ([[1]], "full", ValueError, "padding \"same\", a number or a pair, got 'full'"),
        ([[1]], -1, ValueError, "padding must be 0 or more, got -1"),
        ([[1]], 0.5, TypeError, "whole number for padding, got 0.5"),
        ([[1]], (1, 2, 3), ValueError, "padding as one number or a pair"),
        (torch.ones(3, 13), (9, 1), ValueError, "over 13 pixels .* only 12"),
    ],
)
def test_plot_conv_refuses(kernel: Any, padding: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        plot_conv(GREY, kernel, padding=padding)


@pytest.mark.parametrize(
    ("image", "layer", "error", "words"),
    [
        (COLOUR, ONE, ValueError, r"3 channel\(s\) and the layer expects 1"),
        (GREY, seeded(3, 1, 3), ValueError, r"1 channel\(s\) and the layer expects 3"),
        (GREY, seeded(1, 1, 13, padding=1), ValueError, "over 13 pixels .* only 12"),
        (GREY, seeded(1, 1, (1, 11), padding="valid"), ValueError, "over 11 pixels .* only 10"),
        (GREY, seeded(1, 1, 3, dilation=6), ValueError, "over 13 pixels .* only 12"),
        (GREY, BROKEN, ValueError, "layer's weight holds NaN or infinite"),
        (GREY, BIASED, ValueError, "layer's output holds NaN or infinite"),
        (GREY, seeded(1, 1, 3, dtype=torch.complex64), TypeError, "layer's weight.*complex"),
        (GREY, nn.Sequential(ONE), TypeError, r"torch.nn.Conv2d.*got Sequential.*model\[0\]"),
        (GREY, nn.Linear(10, 2), TypeError, "torch.nn.Conv2d layer, got Linear"),
        (GREY, nn.Conv1d(1, 1, 3), TypeError, "torch.nn.Conv2d layer, got Conv1d"),
        (GREY, nn.ConvTranspose2d(1, 1, 3), TypeError, "Conv2d layer, got ConvTranspose2d"),
        (GREY, kernels.edges(), TypeError, "torch.nn.Conv2d layer, got Tensor"),
        (GREY, None, TypeError, "torch.nn.Conv2d layer, got NoneType"),
    ],
)
def test_plot_convs_refuses(image: Tensor, layer: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        plot_convs(image, layer)


def test_pictures_of_the_course_can_be_filtered() -> None:
    wall = load_image("img/bricks.png", grey=True)
    result = drawn(panels(plot_conv(wall, kernels.gradient_y()))["Filtered"])
    torch.testing.assert_close(result, same(wall, kernels.gradient_y())[0], rtol=0, atol=1e-5)
