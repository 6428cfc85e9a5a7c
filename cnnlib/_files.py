"""Where the course's files lie, and how files and folders are replaced: whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

_PACKAGE = Path(__file__).resolve().parent
# In the project's folder, img/ and data/ lie beside the package; a wheel carries them inside it.
INSTALLED = (_PACKAGE / "img").is_dir()
PROJECT = _PACKAGE if INSTALLED else _PACKAGE.parent


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of another when the block ends.

    Whoever is interrupted, even killed, leaves the old file or the new one, and never a part.
    """
    fresh = path.with_name(f"{path.name}.part")
    try:
        with fresh.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        with suppress(OSError):  # it is gone if all went well
            fresh.unlink()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file as `whole_file` does, and its folder if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode())


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Make an empty folder that takes the place of another when the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
        fresh = Path(scratch, path.name)
        fresh.mkdir()
        yield fresh
        shutil.rmtree(path, ignore_errors=True)
        fresh.replace(path)
