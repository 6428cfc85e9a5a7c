"""Find Chromium for the tests in tests/browser: `python -m tools.browser` prints where it is."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

VARIABLE = "CNNLIB_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def launch(playwright: Playwright, arguments: Sequence[str] = ()) -> Browser:
    """Start Chromium without a window.

    Args:
        playwright: It is running.
        arguments: Of Chromium's command line.

    Raises:
        SystemExit: See `executable`.
    """
    return playwright.chromium.launch(
        executable_path=executable(playwright),
        chromium_sandbox=os.name == "nt" or os.geteuid() != 0,  # as root, it starts with none
        args=arguments,
    )


def executable(playwright: Playwright | None = None) -> str:
    """Return the path of Chromium or Chrome.

    $CNNLIB_BROWSER comes first, then what is on the PATH, then what Playwright has downloaded.

    Args:
        playwright: If it is running: a second one cannot run beside it.

    Raises:
        SystemExit: where there is none, with what to install.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            raise SystemExit(
                f"${VARIABLE} is {chosen!r}, which is no program: correct or unset it."
            )
        return found
    for name in NAMES:
        if found := shutil.which(name):
            return found
    downloaded = Path(playwright.chromium.executable_path) if playwright else _downloaded()
    if downloaded.is_file():
        return str(downloaded)
    raise SystemExit(
        "The browser tests need Chromium, and there is none: `apt install chromium`, or "
        f"`playwright install chromium`, or put the path of yours into ${VARIABLE}."
    )


def _downloaded() -> Path:
    """Return where `playwright install chromium` puts it, be it there or not."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)


if __name__ == "__main__":
    sys.stdout.write(executable() + "\n")
