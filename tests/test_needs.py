"""What a bare machine cannot try is left out in one group, and in sight; or it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.fixture
def never():
    raise AssertionError("no fixture is made for a test that is left out")

@pytest.mark.sandbox
@pytest.mark.parametrize("number", range(3))
def test_in_the_sandbox(number, never): ...

@pytest.mark.git
@pytest.mark.sandbox
def test_both(never): ...

@pytest.mark.skip(reason="another one")
def test_other(): ...
"""
SAID = (
    "Tests left out: 4 of the sandbox in which labs are graded, for want of bubblewrap "
    "(`sudo apt install bubblewrap`, where user namespaces are allowed)."
)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run TESTS in a process of their own, on a machine without programs."""
    (folder / "test_it.py").write_text(TESTS, encoding="utf-8")
    plugin = ["-p", "tests.needs", "-c", os.devnull, "--rootdir", str(folder)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, *arguments, str(folder / "test_it.py")],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PATH": str(folder)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("workers", ["0", "1"])
def test_one_sentence_says_what_was_left_out(tmp_path: Path, workers: str) -> None:
    result = run(tmp_path, "-n", workers)
    assert result.returncode == 0, result.stdout
    assert result.stdout.count("Tests left out") == 1
    assert SAID in result.stdout.splitlines()
    assert "5 skipped" in result.stdout


def test_complete_turns_what_is_left_out_into_failures(tmp_path: Path) -> None:
    result = run(tmp_path, "--complete")
    assert result.returncode == 1
    assert "this machine lacks what it needs: bubblewrap" in result.stdout
    assert "1 skipped, 4 errors" in result.stdout
