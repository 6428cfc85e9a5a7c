"""Files that are whole or not there at all, whenever the program is stopped."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, and its folder if there is none, in one step that cannot be half done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.replace(beside, path)


def harmless_field(field: str) -> str:
    """Return text that no spreadsheet takes for a formula, in one line."""
    line = " ".join(field.split())
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
