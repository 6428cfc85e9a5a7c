"""The explorer of convolution arithmetic does what PyTorch does, and says what it shows."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cnnlib.convolution import output_size
from cnnlib.explorers.arithmetic import ArithmeticExplorer
from cnnlib.explorers.sliding import as_sum, sliding_step
from cnnlib.style import OUTPUT, PADDING, TINTS
from tools.figures import sliding_kernel
from tools.figures.drawing import rasterised

SETTINGS = ("size", "kernel", "padding", "stride", "dilation")
# The arrays of Dumoulin and Visin, A guide to convolution arithmetic for deep learning.
X = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
K = [[0, 1, 2], [2, 2, 0], [0, 1, 2]]


@pytest.fixture(scope="module")
def shared() -> ArithmeticExplorer:
    """One explorer for many settings; every test sets all of them."""
    return ArithmeticExplorer()


def put(explorer: ArithmeticExplorer, **settings: int) -> ArithmeticExplorer:
    """Set controls all at once."""
    with explorer.together():
        for name, value in settings.items():
            getattr(explorer, name).value = value
    return explorer


def state(explorer: ArithmeticExplorer) -> dict[str, Any]:
    """Return everything that a reader sees."""
    picture = explorer.picture
    shown = {name: getattr(explorer, name).value for name in (*SETTINGS, "step", "play")}
    shown |= {"step.max": explorer.step.max, "play.max": explorer.play.max}
    names = ("at", "grids", "overlay", "caption", "problem", "alt")
    return shown | {name: getattr(picture, name) for name in names}


def by_torch(explorer: ArithmeticExplorer) -> Tensor:
    p, s, d = (getattr(explorer, name).value for name in SETTINGS[2:])
    inputs, weights = (a[None, None].double() for a in (explorer.input, explorer.weights))
    return F.conv2d(inputs, weights, padding=p, stride=s, dilation=d)[0, 0]


def drawn(explorer: ArithmeticExplorer) -> ElementTree.Element:
    return ElementTree.fromstring(f"<svg>{explorer.picture.overlay}</svg>")


def test_the_start_is_the_lecture_s_animation() -> None:
    explorer = ArithmeticExplorer()
    assert explorer.input.tolist() == X
    assert explorer.weights.tolist() == K
    assert torch.equal(explorer.output.double(), by_torch(explorer))
    assert explorer.picture.caption.splitlines() == [
        "output: ⌊(5 + 2·1 − 1·(3 − 1) − 1)/2⌋ + 1 = ⌊4/2⌋ + 1 = 3",
        "output[0, 0]: 0·0 + 0·1 + 0·2 + 0·2 + 3·2 + 3·0 + 0·0 + 0·1 + 0·2 = 6",
    ]
    assert not explorer.picture.problem
    first, *_ = sliding_kernel(X, K, padding=1, stride=2)
    assert rasterised(explorer.still()).tobytes() == first.tobytes()
    assert "image/png" in explorer._repr_mimebundle_()
    assert plt.get_fignums() == []


@given(
    n=st.integers(1, 10),
    k=st.integers(1, 5),
    p=st.integers(0, 4),
    s=st.integers(1, 4),
    d=st.integers(1, 4),
    part=st.floats(0, 1),
)
def test_every_setting_is_pytorch_s_or_is_refused(
    shared: ArithmeticExplorer, n: int, k: int, p: int, s: int, d: int, part: float
) -> None:
    before = put(shared, size=5, kernel=3, padding=0, stride=1, dilation=1).picture.overlay
    put(shared, size=n, kernel=k, padding=p, stride=s, dilation=d)
    picture = shared.picture
    if d * (k - 1) + 1 > n + 2 * p:
        assert picture.problem
        assert f"{d}·({k} − 1) + 1 = {d * (k - 1) + 1} pixels" in picture.caption
        assert f"{n} + 2·{p} = {n + 2 * p} with" in picture.caption
        assert picture.overlay == before
        return
    expected = by_torch(shared)
    m = len(expected)
    assert not picture.problem
    assert torch.equal(shared.output.double(), expected)
    assert picture.caption.startswith(f"output: ⌊({n} + 2·{p} − {d}·({k} − 1) − 1)/{s}⌋ + 1 = ")
    assert picture.caption.splitlines()[0].endswith(f" = {m}")
    assert m == output_size(n, k, p, s, d)

    shared.step.value = step = 1 + round(part * (m * m - 1))
    i, j = divmod(step - 1, m)
    padded = F.pad(shared.input, (p, p, p, p))
    reach = d * (k - 1) + 1
    window = padded[i * s : i * s + reach : d, j * s : j * s + reach : d]
    assert torch.equal(shared.window, window)
    index, terms = picture.caption.splitlines()[-1].split(": ")
    products, total = terms.split(" = ")
    assert index == f"output[{i}, {j}]"
    factors = [[int(x) for x in term.split("·")] for term in products.split(" + ")]
    assert [x for x, _ in factors] == window.flatten().tolist()
    assert [x for _, x in factors] == shared.weights.flatten().tolist()
    assert sum(x * y for x, y in factors) == int(total) == expected[i, j]
    (output,) = [g for g in drawn(shared).findall("g") if g.get("fill") == TINTS[OUTPUT]]
    assert len(output.findall("rect")) == step


@pytest.mark.parametrize(
    "settings",
    [
        (5, 3, 1, 2, 1),
        (6, 3, 1, 2, 1),
        (6, 3, 0, 4, 1),
        (8, 3, 1, 2, 2),
        (10, 1, 0, 3, 1),
        (10, 2, 4, 4, 4),
        (9, 2, 0, 4, 1),
    ],
)
def test_what_no_window_reads_is_said_and_crossed_out(
    shared: ArithmeticExplorer, settings: tuple[int, ...]
) -> None:
    n, _, p, s, d = settings
    put(shared, **dict(zip(SETTINGS, settings, strict=True)))
    # What is read has a gradient.
    pixels = torch.zeros(1, 1, n + 2 * p, n + 2 * p, requires_grad=True)
    ones = torch.ones(1, 1, *shared.weights.shape)
    (gradient,) = torch.autograd.grad(F.conv2d(pixels, ones, stride=s, dilation=d).sum(), pixels)
    unread = gradient[0, 0] == 0
    said = [line for line in shared.picture.caption.splitlines() if line[:4] in ("skip", "left")]
    listed = [re.findall(r"[\d, ]+(?= of the)", line)[0].split(",") for line in said]
    assert sorted(int(place) for places in listed for place in places) == (
        unread.all(0).nonzero().flatten().tolist()
    )
    path = drawn(shared).find("path")
    assert path is not None
    assert path.get("d", "").count("M") == unread.sum()
    assert ("read by no window" in shared.picture.overlay) == bool(unread.any())


def test_left_over_padding_is_told_from_left_over_pixels(shared: ArithmeticExplorer) -> None:
    put(shared, size=6, kernel=3, padding=1, stride=2, dilation=1)
    assert "left over: row and column 7 of the padded input (only padding), too few for another " \
        "step of 2" in shared.picture.caption  # fmt: skip
    put(shared, size=6, padding=0, stride=4)
    assert "left over: rows and columns 3, 4, 5 of the input, too few" in shared.picture.caption


def test_step_player_and_pointing_agree() -> None:
    explorer = ArithmeticExplorer()
    explorer.step.value = 6
    assert (explorer.picture.at, explorer.play.value) == ([0, 1, 2], 6)
    assert "output[1, 2]: 3·0 + 1·1 + 0·2" in explorer.picture.caption
    explorer.play.value += 1
    assert (explorer.picture.at, explorer.step.value) == ([0, 2, 0], 7)
    explorer.picture.at = [0, 0, 1]
    assert (explorer.step.value, explorer.play.value) == (2, 2)
    assert "output[0, 1]:" in explorer.picture.caption
    explorer.play.value = explorer.play.max = 9
    assert explorer.picture.at == [0, 2, 2]


def test_another_output_keeps_the_place_as_far_as_it_has_it() -> None:
    explorer = put(ArithmeticExplorer(), stride=1)
    assert (explorer.step.max, explorer.play.max) == (25, 25)
    explorer.picture.at = [0, 2, 1]
    explorer.stride.value = 2
    assert (explorer.picture.at, explorer.step.value, explorer.step.max) == ([0, 2, 1], 8, 9)
    explorer.stride.value = 3
    assert (explorer.picture.at, explorer.step.value, explorer.step.max) == ([0, 1, 1], 4, 4)
    explorer.stride.value = 1
    assert (explorer.picture.at, explorer.step.value, explorer.step.max) == ([0, 1, 1], 7, 25)
    explorer.picture.at = []
    assert (explorer.picture.at, explorer.step.value) == ([0, 0, 0], 1)
    assert not explorer.picture.problem


class Counting(ArithmeticExplorer):
    drawings = 0

    def _draw(self, *settings: Any) -> None:
        self.drawings += 1
        super()._draw(*settings)


def test_every_change_draws_once() -> None:
    explorer = Counting()
    changes: list[tuple[Any, str, Any]] = [
        (explorer.stride, "value", 1),
        (explorer.step, "value", 25),
        (explorer.stride, "value", 2),  # where the chosen place does not exist
        (explorer.picture, "at", [0, 1, 1]),
        (explorer.stride, "value", 1),
        (explorer.step, "value", 12),
        (explorer.stride, "value", 2),  # where the place exists, and its number is another
    ]
    for number, (widget, name, value) in enumerate(changes, start=2):
        setattr(widget, name, value)
        assert explorer.drawings == number
    explorer.reset()
    assert explorer.drawings == len(changes) + 2


def test_a_setting_that_does_not_fit_keeps_the_picture_until_it_fits() -> None:
    explorer = ArithmeticExplorer()
    before = explorer.picture.overlay
    explorer.dilation.value = 4
    assert "does not fit: the kernel reaches over 4·(3 − 1) + 1 = 9 pixels, and the input has " \
        "only 5 + 2·1 = 7 with its padding" in explorer.picture.caption.lower()  # fmt: skip
    explorer.step.value = 5  # nor can one step there
    assert (explorer.picture.problem, explorer.picture.overlay) == (True, before)
    put(explorer, padding=2)
    assert (explorer.picture.problem, explorer.output.shape) == (False, (1, 1))


def test_values_beyond_the_ends_and_no_values() -> None:
    explorer = ArithmeticExplorer()
    for name in (*SETTINGS, "step"):
        control = getattr(explorer, name)
        for value, end in ((10**9, control.max), (-(10**9), control.min)):
            control.value = value
            assert control.value == end
        for wrong in ("two", None):
            with pytest.raises(traitlets.TraitError):
                control.value = wrong
        explorer.reset()
    explorer.picture.at = [0, 99, -7]
    assert explorer.picture.at == [0, 2, 0]
    assert not explorer.picture.problem


@pytest.mark.parametrize("arrays", [(), (np.eye(4), -np.ones((2, 2)))])
def test_reset_restores_the_start(arrays: tuple[Any, ...]) -> None:
    explorer = ArithmeticExplorer(*arrays)
    before = state(explorer)
    for name in SETTINGS:
        getattr(explorer, name).value += 1
    explorer.step.value = explorer.step.max
    explorer.play.playing = True
    assert state(explorer) != before
    explorer.reset_button.click()
    assert state(explorer) == before
    assert not explorer.play.playing


def test_given_arrays_are_used_and_left_alone() -> None:
    image = torch.randn(4, 4, requires_grad=True)
    kernel = np.array([[0.5, -2.0], [0.0, 0.25]])
    kept = image.detach().clone(), kernel.copy()
    explorer = put(ArithmeticExplorer(image, kernel), padding=0, stride=1)
    assert torch.equal(explorer.input, kept[0])
    torch.testing.assert_close(explorer.output.double(), by_torch(explorer))
    assert not explorer.output.requires_grad
    assert "·(−2) + " in explorer.picture.caption
    assert torch.equal(image.detach(), kept[0])
    assert np.array_equal(kernel, kept[1])
    image.detach().zero_()  # later, by its owner
    explorer.step.value = 2
    assert torch.equal(explorer.input, kept[0])


def test_products_of_bytes_have_room() -> None:
    image = np.full((3, 3), 200, np.uint8)
    explorer = put(ArithmeticExplorer(image, np.full((2, 2), 2, np.uint8)), padding=0, stride=1)
    assert explorer.output.tolist() == [[1600, 1600], [1600, 1600]]
    assert [text.text for text in drawn(explorer).iter("text")].count("400") == 4


def test_other_sizes_are_parts_and_repetitions() -> None:
    explorer = put(ArithmeticExplorer(X, K), size=7, kernel=1)
    assert torch.equal(explorer.input, torch.tensor(np.tile(X, (2, 2))[:7, :7]))
    assert explorer.weights.tolist() == [[2]]
    put(explorer, size=3, kernel=5)
    assert explorer.input.tolist() == [row[:3] for row in X[:3]]
    assert torch.equal(explorer.weights, torch.tensor(np.pad(K, 1, mode="wrap")))


@pytest.mark.parametrize(
    ("image", "kernel", "error", "words"),
    [
        (np.ones((3, 4)), None, ValueError, r"square .* got 3 × 4: .* image\[:3, :3\]"),
        (np.ones((11, 11)), None, ValueError, r"to 10 × 10, got 11 × 11: .* image\[:10, :10\]"),
        (None, np.ones((6, 6)), ValueError, r"to 5 × 5, got 6 × 6: .* kernel\[:5, :5\]"),
        (np.ones((2, 2)), np.ones((5, 5)), ValueError, "over 5 pixels .* only 4"),
        (np.ones((1, 5, 5)), None, ValueError, r"\(height, width\), got \(1, 5, 5\)"),
        ([[1, np.nan], [1, 1]], None, ValueError, "NaN"),
        ([], None, ValueError, "empty"),
        ("cat", None, TypeError, "expected numbers for image"),
    ],
)
def test_refuses(image: Any, kernel: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ArithmeticExplorer(image, kernel)


def test_nothing_is_told_by_colour_alone(shared: ArithmeticExplorer) -> None:
    put(shared, size=5, kernel=3, padding=1, stride=2, dilation=1)
    shared.step.value = 5
    groups = drawn(shared).findall("g")
    (padding,) = [g for g in groups if g.get("fill") == PADDING]
    assert padding.get("stroke-dasharray") != "none"
    assert len(padding.findall("rect")) == 7 * 7 - 5 * 5
    assert len([g for g in groups if g.get("stroke") == OUTPUT]) == 2
    words = [text.text for text in drawn(shared).iter("text")]
    for title in ("input and padding", "5 × 5, padded 7 × 7", "kernel", "products", "output"):
        assert title in words
    assert f"sum {int(shared.output[1, 1])}" in words
    assert shared.picture.alt == (
        "Input, 5 × 5, padded 7 × 7. On its rows 2, 3, 4 and columns 2, 3, 4 lies the kernel, "
        "3 × 3. Their products. Output, 3 × 3."
    )


@pytest.mark.parametrize("step", [-1, 9])
def test_a_still_has_the_steps_of_the_output(step: int) -> None:
    with pytest.raises(ValueError, match=f"a step from 0 to 8, got {step}"):
        sliding_step(X, K, step)


def test_negative_factors_stand_in_brackets() -> None:
    window, kernel = torch.tensor([[-1.0, 2.0]]), torch.tensor([[3.0, -0.5]])
    assert as_sum(window, kernel, (window * kernel).sum()) == "(−1)·3 + 2·(−0.5) = −4"
