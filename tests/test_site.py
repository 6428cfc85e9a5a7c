"""The book, as far as it can be judged without a browser; tests/browser/test_site.py reads it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont
from PIL import Image

from book import build, maths, pictures, staging
from cnnlib.images import PROJECT
from labs.grading.release import hidden_lines
from tools import hosted

BOOK = PROJECT / "book"
formats: Any = nbformat  # whose functions have no types


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("book") / "source"
    staging.stage(PROJECT, folder)
    return folder


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("README.md", "index.md"),
        ("../img/README.md", "../img/index.md"),
        ("labs/README.md", "labs/instructors.md"),
        ("../labs/README.md", "../labs/instructors.md"),
        ("../img/", "../img/index.md"),
        ("LICENSE", "licence.md"),
        ("CITATION.cff", "licence.md"),
        ("CHANGELOG.md", "CHANGELOG.md"),
        ("CONTRIBUTING.md", "CONTRIBUTING.md"),
        ("02-filters.ipynb", "02-filters.ipynb"),
        ("https://example.org/README.md", "https://example.org/README.md"),
        ("https://example.org/", "https://example.org/"),
    ],
)
def test_links_lead_to_where_the_book_has_it(link: str, expected: str) -> None:
    text = f"see [a]({link}), ![b]({link}) and `README.md`"
    assert staging.in_book(text) == f"see [a]({expected}), ![b]({expected}) and `README.md`"


def test_a_badge_is_left_as_its_words() -> None:
    badge = "[![Open in Binder](https://b.example/b.svg)](https://b.example/course)"
    assert staging.in_book(badge) == "[Open in Binder](https://b.example/course)"


def test_every_link_of_the_sources_has_its_file(sources: Path) -> None:
    links = 0
    for path in sources.rglob("*"):
        if path.suffix == ".md":
            texts = [path.read_text(encoding="utf-8")]
        elif path.suffix == ".ipynb":
            cells = formats.read(path, as_version=4).cells
            texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
        else:
            continue
        for link in re.findall(r"\]\(([^)#\s]+)", "\n".join(texts)):
            if "://" not in link:
                links += 1
                assert (path.parent / link).is_file(), f"{path.name}: {link}"
    assert links > 100


def test_the_navigation_has_all_lectures_in_their_order(sources: Path) -> None:
    index = (sources / "notebooks" / "index.md").read_text(encoding="utf-8")
    files = re.findall(r"^\d+\. .+ <(.+)>$", index, flags=re.MULTILINE)
    assert files == sorted(path.stem for path in (PROJECT / "notebooks").glob("*.ipynb"))


def test_the_navigation_has_all_labs_and_the_table_links_them(sources: Path) -> None:
    labs = sorted(path.stem for path in (PROJECT / "labs" / "source").glob("*/*.ipynb"))
    expected = [f"labs/release/{lab}/{lab}.ipynb" for lab in labs]
    page = (sources / "labs.md").read_text(encoding="utf-8")
    assert re.findall(r"^labs/\S+$", page, flags=re.MULTILINE) == expected
    assert re.findall(r"^\| \[[^]]+\]\((\S+)\) \|", page, flags=re.MULTILINE) == expected


def test_no_secret_of_a_lab_is_in_the_sources(sources: Path) -> None:
    for lab in (PROJECT / "labs" / "source").glob("*/*.ipynb"):
        released = (sources / "labs" / "release" / lab.stem / lab.name).read_text(encoding="utf-8")
        written = {json.dumps(line, ensure_ascii=False)[1:-1] for line in hidden_lines(lab)}
        telling = {line for line in written if len(line) > 20}
        assert telling
        assert not {line for line in telling if line in released}


def test_every_public_module_has_a_page(sources: Path) -> None:
    expected = set()
    for path in (PROJECT / "cnnlib").rglob("*.py"):
        parts = path.relative_to(PROJECT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts) and len(parts) > 1:
            expected.add(".".join(parts))
    pages = {path.stem for path in sources.glob("cnnlib.*.md")}
    assert pages == expected
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources.glob("*.md"))
    listed = re.findall(r"^(cnnlib\.\S+)$", text, flags=re.MULTILINE)
    assert sorted(listed) == sorted(expected)


def test_what_a_package_exports_stands_on_its_page_alone(sources: Path) -> None:
    assert "exclude-members" not in (sources / "cnnlib.datasets.md").read_text(encoding="utf-8")
    inner = (sources / "cnnlib.datasets.mnist.md").read_text(encoding="utf-8")
    assert ":exclude-members: digits\n" in inner
    # What cnnlib itself offers has no other page.
    assert "exclude-members" not in (sources / "cnnlib.convolution.md").read_text(encoding="utf-8")


def test_a_page_that_asks_for_a_missing_part_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.md").write_text("{{Two commandments}}", encoding="utf-8")
    monkeypatch.setattr(staging, "PAGES", tmp_path)
    with pytest.raises(ValueError, match=r"page\.md asks for 'Two commandments'"):
        staging.stage(PROJECT, tmp_path / "source")


def notebook(*cells: Any) -> Any:
    return formats.v4.new_notebook(cells=list(cells))


def drawing(source: str, mime: str = "image/png") -> Any:
    shown = formats.v4.new_output("display_data", data={mime: "iVBORw0KGgo=", "text/plain": "x"})
    return formats.v4.new_code_cell(source, outputs=[shown])


def test_an_explorer_says_that_it_stands_still(tmp_path: Path) -> None:
    path = tmp_path / "x.ipynb"
    cells = [
        drawing("KernelExplorer(cat)"),
        drawing("plot_conv(cat)"),
        drawing("KernelExplorer(cat).title", "text/html"),
        formats.v4.new_markdown_cell("[origins](../img/README.md)"),
    ]
    formats.write(notebook(*cells), path)
    staging.adapt(path)
    adapted = formats.read(path, as_version=4)
    sources = [cell.source for cell in adapted.cells]
    assert sources == [
        "KernelExplorer(cat)",
        staging.STILL,
        "plot_conv(cat)",
        "KernelExplorer(cat).title",
        "[origins](../img/index.md)",
    ]
    formats.validate(adapted)


def colours(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGBA")).astype(int)


def test_a_light_picture_keeps_every_pixel(tmp_path: Path) -> None:
    source, target = tmp_path / "a.png", tmp_path / "a.webp"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (60, 60, 4), dtype=np.uint8), "RGBA").save(source)
    pictures.smaller(source, target)
    seen = colours(source)[..., 3] > 0  # what is wholly transparent has no colour
    assert (colours(target)[seen] == colours(source)[seen]).all()


def test_a_heavy_picture_becomes_much_lighter_and_looks_the_same(tmp_path: Path) -> None:
    source, target = tmp_path / "a.png", tmp_path / "a.webp"
    rng = np.random.default_rng(0)
    stripes = np.linspace(0, 255, 400) * np.array([[1], [0.5], [0.25]])
    noisy = stripes.T[None] + rng.normal(0, 3, (400, 400, 3))
    Image.fromarray(noisy.clip(0, 255).round().astype(np.uint8), "RGB").save(source)
    pictures.smaller(source, target)
    assert target.stat().st_size < 0.5 * source.stat().st_size
    difference = np.abs(colours(target) - colours(source))
    assert difference.mean() < 3
    with Image.open(target) as opened:
        assert opened.convert("RGB").getcolors(256) is not None  # at most so many


def sphinx(folder: Path, page: str, *settings: str) -> tuple[str, str]:
    """Build a book of one page, return what Sphinx says, and the page."""
    (folder / "source" / "index.md").write_text(page, encoding="utf-8")
    options = ["-b", "html", "-q", "-c", str(BOOK)]
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            *options,
            *settings,
            "source",
            "html",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return result.stderr, (folder / "html" / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of sources with a still picture, and an animation with its still."""
    folder = tmp_path / "source"
    folder.mkdir()
    frames = [Image.new("L", (30, 20), shade) for shade in (0, 128, 255)]
    frames[1].resize((80, 40)).save(folder / "plate.png")
    frames[0].save(folder / "move.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "move-still.png")
    return tmp_path


def test_pictures_have_sizes_and_wait_and_a_still_for_those_who_want_it(images: Path) -> None:
    page = "# A\n\n![a plate](plate.png)\n\n![it moves](move.gif)\n\n[still](move-still.png)\n"
    complaints, html = sphinx(images, page)
    assert complaints == ""
    plate = re.search(r'<img alt="a plate" ([^>]*)>', html)
    assert plate is not None
    for attribute in ('width="80"', 'height="40"', 'loading="lazy"'):
        assert attribute in plate[1]
    moving = re.search(
        r'<picture><source srcset="([^"]+)" media="\(prefers-reduced-motion: reduce\)" ?/?>'
        r'<img alt="it moves" [^>]*src="([^"]+)"',
        html,
    )
    assert moving is not None
    link = re.search(r'<a class="reference internal" href="([^"]+)"><span[^>]*>still', html)
    assert link is not None
    expected = [(1, 30), (3, 30), (1, 30), (1, 80)]
    files = [*moving.groups(), link[1], re.findall(r'src="([^"]+)"', plate[1])[0]]
    for file, (count, width) in zip(files, expected, strict=True):
        with Image.open(images / "html" / file) as opened:
            assert (getattr(opened, "n_frames", 1), opened.width) == (count, width)


def test_a_picture_that_nobody_describes_draws_a_warning(images: Path) -> None:
    complaints, _ = sphinx(images, "# A\n\n![](plate.png)\n")
    assert "index.md:3: WARNING: a picture without a description" in complaints


def test_an_empty_cell_is_no_header(images: Path) -> None:
    table = '<table class="dataframe"><tr><th></th><th>loss</th></tr></table>'
    _, html = sphinx(images, f"# A\n\n| | x |\n|---|---|\n| y | 1 |\n\n{table}\n")
    headers = re.findall(r"<th[^>]*>(.*?)</th>", html, flags=re.DOTALL)
    assert [re.sub(r"<[^>]*>", "", header).strip() for header in headers] == ["x", "loss"]


@pytest.mark.parametrize("repository", ["", "https://github.com/owner/course"])
def test_a_lecture_links_where_it_runs_once_there_is_an_address(
    images: Path, repository: str
) -> None:
    cell = formats.v4.new_code_cell("only_for_services()", id="setup", metadata=hosted.METADATA)
    lecture = images / "source" / "notebooks" / "02-filters.ipynb"
    lecture.parent.mkdir()
    text = formats.v4.new_markdown_cell("# A lecture")
    formats.write(notebook(text, cell, formats.v4.new_code_cell("shown()")), lecture)
    _, index = sphinx(
        images, "# A\n\n[a](notebooks/02-filters.ipynb)\n", "-D", f"repository={repository}"
    )
    page = images / "html" / "notebooks" / "02-filters.html"
    html = page.read_text(encoding="utf-8")
    links = hosted.services(repository, lecture.name)
    assert set(re.findall(r'href="(https://[^"]*02-filters\.ipynb)"', html)) == set(links.values())
    assert len(links) == (2 if repository else 0)
    assert 'class="page-files"' not in index
    assert "shown" in html
    assert "only_for_services" not in html


def test_a_formula_is_mathml() -> None:
    made = parsed(r"\lfloor\frac{n - k}{s}\rfloor", display=True)
    assert [tag["display"] for tag in made.select("math")] == ["block"]
    assert [tag.text for tag in made.select("mfrac")] == ["n−ks"]


@pytest.mark.parametrize("tex", ["{", r"\frac{a}{", r"\left(x", r"\unheardof x"])
def test_a_formula_that_is_not_understood_is_an_error(tex: str) -> None:
    with pytest.raises(ValueError, match="in the formula " + re.escape(tex)):
        maths.mathml(tex, display=False)


def test_the_font_has_what_formulas_are_written_in(tmp_path: Path) -> None:
    maths.write_font(tmp_path)
    with TTFont(tmp_path / maths.FONT) as font:
        assert "MATH" in font  # how brackets and sums grow
        assert "Open Font License" in font["name"].getDebugName(13)
        letters = set(font.getBestCmap())
    for path in [*PROJECT.glob("notebooks/*.ipynb"), *PROJECT.glob("labs/source/*/*.ipynb")]:
        for tex in formulas_of(path):
            text = parsed(tex).text
            assert {ord(letter) for letter in text} - {0xA0, 0x2003} <= letters, tex


def parsed(tex: str, display: bool = False) -> BeautifulSoup:
    return BeautifulSoup(maths.mathml(tex, display), "html.parser")


def formulas_of(path: Path) -> list[str]:
    """Return the formulas in the text of a notebook."""
    cells = formats.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    return ["".join(found) for found in re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", text)]


def test_a_book_that_fails_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "site"
    target.mkdir()
    (target / "index.html").write_text("before", encoding="utf-8")
    monkeypatch.setattr(build, "build_main", lambda arguments: 1)
    with pytest.raises(SystemExit, match="every warning counts"):
        build.build(target)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert (target / "index.html").read_text(encoding="utf-8") == "before"


def test_a_book_has_notebooks_slides_and_prints_beside_its_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "build" / "slides").mkdir(parents=True)
    (tmp_path / "build" / "slides" / "02-filters.html").write_text("slides", encoding="utf-8")
    monkeypatch.setattr(build, "BUILD", tmp_path / "build")

    def page(arguments: list[str]) -> int:
        html = Path(arguments[-1])
        (html / "index.html").write_text("a page", encoding="utf-8")
        (html / "script.js.map").write_text("what a script was made from", encoding="utf-8")
        return 0

    monkeypatch.setattr(build, "build_main", page)
    target = tmp_path / "build" / "site"
    assert build.build(target) == 2
    assert (target / "slides" / "02-filters.html").read_text(encoding="utf-8") == "slides"
    lecture = "notebooks/02-filters.ipynb"
    assert (target / lecture).read_bytes() == (PROJECT / lecture).read_bytes()
    lab = formats.read(target / "labs" / "release" / "lab1" / "lab1.ipynb", as_version=4)
    assert any("raise NotImplementedError" in cell.source for cell in lab.cells)
    assert not list(target.rglob("*.map"))
