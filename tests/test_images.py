"""Pictures of every common kind arrive as the tensor that is promised; others are refused."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnnlib.images import PROJECT, as_image, load_image, to_grey

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
COLOUR = torch.from_numpy(PIXELS.transpose(2, 0, 1) / 255).float()
GREY = torch.from_numpy(np.asarray(Image.fromarray(PIXELS).convert("L")) / 255).float()


@pytest.fixture(scope="module")
def photos() -> ModuleType:
    spec = importlib.util.spec_from_file_location("photos", PROJECT / "tools" / "photos.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The pictures of the course.


def test_the_cat_is_grey_in_four_channels() -> None:
    with Image.open(PROJECT / "img" / "cat.png") as file:
        assert file.mode == "RGBA"
        pixels = np.asarray(file)
    assert pixels.shape == (100, 100, 4)
    assert (pixels[..., :3] == pixels[..., :1]).all()
    assert (pixels[..., 3] == 255).all()


@pytest.mark.parametrize("name", ["cat", "bricks"])
def test_pictures_are_what_the_tool_makes(name: str, photos: ModuleType) -> None:
    with Image.open(PROJECT / "img" / f"{name}.png") as file:
        np.testing.assert_array_equal(np.asarray(file), np.asarray(getattr(photos, name)()))
        assert file.mode == getattr(photos, name)().mode


@pytest.mark.parametrize("name", ["img/cat.png", Path("img", "cat.png"), PROJECT / "img/cat.png"])
def test_load_image_equals_imread_from_any_folder(
    name: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = torch.from_numpy(plt.imread(PROJECT / "img" / "cat.png"))
    assert torch.equal(load_image(name, grey=True), expected[:, :, 0])
    assert torch.equal(load_image(name), expected[:, :, :3].permute(2, 0, 1))


def test_the_working_directory_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "img").mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "img" / "cat.png")
    torch.testing.assert_close(load_image("img/cat.png"), COLOUR)


# Files.


def with_opacity(opacity: int) -> Image.Image:
    return Image.fromarray(np.dstack([PIXELS, np.full(PIXELS.shape[:2], opacity, np.uint8)]))


FULL = np.linspace(0, 65535, 30).round().astype(np.uint16).reshape(6, 5)
ONE_BIT = PIXELS[..., 0] > 127
PALETTE = Image.fromarray(PIXELS).convert("P", palette=Image.Palette.ADAPTIVE, colors=256)


@pytest.mark.parametrize(
    ("picture", "suffix", "options", "expected"),
    [
        (Image.fromarray(PIXELS), "png", {}, COLOUR),
        (Image.fromarray(PIXELS), "bmp", {}, COLOUR),
        (Image.fromarray(PIXELS), "tif", {}, COLOUR),
        (PALETTE, "png", {}, COLOUR),
        (PALETTE, "gif", {}, COLOUR),
        (Image.fromarray(PIXELS[..., 0]), "png", {}, COLOUR[:1]),
        (Image.fromarray(ONE_BIT), "png", {}, torch.from_numpy(ONE_BIT).float()[None]),
        (Image.fromarray(FULL), "png", {}, torch.from_numpy(FULL / 65535).float()[None]),
        (Image.fromarray(FULL), "tif", {}, torch.from_numpy(FULL / 65535).float()[None]),
        (Image.fromarray(FULL.astype(">u2")), "tif", {}, torch.from_numpy(FULL / 65535)[None]),
        (with_opacity(255), "png", {}, COLOUR),
        (with_opacity(0), "png", {}, torch.ones(1, 6, 5)),
        (with_opacity(51), "png", {}, 0.2 * COLOUR + 0.8),
        (with_opacity(51).convert("LA"), "png", {}, 0.2 * GREY[None] + 0.8),
        (Image.new("L", (5, 6), 7), "png", {"transparency": 7}, torch.ones(1, 6, 5)),
        (Image.new("RGB", (5, 6), (1, 2, 3)), "png", {"transparency": (1, 2, 3)}, torch.ones(1)),
        (Image.new("P", (5, 6), 0), "png", {"transparency": 0}, torch.ones(1)),
    ],
)
def test_files_without_loss(
    picture: Image.Image,
    suffix: str,
    options: dict[str, Any],
    expected: torch.Tensor,
    tmp_path: Path,
) -> None:
    path = tmp_path / f"picture.{suffix}"
    picture.save(path, **options)
    image, grey = load_image(path), load_image(str(path), grey=True)
    assert image.dtype == grey.dtype == torch.float32
    assert image.shape == (3, 6, 5)
    assert grey.shape == (6, 5)
    torch.testing.assert_close(image, expected.float().expand(3, 6, 5), rtol=0, atol=1e-6)
    torch.testing.assert_close(grey, to_grey(image))
    image[0] += 1  # each channel has its own memory
    assert not torch.equal(image[0], image[1])


@pytest.mark.parametrize(
    ("mode", "fill", "expected"),
    [
        ("RGB", (200, 100, 50), (200, 100, 50)),
        ("L", 100, (100, 100, 100)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("CMYK", (0, 0, 0, 255), (0, 0, 0)),
    ],
)
# Heights that could be taken for a number of channels, too.
@pytest.mark.parametrize("size", [(16, 16), (5, 1), (5, 3), (5, 4), (4, 4)])
def test_jpeg(
    mode: str, fill: Any, expected: tuple[int, ...], size: tuple[int, int], tmp_path: Path
) -> None:
    Image.new(mode, size, fill).save(tmp_path / "photo.jpg", quality=95)
    colour = torch.tensor(expected)[:, None, None] / 255
    image = load_image(tmp_path / "photo.jpg")
    torch.testing.assert_close(image, colour.expand(3, size[1], size[0]), rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, PIXELS),
        (3, PIXELS[::-1, ::-1]),
        (6, np.rot90(PIXELS, -1)),
        (8, np.rot90(PIXELS)),
        (2, PIXELS[:, ::-1]),
    ],
)
def test_photos_are_turned_upright(orientation: int, upright: np.ndarray, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(tmp_path / "photo.png", exif=exif)
    torch.testing.assert_close(load_image(tmp_path / "photo.png"), as_image(upright))


@pytest.mark.parametrize(
    ("name", "write", "error", "words"),
    [
        ("absent.png", lambda path: None, FileNotFoundError, "absent.png.*check the spelling"),
        ("folder.png", Path.mkdir, FileNotFoundError, "folder.png"),
        (
            "text.png",
            lambda path: path.write_text("not a picture", encoding="utf-8"),
            ValueError,
            "text.png.*Pillow",
        ),
        ("empty.png", Path.touch, ValueError, "empty.png.*Pillow"),
        (
            "half.png",
            lambda path: path.write_bytes((PROJECT / "img" / "cat.png").read_bytes()[:5000]),
            ValueError,
            "half.png.*truncated",
        ),
        (
            "fractions.tif",
            lambda path: Image.new("F", (5, 6), 0.5).save(path),
            ValueError,
            "32-bit values.*scale it",
        ),
        ("whole.tif", lambda path: Image.new("I", (5, 6), 9).save(path), ValueError, "32-bit"),
    ],
)
def test_load_image_refuses(
    name: str,
    write: Callable[[Path], object],
    error: type[Exception],
    words: str,
    tmp_path: Path,
) -> None:
    write(tmp_path / name)
    with pytest.raises(error, match=words):
        load_image(tmp_path / name)


# Arrays.


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (PIXELS, COLOUR),
        (PIXELS.transpose(2, 0, 1), COLOUR),
        (torch.from_numpy(PIXELS), COLOUR),
        (PIXELS / 255, COLOUR),
        (PIXELS.tolist(), COLOUR * 255),
        (PIXELS[..., 0], COLOUR[0]),
        (PIXELS[..., :1], COLOUR[0]),
        (PIXELS[..., :1].transpose(2, 0, 1), COLOUR[0]),
        (with_opacity(51), 0.2 * COLOUR + 0.8),
        (np.asarray(with_opacity(51)).transpose(2, 0, 1), 0.2 * COLOUR + 0.8),
        (FULL, torch.from_numpy(FULL / 65535)),
        (FULL.astype(">u2"), torch.from_numpy(FULL / 65535)),
        (torch.from_numpy(FULL), torch.from_numpy(FULL / 65535)),
        (FULL.astype(np.int32), torch.from_numpy(FULL.astype(float))),
        (ONE_BIT, torch.from_numpy(ONE_BIT)),
        (PIXELS[::-1, ::-1], COLOUR.flip(1, 2)),
        (PIXELS[1:, ::3], COLOUR[:, 1:, ::3]),
        (PIXELS.astype(">f8") / 255, COLOUR),
        (np.asfortranarray(PIXELS), COLOUR),
        (COLOUR.bfloat16(), COLOUR.bfloat16()),
        (COLOUR.double().requires_grad_(), COLOUR),
        ([[0, 1], [2, 3]], torch.tensor([[0, 1], [2, 3]])),
        (torch.ones(3, 7, 3), torch.ones(3, 7, 3)),
    ],
)
def test_as_image(values: Any, expected: torch.Tensor) -> None:
    image = as_image(values)
    assert image.dtype == torch.float32
    assert not image.requires_grad
    torch.testing.assert_close(image, expected.float())


def test_read_only_arrays_are_accepted() -> None:
    values = PIXELS.copy()
    values.flags.writeable = False
    torch.testing.assert_close(as_image(values), COLOUR)


@pytest.mark.parametrize("values", [COLOUR.clone(), COLOUR.numpy().copy(), GREY.clone()])
def test_the_image_is_new(values: Any) -> None:
    kept = torch.as_tensor(values).clone()
    as_image(values).fill_(7)
    assert torch.equal(torch.as_tensor(values), kept)


@given(height=st.integers(5, 9), width=st.integers(1, 9), channels=st.sampled_from([1, 3, 4]))
def test_both_layouts_mean_the_same(height: int, width: int, channels: int) -> None:
    values = torch.rand(channels, height, width)
    image = as_image(values)
    assert image.shape == ((height, width) if channels == 1 else (3, height, width))
    assert torch.equal(image, as_image(values.permute(1, 2, 0)))


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ([], ValueError, "scan is empty"),
        (np.zeros((0, 5)), ValueError, r"scan is empty \(shape \(0, 5\)\)"),
        (torch.zeros(3, 5, 0), ValueError, "scan is empty"),
        (3.5, ValueError, r"scan of shape \(height, width\).* got \(\)"),
        ([1, 2], ValueError, r"scan of shape \(height, width\).* got \(2,\)"),
        (torch.ones(1, 1, 5, 5), ValueError, r"drop the batch axis with scan\[0\]"),
        (torch.ones(2, 3, 5, 5), ValueError, r"got \(2, 3, 5, 5\)$"),
        (torch.ones(2, 5, 5), ValueError, r"1, 3 or 4 channels, got \(2, 5, 5\)"),
        (torch.ones(5, 5, 2), ValueError, r"1, 3 or 4 channels, got \(5, 5, 2\)"),
        ([[0, float("nan")]], ValueError, r"NaN or infinite.* \(1 of 2\).* index \(0, 1\)"),
        ([[float("inf")]], ValueError, "NaN or infinite"),
        ([[1j]], TypeError, "real numbers for scan"),
        ("img/cat.png", TypeError, "numbers for scan, got str"),
        ([["a", "b"]], TypeError, "numbers for scan"),
        (None, TypeError, "numbers for scan, got NoneType"),
        ([[1, 2], [3]], ValueError, "rows of scan differ in length"),
    ],
)
def test_as_image_refuses(values: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        as_image(values, "scan")


def test_to_grey_is_that_of_pillow() -> None:
    # Pillow rounds to whole steps of 1/255.
    torch.testing.assert_close(to_grey(COLOUR), GREY, rtol=0, atol=1 / 255)
    assert torch.equal(to_grey(GREY), GREY)


@given(shade=st.integers(0, 255))
def test_to_grey_keeps_greys_exactly(shade: int) -> None:
    image = as_image(np.full((5, 5, 3), shade, np.uint8))
    assert torch.equal(to_grey(image), image[0])
