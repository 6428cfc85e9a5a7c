"""The lectures on paper: whole, readable, and with nothing that only a screen can show."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser
from pypdf import PageObject, PdfReader

from book import pdf
from cnnlib.images import PROJECT
from tests.browser import book

LECTURES = sorted(path.stem for path in (PROJECT / "notebooks").glob("*.ipynb"))
MM = 72 / 25.4  # in points
formats: Any = nbformat  # whose functions have no types

# What paper would cut: boxes wider than the sheet, and lines of code wider than their box.
CUT = """() => [...document.querySelectorAll(".bd-article, .bd-article *")].filter((element) => {
    if (element.parentElement.closest("math, svg")) return false;
    const box = element.getBoundingClientRect();
    const scrolled = element.clientWidth && element.scrollWidth > element.clientWidth + 1
        && !element.closest(".math") && getComputedStyle(element).display !== "inline";
    return box.width && (box.right > innerWidth + 1 || box.left < -1 || scrolled);
}).map((element) => `${element.tagName} ${(element.innerText || "").slice(0, 40)}`)"""


@pytest.fixture(scope="session")
def printed() -> Path:
    """The folder of the PDFs, printed from the book as it is now."""
    book.build()
    newest = max(page.stat().st_mtime for page in pdf.PAGES.glob("*.html"))
    files = [pdf.PDF / f"{name}.pdf" for name in LECTURES]
    if not all(file.exists() and file.stat().st_mtime > newest for file in files):
        subprocess.run([sys.executable, "-m", "book.pdf"], cwd=PROJECT, check=True)
    return pdf.PDF


def placed(page: PageObject) -> Iterator[tuple[float, float, float, float]]:
    """Yield left, bottom, right and top of each picture on a page, in points."""
    boxes = []

    def look(operator: bytes, operands: Any, matrix: list[float], _: Any) -> None:
        if operator == b"Do":
            thing = page["/Resources"]["/XObject"][operands[0]]  # type: ignore[index]
            if thing["/Subtype"] == "/Image":
                a, b, c, d, x, y = matrix
                xs, ys = (x, x + a, x + c, x + a + c), (y, y + b, y + d, y + b + d)
                boxes.append((min(xs), min(ys), max(xs), max(ys)))

    page.extract_text(visitor_operand_before=look)
    yield from boxes


def cut_pictures(reader: PdfReader, shown: int) -> list[str]:
    """Return what is wrong with the pictures: one that is cut is drawn twice, or over a margin."""
    boxes = [(page, box) for page in reader.pages for box in placed(page)]
    found = [] if len(boxes) == shown else [f"{shown} pictures are drawn {len(boxes)} times"]
    for page, (left, bottom, right, top) in boxes:
        if (
            left < 16 * MM - 1
            or right > page.mediabox.right - 16 * MM + 1
            or bottom < 20 * MM - 1
            or top > page.mediabox.top - 18 * MM + 1
        ):
            found.append(f"a picture lies over a margin of page {(page.page_number or 0) + 1}")
    return found


@pytest.mark.parametrize("name", LECTURES)
def test_a_lecture_is_printed_whole(name: str, printed: Path, browser: Browser) -> None:
    reader = PdfReader(printed / f"{name}.pdf")
    cells = formats.read(PROJECT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    assert len(reader.pages) > 5
    texts = [unicodedata.normalize("NFKC", page.extract_text()) for page in reader.pages]
    title = cells[0].source.split("\n")[0].removeprefix("# ")
    assert title in texts[0].replace("’", "'")
    assert "Exercises" in "".join(texts)

    opened = pdf.open_page(browser, pdf.PAGES / f"{name}.html")
    shown = opened.locator(".bd-article img").count()
    opened.close()
    assert shown > 0
    assert cut_pictures(reader, shown) == []


@pytest.mark.parametrize("name", LECTURES)
def test_a_lecture_is_tagged_and_has_an_outline(name: str, printed: Path) -> None:
    reader = PdfReader(printed / f"{name}.pdf")
    root: Any = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert reader.outline
    assert reader.metadata is not None
    assert reader.metadata.title


@pytest.mark.parametrize("name", LECTURES)
def test_paper_cuts_nothing_and_hides_nothing(name: str, printed: Path, browser: Browser) -> None:
    opened = pdf.open_page(browser, pdf.PAGES / f"{name}.html")
    assert opened.evaluate(CUT) == []
    assert opened.locator("details").count() == opened.locator("details[open]").count() > 2
    sources = opened.evaluate("() => [...document.images].map((image) => image.currentSrc)")
    assert sources
    assert not any(source.endswith(".gif") for source in sources)
    assert (
        not opened.locator(".bd-header, .bd-sidebar-primary, .page-files")
        .filter(visible=True)
        .count()
    )
    opened.close()


def test_what_paper_cuts_is_found(printed: Path, browser: Browser) -> None:
    opened = pdf.open_page(browser, pdf.PAGES / f"{LECTURES[0]}.html")
    opened.add_style_tag(content=".bd-content div.highlight pre { white-space: pre !important }")
    opened.evaluate("() => document.querySelector('.highlight pre').append('x'.repeat(150))")
    assert opened.evaluate(CUT)
    opened.close()


def test_a_picture_across_the_edge_is_found(
    printed: Path, browser: Browser, tmp_path: Path
) -> None:
    opened = pdf.open_page(browser, pdf.PAGES / f"{LECTURES[0]}.html")
    opened.add_style_tag(
        content="img { break-inside: auto !important; max-height: none !important;"
        " height: 400mm !important; object-fit: fill !important }"
    )
    shown = opened.locator(".bd-article img").count()
    pdf.print_page(opened, tmp_path / "cut.pdf")
    opened.close()
    reader = PdfReader(tmp_path / "cut.pdf")
    assert cut_pictures(reader, shown)


def test_a_missing_site_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="make site"):
        pdf.print_pages([], tmp_path)
