import ast
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from nbformat import v4
from torch import Tensor, nn

from cnnlib import convolution
from cnnlib.images import PROJECT
from tests.notebook_rules import KERNEL, RULES, WIDGET, Lecture, read
from tools.hosted import METADATA, setup_cell

PATHS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
new: Any = v4  # whose functions have no types
formats: Any = nbformat


def test_there_are_lectures() -> None:
    assert PATHS, "no notebook in notebooks/"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str, path: Path) -> None:
    complaints = RULES[rule](read(path, PROJECT))
    assert not complaints, "\n".join([path.name, *complaints])


# Every rule is content with this lecture, and complains about each of the changes below.

OPENING = """# A title

## What you will be able to do

- one
- two
- three

It takes about 20 minutes.
"""
TEXT = """## 1. A section

Inline `[code](is-no-link)`; [a link](../README.md), [a place](#here), [one](https://a.example).

![A cat that looks to the right.](../img/cat.gif)
<img src="../img/cat.png" alt="A cat that looks to the left.">

```
# no heading, ![](no-picture.png)
```
"""
CHECKS = "## Check yourself\n" + 3 * "<details><summary>Answer</summary>\n\nYes.\n</details>\n"
ENDING = """## Highlights

- all of it

## Exercises

**Easy.** one **Medium.** two **Hard.** three
"""
KNOWN = '[project.urls]\nRepository = "https://github.com/owner/course"\n'
OUTPUT = "1/16 of 3 × 4, </td></tr>, a/b/c, 10:30, N/A, 2.14.1, ratio/time"


def stream(text: str, name: str = "stdout") -> Any:
    return new.new_output("stream", name=name, text=text)


def error(evalue: str = "no", *traceback: str) -> Any:
    return new.new_output("error", ename="ValueError", evalue=evalue, traceback=list(traceback))


def shown(**data: str) -> Any:
    names = {name.replace("_", "/"): text for name, text in data.items()}
    return new.new_output("display_data", data=names)


@pytest.fixture
def good(tmp_path: Path) -> Lecture:
    for name in ("img/cat.gif", "img/cat-still.png", "img/cat.png", "notebooks/02-a-lecture.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    row = "| [A title](notebooks/02-a-lecture.ipynb) | a title |\n"
    (tmp_path / "README.md").write_text(row, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text("[project]", encoding="utf-8")
    (tmp_path.parent / "outside.png").touch()
    cells = [
        new.new_markdown_cell(OPENING),
        new.new_code_cell(setup_cell("")),
        new.new_code_cell("print(';', 5 % 3); x = 1", outputs=[stream(OUTPUT)]),
        new.new_markdown_cell(TEXT),
        new.new_code_cell("x  # !", outputs=[shown(image_png="aaaa", text_plain="<Figure size>")]),
        new.new_code_cell("1 / 0", outputs=[error("no", "ValueError: no")]),
        new.new_markdown_cell(CHECKS),
        new.new_markdown_cell(ENDING),
    ]
    cells[4].metadata.mystnb = {"image": {"alt": "A picture."}}
    cells[5].metadata.tags = ["raises-exception"]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
        cell.metadata.slideshow = {"slide_type": "fragment" if number else "slide"}
    cells[1].metadata = formats.from_dict(METADATA)
    for count, number in enumerate((1, 2, 4, 5), start=1):
        cells[number].execution_count = count
    metadata = formats.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    made = new.new_notebook(cells=cells, metadata=metadata)
    return Lecture(made, tmp_path / "notebooks" / "02-a-lecture.ipynb", tmp_path)


@pytest.mark.parametrize("rule", RULES)
def test_a_good_lecture_passes(rule: str, good: Lecture) -> None:
    assert RULES[rule](good) == []


Change = Callable[[Lecture], object]


def source(number: int, text: str) -> Change:
    return lambda lecture: lecture.notebook.cells[number].update(source=text)


def replaced(number: int, old: str, by: str) -> Change:
    def change(lecture: Lecture) -> None:
        cell = lecture.notebook.cells[number]
        assert old in cell.source
        cell.source = cell.source.replace(old, by)

    return change


def field(number: int, **values: Any) -> Change:
    return lambda lecture: lecture.notebook.cells[number].update(values)


def metadata(number: int, **values: Any) -> Change:
    return lambda lecture: lecture.notebook.cells[number].metadata.update(values)


def outputs(number: int, *made: Any) -> Change:
    return lambda lecture: lecture.notebook.cells[number].update(outputs=list(made))


def path(name: str) -> Change:
    def change(lecture: Lecture) -> None:
        object.__setattr__(lecture, "path", lecture.path.with_name(name))

    return change


def file(name: str, text: str | None = "") -> Change:
    """Write a file, or remove it."""

    def change(lecture: Lecture) -> None:
        place = lecture.root / name
        place.unlink(missing_ok=True)
        if text is not None:
            place.write_text(text, encoding="utf-8")

    return change


def many_cells(lecture: Lecture, count: int) -> None:
    _, code = list(lecture.cells("code"))[1]
    others = [cell for cell in lecture.notebook.cells if cell.cell_type != "code"]
    lecture.notebook.cells = others + [code] * count


BAD: list[tuple[str, str, Change]] = [
    ("valid", "not a valid", lambda lecture: lecture.notebook.cells[0].pop("metadata")),
    ("valid", "not a valid", field(3, id="cell-1")),
    ("small", "5.1 MB", outputs(2, stream("x" * 5_100_000))),
    ("named", "02-words", path("2-a-lecture.ipynb")),
    ("named", "02-words", path("02-A_lecture.ipynb")),
    ("named", "same number", file("notebooks/02-another.ipynb")),
    ("listed_in_readme", "add a row", file("README.md", None)),
    ("listed_in_readme", "add a row", file("README.md", "See [it](notebooks/02-a-lecture.ipynb)")),
    ("listed_in_readme", "add a row", file("README.md", "| [it](02-a-lecture.ipynb) |")),
    (
        "metadata_of_no_machine",
        "make outputs",
        lambda lecture: lecture.notebook.metadata.kernelspec.update(name="conda-env"),
    ),
    (
        "metadata_of_no_machine",
        "make outputs",
        lambda lecture: lecture.notebook.metadata.language_info.update(version="3.11.0"),
    ),
    (
        "metadata_of_no_machine",
        "make outputs",
        lambda lecture: lecture.notebook.metadata.update(widgets={}),
    ),
    ("metadata_of_no_machine", "cell 3", metadata(2, jupyter={"source_hidden": True})),
    ("metadata_of_no_machine", "cell 3", metadata(2, execution={"iopub.status.busy": "now"})),
    ("metadata_of_no_machine", "cell 4", metadata(3, collapsed=True)),
    ("ids", "cell 4 has no id", lambda lecture: lecture.notebook.cells[3].pop("id")),
    ("ids", "'cell-1'", field(3, id="cell-1")),
    ("known_tags", "'nbval-skip'", metadata(2, tags=["nbval-skip"])),
    ("known_tags", "'raises-exceptions'", metadata(5, tags=["raises-exceptions"])),
    ("slide_types", "cell 4: choose", lambda lecture: lecture.notebook.cells[3].metadata.clear()),
    ("slide_types", "cell 4: choose", metadata(3, slideshow={"slide_type": "slid"})),
    ("slide_types", "cell 1", metadata(0, slideshow={"slide_type": "subslide"})),
    ("executed_in_order", "cell 5", field(4, execution_count=None)),
    ("executed_in_order", "cell 5", field(4, execution_count=4)),
    ("executed_in_order", "empty", source(4, " \n")),
    ("starts_with_the_setup", "and no other", lambda lecture: lecture.notebook.cells.pop(1)),
    (
        "starts_with_the_setup",
        "and no other",
        lambda lecture: lecture.notebook.cells.insert(2, lecture.notebook.cells.pop(1)),
    ),
    (
        "starts_with_the_setup",
        "and no other",
        lambda lecture: lecture.notebook.cells.append(lecture.notebook.cells[1]),
    ),
    ("starts_with_the_setup", "cell 2", replaced(1, "cnnlib.images", "cnnlib")),
    ("starts_with_the_setup", "cell 2", metadata(1, tags=["setup"])),
    ("starts_with_the_setup", "cell 2", file("pyproject.toml", KNOWN)),
    ("starts_with_the_setup", "prints nothing", outputs(1, stream("installed"))),
    ("short_cells", "16 lines", source(2, "x\n" * 16)),
    ("plain_python", "line 2", source(2, "x = 1\n%matplotlib inline")),
    ("plain_python", "line 1", source(2, "!ls")),
    ("plain_python", "get_ipython", source(2, "get_ipython().system('ls')")),
    ("one_sitting", "31 code cells", lambda lecture: many_cells(lecture, 31)),
    ("short_plots", "9 lines that draw", source(2, "import x as plt\n" + "plt.plot()\n" * 9)),
    ("no_star_import", "cnnlib.kernels", source(2, "from cnnlib.kernels import *")),
    ("no_star_import", "torch", source(2, "def f():\n    import x\n\n\nfrom torch import *")),
    ("no_semicolon_at_an_end", "line 1", source(2, "x = 1;\ny = 2")),
    ("no_semicolon_at_an_end", "line 2", source(2, "x = 1\nx;  # why")),
    ("no_semicolon_at_an_end", "line 1", source(2, "x;")),
    ("no_magic_comment", "NBVAL", source(2, "# NBVAL_IGNORE_OUTPUT\nx")),
    ("no_magic_comment", "noqa", source(2, "import x  # noqa: F401")),
    *(
        ("nothing_absolute_in_outputs", "absolute path", outputs(2, stream(text)))
        for text in (
            "in /some/where/file.py",
            "'/tmp'",
            r"C:\Users\x",
            "D:/data",
            r"\\server\x",
            "~/a",
        )
    ),
    (
        "nothing_absolute_in_outputs",
        "absolute path",
        outputs(4, shown(text_html='<a href="/a/b">')),
    ),
    (
        "nothing_absolute_in_outputs",
        "memory address",
        outputs(4, shown(text_plain="<Axes at 0x7f>")),
    ),
    (
        "nothing_absolute_in_outputs",
        "web address",
        outputs(4, shown(text_html="https://a.example")),
    ),
    ("nothing_absolute_in_outputs", "web address", outputs(2, stream("on localhost"))),
    ("nothing_absolute_in_outputs", "web address", outputs(2, stream("on 127.0.0.1"))),
    ("nothing_absolute_in_outputs", "terminals", outputs(5, error("no", "\x1b[31mno\x1b[0m"))),
    ("nothing_absolute_in_outputs", "absolute path", outputs(5, error("no file /a/b", "no"))),
    ("nothing_absolute_in_outputs", "absolute path", outputs(5, error("no", 'File "/a/b.py"'))),
    ("no_stderr", "Deprecation", outputs(2, stream("DeprecationWarning: old\n", "stderr"))),
    ("errors_are_announced", "tag it", metadata(5, tags=[])),
    ("errors_are_announced", "raises nothing", metadata(2, tags=["raises-exception"])),
    (
        "explorers_are_stored_as_still_pictures",
        "id of a widget",
        outputs(4, shown(image_png="aaaa", **{WIDGET: "{}"})),
    ),
    (
        "explorers_are_stored_as_still_pictures",
        "no picture",
        lambda lecture: lecture.notebook.cells[4].update(
            source="KernelExplorer(cat)", outputs=[shown(text_plain="Kernel explorer.")]
        ),
    ),
    ("drawn_pictures_have_alt_text", "say what", metadata(4, mystnb={})),
    ("drawn_pictures_have_alt_text", "say what", metadata(4, mystnb={"image": {"alt": " "}})),
    ("drawn_pictures_have_alt_text", "cell 3", outputs(2, shown(**{"image_svg+xml": "<svg/>"}))),
    ("drawn_pictures_have_alt_text", "cell 3", outputs(2, shown(image_jpeg="aaaa"))),
    ("drawn_pictures_have_alt_text", "draws nothing", outputs(4)),
    ("title_objectives_and_time", "exactly one title", replaced(3, "## 1.", "# 1.")),
    ("title_objectives_and_time", "exactly one title", replaced(0, "# A title", "A title")),
    (
        "title_objectives_and_time",
        "start with a markdown",
        lambda lecture: lecture.notebook.cells.insert(0, lecture.notebook.cells.pop(1)),
    ),
    (
        "title_objectives_and_time",
        "start with a markdown",
        lambda lecture: lecture.notebook.update(cells=[]),
    ),
    ("title_objectives_and_time", "how many minutes", replaced(0, "20 minutes", "an hour")),
    ("title_objectives_and_time", "not 2", replaced(0, "- one\n", "")),
    ("title_objectives_and_time", "not 6", replaced(0, "- one\n", "- one\n" * 4)),
    ("title_objectives_and_time", "be able to do", replaced(0, "be able to do", "see")),
    ("ends_with_highlights_and_exercises", "'Highlights'", replaced(7, "Highlights", "Lights")),
    ("ends_with_highlights_and_exercises", "'Exercises'", replaced(7, "## Exercises", "")),
    ("ends_with_highlights_and_exercises", "called hard", replaced(7, "**Hard.**", "**Last.**")),
    ("ends_with_highlights_and_exercises", "called easy", replaced(7, "Easy", "Uneasy")),
    (
        "ends_with_highlights_and_exercises",
        "before the exercises",
        source(7, "## Exercises\n\neasy medium hard\n\n## Highlights"),
    ),
    (
        "ends_with_highlights_and_exercises",
        "last numbered section",
        replaced(7, "## Exercises", "## 7. More\n\n## Exercises"),
    ),
    ("headings_step_by_step", "level 4 follows 2", replaced(6, "yourself", "it\n\n#### Deep")),
    ("headings_step_by_step", "level 2 follows 0", replaced(0, "# A title", "A title")),
    ("self_checks", "it has 2", source(6, "<details><summary>A</summary></details>" * 2)),
    ("self_checks", "close every", source(6, CHECKS.replace("</details>", "", 1))),
    ("self_checks", "<summary>what", source(6, CHECKS.replace("<summary>Answer</summary>", ""))),
    ("pictures_exist_and_are_described", "exist", replaced(3, "img/cat.gif", "img/dog.gif")),
    ("pictures_exist_and_are_described", "exist", replaced(3, "img/cat.png", "img/dog.png")),
    ("pictures_exist_and_are_described", "exist", replaced(3, 'src="../img/cat.png"', "")),
    (
        "pictures_exist_and_are_described",
        "exist",
        replaced(3, "../img/cat.gif", "http://a.b/c.gif"),
    ),
    ("pictures_exist_and_are_described", "outside", replaced(3, "img/cat.png", "../outside.png")),
    ("pictures_exist_and_are_described", "say what", replaced(3, "A cat that looks to the r", "")),
    ("pictures_exist_and_are_described", "say what", replaced(3, "alt=", "title=")),
    ("animations_have_a_still", "cat-still.png", file("img/cat-still.png", None)),
    ("links_exist", "link ../NOTES.md", replaced(3, "../README.md", "../NOTES.md")),
    ("links_exist", "link ../NOTES.md", replaced(3, "../README.md", "../NOTES.md#here")),
    ("links_exist", "link b.md", source(3, "[![a](../img/cat.png)](b.md)")),
    ("links_exist", "outside", replaced(3, "../README.md", "../../outside.png")),
]


@pytest.mark.parametrize(("rule", "words", "change"), BAD)
def test_a_bad_lecture_is_complained_about(
    rule: str, words: str, change: Change, good: Lecture
) -> None:
    change(good)
    complaints = RULES[rule](good)
    assert complaints
    assert any(words in complaint for complaint in complaints), complaints


def test_every_rule_has_a_bad_lecture() -> None:
    assert {rule for rule, _, _ in BAD} == set(RULES)


# What a notebook defines to teach it and what cnnlib calls the same agree.

SHAPES = [((5, 5), (3, 3)), ((6, 8), (1, 2)), ((7, 4), (2, 4)), ((1, 1), (1, 1))]


def agree_as_functions(taught: Any, ours: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    for image, kernel in SHAPES:
        X, K = (torch.randn(shape, generator=generator) for shape in (image, kernel))
        torch.testing.assert_close(taught(X, K), ours(X, K))


def agree_as_layers(taught: Any, ours: Any) -> None:
    for image, kernel in SHAPES:
        theirs, layer = taught(kernel), ours(kernel)
        assert isinstance(theirs, nn.Module)
        nn.init.constant_(layer.bias, 0.5)
        theirs.load_state_dict(layer.state_dict())
        X: Tensor = torch.randn(image, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(theirs(X), layer(X))


AGREE = {"corr2d": agree_as_functions, "conv2d": agree_as_functions, "Conv2D": agree_as_layers}


def compare_definitions(notebook: Any) -> set[str]:
    """Execute a notebook's imports and definitions, compare those of cnnlib; return their names."""
    namespace: dict[str, Any] = {"torch": torch, "nn": nn, "F": F, "np": np}
    found = set()
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                exec(ast.unparse(node), namespace)
                if node.name in AGREE:
                    AGREE[node.name](namespace[node.name], getattr(convolution, node.name))
                    found.add(node.name)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cnnlib"):
                exec(ast.unparse(node), namespace)  # a later layer uses cnnlib's function
    return found


def test_what_is_taught_is_what_cnnlib_does() -> None:
    found = [compare_definitions(read(path, PROJECT).notebook) for path in PATHS]
    assert set(AGREE) <= set().union(*found), "no notebook defines these: is the test still needed?"


TAUGHT = """
def corr2d(X, K):
    h, w = K.shape
    Y = torch.zeros(X.shape[0] - h + 1, X.shape[1] - w + 1)
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            Y[i, j] = (X[i:i + h, j:j + w] * K).sum()
    return Y


def conv2d(X, K):
    return corr2d(X, K.flip(0, 1))


class Conv2D(nn.Module):
    def __init__(self, kernel_size):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(kernel_size))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, X):
        return corr2d(X, self.weight) + self.bias
"""


@pytest.mark.parametrize(
    ("old", "mistake"),
    [
        ("* K)", "+ K)"),
        ("- h + 1", "- h"),
        ("j:j + w", "i:i + w"),
        ("flip(0, 1)", "flip(0)"),
        ("K.flip(0, 1)", "K"),
        ("+ self.bias", ""),
        ("self.weight)", "self.weight.flip(0, 1))"),
        ("self.bias", "self.b"),
    ],
)
def test_a_mistake_in_what_is_taught_is_seen(old: str, mistake: str) -> None:
    right = new.new_notebook(cells=[new.new_code_cell(TAUGHT)])
    assert compare_definitions(right) == set(AGREE)
    wrong = copy.deepcopy(right)
    wrong.cells[0].source = TAUGHT.replace(old, mistake)
    with pytest.raises((AssertionError, RuntimeError)):
        compare_definitions(wrong)
