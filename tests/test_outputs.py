"""`make outputs` keeps what nobody compares, so that two runs store the same bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat

from cnnlib.images import PROJECT

formats: Any = nbformat


def refresh(path: Path | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.outputs", str(path)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, encoding="utf-8")


def test_a_time_stays_until_its_output_is_cleared(tmp_path: Path) -> None:
    path = tmp_path / "01-test.ipynb"
    cell = formats.v4.new_code_cell("import time\nprint(time.perf_counter_ns())")
    cell.metadata["tags"] = ["nbval-ignore-output"]
    formats.write(formats.v4.new_notebook(cells=[cell]), path)
    assert refresh(path).returncode == 0
    first = path.read_bytes()
    assert refresh(path).returncode == 0
    assert path.read_bytes() == first

    notebook = formats.read(path, as_version=4)
    before = notebook.cells[0].outputs[0].text
    notebook.cells[0].outputs = []
    formats.write(notebook, path)
    assert refresh(path).returncode == 0
    assert formats.read(path, as_version=4).cells[0].outputs[0].text != before


def test_a_missing_notebook_is_named() -> None:
    result = refresh("nowhere.ipynb")
    assert result.returncode == 1
    assert result.stderr == "no such notebook: nowhere.ipynb\n"
