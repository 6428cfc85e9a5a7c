"""What `make matrix` and `make conditions` say is what happened."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import conftest
from cnnlib.images import PROJECT
from tools import conditions, matrix
from tools.trial import PYTEST, Outcome, read, table

TESTS = """
import os, pytest

def test_passes(): pass
def test_fails(): assert 1 == 2
def test_skips(): pytest.skip("no such thing here")

@pytest.fixture
def broken(): raise OSError("gone")
def test_has_an_error(broken): pass

def test_threads(): assert os.environ["OMP_NUM_THREADS"] == "{threads}"
def test_opens_without_an_encoding(tmp_path): (tmp_path / "text").write_text("")
def test_opens_with_one(tmp_path): (tmp_path / "text").write_text("", encoding="utf-8")
"""


def test_all_that_happened_is_counted(tmp_path: Path) -> None:
    """Run pytest as the targets do, with the project's settings, on a file that lies elsewhere."""
    # It has the name of a module of ours, in which opening without an encoding is an error.
    path, report = tmp_path / "labs.py", tmp_path / "report.xml"
    threads = max(1, (os.cpu_count() or 1) // 2)
    path.write_text(TESTS.replace("{threads}", str(threads)), encoding="utf-8")
    left_out = ("PYTEST_ADDOPTS", "OMP_NUM_THREADS")
    command = [sys.executable, *PYTEST, "-p", "conftest", "-c", "pyproject.toml", "--rootdir", "."]
    subprocess.run(
        [*command, f"--junit-xml={report}", str(path)],
        cwd=PROJECT,
        env={name: os.environ[name] for name in os.environ if name not in left_out}
        | conditions.CONDITIONS["locale"].variables,
        capture_output=True,
    )
    outcome = read("here", "as it is", report, 90.0)
    assert [name.rpartition("::")[2] for name in outcome.failed] == [
        "test_fails",
        "test_has_an_error",
        "test_opens_without_an_encoding",
    ]
    assert outcome.counts == (3, 3, 1)
    assert not outcome.good
    text = table(("place", "conditions"), [outcome])
    assert "| here | as it is | 3 | 3 | 1 | 1.5 |" in text
    assert "- here failed: " in text
    assert "- here skipped tests: no such thing here" in text


def test_what_was_not_tried_is_named_and_nothing_is_no_success() -> None:
    left_out = Outcome("3.99", "", skipped="there is no Python 3.99 here")
    assert left_out.good
    assert table(("Python", "versions"), [left_out]).splitlines()[-1] == (
        "- 3.99 was not tried: there is no Python 3.99 here"
    )
    assert not Outcome("empty", "", (0, 0, 0)).good
    assert Outcome("whole", "", (1, 0, 0)).good


def test_pythons_are_found_or_not() -> None:
    version = ".".join(platform.python_version_tuple()[:2])
    found = matrix.find(version)
    assert found is not None
    said = subprocess.run([found, "-V"], check=True, encoding="utf-8", stdout=subprocess.PIPE)
    assert said.stdout.startswith(f"Python {version}.")
    assert matrix.find("3.99") is None


def test_what_the_lowest_versions_are_not_asked_is_there() -> None:
    (deselected,) = (option for option in matrix.NOT_ASKED if option.startswith("--deselect"))
    name, _, test = deselected.partition("=")[2].partition("::")
    assert f"def {test}(" in (PROJECT / name).read_text(encoding="utf-8")


def test_runs_hold_every_condition_once() -> None:
    names = [name for names in conditions.RUNS for name in names]
    assert sorted(names) == sorted(conditions.CONDITIONS)


@pytest.mark.git
def test_a_copy_has_what_git_knows(tmp_path: Path) -> None:
    place = conditions.copy(tmp_path / "été à la plage")
    for name in ("pyproject.toml", "notebooks/02-filters.ipynb", "tests/test_trial.py"):
        assert (place / name).read_bytes() == (PROJECT / name).read_bytes()
    assert not (place / ".git").exists()
    assert not (place / ".venv").exists()
    conditions.track(place)
    listed = ["git", "ls-files", "--cached", "pyproject.toml", "README.md"]
    assert subprocess.check_output(listed, cwd=place).split() == [b"README.md", b"pyproject.toml"]


@pytest.mark.sandbox
def test_nobody_writes_where_it_is_read_only(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    before = conditions.read_only(tmp_path / "inside")
    assert subprocess.run([*before, "touch", tmp_path / "outside"]).returncode == 0
    inside = subprocess.run([*before, "touch", tmp_path / "inside" / "file"], capture_output=True)
    assert b"Read-only file system" in inside.stderr


def test_the_slowest_files_are_there_and_start_first() -> None:
    assert all((PROJECT / name).is_file() for name in conftest.SLOWEST)
    names = ["tests/test_a.py", conftest.SLOWEST[1], "tests/test_b.py", conftest.SLOWEST[0]]
    items: list[Any] = [SimpleNamespace(path=PROJECT / name) for name in names]
    alone: Any = SimpleNamespace(rootpath=PROJECT)
    conftest.pytest_collection_modifyitems(alone, items)
    assert [item.path for item in items] == [PROJECT / name for name in names]
    worker: Any = SimpleNamespace(rootpath=PROJECT, workerinput={})
    conftest.pytest_collection_modifyitems(worker, items)
    order = [*conftest.SLOWEST[:2], "tests/test_a.py", "tests/test_b.py"]
    assert [item.path for item in items] == [PROJECT / name for name in order]
