"""What some tests need of the machine besides Python: without it they are left out, and told of.

A test that needs the sandbox is marked `@pytest.mark.sandbox`. Where there is none it is skipped,
and one sentence at the end says what was therefore not tried, and what brings it. With `--complete`
it fails instead.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest


def _sandbox() -> bool:
    command = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    if shutil.which("bwrap") is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Need:
    """Something that tests of one marker need."""

    there: Callable[[], bool]
    untried: str
    remedy: str


NEEDS = {
    "sandbox": Need(
        cache(_sandbox),
        "the sandbox in which labs are graded",
        "bubblewrap (`sudo apt install bubblewrap`, where user namespaces are allowed)",
    ),
    "git": Need(
        lambda: shutil.which("git") is not None,
        "what git tracks",
        "git (`sudo apt install git`)",
    ),
}
REASON = "this machine lacks what it needs: "


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --complete."""
    parser.addoption(
        "--complete",
        action="store_true",
        help="fail, and do not skip, what cannot be tried on this machine",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Announce the markers."""
    for name, need in NEEDS.items():
        config.addinivalue_line("markers", f"{name}: tries {need.untried}; needs {need.remedy}")


@pytest.hookimpl(tryfirst=True)  # before any fixture
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out a test whose need is not met, or let it fail."""
    for name, need in NEEDS.items():
        if item.get_closest_marker(name) and not need.there():
            if item.config.getoption("complete"):
                pytest.fail(f"{REASON}{need.remedy}", pytrace=False)
            pytest.skip(REASON + name)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say in one sentence what was left out, and why."""
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    counts = {name: sum(f"{REASON}{name}'" in reason for reason in reasons) for name in NEEDS}
    left_out = [
        f"{count} of {NEEDS[name].untried}, for want of {NEEDS[name].remedy}"
        for name, count in counts.items()
        if count
    ]
    if left_out:
        terminalreporter.section("not everything was tried", yellow=True)
        terminalreporter.line(f"Tests left out: {'; '.join(left_out)}.")
