"""The receptive-field explorer in JupyterLab, by mouse and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from torch import Tensor, nn

from cnnlib.explorers import ReceptiveFieldExplorer
from cnnlib.receptive_field import receptive_field
from tests.browser.conftest import Seen
from tests.browser.lab import Notebook, drag, press, slider

SET_UP = """
import torch
from torch import nn

from cnnlib.explorers import ReceptiveFieldExplorer
from cnnlib.images import load_image

torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(4),
    nn.Conv2d(6, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
)
cat = load_image("img/cat.png", grey=True)
"""


@pytest.fixture
def output(run_cells: Callable[[Sequence[str]], Notebook]) -> Locator:
    notebook = run_cells([SET_UP, "ReceptiveFieldExplorer(net, cat)"])
    assert notebook.errors() == []
    return notebook.output(1)


def said(last: int, row: int, column: int, channel: int | None = None) -> list[str]:
    """Return what the caption must say of a value of a layer, by the gradient of that value."""
    names: dict[str, Any] = {}
    exec(SET_UP, names)
    net: nn.Sequential = names["net"][: last + 1]
    X: Tensor = names["cat"][None, None].clone().requires_grad_()
    values = net(X)[0, :, row, column]
    (values.mean() if channel is None else values[channel]).backward()
    assert X.grad is not None
    strength = X.grad.abs().flatten().double().sort(descending=True).values
    count = int((strength.cumsum(0) < 0.95 * strength.sum()).sum()) + 1
    rows, columns = receptive_field(net).seen(row, column)
    where = [f"{span[0]} to {span[-1]}".replace("-", "−") for span in (rows, columns)]
    return [
        f"Row {row}, column {column} of '{last}'",
        "mean of the channels" if channel is None else f"channel {channel}",
        f"rows {where[0]} and columns {where[1]}: {len(rows)} × {len(columns)}",
        f"{count:,} pixels hold" if strength.sum() else "gradient is 0",
    ]


def expect_said(output: Locator, *value: Any) -> None:
    caption = output.get_by_role("status").filter(has_text="It sees")
    for text in said(*value):
        expect(caption).to_contain_text(text)


def middle_of(output: Locator, row: int, column: int, count: int) -> tuple[float, float]:
    """Return where a value of the feature map lies on the page."""
    box = output.get_by_role("application").bounding_box()
    assert box is not None
    x = box["x"] + (column + 0.5) / count * box["width"]
    return x, box["y"] + (row + 0.5) / count * box["height"]


def test_values_are_pointed_at(output: Locator, page: Page, seen: Seen) -> None:
    expect_said(output, 5, 6, 6)
    feature_map = output.get_by_role("application")
    feature_map.scroll_into_view_if_needed()
    page.mouse.click(*middle_of(output, 2, 9, 12))
    expect_said(output, 5, 2, 9)
    press(feature_map, "ArrowDown", times=3)
    press(feature_map, "ArrowLeft")
    expect_said(output, 5, 5, 8)
    press(feature_map, "Home")
    press(feature_map, "ArrowLeft")  # which goes no further
    expect_said(output, 5, 5, 0)
    place = output.locator(".cnnlib-picture:has([role=application]) .place rect").first
    assert (place.get_attribute("x"), place.get_attribute("y")) == ("0", "5")
    assert (seen.errors, seen.foreign) == ([], [])


def test_all_is_done_with_keys_and_reset(output: Locator, page: Page, seen: Seen) -> None:
    frame = output.locator(".cnnlib-picture .overlay rect").first
    start = frame.get_attribute("x"), frame.get_attribute("width")
    layer = output.get_by_role("combobox", name="layer")
    press(layer, "ArrowUp", times=2)
    expect(layer).to_have_value("'3' (Conv2d), 8 × 25 × 25")
    expect(output.get_by_role("application")).to_have_attribute(
        "aria-label", re.compile("Feature map of '3' .* mean of the channels, 25 × 25")
    )
    explorer = ReceptiveFieldExplorer(*_net_and_cat())
    explorer.layer.value = "3"
    expect_said(output, 3, *explorer.place)
    press(slider(output, "channel"), "ArrowRight", times=3)
    expect_said(output, 3, *explorer.place, 2)
    press(layer, "Home")  # the first layer has fewer channels
    expect(layer).to_have_value("'0' (Conv2d), 6 × 100 × 100")
    explorer.layer.value = "0"
    expect_said(output, 0, *explorer.place, 2)
    press(slider(output, "channel"), "End")
    expect_said(output, 0, *explorer.place, 5)
    assert (frame.get_attribute("x"), frame.get_attribute("width")) != start

    box = output.get_by_role("checkbox")
    press(box, "Space")
    expect(output.get_by_text("It sees")).not_to_contain_text("gradient")
    press(output.get_by_role("button", name="Reset"), "Enter")
    expect_said(output, 5, 6, 6)
    expect(layer).to_have_value("'5' (MaxPool2d), 8 × 12 × 12")
    expect(output.locator(".widget-readout")).to_have_text("mean")
    expect(box).to_be_checked()
    assert (frame.get_attribute("x"), frame.get_attribute("width")) == start
    assert (seen.errors, seen.foreign) == ([], [])


def _net_and_cat() -> tuple[nn.Module, Tensor]:
    names: dict[str, Any] = {}
    exec(SET_UP, names)
    return names["net"], names["cat"]


def test_ten_fast_drags_end_at_the_last_value(output: Locator, page: Page, seen: Seen) -> None:
    output.get_by_role("application").scroll_into_view_if_needed()
    page.mouse.move(*middle_of(output, 0, 0, 12))
    page.mouse.down()
    for number in range(10):
        page.mouse.move(*middle_of(output, 11 - number, number, 12), steps=10)
        page.mouse.move(*middle_of(output, number, 11, 12), steps=10)
    page.mouse.move(*middle_of(output, 3, 1, 12), steps=10)
    page.mouse.up()
    expect_said(output, 5, 3, 1)
    handle = slider(output, "channel")
    for number in range(10):
        drag(handle, to=1.0 if number % 2 else 0.1 * number, steps=10)
    expect_said(output, 5, 3, 1, 7)
    assert (seen.errors, seen.foreign) == ([], [])
