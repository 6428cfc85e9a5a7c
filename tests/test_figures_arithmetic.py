"""The curves are those that a sum and a known integral give, and every step is a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image

from cnnlib.explorers.sliding import IMAGE, WEIGHTS
from tools.figures import arithmetic, drawing
from tools.figures.arithmetic import box, convolution_curves, falling_ramp

Z = np.linspace(-1.5, 3.0, 901)


def exact(x: float) -> float:
    """Return the integral of box(z) ramp(x - z), worked out by hand."""
    if 0 <= x <= 1:
        return x - x**2 / 2
    return (2 - x) ** 2 / 2 if 1 < x <= 2 else 0.0


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Keep the figures that become pictures."""
    figures: list[Figure] = []

    def kept(figure: Figure) -> Image.Image:
        figures.append(figure)
        return drawing.rasterised(figure)

    monkeypatch.setattr(arithmetic, "rasterised", kept)
    return figures


def test_one_picture_for_each_shift() -> None:
    before = dict(mpl.rcParams)
    kept = Z.copy()
    frames = convolution_curves(box, falling_ramp, Z, [0.0, 0.5, 1.5])
    assert [frame.size for frame in frames] == [(800, 540)] * 3
    assert len({frame.tobytes() for frame in frames}) == 3
    assert np.array_equal(Z, kept)
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("shift", [-0.25, 0.25, 1.0, 1.5, 2.5])
def test_what_is_drawn_is_the_integral(shift: float, drawn: list[Figure]) -> None:
    convolution_curves(box, falling_ramp, Z, [shift])
    above, below = drawn[0].axes
    path, point, _ = below.lines
    x, y = np.asarray(path.get_xdata()), np.asarray(path.get_ydata())
    assert x[-1] == pytest.approx(shift, abs=0.006)  # no farther than it has come
    assert np.allclose(y, [exact(value) for value in x], atol=0.006)
    assert np.asarray(point.get_ydata())[0] == pytest.approx(exact(shift), abs=0.006)
    flipped = np.asarray(above.lines[1].get_ydata())
    assert np.array_equal(flipped, falling_ramp(shift - Z))
    (words,) = [text.get_text() for text in drawn[0].texts if "step" in text.get_text()]
    assert words.startswith(f"step 1 of 1:  x = {shift:.2f}".replace("-", "−"))
    written = float(words.rpartition("= ")[2])
    assert written == pytest.approx(exact(shift), abs=0.011)


def test_the_filled_area_is_the_product(drawn: list[Figure]) -> None:
    convolution_curves(box, falling_ramp, Z, [0.5])
    (filled,) = drawn[0].axes[0].collections
    corners = np.asarray(filled.get_paths()[0].vertices)
    x, y = corners.T
    area = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2  # the shoelace formula
    assert area == pytest.approx(exact(0.5), abs=0.006)


def test_a_sampled_curve_adds_up_as_numpy_does(drawn: list[Figure]) -> None:
    f, g = np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 5.0, 2.0])
    z = np.arange(-10.0, 11.0)

    def sampled(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        return lambda at: np.interp(at, np.arange(-1, len(values) + 1), [0, *values, 0], 0, 0)

    convolution_curves(sampled(f), sampled(g), z, [10.0])
    path = np.asarray(drawn[0].axes[1].lines[0].get_ydata())
    assert np.allclose(path[10:16], np.convolve(f, g))
    assert np.allclose(path[:10], 0)


@pytest.mark.parametrize(("curve", "area"), [(box, 1.0), (falling_ramp, 0.5)])
def test_curves(curve: Callable[[np.ndarray], np.ndarray], area: float) -> None:
    assert np.trapezoid(curve(Z), Z) == pytest.approx(area, abs=0.006)
    assert curve(np.array([-0.1, 0.0, 1.1])).tolist() == [0, 1, 0]


def negative(z: np.ndarray) -> np.ndarray:
    return -box(z)


@pytest.mark.parametrize(
    ("f", "g", "z", "shifts", "words"),
    [
        (box, box, Z, [], "one shift or more in a row"),
        (box, box, Z, [[1.0]], r"got shape \(1, 1\)"),
        (box, box, Z, [1.0, 0.5], "shifts that increase.* sort them"),
        (box, box, Z, [0.0, 4.0], "from 0 to 4 and z only from -1.5 to 3: make z wider"),
        (box, box, Z[::-1], [0.0], "increasing values"),
        (box, box, [0.0], [0.0], "two or more"),
        (negative, box, Z, [0.0], "f goes down to -1"),
        (box, negative, Z, [0.0], "g goes down to -1"),
    ],
)
def test_convolution_curves_refuses(f: Any, g: Any, z: Any, shifts: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        convolution_curves(f, g, z, shifts)
    assert plt.get_fignums() == []


def test_the_arrays_are_those_of_the_guide() -> None:
    X, K = (torch.tensor(values)[None, None].float() for values in (IMAGE, WEIGHTS))
    assert F.conv2d(X, K)[0, 0].tolist() == [[12, 12, 17], [10, 17, 19], [9, 6, 14]]
    strided = F.conv2d(X, K, padding=1, stride=2)[0, 0]
    assert strided.tolist() == [[6, 17, 3], [8, 17, 13], [6, 4, 4]]
