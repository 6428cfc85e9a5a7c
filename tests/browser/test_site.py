"""The book as its readers get it: every page, on a laptop and a phone, with scripts and without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Page, expect

from cnnlib.images import PROJECT
from tests.browser import book
from tests.browser.axe import Finding
from tests.browser.book import DECKS, SITE, Visit
from tests.browser.conftest import Seen

formats: Any = nbformat  # whose functions have no types
LECTURES = sorted(path.stem for path in (PROJECT / "notebooks").glob("*.ipynb"))
MOST_BYTES = 2_000_000
# What axe finds and the theme does, as (rule, part of the element's HTML): reason.
OF_THE_THEME: dict[tuple[str, str], str] = {}


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where the book is served."""
    book.build()
    with book.served(SITE) as url:
        yield url


@pytest.fixture(scope="session")
def visits(address: str, browser: Browser) -> dict[str, Visit]:
    """Every page of the book, by its path."""
    paths = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    pages = [path for path in paths if not path.startswith(f"{DECKS}/")]
    return {path: book.visit(browser, f"{address}/{path}") for path in pages}


def lecture(name: str) -> str:
    return f"notebooks/{name}.html"


# All pages


def test_every_lecture_and_lab_has_a_page(visits: dict[str, Visit]) -> None:
    labs = [path.stem for path in PROJECT.glob("labs/source/*/*.ipynb")]
    wanted = [lecture(name) for name in LECTURES] + [
        f"labs/release/{name}/{name}.html" for name in labs
    ]
    assert LECTURES
    assert labs
    assert {"index.html", "search.html", *wanted} <= set(visits)


def test_nothing_goes_wrong(visits: dict[str, Visit]) -> None:
    complaints = {path: seen.errors for path, seen in visits.items() if seen.errors}
    assert not complaints


def test_nothing_comes_from_another_host(visits: dict[str, Visit]) -> None:
    complaints = {path: seen.foreign for path, seen in visits.items() if seen.foreign}
    assert not complaints


def test_no_link_is_broken(visits: dict[str, Visit], address: str) -> None:
    complaints = book.broken_links(visits, SITE, address)
    assert not complaints, "\n".join(complaints)


def test_every_picture_comes_and_has_a_text(visits: dict[str, Visit]) -> None:
    complaints = [
        f"{path}: {picture}"
        for path, seen in visits.items()
        for picture in seen.pictures
        if not picture.came or book.says_nothing(picture)
    ]
    assert all(visits[lecture(name)].pictures for name in LECTURES)
    assert not complaints, "\n".join(complaints)


def test_every_formula_is_drawn(visits: dict[str, Visit]) -> None:
    undrawn = {p: seen.formulas for p, seen in visits.items() if len(set(seen.formulas)) > 1}
    raw = {path: seen.raw for path, seen in visits.items() if seen.raw}
    assert sum(seen.formulas[0] for seen in visits.values()) > 100
    assert not undrawn
    assert not raw


def test_every_table_has_headers(visits: dict[str, Visit]) -> None:
    assert not [path for path, seen in visits.items() if seen.tables]


def test_no_page_is_heavy(visits: dict[str, Visit]) -> None:
    weights = {path: seen.bytes for path, seen in visits.items()}
    assert min(weights.values()) > 10_000
    assert not {path: weight for path, weight in weights.items() if weight >= MOST_BYTES}


def test_every_page_fits_a_phone(visits: dict[str, Visit]) -> None:
    widths = {path: seen.width for path, seen in visits.items()}
    assert not {path: width for path, width in widths.items() if width > book.PHONE["width"]}


def test_animations_wait_and_stop(visits: dict[str, Visit]) -> None:
    moving = [
        (path, picture, still)
        for path, seen in visits.items()
        for picture, still in zip(seen.pictures, seen.stills, strict=True)
        if picture.address.endswith(".gif")
    ]
    assert len(moving) >= len(list((PROJECT / "img").glob("*.gif")))
    eager = [(path, picture) for path, picture, _ in moving if not picture.lazy]
    restless = [(path, still) for path, _, still in moving if still.address.endswith(".gif")]
    assert not eager
    assert not restless


def test_axe_finds_nothing(visits: dict[str, Visit]) -> None:
    places: dict[str, list[str]] = {}
    for path, seen in visits.items():
        for mode, found in seen.findings.items():
            for finding in found:
                if not _of_the_theme(finding):
                    places.setdefault(str(finding), []).append(f"{path} in {mode}")
    complaints = [f"{finding}\n    at {' and '.join(at)}" for finding, at in places.items()]
    assert not complaints, "\n".join(complaints)


def test_what_is_excused_is_still_found(visits: dict[str, Visit]) -> None:
    everything = [
        finding for seen in visits.values() for found in seen.findings.values() for finding in found
    ]
    for rule, part in OF_THE_THEME:
        assert any(finding.rule == rule and part in finding.html for finding in everything)


def _of_the_theme(finding: Finding) -> bool:
    return any(finding.rule == rule and part in finding.html for rule, part in OF_THE_THEME)


def test_no_secret_is_in_any_file(address: str) -> None:
    hidden = book.secret_lines()
    assert len(hidden) > 100
    complaints = book.leaks(SITE, hidden)
    assert not complaints, "\n".join(complaints)


def test_no_file_names_a_folder_of_this_machine(address: str) -> None:
    files = [path for path in SITE.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if str(PROJECT).encode() in path.read_bytes()]


# Ways through the book


def test_next_and_previous_lead_through_all_lectures(address: str, page: Page) -> None:
    there, back = "a.right-next", "a.left-prev"
    page.goto(f"{address}/{lecture(LECTURES[0])}")
    seen = [page.url]
    for _ in LECTURES[1:]:
        page.locator(there).click()
        page.wait_for_url(lambda url: url != seen[-1])
        seen.append(page.url)
    assert seen == [f"{address}/{lecture(name)}" for name in LECTURES]
    for url in reversed(seen[:-1]):
        page.locator(back).click()
        page.wait_for_url(url)


def test_search_finds_stride(address: str, page: Page, seen: Seen) -> None:
    page.goto(f"{address}/index.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("stride")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=stride*")
    results = page.locator("#search-results li a")
    expect(results.filter(has_text="Padding, stride and dilation").first).to_be_visible()
    assert (seen.errors, seen.foreign) == ([], [])


@pytest.mark.parametrize("name", LECTURES)
def test_the_notebook_can_be_had(name: str, address: str, page: Page, tmp_path: Path) -> None:
    page.goto(f"{address}/{lecture(name)}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Notebook").click()
    target = tmp_path / download.value.suggested_filename
    download.value.save_as(target)
    assert target.name == f"{name}.ipynb"
    got = formats.read(target, as_version=4)
    formats.validate(got)
    original = formats.read(PROJECT / "notebooks" / target.name, as_version=4)
    assert [cell.source for cell in got.cells] == [cell.source for cell in original.cells]


@pytest.mark.parametrize("name", ["index.html", lecture(LECTURES[3])])
def test_tab_goes_to_the_skip_link_then_navigation_then_content(
    name: str, address: str, page: Page
) -> None:
    page.goto(f"{address}/{name}")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text(re.compile("Skip to main content"))
    expect(page.locator(":focus")).to_be_in_viewport()
    where = []
    for _ in range(300):
        page.keyboard.press("Tab")
        part = page.evaluate(
            "document.activeElement.closest('article, main') ? 'content' :"
            " document.activeElement === document.body ? 'end' : 'navigation'"
        )
        if part == "end":
            break
        where.append(part)
    first = where.index("content")
    assert first > 0
    assert set(where[:first]) == {"navigation"}

    page.goto(f"{address}/{name}")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    inside = page.evaluate("Boolean(document.activeElement.closest('main'))")
    assert inside, "the skip link leads somewhere else"


@pytest.mark.parametrize("name", LECTURES)
def test_without_scripts_all_is_there(name: str, address: str, browser: Browser) -> None:
    count = """() => ({
        headings: [...document.querySelectorAll("article :is(h1, h2, h3)")].map((h) => h.innerText),
        code: [...document.querySelectorAll("article pre")].filter(
            (pre) => pre.getClientRects().length > 0).map((pre) => pre.innerText),
        words: document.querySelector("article").innerText.split(/\\s+/).length,
        formulas: document.querySelectorAll("article math").length,
        pictures: [...document.querySelectorAll("article img")].filter(
            (image) => image.getBoundingClientRect().width > 20).length,
    })"""
    found = []
    for scripts in (True, False):
        context = browser.new_context(java_script_enabled=scripts)
        page = context.new_page()
        page.goto(f"{address}/{lecture(name)}")
        found.append(page.evaluate(count))
        context.close()
    with_scripts, without = found
    assert without["pictures"] == with_scripts["pictures"] > 0
    assert without["code"] == with_scripts["code"]
    assert without["headings"] == with_scripts["headings"]
    assert without["formulas"] == with_scripts["formulas"]
    assert without["words"] >= with_scripts["words"] - 20


# The checks themselves

BAD = """<!DOCTYPE html><html lang="en"><head><title>Bad</title></head><body><main><article>
<h1>Bad</h1><p>Here is $x^2$ as it was written, <span class="math">y</span>.</p>
<a href="gone.html">gone</a> <a href="#nowhere">nowhere</a> <a href="#here" id="here">here</a>
<img src="gone.png" alt="A picture that is gone."> <img src="cat.gif" alt="cat.gif">
<img src="https://elsewhere.example/a.png" alt="A picture from another host.">
<table><tr><td>1</td></tr></table> <p style="color: #bbb; background: #fff">pale</p>
<div style="width: 600px">wide</div>
<pre><span>secret</span> = <b>7</b> &lt; 8</pre><button></button>
<script>console.error("broken")</script></article></main></body></html>
"""


def test_the_checks_find_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(BAD, encoding="utf-8")
    (tmp_path / "cat.gif").write_bytes((PROJECT / "img" / "max-pooling.gif").read_bytes())
    (tmp_path / "index.js").write_text(
        '{"text": "one line\\nsecret = 7 \\"and\\" some more words"}', encoding="utf-8"
    )
    with book.served(tmp_path) as address:
        seen = book.visit(browser, f"{address}/bad.html")
        broken = book.broken_links({"bad.html": seen}, tmp_path, address)
    assert any("broken" in error for error in seen.errors)
    assert any("404" in error for error in seen.errors)
    assert set(seen.foreign) == {"https://elsewhere.example/a.png"}
    assert [line.rpartition("/")[2] for line in broken] == [
        "gone.html: there is no gone.html",
        "bad.html#nowhere: bad.html has no place #nowhere",
    ]
    assert [picture.came for picture in seen.pictures] == [False, True, False]
    assert [book.says_nothing(picture) for picture in seen.pictures] == [False, True, False]
    assert not seen.pictures[1].lazy
    assert seen.stills[1].address.endswith(".gif")
    assert seen.formulas == (0, 1)
    assert seen.raw == ["$x^2$"]
    assert seen.tables == 1
    assert seen.width > 600
    assert {"color-contrast", "button-name"} <= {finding.rule for finding in seen.findings["light"]}
    assert seen.bytes > (tmp_path / "cat.gif").stat().st_size
    hidden = {"secret = 7 < 8", 'secret = 7 "and" some more words', "never written"}
    assert book.leaks(tmp_path, hidden) == [
        "bad.html: secret = 7 < 8",
        'index.js: secret = 7 "and" some more words',
    ]
