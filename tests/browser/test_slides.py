"""The decks as an instructor projects them: every slide, with all that its steps show."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Page

from cnnlib.images import PROJECT
from tests.browser import book
from tests.browser.conftest import Seen

DECKS = PROJECT / "build" / "slides"
MADE_OF = ("notebooks/*.ipynb", "img/*", "book/*.py", "book/*.js", "book/deck/*")
LECTURES = sorted(path.stem for path in (PROJECT / "notebooks").glob("*.ipynb"))
formats: Any = nbformat  # whose functions have no types

# What is wrong with the slide that is shown: everything lies within it and above the line with its
# number, nothing is clipped or wider than its box, pictures have come and are large enough, and
# text can be read from the last row.
COMPLAINTS = r"""() => {
    const slide = Reveal.getCurrentSlide();
    const found = [];
    const page = slide.getBoundingClientRect();
    const style = getComputedStyle(slide);
    const inside = {
        left: page.left + parseFloat(style.paddingLeft),
        top: page.top + parseFloat(style.paddingTop),
        right: page.right - parseFloat(style.paddingRight),
        bottom: page.bottom - parseFloat(style.paddingBottom),
    };
    const hidden = (e) => e.closest(".notes");
    const name = (e) => `${e.tagName.toLowerCase()} "${(e.innerText || "").slice(0, 30)}"`;
    const least = (e) => e.closest(".mono, pre, code, .table") ? 20 : 24;
    for (const element of slide.querySelectorAll("*")) {
        if (hidden(element)) continue;
        const box = element.getBoundingClientRect();
        const out = box.left < inside.left - 1 || box.right > inside.right + 1
            || box.top < inside.top - 1 || box.bottom > inside.bottom + 1;
        if (box.width && out) found.push(`${name(element)} does not fit`);
        const block = getComputedStyle(element).display !== "inline";
        if (block && !element.closest("math") && element.clientWidth && (
            element.scrollWidth > element.clientWidth + 1
            || element.scrollHeight > element.clientHeight
                + (element.querySelector("math") ? 6 : 1) // room that its font has below letters
        )) found.push(`${name(element)} is cut`);
    }
    const texts = document.createTreeWalker(slide, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
        const element = text.parentElement;
        if (!text.data.trim() || hidden(element) || element.closest("math")) continue;
        const size = parseFloat(getComputedStyle(element).fontSize);
        if (size < least(element)) found.push(`${name(element)} has ${size} pixels`);
        if (/\$[^$]+\$/.test(text.data) && least(element) === 24) found.push(`raw ${text.data}`);
    }
    for (const image of slide.querySelectorAll("img")) {
        const box = image.getBoundingClientRect();
        const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
        if (!image.complete || !image.naturalWidth) found.push(`no picture: ${image.alt}`);
        else if (scale < 1 && box.height < 550) found.push(`small picture: ${image.alt}`);
        if (!image.alt) found.push(`a picture without words`);
    }
    for (const formula of slide.querySelectorAll("math")) {
        const { width, height } = formula.getBoundingClientRect();
        if (!width || !height) found.push("no formula");
    }
    return found;
}"""
STATE = "() => [Reveal.getSlidePastCount(), document.querySelectorAll('.fragment.visible').length]"


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where the decks are served; they are made where they are older than their sources."""
    index = DECKS / "index.html"
    sources = [path.stat().st_mtime for part in MADE_OF for path in PROJECT.glob(part)]
    if not index.exists() or index.stat().st_mtime < max(sources):
        subprocess.run([sys.executable, "-m", "book.slides"], cwd=PROJECT, check=True)
    with book.served(DECKS) as url:
        yield url


def open_deck(page: Page, url: str) -> int:
    """Open a deck and return how many slides it has."""
    page.goto(url)
    page.wait_for_function("() => window.Reveal?.isReady()")
    page.evaluate("() => document.fonts.ready")
    return int(page.evaluate("() => Reveal.getTotalSlides()"))


def show(page: Page, number: int) -> None:
    """Show a slide, counted from 0, with all its steps."""
    page.evaluate(
        """async (number) => {
            const { h, v } = Reveal.getIndices(Reveal.getSlides()[number]);
            Reveal.slide(h, v, 99);
            const images = [...Reveal.getCurrentSlide().querySelectorAll("img")];
            await Promise.allSettled(images.map((image) => image.decode()));
            await document.fonts.ready; // those of this slide's formulas load when it is shown
        }""",
        number,
    )


def notebook(name: str) -> Any:
    return formats.read(PROJECT / "notebooks" / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize("name", LECTURES)
def test_every_slide_fits_and_can_be_read(name: str, page: Page, seen: Seen, address: str) -> None:
    complaints = {}
    for number in range(open_deck(page, f"{address}/{name}.html")):
        show(page, number)
        if found := page.evaluate(COMPLAINTS):
            complaints[number + 1] = found
    assert not complaints
    assert seen.errors == []
    assert seen.foreign == []


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("does not fit", "slide.append(...slide.parentElement.cloneNode(true).children)"),
        ("is cut", "slide.querySelector('.text').style.height = '10px'"),
        ("is cut", "slide.querySelector('.mono pre').append('x'.repeat(120))"),
        ("has 16 pixels", "slide.querySelector('.text').style.fontSize = '16px'"),
        ("has 18 pixels", "slide.querySelector('.mono').style.fontSize = '18px'"),
        ("raw", "slide.querySelector('.text').append('$x$')"),
        ("no picture", "slide.innerHTML += '<img src=none.png alt=none>'"),
        ("without words", "slide.innerHTML += '<img src=none.png>'"),
        ("no formula", "slide.innerHTML += '<math></math>'"),
    ],
)
def test_a_bad_slide_is_complained_about(words: str, change: str, page: Page, address: str) -> None:
    open_deck(page, f"{address}/{LECTURES[1]}.html")
    number = page.evaluate(
        """() => Reveal.getSlides().findIndex((s) => s.querySelector(".text ~ .mono pre"))"""
    )
    show(page, number)
    assert page.evaluate(COMPLAINTS) == []
    page.evaluate(f"() => {{ const slide = Reveal.getCurrentSlide(); {change}; }}")
    show(page, number)
    assert any(words in complaint for complaint in page.evaluate(COMPLAINTS))


def test_a_small_picture_is_complained_about(page: Page, address: str) -> None:
    open_deck(page, f"{address}/{LECTURES[1]}.html")
    number = page.evaluate("() => Reveal.getSlides().findIndex((s) => s.querySelector('img'))")
    show(page, number)
    page.evaluate("() => { Reveal.getCurrentSlide().querySelector('img').style.height = '100px' }")
    assert any("small picture" in complaint for complaint in page.evaluate(COMPLAINTS))


def test_one_key_goes_through_all_slides_and_steps(page: Page, address: str) -> None:
    slides = open_deck(page, f"{address}/{LECTURES[0]}.html")
    steps = page.evaluate(
        """() => Reveal.getSlides().reduce((sum, slide) => sum + new Set(
            [...slide.querySelectorAll(".fragment")].map((f) => f.dataset.fragmentIndex)
        ).size, 0)"""
    )
    assert steps > 0
    states = []
    for _ in range(slides + steps - 1):
        page.keyboard.press("ArrowRight")
        states.append(tuple(page.evaluate(STATE)))
    assert states[-1][0] == slides - 1
    assert len(set(states)) == len(states)
    page.keyboard.press("ArrowRight")
    assert tuple(page.evaluate(STATE)) == states[-1]
    for state in reversed(states[-6:-1]):
        page.keyboard.press("ArrowLeft")
        assert tuple(page.evaluate(STATE)) == state
    page.keyboard.press("Home")
    assert page.evaluate("() => Reveal.isFirstSlide()")


def test_an_answer_is_not_seen_before_its_step(page: Page, address: str) -> None:
    open_deck(page, f"{address}/{LECTURES[0]}.html")
    number = page.evaluate("() => Reveal.getSlides().findIndex((s) => s.querySelector('.answer'))")
    show(page, number)
    answer = page.locator("section section.present .answer")
    assert answer.is_visible()
    page.keyboard.press("ArrowLeft")
    assert not answer.is_visible()
    page.keyboard.press("Space")
    assert answer.is_visible()


def sources(page: Page) -> list[str]:
    return list(
        page.evaluate("() => [...document.querySelectorAll('img[data-animation]')].map(i => i.src)")
    )


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_animations_run_on_their_slide_alone(motion: Any, page: Page, address: str) -> None:
    page.emulate_media(reduced_motion=motion)
    url = f"{address}/02-filters.html"
    open_deck(page, url)
    number = page.evaluate(
        "() => Reveal.getSlides().findIndex((s) => s.querySelector('img[data-animation]'))"
    )
    assert not any(".gif" in source for source in sources(page))
    show(page, number)
    assert any(".gif" in source for source in sources(page)) == (motion == "no-preference")
    first = sources(page)
    show(page, number + 1)
    assert not any(".gif" in source for source in sources(page))
    show(page, number)
    assert (sources(page) == first) == (motion == "reduce")  # from its beginning again
    page.wait_for_function("() => location.hash")
    page.reload()
    page.wait_for_function("() => window.Reveal?.isReady()")
    assert any(".gif" in source for source in sources(page)) == (motion == "no-preference")


@pytest.mark.parametrize("name", LECTURES)
def test_a_deck_has_its_title_language_and_words_for_pictures(
    name: str, page: Page, address: str
) -> None:
    open_deck(page, f"{address}/{name}.html")
    cells = notebook(name).cells
    assert page.title() == cells[0].source.split("\n")[0].removeprefix("# ")
    assert page.locator("html").get_attribute("lang") == "en"
    alts = page.evaluate("() => [...document.querySelectorAll('img')].map((i) => i.alt)")
    drawn = [cell.metadata.get("mystnb", {}).get("image", {}).get("alt") for cell in cells]
    assert {alt for alt in drawn if alt} <= set(alts)


def test_the_list_leads_to_every_deck(page: Page, seen: Seen, address: str) -> None:
    page.goto(f"{address}/index.html")
    links = page.evaluate("() => [...document.querySelectorAll('a')].map((a) => a.href)")
    assert links == [f"{address}/{name}.html" for name in LECTURES]
    assert seen.errors == []
    assert seen.foreign == []


def test_decks_open_as_files(page: Page, seen: Seen, address: str) -> None:
    open_deck(page, (DECKS / f"{LECTURES[3]}.html").as_uri())
    show(page, 3)
    assert page.evaluate(COMPLAINTS) == []
    assert seen.errors == []
    assert all(Path(url.removeprefix("file://").split("?")[0]).exists() for url in seen.foreign)


def test_without_scripts_everything_is_there(browser: Browser, address: str) -> None:
    context = browser.new_context(
        java_script_enabled=False, viewport={"width": 1280, "height": 720}
    )
    page = context.new_page()
    page.goto(f"{address}/{LECTURES[1]}.html")
    answer = page.locator(".answer").last
    answer.scroll_into_view_if_needed()
    assert answer.is_visible()
    box = answer.bounding_box()
    assert box is not None
    assert 0 <= box["y"] <= 720
    assert 0 <= box["x"] < box["x"] + box["width"] <= 1280
    page.locator("math").first.scroll_into_view_if_needed()
    context.close()
