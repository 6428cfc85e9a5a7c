"""KernelExplorer in JupyterLab, moved by mouse and by keyboard; PyTorch says what must be seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from playwright.sync_api import Error, Locator, Page, expect
from torch import Tensor

from cnnlib import kernels
from cnnlib.images import load_image
from cnnlib.style import scale
from tests.browser.conftest import Seen
from tests.browser.lab import Lab, Notebook, drag, press, slider
from tests.browser.shown import caption, pixels

CAT = load_image("img/cat.png", grey=True)
CELLS = [
    "from cnnlib.explorers import KernelExplorer\n"
    "from cnnlib.images import load_image\n"
    "cat = load_image('img/cat.png', grey=True)",
    "explorer = KernelExplorer(cat)\nexplorer",
    "KernelExplorer(cat, explorer.kernel.flip(0))",
]
FOCUSED = """() => { const is = document.activeElement;
    return is.tagName === "BUTTON" ? is.textContent.trim() : is.getAttribute("role") ?? is.type }"""
IN_LECTURE = "from cnnlib.explorers import KernelExplorer\n\nKernelExplorer(cat)"
Run = Callable[[Sequence[str]], Notebook]


def coloured(kernel: Tensor) -> Any:
    """Return the colours of the filtered cat."""
    result = F.conv2d(CAT[None, None], kernel[None, None], padding="same")[0, 0]
    limits, colours = scale(result, result[1:-1, 1:-1])
    return (np.asarray(colours(limits(result.numpy())))[..., :3] * 255).round()


def shows(explorer: Locator, kernel: Tensor) -> None:
    """Wait until the page's picture is PyTorch's result."""
    after, wanted = explorer.locator(".cnnlib-picture").last.locator("img"), coloured(kernel)
    for _ in range(50):
        with suppress(Error):  # a picture that goes while it is read
            if np.abs(pixels(after) - wanted).max() <= 1:
                return
        explorer.page.wait_for_timeout(200)
    raise AssertionError(f"the picture is not what PyTorch makes with {kernel.tolist()}")


def moved_to(explorer: Locator) -> Tensor:
    """Wait until the boxes have followed the slider, and return their weights."""
    # What is written beside the slider; its aria-valuenow is rounded.
    written = explorer.locator(".widget-slider .widget-readout").inner_text()
    value = float(written.replace("−", "-"))
    expect(explorer.get_by_label("middle")).to_have_value(f"{value:g}")
    return weights(explorer)


def weights(explorer: Locator) -> Tensor:
    """Read the boxes."""
    boxes = explorer.locator(".cnnlib-weights input").evaluate_all("all => all.map(b => b.value)")
    size = round(len(boxes) ** 0.5)
    return torch.tensor([float(value) for value in boxes]).view(size, size)


def test_in_the_lecture(lab: Lab, page: Page, seen: Seen) -> None:
    notebook = lab.open(page, "notebooks/02-filters.ipynb")
    notebook.run_all()
    explorer = notebook.output(notebook.sources().index(IN_LECTURE))
    drag(slider(explorer, "value"), to=0.6)
    shows(explorer, moved_to(explorer))
    assert (notebook.errors(), seen.errors, seen.foreign) == ([], [], [])


@pytest.mark.parametrize("width", [1280, 1920])
def test_by_mouse(run_cells: Run, page: Page, seen: Seen, width: int) -> None:
    page.set_viewport_size({"width": width, "height": width * 9 // 16})
    notebook = run_cells(CELLS[:2])
    explorer = notebook.output(1)
    expect(caption(explorer)).to_have_text(
        "from −1.81 to 3.17: blue is negative, white 0, orange positive. The weights add up to 0."
    )
    shows(explorer, kernels.edges())
    drag(slider(explorer, "value"), to=0.2)
    moved = moved_to(explorer)
    assert moved[1, 1] < 0
    expect(caption(explorer)).to_contain_text(f"add up to {moved.sum():.3g}".replace("-", "−"))
    shows(explorer, moved)
    explorer.locator(".pointable").hover(position={"x": 5, "y": 5})
    expect(caption(explorer)).to_contain_text("the 9 products add up to")
    explorer.get_by_role("button", name="Reset").click()
    expect(caption(explorer)).to_contain_text("The weights add up to 0.")
    shows(explorer, kernels.edges())
    assert (notebook.errors(), seen.errors, seen.foreign) == ([], [], [])


def test_by_keyboard_alone(run_cells: Run, page: Page, seen: Seen) -> None:
    notebook = run_cells(CELLS[:2])
    explorer, selected = notebook.output(1), notebook.selected()
    press(explorer.get_by_label("kernel", exact=True), "ArrowUp")  # from edges to emboss
    expect(caption(explorer)).to_contain_text("The weights add up to 1.")
    shows(explorer, kernels.emboss())
    reached = []
    for _ in range(28):  # both sizes, nine weights and their spinners, and what follows
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUSED))
    wanted = ["3 × 3", "number", "select-one", "slider", "checkbox", "application", "Reset"]
    assert list(dict.fromkeys(name for name in reached if name in wanted)) == wanted
    press(slider(explorer, "value"), "ArrowRight", times=4)
    expect(explorer.get_by_label("middle")).to_have_value("2")
    kernel = kernels.emboss()
    kernel[1, 1] = 2
    expect(caption(explorer)).to_contain_text("The weights add up to 2.")
    shows(explorer, kernel)
    press(explorer.locator(".pointable"), "ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(caption(explorer)).to_contain_text("Row 0, column 1: the 9 products")
    for key in "abmxz":  # shortcuts that would change the notebook
        page.keyboard.press(key)
    press(explorer.get_by_role("button", name="Reset"), "Enter")
    expect(caption(explorer)).to_contain_text("The weights add up to 0.")
    shows(explorer, kernels.edges())
    assert notebook.selected() == selected
    assert notebook.sources() == CELLS[:2]
    assert seen.errors == []


def test_bad_values(run_cells: Run, page: Page, seen: Seen) -> None:
    notebook = run_cells(CELLS[:2])
    explorer = notebook.output(1)
    box = explorer.get_by_label("middle")
    for typed in ("1e9", "-1e308"):
        box.fill(typed)
        box.press("Enter")
        expect(caption(explorer)).to_contain_text("Does not fit: a weight is not between")
        shows(explorer, kernels.edges())
    for typed in ("", "-", "e", "1e999"):
        box.fill("")
        box.press_sequentially(typed)
        box.press("Tab")
    box.fill("8")
    box.press("Enter")
    explorer.get_by_label("divide by their sum").check()
    expect(caption(explorer)).to_contain_text("nothing can be divided by 0")
    explorer.get_by_label("divide by their sum").uncheck()
    expect(caption(explorer)).to_contain_text("The weights add up to 0.")
    shows(explorer, kernels.edges())
    assert (notebook.errors(), seen.errors) == ([], [])


def test_ten_fast_drags_leave_nothing_behind(run_cells: Run, page: Page, seen: Seen) -> None:
    slow = (
        "import time\n\nupdates, quick = [], explorer.update\n\ndef update():\n"
        "    time.sleep(0.1)\n    updates.append(explorer.slider.value)\n    return quick()\n\n"
        "explorer.update = update"
    )
    notebook = run_cells([*CELLS[:2], slow, "print(len(updates))"])
    explorer = notebook.output(1)
    handle = slider(explorer, "value")
    for k in range(10):
        drag(handle, to=0.9 if k % 2 else 0.1, steps=30)
    shows(explorer, moved_to(explorer))
    notebook.run_cell(3)
    updates = int(notebook.output(3).inner_text())
    assert 10 <= updates < 150, "of 300 moves of the mouse, those that came too fast are left out"
    assert (notebook.errors(), seen.errors) == ([], [])


def test_two_in_one_notebook_and_a_kernel_that_is_restarted(
    run_cells: Run, page: Page, seen: Seen
) -> None:
    notebook = run_cells(CELLS)
    first, second = notebook.output(1), notebook.output(2)
    drag(slider(second, "value"), to=0.9)
    shows(second, moved_to(second))
    shows(first, kernels.edges())
    notebook.restart()
    for explorer in (first, second):
        expect(caption(explorer)).to_have_text("The kernel was restarted: run this cell again.")
    press(slider(first, "value"), "ArrowRight")  # nothing happens, and nothing breaks
    notebook.run_all()
    expect(caption(first)).to_contain_text("The weights add up to 0.")
    press(slider(first, "value"), "ArrowRight", times=4)
    expect(caption(first)).to_contain_text("The weights add up to 1.")
    shows(first, weights(first))
    assert (notebook.errors(), seen.errors) == ([], [])
