import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat import v4
from PIL import Image

from book import cutting, slides
from cnnlib.images import PROJECT

LECTURES = sorted((PROJECT / "notebooks").glob("*.ipynb"))
new: Any = v4  # whose functions have no types
formats: Any = nbformat
VIEW = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "Explorer()"}
LONG = ("A sentence of about fifty letters, again and again. " * 8).strip()  # about five lines


def picture(width: int, height: int) -> Any:
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return new.new_output("display_data", data={"image/png": data})


def printed(text: str) -> Any:
    return new.new_output("stream", name="stdout", text=text)


def text(source: str, kind: str = "") -> Any:
    cell = new.new_markdown_cell(source)
    kind = kind or ("slide" if source.startswith(("# ", "## ")) else "subslide")
    cell.metadata.slideshow = {"slide_type": kind}
    return cell


def code(source: str, *outputs: Any, kind: str = "fragment") -> Any:
    cell = new.new_code_cell(source, outputs=list(outputs))
    cell.metadata.mystnb = {"image": {"alt": 'It is "so" & so.'}}
    cell.metadata.slideshow = {"slide_type": kind}
    return cell


def cut(*cells: Any, folder: Path = PROJECT / "notebooks") -> list[list[Any]]:
    """Return the slides of a lecture of these cells, and of a title, as lists of cells."""
    made = cutting.cut(new.new_notebook(cells=[text("# Title"), *cells]), folder)
    found: list[list[Any]] = []
    for cell in made.cells:
        if cell.metadata.slideshow.slide_type in ("slide", "subslide"):
            found.append([])
        found[-1].append(cell)
    return found[1:]


def kinds(found: list[list[Any]]) -> list[str]:
    return [slide[0].metadata.slideshow.slide_type for slide in found]


def sources(slide: list[Any]) -> list[str]:
    return [cell.source for cell in slide]


def steps(slide: list[Any]) -> list[int]:
    return [cell.metadata.deck.step for cell in slide]


def cut_code(source: str, *outputs: Any) -> list[list[Any]]:
    return cut(code(source, *outputs, kind="subslide"))


# What goes on which slide


def test_headings_start_slides_sections_to_the_right_and_their_parts_below() -> None:
    found = cut(text("Before.\n\n## One\n\nText.\n\n### Part\n\nMore.\n\n## Two\n\nEnd."))
    assert kinds(found) == ["subslide", "slide", "subslide", "slide"]
    assert sources(found[1]) == ["## One", "Text."]


def test_a_heading_is_not_alone() -> None:
    assert sources(cut(text("## One\n\n### Part\n\nText."))[0]) == ["## One", "### Part", "Text."]


def test_slides_below_a_section_name_it() -> None:
    found = cut(text("## 1. One\n\nText."), text("More."))
    assert [slide[0].metadata.deck.section for slide in found] == ["", "1. One"]


def test_what_follows_the_objectives_goes_under_the_title() -> None:
    notebook = new.new_notebook(cells=[text("# Title\n\n## Objectives\n\n- a"), text("More.")])
    last = cutting.cut(notebook, PROJECT).cells[-1]
    assert (last.source, last.metadata.deck.section) == ("More.", "Title")


def test_long_text_is_divided_evenly_between_paragraphs() -> None:
    paragraphs = [f"{letter} {LONG}" for letter in "ABCD"]
    assert [sources(slide) for slide in cut(text("\n\n".join(paragraphs)))] == [
        paragraphs[:2],
        paragraphs[2:],
    ]


def test_a_long_list_is_divided_between_its_items() -> None:
    items = [f"- {letter} {LONG[:259]}" for letter in "abcd"]
    assert [sources(slide) for slide in cut(text("\n".join(items)))] == [items[:2], items[2:]]


def test_formulas_and_what_announces_them_stay_together() -> None:
    block = [f"A {LONG}", f"B {LONG}:", "$$x$$", f"where {LONG}"]
    assert sources(cut(text("\n\n".join(block)))[1]) == block[1:]


def test_code_comes_with_its_question_and_after_it() -> None:
    found = cut(text("**Why?**"), code("1 + 1", printed("2")))
    assert [sources(slide) for slide in found] == [["**Why?**", "1 + 1", ""]]
    assert steps(found[0]) == [0, 1, 1]


def test_code_that_goes_on_is_seen_at_once() -> None:
    assert steps(cut(text("So:"), code("x = 1", kind="-"))[0]) == [0, 0]


def test_code_on_a_slide_of_its_own() -> None:
    assert kinds(cut(text("## So"), code("x = 1", kind="slide"))) == ["slide", "slide"]
    assert kinds(cut(text("## So"), code("x = 1", kind="subslide"))) == ["slide", "subslide"]


def test_a_picture_that_would_become_small_has_its_own_slide() -> None:
    wide, high = picture(800, 250), picture(800, 900)
    assert len(cut_code("plot()", wide)) == 1
    assert [sources(slide) for slide in cut_code("plot()", high)] == [["plot()"], [""]]
    assert len(cut_code("plot()\n" * 15, wide)) == 2


def test_long_output_is_divided_below_a_line_that_is_drawn() -> None:
    lines = ["head", "====", *"abcdefghijklmn", "====", *"opqrstuvwxyz"]
    found = cut_code("table()", printed("\n".join(lines) + "\n"))
    shown = [cell.outputs[0].text for slide in found for cell in slide if cell.outputs]
    assert "\n".join(shown).split("\n") == lines
    assert shown[0].endswith("n\n====")


def test_code_is_as_large_as_its_longest_line_lets_it_be() -> None:
    sizes = {n: cut_code("x" * n)[0][0].metadata.deck.size for n in (20, 80, 90, 100)}
    assert sizes == {20: 26, 80: 24, 90: 22, 100: 20}


def test_an_error_is_wrapped() -> None:
    error = new.new_output("error", ename="E", evalue="", traceback=["word " * 40])
    (slide,) = cut_code("f()", error)
    assert max(map(len, slide[1].outputs[0].text.split("\n"))) <= 80
    assert slide[1].metadata.deck.error


def test_answers_are_seen_after_their_question() -> None:
    question = "**1.** Why?\n\n<details><summary>Answer</summary>\n\nSo.\n</details>\n\n"
    found = cut(text(f"## Check\n\nDecide.\n\n{question}{question.replace('1', '2')}"))
    assert [sources(slide) for slide in found[1:]] == [
        ["**1.** Why?", "So."],
        ["**2.** Why?", "So."],
    ]
    assert steps(found[1]) == [0, 1]


def test_what_is_skipped_and_what_is_said() -> None:
    found = cut(text("Seen."), text("Not seen.", "skip"), text("Said.", "notes"), text("Next."))
    assert [sources(slide) for slide in found] == [["Seen.", "Said."], ["Next."]]
    assert found[0][1].metadata.slideshow.slide_type == "notes"


def test_what_is_said_of_a_page_is_left_out() -> None:
    said = "The animation plays once; this is [its first step](../img/x-still.png)."
    assert [sources(slide) for slide in cut(text(f"Before.\n\n{said}\n\nAfter."))] == [
        ["Before.", "After."]
    ]


def test_an_explorer_is_shown_as_its_picture_and_without_one_not_at_all() -> None:
    bare = new.new_output("display_data", data=VIEW)
    still = new.new_output("display_data", data=picture(800, 250).data | VIEW)
    assert len(cut_code("explore()", bare)[0]) == 1
    assert cut_code("explore()", still)[0][1].metadata.deck.picture


def test_the_lecture_stays_as_it_is() -> None:
    notebook = new.new_notebook(cells=[text("# Title"), code("x", printed("1"))])
    before = json.dumps(notebook)
    cutting.cut(notebook, PROJECT)
    assert json.dumps(notebook) == before


@pytest.mark.parametrize("path", LECTURES, ids=lambda path: path.stem)
def test_nothing_is_lost_in_a_lecture(path: Path) -> None:
    notebook = formats.read(path, as_version=4)
    shown = [cell for cell in notebook.cells if cell.metadata.slideshow.slide_type != "skip"]
    made = cutting.cut(notebook, path.parent)

    def pictures(cells: Any) -> list[str]:
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        return [out.data["image/png"] for out in outputs if "image/png" in out.get("data", {})]

    assert pictures(made.cells) == pictures(shown)
    assert [cell.source for cell in made.cells if cell.cell_type == "code" and cell.source] == [
        cell.source for cell in shown if cell.cell_type == "code"
    ]
    words = " ".join(cell.source for cell in made.cells)
    for cell in shown:
        for line in cell.source.split("\n"):
            if line.startswith(("#", "- ", "**", "$$", "|")):
                assert line in words


# The page


@pytest.fixture
def page() -> BeautifulSoup:
    cells = [
        text("# Title & more"),
        text("## The `x` of $x_1$\n\nIt is $x < 1$, not `$y$`.\n\n$$x$$"),
        text("More [in a deck](02-filters.ipynb), [in a file](../README.md), [far](https://a.b)."),
        text("![An animation of something.](../img/sliding-kernel.gif)"),
        code("explore()", new.new_output("display_data", data=picture(800, 250).data | VIEW)),
        text("Said & done.", "notes"),
    ]
    made, pictures = slides.deck(new.new_notebook(cells=cells), PROJECT / "notebooks")
    assert {path.name for path in pictures} == {"sliding-kernel.gif", "sliding-kernel-still.png"}
    return BeautifulSoup(made, "html.parser")


def test_a_deck_names_itself_and_its_language(page: BeautifulSoup) -> None:
    assert page.html is not None
    assert page.html["lang"] == "en"
    assert page.title is not None
    assert page.title.text == "Title & more"


def test_a_deck_loads_nothing_from_elsewhere(page: BeautifulSoup) -> None:
    loaded = [tag.get("src") or tag["href"] for tag in page.select("script, link, img")]
    assert len(loaded) == 10
    assert all(re.match("assets/|img/|data:", str(path)) for path in loaded)


def test_slides_nest_as_reveal_wants_them(page: BeautifulSoup) -> None:
    stacks = page.select(".slides > section")
    assert [len(stack.select(":scope > section")) for stack in stacks] == [1, 4]
    assert page.select(".slides > :not(section)") == []
    assert page.select_one("aside.notes").text.strip() == "Said & done."  # type: ignore[union-attr]


def test_formulas_are_made_but_not_in_code(page: BeautifulSoup) -> None:
    slide = page.select("section section")[1]
    assert "It is x<1, not $y$." in slide.text
    assert [formula["display"] for formula in slide.select(".text math")] == [
        "inline",
        "inline",
        "block",
    ]
    assert {line.text for line in page.select(".section")} == {"The x of x1\n"}


def test_links_lead_to_decks_or_away_or_are_text(page: BeautifulSoup) -> None:
    links = {link.text: link["href"] for link in page.select("section a")}
    assert links == {"in a deck": "02-filters.html", "far": "https://a.b"}
    assert "in a file" in page.text


def test_pictures_keep_their_words(page: BeautifulSoup) -> None:
    assert "Explorer()" not in page.text
    alts = [image["alt"] for image in page.select("img")]
    assert alts == ["An animation of something.", 'It is "so" & so.']


def test_an_animation_starts_as_its_still(page: BeautifulSoup) -> None:
    image = page.select("img")[0]
    assert image["src"] == image["data-still"] == "img/sliding-kernel-still.png"
    assert image["data-animation"] == "img/sliding-kernel.gif"
