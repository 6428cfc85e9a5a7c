"""A JupyterLab of the tests' own, and a notebook in it, used as a student would."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import psutil
from playwright.sync_api import Locator, Page

from cnnlib.images import PROJECT

formats: Any = nbformat  # whose functions have no types
START, RUN = 90, 300  # seconds at most: for the server and its page, for a whole notebook
SEEN_BY_NOTEBOOKS = ("notebooks", "img", "data/avatars")


class Lab:
    """A JupyterLab on a free port, with settings, files and kernels of its own.

    Args:
        folder: An empty folder. Notebooks and pictures are copied to `folder/root`, which is what
            the lab shows; settings, caches and its log lie beside it.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        for name in SEEN_BY_NOTEBOOKS:
            shutil.copytree(PROJECT / name, self.root / name)
        self.log = folder / "jupyter.log"
        self.token = secrets.token_hex(16)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with self.log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.root,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--expose-app-in-browser"),
            *("--allow-root", f"--ServerApp.root_dir={self.root}"),
            *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self.url.rpartition(':')[2]}"),
            *("--ServerApp.port_retries=0", f"--IdentityProvider.token={self.token}"),
            # Were the tests killed, so that nobody called `stop`: end all by itself.
            *(
                "--MappingKernelManager.cull_idle_timeout=600",
                "--MappingKernelManager.cull_interval=60",
            ),
            "--ServerApp.shutdown_no_activity_timeout=600",
            "--JupyterNotebookApp.expose_app_in_browser=True",  # Notebook 7, from the same server
        ]

    def wait(self) -> None:
        """Wait until the server answers; a server that does not start shows its log."""
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self._ask("GET", "/api/status")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(
            f"JupyterLab did not start. Its log:\n{self.log.read_text(encoding='utf-8')}"
        )

    def stop(self) -> None:
        """End the server and every process that it has started."""
        server = psutil.Process(self._process.pid)
        processes = [*server.children(recursive=True), server]
        self._process.terminate()  # the server ends its kernels and then itself
        _, alive = psutil.wait_procs(processes, timeout=10)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=10)
        self._process.wait()

    def write(self, name: str, sources: Sequence[str]) -> str:
        """Write a notebook of code cells into the lab's root and return its path there."""
        cells = [formats.v4.new_code_cell(source) for source in sources]
        spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = formats.v4.new_notebook(cells=cells, metadata={"kernelspec": spec})
        formats.write(notebook, self.root / f"{name}.ipynb")
        return f"{name}.ipynb"

    def open(self, page: Page, path: str, app: str = "lab/tree") -> Notebook:
        """Open a notebook, given by its path below the root, and wait for its kernel.

        Args:
            page: Of the browser.
            path: The notebook.
            app: `lab/tree` for JupyterLab, `notebooks` for Notebook 7.
        """
        page.goto(f"{self.url}/{app}/{path}?reset&token={self.token}")
        notebook = Notebook(page)
        notebook.wait_for_kernel()
        return notebook

    def end_kernels(self) -> None:
        """End every kernel, as *Shut Down All* does."""
        for session in self._ask("GET", "/api/sessions"):
            self._ask("DELETE", f"/api/sessions/{session['id']}")

    def _ask(self, method: str, path: str) -> Any:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or "null")


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment without the user's settings, in which Jupyter asks nothing."""
    places = {"HOME": "home", "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data"}
    places |= {"JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython", "XDG_CACHE_HOME": "cache"}
    places |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    places = {variable: str(folder / "user" / name) for variable, name in places.items()}
    for place in places.values():
        Path(place).mkdir(parents=True)
    asks_about_news = "@jupyterlab/apputils-extension:announcements"
    page = Path(places["JUPYTER_CONFIG_DIR"], "labconfig", "page_config.json")
    page.parent.mkdir()
    page.write_text(json.dumps({"disabledExtensions": {asks_about_news: True}}), encoding="utf-8")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "XDG_"))}
    return {**kept, **places, "MPLBACKEND": "", "TQDM_DISABLE": "1"}


# What JupyterLab knows of the notebook that is open; `--expose-app-in-browser` shows it to tests.
PANEL = """
const panel = window.jupyterapp?.shell.currentWidget;
const session = panel?.sessionContext;
const cells = (panel?.content?.widgets ?? []).filter((cell) => cell.model.type === "code");
const filled = cells.filter((cell) => cell.model.sharedModel.getSource().trim());
const failed = (cell) => !(cell.model.getMetadata("tags") ?? []).includes("raises-exception")
    && cell.model.outputs.toJSON().some((output) => output.output_type === "error");
"""


class Notebook:
    """The notebook that a page of JupyterLab shows. Its code cells are counted from 0."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def wait_for_kernel(self) -> None:
        """Wait until the notebook is shown and its kernel has nothing to do."""
        self._wait("session?.isReady && session.session?.kernel?.status === 'idle'", START)

    def run_all(self) -> None:
        """Choose *Run, Run All Cells* and wait until they have run, or one has failed."""
        self._forget()
        self._choose("Run", "Run All Cells")
        self._wait_until_run()

    def restart_and_run_all(self) -> None:
        """Choose *Kernel, Restart Kernel and Run All Cells...*, agree, and wait as `run_all`."""
        self._forget()
        self._choose("Kernel", "Restart Kernel and Run All Cells…")
        self.page.get_by_role("button", name="Confirm Kernel Restart").click()
        self._wait_until_run()

    def restart(self) -> None:
        """Choose *Kernel, Restart Kernel...*, agree, and wait for the new kernel."""
        self._do(
            "window.restarted = false;"
            "session.statusChanged.connect((_, is) => { window.restarted ||= is === 'restarting' })"
        )
        self._choose("Kernel", "Restart Kernel…")
        self.page.get_by_role("button", name="Confirm Kernel Restart").click()
        self._wait("window.restarted && session.session.kernel.status === 'idle'", START)

    def run_cell(self, number: int) -> None:
        """Run one cell as Shift-Enter does, and wait."""
        self._do(f"cells[{number}].model.executionCount = null")
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        self._wait(f"cells[{number}].model.executionCount !== null", RUN)
        self.wait_for_kernel()

    def cell(self, number: int) -> Locator:
        """Return a code cell: source, prompt and outputs."""
        shown = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        return shown.locator(".jp-CodeCell").nth(number)

    def output(self, number: int) -> Locator:
        """Return what a code cell has put out, and scroll there."""
        area = self.cell(number).locator(".jp-Cell-outputArea")
        area.scroll_into_view_if_needed()
        return area

    def sources(self) -> list[str]:
        """Return the source of every code cell."""
        found: list[str] = self._get("cells.map((cell) => cell.model.sharedModel.getSource())")
        return found

    def errors(self) -> list[str]:
        """Return the errors that cells show, but for cells that are to raise one."""
        shown = 'cell.model.outputs.toJSON().filter((output) => output.output_type === "error")'
        found: list[str] = self._get(
            f"filled.filter(failed).flatMap((cell) => {shown}.map((output) =>"
            "cell.model.sharedModel.getSource() + ': ' + output.ename + ': ' + output.evalue))"
        )
        return found

    def selected(self) -> int:
        """Return which cell is selected, text cells counted too."""
        found: int = self._get("panel.content.activeCellIndex")
        return found

    def _wait_until_run(self) -> None:
        self._wait(
            "session.session?.kernel?.status === 'idle'"
            " && filled.every((cell) => cell.model.executionState === 'idle')"
            " && (filled.some(failed)"
            " || filled.every((cell) => cell.model.executionCount !== null))",
            RUN,
        )

    def _forget(self) -> None:
        """Drop counts and outputs, so that whatever is there afterwards is new."""
        self._do(
            "for (const cell of cells) { cell.model.executionCount = null;"
            " cell.model.outputs.clear() }"
        )

    def _choose(self, menu: str, entry: str) -> None:
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        self.page.locator(".lm-Menu-itemLabel").get_by_text(entry, exact=True).click()

    def _wait(self, condition: str, seconds: float) -> None:
        script = f"() => {{ {PANEL} return Boolean({condition}) }}"
        self.page.wait_for_function(script, timeout=1000 * seconds)

    def _get(self, value: str) -> Any:
        return self.page.evaluate(f"() => {{ {PANEL} return {value} }}")

    def _do(self, statements: str) -> None:
        self.page.evaluate(f"() => {{ {PANEL} {statements} }}")


def slider(inside: Locator, description: str) -> Locator:
    """Return the handle of the ipywidgets slider with this description.

    Its attribute `aria-valuenow` is its value.
    """
    label = inside.page.get_by_text(description, exact=True)
    return inside.locator(".widget-slider").filter(has=label).get_by_role("slider")


def drag(handle: Locator, to: float, steps: int = 5) -> None:
    """Take a slider's handle with the mouse to a part (0 to 1) of its track, and let go."""
    handle.scroll_into_view_if_needed()
    handle.hover()  # which waits until nothing moves any more
    track = handle.locator("xpath=ancestor::*[contains(@class, 'noUi-base')]").bounding_box()
    start = handle.bounding_box()
    assert track is not None
    assert start is not None
    mouse = handle.page.mouse
    middle = start["y"] + start["height"] / 2
    mouse.move(start["x"] + start["width"] / 2, middle)
    mouse.down()
    mouse.move(track["x"] + to * track["width"], middle, steps=steps)
    mouse.up()


def press(handle: Locator, key: str, times: int = 1) -> None:
    """Give an element the focus and press a key there."""
    handle.scroll_into_view_if_needed()
    handle.focus()
    for _ in range(times):
        handle.page.keyboard.press(key)


def pictures_shown(inside: Locator) -> list[bool]:
    """Return, for every `<img>` that is not hidden, whether it came and has a size."""
    found: list[bool] = inside.locator("img:not([hidden])").evaluate_all(
        "images => images.map((image) => image.complete && image.naturalWidth > 0)"
    )
    return found
