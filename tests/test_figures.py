"""Animations show every step, stop on the last one, and the stored ones are up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from cnnlib.convolution import corr2d
from cnnlib.images import PROJECT
from tools import figures
from tools.likeness import compare


def decoded(path: Path) -> list[Image.Image]:
    with Image.open(path) as file:
        return [frame.convert("RGB") for frame in ImageSequence.Iterator(file)]


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean absolute difference, of 255."""
    assert one.size == other.size
    return float(abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).mean())


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((3, 4), {}),
        ((2, 3), {"padding": (1, 0)}),
        ((5, 4), {"stride": (2, 1)}),
        ((4, 3), {"dilation": (2, 1), "padding": (0, 1), "stride": 2}),
    ],
)
def test_one_picture_for_each_value_of_the_output(
    shape: tuple[int, int], settings: dict[str, Any]
) -> None:
    before = dict(mpl.rcParams)
    image, kernel = torch.randn(shape), torch.tensor([[1, -2], [0, 3]])
    kept = image.clone()
    frames = figures.sliding_kernel(image, kernel, **settings)
    assert len(frames) == corr2d(image, kernel, **settings).numel()
    assert {frame.size for frame in frames} == {(800, 380)}
    assert len({frame.tobytes() for frame in frames}) == len(frames)
    assert torch.equal(image, kept)
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("image", "settings", "error", "words"),
    [
        ([], {}, ValueError, "image is empty"),
        ([[1]], {}, ValueError, "over 2 pixels .* only 1"),
        (np.ones((3, 3)), {"stride": 0.5}, TypeError, "whole number for stride"),
        (np.ones((3, 3)), {"padding": -1}, ValueError, "padding must be 0 or more"),
    ],
)
def test_sliding_kernel_refuses(
    image: Any, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        figures.sliding_kernel(image, np.ones((2, 2)), **settings)


@pytest.mark.parametrize("count", [1, 3])
def test_an_animation_plays_once_and_stops_on_its_last_picture(count: int, tmp_path: Path) -> None:
    stripes = np.zeros((30, 30, 3), np.uint8)
    stripes[:10], stripes[10:20] = (0, 114, 178), (230, 159, 0)
    frames = [Image.fromarray(np.roll(stripes, 10 * step, axis=0)) for step in range(count)]
    figures.save_animation(frames, tmp_path / "test.gif")
    with Image.open(tmp_path / "test.gif") as file:
        assert getattr(file, "n_frames", 1) == count
        assert "loop" not in file.info
        assert count == 1 or file.info["duration"] == 1000 * figures.SECONDS
    for frame, stored in zip(frames, decoded(tmp_path / "test.gif"), strict=True):
        assert difference(frame, stored) < 2
    (still,) = decoded(tmp_path / "test-still.png")
    assert difference(frames[0], still) == 0


def test_save_animation_refuses_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a picture or more, got none"):
        figures.save_animation([], tmp_path / "test.gif")


FRAMES = {  # that each module draws, of every file
    "architectures": {"alexnet.png": 1, "resnet18.png": 1},
    "arithmetic": {
        "convolution-curves.gif": 12,
        "convolution-curves-still.png": 1,
        "dilation.gif": 4,
        "dilation-still.png": 1,
        "padding-stride.gif": 9,
        "padding-stride-still.png": 1,
    },
    "channels": {"channels-1-3.png": 1, "channels-3-3.png": 1},
    "connections": {f"connections-{kind}.png": 1 for kind in ("dense", "local", "shared")},
    "fields": {"field-stride-1.png": 1, "field-stride-2.png": 1},
    "pooling": {"flattening.png": 1, "max-pooling.gif": 4, "max-pooling-still.png": 1},
    "sliding": {"edges.png": 1, "sliding-kernel.gif": 9, "sliding-kernel-still.png": 1},
}
MODULES = {module.__name__.rpartition(".")[2]: module for module in figures.MODULES}


@pytest.mark.pictures
@pytest.mark.parametrize("name", MODULES)
def test_stored_pictures_are_what_is_drawn_now(name: str, tmp_path: Path) -> None:
    MODULES[name].draw(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FRAMES[name].keys()
    for file, count in FRAMES[name].items():
        frames = decoded(tmp_path / file)
        assert len(frames) == count
        assert (tmp_path / file).stat().st_size < (400_000 if file.endswith("gif") else 200_000)
        pairs = zip(frames, decoded(PROJECT / "img" / file), strict=True)
        assert all(compare(*pair).alike for pair in pairs), f"{file}: run make figures, and look"


def test_every_stored_picture_is_drawn_by_one_module() -> None:
    drawn = [file for files in FRAMES.values() for file in files]
    photographs = ["README.md", "bricks.png", "cat.png"]
    assert sorted(drawn + photographs) == sorted(path.name for path in (PROJECT / "img").iterdir())
    for file in drawn:
        with Image.open(PROJECT / "img" / file) as picture:
            assert "loop" not in picture.info, f"{file} does not stop on its last picture"


def test_the_stored_animation_moves_from_its_still() -> None:
    frames = decoded(PROJECT / "img" / "sliding-kernel.gif")
    assert len(frames) == 9
    (still,) = decoded(PROJECT / "img" / "sliding-kernel-still.png")
    assert difference(frames[0], still) < 2
    assert all(difference(frame, still) > 0.1 for frame in frames[1:])
