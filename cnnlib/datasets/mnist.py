"""Handwritten digits: MNIST, or a smaller set where MNIST is missing and cannot be had."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import time
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError, URLError

import numpy as np
import torch
import torch.nn.functional as F

from cnnlib._files import INSTALLED, PROJECT
from cnnlib.datasets.labelled import Labelled

# The original files, unpacked: their size in bytes and their MD5 checksum.
_FILES = {
    "train-images-idx3-ubyte": (47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (60_008, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (7_840_016, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (10_008, "27ae3e4e09519cfbb04c329615203637"),
}
_PATIENCE = 5.0  # seconds for which a mirror may be silent
_PAUSES = (1.0, 3.0, 0.0)  # seconds after each of the tries to download


def digits() -> tuple[Labelled, Labelled]:
    """Return handwritten digits to train and to test with, and print which ones they are.

    They are those of MNIST, 60,000 and 10,000, read from the folder `MNIST/raw` in `$CNNLIB_DATA`
    or, where that is not set, in the project's `data/`, or in `~/.cache/cnnlib` if the package is
    installed without the project; files that are missing there are downloaded first. Where that
    fails, they are 1,437 and 360 digits that scikit-learn brings with it, enlarged from 8 × 8
    pixels, in the same form; the line that is printed says why.

    First used in lecture 12.

    Returns:
        The training set and the test set, as new tensors: images of shape (count, 1, 28, 28) with
        ink of 1 on paper of 0, where a digit fills about 20 × 20 pixels in the middle; and labels,
        the digits from 0 to 9.

    Raises:
        ValueError: A file of MNIST is there, but it is broken.
        FileNotFoundError: Some files of MNIST are there, and others cannot be downloaded.

    Source: Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST Database of Handwritten Digits; and
    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository (1998), of which `sklearn.datasets.load_digits` holds the test set.
    """
    raw = _folder() / "MNIST" / "raw"
    whole = {name for name in _FILES if _is_whole(raw / name)}
    missing = [name for name in _FILES if name not in whole]
    try:
        if missing:
            _download(missing, raw)
    except OSError as error:
        missing = [name for name in missing if not _is_whole(raw / name)]
        if missing and whole:
            raise FileNotFoundError(
                f"{raw} lacks {', '.join(missing)}, and downloading failed ({error}): copy what is "
                f"missing to there, or delete the folder to go on without MNIST"
            ) from error
        if missing:
            return _stand_in(f"no MNIST: {error}")
        # Another process has brought them meanwhile.
    from torchvision.datasets import MNIST

    train, test = (
        Labelled(part.data[:, None].float().div_(255), part.targets)
        for part in (MNIST(raw.parents[1], train) for train in (True, False))
    )
    print(f"MNIST: {len(train.labels):,} digits to train with, {len(test.labels):,} to test with")
    return train, test


def _folder() -> Path:
    """Return where data lie: as $CNNLIB_DATA says, else with the project, else with the user."""
    if named := os.environ.get("CNNLIB_DATA"):
        # A notebook runs in its own folder, a test in the project's: both find the same one.
        places = [Path.cwd()] if INSTALLED else [Path.cwd(), PROJECT]
        folders = [place / Path(named).expanduser() for place in places]
        return next((folder for folder in folders if folder.is_dir()), folders[-1])
    return Path.home() / ".cache" / "cnnlib" if INSTALLED else PROJECT / "data"


def _is_whole(path: Path) -> bool:
    """Return whether a file of MNIST is there; refuse one that is not the original.

    torchvision looks at the checksums of what it downloads, not of unpacked files.
    """
    if not path.is_file():
        return False
    data = path.read_bytes()
    size, md5 = _FILES[path.name]
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if (len(data), found) != (size, md5):
        raise ValueError(
            f"{path} is broken: it has {len(data):,} bytes and the MD5 checksum {found}, MNIST has "
            f"{size:,} and {md5} there: delete this file, and the next call downloads it again"
        )
    return True


def _download(names: list[str], raw: Path) -> None:
    """Bring files of MNIST: nothing is in the folder before all of them are whole.

    Raises:
        OSError: It did not succeed.
    """
    raw.mkdir(parents=True, exist_ok=True)
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        with TemporaryDirectory(
            dir=raw.parent, prefix="download-", ignore_cleanup_errors=True
        ) as folder:
            for name in names:
                _fetch(name, folder)
            for name in names:
                os.replace(Path(folder, name), raw / name)
    finally:
        socket.setdefaulttimeout(patience)
    for leftover in raw.parent.glob("download-*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)


def _fetch(name: str, folder: str) -> None:
    """Download one file from the first mirror that sends it whole, and unpack it."""
    from torchvision.datasets import MNIST
    from torchvision.datasets.utils import download_and_extract_archive

    packed = f"{name}.gz"
    md5 = dict(MNIST.resources)[packed]
    errors: list[Exception] = []
    for pause in _PAUSES:
        errors = []
        for mirror in MNIST.mirrors:
            try:
                download_and_extract_archive(mirror + packed, folder, filename=packed, md5=md5)
                return
            except (OSError, RuntimeError, HTTPException) as error:
                if isinstance(error, HTTPError):
                    error.close()  # it holds the connection
                errors.append(error)
        if all(isinstance(error, URLError | TimeoutError) for error in errors):
            break  # nobody answers, and asking again would take as long
        time.sleep(pause)
    raise ConnectionError(f"{packed} did not arrive: {errors[0]}")


def _stand_in(reason: str) -> tuple[Labelled, Labelled]:
    """Return the digits of scikit-learn, as large as those of MNIST."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    values, labels = load_digits(return_X_y=True)
    small = torch.from_numpy(values).float().view(-1, 1, 8, 8) / 16
    large = F.interpolate(small, size=(20, 20), mode="bicubic")
    # Enlarging blurs: more contrast makes the edges of strokes as sharp as MNIST's.
    images = F.pad((2 * large - 0.5).clamp(0, 1), (4, 4, 4, 4))
    train, test = (
        Labelled(images[part], torch.from_numpy(labels[part]).long())
        for part in train_test_split(
            np.arange(len(labels)), test_size=360, stratify=labels, random_state=0
        )
    )
    print(
        f"scikit-learn's digits: {len(train.labels):,} to train with, {len(test.labels):,} to "
        f"test with ({reason})"
    )
    return train, test
