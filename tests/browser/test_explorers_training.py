"""TrainingExplorer in JupyterLab; PyTorch's own layer and optimisers say what must be seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest
import torch
from playwright.sync_api import Locator, Page, expect
from torch import Tensor, nn

from cnnlib.convolution import corr2d
from cnnlib.explorers.surface import CELLS, LEFT, PIXELS, SIDE, SIZE, TOP
from tests.browser.conftest import Seen
from tests.browser.lab import Notebook, drag, press, slider

MADE = (
    "import torch\nfrom cnnlib.convolution import corr2d\n"
    "from cnnlib.explorers import TrainingExplorer\n"
    "X = torch.ones(6, 8)\nX[:, 2:6] = 0\nY = corr2d(X, torch.tensor([[1.0, -1.0]]))"
)
CELLS_OF_CODE = [MADE, "explorer = TrainingExplorer(X, Y)\nexplorer"]
START = torch.tensor([-0.6504, 0.7048])  # the lecture's, which is random
Run = Callable[[Sequence[str]], Notebook]


def caption(output: Locator) -> Locator:
    return output.locator(".cnnlib-picture figcaption").first


def surface(output: Locator) -> Locator:
    return output.locator(".pointable")


def value(output: Locator, name: str) -> float:
    """Read what stands beside a slider."""
    label = output.page.get_by_text(name, exact=True)
    found = output.locator(".widget-slider").filter(has=label).locator(".widget-readout")
    return float(found.inner_text())


def learned(start: Tensor, lr: float, steps: int = 14) -> Tensor:
    """Return the weights after a number of steps."""
    X = torch.ones(1, 1, 6, 8)
    X[..., 2:6] = 0
    Y = corr2d(X[0, 0], torch.tensor([[1.0, -1.0]]))
    layer = nn.Conv2d(1, 1, (1, 2), bias=False)
    layer.weight.data = start.view(1, 1, 1, 2).clone()
    optimiser = torch.optim.SGD(layer.parameters(), lr)
    for _ in range(steps):
        optimiser.zero_grad()
        ((layer(X)[0, 0] - Y) ** 2).sum().backward()
        optimiser.step()
    return layer.weight.detach().flatten()


SAID = """([caption, weights]) => {
    const said = caption.textContent.match(/w = \\((\\S+), (\\S+)\\)/);
    const differs = (w, k) => Math.abs(w - Number(said[k + 1].replace("−", "-"))) > 0.006;
    return said && !weights.some(differs);
}"""


def shows(output: Locator, weights: Tensor) -> None:
    """Wait until the caption says these weights; compare the place where the way ends with them."""
    arguments = [caption(output).element_handle(), weights.tolist()]
    output.page.wait_for_function(SAID, arg=arguments)
    end = surface(output).locator(".overlay > g circle").bounding_box()
    stage = surface(output).bounding_box()
    assert end is not None
    assert stage is not None
    pixel = stage["width"] / SIZE[0]
    x = (end["x"] + end["width"] / 2 - stage["x"]) / pixel - LEFT - SIDE / 2
    y = (end["y"] + end["height"] / 2 - stage["y"]) / pixel - TOP - SIDE / 2
    drawn = [1 + 0.1 * x / PIXELS, -1 - 0.1 * y / PIXELS]
    assert drawn == pytest.approx(weights.tolist(), abs=0.02)


@pytest.mark.parametrize("width", [1280, 1920])
def test_by_mouse(run_cells: Run, page: Page, seen: Seen, width: int) -> None:
    page.set_viewport_size({"width": width, "height": width * 9 // 16})
    notebook = run_cells(CELLS_OF_CODE)
    output = notebook.output(1)
    start = (
        "After 14 of 14 steps: w = (0.998, −0.996), loss 0.000212. "
        "2/λ = 0.0333: with a larger learning rate, w runs away."
    )
    expect(caption(output)).to_have_text(start)
    shows(output, learned(START, 0.03))
    drag(slider(output, "learning rate"), to=0.5)
    expect(caption(output)).not_to_have_text(start)
    shows(output, learned(START, value(output, "learning rate")))
    drag(slider(output, "learning rate"), to=0.9)
    expect(caption(output)).to_contain_text("is above 2/λ = 0.0333: w runs away.")
    expect(surface(output).locator(".overlay > g path")).to_be_visible()  # at the edge
    drag(slider(output, "learning rate"), to=0.4)
    expect(caption(output)).to_contain_text("with a larger learning rate, w runs away.")
    stage = surface(output).bounding_box()
    assert stage is not None
    pixel = stage["width"] / SIZE[0]
    for row, column in ((4, 8), (33, 5), (30, 35)):
        place = {
            "x": (LEFT + (column + 0.5) * PIXELS) * pixel,
            "y": (TOP + (row + 0.5) * PIXELS) * pixel,
        }
        surface(output).click(position={"x": place["x"], "y": place["y"]})
        begin = torch.tensor([1 + 0.1 * (column - CELLS // 2), -1 - 0.1 * (row - CELLS // 2)])
        words = f"from ({begin[0]:.3g}, {begin[1]:.3g}), in the frame".replace("-", "−")
        expect(surface(output)).to_have_attribute("aria-label", re.compile(re.escape(words)))
        shows(output, learned(begin, value(output, "learning rate")))
    output.get_by_role("button", name="Reset").click()
    expect(caption(output)).to_have_text(start)
    shows(output, learned(START, 0.03))
    assert (notebook.errors(), seen.errors, seen.foreign) == ([], [], [])


def test_by_keyboard_alone(run_cells: Run, page: Page, seen: Seen) -> None:
    notebook = run_cells(CELLS_OF_CODE)
    output, selected = notebook.output(1), notebook.selected()
    press(slider(output, "show step"), "ArrowLeft", times=4)
    expect(caption(output)).to_contain_text("After 10 of 14 steps")
    shows(output, learned(START, 0.03, steps=10))
    press(slider(output, "steps"), "ArrowRight", times=3)
    expect(caption(output)).to_contain_text("After 17 of 17 steps")
    shows(output, learned(START, 0.03, steps=17))
    press(surface(output), "ArrowRight")
    page.keyboard.press("ArrowDown")
    begin = re.compile(r"from \(−0\.6, 0\.6\), in the frame")
    expect(surface(output)).to_have_attribute("aria-label", begin)
    shows(output, learned(torch.tensor([-0.6, 0.6]), 0.03, steps=17))
    press(output.get_by_label("optimiser"), "ArrowDown")
    expect(caption(output)).to_contain_text("3.8/λ = 0.0633")
    page.keyboard.press("ArrowDown")
    expect(caption(output)).to_contain_text("Adam's first steps")
    press(slider(output, "batch"), "ArrowLeft", times=2)
    expect(caption(output)).to_contain_text("Each step sees 40 of the 42 values of Y.")
    press(output.get_by_role("button", name="Reset"), "Enter")
    expect(caption(output)).to_contain_text("After 14 of 14 steps: w = (0.998, −0.996)")
    shows(output, learned(START, 0.03))
    assert notebook.selected() == selected
    assert notebook.sources() == CELLS_OF_CODE
    assert seen.errors == []


def test_the_steps_are_played(run_cells: Run, page: Page, seen: Seen) -> None:
    output = run_cells(CELLS_OF_CODE).output(1)
    play = output.locator(".widget-play button").first
    caption(output).evaluate(
        "element => { window.said = []; new MutationObserver(() => said.push("
        "parseInt(element.textContent.split(' ')[1]))).observe(element, {childList: true}) }"
    )
    play.click()
    expect(play.locator(".fa-pause")).to_be_visible()
    expect(play.locator(".fa-play")).to_be_visible()  # it stops at the end
    expect(caption(output)).to_contain_text("After 14 of 14 steps")
    said = page.evaluate("said")
    assert said == sorted(said)
    assert len(said) > 3
    press(slider(output, "steps"), "End")
    expect(caption(output)).to_contain_text("After 100 of 100 steps")
    play.click()
    expect(caption(output)).to_contain_text(re.compile(r"After \d of 100 steps"))
    output.get_by_role("button", name="Reset").click()
    expect(caption(output)).to_contain_text("After 14 of 14 steps")
    expect(play.locator(".fa-play")).to_be_visible()
    assert seen.errors == []


def test_bad_values(run_cells: Run, page: Page, seen: Seen) -> None:
    notebook = run_cells(CELLS_OF_CODE)
    output = notebook.output(1)
    for name in ("batch", "steps", "show step"):
        label = page.get_by_text(name, exact=True)
        box = output.locator(".widget-slider").filter(has=label).locator(".widget-readout")
        for typed in ("nan", "-1e999", "", "1e999", "zwei"):
            box.fill(typed)
            box.press("Enter")
        expect(box).to_have_text(re.compile(r"^[\d.e+-]+$"))
    press(slider(output, "show step"), "End")
    expect(caption(output)).to_contain_text(re.compile("After .* steps: w"))
    output.get_by_role("button", name="Reset").click()
    expect(caption(output)).to_contain_text("After 14 of 14 steps: w = (0.998, −0.996)")
    shows(output, learned(START, 0.03))
    assert (notebook.errors(), seen.errors) == ([], [])


def test_ten_fast_drags_end_in_the_last_value(run_cells: Run, page: Page, seen: Seen) -> None:
    notebook = run_cells(CELLS_OF_CODE)
    output = notebook.output(1)
    drag(slider(output, "steps"), to=0.1)
    steps = round(value(output, "steps"))
    expect(caption(output)).to_contain_text(f"After {steps} of {steps} steps")
    for k in range(10):
        drag(slider(output, "learning rate"), to=0.45 if k % 2 else 0.99, steps=20)
    expect(caption(output)).to_contain_text("with a larger learning rate, w runs away.")
    expect(surface(output).locator(".overlay > g circle")).to_be_visible()
    shows(output, learned(START, value(output, "learning rate"), steps))
    assert (notebook.errors(), seen.errors) == ([], [])
