"""TrainingExplorer, driven as its widgets would: PyTorch's own layer and a closed form agree."""

from __future__ import annotations

import itertools
import json
import math
import re
from typing import Any
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from traitlets import TraitError

from cnnlib.convolution import corr2d
from cnnlib.explorers.surface import CELLS, LEFT, PIXELS, SIDE
from cnnlib.explorers.training import OPTIMISERS, TrainingExplorer
from cnnlib.images import PROJECT
from cnnlib.style import format_value

STRIPE = torch.ones(6, 8)
STRIPE[:, 2:6] = 0
EDGES = corr2d(STRIPE, torch.tensor([[1.0, -1.0]]))
MAKE: dict[str, Any] = {
    "SGD": torch.optim.SGD,
    "SGD, momentum 0.9": lambda weights, lr: torch.optim.SGD(weights, lr, momentum=0.9),
    "Adam": torch.optim.Adam,
}


def explorer_of_the_lecture() -> TrainingExplorer:
    return TrainingExplorer(STRIPE, EDGES)


def by_layer(explorer: TrainingExplorer, start: Tensor) -> Tensor:
    """Learn with PyTorch's layer what the explorer's controls ask for, all of Y in each step."""
    layer = nn.Conv2d(1, 1, explorer.kernel_size, bias=False)
    layer.weight.data = start.view_as(layer.weight).clone()
    optimiser = MAKE[explorer.optimiser.value](layer.parameters(), lr=explorer.rate.value)
    way = [start]
    for _ in range(explorer.steps.value):
        optimiser.zero_grad()
        ((layer(explorer.X[None, None])[0, 0] - explorer.Y) ** 2).sum().backward()
        optimiser.step()
        way.append(layer.weight.detach().flatten().clone())
    return torch.stack(way)


def overlays(explorer: TrainingExplorer) -> ElementTree.Element:
    """Read both drawings, which must be well-formed and made of finite numbers."""
    text = explorer.picture.overlay + explorer.curve.overlay
    assert "nan" not in text
    assert "inf" not in text
    assert all(abs(float(x)) < 1e6 for x in re.findall(r"-?\d+\.?\d*(?:e[+-]?\d+)?", text))
    return ElementTree.fromstring(f"<svg>{text}</svg>")


def test_learns_what_the_lecture_learns() -> None:
    notebook = json.loads((PROJECT / "notebooks/03-conv-layers.ipynb").read_text(encoding="utf-8"))
    sources = ("".join(cell["source"]) for cell in notebook["cells"])
    lecture: dict[str, Any] = {"torch": torch, "nn": nn}
    exec(next(source for source in sources if "def learn_kernel" in source), lecture)
    learned, losses = lecture["learn_kernel"](STRIPE, EDGES)
    explorer = explorer_of_the_lecture()
    assert (explorer.rate.value, explorer.steps.value) == (0.03, 14)
    torch.testing.assert_close(explorer.weights[-1], learned[0])
    assert explorer.losses[:-1].tolist() == pytest.approx(losses, rel=1e-4)
    assert explorer.picture.caption == (
        "After 14 of 14 steps: w = (0.998, −0.996), loss 0.000212. "
        "2/λ = 0.0333: with a larger learning rate, w runs away."
    )


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("rate", [0.003, 0.02, 0.05])
def test_optimisers_are_those_of_pytorch(name: str, rate: float) -> None:
    assert list(OPTIMISERS) == list(MAKE)
    explorer = explorer_of_the_lecture()
    explorer.optimiser.value, explorer.rate.value, explorer.steps.value = name, rate, 40
    explorer.picture.at = [0, 30, 8]
    assert explorer.start.tolist() == pytest.approx([-0.2, -2.0])
    expected = by_layer(explorer, torch.tensor([-0.2, -2.0]))
    torch.testing.assert_close(explorer.weights, expected, rtol=1e-3, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 7), st.integers(2, 7)),
    upright=st.booleans(),
    seed=st.integers(0, 1000),
    part=st.floats(0, 1),
)
def test_descends_as_the_closed_form_does(
    shape: tuple[int, int], upright: bool, seed: int, part: float
) -> None:
    random = np.random.default_rng(seed)
    X = random.normal(size=shape)
    a, b = (X[:-1], X[1:]) if upright else (X[:, :-1], X[:, 1:])
    Y = random.normal(size=a.shape)
    if a.size < 2:
        return
    pixels = np.stack([a.ravel(), b.ravel()], axis=1)
    hessian = 2 * pixels.T @ pixels
    low, high = np.linalg.eigvalsh(hessian)
    if low < 1e-3 * high:
        return
    best = np.linalg.solve(hessian, 2 * pixels.T @ Y.ravel())
    explorer = TrainingExplorer(X, Y, start=[0.5, -0.25])
    stable = [rate for _, rate in explorer.rate.options if rate < 0.98 * 2 / high]
    explorer.rate.value = stable[round(part * (len(stable) - 1))]
    np.testing.assert_allclose(explorer.surface.minimum, best, rtol=1e-3, atol=1e-4)
    assert explorer.limit == pytest.approx(2 / high, rel=1e-4)
    shrink = np.eye(2) - explorer.rate.value * hessian
    for k, weights in enumerate(explorer.weights.numpy()):
        expected = best + np.linalg.matrix_power(shrink, k) @ ([0.5, -0.25] - best)
        np.testing.assert_allclose(weights, expected, rtol=1e-3, atol=1e-3)
        loss = ((pixels @ weights - Y.ravel()) ** 2).sum()
        assert float(explorer.losses[k]) == pytest.approx(loss, rel=1e-3, abs=1e-6)
    overlays(explorer)


@pytest.mark.parametrize(("name", "momentum"), [("SGD", 0.0), ("SGD, momentum 0.9", 0.9)])
def test_the_limit_is_where_steps_begin_to_grow(name: str, momentum: float) -> None:
    explorer = explorer_of_the_lecture()
    explorer.optimiser.value = name
    assert explorer.limit is not None

    def growth(rate: float) -> float:
        """Return the factor by which (error, velocity) grow along the steepest direction."""
        step = [[1 - rate * 60, -rate * momentum], [60, momentum]]
        return float(np.abs(np.linalg.eigvals(step)).max())

    assert growth(0.999 * explorer.limit) < 1 < growth(1.001 * explorer.limit)
    explorer.steps.value = 100
    rates = [rate for _, rate in explorer.rate.options]
    explorer.rate.value = next(rate for rate in rates if rate > 1.02 * explorer.limit)
    assert explorer.losses[-1] > 100 * explorer.losses[0]
    assert explorer.picture.caption.endswith("w runs away.")
    assert format_value(explorer.limit) in explorer.picture.caption
    explorer.rate.value = next(rate for rate in rates[::-1] if rate < 0.98 * explorer.limit)
    assert explorer.losses[-1] < 0.1 * explorer.losses[0]


def test_in_the_valley_no_step_is_too_large_for_now() -> None:
    explorer = TrainingExplorer(STRIPE, EDGES, start=[0, 0])
    explorer.rate.value = 0.05
    assert explorer.losses[-1] < explorer.losses[0]
    assert explorer.picture.caption.endswith("later, w runs away, unless it starts in the valley.")


def test_each_step_sees_the_batch_alone() -> None:
    explorer = explorer_of_the_lecture()
    whole = explorer.weights
    explorer.batch.value = 1
    pixels = torch.stack([STRIPE[:, :-1].flatten(), STRIPE[:, 1:].flatten()], 1)
    values, steps = EDGES.flatten(), set()
    for before, after in itertools.pairwise(explorer.weights):
        each = -2 * 0.03 * (pixels @ before - values)[:, None] * pixels
        assert (each - (after - before)).abs().amax(1).min() < 1e-6
        steps.add(tuple((after - before).sign().tolist()))
    assert len(steps) > 1  # it wanders
    assert "Each step sees 1 of the 42 values of Y." in explorer.picture.caption
    wandering = explorer.weights
    explorer.batch.value = 42
    torch.testing.assert_close(explorer.weights, whole)
    explorer.batch.value = 1
    assert torch.equal(explorer.weights, wandering)
    explorer.rate.value = 0.9
    assert "The loss has grown" in explorer.picture.caption


def test_weights_that_are_infinite_break_nothing() -> None:
    explorer = explorer_of_the_lecture()
    explorer.rate.value, explorer.steps.value = 0.9, 100
    first = int((~by_layer(explorer, explorer.start).isfinite().all(1)).nonzero()[0])
    assert f"too large for the computer since step {first}" in explorer.picture.caption
    drawn = overlays(explorer)
    assert len(drawn.findall(".//path[@fill='#D55E00']")) == 2  # diamonds: it goes on outside
    explorer.still()
    explorer.step.value = first - 1
    assert f"After {first - 1} of 100 steps: w = (" in explorer.picture.caption
    overlays(explorer)


def test_the_step_that_is_shown_is_chosen_without_training_again() -> None:
    explorer = explorer_of_the_lecture()
    weights = explorer.weights
    explorer.step.value = 3
    assert explorer.weights is weights
    w1, w2 = (format_value(w) for w in weights[3])
    assert f"After 3 of 14 steps: w = ({w1}, {w2}), loss " in explorer.picture.caption
    ways = overlays(explorer).findall(".//polyline")
    assert {len(way.attrib["points"].split()) for way in ways} == {4}
    explorer.steps.value = 30
    assert (explorer.step.value, explorer.step.max, explorer.play.max) == (30, 30, 30)
    explorer.steps.value = 2
    assert (explorer.step.value, explorer.step.max, explorer.play.max) == (2, 2, 2)
    assert "After 2 of 2 steps" in explorer.picture.caption


@pytest.mark.parametrize(("row", "column"), [(0, 0), (40, 40), (20, 20), (3, 35)])
def test_training_starts_where_it_is_pointed_at(row: int, column: int) -> None:
    explorer = explorer_of_the_lecture()
    explorer.picture.at = [0, row, column]
    expected = [1 + 0.1 * (column - 20), -1 - 0.1 * (row - 20)]
    assert explorer.weights[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert explorer.surface.place(explorer.weights[0]) == (row, column)
    x, y = (float(v) for v in circles(explorer)[0])
    assert (x // PIXELS, y // PIXELS) == (column, row)
    if (row, column) == (20, 20):
        assert explorer.losses.max() < 1e-20
        assert "w = (1, −1), loss 0." in explorer.picture.caption
        overlays(explorer)
        explorer.still()


def circles(explorer: TrainingExplorer) -> list[tuple[str, str]]:
    """Return the places of the steps on the surface."""
    drawn = ElementTree.fromstring(f"<svg>{explorer.picture.overlay}</svg>")
    return [(c.attrib["cx"], c.attrib["cy"]) for c in drawn.iter("circle")]


def test_the_start_that_was_given_is_kept_to_the_last_digit() -> None:
    explorer = TrainingExplorer(STRIPE, EDGES, start=[0.123, -0.456])
    assert explorer.weights[0].tolist() == pytest.approx([0.123, -0.456])
    _, row, column = start = explorer.picture.at
    explorer.picture.at = [0, row, column + 1]
    explorer.picture.at = start
    assert explorer.weights[0].tolist() == pytest.approx([0.123, -0.456])


def test_contours_have_the_loss_that_is_written_on_them() -> None:
    explorer = explorer_of_the_lecture()
    surface = explorer.surface
    assert surface.levels() == pytest.approx([100, 30, 10, 3, 1, 0.3, 0.1])
    rings = list(overlays(explorer).iter("ellipse"))
    assert len(rings) == 7
    for ring, level in zip(rings, surface.levels(), strict=True):
        x, y, turn = (float(v) for v in re.findall(r"-?\d+\.?\d*", ring.attrib["transform"]))
        for radius, angle in ((ring.attrib["rx"], turn), (ring.attrib["ry"], turn + 90)):
            right = x + float(radius) * math.cos(math.radians(angle))
            down = y + float(radius) * math.sin(math.radians(angle))
            w1 = 1 + (right - SIDE / 2) / PIXELS * 0.1
            w2 = -1 - (down - SIDE / 2) / PIXELS * 0.1
            output = corr2d(STRIPE, torch.tensor([[w1, w2]]))
            assert float(((output - EDGES) ** 2).sum()) == pytest.approx(level, rel=0.03)


def test_the_picture_lies_where_the_grid_is() -> None:
    explorer = explorer_of_the_lecture()
    (grid,) = explorer.picture.grids
    frame = next(overlays(explorer).iter("svg"))
    inner = frame.find("svg")
    assert inner is not None
    assert float(inner.attrib["x"]) == grid["left"] == LEFT
    assert float(inner.attrib["width"]) == CELLS * grid["width"]


def test_the_curve_is_the_loss() -> None:
    explorer = explorer_of_the_lecture()
    drawn = ElementTree.fromstring(f"<svg>{explorer.curve.overlay}</svg>")
    (curve,) = drawn.iter("polyline")
    heights = [float(point.split(",")[1]) for point in curve.attrib["points"].split()]
    expected = [(3 - math.log10(loss)) * 30 for loss in explorer.losses.tolist()]
    assert heights == pytest.approx(expected, abs=0.06)
    texts = [text.text for text in drawn.iter("text")]
    assert {"10³", "10⁻⁵", "0.998", "−0.996", "after step 14"} <= set(texts)


def test_what_is_seen_is_said() -> None:
    explorer = explorer_of_the_lecture()
    explorer.step.value = 0
    assert "lowest at (1, −1)" in explorer.picture.alt
    assert "from (−0.65, 0.705), in the frame, to (−0.65, 0.705)" in explorer.picture.alt
    explorer.step.value = 14
    assert "to (0.998, −0.996)" in explorer.picture.alt
    assert "from 33.8 to" in explorer.curve.alt


def test_learning_rates_are_round_and_lie_on_both_sides_of_the_limit() -> None:
    explorer = explorer_of_the_lecture()
    labels, rates = zip(*explorer.rate.options, strict=True)
    assert list(rates) == sorted(rates)
    assert [float(label) for label in labels] == list(rates)
    assert (rates[0], rates[-1]) == (0.0001, 0.9)
    assert {0.03, 0.035} <= set(rates)
    before = explorer.picture.overlay
    with pytest.raises(TraitError):
        explorer.rate.value = float("nan")
    assert explorer.picture.overlay == before
    for explorer.rate.value in rates:
        overlays(explorer)


def test_counts_stay_within_their_bounds() -> None:
    explorer = explorer_of_the_lecture()
    for control, (low, high) in {
        explorer.batch: (1, 42),
        explorer.steps: (1, 100),
        explorer.step: (0, 100),
    }.items():
        control.value = 10**9
        assert control.value == high
        control.value = -5
        assert control.value == low
        control.value = high
    overlays(explorer)


def test_reset_goes_back_to_the_start() -> None:
    explorer = TrainingExplorer(STRIPE, EDGES, start=[0.123, -0.456])
    start = explorer.picture.overlay, explorer.curve.overlay, explorer.picture.caption
    explorer.optimiser.value = "Adam"
    explorer.batch.value = 3
    explorer.steps.value = 77
    explorer.step.value = 50
    explorer.picture.at = [0, 0, 0]
    explorer.play.playing = True
    explorer.rate.value = 0.9
    explorer.reset()
    assert start == (explorer.picture.overlay, explorer.curve.overlay, explorer.picture.caption)
    assert not explorer.picture.problem
    assert not explorer.play.playing
    assert (explorer.play.max, explorer.step.max, explorer.step.value) == (14, 14, 14)


def test_a_kernel_of_two_rows() -> None:
    explorer = TrainingExplorer(STRIPE.T, EDGES.T)
    assert explorer.kernel_size == (2, 1)
    torch.testing.assert_close(explorer.weights, explorer_of_the_lecture().weights)
    explorer.rate.value = 0.02
    torch.testing.assert_close(explorer.weights, by_layer(explorer, explorer.start))


def test_numbers_of_any_size() -> None:
    random = torch.Generator().manual_seed(0)
    X = torch.rand(9, 6, generator=random)
    for scale in (1e-6, 1.0, 1e6):
        explorer = TrainingExplorer(scale * X, 100 * torch.rand(8, 6, generator=random))
        overlays(explorer)
        explorer.still()
        assert explorer.losses[-1] < explorer.losses[0]
    explorer = TrainingExplorer(X, torch.zeros(8, 6), start=[0, 0])  # nothing is left to learn
    overlays(explorer)
    explorer.still()


@pytest.mark.parametrize(
    ("X", "Y", "start", "words"),
    [
        (torch.ones(6, 8), torch.ones(6, 7), None, "many kernels make Y from X equally well"),
        (torch.zeros(6, 8), torch.ones(6, 7), None, "many kernels make Y from X equally well"),
        (STRIPE, torch.ones(6, 8), None, r"expected Y of shape \(6, 7\) or \(5, 8\)"),
        (STRIPE, torch.ones(7), None, r"expected Y of shape \(height, width\)"),
        (STRIPE[None], EDGES, None, r"expected X of shape \(height, width\)"),
        (STRIPE / 0, EDGES, None, "X holds NaN or infinite values"),
        (STRIPE, EDGES, [1, 2, 3], "expected two weights to start with, got 3"),
        (STRIPE, EDGES, [1, float("nan")], "start holds NaN"),
    ],
)
def test_wrong_inputs_are_refused(X: Any, Y: Any, start: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainingExplorer(X, Y, start)


def test_inputs_and_the_seed_of_others_stay_as_they_are() -> None:
    X, Y, start = STRIPE.clone().requires_grad_(), EDGES.clone(), torch.tensor([0.5, 0.5])
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    explorer = TrainingExplorer(X, Y, start)
    explorer.batch.value = 3
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(X, STRIPE)
    assert torch.equal(Y, EDGES)
    assert X.grad is None
    assert start.tolist() == [0.5, 0.5]
    caption = explorer.picture.caption
    Y.zero_()
    explorer.rate.value = 0.1
    explorer.rate.value = 0.03
    assert explorer.picture.caption == caption


def test_a_still_picture_is_stored() -> None:
    explorer = explorer_of_the_lecture()
    shown = explorer._repr_mimebundle_()
    assert shown["image/png"] == explorer_of_the_lecture()._repr_mimebundle_()["image/png"]
    assert shown["text/plain"].startswith("Training explorer. An optimiser looks for a kernel")
    figure = explorer.still()
    surface, curve = figure.axes
    assert surface.get_title() == "Loss, and the way down"
    assert curve.get_title() == "Loss after each step"
    np.testing.assert_array_equal(surface.lines[0].get_xydata(), explorer.weights)
    np.testing.assert_array_equal(curve.lines[0].get_ydata(), explorer.losses)
    assert plt.get_fignums() == []
