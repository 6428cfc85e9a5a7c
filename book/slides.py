"""Make a deck of slides from each lecture, from its stored outputs: `make slides`.

The decks stand in build/slides, and show everything without a network.
"""

from __future__ import annotations

import html
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from bs4 import BeautifulSoup
from nbconvert import SlidesExporter
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from book.cutting import cut
from book.maths import mathml, write_font
from book.staging import read, title
from book.vendor import REVEAL, unpack
from cnnlib._files import PROJECT, whole_folder

HERE = Path(__file__).parent
DECKS = PROJECT / "build" / "slides"
LETTERS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono")
REVEAL_FILES = ("dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js", "LICENSE")
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.DOTALL)
CODE_STYLE = "a11y-high-contrast-light"


def make_decks(notebooks: Sequence[Path], folder: Path) -> None:
    """Write a deck for each lecture, what the decks load, and a page that lists them.

    Args:
        notebooks: The lectures' files, in their order.
        folder: Where to; what was there before is replaced.
    """
    with whole_folder(folder) as made:
        titles = {}
        for path in notebooks:
            notebook = read(path)
            titles[f"{path.stem}.html"] = title(notebook)
            page, pictures = deck(notebook, path.parent)
            (made / f"{path.stem}.html").write_text(page, encoding="utf-8")
            for picture in pictures:
                (made / "img").mkdir(exist_ok=True)
                shutil.copyfile(picture, made / "img" / picture.name)
        _write_assets(made / "assets")
        (made / "index.html").write_text(_index(titles), encoding="utf-8")


def deck(notebook: Any, folder: Path) -> tuple[str, set[Path]]:
    """Return the page of a lecture's slides, and the picture files that it shows from img/.

    Args:
        notebook: The lecture, with its outputs.
        folder: Where it lies, to find its pictures and the lectures that it links.
    """
    pictures: set[Path] = set()
    exporter = SlidesExporter(
        config=Config(NbConvertBase={"display_data_priority": ["image/png", "text/html"]}),
        extra_template_basedirs=[str(HERE)],
        template_name="deck",
        exclude_anchor_links=True,
    )
    exporter.register_filter("on_slide", lambda text: _on_slide(text, folder, pictures))
    exporter.register_filter("inline", lambda text: re.sub(r"</?(h1|a)\b[^>]*>", "", text))
    resources = {"deck": {"title": title(notebook)}}
    page, _ = exporter.from_notebook_node(cut(notebook, folder), resources)
    return page, pictures


def _on_slide(text: str, folder: Path, pictures: set[Path]) -> str:
    """Return a piece of HTML with its formulas made, and links and pictures as decks have them.

    A link to what is no deck is left as its text. An animation is shown as its still, until the
    script runs it.
    """
    soup = BeautifulSoup(text, "html.parser")
    for words in soup.find_all(string=re.compile(r"\$")):
        if words.find_parent(["code", "pre"]) is None:
            made = FORMULA.sub(_formula, html.escape(words))
            words.replace_with(BeautifulSoup(made, "html.parser"))
    for link in soup.find_all("a"):
        address = str(link.get("href", ""))
        if (folder / address).suffix == ".ipynb" and (folder / address).exists():
            link["href"] = f"{Path(address).stem}.html"
        elif not re.match("https?:", address):
            link.unwrap()
    for image in soup.find_all("img"):
        source = folder / str(image["src"])
        pictures.add(source)
        image["src"] = f"img/{source.name}"
        if source.suffix == ".gif":
            still = source.with_name(f"{source.stem}-still.png")
            pictures.add(still)
            image["data-animation"] = image["src"]
            image["data-still"] = image["src"] = f"img/{still.name}"
    return str(soup)


def _formula(found: re.Match[str]) -> str:
    """Return the MathML of a formula that was escaped for HTML."""
    display, inline = (html.unescape(part or "") for part in found.groups())
    return mathml(display or inline, bool(display))


def _write_assets(folder: Path) -> None:
    """Put styles, scripts and fonts into a folder."""
    unpack(REVEAL, REVEAL_FILES, folder / "reveal")
    for name in ("deck.css", "deck.js", "noscript.css"):
        shutil.copyfile(HERE / "deck" / name, folder / name)
    code: str = HtmlFormatter(style=CODE_STYLE).get_style_defs(".highlight")
    (folder / "code.css").write_text(code, encoding="utf-8")
    fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
    write_font(folder / "fonts")
    for name in (*(f"{font}.ttf" for font in LETTERS), "LICENSE_DEJAVU"):
        shutil.copyfile(fonts / name, folder / "fonts" / name)


def _index(titles: dict[str, str]) -> str:
    entries = "\n".join(
        f'<li><a href="{name}">{html.escape(title)}</a></li>' for name, title in titles.items()
    )
    template = (HERE / "deck" / "list.html").read_text(encoding="utf-8")
    return template.replace("ENTRIES", entries)


def main() -> None:
    """Make all decks."""
    notebooks = sorted((PROJECT / "notebooks").glob("*.ipynb"))
    make_decks(notebooks, DECKS)
    sys.stdout.write(f"{len(notebooks)} decks: open {DECKS.relative_to(PROJECT)}/index.html\n")


if __name__ == "__main__":
    main()
