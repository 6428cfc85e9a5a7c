"""Lay out what the book is made of, as Sphinx reads it: the project's own files, and a few pages.

Files keep their places, so that the links between them hold; the few that cannot are in LINKS.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat

from labs.grading.release import release

PAGES = Path(__file__).with_name("pages")
LECTURES = "notebooks/*.ipynb"
LABS = "labs/release/*/*.ipynb"
FILES = (LECTURES, "img/*.png", "img/*.gif", "LICENSE", "CITATION.cff")
TEXTS = {  # where a text of the project stands in the book
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "data/README.md": "data/index.md",
    "img/README.md": "img/index.md",
    "labs/README.md": "labs/instructors.md",
    "notebooks/README.md": "notebooks/index.md",
}
# The end of a link in the project, and what it is in the book.
LINKS = (
    (r"labs/README\.md", "labs/instructors.md"),
    (r"README\.md", "index.md"),
    (r"LICENSE|CITATION\.cff", "licence.md"),
    (r"(?<=/)", "index.md"),  # a folder
)
EXPLORER = re.compile(r"\b\w+Explorer\(")
STILL = (
    "*This is a still picture. In JupyterLab ([how](../index.md#two-commands)) it has controls.*"
)

formats: Any = nbformat  # whose functions have no types


def stage(root: Path, folder: Path) -> None:
    """Write the sources of the book.

    Args:
        root: The project's folder.
        folder: An empty folder.

    Raises:
        ValueError: A lab cannot be released, or a page asks for a part that the README lacks.
    """
    for pattern in FILES:
        for source in sorted(root.glob(pattern)):
            _write(folder / source.relative_to(root), source.read_bytes())
    for source_name, target in TEXTS.items():
        text = (root / source_name).read_text(encoding="utf-8")
        _write(folder / target, in_book(text))
    _release_labs(root, folder)
    lectures, labs = sorted(folder.glob(LECTURES)), sorted(folder.glob(LABS))
    for notebook in lectures + labs:
        adapt(notebook)
    names = list(modules(importlib.import_module("cnnlib")))
    for name in names:
        _write(folder / f"{name}.md", _module_page(name))
    _write_pages(root, folder, labs, names)
    numbered = [f"{int(path.stem[:2])}. {title(read(path))} <{path.stem}>" for path in lectures]
    _append(folder / "notebooks" / "index.md", contents(numbered))


def in_book(text: str) -> str:
    """Return a Markdown text of the project with its links as they are in the book.

    A badge is left as its words: its picture would come from elsewhere.
    """

    def change(link: re.Match[str]) -> str:
        target = link[1]
        if "://" not in target:
            for pattern, replacement in LINKS:
                target = re.sub(rf"(?<![^/])(?:{pattern})$", replacement, target)
        return f"]({target})"

    text = re.sub(r"\[!\[([^]]*)\]\(https?:[^)\s]+\)\]", r"[\1]", text)
    return re.sub(r"\]\(([^)\s]+)\)", change, text)


def adapt(path: Path) -> None:
    """Change the links of a staged notebook, and say below an explorer that it stands still."""
    notebook = read(path)
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        shown = [
            output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
        ]
        if cell.cell_type == "markdown":
            cell.source = in_book(cell.source)
        elif shown and EXPLORER.search(cell.source):
            cells.append(formats.v4.new_markdown_cell(STILL, id=f"{cell.id[:58]}-still"))
    notebook.cells = cells
    formats.write(notebook, path)


def sections(text: str) -> dict[str, str]:
    """Return the parts of a Markdown text by their headings (`## ...`); what is above is `""`."""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def modules(package: Any) -> Iterator[str]:
    """Yield the names of a package's public modules, each package before what is in it."""
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not found.name.rpartition(".")[2].startswith("_"):
            yield found.name
            if found.ispkg:
                yield from modules(importlib.import_module(found.name))


def read(path: Path) -> Any:
    """Return a notebook."""
    return formats.read(path, as_version=4)


def title(notebook: Any) -> str:
    """Return the title of a notebook: its first heading."""
    return str(notebook.cells[0].source).splitlines()[0].removeprefix("# ")


def contents(entries: Sequence[str]) -> str:
    """Return a table of contents that only the navigation shows."""
    lines = "\n".join(entries)
    return f"\n```{{toctree}}\n:hidden:\n\n{lines}\n```\n"


def _write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _append(path: Path, text: str) -> None:
    _write(path, path.read_bytes() + text.encode())


def _release_labs(root: Path, folder: Path) -> None:
    """Put the labs as students get them into the sources; a secret in one is an error."""
    with tempfile.TemporaryDirectory() as scratch:
        labs = Path(scratch, "labs")
        shutil.copytree(root / "labs" / "source", labs / "source")
        shutil.copy(root / "labs" / "student.md", labs)
        release(Path(scratch))
        shutil.copytree(labs / "release", folder / "labs" / "release")


def _module_page(name: str) -> str:
    """Return the page of a module; what its package exports stands on the page of the package."""
    module = importlib.import_module(name)
    package = name.rpartition(".")[0]
    # The package of all of them has no page of its own.
    exported = getattr(importlib.import_module(package), "__all__", []) if "." in package else []
    elsewhere = sorted(key for key in exported if hasattr(module, key))
    options = "   :members:\n"
    if elsewhere:
        options += f"   :exclude-members: {', '.join(elsewhere)}\n"
    return f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n{options}```\n"


def _write_pages(root: Path, folder: Path, labs: Sequence[Path], names: Sequence[str]) -> None:
    """Write the pages, in which `{{name}}` stands for a part of the README."""
    readme = sections(in_book((root / "README.md").read_text(encoding="utf-8")))
    student = sections((root / "labs" / "student.md").read_text(encoding="utf-8"))
    lab_files = [path.relative_to(folder).as_posix() for path in labs]
    parts = {
        **readme,
        "Introduction": re.sub(r"^(#|!\[).*\n", "", readme[""], flags=re.MULTILINE),
        "Labs": _linked_labs(readme["Labs"], lab_files),
        "The package": _linked_modules(readme["The package"], names),
        "Contents of labs": contents(lab_files),
        "Contents of the package": contents(names),
        **{f"Students: {name}": text for name, text in student.items()},
    }
    for page in PAGES.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for name in set(re.findall(r"\{\{(.+?)\}\}", text)):
            if name not in parts:
                raise ValueError(f"{page.name} asks for {name!r}, which the README does not have")
            text = text.replace("{{" + name + "}}", parts[name].strip())
        _write(folder / page.name, text)


def _linked_labs(text: str, files: Sequence[str]) -> str:
    """Link the table of labs to what students get; the README must not link their solutions."""
    for number, file in enumerate(files, start=1):
        text = re.sub(rf"^\| ({number}\. [^|]+?) \|", rf"| [\1]({file}) |", text, flags=re.M)
    return text


def _linked_modules(text: str, names: Sequence[str]) -> str:
    for name in names:
        text = text.replace(f"`{name}`", f"[`{name}`]({name}.md)")
    return text
