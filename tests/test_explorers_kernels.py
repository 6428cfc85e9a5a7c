"""KernelExplorer, driven as its widgets would: what it shows is what PyTorch calculates."""

import base64
import io
from datetime import datetime
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from cnnlib import kernels
from cnnlib.explorers import KernelExplorer
from cnnlib.images import load_image
from cnnlib.style import scale

DATED = {"last_modified": datetime(2026, 1, 1)}
CAT = load_image("img/cat.png", grey=True)


def expected(image: Tensor, kernel: Tensor) -> Tensor:
    """Correlate each channel with PyTorch alone."""
    return F.conv2d(image.reshape(-1, 1, *image.shape[-2:]), kernel[None, None], padding="same")[
        :, 0
    ]


def pixels(png: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_starts_with_the_edges() -> None:
    explorer = KernelExplorer(CAT)
    assert torch.equal(explorer.kernel, kernels.edges())
    torch.testing.assert_close(explorer.output[None], expected(CAT, kernels.edges()))
    assert explorer.picture.caption.startswith("from −1.81 to 3.17: blue is negative")


@settings(max_examples=25, deadline=None)
@given(
    weights=st.lists(st.floats(-8, 8, width=16), min_size=9, max_size=9),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
def test_shows_what_pytorch_calculates(weights: list[float], shape: tuple[int, int]) -> None:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    explorer = KernelExplorer(image)
    inner = [5 * i + j for i in (1, 2, 3) for j in (1, 2, 3)]
    for number, weight in zip(inner, weights, strict=True):
        explorer.boxes[number].value = weight
    kernel = torch.tensor(weights).view(3, 3)
    assert torch.equal(explorer.kernel, kernel)
    torch.testing.assert_close(explorer.output[None], expected(image, kernel))


def test_the_picture_has_a_pixel_for_each_value_in_the_colours_of_the_course() -> None:
    explorer = KernelExplorer(CAT)
    explorer.named.value = "gradient x"
    result = expected(CAT, kernels.gradient_x())[0]
    limits, colours = scale(result, result[1:-1, 1:-1])
    wanted = (np.asarray(colours(limits(result.numpy())))[..., :3] * 255).round()
    shown = pixels(explorer.picture.png)
    assert shown.shape == (100, 100, 3)
    assert np.abs(shown - wanted).max() <= 1
    assert np.abs(pixels(explorer.original.png)[..., 0] - CAT.numpy() * 255).max() <= 1


def test_a_colour_picture_is_filtered_channel_by_channel() -> None:
    colour = load_image("img/cat.png")
    explorer = KernelExplorer(colour)
    explorer.named.value = "blur"
    result = expected(colour, kernels.blur())
    torch.testing.assert_close(explorer.output, result)
    shown = pixels(explorer.picture.png).transpose(2, 0, 1)
    assert np.abs(shown - result.numpy() * 255).max() <= 1
    assert explorer.picture.caption.startswith("in colour")


def test_slider_boxes_and_names_follow_one_another() -> None:
    explorer = KernelExplorer(CAT)
    explorer.slider.value = 9.5
    assert (explorer.boxes[12].value, explorer.named.value) == (9.5, "my own")
    explorer.boxes[6].value = -2
    assert (explorer.chosen.label, explorer.slider.value) == ("1 up, 1 left", -2)
    explorer.chosen.value = 12
    assert explorer.slider.value == 9.5
    explorer.boxes[12].value = 40  # beyond the slider, which must not pull it back
    assert (explorer.kernel[1, 1].item(), explorer.slider.value) == (40, 16)
    explorer.named.value = "emboss"
    assert torch.equal(explorer.kernel, kernels.emboss())
    assert explorer.slider.value == 1


def test_sizes() -> None:
    explorer = KernelExplorer(CAT)
    explorer.size.value = 5
    assert torch.equal(explorer.kernel, F.pad(kernels.edges(), (1, 1, 1, 1)))
    assert len(explorer.weights.children) == 25
    explorer.named.value = "blur"
    torch.testing.assert_close(explorer.kernel, kernels.blur(5))
    explorer.size.value = 3
    torch.testing.assert_close(explorer.kernel, kernels.blur(3))
    assert len(explorer.weights.children) == 9
    other = KernelExplorer(CAT, torch.arange(25.0).view(5, 5))
    assert torch.equal(other.kernel, torch.arange(25.0).view(5, 5))


def test_dividing_by_the_sum() -> None:
    explorer = KernelExplorer(CAT, torch.ones(3, 3))
    explorer.normalise.value = True
    torch.testing.assert_close(explorer.kernel, torch.full((3, 3), 1 / 9))
    before = explorer.picture.png
    explorer.named.value = "edges"
    assert explorer.picture.problem
    assert "nothing can be divided by 0" in explorer.picture.caption
    assert explorer.picture.png == before
    explorer.named.value = "identity"
    assert not explorer.picture.problem


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e9, -1e308])
def test_a_weight_that_cannot_be_is_refused_in_words(bad: float) -> None:
    explorer = KernelExplorer(CAT)
    before = explorer.picture.png
    explorer.boxes[12].value = bad
    assert explorer.picture.problem
    assert "between −1,000,000 and 1,000,000" in explorer.picture.caption
    assert explorer.picture.png == before
    explorer.boxes[12].value = 8
    assert not explorer.picture.problem


def test_pointing_shows_the_sum() -> None:
    explorer = KernelExplorer(CAT)
    explorer.picture.at = [0, 0, 99]
    value = expected(CAT, kernels.edges())[0, 0, 99]
    assert explorer.picture.caption.endswith(f"add up to {value:.3g}.")
    assert explorer.zoom.overlay.count("×−1") == 8
    assert 'x="98" y="-1" width="3"' in explorer.original.overlay


def test_reset_goes_back_to_the_start() -> None:
    explorer = KernelExplorer(CAT, kernels.blur(5))
    start = explorer.picture.png, explorer.picture.caption, explorer.kernel.tolist()
    explorer.picture.at = [0, 3, 3]
    explorer.size.value = 3
    explorer.named.value = "emboss"
    explorer.normalise.value = True
    explorer.boxes[12].value = float("nan")
    explorer.reset()
    now = explorer.picture.png, explorer.picture.caption, explorer.kernel.tolist()
    assert now == start
    assert explorer.original.overlay == ""
    assert (explorer.size.value, explorer.named.value) == (5, "my own")


def uploaded(content: bytes, name: str = "mine.png") -> tuple[dict[str, Any], ...]:
    """Return what ipywidgets makes of an upload."""
    return ({"name": name, "type": "image/png", "size": len(content), "content": content, **DATED},)


def test_an_uploaded_picture_takes_the_place_of_the_given_one() -> None:
    explorer = KernelExplorer(CAT)
    explorer.picture.at = [0, 99, 99]
    file = io.BytesIO()
    Image.fromarray(np.full((300, 1024, 3), 128, np.uint8)).save(file, "PNG")
    explorer.upload.value = uploaded(file.getvalue())
    assert tuple(explorer.image.shape) == (150, 512)
    torch.testing.assert_close(explorer.image, torch.full((150, 512), 128 / 255))
    assert explorer.picture.size == [512, 150]
    explorer.reset()
    assert torch.equal(explorer.image, CAT)


def test_an_uploaded_file_that_is_no_picture_is_refused_in_words() -> None:
    explorer = KernelExplorer(CAT)
    explorer.upload.value = uploaded(b"no picture")
    assert explorer.picture.problem
    assert "is not a picture that Pillow can read" in explorer.picture.caption
    explorer.slider.value = 3
    assert explorer.picture.problem
    explorer.reset()
    assert not explorer.picture.problem


def test_wrong_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 3\) or \(5, 5\), got \(2, 2\)"):
        KernelExplorer(CAT, torch.ones(2, 2))
    with pytest.raises(ValueError, match="expected image of shape"):
        KernelExplorer(torch.ones(1, 1, 8, 8))


def test_inputs_stay_as_they_are() -> None:
    image, kernel = CAT.clone(), kernels.blur(5)
    KernelExplorer(image, kernel).slider.value = 3
    assert torch.equal(image, CAT)
    assert torch.equal(kernel, kernels.blur(5))


def test_where_widgets_cannot_run_there_is_a_still_picture_with_its_description() -> None:
    explorer = KernelExplorer(CAT)
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"].startswith("Kernel explorer. Change the nine")
    assert "0x" not in bundle["text/plain"]
    assert Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).size == (800, 300)
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
