"""Write what lets a lecture be opened on a hosted service: `make hosted`.

All of it comes from the address of the project's repository on GitHub, which stands in
pyproject.toml, once it is known, as `Repository` under `[project.urls]`: the set-up cell of every
lecture, the badges in the README, and the links on the pages of the book.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import nbformat

from cnnlib._files import PROJECT

BRANCH = "main"
BEGIN, END = "<!-- badges: made by `make hosted` -->\n", "<!-- end of badges -->\n"
METADATA: dict[str, Any] = {
    "jupyter": {"source_hidden": True},
    "slideshow": {"slide_type": "skip"},
    "tags": ["setup", "remove-cell"],  # the first is ours, the second hides it in the book
}
FIND = """\
# Where the course's package cannot be imported, this cell {does}.
import importlib
{imports}
try:
    importlib.import_module("cnnlib.images")
except ImportError:
"""
INSTALL = """\
    sys.modules.pop("cnnlib", None)  # perhaps a folder of that name
    archive = "{archive}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", archive], check=True)
    importlib.invalidate_caches()"""
SAY = """\
    raise ModuleNotFoundError(
        "cnnlib is not here, and not on the web yet: ask your teacher for the folder of the "
        "course, and open this notebook from there, as the README in it says"
    ) from None"""

formats: Any = nbformat  # whose functions have no types


def address(root: Path) -> str:
    """Return the address of the project's repository, or "" as long as there is none.

    Args:
        root: The project's folder.

    Raises:
        ValueError: The address is not that of a repository on GitHub.
    """
    with (root / "pyproject.toml").open("rb") as file:
        found = str(tomllib.load(file)["project"].get("urls", {}).get("Repository", ""))
    if found and not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+(?<!\.git)", found):
        raise ValueError(
            f"expected an address like https://github.com/owner/name as Repository in "
            f"pyproject.toml, got {found!r}"
        )
    return found


def setup_cell(repository: str) -> str:
    """Return the code of the set-up cell.

    Args:
        repository: Its address, or "" if there is none: then the cell says how to get the project.
    """
    if not repository:
        return FIND.format(does="says how to get it", imports="") + SAY
    archive = f"{repository}/archive/{BRANCH}.zip"
    brings = FIND.format(does="brings it", imports="import subprocess\nimport sys\n")
    return brings + INSTALL.format(archive=archive)


def services(repository: str, lecture: str = "") -> dict[str, str]:
    """Return the names of services that open the lectures, and their addresses.

    Args:
        repository: Its address; if it is "", there are no services.
        lecture: The file to open, such as `02-filters.ipynb`; without one, all are to be seen.
    """
    if not repository:
        return {}
    name = repository.removeprefix("https://github.com/")
    file = f"/blob/{BRANCH}/notebooks/{lecture}" if lecture else ""
    return {
        "Binder": f"https://mybinder.org/v2/gh/{name}/{BRANCH}?urlpath=lab/tree/notebooks/{lecture}",
        "Colab": f"https://colab.research.google.com/github/{name}{file}",
    }


def badges(repository: str) -> str:
    """Return the badges of the README, with the marks around them."""
    pictures = {
        "Binder": "https://mybinder.org/badge_logo.svg",
        "Colab": "https://colab.research.google.com/assets/colab-badge.svg",
    }
    lines = [
        f"[![Open in {name}]({pictures[name]})]({link})\n"
        for name, link in services(repository).items()
    ]
    return BEGIN + "".join(lines) + END


def write_setup(path: Path, repository: str) -> None:
    """Put the set-up cell before the first code cell of a lecture, in place of an older one."""
    before = path.read_text(encoding="utf-8")
    notebook = formats.reads(before, as_version=4)
    cells = [cell for cell in notebook.cells if "setup" not in cell.metadata.get("tags", [])]
    first = next(number for number, cell in enumerate(cells) if cell.cell_type == "code")
    made = formats.v4.new_code_cell(setup_cell(repository), id="setup", metadata=METADATA)
    made.execution_count = 1  # it does nothing here, and has no output
    notebook.cells = [*cells[:first], made, *cells[first:]]
    _count(notebook)
    after = formats.writes(notebook).rstrip("\n") + "\n"
    if after != before:
        path.write_text(after, encoding="utf-8", newline="\n")


def _count(notebook: Any) -> None:
    """Number the cells that were executed, and their results, as one run would."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):
        if cell.execution_count is not None:
            cell.execution_count = count
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = count


def main(root: Path) -> None:
    """Write the set-up cell of every lecture, and the badges of the README."""
    repository = address(root)
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        write_setup(path, repository)
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    start, rest = text.split(BEGIN)
    text = start + badges(repository) + rest.split(END)[1]
    readme.write_text(text, encoding="utf-8", newline="\n")
    print(f"The lectures and the README know {repository or 'that there is no address yet'}.")


if __name__ == "__main__":
    try:
        main(PROJECT)
    except ValueError as error:
        raise SystemExit(f"{error}") from None
