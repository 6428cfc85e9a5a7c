"""Files and folders are replaced whole, or stay as they were."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from cnnlib._files import whole_file, whole_folder, write_whole


def test_a_file_is_exchanged_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")
    with whole_file(path) as file:
        file.write(b"new")
        assert path.read_text(encoding="utf-8") == "old"
    assert path.read_text(encoding="utf-8") == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_exchanged_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "made"
    path.mkdir()
    (path / "old.txt").touch()
    with whole_folder(path) as fresh:
        assert list(fresh.iterdir()) == []
        (fresh / "new.txt").touch()
        assert [file.name for file in path.iterdir()] == ["old.txt"]
    assert [file.name for file in path.iterdir()] == ["new.txt"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("opened", [whole_file, whole_folder])
def test_what_fails_leaves_what_was_there(
    tmp_path: Path, opened: Callable[[Path], AbstractContextManager[Any]]
) -> None:
    path = tmp_path / "there"
    with opened(path):
        pass
    before = path.stat().st_ino
    with pytest.raises(KeyboardInterrupt), opened(path):
        raise KeyboardInterrupt
    assert path.stat().st_ino == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_is_written_into_a_folder_that_is_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "new" / "a.txt", "größer")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "größer".encode()
