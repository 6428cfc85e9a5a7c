"""The built book: served to a browser, visited page by page, and searched for what is wrong."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

from playwright.sync_api import Browser, Page, Request, ViewportSize

from cnnlib.images import PROJECT
from labs.grading.release import hidden_lines
from tests.browser.axe import Finding, findings
from tests.browser.conftest import Seen

SITE = PROJECT / "build" / "site"
MADE_OF = (
    "notebooks",
    "img",
    "cnnlib",
    "labs/source",
    "book",
    "*.md",
    "*/README.md",
    "pyproject.toml",
)
DECKS = "slides"  # pages of another kind, which tests/browser/test_slides.py looks at
PHONE = ViewportSize(width=375, height=812)
# What the colours of a page decide.
CONTRAST = ("color-contrast", "link-in-text-block")
NO_TEXT = (".gif", ".pdf", ".png", ".webp", ".woff", ".woff2")  # PDFs are prints of the pages
PUBLIC = ("notebooks/*.ipynb", "cnnlib/**/*.py", "cnnlib/**/*.js", "*.md", "labs/*.md")


def build() -> None:
    """Build the book, unless it is there and newer than all that it is made of."""
    index = SITE / "index.html"
    sources = [path for part in MADE_OF for path in PROJECT.glob(part)]
    files = [file for path in sources for file in (path.rglob("*") if path.is_dir() else [path])]
    files = [file for file in files if file.is_file() and file.suffix not in (".pyc", ".lock")]
    if not index.exists() or index.stat().st_mtime < max(file.stat().st_mtime for file in files):
        subprocess.run([sys.executable, "-m", "book.build"], cwd=PROJECT, check=True)


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder to this machine; the address has no slash at its end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Picture:
    """A picture as the page shows it, and whether it has come."""

    address: str
    alt: str | None
    lazy: bool
    came: bool


@dataclass
class Visit:
    """What was seen on one page.

    Attributes:
        errors: What the console and the network complained about.
        foreign: Addresses on other hosts that the page asked for.
        bytes: What was loaded until its end was reached, uncompressed.
        ids: What a link can point at.
        links: Where the page's links point.
        pictures: Those of the text, not of the frame around it.
        stills: The same for a reader who prefers reduced motion.
        formulas: How many formulas are shown, of how many there are.
        raw: Formulas that stand in the text as they are written.
        tables: How many tables have no header cell.
        width: Of the page or its text on a phone, in pixels, were nothing to be scrolled.
        findings: What axe finds, in light and in dark.
    """

    errors: list[str]
    foreign: list[str]
    bytes: int
    ids: set[str]
    links: list[str]
    pictures: list[Picture]
    stills: list[Picture]
    formulas: tuple[int, int]
    raw: list[str]
    tables: int
    width: int
    findings: dict[str, list[Finding]]


READ = r"""() => {
    const all = (selector) => [...document.querySelectorAll(selector)];
    const shown = (element) => element.getClientRects().length > 0
        && [...element.getClientRects()].some((box) => box.width > 1 && box.height > 1);
    const prose = document.body.cloneNode(true);
    prose.querySelectorAll("pre, code, script, style, math").forEach((e) => e.remove());
    const formulas = all(".math").filter((math) => !math.closest("details:not([open])"));
    return {
        ids: all("[id]").map((element) => element.id),
        links: all("a[href], area[href]").map((link) => link.href),
        formulas: [
            formulas.filter((f) => f.querySelector("math") && shown(f)).length,
            formulas.length,
        ],
        raw: prose.textContent.match(/\$[^$\n]{1,80}\$|\\\(|\\\[|\\frac|\\lfloor/g) ?? [],
        tables: all("article table").filter((table) => !table.querySelector("th")).length,
    }
}"""
PICTURES = """() => [...document.querySelectorAll("article img, main img")].map((image) => ({
    address: image.currentSrc || image.src,
    alt: image.getAttribute("alt"),
    lazy: image.loading === "lazy",
    came: image.complete && image.naturalWidth > 0,
}))"""
# Down in steps, for what loads when it comes into sight; every answer is opened first.
SCROLL = """async () => {
    document.querySelectorAll("details").forEach((details) => { details.open = true });
    for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight) {
        scrollTo({ top: y, behavior: "instant" });
        await new Promise(requestAnimationFrame);
    }
    await Promise.all([...document.images].map((image) => image.complete || new Promise((done) => {
        image.addEventListener("load", done);
        image.addEventListener("error", done);
    })));
    await document.fonts.ready;
    scrollTo({ top: 0, behavior: "instant" });
}"""
# Of whatever holds the text: the theme lets it scroll in a part of the page.
WIDTH = """() => {
    let widest = 0;
    const text = document.querySelector("article") ?? document.body;
    for (let e = text; e; e = e.parentElement) {
        widest = Math.max(widest, e.getBoundingClientRect().left + e.scrollWidth);
    }
    return Math.round(widest);
}"""


def visit(browser: Browser, address: str, *, axe: bool = True) -> Visit:
    """Read a page to its end, in light, in dark, with reduced motion and on a phone."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme="light")
    page, seen = context.new_page(), Seen()
    seen.watch(page)
    loaded: list[Request] = []
    page.on("requestfinished", lambda request: loaded.append(request))
    page.goto(address)
    page.evaluate(SCROLL)
    facts = page.evaluate(READ)
    pictures = _pictures(page)
    weight = sum(request.sizes()["responseBodySize"] for request in loaded)

    # From here on without the theme's transitions, which change colours slowly.
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(SCROLL)
    stills = _pictures(page)
    found = {"light": findings(page)} if axe else {}
    page.emulate_media(reduced_motion="reduce", color_scheme="dark")
    if axe:
        found["dark"] = findings(page, *CONTRAST)
    page.set_viewport_size(PHONE)
    width = page.evaluate(WIDTH)
    context.close()
    return Visit(
        errors=seen.errors,
        foreign=seen.foreign,
        bytes=weight,
        ids=set(facts["ids"]),
        links=facts["links"],
        pictures=pictures,
        stills=stills,
        formulas=tuple(facts["formulas"]),
        raw=facts["raw"],
        tables=facts["tables"],
        width=width,
        findings=found,
    )


def _pictures(page: Page) -> list[Picture]:
    return [Picture(**picture) for picture in page.evaluate(PICTURES)]


def broken_links(visits: dict[str, Visit], folder: Path, address: str) -> list[str]:
    """Return the links to pages, files and places in pages that are not there.

    Args:
        visits: By the page's path below the folder.
        folder: What was served.
        address: Where.
    """
    complaints = []
    for path, seen in visits.items():
        for link in seen.links:
            target, fragment = urldefrag(link)
            if not target.startswith(address):
                continue  # another host, which tests do not ask
            name = unquote(urlsplit(target).path).lstrip("/")
            if not name or name.endswith("/"):
                name += "index.html"
            place = unquote(fragment)
            if not (folder / name).is_file():
                complaints.append(f"{path}: {link}: there is no {name}")
            elif place and name in visits and place not in visits[name].ids:
                complaints.append(f"{path}: {link}: {name} has no place #{place}")
    return complaints


def says_nothing(picture: Picture) -> bool:
    """Say whether a picture's text tells a reader nothing: none, a file's name, a hash."""
    alt = (picture.alt or "").strip()
    name = Path(urlsplit(picture.address).path).name
    words = re.findall(r"[^\W\d_]{2,}", alt)
    return len(words) < 3 or alt == name or bool(re.search(r"[0-9a-f]{16}|\.(png|gif|webp)$", alt))


def secret_lines() -> set[str]:
    """Return the lines of solutions and hidden tests that no public file of the project has."""
    hidden, shown = set[str](), set[str]()
    for lab in PROJECT.glob("labs/source/*/*.ipynb"):
        hidden |= hidden_lines(lab)
        shown |= lines_of(lab) - hidden_lines(lab)
    for part in PUBLIC:
        shown = shown.union(*map(lines_of, PROJECT.glob(part)))
    return {line for line in hidden - shown if len(line) > 12}  # others tell nothing


def leaks(folder: Path, hidden: Iterable[str]) -> list[str]:
    """Return which files of the built book show which lines that are to be hidden."""
    hidden = set(hidden)
    long = {line for line in hidden if len(line) > 25}
    complaints = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in NO_TEXT:
            found = hidden & lines_of(path)
            text = path.read_bytes().decode(errors="ignore")  # in one line, or escaped, as in JSON
            found |= {line for line in long if line in text or json.dumps(line)[1:-1] in text}
            complaints += [f"{path.relative_to(folder)}: {line}" for line in sorted(found)]
    return complaints


def lines_of(path: Path) -> set[str]:
    """Return the lines that a reader sees in a text, a page or a notebook, without indentation."""
    if path.suffix not in (".html", ".ipynb", ".js", ".json", ".md", ".py", ".txt", ".css", ".svg"):
        return set()
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    elif path.suffix == ".html":
        text = html.unescape(re.sub(r"<[^>]*>", "", text))
    return {line.strip() for line in text.splitlines()}
