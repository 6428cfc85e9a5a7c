"""The explorer of convolution arithmetic in JupyterLab, by mouse and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from playwright.sync_api import Locator, expect

from cnnlib.explorers.sliding import IMAGE, WEIGHTS
from tests.browser.conftest import Seen
from tests.browser.lab import Notebook, drag, press, slider

Run = Callable[[Sequence[str]], Notebook]
OPEN = "from cnnlib.explorers.arithmetic import ArithmeticExplorer\n\nArithmeticExplorer()"


def expected(padding: int, stride: int, dilation: int = 1) -> list[list[int]]:
    image, kernel = (torch.tensor(values)[None, None].float() for values in (IMAGE, WEIGHTS))
    output = F.conv2d(image, kernel, padding=padding, stride=stride, dilation=dilation)
    return [[int(value) for value in row] for row in output[0, 0]]


def says(output: Locator, i: int, j: int, value: int) -> None:
    """Wait until the caption ends with the sum of one value of the output."""
    caption = output.locator("figcaption")
    expect(caption).to_contain_text(re.compile(rf"output\[{i}, {j}\]: [^=]* = {value}$"))


def write(field: Locator, text: str) -> None:
    """Type a text in place of the one that is there."""
    field.click()
    field.page.keyboard.press("Control+a")
    field.page.keyboard.type(text)
    field.page.keyboard.press("Enter")


def at(output: Locator, i: int, j: int, size: int) -> tuple[float, float]:
    """Return where a value of the output lies on the page; `size` values lie side by side."""
    frame = output.locator(".place rect").first
    expect(frame).to_be_visible()
    box = frame.bounding_box()  # around the value that is chosen
    chosen = re.findall(r"output\[(\d+), (\d+)\]", output.locator("figcaption").inner_text())[-1]
    assert box is not None
    assert max(i, j) < size
    x = box["x"] + box["width"] * (0.5 + j - int(chosen[1]))
    y = box["y"] + box["height"] * (0.5 + i - int(chosen[0]))
    return x, y


def test_by_mouse(run_cells: Run, seen: Seen) -> None:
    notebook = run_cells([OPEN])
    output = notebook.output(0)
    mouse = notebook.page.mouse
    values = expected(padding=1, stride=2)
    says(output, 0, 0, values[0][0])
    start = output.locator(".overlay").inner_html()

    mouse.move(*at(output, 1, 2, size=3))
    says(output, 1, 2, values[1][2])
    mouse.click(*at(output, 2, 0, size=3))
    says(output, 2, 0, values[2][0])

    for number in range(10):
        drag(slider(output, "stride"), to=0 if number % 2 else 0.9, steps=12)
    expect(output.locator("figcaption")).to_contain_text("− 1)/1⌋ + 1 = ⌊4/1⌋ + 1 = 5")
    drag(slider(output, "padding"), to=0)
    values = expected(padding=0, stride=1)
    for i, j in ((2, 1), (0, 2)):
        mouse.move(*at(output, i, j, size=3))
        says(output, i, j, values[i][j])

    drag(slider(output, "dilation"), to=1)
    expect(output.locator("figcaption")).to_contain_text(
        "Does not fit: the kernel reaches over 4·(3 − 1) + 1 = 9 pixels, "
        "and the input has only 5 + 2·0 = 5"
    )
    output.get_by_role("button", name="Reset").click()
    says(output, 0, 0, expected(padding=1, stride=2)[0][0])
    assert output.locator(".overlay").inner_html() == start
    assert notebook.errors() == []
    assert (seen.errors, seen.foreign) == ([], [])


def test_by_keyboard(run_cells: Run, seen: Seen) -> None:
    notebook = run_cells([OPEN, "1 + 1"])
    output = notebook.output(0)
    press(slider(output, "stride"), "ArrowLeft")
    press(slider(output, "padding"), "Home")
    values = expected(padding=0, stride=1)
    says(output, 0, 0, values[0][0])
    picture = output.get_by_role("application")
    press(picture, "End")
    says(output, 0, 2, values[0][2])
    press(picture, "ArrowDown")
    says(output, 1, 2, values[1][2])
    press(picture, "ArrowLeft", times=2)
    says(output, 1, 0, values[1][0])

    step = output.get_by_role("spinbutton")
    expect(step).to_have_value("4")
    press(step, "ArrowUp", times=4)
    says(output, 2, 1, values[2][1])

    # The player goes on from there, stops at the end, and begins again.
    player = output.locator(".widget-play button").first
    press(player, "Enter")
    says(output, 2, 2, values[2][2])
    expect(player.locator("i")).to_have_class(re.compile("fa-play"))
    press(player, "Space")
    says(output, 0, 0, values[0][0])
    says(output, 0, 1, values[0][1])
    press(output.get_by_role("button", name="Reset"), "Enter")
    expect(player.locator("i")).to_have_class(re.compile("fa-play"))
    says(output, 0, 0, expected(padding=1, stride=2)[0][0])
    assert notebook.selected() == 0
    assert (seen.errors, seen.foreign) == ([], [])


def test_what_is_typed_wrong(run_cells: Run, seen: Seen) -> None:
    notebook = run_cells([OPEN])
    output = notebook.output(0)
    readouts = output.locator(".widget-readout")
    expect(readouts).to_have_text(["5", "3", "1", "2", "1"])
    for readout, start in zip(readouts.all(), "53121", strict=True):
        for wrong in ("three", "−", " "):
            write(readout, wrong)
            expect(readout).to_have_text(start)
    step = output.get_by_role("spinbutton")
    for text, shown in (("99", "9"), ("-3", "1"), ("7", "7"), ("seven", "7")):
        write(step, text)
        expect(step).to_have_value(shown)
    says(output, 2, 0, expected(padding=1, stride=2)[2][0])

    for readout, text in zip(readouts.all(), ["6", "99", "-1", "1", "1"], strict=True):
        write(readout, text)
    expect(readouts).to_have_text(["6", "5", "0", "1", "1"])
    expect(output.locator("figcaption")).to_contain_text("⌊(6 + 2·0 − 1·(5 − 1) − 1)/1⌋ + 1")
    assert notebook.errors() == []
    assert (seen.errors, seen.foreign) == ([], [])
