"""The faces are what the tool draws, the stripes decide the class, and nothing else tells it."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import roc_auc_score
from torch import Tensor

from cnnlib.datasets import avatars
from cnnlib.images import PROJECT

STORED = PROJECT / "data" / "avatars"
face: Callable[..., Tensor] = runpy.run_path(str(PROJECT / "tools" / "avatars.py"))["face"]


@pytest.mark.parametrize("number", [0, 1, 17, 100_004])
def test_a_number_is_a_face(number: int) -> None:
    across, upright = face(number, upright=False), face(number, upright=True)
    assert torch.equal(across, face(number, upright=False))
    assert not torch.equal(across, face(number + 2, upright=False))
    # The same person: what is above the shirt differs at most by the exposure.
    assert np.corrcoef(across[:50].flatten(), upright[:50].flatten())[0, 1] > 0.98


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("train/across/000", 0),
        ("train/upright/001", 1),
        ("train/across/642", 642),
        ("train/upright/799", 799),
        ("test/across/000", 100_000),
        ("test/upright/299", 100_299),
    ],
)
def test_stored_files_are_what_the_tool_draws(name: str, number: int) -> None:
    stored = np.asarray(Image.open(STORED / f"{name}.png"), dtype=int)
    drawn = face(number, upright="upright" in name).numpy().astype(int)
    assert np.abs(stored - drawn).max() <= 1  # the last digit of a sine differs between machines


def test_shapes_types_and_balance() -> None:
    for (images, labels), count in zip(avatars(), (800, 300), strict=True):
        assert images.shape == (count, 1, 128, 128)
        assert images.dtype == torch.float32
        assert images.min() >= 0
        assert images.max() <= 1
        assert labels.dtype == torch.int64
        assert labels.bincount().tolist() == [count // 2, count // 2]


def test_no_face_is_there_twice() -> None:
    images = torch.cat([images for images, _ in avatars()])
    assert len({image.numpy().tobytes() for image in images}) == 1100


def test_stripes_run_as_the_label_says() -> None:
    """Stripes across change down a column, upright ones along a row; so edges tell them apart."""
    images, labels = avatars()[1]
    shirts = images[:, 0, 104:, 20:108].numpy()
    down = np.abs(ndimage.sobel(shirts, axis=1)).mean((1, 2))
    along = np.abs(ndimage.sobel(shirts, axis=2)).mean((1, 2))
    assert ((along > down) == labels.numpy()).mean() > 0.95


def test_brightness_and_files_do_not_tell_the_class() -> None:
    train, _ = avatars()
    means, spreads = train.images.mean((1, 2, 3)), train.images.std((1, 2, 3))
    paths = [*sorted((STORED / "train/across").iterdir())]
    paths += sorted((STORED / "train/upright").iterdir())
    for clue in (means, spreads, [path.stat().st_size for path in paths]):
        assert 0.42 < roc_auc_score(train.labels, clue) < 0.58


@pytest.mark.parametrize("edge", [1, 4, 8])
def test_a_linear_model_does_not_tell_the_class(edge: int) -> None:
    train, test = (
        (torch.nn.functional.avg_pool2d(images, edge).flatten(1).numpy(), labels.numpy())
        for images, labels in avatars()
    )
    for weight in (1.0, 100.0):
        assert RidgeClassifier(alpha=weight).fit(*train).score(*test) < 0.65


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return a folder with four pictures in two classes to train on, and as many to test on."""
    for part in ("train", "test"):
        for name in ("cats", "dogs"):
            (tmp_path / part / name).mkdir(parents=True)
            for k in range(2):
                level = 51 * (k + 1) if name == "cats" else 204
                picture = Image.new("RGB", (128, 128), (level,) * 3)
                picture.save(tmp_path / part / name / f"{k}.png")
    return tmp_path


def test_a_folder_of_ones_own(own: Path) -> None:
    for images, labels in avatars(own):
        assert images.shape == (4, 1, 128, 128)
        assert images[:, 0, 5, 5].tolist() == pytest.approx([0.2, 0.4, 0.8, 0.8])
        assert labels.tolist() == [0, 0, 1, 1]


def test_refuses_a_missing_part(own: Path) -> None:
    shutil.rmtree(own / "test")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*test: make one"):
        avatars(own)


def test_refuses_a_folder_without_classes(own: Path) -> None:
    shutil.rmtree(own / "train" / "cats")
    shutil.rmtree(own / "train" / "dogs")
    with pytest.raises(FileNotFoundError, match="train holds no class: make a folder"):
        avatars(own)


def test_refuses_an_empty_class(own: Path) -> None:
    (own / "train" / "birds").mkdir()
    with pytest.raises(FileNotFoundError, match="no valid file for the classes birds"):
        avatars(own)


def test_refuses_other_classes_in_test(own: Path) -> None:
    (own / "test" / "cats").rename(own / "test" / "cows")
    with pytest.raises(ValueError, match=r"\['cats', 'dogs'\] in train and \['cows', 'dogs'\]"):
        avatars(own)


def test_refuses_another_size(own: Path) -> None:
    Image.new("L", (100, 128)).save(own / "train" / "dogs" / "1.png")
    with pytest.raises(ValueError, match=r"128 × 128 pixels, got 100 × 128 in .*1\.png: cut"):
        avatars(own)


@pytest.mark.parametrize("keep", [0, 60, 150])
def test_refuses_a_broken_picture(own: Path, keep: int) -> None:
    path = own / "test" / "dogs" / "0.png"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"0\.png cannot be read as a picture .*: remove"):
        avatars(own)
