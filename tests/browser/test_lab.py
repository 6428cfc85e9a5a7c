"""A lecture in JupyterLab and in Notebook 7, and a slider, by menu, mouse and keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Seen
from tests.browser.lab import Lab, Notebook, drag, pictures_shown, press, slider

SLIDER = """
import ipywidgets as widgets

n = widgets.IntSlider(description="n", min=0, max=100, value=50)
square = widgets.Label("none yet")


def show(change):
    square.value = f"{change.new} squared is {change.new ** 2}"


n.observe(show, names="value")
widgets.VBox([n, square])
"""


# Lectures that open an explorer, but for the one that trains for minutes.
EXPLORERS = ["02-filters", "03-conv-layers", "04-padding-stride", "08-receptive-fields"]


@pytest.mark.parametrize(
    ("name", "app"), [*((name, "lab/tree") for name in EXPLORERS), (EXPLORERS[0], "notebooks")]
)
def test_a_lecture_runs_from_a_fresh_kernel_and_its_explorer_moves(
    lab: Lab, page: Page, seen: Seen, name: str, app: str
) -> None:
    notebook = lab.open(page, f"notebooks/{name}.ipynb", app)
    notebook.restart_and_run_all()

    assert notebook.errors() == []
    opened = [re.search(r"^\w+Explorer\(", source, re.M) for source in notebook.sources()]
    output = notebook.output([bool(found) for found in opened].index(True))
    expect(output.locator(".jp-RenderedImage")).to_have_count(0)  # no still picture any more
    expect(output.locator(".pointable").first).to_be_visible()
    before = output.text_content() or ""
    press(output.locator(".pointable").first, "ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(output).not_to_have_text(before)
    expect(output.locator(".problem")).to_have_count(0)
    shown = pictures_shown(page.locator(".jp-Notebook"))
    assert len(shown) > 5
    assert all(shown)
    # Notebook 7.6 refuses fonts of its own to a page that was opened with a token, and on a busy
    # machine it asks for a command before its file browser is there.
    own = ("/static/notebook/", "'filebrowser:open-path' not registered")
    errors = [
        error for error in seen.errors if not (app == "notebooks" and any(map(error.count, own)))
    ]
    assert (errors, seen.foreign) == ([], [])


def test_an_error_is_seen(run_cells: Callable[[Sequence[str]], Notebook]) -> None:
    notebook = run_cells(["1 / 0", "print('never run')"])
    assert notebook.errors() == ["1 / 0: ZeroDivisionError: division by zero"]


def test_a_picture_that_is_missing_is_seen(lab: Lab, page: Page) -> None:
    notebook = lab.open(
        page,
        lab.write(
            "gone",
            [
                "from IPython.display import HTML",
                'HTML(\'<img src="img/cat.png" alt=""><img src="img/none.png" alt="">\')',
            ],
        ),
    )
    notebook.run_all()
    expect(notebook.output(1).locator("img")).to_have_count(2)
    assert pictures_shown(notebook.output(1)) == [True, False]


def test_a_slider_is_moved_with_mouse_and_keys(
    run_cells: Callable[[Sequence[str]], Notebook], seen: Seen
) -> None:
    output = run_cells([SLIDER]).output(0)
    handle = slider(output, "n")

    drag(handle, to=0.8)
    expect(output).to_contain_text("80 squared is 6400")
    press(handle, "ArrowRight", times=3)
    expect(output).to_contain_text("83 squared is 6889")
    press(handle, "ArrowDown")
    expect(output).to_contain_text("82 squared is 6724")
    assert (seen.errors, seen.foreign) == ([], [])


def test_ten_fast_drags_end_in_the_last_value(
    run_cells: Callable[[Sequence[str]], Notebook],
) -> None:
    output = run_cells([SLIDER]).output(0)
    handle = slider(output, "n")
    for number in range(10):
        drag(handle, to=0.1 if number % 2 else 0.9 - number / 100, steps=20)

    now = handle.get_attribute("aria-valuenow")
    assert now is not None
    last = round(float(now))
    assert 8 <= last <= 12
    expect(output).to_contain_text(f"{last} squared is {last**2}")


def test_a_restart_forgets(run_cells: Callable[[Sequence[str]], Notebook]) -> None:
    notebook = run_cells(["print(globals().get('kept', 'new'))", "kept = 'old'"])
    notebook.run_cell(0)
    expect(notebook.output(0)).to_have_text(re.compile("old"))
    notebook.restart()
    notebook.run_cell(0)
    expect(notebook.output(0)).to_have_text(re.compile("new"))
