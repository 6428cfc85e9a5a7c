"""Cut a lecture into slides: what a cell's slide type leaves open is decided by what fits.

A slide is a list of pieces, and a piece a cell that holds one thing: a heading, a paragraph, code,
or one output. A markdown cell is cut at its headings, and where its text becomes too long; code and
its output share a slide where the output stays large enough to be read, and take two otherwise.
"""

from __future__ import annotations

import base64
import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image

from book.fitting import SIZES, Piece, Slide, height

MOST_TEXT = 430  # of text on a slide, at the smallest size; more is not read
MOST_LINES = 22  # of an output on one slide
MOST_CHARACTERS = 100  # in a line of output at the smallest size
MOST_MESSAGE = 80  # in a line of an error or a command
# What is said of a page, and is not so on a slide.
FOR_PAGES = re.compile(
    r"\(?(The animation plays once[^;]*; t|T)his is \[its first step\]\([^)]*\)\.\)? *"
    r"|The cell below the questions proves each of them\."
)

formats: Any = nbformat  # whose functions have no types


def cut(notebook: Any, folder: Path) -> Any:
    """Return a notebook with a cell for each piece of each slide, for nbconvert's slides.

    Args:
        notebook: A lecture, every cell of which has its slide type.
        folder: Where it lies, to find the pictures that it shows.
    """
    slides: list[Slide] = []
    notes: dict[int, list[Any]] = {}
    for cell in notebook.cells:
        kind = cell.metadata.slideshow.slide_type
        if kind == "notes":
            notes.setdefault(max(len(slides) - 1, 0), []).append(_cell(cell, cell.source))
        elif kind != "skip" and (new := _cut_cell(cell, folder)):
            _append(slides, kind, new)
    cells = []
    section, first = "", notebook.cells[0].id
    for number, slide in enumerate(slides):
        if heading := re.match(r"#{1,2} (.*)", slide.pieces[0].cell.source):
            # What follows the objectives, before the first section, goes under the title.
            section = section or heading[1] if slide.pieces[0].cell.id == first else heading[1]
        cells += list(_finished(slide, "" if heading else section))
        for cell in notes.get(number, []):
            cell.metadata.slideshow = {"slide_type": "notes"}
            cells.append(cell)
    for number, cell in enumerate(cells):
        cell.id = f"piece-{number}"  # a cell gives its id to one piece only
    return formats.v4.new_notebook(metadata=deepcopy(notebook.metadata), cells=cells)


def _append(slides: list[Slide], kind: str, new: list[Slide]) -> None:
    """Add the slides of a cell; one that goes on joins the last slide, if there is room."""
    if kind == "slide" or not slides:
        new[0].kind = "slide"
    elif kind in ("-", "fragment"):
        both = slides[-1].joined(new[0], int(kind == "fragment"))
        if both:
            slides[-1], new = both, new[1:]
    slides += new


def _finished(slide: Slide, section: str) -> Iterator[Any]:
    """Yield the cells of a slide, with what the template needs to know in their metadata."""
    text, mono = slide.sizes() or SIZES[-1]
    for number, (piece, step) in enumerate(zip(slide.pieces, slide.steps, strict=True)):
        deck = piece.cell.metadata.deck
        deck["picture"] = piece.picture is not None
        deck["size"] = mono if piece.lines or piece.rows else text
        deck["step"] = step
        deck["section"] = "" if number else section
        piece.cell.metadata.slideshow = {"slide_type": "-" if number else slide.kind}
        yield piece.cell


def _cell(cell: Any, source: str, outputs: Sequence[Any] | None = None, **deck: Any) -> Any:
    """Return a copy of a cell with another source, and with these outputs if it is of code."""
    copy = deepcopy(cell)
    copy.source = source
    copy.metadata.deck = {"answer": False, "error": False, **deck}
    if cell.cell_type == "code":
        copy.outputs = deepcopy(list(outputs or []))
    return copy


def _cut_cell(cell: Any, folder: Path) -> list[Slide]:
    if cell.cell_type == "code":
        return _cut_code(cell)
    return _cut_text(cell, folder)


# Code


def _cut_code(cell: Any) -> list[Slide]:
    """Return a slide with a cell's code and outputs, or one after the other where they need two."""
    pieces = [piece for output in cell.outputs for piece in _output(cell, output)]
    if "remove-input" not in cell.metadata.get("tags", []):
        pieces.insert(0, Piece(_cell(cell, cell.source), lines=tuple(cell.source.split("\n"))))
    slides: list[Slide] = []
    for piece in pieces:
        slide = Slide("subslide", [piece], [0])
        both = slides[-1].joined(slide, 0) if slides else None
        slides[-1:] = [both] if both else [*slides[-1:], slide]
    return slides


def _output(cell: Any, output: Any) -> Iterator[Piece]:
    """Yield an output in pieces, each small enough for a slide."""
    data = output.get("data", {})
    if "image/png" in data:
        with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as picture:
            yield Piece(_cell(cell, "", [output]), picture=picture.size)
    elif "text/html" in data:
        yield Piece(_cell(cell, "", [output]), rows=tuple(_rows(data["text/html"])))
    elif "application/vnd.jupyter.widget-view+json" not in data:
        text = (
            output.get("text") or data.get("text/plain") or "\n".join(output.get("traceback", []))
        )
        error = output.output_type == "error"
        wrapped = _wrapped(text.rstrip(), MOST_MESSAGE if error else MOST_CHARACTERS)
        for lines in _parts(wrapped, MOST_LINES):
            shown = formats.v4.new_output("stream", name="stdout", text="\n".join(lines))
            yield Piece(_cell(cell, "", [shown], error=error), lines=tuple(lines))


def _rows(table: str) -> Iterator[str]:
    """Yield the text of each row of an HTML table, its cells apart as they are when drawn."""
    for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL):
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        yield "   ".join(re.sub("<.*?>", "", cell) for cell in cells)


def _wrapped(text: str, most: int) -> list[str]:
    """Return the lines of a text, those that are too long in parts."""
    wrapper = textwrap.TextWrapper(most, drop_whitespace=False, replace_whitespace=False)
    return [part for line in text.split("\n") for part in wrapper.wrap(line) or [""]]


def _parts(lines: list[str], most: int) -> Iterator[list[str]]:
    """Yield lines in parts that are short enough, if possible below a line that is drawn."""
    if len(lines) <= most:
        yield lines
        return
    middle = len(lines) // 2
    drawn = [n for n, line in enumerate(lines, start=1) if re.fullmatch(r"([=-])\1+", line)]
    at = min(drawn, key=lambda n: abs(n - middle), default=middle)
    at = at if abs(at - middle) < most / 4 else middle
    yield from _parts(lines[:at], most)
    yield from _parts(lines[at:], most)


# Text


def _cut_text(cell: Any, folder: Path) -> list[Slide]:
    """Return slides that start at headings and questions, and where text becomes too long."""
    groups: list[list[str]] = []
    for block in _blocks(cell.source):
        starts = re.match(r"#{1,6} |\*\*\d+\.\*\*", block)
        if not groups or (starts and not all(b.startswith("#") for b in groups[-1])):
            groups.append([])
        groups[-1].append(block)
    slides = []
    for group in groups:
        kind = "slide" if re.match(r"#{1,2} ", group[0]) else "subslide"
        units = [[_text_piece(cell, block, folder) for block in unit] for unit in _units(group)]
        for pieces in _packed([part for unit in units for part in _fitting(unit)]):
            steps = accumulate(int(piece.cell.metadata.deck.answer) for piece in pieces)
            slides.append(Slide(kind, pieces, list(steps)))
            kind = "subslide"
    return slides


def _blocks(source: str) -> list[str]:
    """Return the blocks of a markdown text, which blank lines part; long lists item by item."""
    closed = r"<details.*?^</details>|```.*?^```|\$\$.*?\$\$[.,]?$|#{1,6} [^\n]*"
    blocks = []
    rest = FOR_PAGES.sub("", source).strip()
    while rest:
        found = re.match(closed, rest, re.DOTALL | re.MULTILINE)
        block = found[0] if found else re.split(r"\n\s*\n", rest, maxsplit=1)[0]
        rest = rest[len(block) :].strip("\n")
        long = block.startswith("- ") and height(block, SIZES[-1][0]) > MOST_TEXT
        blocks += re.split(r"\n(?=- )", block) if long else [block]
    return blocks


def _units(blocks: Sequence[str]) -> list[list[str]]:
    """Join blocks that make no sense apart: what is announced, formulas, and ends of sentences."""
    units: list[list[str]] = []
    for block in blocks:
        before = units[-1][-1] if units else ""
        goes_on = block.startswith(("$$", "<details")) or block[0].islower()
        if units and (goes_on or before.endswith(":") or before.startswith("#")):
            units[-1].append(block)
        else:
            units.append([block])
    return units


def _fitting(unit: list[Piece]) -> list[list[Piece]]:
    """Return a unit, or if that is too large for a slide, its last piece apart from the others."""
    if len(unit) == 1 or Slide("", unit, []).sizes():
        return [unit]
    return [*_fitting(unit[:-1]), unit[-1:]]


def _packed(units: list[list[Piece]]) -> list[list[Piece]]:
    """Put units on as few slides as possible, filled as evenly as possible."""

    @cache
    def best(start: int) -> tuple[int, float, tuple[int, ...]]:
        if start == len(units):
            return 0, 0, ()
        options = []
        for end in range(start + 1, len(units) + 1):
            pieces = [piece for unit in units[start:end] for piece in unit]
            prose = sum(piece.height(*SIZES[-1]) for piece in pieces if _is_prose(piece))
            fits = prose <= MOST_TEXT and Slide("", pieces, []).sizes()
            if fits or end == start + 1:
                count, squares, ends = best(end)
                options.append((count + 1, squares + prose**2, (end, *ends)))
        return min(options)

    ends = best(0)[2]
    spans = zip((0, *ends), ends, strict=False)
    return [[piece for unit in units[start:end] for piece in unit] for start, end in spans]


def _is_prose(piece: Piece) -> bool:
    return not any(block.startswith(("#", "|")) for block in piece.text)


def _text_piece(cell: Any, block: str, folder: Path) -> Piece:
    if block.startswith("<details"):
        answer = re.sub(r"<summary>.*?</summary>|</?details[^>]*>", "", block, flags=re.DOTALL)
        made = _cell(cell, answer.strip(), answer=True)
        return Piece(made, text=(*_blocks(answer), ""))
    if image := re.fullmatch(r"!\[[^]]*\]\(([^)\s]+)\)", block):
        with Image.open(folder / image[1]) as picture:
            return Piece(_cell(cell, block), picture=picture.size)
    if block.startswith("```"):
        lines = _wrapped(block.split("\n", 1)[1].rsplit("\n", 1)[0], MOST_MESSAGE)
        first, last = block.split("\n")[0], block.split("\n")[-1]
        return Piece(_cell(cell, "\n".join([first, *lines, last])), lines=tuple(lines))
    return Piece(_cell(cell, block), text=(block,))
