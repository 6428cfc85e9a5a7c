"""Digits drawn in JupyterLab with the mouse and with keys, read by a network that was trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Locator, Page, expect
from torch import Tensor

from cnnlib.datasets import digits
from cnnlib.explorers.pad import centred
from cnnlib.models import DigitsCNN
from cnnlib.style import scale
from cnnlib.training import fit
from tests.browser.conftest import Seen
from tests.browser.lab import Lab, Notebook, drag, press, slider
from tests.browser.shown import caption

FILE = "digits.pt"
SET_UP = f"""
import torch

from cnnlib.explorers.layers import LayerExplorer
from cnnlib.models import DigitsCNN

weights, images, labels = torch.load("{FILE}")
model = DigitsCNN(pool_first=True)
model.load_state_dict(weights)
"""
# Strokes, as places (x, y) in parts of the pad: small and off the middle, as people draw.
ROUND = [(0.4 + 0.2 * math.sin(t / 3), 0.4 - 0.3 * math.cos(t / 3)) for t in range(20)]
STROKES = {1: [(0.64, 0.2), (0.6, 0.75)], 7: [(0.2, 0.15), (0.65, 0.15), (0.3, 0.8)], 0: ROUND}
Trained = tuple[DigitsCNN, Tensor, Tensor]
INK = """(canvas) => Array.from(
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data)"""


MAP = """async (image, [left, top, width, height]) => {
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    context.drawImage(image, -left, -top);
    return Array.from(context.getImageData(0, 0, width, height).data);
}"""


@pytest.fixture(scope="module")
def trained(started_lab: Lab) -> Trained:
    """A network that has learned from 1,000 digits, and a few others, also in a file for pages."""
    train, test = digits()
    torch.manual_seed(0)
    model = DigitsCNN(pool_first=True)
    few = train.images[:1000], train.labels[:1000]
    settings: dict[str, Any] = {"epochs": 5, "batch_size": 32, "lr": 4e-3, "progress": False}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # beside other tests, several wait for one another
    fit(model, few, schedule="one-cycle", device="cpu", **settings)
    torch.set_num_threads(threads)
    examples = test.images[:20].clone(), test.labels[:20].clone()
    torch.save([model.state_dict(), *examples], started_lab.root / FILE)
    return model.eval(), *examples


@pytest.fixture
def notebook(trained: Trained, run_cells: Callable[[Sequence[str]], Notebook]) -> Notebook:
    notebook = run_cells([SET_UP, "LayerExplorer(model, (images, labels))"])
    assert notebook.errors() == []
    return notebook


def pad_of(output: Locator) -> Locator:
    return output.get_by_role("application", name="Drawing pad")


def ink_of(output: Locator) -> Tensor:
    """Return what can be seen on the pad, shape (28, 28), 0 for paper and 1 for ink."""
    values = output.locator("canvas").evaluate(INK)
    return torch.tensor(values).view(28, 28, 4)[..., 0] / 255


def draw(page: Page, pad: Locator, places: Sequence[tuple[float, float]], steps: int = 5) -> None:
    """Draw a stroke with the mouse."""
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    x, y = places[0]
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.mouse.down()
    for x, y in places[1:]:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=steps)
    page.mouse.up()


def expect_read(output: Locator, model: DigitsCNN, image: Tensor) -> int:
    """Expect on the page what PyTorch calculates for an image, and return the class."""
    with torch.no_grad():
        probabilities = model(image.view(1, 1, 28, 28))[0].softmax(0)
    best = int(probabilities.argmax())
    percent = [f"{100 * part:.1f} %" for part in probabilities.tolist()]
    bars = output.locator(".cnnlib-picture").first.locator(".overlay text:nth-of-type(even)")
    expect(bars).to_have_text(percent)
    expect(caption(output)).to_contain_text(f"says {best} with {percent[best]}")
    return best


def test_digits_drawn_with_the_mouse_are_read(
    notebook: Notebook, trained: Trained, page: Page, seen: Seen
) -> None:
    output, model = notebook.output(1), trained[0]
    for digit, places in STROKES.items():
        output.get_by_role("button", name="Clear").click()
        draw(page, pad_of(output), places)
        ink = ink_of(output)
        assert ink.max() == 1
        assert expect_read(output, model, centred(ink)) == digit
        expect(caption(output)).to_contain_text("(your drawing)")

    box = output.get_by_role("checkbox", name="centre drawings")
    box.uncheck()
    expect_read(output, model, ink)
    box.check()
    page.keyboard.down("Shift")  # which erases
    draw(page, pad_of(output), [*places, *places])
    page.keyboard.up("Shift")
    assert ink_of(output).sum() < 0.3 * ink.sum()
    expect_read(output, model, centred(ink_of(output)))
    assert (seen.errors, seen.foreign) == ([], [])


def test_a_digit_is_drawn_with_keys(
    notebook: Notebook, trained: Trained, page: Page, seen: Seen
) -> None:
    output, model = notebook.output(1), trained[0]
    selected = notebook.selected()
    pad = pad_of(output)
    press(pad, "Delete")
    expect_read(output, model, torch.zeros(28, 28))
    press(pad, "ArrowUp", times=8)
    expect(output.get_by_text("row 6, column 14")).to_be_visible()
    press(pad, "Enter")
    dab = ink_of(output)
    assert tuple(divmod(int(dab.argmax()), 28)) == (6, 14)
    assert 4 < dab.sum() < 12
    expect_read(output, model, centred(dab))
    page.keyboard.down("Space")
    press(pad, "ArrowDown", times=14)
    page.keyboard.up("Space")
    press(pad, "ArrowDown", times=2)  # the pen is up
    ink = ink_of(output)
    assert ink[6:21, 14].min() == 1
    assert ink[23:].max() == 0
    assert expect_read(output, model, centred(ink)) == 1
    press(pad, "Shift+Space")
    press(pad, "Backspace")
    expect_read(output, model, torch.zeros(28, 28))
    assert notebook.selected() == selected
    assert notebook.sources() == [SET_UP, "LayerExplorer(model, (images, labels))"]
    assert (seen.errors, seen.foreign) == ([], [])


def test_examples_and_maps_are_chosen_and_reset(
    notebook: Notebook, trained: Trained, page: Page, seen: Seen
) -> None:
    output, (model, images, labels) = notebook.output(1), trained
    expect_read(output, model, images[0])
    expect(caption(output)).to_contain_text(f"(label {labels[0]})")
    press(slider(output, "example"), "ArrowRight", times=3)
    expect_read(output, model, images[3])
    press(slider(output, "example"), "ArrowRight")
    expect_read(output, model, images[4])
    expect(caption(output)).to_contain_text(f"(label {labels[4]})")
    torch.testing.assert_close(ink_of(output), images[4, 0], atol=0.5 / 255, rtol=0)

    sheet = output.get_by_role("application", name="The maps of 8 layers")
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    assert box is not None
    height, width = 542, 1118  # of the sheet, in its pixels
    with torch.no_grad():
        maps = model.main[:4](images[4:5])[0]
    norm, colours = scale(maps, unit=0.0)
    # The twelfth map of the second convolution, by its place on the sheet.
    left, top = 190 + 11 * 29, 68 + 3 * 54
    shown = np.array(sheet.locator("img").evaluate(MAP, [left, top, 28, 28])).reshape(28, 28, 4)
    expected = colours(norm(maps[11].numpy()), bytes=True)
    np.testing.assert_array_equal(shown[::2, ::2], expected)
    x, y = (left + 14) / width, (top + 14) / height
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    expect(caption(output)).to_contain_text("conv2, map 12 of 64: 32 kernels of 3 × 3")
    press(sheet, "PageDown")
    press(sheet, "ArrowDown")
    expect(caption(output)).to_contain_text("pool2, map 44 of 64: 32 kernels of 3 × 3 in conv2")
    title = output.locator(".cnnlib-picture .overlay").get_by_text("pool2, map 44 of 64")
    expect(title).to_be_visible()
    press(sheet, "PageDown", times=4)
    press(sheet, "End")
    expect(caption(output)).to_contain_text("dense2, number 10 of 10: 64 weights, the logit of 9")

    press(output.get_by_role("button", name="Reset"), "Enter")
    expect_read(output, model, images[0])
    expect(caption(output)).to_contain_text("conv1, map 1 of 32: 1 kernel of 3 × 3")
    assert (seen.errors, seen.foreign) == ([], [])


def test_fast_strokes_end_in_what_is_on_the_pad(
    notebook: Notebook, trained: Trained, page: Page, seen: Seen
) -> None:
    output = notebook.output(1)
    for number in range(10):
        if number % 4 == 3:  # at once, so that no stroke from before may come after it
            output.get_by_role("button", name="Clear").click()
            assert ink_of(output).sum() == 0
        far = 0.1 + 0.08 * number
        draw(page, pad_of(output), [(far, 0.1), (1 - far, 0.9), (0.9, far)], steps=20)
    expect_read(output, trained[0], centred(ink_of(output)))
    for number in range(10):
        drag(slider(output, "example"), to=1.0 if number % 2 else 0.2, steps=10)
    expect_read(output, trained[0], trained[1][19])
    readout = output.locator(".widget-readout").first
    for typed in ("999", "-3", "x", ""):
        readout.fill(typed)
        readout.press("Enter")
    expect(output.locator(".cnnlib-picture.problem")).to_have_count(0)
    assert (seen.errors, seen.foreign) == ([], [])
