import functools
import io
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

from cnnlib import kernels
from cnnlib.images import PROJECT, load_image
from cnnlib.plotting import plot_conv, plot_convs, plot_maps
from cnnlib.style import SIGNED
from tools.likeness import compare, difference, pictures

CAT, BRICKS = (load_image(f"img/{name}.png", grey=True) for name in ("cat", "bricks"))
X, K = torch.arange(25).view(5, 5) % 4, torch.tensor([[0, 1, 2], [2, 2, 0], [0, 1, 2]])
Draw = Callable[[], Figure]
formats: Any = nbformat  # whose functions have no types


def render(draw: Draw, **settings: Any) -> Image.Image:
    """Return the picture that a notebook would store, drawn with other settings of matplotlib."""
    style = plt.style.context

    def styled(_: Any) -> Any:
        return style(["cnnlib.course", settings])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt.style, "context", styled)
        with styled(None):
            figure, file = draw(), io.BytesIO()
            figure.savefig(file, dpi=100, bbox_inches="tight")
            plt.close(figure)
    return Image.open(file).convert("RGB")


def conv(image: torch.Tensor, kernel: torch.Tensor, **options: Any) -> Draw:
    return lambda: plot_conv(image, kernel, **options)


def only_map(image: torch.Tensor, kernel: torch.Tensor) -> Draw:
    result = F.conv2d(image[None, None], kernel[None, None], padding="same")[0, 0]
    return lambda: plot_maps({"filtered": result}, height=3.2)


def grids(first: int) -> Draw:
    return lambda: plot_maps({"X": X, "K": K, "Y": torch.tensor([[first, 12], [17, 6], [10, 19]])})


def then(draw: Draw, change: Callable[[Figure], object]) -> Draw:
    def changed() -> Figure:
        figure = draw()
        change(figure)
        return figure

    return changed


def recolour(cmap: Any, figure: Figure) -> None:
    for ax in figure.axes:
        for image in ax.images:
            image.set_cmap(cmap)


def lines(**options: Any) -> Draw:
    def draw() -> Figure:
        figure, ax = plt.subplots()
        x = np.linspace(0, 6, 100)
        style = {name: options[name] for name in ("color", "linestyle") if name in options}
        ax.plot(x, np.sin(x), label="sine", **style)
        if options.get("second", True):
            ax.plot(x, np.cos(x) / 2, label="cosine")
        title = options.get("title", "The error falls, the kernel is found")
        ax.set(title=title, xlabel=options.get("xlabel", "step"), ylabel="value")
        ax.legend()
        return figure

    return draw


def layer(seed: int) -> Draw:
    torch.manual_seed(seed)
    return functools.partial(plot_convs, CAT, torch.nn.Conv2d(1, 3, 3), axis=True)


BLUR, EMBOSS = conv(CAT, kernels.blur()), conv(CAT, kernels.emboss())
GRADIENT = conv(BRICKS, kernels.gradient_x())
GREY = then(only_map(CAT, kernels.identity()), lambda figure: recolour("gray", figure))
CHANGES = {
    "blur, a larger blur": (BLUR, conv(CAT, kernels.blur(5))),
    "blur, identity": (BLUR, conv(CAT, kernels.identity())),
    "emboss, edges": (EMBOSS, conv(CAT, kernels.edges())),
    "gradient, transposed": (GRADIENT, conv(BRICKS, kernels.gradient_x().T)),
    "larger blur of a texture": (
        only_map(BRICKS, kernels.blur()),
        only_map(BRICKS, kernels.blur(5)),
    ),
    "larger blur of fur": (only_map(CAT, kernels.blur()), only_map(CAT, kernels.blur(5))),
    "signs of a map": (only_map(BRICKS, kernels.edges()), only_map(BRICKS, -kernels.edges())),
    "viridis for grey": (GREY, then(GREY, functools.partial(recolour, "viridis"))),
    "signed colours reversed": (
        GRADIENT,
        then(GRADIENT, functools.partial(recolour, SIGNED.reversed())),
    ),
    "grey for signed": (GRADIENT, then(GRADIENT, functools.partial(recolour, "gray"))),
    "axis": (BLUR, conv(CAT, kernels.blur(), axis=True)),
    "colour bar dropped": (EMBOSS, then(EMBOSS, lambda figure: figure.axes[-1].remove())),
    "another seed": (layer(0), layer(1)),
    "12 is 17": (grids(12), grids(17)),
    "12 is 13": (grids(12), grids(13)),
    "a letter of the title": (lines(), lines(title="The error falls, the kernel is bound")),
    "an even smaller letter": (lines(), lines(title="Thc error falls, the kernel is found")),
    "a label dropped": (lines(), lines(xlabel="")),
    "a line removed": (lines(), lines(second=False)),
    "another colour": (lines(), lines(color="#D55E00")),
    "a similar colour": (lines(), lines(color="#56B4E9")),
    "dashes": (lines(), lines(linestyle="--")),
}


def shift(picture: Image.Image, x: int, y: int) -> Image.Image:
    moved = Image.new("RGB", picture.size, "white")
    moved.paste(picture, (x, y))
    return moved


def resize(picture: Image.Image, left: int, above: int, right: int, below: int) -> Image.Image:
    size = picture.width + left + right, picture.height + above + below
    larger = Image.new("RGB", size, "white")
    larger.paste(picture, (left, above))
    return larger


def noise(picture: Image.Image) -> Image.Image:
    levels = np.random.default_rng(0).integers(-2, 3, (picture.height, picture.width, 3))
    return Image.fromarray((np.asarray(picture) + levels).clip(0, 255).astype(np.uint8))


def encode(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


FIGURES = {"maps": EMBOSS, "numbers": grids(12), "lines": lines(), "rows and columns": layer(0)}
SETTINGS: dict[str, dict[str, Any]] = {
    "no hinting": {"text.hinting": "none"},
    "hard letters": {"text.antialiased": False},
    "larger letters": {"font.size": 12.1, "axes.titlesize": 13.1, "axes.labelsize": 12.1},
    "smaller letters": {"font.size": 11.9, "axes.titlesize": 12.9, "axes.labelsize": 11.9},
    "hard lines": {"lines.antialiased": False},
}
EDITS: dict[str, Callable[[Image.Image], bytes | Image.Image]] = {
    "moved right": lambda picture: shift(picture, 1, 0),
    "moved up and left": lambda picture: shift(picture, -1, -1),
    "wider": lambda picture: resize(picture, 0, 0, 1, 0),
    "larger all around": lambda picture: resize(picture, 1, 1, 1, 1),
    "smaller": lambda picture: resize(picture, -1, 0, 0, -1),
    "noise": noise,
    "stored anew": encode,
}


@functools.cache
def figure(name: str) -> Image.Image:
    return render(FIGURES[name])


@pytest.mark.pictures
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen(name: str) -> None:
    before, after = (render(draw) for draw in CHANGES[name])
    result = compare(before, after)
    assert not result.alike
    assert "differ" in result.reason
    assert not compare(after, before).alike
    assert np.asarray(difference(before, after)).min() == 0


@pytest.mark.pictures
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", FIGURES)
def test_the_look_of_letters_and_lines_is_forgiven(name: str, setting: str) -> None:
    result = compare(figure(name), render(FIGURES[name], **SETTINGS[setting]))
    assert result.alike, result


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", FIGURES)
def test_a_hair_is_forgiven(name: str, edit: str) -> None:
    result = compare(figure(name), EDITS[edit](figure(name)))
    assert result.alike, result


def test_pictures_of_other_sizes_differ() -> None:
    result = compare(figure("lines"), resize(figure("lines"), 0, 0, 4, 0))
    assert not result.alike
    assert "sizes differ" in result.reason
    assert difference(figure("lines"), resize(figure("lines"), 0, 0, 4, 0)).width == 4 + (
        figure("lines").width
    )


def test_transparent_is_white() -> None:
    clear = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    assert compare(clear, Image.new("RGB", (20, 10), "white")).alike
    assert not compare(clear, Image.new("RGB", (20, 10), "black")).alike


# From here on: real notebooks, executed by `make outputs` and tested by pytest with nbval.

FIRST = """import matplotlib.pyplot as plt
from cnnlib import kernels
from cnnlib.images import load_image
from cnnlib.plotting import plot_conv, plot_maps
cat = load_image("img/cat.png", grey=True)"""
CELLS = {
    "imports": FIRST,
    "kernel": "plot_conv(cat, kernels.blur())",
    "colours": "figure, ax = plt.subplots()\n_ = ax.imshow(cat, cmap='gray')\nplt.show()",
    "axis": "plot_conv(cat, kernels.edges(), axis=True)",
    "vanished": "_ = plt.plot([1, 3, 2])\nplt.show()",
    "new": "_ = 'nothing'",
    "hair": "_ = plt.title('a title', fontsize=12)\nplt.show()",
    "same": "plot_maps({'cat': cat})",
    "ignored": "_ = plt.plot([1, 2])\nplt.show()",
    "text": "print('a'); print('b')",
}
CHANGED = {
    "kernel": "plot_conv(cat, kernels.blur(5))",
    "colours": "figure, ax = plt.subplots()\n_ = ax.imshow(cat, cmap='viridis')\nplt.show()",
    "axis": "plot_conv(cat, kernels.edges())",
    "vanished": "print(end='')",
    "new": "_ = plt.plot([1, 3, 2])\nplt.show()",
    "hair": "_ = plt.title('a title', fontsize=12.05)\nplt.show()",
    "ignored": "_ = plt.plot([2, 1])\nplt.show()",
}


def notebook(cells: dict[str, str]) -> Any:
    made: Any = new_notebook(metadata={"kernelspec": {"name": "other", "display_name": "Other"}})  # type: ignore[no-untyped-call]
    made.cells = [new_markdown_cell("# A title", id="title")]  # type: ignore[no-untyped-call]
    for name, source in cells.items():
        made.cells.append(new_code_cell(source, id=name))  # type: ignore[no-untyped-call]
        if name == "ignored":
            made.cells[-1].metadata.tags = ["nbval-ignore-output"]
    return made


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=PROJECT,
        capture_output=True,
        encoding="utf-8",
        env={name: os.environ[name] for name in os.environ if name != "PYTEST_ADDOPTS"},
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "course.ipynb"
    formats.write(notebook(CELLS), path)
    result = run("-m", "tools.outputs", path)
    assert result.returncode == 0, result.stderr
    return path


@pytest.mark.parametrize("workers", [[], ["-n1", "--dist=loadfile"]], ids=["here", "worker"])
def test_a_changed_figure_fails_its_cell(stored: Path, tmp_path: Path, workers: list[str]) -> None:
    path, folder, report = (tmp_path / name for name in ("course.ipynb", "pictures", "r.xml"))
    changed = formats.read(stored, as_version=4)
    for cell in changed.cells:
        cell.source = CHANGED.get(cell.id, cell.source)
    formats.write(changed, path)
    # A notebook outside the project knows neither its settings nor its conftest.py.
    options = ["-p", "conftest", "-p", "no:cacheprovider", "-c", "pyproject.toml", "--rootdir", "."]
    result = run(
        "-m", "pytest", *options, *workers, f"--junit-xml={report}", f"--pictures={folder}", path
    )
    cases = ET.parse(report).getroot().iter("testcase")
    failures = {case.get("name", ""): case.find("failure") for case in cases}
    names = {f"Cell {k}": name for k, name in enumerate(CELLS)}
    failed = {names[cell] for cell, failure in failures.items() if failure is not None}
    assert set(failures) == set(names), result.stdout
    assert failed == {"kernel", "colours", "axis", "vanished", "new"}
    expected = {f"course-cell{k}-1-{kind}.png" for k in (1, 2, 3) for kind in KINDS}
    expected |= {"course-cell4-1-stored.png", "course-cell5-1-fresh.png"}
    assert {file.name for file in folder.iterdir()} == expected
    kernel = failures["Cell 1"]
    assert kernel is not None
    message = kernel.get("message", "") + (kernel.text or "")
    assert "Picture 1 of this cell: " in message
    assert f"{folder}{os.sep}course-cell1-1-{{stored,fresh,difference}}.png" in message
    assert "`make outputs` stores it" in message


KINDS = ("stored", "fresh", "difference")


def test_stored_outputs_know_nothing_of_the_machine(stored: Path) -> None:
    made = json.loads(stored.read_text(encoding="utf-8"))
    assert made["metadata"] == {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    code = [cell for cell in made["cells"] if cell["cell_type"] == "code"]
    assert [cell["id"] for cell in code] == list(CELLS)
    assert [cell["execution_count"] for cell in code] == list(range(1, len(CELLS) + 1))
    assert [cell["metadata"] for cell in code if cell["metadata"]] == [
        {"tags": ["nbval-ignore-output"]}
    ]
    assert code[-1]["outputs"] == [
        {"name": "stdout", "output_type": "stream", "text": ["a\n", "b\n"]}
    ]
    assert stored.read_text(encoding="utf-8").endswith("}\n")
    assert list(stored.parent.iterdir()) == [stored]


def test_the_second_run_writes_the_same_bytes_and_keeps_pictures(
    stored: Path, tmp_path: Path
) -> None:
    path = tmp_path / "course.ipynb"
    kept = formats.read(stored, as_version=4)
    by_name = {cell.id: cell for cell in kept.cells}
    by_name["hair"].source = CHANGED["hair"]
    formats.write(kept, path)
    before = path.read_bytes()
    assert run("-m", "tools.outputs", path).returncode == 0
    assert path.read_bytes() == before
    by_name["kernel"].source = CHANGED["kernel"]
    formats.write(kept, path)
    assert run("-m", "tools.outputs", path).returncode == 0
    after = {cell.id: cell for cell in formats.read(path, as_version=4).cells}
    for name, same in {"kernel": False, "hair": True, "axis": True}.items():
        old, new = (pictures(cells[name].outputs) for cells in (by_name, after))
        assert (old == new) is same, name


def test_an_error_is_stored_where_it_is_announced_and_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "course.ipynb"
    made = notebook({"announced": "1 / 0", "other": "print('before')\n[][1]"})
    made.cells[1].metadata.tags = ["raises-exception"]
    formats.write(made, path)
    before = path.read_bytes()
    result = run("-m", "tools.outputs", path)
    assert result.returncode == 1
    assert "course.ipynb, cell 3 (\"print('before')\"): IndexError: list index" in result.stderr
    assert "Traceback" not in result.stderr
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]

    made.cells.pop()
    formats.write(made, path)
    assert run("-m", "tools.outputs", path).returncode == 0
    (error,) = formats.read(path, as_version=4).cells[1].outputs
    assert error.traceback == ["ZeroDivisionError: division by zero"]
