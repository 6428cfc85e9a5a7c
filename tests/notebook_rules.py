"""What every notebook keeps to. A rule returns complaints about a lecture: where, what to do."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
from nbformat import v4

from tools import hosted
from tools.likeness import FORMATS

MOST_LINES = 15
MOST_CELLS = 30
MOST_PLOTTING = 8
MOST_BYTES = 5_000_000
LEAST_ALT = 10
TAGS = {"nbval-ignore-output", "raises-exception", "remove-input", *hosted.METADATA["tags"]}
CELL_METADATA = {"tags", "mystnb", "slideshow"}
SLIDE_TYPES = {"slide", "subslide", "fragment", "-", "skip", "notes"}
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
DRAWN = (*FORMATS, "image/svg+xml", "image/gif")
WIDGET = "application/vnd.jupyter.widget-view+json"
formats: Any = nbformat  # whose functions have no types


@dataclass(frozen=True)
class Lecture:
    """A notebook, its place, and the folder of the project."""

    notebook: Any
    path: Path
    root: Path

    def cells(self, kind: str) -> Iterator[tuple[str, Any]]:
        """Yield the cells of a kind, each with words that say where it is."""
        for number, cell in enumerate(self.notebook.cells, start=1):
            if cell.cell_type == kind:
                start = cell.source.strip().split("\n")[0][:30]
                yield f'cell {number} ("{start}")', cell


def read(path: Path, root: Path) -> Lecture:
    """Read a notebook as it is: nbformat.read would repair it first."""
    reader: Any = v4
    return Lecture(reader.reads(path.read_text(encoding="utf-8")), path, root)


Rule = Callable[[Lecture], list[str]]
RULES: dict[str, Rule] = {}


def _rule(check: Callable[[Lecture], Iterator[str]]) -> Rule:
    def rule(lecture: Lecture) -> list[str]:
        return list(check(lecture))

    RULES[check.__name__] = rule
    return rule


# The file


@_rule
def valid(lecture: Lecture) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what nbformat would repair, it warns of
        try:
            formats.validate(formats.from_dict(lecture.notebook))
        except (formats.ValidationError, Warning) as error:
            yield f"not a valid notebook, run `make outputs`: {str(error).splitlines()[0]}"


@_rule
def small(lecture: Lecture) -> Iterator[str]:
    size = len(formats.writes(lecture.notebook).encode())
    if size > MOST_BYTES:
        yield f"{size / 1e6:.1f} MB, at most {MOST_BYTES / 1e6:g}: show fewer or smaller pictures"


@_rule
def named(lecture: Lecture) -> Iterator[str]:
    name = lecture.path.name
    if not re.fullmatch(r"\d\d(-[a-z0-9]+)+\.ipynb", name):
        yield f"{name}: name it like 02-words-with-hyphens.ipynb"
    same = [p.name for p in lecture.path.parent.glob(f"{name[:2]}*.ipynb") if p.name != name]
    if same:
        yield f"{name}: {same[0]} has the same number, give it another"


@_rule
def listed_in_readme(lecture: Lecture) -> Iterator[str]:
    readme = lecture.root / "README.md"
    link = f"]({lecture.path.relative_to(lecture.root).as_posix()})"
    rows = readme.read_text(encoding="utf-8").splitlines() if readme.exists() else []
    if not any(row.startswith("|") and link in row for row in rows):
        yield f"add a row with [title{link} to the table of lectures in README.md"


# Metadata


@_rule
def metadata_of_no_machine(lecture: Lecture) -> Iterator[str]:
    wanted = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    if lecture.notebook.metadata != wanted:
        yield "the notebook's metadata is not what `make outputs` stores, run it"
    for kind in ("code", "markdown", "raw"):
        for place, cell in lecture.cells(kind):
            known = CELL_METADATA | (set(hosted.METADATA) if _is_setup(cell) else set())
            if unknown := sorted(set(cell.metadata) - known):
                yield f"{place}: remove {', '.join(unknown)} from its metadata"


@_rule
def ids(lecture: Lecture) -> Iterator[str]:
    found = [cell.get("id") for cell in lecture.notebook.cells]
    if None in found:
        yield f"cell {found.index(None) + 1} has no id: give it one"
    for name, count in Counter(found).items():
        if name and count > 1:
            yield f"{count} cells have the id {name!r}: give each its own"


@_rule
def known_tags(lecture: Lecture) -> Iterator[str]:
    for kind in ("code", "markdown", "raw"):
        for place, cell in lecture.cells(kind):
            for tag in sorted(set(cell.metadata.get("tags", [])) - TAGS):
                yield f"{place}: nothing reads the tag {tag!r}, use one of {sorted(TAGS)}"


@_rule
def slide_types(lecture: Lecture) -> Iterator[str]:
    kinds = []
    for number, cell in enumerate(lecture.notebook.cells, start=1):
        kinds.append(cell.metadata.get("slideshow", {}).get("slide_type"))
        if kinds[-1] not in SLIDE_TYPES:
            yield (
                f"cell {number}: choose its slide type in the Property Inspector "
                f"(text: slide or subslide, code: fragment, imports: skip), it is {kinds[-1]!r}"
            )
    if kinds[:1] != ["slide"]:
        yield "cell 1: its slide type must be slide, the title of the deck"


# Code


@_rule
def executed_in_order(lecture: Lecture) -> Iterator[str]:
    for count, (place, cell) in enumerate(lecture.cells("code"), start=1):
        if not cell.source.strip():
            yield f"{place}: is empty, remove it"
        if cell.execution_count != count:
            yield f"{place}: stored as [{cell.execution_count}], not [{count}]: run `make outputs`"


@_rule
def starts_with_the_setup(lecture: Lecture) -> Iterator[str]:
    code = list(lecture.cells("code"))
    if [_is_setup(cell) for _, cell in code] != [True, *[False] * (len(code) - 1)]:
        yield "its first code cell, and no other, is the one that `make hosted` writes: run it"
        return
    place, cell = code[0]
    wanted = hosted.setup_cell(hosted.address(lecture.root))
    if (cell.source, cell.metadata) != (wanted, hosted.METADATA):
        yield f"{place}: is not what `make hosted` writes, run it"
    if cell.outputs:
        yield f"{place}: does nothing where cnnlib is, and prints nothing: run `make outputs`"


@_rule
def short_cells(lecture: Lecture) -> Iterator[str]:
    for place, cell in lecture.cells("code"):
        if (lines := len(cell.source.splitlines())) > MOST_LINES:
            yield f"{place}: {lines} lines, at most {MOST_LINES}: split it or use cnnlib"


@_rule
def one_sitting(lecture: Lecture) -> Iterator[str]:
    if (cells := sum(not _is_setup(cell) for _, cell in lecture.cells("code"))) > MOST_CELLS:
        yield f"{cells} code cells, at most {MOST_CELLS}: make two lectures of it"


@_rule
def short_plots(lecture: Lecture) -> Iterator[str]:
    drawing = re.compile(r"\b(plt|fig|figure|ax|axes?\[.*\])\.|\bplt\.")
    for place, cell in lecture.cells("code"):
        lines = sum(bool(drawing.search(line)) for line in cell.source.splitlines())
        if lines > MOST_PLOTTING:
            yield f"{place}: {lines} lines that draw, at most {MOST_PLOTTING}: use cnnlib.plotting"


@_rule
def plain_python(lecture: Lecture) -> Iterator[str]:
    for place, cell in lecture.cells("code"):
        try:
            ast.parse(cell.source)
        except SyntaxError as error:
            yield f"{place}: not plain Python (a magic?) in line {error.lineno}, write it so"
        if "get_ipython(" in cell.source:
            yield f"{place}: get_ipython() is a magic too, do without"


@_rule
def no_star_import(lecture: Lecture) -> Iterator[str]:
    for place, cell in lecture.cells("code"):
        for node in ast.walk(_tree(cell)):
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                yield f"{place}: import names one by one from {node.module}"


@_rule
def no_semicolon_at_an_end(lecture: Lecture) -> Iterator[str]:
    ends = {tokenize.NEWLINE, tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER}
    for place, cell in lecture.cells("code"):
        tokens = _tokens(cell)
        for token, following in pairwise(tokens):
            if token.string == ";" and token.type == tokenize.OP and following.type in ends:
                yield f"{place}: remove the semicolon that ends line {token.start[0]}"


@_rule
def no_magic_comment(lecture: Lecture) -> Iterator[str]:
    magic = re.compile(r"#\s*(NBVAL_|PYTEST_VALIDATE|noqa|type:\s*ignore|fmt:|ruff:|pragma)")
    for place, cell in lecture.cells("code"):
        for token in _tokens(cell):
            if token.type == tokenize.COMMENT and magic.match(token.string):
                yield f"{place}: use a tag instead of {token.string!r}"


def _is_setup(cell: Any) -> bool:
    return "setup" in cell.metadata.get("tags", [])


def _tree(cell: Any) -> ast.Module:
    try:
        return ast.parse(str(cell.source))
    except SyntaxError:
        return ast.Module([], [])  # plain_python complains


def _tokens(cell: Any) -> list[tokenize.TokenInfo]:
    try:
        return list(tokenize.generate_tokens(io.StringIO(cell.source).readline))
    except (tokenize.TokenError, SyntaxError):
        return []  # plain_python complains


# Outputs

ABSOLUTE = {
    "an absolute path": re.compile(
        r"(?<![\w.)\]}/<~])/(?:[A-Za-z_][\w.+-]*/[\w.+-]|(?:home|root|tmp|usr|var|opt|etc|mnt)\b)"
        r"|(?<!\w)[A-Za-z]:(?:\\|/(?!/))|(?<!\\)\\\\\w|(?<!\w)~\w*/"
    ),
    "a memory address": re.compile(r"\b0x[0-9a-fA-F]+"),
    "a web address": re.compile(r"\b\w+://|\bwww\.|\blocalhost\b|\b\d+\.\d+\.\d+\.\d+\b"),
    "a colour code of terminals": re.compile(r"\x1b"),
}


@_rule
def nothing_absolute_in_outputs(lecture: Lecture) -> Iterator[str]:
    for place, cell in lecture.cells("code"):
        for text in _texts(cell):
            for what, pattern in ABSOLUTE.items():
                if found := pattern.search(text):
                    shown = text[found.start() :].split("\n")[0][:40]
                    yield f"{place}: its output holds {what}: {shown!r}; print something else"


@_rule
def no_stderr(lecture: Lecture) -> Iterator[str]:
    for place, cell in lecture.cells("code"):
        for output in cell.outputs:
            if output.get("name") == "stderr":
                warning = output.text.strip().split("\n")[-1][:60]
                yield f"{place}: mend what it warns of: {warning!r}"


@_rule
def errors_are_announced(lecture: Lecture) -> Iterator[str]:
    for place, cell in lecture.cells("code"):
        failed = any(output.output_type == "error" for output in cell.outputs)
        announced = "raises-exception" in cell.metadata.get("tags", [])
        if failed and not announced:
            yield f"{place}: raises an error: mend it, or tag it raises-exception"
        if announced and not failed:
            yield f"{place}: is tagged raises-exception and raises nothing: remove the tag"


@_rule
def explorers_are_stored_as_still_pictures(lecture: Lecture) -> Iterator[str]:
    for place, cell in lecture.cells("code"):
        for output in cell.outputs:
            data = output.get("data", {})
            if WIDGET in data:
                yield f"{place}: stores the id of a widget, run `make outputs`"
            opened = re.search(r"^\w+Explorer\(", cell.source, re.MULTILINE)
            if opened and not any(name in data for name in DRAWN):
                yield f"{place}: opens an explorer and stores no picture of it"


@_rule
def drawn_pictures_have_alt_text(lecture: Lecture) -> Iterator[str]:
    for place, cell in lecture.cells("code"):
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
        draws = any(name in output.get("data", {}) for output in cell.outputs for name in DRAWN)
        if draws and not (isinstance(alt, str) and alt.strip()):
            yield f"{place}: say what its picture shows, in metadata mystnb.image.alt"
        if alt is not None and not draws:
            yield f"{place}: has an alt text and draws nothing: remove it from the metadata"


def _texts(cell: Any) -> Iterator[str]:
    for output in cell.outputs:
        parts = [output.get("text"), output.get("evalue"), *output.get("traceback", [])]
        data = output.get("data", {})
        parts += [text for name, text in data.items() if name.startswith("text/")]
        yield from (part for part in parts if isinstance(part, str))


# Text


@dataclass(frozen=True)
class Section:
    """A heading, with what stands below it up to the next one."""

    place: str
    level: int
    title: str
    text: str


@_rule
def title_objectives_and_time(lecture: Lecture) -> Iterator[str]:
    sections = list(_sections(lecture))
    titles = [section.place for section in sections if section.level == 1]
    if len(titles) != 1:
        yield f"give it exactly one title (# ...), it has {len(titles)}: {', '.join(titles)}"
    first = lecture.notebook.cells[0] if lecture.notebook.cells else None
    if first is None or first.cell_type != "markdown" or not first.source.startswith("# "):
        yield "cell 1: start with a markdown cell that starts with the title (# ...)"
        return
    if not re.search(r"\d\s+minutes", first.source):
        yield "cell 1: say how many minutes it takes"
    for section in sections:
        if section.place == sections[0].place and re.search(
            "objectives|be able to", section.title, re.IGNORECASE
        ):
            bullets = len(re.findall(r"^[-*] ", section.text, re.MULTILINE))
            if not 3 <= bullets <= 5:
                yield f"cell 1: name 3 to 5 objectives (- ...), not {bullets}"
            return
    yield 'cell 1: add "## What you will be able to do" with 3 to 5 bullet points'


@_rule
def ends_with_highlights_and_exercises(lecture: Lecture) -> Iterator[str]:
    sections = list(_sections(lecture))
    titles = [section.title for section in sections]
    found = {
        word: [k for k, title in enumerate(titles) if word in title]
        for word in ("Highlights", "Exercises")
    }
    for word, places in found.items():
        if len(places) != 1:
            yield f"give it one heading with {word!r} at the end, it has {len(places)}"
            return
    (highlights,), (exercises,) = found.values()
    if highlights > exercises:
        yield f"{sections[highlights].place}: put the highlights before the exercises"
    if any(section.title[:1].isdigit() for section in sections[highlights + 1 :]):
        yield f"{sections[highlights].place}: put the highlights after the last numbered section"
    text = sections[exercises].text
    for section in sections[exercises + 1 :]:
        if section.level <= sections[exercises].level:
            break
        text += f"\n{section.title}\n{section.text}"
    for word in ("easy", "medium", "hard"):
        if not re.search(rf"\b{word}\b", text, re.IGNORECASE):
            yield f"{sections[exercises].place}: no exercise is called {word}, add one"


@_rule
def headings_step_by_step(lecture: Lecture) -> Iterator[str]:
    last = 0
    for section in _sections(lecture):
        if section.level > last + 1:
            yield f"{section.place}: level {section.level} follows {last}, use {'#' * (last + 1)}"
        last = section.level


@_rule
def self_checks(lecture: Lecture) -> Iterator[str]:
    count = 0
    for place, cell in lecture.cells("markdown"):
        text = _prose(cell.source)
        blocks = re.findall(r"<details\b[^>]*>(.*?)</details>", text, re.DOTALL)
        count += len(blocks)
        if not len(blocks) == len(re.findall(r"<details\b", text)) == text.count("</details>"):
            yield f"{place}: close every <details> with </details>, in the same cell"
        for block in blocks:
            if not re.match(r"\s*<summary>\s*\S.*?</summary>", block, re.DOTALL):
                yield f"{place}: start <details> with <summary>what to open</summary>"
    if count < 3:
        yield f"ask at least 3 questions with hidden answers (<details>), it has {count}"


@_rule
def pictures_exist_and_are_described(lecture: Lecture) -> Iterator[str]:
    for place, path, alt in _images(lecture):
        if missing := _missing(lecture, path):
            yield f"{place}: picture {path} {missing}"
        if len(alt.strip()) < LEAST_ALT:
            yield f"{place}: say what {path} shows, in {LEAST_ALT} characters or more of alt text"


@_rule
def animations_have_a_still(lecture: Lecture) -> Iterator[str]:
    for place, path, _ in _images(lecture):
        still = re.sub(r"\.gif$", "-still.png", path)
        if still != path and not (lecture.path.parent / still).exists():
            yield f"{place}: put {still} beside {path}"


@_rule
def links_exist(lecture: Lecture) -> Iterator[str]:
    for place, cell in lecture.cells("markdown"):
        text = _prose(cell.source)
        links = re.findall(r"(?<!!)\[(?:[^][]|!\[[^]]*\]\([^)]*\))*\]\(\s*<?([^)\s>]+)", text)
        links += re.findall(r"<a\b[^>]*\bhref=[\"']([^\"']*)", text)
        for link in links:
            if re.match(r"[a-z]+:|#", link):
                continue
            if missing := _missing(lecture, link.split("#")[0]):
                yield f"{place}: link {link} {missing}"


def _prose(source: str) -> str:
    """Return markdown without its code, in blocks and in lines."""
    source = re.sub(r"^(```|~~~).*?^\1", "", source, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(`+)[^`].*?\1", "", source)


def _sections(lecture: Lecture) -> Iterator[Section]:
    """Yield all headings; the text below one may go on in later cells."""
    parts: list[tuple[str, int, str, list[str]]] = []
    for place, cell in lecture.cells("markdown"):
        for line in _prose(cell.source).splitlines():
            if heading := re.match(r"(#{1,6})\s+(.+)", line):
                parts.append((place, len(heading[1]), heading[2], []))
            elif parts:
                parts[-1][3].append(line)
    for place, level, title, lines in parts:
        yield Section(place, level, title, "\n".join(lines))


def _images(lecture: Lecture) -> Iterator[tuple[str, str, str]]:
    """Yield place, path and alt text of every picture in the text."""
    for place, cell in lecture.cells("markdown"):
        text = _prose(cell.source)
        for alt, path in re.findall(r"!\[([^]]*)\]\(\s*<?([^)\s>]+)", text):
            yield place, path, alt
        for tag in re.findall(r"<img\b[^>]*>", text):
            found = re.findall(r"""\b(src|alt)=(["'])(.*?)\2""", tag, re.DOTALL)
            values = {name: value for name, _, value in found}
            yield place, values.get("src", ""), values.get("alt", "")


def _missing(lecture: Lecture, path: str) -> str:
    """Return what is wrong with a path to a file of the project, if anything is."""
    target = (lecture.path.parent / path).resolve()
    if not path or not target.exists():
        return "does not exist: mend the path"
    if not target.is_relative_to(lecture.root.resolve()) or Path(path).is_absolute():
        return "is outside of the project: copy it into img/"
    return ""
