"""Print each lecture of the built site as a PDF: `make pdf` writes build/pdf.

What a page looks like on paper is said in book/static/print.css.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import Browser, Page, PdfMargins, ViewportSize, sync_playwright

from cnnlib._files import PROJECT, whole_folder
from tools.browser import launch

PAGES = PROJECT / "build" / "site" / "notebooks"
PDF = PROJECT / "build" / "pdf"
MARGINS = PdfMargins(top="18mm", right="16mm", bottom="20mm", left="16mm")
PAPER = ViewportSize(width=673, height=977)  # what the margins leave, at 96 pixels to the inch
TITLE = '<div style="font: 8pt sans-serif; margin-left: 16mm" class="title"></div>'
NUMBER = """<div style="font: 8pt sans-serif; width: 100%; text-align: center">
<span class="pageNumber"></span> / <span class="totalPages"></span></div>"""
# Pictures come when they are seen, which on paper is at once; hidden answers are shown. Links to
# other files of this machine would lead nobody anywhere.
READY = """async () => {
    for (const image of document.images) image.loading = "eager";
    for (const answer of document.querySelectorAll("details")) answer.open = true;
    for (const link of document.querySelectorAll("a[href]")) {
        const inside = link.getAttribute("href").startsWith("#");
        if (!inside && link.protocol === "file:") link.removeAttribute("href");
    }
    await Promise.all([...document.images].map((image) => image.decode()));
    await document.fonts.ready;
}"""


def open_page(browser: Browser, page: Path) -> Page:
    """Open a page of the site as it is printed: light, animations as stills, all answers shown.

    Args:
        browser: Chromium; other browsers print no PDF.
        page: The HTML file.
    """
    opened = browser.new_page(color_scheme="light", reduced_motion="reduce", viewport=PAPER)
    opened.goto(page.as_uri())
    opened.emulate_media(media="print")
    opened.evaluate(READY)
    return opened


def print_page(opened: Page, pdf: Path) -> None:
    """Print a page, tagged for screen readers and with its headings as an outline.

    Args:
        opened: A page from `open_page`.
        pdf: The file to write.
    """
    opened.pdf(
        path=pdf,
        format="A4",
        margin=MARGINS,
        display_header_footer=True,
        header_template=TITLE,
        footer_template=NUMBER,
        print_background=True,
        tagged=True,
        outline=True,
    )


def print_pages(pages: Iterable[Path], folder: Path) -> None:
    """Print some pages of the site into a folder, which is replaced when all are there.

    Raises:
        SystemExit: There is no page, or no Chromium.
    """
    pages = list(pages)
    if not pages:
        raise SystemExit("There is no lecture to print: `make site` builds the pages first.")
    with sync_playwright() as playwright, whole_folder(folder) as made:
        browser = launch(playwright)
        for page in pages:
            opened = open_page(browser, page)
            print_page(opened, made / f"{page.stem}.pdf")
            opened.close()
        browser.close()


def main() -> None:
    """Print all lectures."""
    pages = sorted(PAGES.glob("[0-9][0-9]-*.html"))
    print_pages(pages, PDF)
    sys.stdout.write(f"{len(pages)} lectures: {PDF.relative_to(PROJECT)}\n")


if __name__ == "__main__":
    main()
