"""Execute notebooks from a fresh kernel and store what they print and draw: `make outputs`.

Two runs write the same bytes: nothing of the time, the machine or the versions is stored, and a
picture that looks like the stored one is not replaced.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, CellExecutionError, DeadKernelError
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, NbvalKernelspecManager

from cnnlib._files import PROJECT, write_whole
from tools.likeness import compare, pictures, slots

formats: Any = nbformat  # whose functions have no types
SECONDS = 300  # for each cell, as in `make test`
os.environ["TQDM_DISABLE"] = "1"  # no progress bar is ever stored; kernels inherit it
METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}
WIDGET = "application/vnd.jupyter.widget-view+json"  # names an object of a kernel that has ended
TIMING = ("execution", "ExecuteTime")  # cell metadata of JupyterLab, and of an extension


class CellFailedError(Exception):
    """A cell raised an error that its tags do not announce."""


def refresh(path: Path) -> None:
    """Execute one notebook in its folder and store it with its outputs.

    Args:
        path: The notebook. It stays as it is unless every cell worked.

    Raises:
        CellFailedError: A cell failed; the message says which one, and how.
    """
    stored = formats.read(path, as_version=4)
    notebook = formats.read(path, as_version=4)
    _execute(notebook, path)
    before = {cell.id: cell for cell in stored.cells}
    notebook.metadata = formats.from_dict(METADATA)
    for cell in notebook.cells:
        for key in TIMING:
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            old = before[cell.id]
            ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
            if ignored and old.outputs:
                cell.outputs = old.outputs  # times, say: nobody compares them, so they may stay
                continue
            cell.outputs = _tidy(cell.outputs)
            _keep_pictures(old.outputs, cell.outputs)
    write_whole(path, formats.writes(notebook).rstrip("\n") + "\n")


def _execute(notebook: Any, path: Path) -> None:
    """Execute all cells, with the Python that runs this."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    manager = AsyncKernelManager(
        kernel_name=CURRENT_ENV_KERNEL_NAME, kernel_spec_manager=NbvalKernelspecManager()
    )
    at = [0]
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_execute=lambda cell, cell_index: at.append(cell_index),
    )
    try:
        client.execute(stderr=subprocess.DEVNULL)  # where the kernel talks about itself
    except (CellControlSignal, DeadKernelError) as error:
        source = notebook.cells[at[-1]].source
        what = str(error).splitlines()[0]
        if isinstance(error, CellExecutionError):
            what = f"{error.ename}: {error.evalue}"
        raise CellFailedError(
            f'{path.name}, cell {at[-1] + 1} ("{source.splitlines()[0]}"): {what}'
        ) from None


def _tidy(outputs: list[Any]) -> list[Any]:
    """Join pieces of a stream; leave paths and colours out of errors, and widgets' ids out."""
    tidy: list[Any] = []
    for output in outputs:
        last: Any = tidy[-1] if tidy else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last.text += output.text
            continue
        if output.output_type == "error":
            output.traceback = [f"{output.ename}: {output.evalue}"]
        output.get("data", {}).pop(WIDGET, None)  # a still picture stands beside it
        tidy.append(output)
    return tidy


def _keep_pictures(stored: list[Any], fresh: list[Any]) -> None:
    """Put back stored pictures that look like the fresh ones."""
    old, new = pictures(stored), pictures(fresh)
    if len(old) != len(new):
        return
    for a, b, (data, name), (to, as_name) in zip(
        old, new, slots(stored), slots(fresh), strict=True
    ):
        if name == as_name and compare(a, b).alike:
            to[name] = data[name]


def main(names: Sequence[str]) -> None:
    """Refresh the notebooks of these names, or all; go on after one that fails."""
    paths = [Path(name) for name in names] or sorted((PROJECT / "notebooks").glob("*.ipynb"))
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise SystemExit(f"no such notebook: {', '.join(missing)}")
    failures = []
    for path in paths:
        try:
            refresh(path.resolve())
            print(f"{path.name}: stored")
        except CellFailedError as error:
            failures.append(f"{error}; the notebook stays as it was")
    if failures:
        raise SystemExit("\n".join(failures))


if __name__ == "__main__":
    main(sys.argv[1:])
