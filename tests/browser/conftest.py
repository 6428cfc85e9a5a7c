"""Tests that look at what a reader sees, with one browser and one JupyterLab for all of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from cnnlib.images import PROJECT
from tests.browser.lab import Lab, Notebook
from tools.browser import launch

HERE = Path(__file__).parent
KEPT = PROJECT / "build" / "browser"  # what failing tests saw
PATIENCE = 20_000  # milliseconds at most until something is there; a busy machine takes its time
OF_JUPYTER = (
    # JupyterLab says so when a kernel is restarted soon after it was asked for its debugger.
    "Could not restore the debugger state",
    # Notebook 7.6 says so of every notebook, an empty one as well.
    "Cannot read properties of undefined (reading 'schema')",
)
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, so that none is run where there is no browser."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("browser")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note whether a test has failed, for `page` to look at when it ends."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@dataclass
class Seen:
    """What a page complained about, and what it wanted from other hosts."""

    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Follow a page from now on."""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._wrong(f"{error}"))
        page.on("requestfailed", lambda request: self.log.append(f"failed: {request.url}"))
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        self.log.append(f"{message.type}: {message.text}")
        if message.type == "error":
            self._wrong(f"{message.text} ({message.location['url']})")

    def _wrong(self, text: str) -> None:
        self.log.append(text)
        if not text.startswith(OF_JUPYTER):
            self.errors.append(text)

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.foreign.append(request.url)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, which reaches nothing but this machine."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        started = launch(playwright, ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"])
        yield started
        started.close()


@pytest.fixture
def seen() -> Seen:
    """What the test's `page` complains about and fetches."""
    return Seen()


@pytest.fixture
def page(browser: Browser, seen: Seen, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh page of 1280 x 720; a failing test leaves its picture and log in build/browser."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    seen.watch(opened)
    yield opened
    if request.node.stash.get(FAILED, False):
        KEPT.mkdir(parents=True, exist_ok=True)
        name = request.node.name.replace("/", "-")
        opened.screenshot(path=KEPT / f"{name}.png")
        (KEPT / f"{name}.log").write_text(
            "\n".join([opened.url, *seen.foreign, *seen.log]), encoding="utf-8"
        )
    context.close()


@pytest.fixture(scope="session")
def started_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One JupyterLab for all tests."""
    started = Lab(tmp_path_factory.mktemp("lab"))
    try:
        started.wait()
        yield started
    finally:
        started.stop()


@pytest.fixture
def lab(started_lab: Lab) -> Iterator[Lab]:
    """JupyterLab; the kernels that a test has started end with it."""
    yield started_lab
    started_lab.end_kernels()


@pytest.fixture
def run_cells(
    lab: Lab, page: Page, request: pytest.FixtureRequest
) -> Callable[[Sequence[str]], Notebook]:
    """Return a function that makes a notebook of code cells, opens it and runs it."""

    def run(sources: Sequence[str]) -> Notebook:
        name = "".join(c if c.isalnum() else "-" for c in request.node.name)
        notebook = lab.open(page, lab.write(name, sources))
        notebook.run_all()
        return notebook

    return run
